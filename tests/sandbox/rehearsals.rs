//! Rehearsals in the sandbox: what they prove, what they leave, and what their exit codes say.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use relight::drill::dumps::BACKUPS;
use relight::drill::scorecard;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Sandbox;

/// `relight rehearse` on the damaged service: it restores, proves and measures, leaves nothing on the server, and is
/// refused before it makes anything where it would have to fail.
#[test]
fn a_rehearsal_leaves_nothing_but_its_history() {
    let sandbox = Sandbox::start();
    let home = tempfile::tempdir().unwrap();
    let rehearse = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_relight"))
            .arg("--config")
            .arg(&sandbox.ready.config)
            .arg("--state-dir")
            .arg(home.path())
            .args(["rehearse", "--json"])
            .args(words)
            .output()
            .unwrap();
        let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        (output.status.code().unwrap(), result)
    };
    let databases = || {
        let login = &sandbox.ready.postgres_operator;
        let output = Command::new(sandbox.ready.postgres_bin.join("psql"))
            .args([
                "--host",
                &login.host,
                "--port",
                &login.port.to_string(),
                "--username",
                &login.user,
                "--no-password",
            ])
            .args(["--tuples-only", "--command", "SELECT datname FROM pg_database ORDER BY 1", "postgres"])
            .env("PGPASSWORD", std::fs::read_to_string(&login.password_file).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let before = databases();
    let (good, unfit): (Vec<_>, Vec<_>) = sandbox.ready.dumps.iter().partition(|dump| !dump.tables.is_empty());

    let (code, newest) = rehearse(&[]);
    assert_eq!((code, &newest["passed"]), (0, &json!(true)), "{newest}");
    assert!(newest["restore_ms"].as_u64().unwrap() > 0 && newest["prove_ms"].as_u64().unwrap() > 0, "{newest}");
    assert_eq!(databases(), before);
    let (code, older) = rehearse(&["--snapshot", &good[0].key]);
    assert_eq!((code, &older["snapshot"]), (0, &json!(good[0].key)), "{older}");

    let (code, missing) = rehearse(&["--snapshot", "postgres/nothing.dump"]);
    assert_eq!(code, 3, "{missing}");
    assert!(missing["fault"].as_str().unwrap().contains("no such snapshot"), "{missing}");
    for dump in unfit {
        let (code, result) = rehearse(&["--snapshot", &dump.key]);
        assert_eq!(code, 3, "{result}");
        assert!(result["fault"].as_str().unwrap().contains("not fit to be restored"), "{result}");
    }
    assert_eq!(databases(), before);
    let history = std::fs::read_to_string(home.path().join("rehearsals.jsonl")).unwrap();
    let passed: Vec<bool> =
        history.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["passed"] == json!(true)).collect();
    assert_eq!(passed[..3], [true, true, false]);
}

/// What a rehearsal's exit code says to a timer: a dump that cannot be restored is a failure, one that restores to
/// something unsound does not pass the proof, and a rehearsal that is asked to end says so. None leaves anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_that_does_not_pass_says_why_by_its_exit_code() {
    let sandbox = Sandbox::start();
    let ready = &sandbox.ready;
    let home = tempfile::tempdir().unwrap();
    let (login, bin) = (&ready.postgres_superuser, &ready.postgres_bin);
    let password = std::fs::read_to_string(&login.password_file).unwrap();
    let program = |name: &str| {
        let mut command = Command::new(bin.join(name));
        command
            .args(["-h", &login.host, "-p", &login.port.to_string(), "-U", &login.user])
            .env("PGPASSWORD", &password);
        command
    };
    let sql = |database: &str, sql: &str| {
        let output =
            program("psql").args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let databases = || sql("postgres", "SELECT datname FROM pg_database ORDER BY 1");
    let before = databases();
    let s3 = scorecard::client(&ready.s3).unwrap();
    let put = async |key: &str, bytes: Vec<u8>| {
        s3.put_object().bucket(BACKUPS).key(key).body(bytes.into()).send().await.unwrap();
    };
    let dump = || program("pg_dump").args(["-Fc", "financecopilot"]).output().unwrap().stdout;
    // A sequence that lags behind its column would give out keys that are taken.
    sql(
        "financecopilot",
        "SET ROLE fc_app; CREATE TABLE lagging (id serial PRIMARY KEY); INSERT INTO lagging VALUES (100)",
    );
    put("postgres/lagging.dump", dump()).await;
    sql("financecopilot", "DROP TABLE lagging");
    let mut flipped = dump();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    put("postgres/flipped.dump", flipped).await;
    let rehearse = |key: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relight"));
        command.arg("--config").arg(&ready.config).arg("--state-dir").arg(home.path());
        command.args(["rehearse", "--snapshot", key]);
        command
    };
    for (key, code, words) in [
        ("postgres/flipped.dump", 1, "The old data is intact"),
        ("postgres/lagging.dump", 4, "The sequence public.lagging_id_seq stands at 1, behind lagging.id with 100"),
    ] {
        let output = rehearse(key).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{key}: {said}");
        assert_eq!(databases(), before);
        assert!(!home.path().join("rehearsals/work/work").exists(), "{key}: the dump is gone too");
    }
    let mut asked = rehearse("latest").stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(asked.stdout.take().unwrap()).lines();
    said.find(|line| line.as_ref().unwrap().starts_with("Rehearsing with ")).unwrap().unwrap();
    kill_process(Pid::from_raw(i32::try_from(asked.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    let left: Vec<String> = said.map(Result::unwrap).collect();
    assert_eq!(asked.wait().unwrap().code(), Some(130), "{left:?}");
    assert_eq!(databases(), before);
}
