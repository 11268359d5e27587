//! The archive's header: who wrote it, from which database, when.

use std::fmt;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::{ArchiveError, Foreign, cursor::Cursor};

const MAGIC: &[u8] = b"PGDMP";

/// The version of the archive format, which is not PostgreSQL's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// Always 1 so far.
    pub major: u8,
    /// 14 (PostgreSQL 12 to 15), 15 (16) or 16 (17 and 18).
    pub minor: u8,
    /// 0 so far.
    pub revision: u8,
}

impl Version {
    /// The oldest that is read here, of PostgreSQL 12.
    pub const OLDEST: Self = Self { major: 1, minor: 14, revision: 0 };
    /// The newest that is read here, of PostgreSQL 17 and 18.
    pub const NEWEST: Self = Self { major: 1, minor: 16, revision: 255 };

    /// The oldest major version of pg_restore that reads this archive: 12, 16 or 17.
    #[must_use]
    pub fn oldest_pg_restore(self) -> u32 {
        match self.minor {
            ..=14 => 12,
            15 => 16,
            _ => 17,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// How the data blocks are compressed. The header and the table of contents never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// One zlib stream per table.
    Gzip,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// What the first bytes of an archive say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format's version.
    pub version: Version,
    /// How the data is compressed.
    pub compression: Compression,
    /// When pg_dump began, before it connected: wall-clock time of its host, *without the zone*, which is not in the
    /// archive. `None` where the fields make no date.
    pub created: Option<DateTime>,
    /// The fields as written: sec, min, hour, mday, mon (0 to 11), year since 1900, and isdst (0 or 1; below 0 unknown).
    pub created_raw: [i32; 7],
    /// The database that was dumped.
    pub database: Option<String>,
    /// The server's version, for instance `15.18 (Debian 15.18-0+deb12u1)`.
    pub server_version: Option<String>,
    /// pg_dump's version, in the same shape.
    pub pg_dump_version: Option<String>,
    /// Number of entries in the table of contents.
    pub toc_entries: u32,
}

impl Header {
    /// Reads the header from the archive's first bytes; more bytes than it takes do no harm.
    ///
    /// Errors: [`ArchiveError::NeedMore`] where `bytes` end early, which [`ArchiveError::given_size`] turns into the
    /// verdict that the file is cut off; otherwise what is wrong with the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ArchiveError> {
        Self::read(bytes).map(|(header, _)| header)
    }

    /// The header, and the place right behind it.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, Cursor<'_>), ArchiveError> {
        if bytes.is_empty() {
            return Err(ArchiveError::Empty);
        }
        if !bytes.starts_with(MAGIC) {
            return Err(if MAGIC.starts_with(bytes) {
                ArchiveError::NeedMore { at_least: 11 }
            } else {
                ArchiveError::NotAnArchive { looks_like: Foreign::of(bytes) }
            });
        }
        let mut at = Cursor::new(bytes, MAGIC.len());
        let version = Version { major: at.byte()?, minor: at.byte()?, revision: at.byte()? };
        if version > Version::NEWEST {
            return Err(ArchiveError::Newer { version });
        }
        if version < Version::OLDEST {
            return Err(ArchiveError::Older { version });
        }
        let (int_size, offset_size) = (at.byte()?, at.byte()?);
        if (int_size, offset_size) != (4, 8) {
            return Err(ArchiveError::ForeignSizes { int_size, offset_size });
        }
        let format_at = at.position();
        match at.byte()? {
            1 => {}
            // The directory format's toc.dat carries the tar format's number; a tar dump itself begins with a tar header.
            3 | 5 => {
                return Err(ArchiveError::NotAnArchive { looks_like: Foreign::DirectoryToc });
            }
            other => {
                return Err(ArchiveError::corrupt(format_at, format!("its format has the unknown number {other}")));
            }
        }
        let compression = compression(&mut at, version)?;
        let mut created_raw = [0; 7];
        for field in &mut created_raw {
            *field = at.int("the creation time")?;
        }
        let database = at.string("the database's name")?;
        let server_version = at.string("the server's version")?;
        let pg_dump_version = at.string("pg_dump's version")?;
        let count_at = at.position();
        let toc_entries = u32::try_from(at.int("the number of entries")?)
            .map_err(|_| ArchiveError::corrupt(count_at, "the number of entries is negative"))?;
        let created = civil(created_raw);
        let header =
            Self { version, compression, created, created_raw, database, server_version, pg_dump_version, toc_entries };
        Ok((header, at))
    }

    /// The major version of the pg_dump that wrote it, for instance 15.
    #[must_use]
    pub fn pg_dump_major(&self) -> Option<u32> {
        major(self.pg_dump_version.as_deref()?)
    }

    /// The major version of the server that was dumped.
    #[must_use]
    pub fn server_major(&self) -> Option<u32> {
        major(self.server_version.as_deref()?)
    }

    /// Whether daylight-saving time was in force on the host that ran pg_dump, where it knew.
    #[must_use]
    pub fn daylight_saving(&self) -> Option<bool> {
        let [.., is_dst] = self.created_raw;
        (is_dst >= 0).then_some(is_dst > 0)
    }
}

fn compression(at: &mut Cursor<'_>, version: Version) -> Result<Compression, ArchiveError> {
    let place = at.position();
    if version.minor < 15 {
        return Ok(if at.int("the compression level")? == 0 { Compression::None } else { Compression::Gzip });
    }
    match at.byte()? {
        0 => Ok(Compression::None),
        1 => Ok(Compression::Gzip),
        2 => Ok(Compression::Lz4),
        3 => Ok(Compression::Zstd),
        other => Err(ArchiveError::corrupt(place, format!("its compression has the unknown number {other}"))),
    }
}

fn civil([sec, min, hour, mday, mon, year, _]: [i32; 7]) -> Option<DateTime> {
    let narrow = |value: i32| i8::try_from(value).ok();
    DateTime::new(
        i16::try_from(year.checked_add(1900)?).ok()?,
        narrow(mon.checked_add(1)?)?,
        narrow(mday)?,
        narrow(hour)?,
        narrow(min)?,
        // A leap second counts as 60 in C and does not exist in civil time here.
        narrow(if sec == 60 { 59 } else { sec })?,
        0,
    )
    .ok()
}

fn major(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
