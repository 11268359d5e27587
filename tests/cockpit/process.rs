//! Processes from outside, as the system tells of them.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// A test that waits longer than this for an end has failed.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// A second's ticks in what Linux tells programs, whatever its own clock has.
const TICKS: u64 = 100;

/// The only child of a process.
pub(super) fn child(of: Pid) -> Option<Pid> {
    let of = of.as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

pub(super) fn signal(pid: Pid, signal: Signal) {
    kill_process(pid, signal).expect("it runs");
}

/// Whether it runs; one that has ended and is not reaped does not.
pub(super) fn runs(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Waits for a process's end, which `end` brings about.
pub(super) fn ends(pid: Pid, end: impl FnOnce()) {
    let handle = pidfd_open(pid, PidfdFlags::empty()).expect("it runs");
    end();
    let mut one = [PollFd::new(&handle, PollFlags::IN)];
    assert_eq!(poll(&mut one, Some(&PATIENCE)), Ok(1), "process {} goes on", pid.as_raw_nonzero());
}

/// Waits for what an inotify descriptor tells; false where nothing changes any more.
pub(super) fn changes(told: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(told, PollFlags::IN)], Some(&PATIENCE)) == Ok(1)
}

/// Bytes of memory that a process has written to; the pages of its program come and go with what it does.
pub(super) fn memory(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line of the system's");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Processor time that a process has used, in all of its threads.
pub(super) fn used(pid: Pid) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).expect("it runs");
    let (_, rest) = stat.rsplit_once(") ").expect("a line of the system's");
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// Whether one of a process's threads stands in a `write`.
pub(super) fn stands_in_a_write(pid: Pid) -> bool {
    let write = if cfg!(target_arch = "x86_64") { "1 " } else { "64 " };
    let threads = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("syscall")).ok())
        .any(|call| call.starts_with(write))
}

/// Processes whose environment names a folder, by number and command line.
pub(super) fn of(folder: &Path) -> Vec<(Pid, String)> {
    let name = folder.as_os_str().as_encoded_bytes();
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    all.filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        let ours = environment.windows(name.len()).any(|window| window == name);
        let words = std::fs::read(entry.path().join("cmdline")).ok()?;
        (ours && runs(pid)).then(|| (pid, String::from_utf8_lossy(&words).replace('\0', " ")))
    })
    .collect()
}
