//! Tells what a file is that is no custom-format archive.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a file looks like, by its first bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Foreign {
    /// A file compressed as a whole.
    Compressed {
        /// The program's name: gzip, zstd, xz, bzip2, lz4 or zip.
        with: String,
    },
    /// A plain SQL dump, or other SQL.
    PlainSql,
    /// An error document of S3, saved in the place of the object.
    S3Error {
        /// Its `<Code>`, where it is within the bytes at hand.
        code: Option<String>,
    },
    /// A web page, such as a login or proxy page.
    WebPage,
    /// pg_dump's tar format.
    TarDump,
    /// A tar file that pg_dump did not write.
    Tar,
    /// The `toc.dat` of pg_dump's directory format.
    DirectoryToc,
    /// An encrypted file.
    Encrypted {
        /// The program's name: gpg, age or openssl.
        with: String,
    },
    /// Nothing but zero bytes: an unfinished download or a hole.
    Zeros,
    /// JSON, such as a manifest beside the dump.
    Json,
    /// None of the above.
    Unknown {
        /// The first bytes in hexadecimal, at most eight of them.
        begins_with: String,
    },
}

impl Foreign {
    /// What `bytes`, which do not begin with pg_dump's magic, look like.
    pub(super) fn of(bytes: &[u8]) -> Self {
        const COMPRESSORS: [(&[u8], &str); 6] = [
            (b"\x1f\x8b", "gzip"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"\xfd7zXZ", "xz"),
            (b"BZh", "bzip2"),
            (b"\x04\x22\x4d\x18", "lz4"),
            (b"PK\x03\x04", "zip"),
        ];
        const ENCRYPTED: [(&[u8], &str); 3] =
            [(b"-----BEGIN PGP MESSAGE", "gpg"), (b"age-encryption.org/", "age"), (b"Salted__", "openssl")];
        const SQL: [&str; 9] = ["--", "\\", "/*", "set ", "begin", "create ", "insert ", "select ", "copy "];

        if let Some((_, with)) = COMPRESSORS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
            return Self::Compressed { with: (*with).to_owned() };
        }
        if let Some((_, with)) = ENCRYPTED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
            return Self::Encrypted { with: (*with).to_owned() };
        }
        if bytes.starts_with(b"toc.dat\0") {
            return Self::TarDump;
        }
        if bytes.get(257..262) == Some(b"ustar") {
            return Self::Tar;
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Self::Zeros;
        }
        let head = String::from_utf8_lossy(bytes.get(..2048).unwrap_or(bytes));
        let text = head.trim_start_matches('\u{feff}').trim_start();
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
            return Self::WebPage;
        }
        if lower.starts_with("<?xml") || lower.starts_with("<error") {
            let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
            return Self::S3Error { code: code.map(|(code, _)| code.chars().take(64).collect()) };
        }
        if lower.starts_with('{') || lower.starts_with('[') {
            return Self::Json;
        }
        if SQL.iter().any(|word| lower.starts_with(word)) {
            return Self::PlainSql;
        }
        let begins_with = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        Self::Unknown { begins_with }
    }

    /// At most 34 characters, for a column.
    #[must_use]
    pub fn short(&self) -> &'static str {
        match self {
            Self::Compressed { .. } => "compressed as a whole",
            Self::PlainSql => "plain SQL, not an archive",
            Self::S3Error { .. } => "an S3 error page, no dump",
            Self::WebPage => "a web page, no dump",
            Self::TarDump => "tar format, not custom format",
            Self::Tar => "a tar file, no dump",
            Self::DirectoryToc => "directory format, not custom",
            Self::Encrypted { .. } => "encrypted",
            Self::Zeros => "only zero bytes",
            Self::Json => "JSON, no dump",
            Self::Unknown { .. } => "not a pg_dump archive",
        }
    }

    /// What a person can do about it, as a sentence.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Compressed { .. } => "Decompress it first; inside may be an archive or plain SQL",
            Self::PlainSql => "Such a dump is restored with psql, not with pg_restore; choose a custom-format snapshot",
            Self::S3Error { .. } => {
                "The backup job saved an error message instead of a dump; choose another snapshot and check that job"
            }
            Self::WebPage => {
                "Something on the way answered in the place of the storage; fetch it again or choose another"
            }
            Self::TarDump => "pg_restore reads it by hand; choose a custom-format snapshot (pg_dump -Fc) here",
            Self::Tar => "Unpack it first and look inside",
            Self::DirectoryToc => "It is one file of a folder; pg_restore reads the whole folder by hand",
            Self::Encrypted { .. } => "Decrypt it first",
            Self::Zeros => "Its upload or download never finished; fetch it again or choose another snapshot",
            Self::Json => "It may be a manifest that lies beside the dump; choose the dump itself",
            Self::Unknown { .. } => "Choose another snapshot, or look at the file with `file` and `xxd`",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compressed { with } => write!(f, "a file compressed with {with} as a whole"),
            Self::PlainSql => f.write_str("a plain SQL dump"),
            Self::S3Error { code: Some(code) } => {
                write!(f, "an XML error document ({code}), as S3 sends it")
            }
            Self::S3Error { code: None } => f.write_str("an XML document, as S3 sends it for an error"),
            Self::WebPage => f.write_str("a web page"),
            Self::TarDump => f.write_str("pg_dump's tar format"),
            Self::Tar => f.write_str("a tar file"),
            Self::DirectoryToc => f.write_str("the toc.dat of pg_dump's directory format"),
            Self::Encrypted { with } => write!(f, "a file encrypted with {with}"),
            Self::Zeros => f.write_str("a file of zero bytes only"),
            Self::Json => f.write_str("JSON"),
            Self::Unknown { begins_with } => write!(f, "something unknown that begins with the bytes {begins_with}"),
        }
    }
}
