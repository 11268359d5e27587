//! Makes a line fit to be kept and shown: no escape sequences, no secrets, no customers' rows.

use super::order::Rows;

/// Stands in the place of a secret.
const SECRET: &str = "[secret]";
/// Stands in the place of a customer's row.
const ROW: &str = "[row hidden]";
/// A command's row that never looks finished hides at most so many lines behind it.
const MOST_HIDDEN: u32 = 200;

/// Beginnings of PostgreSQL's messages (elog.c, pg_backup_archiver.c, common/logging.c).
const MESSAGES: [&str; 19] = [
    "pg_restore:",
    "pg_dump:",
    "psql:",
    "ERROR:",
    "FATAL:",
    "PANIC:",
    "WARNING:",
    "NOTICE:",
    "INFO:",
    "LOG:",
    "DEBUG:",
    "DETAIL:",
    "HINT:",
    "CONTEXT:",
    "STATEMENT:",
    "QUERY:",
    "LOCATION:",
    "LINE ",
    "Command was:",
];

/// Cleans a program's lines, one after the other.
#[derive(Debug)]
pub(super) struct Cleaner {
    secrets: Vec<String>,
    longest: usize,
    rows: Rows,
    hiding: Hiding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hiding {
    No,
    /// Lines that begin no message belong to a row.
    Continuations,
    /// Lines belong to a row until one ends so; this many may follow.
    Until(&'static str, u32),
}

impl Cleaner {
    pub(super) fn new(secrets: &[String], rows: Rows) -> Self {
        // A secret of several lines never stands in one line as a whole.
        let mut parts: Vec<String> = secrets.iter().flat_map(|secret| secret.lines()).map(strip_text).collect();
        parts.retain(|part| !part.trim().is_empty());
        // The longer first: a secret that contains another must go as a whole.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        let longest = parts.first().map_or(0, String::len);
        Self { secrets: parts, longest, rows, hiding: Hiding::No }
    }

    /// The line as it may be kept; none where all of it is hidden. `left_out` says how many bytes were cut off its end.
    pub(super) fn line(&mut self, bytes: &[u8], left_out: u64) -> Option<String> {
        let mut line = strip(bytes);
        if self.continues_a_row(&line) {
            return None;
        }
        for secret in &self.secrets {
            if line.contains(secret.as_str()) {
                line = line.replace(secret.as_str(), SECRET);
            }
        }
        if left_out > 0 {
            // What was cut off may have been the end of a secret whose beginning is still here.
            let mut keep = line.len().saturating_sub(self.longest);
            while !line.is_char_boundary(keep) {
                keep -= 1;
            }
            line.truncate(keep);
            line = format!("{line} [{left_out} bytes more]");
        }
        if let Some((keep, closed_by)) = row_in(&line) {
            let closed = line.trim_end().ends_with(closed_by);
            line.truncate(keep);
            line.push_str(ROW);
            self.hiding = match self.rows {
                Rows::Postgres => Hiding::Continuations,
                Rows::Anywhere if closed => Hiding::No,
                Rows::Anywhere => Hiding::Until(closed_by, MOST_HIDDEN),
            };
        }
        Some(line)
    }

    fn continues_a_row(&mut self, line: &str) -> bool {
        let begins = MESSAGES.iter().any(|message| line.starts_with(message));
        match self.hiding {
            Hiding::No => false,
            // Workers of pg_restore write into one another's messages, so that another message does not end a row.
            // Only a command, which has lines of its own, does.
            Hiding::Continuations => {
                if line.starts_with("Command was:") {
                    self.hiding = Hiding::No;
                }
                !begins
            }
            Hiding::Until(..) if begins => {
                self.hiding = Hiding::No;
                false
            }
            Hiding::Until(end, left) => {
                let over = left == 0 || line.trim_end().ends_with(end);
                self.hiding = if over { Hiding::No } else { Hiding::Until(end, left - 1) };
                true
            }
        }
    }
}

/// Where a customer's data begins in a line of PostgreSQL's, and what ends it.
fn row_in(line: &str) -> Option<(usize, &'static str)> {
    let after = |from: usize, marker: &str| line.get(from..)?.find(marker).map(|at| from + at + marker.len());
    // DETAIL:  Key (id, name)=(5, Ada) already exists.
    if let Some(key) = after(0, "Key (")
        && let Some(value) = after(key, ")=(")
    {
        return Some((value, "."));
    }
    // DETAIL:  Failing row contains (5, Ada, null).
    if let Some(value) = after(0, "ailing row contains (") {
        return Some((value, ")."));
    }
    // CONTEXT:  COPY users, line 3, column born: "…"   CONTEXT:  JSON data, line 1: {"…
    if let Some(context) = line.find("CONTEXT:")
        && let Some(number) = after(context, ", line ")
    {
        let digits = line.get(number..)?.bytes().take_while(u8::is_ascii_digit).count();
        let mut end = number + digits;
        if let Some(rest) = line.get(end..)
            && rest.starts_with(", column ")
        {
            end += rest.find(':').unwrap_or(rest.len());
        }
        return (end < line.len()).then_some((end, "\""));
    }
    // Command was: INSERT INTO users VALUES (5, 'Ada');
    if let Some(command) = after(0, "Command was: ")
        && let Some(rest) = line.get(command..)
        && ["INSERT ", "COPY ", "UPDATE "].iter().any(|word| rest.starts_with(word))
    {
        let values = after(command, " VALUES").unwrap_or(command);
        return Some((values, ";"));
    }
    // STATEMENT:  and QUERY:  repeat what was sent.
    for marker in ["STATEMENT:", "QUERY:"] {
        if let Some(value) = after(0, marker) {
            return Some((value, ";"));
        }
    }
    // ERROR:  invalid input syntax for type integer: "Ada"     ERROR:  value "99999" is out of range for type smallint
    if let Some(error) = after(0, "ERROR:") {
        let quoted = [": \"", " value \"", "\u{20}string \""].iter().filter_map(|marker| after(error, marker)).min();
        return quoted.map(|value| (value, "\""));
    }
    None
}

/// The text without what a terminal would act on.
fn strip(bytes: &[u8]) -> String {
    strip_text(&String::from_utf8_lossy(bytes))
}

fn strip_text(text: &str) -> String {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut chars),
            // The same introducers as single characters (C1): CSI, and those of strings.
            '\u{9b}' => skip_csi(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            '\t' => out.push_str("    "),
            // Turns the direction of text round, and with it what a line seems to say.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            '\u{2028}' | '\u{2029}' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips what follows an ESC, after ECMA-48.
fn skip_sequence(chars: &mut Chars<'_>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_csi(chars);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            skip_string(chars);
        }
        Some(_) => {
            while chars.next_if(|c| ('\u{20}'..='\u{2f}').contains(c)).is_some() {}
            chars.next_if(|c| ('\u{30}'..='\u{7e}').contains(c));
        }
        None => {}
    }
}

fn skip_csi(chars: &mut Chars<'_>) {
    while chars.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
    chars.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
}

fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(rows: Rows, text: &str) -> Vec<String> {
        let mut cleaner = Cleaner::new(&["hunter2".to_owned(), "line-one\nline-two".to_owned()], rows);
        text.lines().filter_map(|line| cleaner.line(line.as_bytes(), 0)).collect()
    }

    #[test]
    fn terminals_get_nothing_to_act_on() {
        for (raw, shown) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]52;c;ZXZpbA==\u{7}copied", "copied"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("a\u{8}b\u{7}c\u{0}d", "abcd"),
            ("a\tb", "a    b"),
            ("\u{1b}(Bplain \u{9b}2Jx", "plain x"),
            ("\u{202e}evil", "evil"),
            ("\u{1b}", ""),
            ("grüße", "grüße"),
        ] {
            assert_eq!(strip(raw.as_bytes()), shown, "{raw:?}");
        }
        assert_eq!(strip(b"bad \xff byte"), "bad \u{fffd} byte");
    }

    #[test]
    fn secrets_are_cut_out_in_any_line_and_behind_colours() {
        let out = clean(Rows::Anywhere, "password=hunter2&x\n\u{1b}[1mhun\u{1b}[0mter2\nline-two here");
        assert_eq!(out, ["password=[secret]&x", "[secret]", "[secret] here"]);
    }

    #[test]
    fn a_cut_line_does_not_end_in_half_a_secret() {
        let mut cleaner = Cleaner::new(&["hunter2".to_owned()], Rows::Anywhere);
        let line = cleaner.line(b"token hunte", 99).expect("a line");
        assert!(!line.contains("hunt") && line.ends_with("[99 bytes more]"), "{line}");
    }

    #[test]
    fn rows_of_customers_are_hidden_over_several_lines() {
        let text = "pg_restore: error: COPY failed for table \"users\": ERROR:  duplicate key value violates unique constraint \"users_pkey\"\n\
                    DETAIL:  Key (email)=(ada@example.com\nsecond line) already exists.\n\
                    CONTEXT:  COPY users, line 3: \"5\tAda\n\
                    more of Ada\"\n\
                    pg_restore: finished item 3507 TABLE DATA users\n\
                    still Ada\n\
                    Command was: ALTER TABLE ONLY public.users\n    ADD CONSTRAINT users_pkey PRIMARY KEY (id);";
        let out = clean(Rows::Postgres, text);
        assert_eq!(
            out,
            [
                "pg_restore: error: COPY failed for table \"users\": ERROR:  duplicate key value violates unique constraint \"users_pkey\"",
                "DETAIL:  Key (email)=([row hidden]",
                "CONTEXT:  COPY users, line 3[row hidden]",
                "pg_restore: finished item 3507 TABLE DATA users",
                "Command was: ALTER TABLE ONLY public.users",
                "    ADD CONSTRAINT users_pkey PRIMARY KEY (id);",
            ]
        );
    }

    #[test]
    fn every_shape_of_row_is_hidden() {
        for (raw, shown) in [
            ("DETAIL:  Failing row contains (5, Ada, null).", "DETAIL:  Failing row contains ([row hidden]"),
            ("CONTEXT:  COPY t, line 1, column born: \"Ada\"", "CONTEXT:  COPY t, line 1, column born[row hidden]"),
            ("CONTEXT:  COPY t, line 1", "CONTEXT:  COPY t, line 1"),
            ("CONTEXT:  JSON data, line 1: {\"n\":\"Ada\"", "CONTEXT:  JSON data, line 1[row hidden]"),
            ("Command was: INSERT INTO t VALUES (5, 'Ada');", "Command was: INSERT INTO t VALUES[row hidden]"),
            (
                "ERROR:  invalid input syntax for type integer: \"Ada\"",
                "ERROR:  invalid input syntax for type integer: \"[row hidden]",
            ),
            ("ERROR:  value \"123456\" is out of range for type smallint", "ERROR:  value \"[row hidden]"),
            ("STATEMENT:  select 'Ada'", "STATEMENT:[row hidden]"),
            ("ERROR:  permission denied for schema \"app\"", "ERROR:  permission denied for schema \"app\""),
            ("FATAL:  database \"x\" does not exist", "FATAL:  database \"x\" does not exist"),
        ] {
            let out = clean(Rows::Postgres, raw);
            assert_eq!(out, [shown]);
            assert!(!out.concat().contains("Ada"));
        }
    }

    #[test]
    fn another_programs_output_goes_on_behind_a_row() {
        let text =
            "DETAIL:  Key (id)=(5) already exists.\nnext test\nDETAIL:  Failing row contains (5,\nAda).\nnext again";
        let out = clean(Rows::Anywhere, text);
        assert_eq!(
            out,
            [
                "DETAIL:  Key (id)=([row hidden]",
                "next test",
                "DETAIL:  Failing row contains ([row hidden]",
                "next again"
            ]
        );
    }
}
