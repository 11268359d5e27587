//! Indexes and constraints, taken apart, so that a table's indexes can be built at once.
//!
//! `ALTER TABLE … ADD PRIMARY KEY` keeps everybody else off the table while it builds its index. A unique index of the
//! same columns can be built beside others and becomes the constraint in a moment. A foreign key that is added `NOT
//! VALID` and validated after leaves the referenced table to others meanwhile. The texts are those of pg_dump
//! (`dumpIndex`, `dumpConstraint` in pg_dump.c); whatever looks different is not touched.

/// A table: schema and name.
pub(super) type Table = (String, String);

/// A definition, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ddl {
    /// `CREATE INDEX`.
    Index { table: Table, sql: String },
    /// A primary key or unique constraint: the index, then what makes it the constraint.
    Unique { table: Table, build: String, attach: String },
    /// A foreign key: without looking at the rows, then looking at them (nothing where the dump has it `NOT VALID`).
    Foreign { from: Table, to: Table, add: String, validate: Option<String> },
}

impl Ddl {
    /// Takes a definition apart; none where it is anything else or anything more.
    pub(super) fn parse(sql: &str) -> Option<Self> {
        let sql = single(sql)?;
        let mut at = Words(sql);
        if at.word("CREATE INDEX") || at.word("CREATE UNIQUE INDEX") {
            at.name()?;
            if !at.word("ON") || at.word("ONLY") {
                return None;
            }
            return Some(Self::Index { table: at.table()?.0, sql: sql.to_owned() });
        }
        if !at.word("ALTER TABLE ONLY") {
            return None;
        }
        let (table, written) = at.table()?;
        if !at.word("ADD CONSTRAINT") {
            return None;
        }
        let name = at.name()?;
        if at.word("FOREIGN KEY") {
            at.brackets()?;
            if !at.word("REFERENCES") {
                return None;
            }
            let to = at.table()?.0;
            let (add, validate) = if sql.ends_with(" NOT VALID") {
                (sql.to_owned(), None)
            } else {
                (format!("{sql} NOT VALID"), Some(format!("ALTER TABLE ONLY {written} VALIDATE CONSTRAINT {name}")))
            };
            return Some(Self::Foreign { from: table, to, add, validate });
        }
        let kind = if at.word("PRIMARY KEY") {
            "PRIMARY KEY"
        } else if at.word("UNIQUE") {
            "UNIQUE"
        } else {
            return None;
        };
        let nulls = if at.word("NULLS NOT DISTINCT") { " NULLS NOT DISTINCT" } else { "" };
        let columns = at.brackets()?;
        let include = if at.word("INCLUDE") { format!(" INCLUDE {}", at.brackets()?) } else { String::new() };
        // Options, DEFERRABLE, WITHOUT OVERLAPS.
        if !at.0.trim().is_empty() {
            return None;
        }
        Some(Self::Unique {
            table,
            build: format!("CREATE UNIQUE INDEX {name} ON {written} {columns}{include}{nulls}"),
            attach: format!("ALTER TABLE ONLY {written} ADD CONSTRAINT {name} {kind} USING INDEX {name}"),
        })
    }
}

/// The one statement of a text, without its semicolon.
fn single(sql: &str) -> Option<&str> {
    let mut end = None;
    let mut quote = None;
    for (at, c) in sql.char_indices() {
        if let Some(open) = quote {
            quote = Some(open).filter(|open| *open != c);
            continue;
        }
        match c {
            '\'' | '"' => quote = Some(c),
            // A function's body, or a comment: not of an index.
            '$' => return None,
            ';' if end.is_none() => end = Some(at),
            c if end.is_some() && !c.is_whitespace() => return None,
            _ => {}
        }
    }
    // Text that did not decode is shown, not executed.
    if quote.is_some() || sql.contains('\u{fffd}') || sql.contains("--") {
        return None;
    }
    Some(sql.get(..end?)?.trim())
}

/// What is left to read.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    /// Takes these words, if they come next.
    fn word(&mut self, words: &str) -> bool {
        let Some(rest) = self.0.trim_start().strip_prefix(words) else { return false };
        if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return false;
        }
        self.0 = rest;
        true
    }

    /// A name as it is written.
    fn name(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let length = if text.starts_with('"') {
            let mut length = 1;
            loop {
                length += text.get(length..)?.find('"')? + 1;
                if !text.get(length..)?.starts_with('"') {
                    break length;
                }
                length += 1;
            }
        } else {
            text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
        };
        let (name, rest) = text.split_at_checked(length)?;
        self.0 = rest;
        (!name.is_empty()).then_some(name)
    }

    /// `schema.table`, and as it is written.
    fn table(&mut self) -> Option<(Table, &'a str)> {
        let text = self.0.trim_start();
        let schema = self.name()?;
        self.0 = self.0.strip_prefix('.')?;
        let name = self.name()?;
        let written = text.get(..text.len() - self.0.len())?;
        Some(((unquoted(schema), unquoted(name)), written))
    }

    /// `(…)` with everything in it.
    fn brackets(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        if !text.starts_with('(') {
            return None;
        }
        let (mut depth, mut quote) = (0_u32, None);
        for (at, c) in text.char_indices() {
            match (quote, c) {
                (Some(open), _) if open == c => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, '(') => depth += 1,
                (None, ')') => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        let (inside, rest) = text.split_at_checked(at + 1)?;
                        self.0 = rest;
                        return Some(inside);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(inside) => inside.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: &str, name: &str) -> Table {
        (schema.to_owned(), name.to_owned())
    }

    #[test]
    fn an_index_names_its_table() {
        for (sql, schema, name) in [
            ("CREATE INDEX a ON public.t USING btree (x);\n", "public", "t"),
            ("CREATE UNIQUE INDEX \"A b\" ON app.\"T \"\"x\"\"; \" USING gin (((x || ';')));\n", "app", "T \"x\"; "),
        ] {
            let Some(Ddl::Index { table: found, sql: text }) = Ddl::parse(sql) else { panic!("{sql}") };
            assert_eq!((found, text.as_str()), (table(schema, name), sql.trim_end().trim_end_matches(';')));
        }
    }

    #[test]
    fn keys_become_an_index_and_what_attaches_it() {
        let parsed = Ddl::parse("ALTER TABLE ONLY app.t\n    ADD CONSTRAINT \"t Key\" PRIMARY KEY (id, \"a)b\");\n");
        let expected = Ddl::Unique {
            table: table("app", "t"),
            build: "CREATE UNIQUE INDEX \"t Key\" ON app.t (id, \"a)b\")".to_owned(),
            attach: "ALTER TABLE ONLY app.t ADD CONSTRAINT \"t Key\" PRIMARY KEY USING INDEX \"t Key\"".to_owned(),
        };
        assert_eq!(parsed, Some(expected));
        let sql = "ALTER TABLE ONLY app.t\n    ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (a) INCLUDE (b);\n";
        let Some(Ddl::Unique { build, .. }) = Ddl::parse(sql) else { panic!("{sql}") };
        assert_eq!(build, "CREATE UNIQUE INDEX u ON app.t (a) INCLUDE (b) NULLS NOT DISTINCT");
    }

    #[test]
    fn foreign_keys_are_added_and_then_validated_unless_the_dump_has_them_not_valid() {
        let sql = "ALTER TABLE ONLY app.t\n    ADD CONSTRAINT f FOREIGN KEY (a, b) REFERENCES app.other(a, b) ON DELETE CASCADE;\n";
        let Some(Ddl::Foreign { from, to, add, validate }) = Ddl::parse(sql) else { panic!("{sql}") };
        assert_eq!((from, to), (table("app", "t"), table("app", "other")));
        assert!(add.ends_with("ON DELETE CASCADE NOT VALID"), "{add}");
        assert_eq!(validate.as_deref(), Some("ALTER TABLE ONLY app.t VALIDATE CONSTRAINT f"));
        let sql = "ALTER TABLE ONLY app.t\n    ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES app.other(a) NOT VALID;\n";
        let Some(Ddl::Foreign { add, validate, .. }) = Ddl::parse(sql) else { panic!("{sql}") };
        assert!(validate.is_none() && !add.contains("NOT VALID NOT VALID"), "{add}");
    }

    #[test]
    fn whatever_is_more_or_else_is_left_alone() {
        for sql in [
            "CREATE INDEX a ON ONLY public.t USING btree (x);\n",
            "CREATE INDEX a ON public.t USING btree (x);\n\nALTER TABLE public.t CLUSTER ON a;\n",
            "ALTER TABLE ONLY app.t\n    ADD CONSTRAINT u UNIQUE (a) DEFERRABLE INITIALLY DEFERRED;\n",
            "ALTER TABLE ONLY app.t\n    ADD CONSTRAINT u UNIQUE (a) WITH (fillfactor='70');\n",
            "ALTER TABLE app.t\n    ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES app.other(a);\n",
            "ALTER TABLE ONLY app.t\n    ADD CONSTRAINT e EXCLUDE USING gist (r WITH &&);\n",
            "ALTER TABLE ONLY app.t\n    ADD CONSTRAINT c CHECK ((a > 0)) NOT VALID;\n",
            "CREATE INDEX \u{fffd} ON public.t USING btree (x);\n",
            "CREATE INDEX a ON t USING btree (x);\n",
            "CREATE INDEX a ON public.t USING btree (x)",
            "ALTER TABLE ONLY app.\"t",
            "",
        ] {
            assert_eq!(Ddl::parse(sql), None, "{sql}");
        }
    }
}
