//! Ending a program with everything that it started.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

/// How long the kernel may take over a killed process before it is reported as left behind; one that waits for a
/// dead disk cannot be killed at all.
const STUBBORN: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    dead: bool,
}

/// Ends the group that `leader` leads, and every descendant of this process: asks, and after `grace` kills.
/// Gives what could not be ended.
///
/// This process must be a subreaper, so that a descendant that left the group is still below it.
pub(super) async fn end(leader: Pid, grace: Duration) -> Vec<i32> {
    signal(leader, Signal::TERM);
    if tokio::time::timeout(grace, gone()).await.is_ok() {
        return Vec::new();
    }
    let killed = async {
        // Between looking and killing, one may have started another.
        while let Some(first) = living().first() {
            signal(leader, Signal::KILL);
            ended(first.pid).await;
        }
    };
    match tokio::time::timeout(STUBBORN, killed).await {
        Ok(()) => Vec::new(),
        Err(_) => living().iter().map(|process| process.pid).collect(),
    }
}

fn signal(leader: Pid, signal: Signal) {
    let leader_id = leader.as_raw_nonzero().get();
    let living = living();
    // A group without members may be somebody else's by now, so it is only signalled while a member lives.
    if living.iter().any(|process| process.group == leader_id) {
        let _ = kill_process_group(leader, signal);
    }
    for process in living.iter().filter(|process| process.group != leader_id) {
        if let Some(pid) = Pid::from_raw(process.pid) {
            let _ = kill_process(pid, signal);
        }
    }
}

async fn gone() {
    while let Some(first) = living().first() {
        ended(first.pid).await;
    }
}

/// Resolves when a process has ended.
async fn ended(pid: i32) {
    let Some(opened) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        return;
    };
    // No such process any more, or a kernel without pidfds, which is older than any that we run on.
    let Ok(process) = opened else { return tokio::task::yield_now().await };
    // A thread waits: the runtime's own way to watch a descriptor cannot be used without unsafe code.
    let wait = move || loop {
        let mut fds = [PollFd::new(&process, PollFlags::IN)];
        if !matches!(poll(&mut fds, None), Err(rustix::io::Errno::INTR)) {
            return;
        }
    };
    let _ = tokio::task::spawn_blocking(wait).await;
}

/// All descendants of this process that have not ended.
fn living() -> Vec<Process> {
    let all = processes();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut found: Vec<i32> = vec![own];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        at += 1;
        found.extend(
            all.iter().filter(|process| process.parent == parent && process.pid != own).map(|process| process.pid),
        );
    }
    let below = found.get(1..).unwrap_or_default();
    all.into_iter().filter(|process| !process.dead && below.contains(&process.pid)).collect()
}

fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| read(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// `pid (name) state parent group …`, proc(5); the name may hold anything, spaces and parentheses included.
fn read(pid: i32, stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    Some(Process { pid, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()?, dead })
}

/// When a process was started, in clock ticks since the boot: with its number it names it for good.
pub(super) fn started(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    // Field 22 of proc(5), counted from the state, which is field 3.
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_are_read() {
        let read = read(7, "7 (a) b (c)) S 3 5 5 0 -1 4194560");
        assert_eq!(read, Some(Process { pid: 7, parent: 3, group: 5, dead: false }));
    }

    #[test]
    fn this_process_has_a_start() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert!(started(own).is_some());
        assert!(processes().iter().any(|process| process.pid == own));
    }
}
