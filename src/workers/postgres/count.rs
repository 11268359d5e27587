//! How many rows a dump holds of each table, from the dump itself.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::archive::{ArchiveError, Toc, count_rows};
use crate::workers::WorkerError;

use super::tools::Tool;

/// A table of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) rows: u64,
}

/// Counts the rows of every table whose data is in the dump as COPY.
pub(super) async fn count(tool: &Tool, path: &Path, toc: &Toc) -> Result<Vec<Counted>, WorkerError> {
    let fault = |cause: String| {
        WorkerError::new(
            "count the dump's rows",
            path.display().to_string(),
            cause,
            "Retry (r): the dump is fetched again where it is gone.",
        )
    };
    let (owned, contents) = (path.to_owned(), toc.clone());
    let read = move || -> Result<_, ArchiveError> {
        let file = File::open(&owned).map_err(|error| ArchiveError::Read { at: 0, cause: error.to_string() })?;
        count_rows(file, &contents)
    };
    match tokio::task::spawn_blocking(read).await.map_err(|error| fault(format!("{error}.")))? {
        Ok(counts) => Ok(counts
            .into_iter()
            .filter_map(|count| {
                let entry = toc.entry(count.dump_id)?;
                Some(Counted { schema: entry.namespace.clone()?, table: entry.tag.clone(), rows: count.rows })
            })
            .collect()),
        // Compressions that only pg_restore knows: it writes the rows, and we only count them.
        Err(ArchiveError::CannotDecompress { .. }) => stream(tool, path).await.map_err(fault),
        Err(error) => Err(fault(format!("{error}."))),
    }
}

async fn stream(tool: &Tool, path: &Path) -> Result<Vec<Counted>, String> {
    let mut child = Command::new(&tool.path)
        .args(["--data-only", "--file=-"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("pg_restore cannot be started: {error}."))?;
    let output = child.stdout.take().ok_or("pg_restore has no output.")?;
    let mut reader = BufReader::with_capacity(256 << 10, output);
    let mut counter = Counter::default();
    loop {
        let bytes = reader.fill_buf().await.map_err(|error| format!("{error}."))?;
        if bytes.is_empty() {
            break;
        }
        let count = bytes.len();
        counter.feed(bytes);
        reader.consume(count);
    }
    let status = child.wait().await.map_err(|error| format!("{error}."))?;
    if !status.success() {
        return Err(format!("pg_restore ended with {status}."));
    }
    Ok(counter.done)
}

/// Reads pg_restore's script. Only the beginning of a line is kept: of a row nothing but its end matters.
#[derive(Debug, Default)]
struct Counter {
    line: Vec<u8>,
    next: Option<(String, String)>,
    inside: Option<Counted>,
    done: Vec<Counted>,
}

impl Counter {
    fn feed(&mut self, bytes: &[u8]) {
        /// Longer than any comment that names a table: two names of 63 bytes and the words around them.
        const KEEP: usize = 512;
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, tail) = rest.split_at(at);
            self.keep(line, KEEP);
            self.ended();
            self.line.clear();
            rest = tail.get(1..).unwrap_or_default();
        }
        self.keep(rest, KEEP);
    }

    fn keep(&mut self, bytes: &[u8], most: usize) {
        let room = most.saturating_sub(self.line.len()).min(bytes.len());
        self.line.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    fn ended(&mut self) {
        if let Some(table) = &mut self.inside {
            if self.line == b"\\." {
                self.done.extend(self.inside.take());
            } else {
                table.rows += 1;
            }
            return;
        }
        let line = String::from_utf8_lossy(&self.line);
        // -- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: fc_app
        if let Some(rest) = line.strip_prefix("-- Data for Name: ")
            && let Some((table, rest)) = rest.split_once("; Type: TABLE DATA; Schema: ")
            && let Some((schema, _)) = rest.rsplit_once("; Owner: ")
        {
            self.next = Some((schema.to_owned(), table.to_owned()));
        } else if line.starts_with("COPY ")
            && line.ends_with(" FROM stdin;")
            && let Some((schema, table)) = self.next.take()
        {
            self.inside = Some(Counted { schema, table, rows: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_look_like_commands_are_rows() {
        let script = b"--\n-- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: fc_app\n--\n\n\
            COPY public.users (id, name) FROM stdin;\n1\tAda\n2\tCOPY x FROM stdin;\n3\t-- Data for Name: y; Type: TABLE DATA; Schema: z; Owner: o\n\\.\n\n\n\
            -- Data for Name: empty; Type: TABLE DATA; Schema: app; Owner: fc_app\nCOPY app.empty (id) FROM stdin;\n\\.\n";
        let users = Counted { schema: "public".to_owned(), table: "users".to_owned(), rows: 3 };
        let empty = Counted { schema: "app".to_owned(), table: "empty".to_owned(), rows: 0 };
        for cut in 0..script.len() {
            let mut counter = Counter::default();
            counter.feed(&script[..cut]);
            counter.feed(&script[cut..]);
            assert_eq!(counter.done, [users.clone(), empty.clone()], "cut at {cut}");
        }
    }
}
