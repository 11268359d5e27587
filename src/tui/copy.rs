//! Text from an SSH session to the person's own clipboard.
//!
//! tmux drops OSC 52 from programs by default, but takes text from `tmux load-buffer -w -` and passes it on.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;

/// The longest text that terminals take in one OSC 52 sequence: 100,000 bytes in base64 (hterm), less its frame.
pub(super) const LONGEST: usize = 74_994;

/// How a text is to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Tmux,
    Terminal,
}

/// The way for this environment.
pub(super) fn way(tmux: Option<&str>) -> Way {
    if tmux.is_some_and(|socket| !socket.is_empty()) { Way::Tmux } else { Way::Terminal }
}

/// As much of a text as fits, and whether that is all.
pub(super) fn cut(text: &str) -> (&str, bool) {
    if text.len() <= LONGEST {
        return (text, true);
    }
    let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    (text.get(..end).unwrap_or_default(), false)
}

/// Gives a text to tmux.
///
/// # Errors
/// tmux cannot be run, or says no.
pub(super) async fn to_tmux(text: String) -> Result<(), String> {
    let failed = |why: String| format!("not copied: tmux load-buffer failed: {why}");
    let mut child = tokio::process::Command::new("tmux")
        .args(["load-buffer", "-w", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes()).await.map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// A copy that was begun.
pub(super) enum Copying {
    /// It was made, in words.
    Done(String),
    /// tmux has to be asked.
    ByTmux { part: String, less: String },
}

impl Copying {
    pub(super) async fn end(self) -> Result<String, String> {
        match self {
            Self::Done(words) => Ok(words),
            Self::ByTmux { part, less } => to_tmux(part).await.map(|()| format!("copied by tmux{less}")),
        }
    }
}

/// What became of a file and a copy, in one sentence; bad where either went wrong.
pub(super) fn both(written: Result<String, String>, copied: Option<Result<String, String>>) -> Result<String, String> {
    match (written, copied) {
        (written, None) => written,
        (Ok(written), Some(Ok(copied))) => Ok(format!("{copied}; {written}")),
        (Ok(one) | Err(one), Some(Ok(other) | Err(other))) => Err(format!("{other}; {one}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "ü".repeat(40_000);
        let (part, whole) = cut(&text);
        assert_eq!((part.len(), whole), (LONGEST, false));
        assert_eq!(cut("short"), ("short", true));
        assert_eq!(way(Some("/tmp/tmux")), Way::Tmux);
        assert_eq!(way(None), Way::Terminal);
    }
}
