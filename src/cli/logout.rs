//! Whether an engine outlives the logout of whoever started it, and what helps where it does not.
//!
//! systemd-logind may be told to kill what a user leaves behind (`KillUserProcesses=yes`). It then ends the session's scope with
//! everything in it, so an engine is started in a scope of the user's own manager; and it ends that manager some seconds
//! after the user's last session, unless the user lingers.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::wire;

/// A program that does not answer within this is taken for one that is not there.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the system does with a user's processes at the last logout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Custom {
    /// They go on, or there is no logind that would end them.
    Spared,
    /// Those of a session are ended, those of the user's manager go on.
    SessionsEnd,
    /// All of them are ended.
    AllEnd,
}

/// What a program prints; none where it fails, is not there or does not end in time.
async fn answer(program: &str, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Option<String> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn says(answer: &str, name: &str, value: &str) -> bool {
    answer.lines().any(|line| line.trim().split_once('=') == Some((name, value)))
}

async fn custom(user: &str) -> Custom {
    let manager = answer("loginctl", ["show-user", "--property=KillUserProcesses"]).await.unwrap_or_default();
    if !says(&manager, "KillUserProcesses", "yes") {
        return Custom::Spared;
    }
    // One who is not logged in is not known to logind, and lingers not.
    let known = answer("loginctl", ["show-user", user, "--property=Linger"]).await.unwrap_or_default();
    if says(&known, "Linger", "yes") { Custom::SessionsEnd } else { Custom::AllEnd }
}

/// The words to start a program with so that it does not belong to this session; none where that is not needed or not
/// possible.
pub(super) async fn out_of_the_session(name: &str) -> Vec<String> {
    if custom(&wire::own_name()).await == Custom::Spared {
        return Vec::new();
    }
    let scope = ["systemd-run", "--user", "--scope", "--quiet", "--collect"].map(str::to_owned);
    // Tried with a program that does nothing: it must not be found out with an engine half started.
    let [program, options @ ..] = &scope;
    let works = answer(program, options.iter().map(String::as_str).chain(["true"])).await.is_some();
    if works { [&scope[..], &[format!("--description={name}"), "--".to_owned()]].concat() } else { Vec::new() }
}

/// What a person must know before the first step, if the engine with this process number would end at a logout.
pub(super) async fn warning(engine: u32) -> Option<String> {
    let user = wire::own_name();
    let custom = custom(&user).await;
    if custom == Custom::Spared {
        return None;
    }
    let apart = std::fs::read_to_string(format!("/proc/{engine}/cgroup"))
        .is_ok_and(|groups| groups.lines().any(|group| group.contains("/user@")));
    words(custom, apart, &user, engine)
}

fn words(custom: Custom, apart: bool, user: &str, engine: u32) -> Option<String> {
    let when = match (custom, apart) {
        (Custom::Spared, _) | (Custom::SessionsEnd, true) => return None,
        (Custom::AllEnd, true) => "some seconds after your last session ends",
        (Custom::SessionsEnd | Custom::AllEnd, false) => "when the session that started it ends",
    };
    let mut text = format!(
        "This system ends what you leave behind at logout (KillUserProcesses=yes in logind.conf). The engine of this incident, \
         and a restore that is at work, would be killed {when}: a dropped connection is enough.\n\nBefore the first step:\n"
    );
    if custom == Custom::AllEnd {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  loginctl enable-linger {user}\n");
    }
    if !apart {
        let _ = write!(
            text,
            "\n  The engine must not run in your login session. It is started outside of it where\n  `systemd-run --user --scope \
             true` succeeds. Make that so, end this engine (kill {engine}), attach again.\n  Where it cannot be: have an \
             administrator set KillExcludeUsers={user} in logind.conf, or keep\n  this session open until the incident is \
             closed.\n"
        );
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_the_command_that_helps_and_none_is_given_without_need() {
        assert_eq!(words(Custom::Spared, false, "ana", 7), None);
        assert_eq!(words(Custom::SessionsEnd, true, "ana", 7), None);
        let lasting = words(Custom::AllEnd, true, "ana", 7).expect("a warning");
        assert!(lasting.contains("loginctl enable-linger ana") && !lasting.contains("systemd-run"));
        let bound = words(Custom::SessionsEnd, false, "ana", 7).expect("a warning");
        assert!(
            !bound.contains("enable-linger")
                && bound.contains("systemd-run --user --scope")
                && bound.contains("kill 7")
        );
    }

    #[test]
    fn only_the_very_value_counts() {
        assert!(says("KillUserProcesses=yes\n", "KillUserProcesses", "yes"));
        for answer in ["", "KillUserProcesses=no\n", "KillUserProcesses=yes-not\n", "XKillUserProcesses=yes\n"] {
            assert!(!says(answer, "KillUserProcesses", "yes"), "{answer}");
        }
    }
}
