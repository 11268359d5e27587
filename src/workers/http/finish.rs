//! Small things that every worker of an HTTP service needs.

use std::future::Future;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::incident::Plan;
use crate::workers::{Done, Io, Probe, Ran, WorkerError};

/// What a check found: lines of proof, and what is wrong. All is looked at, also after the first thing wrong.
#[derive(Debug, Default)]
pub(crate) struct Checklist {
    good: Vec<String>,
    wrong: Vec<WorkerError>,
}

impl Checklist {
    /// Takes one finding and gives its value on.
    pub(crate) fn take<T>(&mut self, io: &Io, found: Result<(T, String), WorkerError>) -> Option<T> {
        match found {
            Ok((value, line)) => {
                io.line(format!("good: {line}"));
                self.good.push(line);
                Some(value)
            }
            Err(error) => {
                io.line(format!("wrong: {error}"));
                self.wrong.push(error);
                None
            }
        }
    }

    /// Success with all lines, or the first thing wrong with the others' causes behind it.
    pub(crate) fn finish(self) -> Result<Ran, WorkerError> {
        let mut wrong = self.wrong.into_iter();
        let Some(mut first) = wrong.next() else {
            return Ok(Ran::Done(Done { evidence: self.good, facts: Vec::new() }));
        };
        for other in wrong {
            first.cause = format!("{} Also: {}", first.cause, other.cause);
        }
        Err(first)
    }
}

/// Runs work that only reads; it ends at once when a person stops it.
pub(crate) async fn reading(io: &Io, work: impl Future<Output = Result<Ran, WorkerError>>) -> Result<Ran, WorkerError> {
    tokio::select! {
        () = io.cancel.cancelled() => Ok(Ran::Stopped("it only reads, so nothing is left half done".to_owned())),
        ran = work => ran,
    }
}

/// Writes lines into the attempt's log.
pub(crate) fn tell(io: &Io, lines: &[String]) {
    for line in lines {
        io.line(line);
    }
}

/// What became of an attempt that only reads.
pub(crate) fn only_reads() -> Probe {
    Probe::DidNot("it only reads".to_owned())
}

/// Reads back what the worker wrote into its plan.
pub(crate) fn basis<T: DeserializeOwned>(plan: &Plan) -> Result<T, WorkerError> {
    serde_json::from_value(plan.basis.clone()).map_err(|error| {
        WorkerError::new(
            "read the approved plan",
            plan.target.name.clone(),
            format!("It was made by another version of relight ({error})."),
            "Prepare the step again (r) and read the new plan.",
        )
    })
}

/// The first `longest` characters, on one line.
pub(crate) fn excerpt(text: &str, longest: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(longest) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

/// The same call by hand. `token` is the header with the name of a variable in place of the secret.
pub(crate) fn curl(method: &str, url: &str, token: &str, headers: &[&str], body: Option<&Value>) -> String {
    let mut line = format!("curl -X {method} {} -H \"{token}\"", quoted(url));
    for header in headers {
        line.push_str(" -H ");
        line.push_str(&quoted(header));
    }
    if let Some(body) = body {
        line.push_str(" -d ");
        line.push_str(&quoted(&body.to_string()));
    }
    line
}

/// One word for a POSIX shell, whatever it holds.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_quotes() {
        let body = serde_json::json!({"text": "it's"});
        let line = curl("POST", "https://x/y", "Authorization: Bearer $T", &["A: b"], Some(&body));
        assert_eq!(
            line,
            r#"curl -X POST 'https://x/y' -H "Authorization: Bearer $T" -H 'A: b' -d '{"text":"it'\''s"}'"#
        );
    }

    #[test]
    fn an_excerpt_is_one_line_cut_between_characters() {
        assert_eq!(excerpt("a\n  b", 9), "a b");
        assert_eq!(excerpt("äöü", 2), "äö…");
    }
}
