//! Bringing objects back, against the sandbox's S3 server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use relight::config::Config;
use relight::drill::objects::Fate;
use relight::drill::ready::Ready;
use relight::incident::{Digest, Fact, Gravity, ObjectRef, Plan};
use relight::runbook::{StepId, TargetRef};
use relight::workers::objects::{PutBackObjects, RehydrateObjects};
use relight::workers::s3::{CheckS3, Guard, Place};
use relight::workers::{Context, Probe, Ran, Worker as _};

use super::shared::{Sandbox, blocking, config, context, io, know, know_fact, plan, run};

fn worker(from: &str) -> RehydrateObjects {
    let target = |name: &str| name.parse::<TargetRef>().unwrap();
    RehydrateObjects { from: target(from), to: target("s3.ofx"), keep: target("s3.safety") }
}

async fn place(cx: &Context, name: &str) -> Place {
    Place::open(&cx.config, &name.parse().unwrap()).await.unwrap()
}

/// Every object below a place, by the key below its prefix, pinned as it is listed.
async fn pinned(place: &Place) -> BTreeMap<String, ObjectRef> {
    let listed = place.list("").await.unwrap().into_iter();
    listed
        .map(|object| {
            let short = object.key.strip_prefix(place.prefix()).unwrap().to_owned();
            let pinned = ObjectRef {
                target: place.target().to_owned(),
                bucket: place.bucket().to_owned(),
                key: object.key,
                version_id: None,
                etag: object.etag,
                size: object.size,
            };
            (short, pinned)
        })
        .collect()
}

/// SHA-256 of every object below a place, by the key below its prefix.
async fn contents(place: &Place) -> BTreeMap<String, String> {
    let reads = pinned(place).await.into_iter().map(|(key, object)| async move {
        let mut bytes = Vec::new();
        place.read(&object, &mut |part| bytes.extend_from_slice(part)).await.unwrap();
        (key, Digest::of(&bytes).0)
    });
    stream::iter(reads).buffer_unordered(8).collect().await
}

/// Somebody else writes an object.
async fn overwrite(place: &Place, folder: &Path, key: &str, text: &str) {
    let file = folder.join("other");
    std::fs::write(&file, text).unwrap();
    let live = place.head(key, None).await.unwrap();
    let guard = live.as_ref().map_or(Guard::Absent, |live| Guard::Is(&live.etag));
    place.replace(key, &file, guard).await.unwrap();
}

fn keys(ready: &Ready, fate: Fate) -> Vec<&String> {
    ready.objects.iter().filter(|(_, fact)| fact.fate == fate).map(|(key, _)| key).collect()
}

fn cx(sandbox: &Sandbox, config: &Arc<Config>, step: &str, folder: &Path) -> Context {
    let mut cx = context(config, step, folder);
    let onset = sandbox.ready.onset;
    know(&mut cx, |known| known.onset = Some(onset));
    cx
}

/// One sandbox serves all of it, since building one takes longer than everything that is asked of it.
#[tokio::test(flavor = "multi_thread")]
async fn objects_come_back_by_content_and_go_back_again() {
    let sandbox = Sandbox::start();
    let config = Arc::new(sandbox.config());
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cx = cx(&sandbox, &config, "dependents.objects", folder.path());
    let ofx = place(&cx, "s3.ofx").await;
    let before = contents(&ofx).await;

    refusals(&sandbox, &cx).await;
    assert_eq!(contents(&ofx).await, before, "a refused attempt changes nothing");

    let plan = plan_restores(&sandbox, &cx).await;
    let drifted = drift(&sandbox, &cx, &plan, &ofx, other.path()).await;
    let fact = goes_on(&sandbox, &cx, &ofx).await;
    nothing_more(&cx, other.path()).await;
    put_back(&sandbox, &cx, &ofx, &before, &fact, &drifted, other.path()).await;
    from_a_folder(&sandbox, &cx, &ofx).await;
}

async fn plan_restores(sandbox: &Sandbox, cx: &Context) -> Plan {
    let ready = &sandbox.ready;
    let plan = plan(&worker("s3.ofx-snapshot"), cx).await;
    let count = |fate| keys(ready, fate).len();
    let text = plan.effects.join("\n");
    assert!(text.contains(&format!("Creates {} missing objects", count(Fate::Deleted))), "{text}");
    assert!(text.contains(&format!("Overwrites {} objects that differ", count(Fate::Overwritten))), "{text}");
    let alike = format!("Leaves {} equal objects and {}", count(Fate::Identical), count(Fate::Added));
    assert!(text.contains(&alike), "{text}");
    assert_eq!(plan.asks.len(), 1);
    assert_eq!((plan.asks[0].name.as_str(), plan.asks[0].value.as_str()), ("include_changed", "no"));
    assert!(blocking(&plan).is_empty(), "{:?}", plan.findings);
    let changed = plan.findings.iter().find(|finding| finding.text.contains("changed before the onset")).unwrap();
    assert_eq!(changed.gravity, Gravity::Warning);
    assert!(
        changed.text.contains("the last of them ") && changed.text.contains("the onset is too late"),
        "{changed:?}"
    );
    let basis = plan.basis.to_string();
    assert!(keys(ready, Fate::Changed).iter().all(|key| !basis.contains(key.as_str())));

    let mut with = cx.clone();
    with.inputs.insert("include_changed".to_owned(), "yes".to_owned());
    let more = worker("s3.ofx-snapshot").plan(&with).await.unwrap();
    assert!(keys(ready, Fate::Changed).iter().all(|key| more.basis.to_string().contains(key.as_str())));
    assert!(matches!(worker("s3.ofx-snapshot").probe(cx, &plan).await.unwrap(), Probe::DidNot(_)));
    plan
}

/// Somebody writes one of the objects between plan and run: it is left, the others come back, the attempt fails.
async fn drift(sandbox: &Sandbox, cx: &Context, plan: &Plan, ofx: &Place, other: &Path) -> String {
    let key = keys(&sandbox.ready, Fate::Overwritten)[0].clone();
    overwrite(ofx, other, &key, "somebody's").await;
    let error = run(&worker("s3.ofx-snapshot"), cx, plan).await.unwrap_err();
    assert!(error.cause.contains(&format!("{key} (somebody wrote it since the plan)")), "{error}");
    let now = contents(ofx).await;
    assert_eq!(now[&key], Digest::of(b"somebody's").0, "it was not touched");
    match worker("s3.ofx-snapshot").probe(cx, plan).await.unwrap() {
        Probe::Broken(why, next) => {
            assert!(why.contains("untouched") && next.contains("brings back the rest"), "{why}");
        }
        found => panic!("{found:?}"),
    }
    key
}

/// The retry brings the last one back and reports what both attempts overwrote.
async fn goes_on(sandbox: &Sandbox, cx: &Context, ofx: &Place) -> Fact {
    let ready = &sandbox.ready;
    let plan = plan(&worker("s3.ofx-snapshot"), cx).await;
    assert!(plan.effects.iter().any(|effect| effect.starts_with("Overwrites 1 objects")), "{:?}", plan.effects);

    // Stopped before the first object, it says how far it came.
    let (stopped_io, hand, _) = io();
    hand.send_replace(true);
    let stopped = worker("s3.ofx-snapshot").run(cx, &plan, &stopped_io).await.unwrap();
    assert!(matches!(stopped, Ran::Stopped(why) if why.starts_with("0 of 1")));

    let done = run(&worker("s3.ofx-snapshot"), cx, &plan).await.unwrap();
    let now = contents(ofx).await;
    for (key, fact) in &ready.objects {
        let wanted = match fact.fate {
            Fate::Changed | Fate::Added => fact.production.as_ref(),
            _ => fact.snapshot.as_ref(),
        };
        assert_eq!(now.get(key), wanted, "{key} ({:?})", fact.fate);
    }
    assert_eq!(now.len(), ready.objects.len(), "nothing was deleted or added");
    let [fact] = done.facts.as_slice() else { panic!("{:?}", done.facts) };
    let Fact::ObjectsKept { target, kept, created } = fact else { panic!("{fact:?}") };
    assert_eq!(target, "s3.ofx");
    assert_eq!(kept.len(), keys(ready, Fate::Overwritten).len(), "what the first attempt overwrote is known too");
    assert_eq!(created.len(), keys(ready, Fate::Deleted).len());
    assert!(kept.iter().all(|object| object.kept.key.starts_with("safety/INC-TEST/objects")), "{kept:?}");
    assert!(matches!(worker("s3.ofx-snapshot").probe(cx, &plan).await.unwrap(), Probe::Happened(_)));
    fact.clone()
}

/// Another incident that finds everything in place has nothing to do, and says what it compared.
async fn nothing_more(cx: &Context, other: &Path) {
    let fresh = Context { folder: other.to_owned(), ..cx.clone() };
    let plan = plan(&worker("s3.ofx-snapshot"), &fresh).await;
    let evidence = plan.nothing_to_do.expect("nothing differs");
    assert!(evidence.contains("compared by content"), "{evidence}");
}

async fn put_back(
    sandbox: &Sandbox,
    cx: &Context,
    ofx: &Place,
    before: &BTreeMap<String, String>,
    fact: &Fact,
    drifted: &str,
    other: &Path,
) {
    let worker = PutBackObjects { from: StepId::new("dependents.objects") };
    let mut undo = Context { step: StepId::new("rollback.objects"), ..cx.clone() };
    let error = worker.plan(&undo).await.unwrap_err();
    assert!(error.cause.contains("nothing is known to be kept"), "{error}");
    // Undoing a step takes its success away first.
    know_fact(&mut undo, "dependents.objects", fact.clone(), false);

    let theirs = keys(&sandbox.ready, Fate::Overwritten)[1].clone();
    overwrite(ofx, other, &theirs, "newer work").await;
    let plan = plan(&worker, &undo).await;
    assert!(blocking(&plan).is_empty(), "{:?}", plan.findings);
    assert!(plan.findings.iter().any(|finding| finding.text.contains(&theirs)), "{:?}", plan.findings);
    assert!(plan.effects.iter().any(|effect| effect.contains("created, since nothing is deleted")));
    assert!(matches!(worker.probe(&undo, &plan).await.unwrap(), Probe::DidNot(_)));
    run(&worker, &undo, &plan).await.unwrap();
    assert!(matches!(worker.probe(&undo, &plan).await.unwrap(), Probe::Happened(_)));

    let now = contents(ofx).await;
    for key in keys(&sandbox.ready, Fate::Overwritten) {
        let wanted = match key.as_str() {
            key if key == drifted => Digest::of(b"somebody's").0,
            key if key == theirs => Digest::of(b"newer work").0,
            key => before[key].clone(),
        };
        assert_eq!(now[key], wanted, "{key}");
    }
    for key in keys(&sandbox.ready, Fate::Deleted) {
        assert!(now.contains_key(key), "{key} was created and stays");
    }
}

/// The same from a folder of this host; the bucket is damaged again after the undo.
async fn from_a_folder(sandbox: &Sandbox, cx: &Context, ofx: &Place) {
    let (folder, incident) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let snapshot = place(cx, "s3.ofx-snapshot").await;
    // Not all of them: what the folder lacks is the bucket's alone, and is left.
    let wanted = [keys(&sandbox.ready, Fate::Overwritten), keys(&sandbox.ready, Fate::Changed)].concat();
    for (key, object) in pinned(&snapshot).await.into_iter().filter(|(key, _)| wanted.contains(&key)) {
        let path = folder.path().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let (io, _hand, _) = io();
        snapshot.download(&object, &path, &[], &|_, _| (), &io.cancel).await.unwrap();
    }
    let mut config = sandbox.config();
    config.folder.insert("ofx-snapshot".to_owned(), relight::config::Folder { path: folder.path().to_owned() });
    let cx = Context { config: Arc::new(config), folder: incident.path().to_owned(), ..cx.clone() };
    let plan = plan(&worker("folder.ofx-snapshot"), &cx).await;
    assert!(blocking(&plan).is_empty(), "{:?}", plan.findings);
    run(&worker("folder.ofx-snapshot"), &cx, &plan).await.unwrap();
    let now = contents(ofx).await;
    for key in keys(&sandbox.ready, Fate::Overwritten) {
        assert_eq!(Some(&now[key]), sandbox.ready.objects[key].snapshot.as_ref(), "{key}");
    }
}

/// Bad places and missing rights, each with its own words.
async fn refusals(sandbox: &Sandbox, cx: &Context) {
    let with = |edit: &dyn Fn(&mut Config)| {
        let mut config = sandbox.config();
        edit(&mut config);
        Context { config: Arc::new(config), folder: tempfile::tempdir().unwrap().keep(), ..cx.clone() }
    };
    let snapshot = "ofx-snapshot";

    let empty = with(&|config| config.s3.get_mut(snapshot).unwrap().prefix = String::from("snapshot/typo/"));
    let planned = plan(&worker("s3.ofx-snapshot"), &empty).await;
    assert!(blocking(&planned)[0].contains("There is nothing in s3://"), "{:?}", planned.findings);
    assert!(planned.nothing_to_do.is_none(), "an empty snapshot is never taken for `all is well`");

    let inside = with(&|config| {
        let to = config.s3["ofx"].clone();
        let keep = config.s3.get_mut("safety").unwrap();
        keep.bucket = to.bucket;
    });
    let planned = plan(&worker("s3.ofx-snapshot"), &inside).await;
    assert!(blocking(&planned)[0].contains("overlaps"), "{:?}", planned.findings);

    let gone = with(&|config| config.s3.get_mut("ofx").unwrap().bucket = String::from("no-such-bucket"));
    let error = worker("s3.ofx-snapshot").plan(&gone).await.unwrap_err();
    assert!(error.cause.contains("There is no bucket no-such-bucket"), "{error}");

    // A wrong region is mended by what the bucket answers.
    let region = with(&|config| config.s3.get_mut("ofx").unwrap().region = Some("us-west-2".to_owned()));
    let right = Place::open(&cx.config, &"s3.ofx".parse().unwrap()).await.unwrap().identity();
    assert_eq!(Place::open(&region.config, &"s3.ofx".parse().unwrap()).await.unwrap().identity(), right);

    let reader = &sandbox.ready.s3_reader;
    let secret = |path: &Path| Some(relight::config::SecretSource::File(path.to_owned()));
    let denied = with(&|config| {
        for place in config.s3.values_mut() {
            place.access_key_id = secret(&reader.access_key_file);
            place.secret_access_key = secret(&reader.secret_key_file);
        }
    });
    let planned = plan(&worker("s3.ofx-snapshot"), &denied).await;
    let error = run(&worker("s3.ofx-snapshot"), &denied, &planned).await.unwrap_err();
    assert!(error.cause.contains("Access is denied"), "{error}");

    // A check reads and says what it cannot prove.
    let check = CheckS3 { target: "s3.ofx".parse().unwrap() };
    let done = run(&check, cx, &plan(&check, cx).await).await.unwrap();
    assert!(done.evidence.iter().any(|line| line.starts_with("Not proved")), "{:?}", done.evidence);
    assert!(
        done.evidence.iter().any(|line| line.contains("whose bucket it is")),
        "this server does not tell: {done:?}"
    );

    let unknown = context(&config(""), "dependents.objects", Path::new("/nonexistent"));
    assert!(worker("s3.ofx-snapshot").plan(&unknown).await.unwrap_err().cause.contains("no such S3 target"));
}
