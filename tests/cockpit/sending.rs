//! Drafts, notes and exports by keys: what was approved is what Slack got, and files hold what the command prints.

use std::os::unix::fs::PermissionsExt as _;

use relight::incident::{Level, MessageState};
use relight::runbook::StepId;
use rustix::process::Signal;

use super::lost::prepared;
use super::process::{ends, signal};
use super::terminal::{Person, Terminal};
use super::{drive, incident, ready};

/// Inside tmux, which drops OSC 52 of programs, tmux itself is given the text; and a copy that was not made is not said to be.
#[test]
fn a_copy_inside_tmux_is_made_by_tmux() {
    let mut person = Person::new();
    let folder = person.folder().to_owned();
    let script = format!(
        "cd {}; echo \"$@\" > words; cat > text; if [ -e no ]; then echo no server running >&2; exit 1; fi",
        folder.display()
    );
    person.stand_in("tmux", &script);
    let words = prepared(&person).join(" ");
    let mut terminal =
        Terminal::shell(&person, &format!("TMUX=/tmp/tmux-0/default,1,0 exec $RELIGHT {words}"), 32, 120);
    terminal.until_shown("Flood the output");
    terminal.keys("4c");
    terminal.until_shown("copied by tmux");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("tmux was run");
    assert_eq!(read("words"), "load-buffer -w -\n");
    assert!(read("text").contains("opened by"), "{}", read("text"));
    let file = person.incident_folder().expect("an incident").join("exports");
    let name = file.parent().and_then(|folder| folder.file_name()).expect("a name").to_string_lossy().into_owned();
    let file = file.join(format!("{name}-copied.txt"));
    terminal.until_shown(&format!("{name}-copied.txt"));
    assert_eq!(std::fs::read_to_string(&file).expect("the copy"), format!("{}\n", read("text")));
    std::fs::write(folder.join("no"), "").expect("written");
    terminal.keys("c");
    terminal.until_shown("not copied: tmux load-buffer failed: no server running");
    terminal.keys("q");
    terminal.ended();
    let engine = person.engine();
    ends(engine, || signal(engine, Signal::TERM));
}

#[test]
fn drafts_notes_and_exports_by_keys() {
    let person = Person::new();
    let mut terminal = Terminal::start(&person, &["drill"], 50, 160);
    terminal.until_shown("Check the prerequisites");
    let ready = ready(&person);
    let onset = ready.onset.to_string();
    drive(&person, &mut terminal, &onset, |step| step.as_str() == "declare.responders");

    // The draft is edited where it stands; the plan that is approved says what was written, and so does Slack.
    let status = StepId::new("communicate.status");
    // The step waits for what is in the journal by now, of which the cockpit hears a little later.
    terminal.until("the cursor on the next step", |screen| {
        screen.lines().any(|line| line.contains("\u{203a}") && line.contains("Executive bridge")).then_some(())
    });
    terminal.keys("1/Post to #status\r");
    terminal.until("the cursor on the message", |screen| {
        screen.lines().any(|line| line.contains("\u{203a}") && line.contains("Post to #status")).then_some(())
    });
    terminal.keys("a");
    terminal.until_shown("Message to #status");
    terminal.keys(" Wir sind dran: 数据.\x13");
    terminal.until_shown("y approve this plan");
    terminal.until_shown("Wir sind dran: 数据.");
    terminal.keys("y");
    terminal.until("the message's end", |_| incident(&person).status(&status).is_met().then_some(()));
    let state = incident(&person);
    let attempt = state.status(&status).attempt().and_then(|id| state.attempts.get(&id)).expect("an attempt");
    let approved = attempt.plan.basis["text"].as_str().expect("a text").to_owned();
    assert!(approved.ends_with(" Wir sind dran: 数据."), "{approved}");
    let records = std::fs::read_to_string(ready.records.join("slack.jsonl")).expect("records");
    let posted: Vec<serde_json::Value> = records
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|record: &serde_json::Value| {
            record["path"].as_str().is_some_and(|path| path.contains("chat.postMessage"))
        })
        .collect();
    let texts: Vec<&str> = posted.iter().filter_map(|record| record["body"]["text"].as_str()).collect();
    assert_eq!(texts, [approved.as_str()]);

    // A note, and what it should have said.
    terminal.keys("4wreplica lost\r");
    terminal.until_shown(": replica lost");
    terminal.keys("C");
    terminal.until_shown("Correct a note");
    terminal.keys("\x15primary lost\r");
    terminal.until_shown(": primary lost (corrected)");
    let state = incident(&person);
    let note = state.timeline.iter().find(|entry| entry.level == Level::Note).expect("the note");
    assert_eq!((note.text.as_str(), note.before.as_slice()), ("primary lost", &["replica lost".to_owned()][..]));

    // When nothing is on its way any more, what is on screen is what the journal says.
    terminal.until("nothing unsent", |_| {
        let state = incident(&person);
        state.messages.values().all(|message| matches!(message.state, MessageState::Sent(_))).then_some(())
    });
    let id = incident(&person).id.to_string();
    let sealed = person.run(&["audit", &id, "--seal"]);
    let seal = String::from_utf8(sealed.stdout).expect("text");
    let (seq, head) = seal.trim().split_once(':').expect("a seal");
    let short = format!("{seq}:{}", &head[..16]);
    terminal.keys("e");
    terminal.until_shown("Export: PagerDuty");
    let folder = person.state().join("incidents").join(&id).join("exports");
    for (key, format, name) in [
        ("1", "pagerduty", format!("{id}-pagerduty.txt")),
        ("2", "slack", format!("{id}-slack.txt")),
        ("3", "markdown", format!("{id}-report.md")),
        ("4", "json", format!("{id}.json")),
        ("5", "html", format!("{id}-report.html")),
    ] {
        // The end of each form holds the seal: it is as new as the journal.
        terminal.keys(&format!("{key}G"));
        terminal.until_shown(&short);
        terminal.keys("c");
        let path = folder.join(&name);
        terminal.until_shown(&path.display().to_string());
        terminal.until_shown("sent to the terminal's clipboard (OSC 52)");
        let file = std::fs::read(&path).expect("the file");
        let printed = person.run(&["export", &id, "--format", format]);
        assert!(file == printed.stdout, "{format}: {}", String::from_utf8_lossy(&file));
        assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600, "{format}");
    }
    // A q right behind it would be one key with it.
    terminal.keys("\x1b");
    terminal.until("the panes", |screen| (!screen.contains("Export: HTML")).then_some(()));
    terminal.keys("q");
    assert_eq!(terminal.ended(), 0);
}
