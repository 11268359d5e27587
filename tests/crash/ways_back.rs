//! What a drill never does, because its runbook goes well: the ways back and the steps on demand. In its real world an engine
//! dies right before and right after each of their effects, and the next one asks the target.

use std::collections::BTreeMap;
use std::path::Path;

use aws_sdk_s3::primitives::DateTime;
use relight::drill::db::{Session, TableState};
use relight::drill::objects::PRODUCTION;
use relight::drill::ready::Ready;
use relight::drill::scorecard;
use relight::incident::{EventKind, Fact, Outcome};
use relight::journal;
use relight::runbook::BUILT_IN;
use serde_json::Value;

use super::cockpit::{Cockpit, Setting, Settled, World, around};
use super::tally::tell;

const UPDATE: &str = "communicate.update";
const KEYS: &str = "verify.foreign-keys";
const STORAGE: &str = "verify.storage";
const UNBLOCK: &str = "demand.unblock";
const OBJECTS: &str = "rollback.objects";
const SWAP_BACK: &str = "rollback.swap";
const DROP: &str = "demand.drop-kept";
const IN_PLACE: &str = include_str!("../../assets/runbooks/in-place.toml");

/// Sessions of the incident.
const OURS: &str = "FROM pg_stat_activity WHERE starts_with(application_name, 'relight INC-TEST ')";

pub(crate) async fn superuser(ready: &Ready, database: &str) -> Session {
    ready.postgres_superuser.to_database(database).connect("a test", "").await.unwrap()
}

async fn live(ready: &Ready) -> Session {
    superuser(ready, &ready.postgres_superuser.database).await
}

/// Every database that is no template: its name, its number, and whether it lets anybody in.
pub(crate) async fn databases(ready: &Ready) -> BTreeMap<String, (u32, bool)> {
    let session = superuser(ready, "postgres").await;
    let sql = "SELECT datname::text, oid, datallowconn FROM pg_database WHERE NOT datistemplate";
    let rows = session.query(sql, &[]).await.unwrap();
    session.close().await;
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

/// Status updates that PagerDuty sent.
async fn updates(ready: &Ready) -> Vec<String> {
    // It fails when one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("{}/_control/state", ready.services["pagerduty"].control_url);
    let state: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let incidents = state["incidents"].as_array().unwrap();
    let updates = incidents.iter().flat_map(|incident| incident["status_updates"].as_array().into_iter().flatten());
    updates.map(|update| update["message"].as_str().unwrap().to_owned()).collect()
}

/// What production's objects are and when each was written, and which of them are not as a restore leaves them.
async fn objects(ready: &Ready) -> (BTreeMap<String, (String, DateTime)>, Vec<String>) {
    let client = scorecard::client(&ready.s3_reader).unwrap();
    let mut pages = client.list_objects_v2().bucket(PRODUCTION).into_paginator().send();
    let mut objects = BTreeMap::new();
    while let Some(page) = pages.next().await {
        objects.extend(page.unwrap().contents().iter().map(|object| {
            let (key, etag) = (object.key().unwrap().to_owned(), object.e_tag().unwrap().to_owned());
            (key, (etag, *object.last_modified().unwrap()))
        }));
    }
    let score = scorecard::objects(ready).await.unwrap();
    assert!(score.unknown.is_empty() && score.rolled_back.is_empty(), "{score:?}");
    (objects, score.wrong)
}

/// What the live database's tables hold, and their numbers: a restore makes them anew.
async fn tables(ready: &Ready) -> (BTreeMap<String, TableState>, BTreeMap<String, u32>) {
    let database = &ready.postgres_superuser.database;
    let session = superuser(ready, database).await;
    let sql = "SELECT relname::text, oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    let rows = session.query(sql, &[]).await.unwrap();
    session.close().await;
    let numbers = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    (scorecard::tables(ready, database).await.unwrap(), numbers)
}

/// Lets the operator use `amcheck`, which the drill's superuser does not.
async fn may_read_pages(ready: &Ready, database: &str) {
    let session = superuser(ready, database).await;
    let user = &ready.postgres_operator.user;
    let sql = format!(
        "CREATE SCHEMA amcheck; CREATE EXTENSION amcheck SCHEMA amcheck; GRANT USAGE ON SCHEMA amcheck TO {user}; \
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA amcheck TO {user}"
    );
    session.batch_execute(&sql).await.unwrap();
    session.close().await;
}

async fn unchecked(session: &Session) -> Vec<String> {
    let sql = "SELECT conname::text FROM pg_constraint WHERE contype = 'f' AND NOT convalidated ORDER BY 1";
    session.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The number of a session's process.
async fn pid(session: &Session) -> i32 {
    session.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// Waits until a session of the engine that runs now waits for this one.
async fn wait_behind(ready: &Ready, pid: i32, journal: &Path) {
    let events = journal::read(journal).unwrap().events;
    let started = events.iter().rfind(|event| matches!(event.kind, EventKind::EngineStarted { .. }));
    // Those of the engine before it end only once the server has looked after them.
    let since = started.unwrap().at.to_string();
    let session = superuser(ready, "postgres").await;
    let there = format!("SELECT {OURS} AND backend_start > '{since}' AND {pid} = ANY (pg_blocking_pids(pid))");
    until(&session, &format!("EXISTS ({there})")).await;
}

/// Waits until the server has no session of the incident any more.
async fn all_gone(ready: &Ready) {
    until(&superuser(ready, "postgres").await, &format!("NOT EXISTS (SELECT {OURS})")).await;
}

/// Waits until it is so; after a minute it fails with who is on the server. The server waits, with pauses: a client that asks
/// without end would keep everybody else of the machine from being heard.
async fn until(session: &Session, condition: &str) {
    let all = "SELECT string_agg(concat_ws(' ', pid, datname, application_name, state, wait_event, left(query, 80)), E'\\n') FROM pg_stat_activity";
    let wait = format!(
        "DO $wait$ BEGIN WHILE NOT ({condition}) LOOP \
           IF clock_timestamp() > now() + interval '1 min' THEN \
             RAISE EXCEPTION 'it does not come to that; the server has %', ({all}); END IF; \
           PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP; END $wait$"
    );
    session.batch_execute(&wait).await.unwrap();
}

/// After a swap, the foreign keys of the dump's rows are checked and every page is read, while somebody holds a lock on the
/// largest table. The engine died right before the first of the keys.
async fn checks_while_it_serves(cockpit: &mut Cockpit) {
    let guest = async || cockpit.ready.postgres_app.connect("a test", "").await.unwrap();
    let (blocker, bystander) = (guest().await, guest().await);
    assert_eq!(unchecked(&bystander).await.len(), 5, "they were left for later");
    blocker.batch_execute("BEGIN; LOCK TABLE transactions IN SHARE UPDATE EXCLUSIVE MODE").await.unwrap();
    // The last of the keys is of this one, so that it comes into the way only after the approval.
    bystander.batch_execute("BEGIN; LOCK TABLE ofx_imports IN SHARE UPDATE EXCLUSIVE MODE").await.unwrap();
    let guests = [pid(&blocker).await, pid(&bystander).await];
    cockpit.again().await;

    // It only reads, so nobody can see whether it did: it is done again.
    cockpit.carry_out(STORAGE).await;
    let read = cockpit.by_probe(STORAGE);
    let [stopped @ .., None] = &read[..] else { panic!("{read:?}") };
    assert!(stopped.len() >= 2, "it died before and after: {stopped:?}");
    for outcome in stopped {
        let Some(Outcome::Stopped { detail }) = outcome else { panic!("{read:?}") };
        assert_eq!(detail, "it had no effect: it only read; check again");
    }

    let journal = cockpit.place.incident().unwrap().join(journal::FILE);
    let there = async |ready: &Ready| -> Vec<i32> {
        let session = superuser(ready, "postgres").await;
        let rows = session.query("SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1)", &[&guests.as_slice()]).await;
        let there: Vec<i32> = rows.unwrap().iter().map(|row| row.get(0)).collect();
        guests.into_iter().filter(|guest| there.contains(guest)).collect()
    };
    wait_behind(&cockpit.ready, guests[0], &journal).await;
    cockpit.dies(&format!("run.before:{UNBLOCK}"), UNBLOCK, None).await;
    // What waits for the blocker ends with the engine. The blocker does not: it is in nobody's way, and still to be ended.
    all_gone(&cockpit.ready).await;
    assert_eq!(there(&cockpit.ready).await, guests);
    cockpit.again().await;
    assert_eq!(there(&cockpit.ready).await, guests);
    wait_behind(&cockpit.ready, guests[0], &journal).await;
    cockpit.dies(&format!("run.after:{UNBLOCK}"), UNBLOCK, None).await;
    assert_eq!(there(&cockpit.ready).await, guests[1..], "the one that was in the way is ended, and no other");
    cockpit.again().await;
    assert_eq!(there(&cockpit.ready).await, guests[1..]);
    let settled = cockpit.settled(UNBLOCK);
    assert!(settled.did_not.starts_with("it had no effect: still there: "), "{}", settled.did_not);
    assert_eq!(settled.did, ["none of the sessions is there any more"]);

    wait_behind(&cockpit.ready, guests[1], &journal).await;
    bystander.batch_execute("ROLLBACK").await.unwrap();
    cockpit.carry_out(KEYS).await;
    assert_eq!(unchecked(&bystander).await, [""; 0]);
    let settled = cockpit.settled(KEYS);
    assert!(settled.did_not.contains("these are not checked yet: "), "{}", settled.did_not);
    // Those before it were checked by an attempt whose engine died.
    let told = settled.did[0].split_once(" foreign keys hold for every row: ");
    assert!(told.is_some_and(|(_, keys)| keys.ends_with("ofx_imports_account_fkey")), "{:?}", settled.did);
}

#[tokio::test]
async fn a_death_around_a_way_back_or_a_step_on_demand_repeats_nothing() {
    let points = [UPDATE, KEYS, STORAGE, UNBLOCK, OBJECTS, SWAP_BACK, DROP].into_iter().flat_map(around).collect();
    let setting = Setting { answers: vec![("foreign_keys", "later")], points, ..Setting::default() };
    let mut cockpit = Cockpit::open(World::build().await, BUILT_IN, setting).await;

    cockpit.play_until("declare.incident").await;
    let (sent, settled) = cockpit.survives((UPDATE, None), updates).await;
    let marker = format!("(INC-TEST attempt {})", cockpit.state().next_attempt().0 - 1);
    assert!(matches!(&sent[..], [only] if only.ends_with(&marker)), "{marker}: {sent:?}");
    assert!(settled.did_not.contains("holds nothing of the kind"), "{}", settled.did_not);
    assert!(settled.did[0].starts_with("PagerDuty's log holds it, at "), "{:?}", settled.did);

    cockpit.play_until("restore.quiet").await;
    let name = cockpit.ready.postgres_superuser.database.clone();
    let damaged = databases(&cockpit.ready).await[&name].0;
    let beside =
        databases(&cockpit.ready).await.into_keys().find(|other| other.starts_with(&format!("{name}_"))).unwrap();
    may_read_pages(&cockpit.ready, &beside).await;
    cockpit.carry_out_until_dead("restore.swap", &format!("run.before:{KEYS}")).await;
    let restored = databases(&cockpit.ready).await[&name].0;
    assert_ne!(restored, damaged);
    checks_while_it_serves(&mut cockpit).await;

    let broken = objects(&cockpit.ready).await.1;
    cockpit.carry_out("dependents.objects").await;
    let rehydrated = objects(&cockpit.ready).await;
    assert_eq!(rehydrated.1, [""; 0]);
    let back = (OBJECTS, Some("dependents.objects"));
    let ((now, wrong), settled) = cockpit.survives(back, objects).await;
    let overwritten = cockpit.state().all_facts().find_map(|(_, fact)| match fact {
        Fact::ObjectsKept { kept, .. } => Some(kept.iter().map(|object| object.key.clone()).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(Some(&wrong), overwritten.as_ref(), "what was overwritten is as it was, and nothing is deleted");
    assert!(!wrong.is_empty() && wrong.iter().all(|key| broken.contains(key)));
    let others = |objects: BTreeMap<String, (String, DateTime)>| -> Vec<_> {
        objects.into_iter().filter(|(key, _)| !wrong.contains(key)).collect()
    };
    assert_eq!(others(now), others(rehydrated.0));
    assert!(settled.did_not.contains("every object still holds what the rehydration wrote"), "{}", settled.did_not);
    assert!(settled.did[0].contains("hold their former content again"), "{:?}", settled.did);
    assert!(cockpit.is_open("dependents.objects"), "it was taken back");

    let before = databases(&cockpit.ready).await;
    let (now, settled) = cockpit.survives((SWAP_BACK, Some("restore.swap")), databases).await;
    assert_eq!(now[&name], (damaged, true));
    let aside: Vec<_> = now.iter().filter(|(_, (oid, _))| *oid == restored).collect();
    assert!(matches!(aside[..], [(_, (_, false))]), "the restored one is kept, closed: {now:?}");
    assert_eq!(now.len(), before.len());
    assert!(settled.did_not.contains("bears the live name as before"), "{}", settled.did_not);
    assert!(settled.did[0].contains("is the database from before the swap again"), "{:?}", settled.did);
    assert!(cockpit.is_open("restore.swap"), "it was taken back");

    cockpit.play_until("verify.smoke").await;
    let before = databases(&cockpit.ready).await;
    assert_eq!(before[&name], (restored, true), "swapped in again");
    let (now, settled) = cockpit.survives((DROP, None), databases).await;
    let gone: Vec<_> = before.iter().filter(|(name, _)| !now.contains_key(*name)).collect();
    assert!(matches!(gone[..], [(_, (oid, _))] if *oid == damaged), "{gone:?}");
    assert!(now.iter().all(|(name, is)| before.get(name) == Some(is)), "and nothing else: {now:?}");
    assert!(settled.did_not.contains("is still there"), "{}", settled.did_not);
    assert!(settled.did[0].ends_with(" is dropped"), "{:?}", settled.did);

    cockpit.play_to_the_end().await;
    let score = scorecard::objects(&cockpit.ready).await.unwrap();
    assert!(score.wrong.is_empty() && score.rolled_back.is_empty(), "{score:?}");
    let deaths = cockpit.place.died().len();
    assert_eq!(deaths, 14);
    tell("engine killed around every way back and step on demand", 14, 14);
}

#[tokio::test]
async fn a_death_around_a_restore_in_place_and_the_way_back_from_it_repeats_nothing() {
    const RESTORE: &str = "restore.database";
    const BACK: &str = "rollback.safety-dump";
    let points = [RESTORE, BACK].into_iter().flat_map(around).collect();
    let setting = Setting { points, ..Setting::default() };
    let mut cockpit = Cockpit::open(World::build().await, IN_PLACE, setting).await;
    cockpit.play_until("restore.safety-dump").await;
    let (damaged, _) = tables(&cockpit.ready).await;
    let ((restored, _), settled) = cockpit.survives((RESTORE, None), tables).await;
    let chosen = cockpit.state().all_facts().rev().find_map(|(_, fact)| match fact {
        Fact::Restored { object, .. } => Some(object.key.clone()),
        _ => None,
    });
    let dump = cockpit.ready.dumps.iter().find(|dump| Some(&dump.key) == chosen.as_ref()).unwrap();
    assert_eq!(scorecard::table_differences(&restored, &dump.tables), [""; 0]);
    let told = |settled: &Settled| {
        assert!(settled.did_not.contains("pg_restore was never started"), "{}", settled.did_not);
        assert!(settled.did.iter().any(|line| line.contains("prove it before writes start")), "{:?}", settled.did);
    };
    told(&settled);

    // The damage had dropped it, so the safety dump does not have it: the plan asks for this.
    let foreign = live(&cockpit.ready).await;
    foreign.batch_execute("ALTER TABLE transactions DROP CONSTRAINT transactions_import_fkey").await.unwrap();
    foreign.close().await;
    let ((back, _), settled) = cockpit.survives((BACK, Some(RESTORE)), tables).await;
    assert_eq!(back, damaged, "as it was right before the restore, damage and all");
    told(&settled);
    assert!(cockpit.is_open(RESTORE), "it was taken back");
    assert_eq!(cockpit.place.died().len(), 4);
    tell("engine killed around a restore in place and its way back", 4, 4);
}
