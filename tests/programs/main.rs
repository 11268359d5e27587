//! Programs under their shim, as processes: what survives the engine, what is ended, what is kept of their output.

mod commands;
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use relight::incident::Notice;
use relight::workers::process::{Adopted, Spec, adopt, run};
use relight::workers::{Cancel, Disposition};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use support::{Attempt, alive, fifo, sh};

#[tokio::test]
async fn output_is_kept_cleaned_and_told_in_order() {
    let attempt = Attempt::new();
    let mut spec = sh(
        "echo one; echo two >&2; printf '\\033[31mkey is %s\\033[0m\\n' \"$TOKEN\"; echo 'DETAIL:  Key (email)=(ada@example.com) already exists.'; printf 'no newline'",
    );
    spec.env = vec![("TOKEN".to_owned(), SecretString::from("hunter2"))];
    spec.redact = vec![SecretString::from("hunter2")];
    let (tell, seen) = std::sync::mpsc::channel();
    spec.on_line = Some(Box::new(move |line| tell.send(line.to_owned()).unwrap()));
    let exit = run(&attempt.io(), spec).await.unwrap();
    assert!(exit.succeeded());
    let expected = "one\ntwo\nkey is [secret]\nDETAIL:  Key (email)=([row hidden]\nno newline\n";
    assert_eq!(attempt.log(), expected);
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>());
    assert_eq!(attempt.sink.output(), expected);
    assert_eq!((exit.end_offset, exit.tail.len(), exit.lost_bytes), (expected.len() as u64, 5, 0));
    for file in [&attempt.log, &attempt.beside(".exit.json"), &attempt.beside(".lock")] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    assert!(matches!(adopt(&attempt.log), Adopted::Ended(ended) if ended == exit));
}

#[tokio::test]
async fn failures_say_the_last_words() {
    let attempt = Attempt::new();
    let exit = run(&attempt.io(), sh("echo fine; echo 'app: error: table users is gone'; exit 3")).await.unwrap();
    assert_eq!((exit.code, exit.signal), (Some(3), None));
    assert_eq!(exit.cause(), "It ended with exit code 3: app: error: table users is gone");
    let exit = run(&attempt.io(), sh("kill -9 $$")).await.unwrap();
    assert_eq!((exit.code, exit.signal), (None, Some(9)));

    let exit = run(&attempt.io(), Spec::new("try", "here", vec!["/no/such/program".to_owned()])).await.unwrap();
    assert_eq!(exit.how(), "could not be started: there is no program /no/such/program");
    let mut spec = sh("true");
    spec.cwd = Some("/no/such/folder".into());
    let exit = run(&attempt.io(), spec).await.unwrap();
    assert_eq!(exit.how(), "could not be started: there is no folder /no/such/folder");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_starts_nothing() {
    let mut attempt = Attempt::new();
    let marker = attempt.folder.path().join("started");
    attempt.log = attempt.folder.path().join("no-such-folder/1.log");
    let error = run(&attempt.io(), sh(&format!("touch {}", marker.display()))).await.unwrap_err();
    assert_eq!(error.disposition, Disposition::Retry);
    assert!(error.cause.contains("Nothing was started"), "{error}");
    assert!(!marker.exists());
}

/// The engine of [`a_killed_engine_changes_nothing`]: not a test by itself.
#[tokio::test]
#[ignore = "a part of another test, in a process of its own"]
async fn engine_that_gets_killed() {
    let folder = std::env::var("RELIGHT_TEST_FOLDER").unwrap();
    let attempt = Attempt::at(Path::new(&folder));
    let script = format!("echo up > {folder}/up; echo begun; read word < {folder}/go; echo $word; exit 7");
    run(&attempt.io(), sh(&script)).await.unwrap();
}

#[tokio::test]
async fn a_killed_engine_changes_nothing() {
    let attempt = Attempt::new();
    let folder = attempt.folder.path();
    let (up, go) = (fifo(&folder.join("up")), fifo(&folder.join("go")));
    assert!(matches!(adopt(&attempt.log), Adopted::Nothing));
    let mut engine = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "engine_that_gets_killed"])
        .env("RELIGHT_TEST_FOLDER", folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(std::fs::read_to_string(&up).unwrap(), "up\n");
    engine.kill().unwrap();
    engine.wait().unwrap();

    let Adopted::Running(running) = adopt(&attempt.log) else { panic!("it should run on") };
    std::fs::write(&go, "went on\n").unwrap();
    let Adopted::Ended(exit) = running.wait().await else { panic!("it should have ended") };
    assert_eq!((exit.code, exit.stopped), (Some(7), false));
    assert_eq!(attempt.log(), "begun\nwent on\n");
}

#[tokio::test]
async fn a_later_engine_can_stop_it() {
    let attempt = Attempt::new();
    let folder = attempt.folder.path();
    let up = fifo(&folder.join("up"));
    let mut engine = support::shim(&attempt, &sh(&format!("echo up > {}; echo begun; exec sleep 1000", up.display())));
    assert_eq!(std::fs::read_to_string(&up).unwrap(), "up\n");
    // The pipes of an engine that died.
    drop((engine.stdin.take(), engine.stdout.take()));
    let Adopted::Running(running) = adopt(&attempt.log) else { panic!("it should run on") };
    kill_process(Pid::from_raw(running.pid().unwrap()).unwrap(), Signal::HUP).unwrap();
    running.stop().await.unwrap();
    let Adopted::Ended(exit) = running.wait().await else { panic!("it should have ended") };
    assert!(exit.stopped && !exit.succeeded());
    assert_eq!(exit.signal, Some(15));
    engine.wait().unwrap();
}

#[tokio::test]
async fn a_killed_shim_leaves_doubt() {
    let attempt = Attempt::new();
    let up = fifo(&attempt.folder.path().join("up"));
    let mut engine = support::shim(&attempt, &sh(&format!("echo $$ > {}; exec sleep 1000", up.display())));
    let program: i32 = std::fs::read_to_string(&up).unwrap().trim().parse().unwrap();
    engine.kill().unwrap();
    engine.wait().unwrap();
    assert!(matches!(adopt(&attempt.log), Adopted::Unknown(why) if why.contains("killed")));
    kill_process(Pid::from_raw(program).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn only_one_program_of_an_attempt_runs() {
    let attempt = Attempt::new();
    let folder = attempt.folder.path();
    let (up, go) = (fifo(&folder.join("up")), fifo(&folder.join("go")));
    let first = sh(&format!("echo up > {}; read word < {}", up.display(), go.display()));
    let io = attempt.io();
    let first = tokio::spawn(async move { run(&io, first).await });
    let read = up.clone();
    tokio::task::spawn_blocking(move || std::fs::read_to_string(read).unwrap()).await.unwrap();
    let error = run(&attempt.io(), sh("true")).await.unwrap_err();
    assert!(error.cause.contains("another program of this attempt still runs"), "{error}");
    std::fs::write(&go, "end\n").unwrap();
    assert!(first.await.unwrap().unwrap().succeeded());
}

#[tokio::test]
async fn stopping_ends_everything_that_it_started() {
    let attempt = Attempt::new();
    let up = fifo(&attempt.folder.path().join("up"));
    // One child in the group, one that left it and the session, and both deaf to the polite signal.
    let script = format!(
        "trap '' TERM; sleep 1000 & a=$!; setsid sh -c 'trap \"\" TERM; echo $$ > {0}.pid; while :; do sleep 1000; done' & \
         while [ ! -s {0}.pid ]; do :; done; echo $$ $a $(cat {0}.pid) > {0}; wait; wait",
        up.display()
    );
    let mut spec = sh(&script);
    spec.grace = Duration::from_millis(300);
    let (hand, cancel) = Cancel::new();
    let io = attempt.io_with(cancel);
    let running = tokio::spawn(async move { run(&io, spec).await });
    let pids = tokio::task::spawn_blocking(move || std::fs::read_to_string(up).unwrap()).await.unwrap();
    let pids: Vec<i32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|pid| alive(*pid)));
    hand.send_replace(true);
    let exit = running.await.unwrap().unwrap();
    assert!(exit.stopped && exit.left_behind.is_empty(), "{exit:?}");
    assert!(!pids.iter().any(|pid| alive(*pid)), "{pids:?}");
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_when_its_time_is_up() {
    let attempt = Attempt::new();
    let mut spec = sh("echo begun; exec sleep 1000");
    spec.timeout = Some(Duration::from_millis(300));
    let exit = run(&attempt.io(), spec).await.unwrap();
    assert!(exit.timed_out && !exit.stopped && !exit.succeeded());
    assert_eq!(exit.cause(), "It took too long and was ended: begun");
}

#[tokio::test]
async fn what_a_program_leaves_behind_with_its_output_is_ended() {
    let attempt = Attempt::new();
    let exit = run(&attempt.io(), sh("sleep 1000 & echo $!")).await.unwrap();
    assert_eq!(exit.code, Some(0));
    assert!(exit.succeeded());
    let pid: i32 = attempt.log().trim().parse().unwrap();
    assert!(!alive(pid));
}

#[tokio::test]
async fn a_flood_is_kept_whole_and_grows_nothing() {
    const LINES: u64 = 400_000;
    let attempt = Attempt::new();
    let folder = attempt.folder.path();
    let (up, go) = (fifo(&folder.join("up")), fifo(&folder.join("go")));
    let line = "0123456789".repeat(10);
    let script =
        format!("yes {line} | head -n {LINES}; echo up > {}; read word < {}; echo end", up.display(), go.display());
    let io = attempt.io();
    let running = tokio::spawn(async move { run(&io, sh(&script)).await });
    tokio::task::spawn_blocking(move || std::fs::read_to_string(up).unwrap()).await.unwrap();
    let Adopted::Running(shim) = adopt(&attempt.log) else { panic!("it runs") };
    let status = std::fs::read_to_string(format!("/proc/{}/status", shim.pid().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 48 << 10, "the shim took {peak} KiB");
    std::fs::write(&go, "go\n").unwrap();
    let exit = running.await.unwrap().unwrap();
    let size = LINES * (line.len() as u64 + 1) + 4;
    assert_eq!((exit.lost_bytes, exit.end_offset), (0, size));
    assert_eq!(std::fs::metadata(&attempt.log).unwrap().len(), size);
    // Whoever looks on gets whole lines, each stretch where it says, the last one to the end, at most thirty a second.
    let notices = attempt.sink.notices();
    let took = exit.ended_at.duration_since(exit.started_at).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of notices")]
    let rate = notices.len() as f64 / took.max(1.0);
    assert!(rate < 60.0, "{rate} notices a second");
    let log = attempt.log();
    for notice in &notices {
        let Notice::Output { offset, text, .. } = notice else { panic!("{notice:?}") };
        let at = usize::try_from(*offset).unwrap();
        assert_eq!(log.get(at..at + text.len()), Some(text.as_str()));
        assert!(text.ends_with('\n'));
    }
    assert!(
        matches!(notices.last(), Some(Notice::Output { text, .. }) if text.ends_with("\nend\n") || text == "end\n")
    );
}

#[tokio::test]
async fn an_engine_that_does_not_read_holds_nothing_up() {
    let attempt = Attempt::new();
    let mut engine = support::shim(&attempt, &sh("seq 100000; echo end"));
    let status = tokio::task::spawn_blocking(move || {
        let status = engine.wait().unwrap();
        // What is left in the pipe is less than was printed, and the log has all.
        let mut told = Vec::new();
        engine.stdout.take().unwrap().read_to_end(&mut told).unwrap();
        (status, told.len())
    });
    let (status, told) = status.await.unwrap();
    assert!(status.success());
    assert!(attempt.log().ends_with("100000\nend\n") && told < attempt.log().len());
}

#[tokio::test]
async fn a_full_disk_costs_output_but_not_the_program() {
    let attempt = Attempt::new();
    let done = attempt.folder.path().join("done");
    std::os::unix::fs::symlink("/dev/full", &attempt.log).unwrap();
    let exit = run(&attempt.io(), sh(&format!("seq 1000; touch {}", done.display()))).await.unwrap();
    assert!(exit.succeeded() && done.exists());
    assert_eq!(exit.lost_bytes, 3893);
    assert_eq!(exit.tail.last().map(String::as_str), Some("1000"));
}

#[test]
fn no_secret_is_in_a_command_line() {
    let attempt = Attempt::new();
    let up = fifo(&attempt.folder.path().join("up"));
    let go = fifo(&attempt.folder.path().join("go"));
    let mut spec = sh(&format!("echo $$ > {}; read word < {}; echo $TOKEN", up.display(), go.display()));
    spec.env = vec![("TOKEN".to_owned(), SecretString::from("hunter2"))];
    spec.redact = vec![SecretString::from("hunter2")];
    let mut engine = support::shim(&attempt, &spec);
    let program = std::fs::read_to_string(&up).unwrap();
    for pid in [program.trim().to_owned(), engine.id().to_string()] {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&line).contains("hunter2"));
    }
    std::fs::write(&go, "go\n").unwrap();
    let mut told = String::new();
    BufReader::new(engine.stdout.take().unwrap()).read_line(&mut told).unwrap();
    assert!(told.contains("[secret]") && !told.contains("hunter2"), "{told}");
    engine.wait().unwrap();
    for file in
        std::fs::read_dir(attempt.folder.path()).unwrap().flatten().filter(|file| file.file_type().unwrap().is_file())
    {
        assert!(!std::fs::read_to_string(file.path()).unwrap().contains("hunter2"), "{}", file.path().display());
    }
}

#[test]
fn a_shim_without_an_order_starts_nothing() {
    for input in ["", "no order\n"] {
        let mut shim = Command::new(env!("CARGO_BIN_EXE_relight"))
            .arg("shim")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        shim.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert_eq!(shim.wait().unwrap().code(), Some(1));
    }
}
