//! The pictures in `docs/`: what the cockpit draws of a recorded drill, as SVG. `RELIGHT_UPDATE=1` writes them anew; without
//! it they must be what is drawn now.
//!
//! `tests/fixtures/drill.jsonl` is what an engine told a client during a drill: a message a line, with the time at which it
//! came, so that the pictures are the same on every machine.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use serde::Deserialize;

use super::contrast::colour;
use super::{press, show};
use crate::incident::{Actor, EventKind, Notice};
use crate::tui::app::App;
use crate::tui::frame::drawn;
use crate::tui::msg::Msg;
use crate::tui::text;
use crate::tui::theme::{Look, Theme};
use crate::tui::update::update;
use crate::wire::{FromEngine, ToClient};

const SIZE: (u16, u16) = (120, 32);
/// Pixels of a cell.
const CELL: (f64, f64) = (8.4, 16.3);
const MARGIN: f64 = 8.0;
const INK: [u8; 3] = [0xc5, 0xc8, 0xc6];
const GROUND: [u8; 3] = [0x16, 0x18, 0x1a];

#[derive(Deserialize)]
struct Told {
    at: Timestamp,
    message: ToClient,
}

/// A drill as it was recorded, up to where one is.
struct Recording {
    app: App,
    rest: std::vec::IntoIter<Told>,
}

impl Recording {
    fn new() -> Self {
        let text = include_str!("../../../tests/fixtures/drill.jsonl");
        let told: Vec<Told> = text.lines().map(|line| serde_json::from_str(line).expect("a message")).collect();
        let mut app = App::new(Theme::new(Look::Dark, false), SIZE, told[0].at);
        app.you = Actor { name: "ana".to_owned(), uid: Some(1000) };
        Self { app, rest: told.into_iter() }
    }

    /// Hears everything up to the first message of this kind; that one comes next.
    fn until(mut self, wanted: impl Fn(&ToClient, &App) -> bool) -> Self {
        while self.rest.as_slice().first().is_some_and(|told| !wanted(&told.message, &self.app)) {
            self.hear();
        }
        self
    }

    fn hear(&mut self) {
        let told = self.rest.next().expect("the drill goes on");
        update(&mut self.app, Msg::FromEngine(FromEngine::Message(told.message)), told.at);
    }

    fn press(mut self, keys: &str) -> Self {
        press(&mut self.app, keys);
        self
    }
}

fn step(message: &ToClient) -> Option<&str> {
    match message {
        ToClient::Event { event } => match &event.kind {
            EventKind::Approved { plan, .. } => Some(plan.step.as_str()),
            _ => None,
        },
        _ => None,
    }
}

/// Far enough into the restore that everything moves.
fn restoring(message: &ToClient, app: &App) -> bool {
    let at_work = app
        .state
        .as_ref()
        .is_some_and(|state| state.running().any(|attempt| attempt.step.as_str() == "restore.database"));
    let ToClient::Notice { notice: Notice::Progress { done, total, unit, .. } } = message else { return false };
    at_work && unit == "of the work" && total.is_some_and(|total| done * 100 >= total * 60)
}

/// A plan of this step that asks nothing more.
fn planned(message: &ToClient, wanted: &str) -> bool {
    matches!(message, ToClient::Notice { notice: Notice::Planned { step, result: Ok(_) } } if step.as_str() == wanted)
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Ink, ground, and what else is told by the letters' look.
fn style(cell: &ratatui::buffer::Cell) -> ([u8; 3], Option<[u8; 3]>, Modifier) {
    let own = |wanted: Color| (wanted != Color::Reset).then(|| colour(wanted));
    let (ink, ground) = (own(cell.fg), own(cell.bg));
    if cell.modifier.contains(Modifier::REVERSED) {
        return (ground.unwrap_or(GROUND), Some(ink.unwrap_or(INK)), cell.modifier);
    }
    (ink.unwrap_or(INK), ground, cell.modifier)
}

fn svg(buffer: &Buffer) -> String {
    let (columns, rows) = (f64::from(buffer.area.width), f64::from(buffer.area.height));
    let (width, height) = (columns * CELL.0 + 2.0 * MARGIN, rows * CELL.1 + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{}\"/>\n",
        hex(GROUND)
    );
    for y in 0..buffer.area.height {
        let mut x = 0;
        while x < buffer.area.width {
            let Some(first) = buffer.cell((x, y)) else { break };
            let look = style(first);
            let (from, mut words) = (x, String::new());
            while let Some(cell) = buffer.cell((x, y)).filter(|cell| x < buffer.area.width && style(cell) == look) {
                words.push_str(cell.symbol());
                x += text::cells(text::width(cell.symbol())).max(1);
            }
            run(&mut out, (from, x, y), &words, look);
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Letters of one look beside each other.
fn run(out: &mut String, (from, to, y): (u16, u16, u16), words: &str, look: ([u8; 3], Option<[u8; 3]>, Modifier)) {
    let (ink, ground, modifier) = look;
    let (left, top) = (MARGIN + f64::from(from) * CELL.0, MARGIN + f64::from(y) * CELL.1);
    let width = f64::from(to - from) * CELL.0;
    // Writing to a String cannot fail, here and below.
    if let Some(ground) = ground {
        let (height, fill) = (CELL.1, hex(ground));
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
        );
    }
    if words.trim().is_empty() {
        return;
    }
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let bold = if modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let dim = if modifier.contains(Modifier::DIM) { " opacity=\"0.65\"" } else { "" };
    let _ = writeln!(
        out,
        "<text x=\"{left:.1}\" y=\"{:.1}\" fill=\"{}\" textLength=\"{width:.1}\" lengthAdjust=\"spacingAndGlyphs\"{bold}{dim} \
         xml:space=\"preserve\">{words}</text>",
        top + 13.0,
        hex(ink),
    );
}

/// Compares a file with what it should say, or writes it.
pub(super) fn is_current(path: &str, wanted: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("RELIGHT_UPDATE").is_some() {
        std::fs::write(&file, wanted).expect("written");
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == wanted, "{path} is not current: RELIGHT_UPDATE=1 cargo nextest run --lib pictures writes it anew");
}

fn picture(name: &str, app: &App) {
    is_current(&format!("docs/{name}.svg"), &svg(&drawn(app, SIZE.0, SIZE.1).0));
}

/// What was recorded is a drill of the runbook as it is now: `examples/record.rs` records another.
#[test]
fn the_recording_is_of_this_runbook() {
    let opened = Recording::new().rest.find_map(|told| match told.message {
        ToClient::Event { event } => match event.kind {
            EventKind::Opened { runbook, .. } => Some(runbook),
            _ => None,
        },
        _ => None,
    });
    assert!(opened.as_deref() == Some(crate::runbook::BUILT_IN), "the drill in tests/fixtures is of another runbook");
}

#[test]
fn the_pictures_are_what_the_cockpit_draws_of_a_drill() {
    picture("cockpit", &Recording::new().until(restoring).app);

    let mut plan = Recording::new().until(|message, _| planned(message, "restore.swap")).press("a");
    plan.hear();
    show(&mut plan.app);
    assert!(plan.app.card().is_some_and(super::super::card::Card::is_shown), "a plan is on screen");
    picture("plan", &plan.app);

    let chosen = Recording::new().until(|message, _| step(message) == Some("select.agreement")).press("2z");
    picture("snapshots", &chosen.app);

    let end = |message: &ToClient, _: &App| matches!(message, ToClient::Event { event } if matches!(event.kind, EventKind::Closed {}));
    picture("timeline", &Recording::new().until(end).press("4z").app);
    picture("report", &Recording::new().until(end).press("e3").app);
}

/// The README's part between these marks.
const KEYS: (&str, &str) = ("<!-- keys: from the keymap -->\n", "<!-- end of keys -->");

#[test]
fn the_key_table_is_the_keymap() {
    use crate::tui::action::UiAction;
    use crate::tui::keymap::Keymap;
    let keymap = Keymap::default();
    let mut table = "| key | command | what it does |\n|---|---|---|\n".to_owned();
    for action in UiAction::ALL {
        let keys: Vec<String> = keymap.keys(action).map(|chord| format!("`{}`", chord.name())).collect();
        let about = action.about().replace('|', "\\|");
        let _ = writeln!(table, "| {} | {} | {about} |", keys.join(" "), action.name());
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).expect("a README");
    let (before, rest) = readme.split_once(KEYS.0).expect("the mark before the table");
    let (_, after) = rest.split_once(KEYS.1).expect("the mark behind it");
    is_current("README.md", &format!("{before}{}{table}{}{after}", KEYS.0, KEYS.1));
}
