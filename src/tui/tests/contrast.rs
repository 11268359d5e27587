//! What every theme draws can be read, and the one without colours has none.

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::histories::{Story, measured, plan};
use super::{press, show};
use crate::incident::{AttemptId, EventKind, Gravity, Notice, Sending};
use crate::runbook::StepId;
use crate::tui::app::App;
use crate::tui::frame::drawn;
use crate::tui::msg::Msg;
use crate::tui::theme::{Look, Theme};
use crate::tui::update::update;
use crate::wire::FromEngine;

/// As WCAG has it for text that is no headline.
const READABLE: f64 = 4.5;

/// xterm's first sixteen; most terminals have their own.
const SIXTEEN: [u32; 16] = [
    0x0000_0000,
    0x00cd_0000,
    0x0000_cd00,
    0x00cd_cd00,
    0x0000_00ee,
    0x00cd_00cd,
    0x0000_cdcd,
    0x00e5_e5e5,
    0x007f_7f7f,
    0x00ff_0000,
    0x0000_ff00,
    0x00ff_ff00,
    0x005c_5cff,
    0x00ff_00ff,
    0x0000_ffff,
    0x00ff_ffff,
];

/// Red, green and blue of xterm's colours.
fn parts(index: u8) -> [u8; 3] {
    match index {
        0..16 => {
            let [_, red, green, blue] = SIXTEEN[usize::from(index)].to_be_bytes();
            [red, green, blue]
        }
        16..232 => {
            let cube = index - 16;
            [cube / 36, cube / 6 % 6, cube % 6].map(|step| if step == 0 { 0 } else { 55 + 40 * step })
        }
        grey => [8 + 10 * (grey - 232); 3],
    }
}

pub(super) fn colour(colour: Color) -> [u8; 3] {
    parts(match colour {
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Cyan => 6,
        Color::White => 15,
        Color::Indexed(index) => index,
        other => panic!("no theme has {other:?}"),
    })
}

fn light(parts: [u8; 3]) -> f64 {
    let [red, green, blue] = parts.map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let (one, other) = (light(one), light(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// Situations that between them hold every kind of text: the panes, cards, plates, failures and doubts.
fn situations(look: Look, mut each: impl FnMut(&str, &Buffer)) {
    let mut see = |name: &str, app: &mut App| {
        for (columns, rows) in [(120, 32), (80, 24), (39, 9)] {
            let now = app.now;
            update(app, Msg::Resize(columns, rows), now);
            each(name, &drawn(app, columns, rows).0);
        }
    };
    for environment in ["production", "drill"] {
        let themed = || Story::themed(environment, Theme::new(look, false));
        let mut story = themed().on_to_the_restore();
        story.told();
        for keys in
            ["1", "2", "3", "4", "3/table<enter>", "1?", "1:", "1e", "1E", "1w", "1x", "2<enter>", "1<enter>", "L"]
        {
            press(&mut story.app, keys);
            see(keys, &mut story.app);
            press(&mut story.app, "<esc><esc>");
        }
        press(&mut story.app, "1/flush<enter>a");
        story.planned(&plan("dependents.cache"));
        see("unread card", &mut story.app);
        show(&mut story.app);
        see("card", &mut story.app);
        let mut story = themed().on_to_the_restore();
        story.begin("verify.dashboard");
        story.notice(Notice::Measured { step: StepId::new("verify.dashboard"), series: measured() });
        press(&mut story.app, "/grafana: <enter>3");
        see("measured", &mut story.app);
        let mut story = themed().on_to_the_restore();
        story.fail(AttemptId(19));
        see("failed", &mut story.app);
        let mut story = themed().on_to_the_restore();
        story.doubt(AttemptId(19));
        see("in doubt", &mut story.app);
        update(&mut story.app, Msg::FromEngine(FromEngine::Lost("it ended".to_owned())), story.clock);
        see("lost", &mut story.app);
        let mut story = themed();
        story.event(EventKind::Closed {});
        see("closed", &mut story.app);
    }
}

/// Ink and ground of a cell as they are seen.
fn seen(cell: &Cell) -> (Color, Color) {
    if cell.modifier.contains(Modifier::REVERSED) { (cell.bg, cell.fg) } else { (cell.fg, cell.bg) }
}

#[test]
fn without_colours_no_cell_has_one() {
    let mut marked = Modifier::empty();
    situations(Look::None, |name, buffer| {
        for cell in buffer.content() {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{name}: {:?}", cell.symbol());
            marked |= cell.modifier;
        }
    });
    assert!(marked.contains(Modifier::REVERSED | Modifier::BOLD), "what matters still stands out");
}

#[test]
fn every_text_is_readable_on_the_ground_that_its_theme_gives_it() {
    for look in Look::ALL {
        let mut both = 0;
        situations(look, |name, buffer| {
            for cell in buffer.content().iter().filter(|cell| !cell.symbol().trim().is_empty()) {
                let (ink, ground) = seen(cell);
                if ink == Color::Reset || ground == Color::Reset {
                    assert_ne!(look, Look::HighContrast, "{name}: {:?} is left to the terminal", cell.symbol());
                    continue;
                }
                both += 1;
                let ratio = contrast(colour(ink), colour(ground));
                let least = if look == Look::HighContrast { 7.0 } else { READABLE };
                assert!(ratio >= least, "{look:?}, {name}: {ink:?} on {ground:?} is {ratio:.2}");
            }
        });
        assert_eq!(both > 0, look != Look::None, "{look:?}");
    }
}

#[test]
fn inks_are_readable_on_the_grounds_that_their_theme_is_for() {
    let greys = |from: u8, to: u8| [[from; 3], [to; 3]];
    for (look, grounds) in [(Look::Dark, greys(0, 0x26)), (Look::Light, greys(0xee, 0xff))] {
        let theme = Theme::new(look, false);
        for style in [theme.good(), theme.warning(), theme.bad(), theme.active(), theme.dim()] {
            let ink = style.fg.expect("an ink");
            for ground in grounds {
                let ratio = contrast(colour(ink), ground);
                assert!(ratio >= READABLE, "{look:?}: {ink:?} on {ground:?} is {ratio:.2}");
            }
        }
    }
}

#[test]
fn nothing_is_told_by_colour_alone() {
    for ascii in [false, true] {
        let theme = Theme::new(Look::Dark, ascii);
        let different = |glyphs: &mut Vec<&str>| {
            let count = glyphs.len();
            glyphs.sort_unstable();
            glyphs.dedup();
            assert_eq!(glyphs.len(), count, "{glyphs:?}");
        };
        different(&mut [Gravity::Good, Gravity::Warning, Gravity::Blocking].map(|one| theme.gravity(one).0).to_vec());
        let sendings = [Sending::Sent, Sending::Planned, Sending::Unsent, Sending::InDoubt, Sending::Failed];
        different(&mut sendings.map(|one| theme.sending(one).0).to_vec());
    }
}
