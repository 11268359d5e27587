//! The table of contents: what is in the archive, and where.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ArchiveError, Header, cursor::Cursor};

/// No entry takes less: sixteen Ints or NULL strings of five bytes, an offset's flag and its eight bytes.
const MIN_ENTRY: u64 = 16 * 5 + 9;

/// In which part of a restore an entry belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// In none, such as a comment of another object.
    None,
    /// Before the data: schemas, tables, types, functions.
    PreData,
    /// The data itself, large objects and sequence values.
    Data,
    /// After the data: indexes, constraints, triggers.
    PostData,
}

/// Where an entry's data block begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offset {
    /// It has data, but pg_dump wrote to a pipe and could not come back to say where.
    NotSet,
    /// At this byte, counted from the file's beginning.
    At(u64),
    /// It has no data.
    NoData,
}

/// One entry of the table of contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TocEntry {
    /// The entry's number, by which `pg_restore -L` and its output name it.
    pub dump_id: i32,
    /// The object's catalog, and its oid there; 0 where it has none.
    pub catalog: (u32, u32),
    /// The object's name.
    pub tag: String,
    /// Its kind, for instance `TABLE DATA`.
    pub desc: String,
    /// Its part of the restore.
    pub section: Section,
    /// The SQL that makes it, where there is any.
    pub definition: Option<String>,
    /// `COPY … FROM stdin;` for a table's data; `None` in a dump made with `--inserts`, and for everything else.
    pub copy_statement: Option<String>,
    /// Its schema.
    pub namespace: Option<String>,
    /// The tablespace that it is made in; `None` for the database's own.
    pub tablespace: Option<String>,
    /// Its owner.
    pub owner: Option<String>,
    /// The entries that must be restored before it.
    pub dependencies: Vec<i32>,
    /// Where its data is.
    pub offset: Offset,
    /// The byte of the archive from which nine say where its data is: a mark and eight, little endian.
    pub offset_at: u64,
}

impl TocEntry {
    /// Whether the archive should hold a data block for it.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.offset != Offset::NoData
    }

    /// Whether it is a table's data as `COPY`'s rows.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.desc == "TABLE DATA" && self.has_data() && self.copy_statement.is_some()
    }

    /// Its name with the schema, for instance `app.transactions`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.namespace.as_deref() {
            Some(namespace) if !namespace.is_empty() => format!("{namespace}.{}", self.tag),
            _ => self.tag.clone(),
        }
    }

    /// Its line in the output of `pg_restore -l`, which is also its line in a list for `pg_restore -L`.
    #[must_use]
    pub fn list_line(&self) -> String {
        let one_line = |text: &str| text.replace(['\n', '\r'], " ");
        let namespace = self.namespace.as_deref().filter(|name| !name.is_empty()).unwrap_or("-");
        format!(
            "{}; {} {} {} {} {} {}",
            self.dump_id,
            self.catalog.0,
            self.catalog.1,
            self.desc,
            one_line(namespace),
            one_line(&self.tag),
            one_line(self.owner.as_deref().unwrap_or_default()),
        )
    }
}

/// Where an entry's data lies, and how much it is, compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The entry.
    pub dump_id: i32,
    /// The block's first byte.
    pub start: u64,
    /// Its length in bytes, with the few of its framing.
    pub len: u64,
}

/// The table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toc {
    /// The header before it.
    pub header: Header,
    /// Its entries in the order of the file, in which data blocks lie too.
    pub entries: Vec<TocEntry>,
    /// The first byte behind it, where the data begins.
    pub data_start: u64,
    /// Places in `entries` by number: archives may have a hundred thousand of them.
    by_id: HashMap<i32, usize>,
    /// Places of the data of tables, by the table's number.
    data_of: HashMap<i32, usize>,
}

/// The few facts of a table of contents that are worth sending around.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TocSummary {
    /// Number of entries.
    pub entries: u32,
    /// Number of tables whose data is in the archive.
    pub tables_with_data: u32,
    /// Whether any of them was dumped as `INSERT` statements, which restores far more slowly.
    pub inserts: bool,
    /// Whether the archive says where each table's data begins. If not, parallel restores scan for it.
    pub has_offsets: bool,
    /// Where the data begins, in bytes.
    pub data_start: u64,
    /// The greatest offset of any data block. A file that is not longer than this is cut off.
    pub last_block_at: Option<u64>,
}

impl Toc {
    /// Reads header and table of contents from the archive's first bytes. 64 KiB hold that of a few dozen tables.
    ///
    /// Errors: as [`Header::parse`]; the lower bound in [`ArchiveError::NeedMore`] counts the entries still to come.
    pub fn parse(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let (header, mut at) = Header::read(bytes)?;
        // A damaged count must not reserve memory that the bytes at hand cannot fill.
        let fits = u64::try_from(at.remaining()).unwrap_or(u64::MAX) / MIN_ENTRY;
        let room = usize::try_from(u64::from(header.toc_entries).min(fits)).unwrap_or_default();
        let mut entries = Vec::with_capacity(room);
        for left in (0..u64::from(header.toc_entries)).rev() {
            let begin = at.position();
            let entry = read_entry(&mut at, header.version.minor).map_err(|error| match error {
                ArchiveError::NeedMore { at_least } => ArchiveError::NeedMore {
                    at_least: at_least.max(begin.saturating_add(MIN_ENTRY)).saturating_add(left * MIN_ENTRY),
                },
                other => other,
            })?;
            entries.push(entry);
        }
        Ok(Self::of(header, entries, at.position()))
    }

    fn of(header: Header, entries: Vec<TocEntry>, data_start: u64) -> Self {
        let (mut by_id, mut data_of) = (HashMap::with_capacity(entries.len()), HashMap::new());
        for (at, entry) in entries.iter().enumerate() {
            by_id.entry(entry.dump_id).or_insert(at);
            if entry.desc == "TABLE DATA" {
                for table in &entry.dependencies {
                    data_of.entry(*table).or_insert(at);
                }
            }
        }
        Self { header, entries, data_start, by_id, data_of }
    }

    /// The entry with this number.
    #[must_use]
    pub fn entry(&self, dump_id: i32) -> Option<&TocEntry> {
        self.entries.get(*self.by_id.get(&dump_id)?)
    }

    /// The entry with the data of the table with this number.
    #[must_use]
    pub fn data_of(&self, table: i32) -> Option<&TocEntry> {
        self.entries.get(*self.data_of.get(&table)?)
    }

    /// Where each data block lies in a file of `file_len` bytes, in the order of the file: from its offset to the next
    /// one, the last to the end. Empty for an archive without offsets; [`super::verify_end`] finds them then.
    #[must_use]
    pub fn spans(&self, file_len: u64) -> Vec<Span> {
        let mut starts: Vec<(u64, i32)> = self
            .entries
            .iter()
            .filter_map(|entry| match entry.offset {
                Offset::At(start) => Some((start, entry.dump_id)),
                Offset::NotSet | Offset::NoData => None,
            })
            .collect();
        starts.sort_unstable();
        let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([file_len]);
        starts
            .iter()
            .zip(ends)
            .map(|((start, dump_id), end)| Span { dump_id: *dump_id, start: *start, len: end.saturating_sub(*start) })
            .collect()
    }

    /// The facts that decide about a snapshot.
    #[must_use]
    pub fn summary(&self) -> TocSummary {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let tables = || self.entries.iter().filter(|entry| entry.desc == "TABLE DATA" && entry.has_data());
        TocSummary {
            entries: count(self.entries.len()),
            tables_with_data: count(tables().count()),
            inserts: tables().any(|entry| entry.copy_statement.is_none()),
            has_offsets: !self.entries.iter().any(|entry| entry.offset == Offset::NotSet),
            data_start: self.data_start,
            last_block_at: self.spans(u64::MAX).last().map(|span| span.start),
        }
    }
}

impl fmt::Display for TocEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.desc, self.name())
    }
}

/// One entry, as `WriteToc` writes it.
fn read_entry(at: &mut Cursor<'_>, minor: u8) -> Result<TocEntry, ArchiveError> {
    let dump_id_at = at.position();
    let dump_id = at.int("an entry's number")?;
    if dump_id <= 0 {
        return Err(ArchiveError::corrupt(dump_id_at, format!("an entry has the impossible number {dump_id}")));
    }
    let _had_dumper = at.int("an entry's data mark")?;
    let catalog = (oid(at, "a catalog's oid")?, oid(at, "an object's oid")?);
    let tag = at.string("an entry's name")?.unwrap_or_default();
    let desc = at.string("an entry's kind")?.unwrap_or_default();
    let section_at = at.position();
    let section = match at.int("an entry's section")? {
        1 => Section::None,
        2 => Section::PreData,
        3 => Section::Data,
        4 => Section::PostData,
        other => {
            return Err(ArchiveError::corrupt(section_at, format!("an entry has the unknown section {other}")));
        }
    };
    let definition = at.string("an entry's definition")?.filter(|text| !text.is_empty());
    let _drop_statement = at.string("an entry's drop statement")?;
    let copy_statement = at.string("an entry's copy statement")?.filter(|text| !text.is_empty());
    let namespace = at.string("an entry's schema")?;
    let tablespace = at.string("an entry's tablespace")?.filter(|name| !name.is_empty());
    let _table_access_method = at.string("an entry's access method")?;
    if minor >= 16 {
        let _relation_kind = at.int("an entry's relation kind")?;
    }
    let owner = at.string("an entry's owner")?;
    let _with_oids = at.string("an entry's last mark")?;
    let mut dependencies = Vec::new();
    loop {
        let place = at.position();
        let Some(text) = at.string("a dependency")? else {
            break;
        };
        let number = text.parse().map_err(|_| ArchiveError::corrupt(place, "a dependency is not a number"))?;
        dependencies.push(number);
    }
    let flag_at = at.position();
    let flag = at.byte()?;
    let position = at.offset()?;
    let offset = match flag {
        1 => Offset::NotSet,
        2 => Offset::At(position),
        3 => Offset::NoData,
        other => {
            return Err(ArchiveError::corrupt(flag_at, format!("an entry's offset has the unknown mark {other}")));
        }
    };
    Ok(TocEntry {
        dump_id,
        catalog,
        tag,
        desc,
        section,
        definition,
        copy_statement,
        namespace,
        tablespace,
        owner,
        dependencies,
        offset,
        offset_at: flag_at,
    })
}

fn oid(at: &mut Cursor<'_>, what: &'static str) -> Result<u32, ArchiveError> {
    let place = at.position();
    match at.string(what)? {
        None => Ok(0),
        Some(text) => text.parse().map_err(|_| ArchiveError::corrupt(place, format!("{what} is not a number"))),
    }
}
