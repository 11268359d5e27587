//! A text that is edited in place: a message before it is sent, a note, a reason. Long lines are wrapped between words.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget as _;
use ratatui_textarea::{CursorMove, TextArea, WrapMode};

use super::text;

/// Nobody types more than this; a longer paste is cut.
const LONGEST: usize = 16 * 1024;

/// Lines with a cursor.
#[derive(Debug, Clone)]
pub(super) struct Draft(Box<TextArea<'static>>);

impl PartialEq for Draft {
    fn eq(&self, other: &Self) -> bool {
        self.0.lines() == other.0.lines() && self.0.cursor() == other.0.cursor()
    }
}

impl Eq for Draft {}

impl Draft {
    /// The cursor stands at the end of what is in it.
    pub(super) fn new(words: &str) -> Self {
        let mut area = TextArea::default();
        area.set_wrap_mode(WrapMode::WordOrGlyph);
        // The terminal's own cursor shows where one is.
        area.set_cursor_style(Style::new());
        area.set_cursor_line_style(Style::new());
        let mut draft = Self(Box::new(area));
        draft.insert(words);
        draft
    }

    pub(super) fn text(&self) -> String {
        self.0.lines().join("\n")
    }

    /// Puts text in at the cursor, without what a terminal could take for orders.
    pub(super) fn insert(&mut self, raw: &str) {
        let held: usize = self.0.lines().iter().map(|line| line.len() + 1).sum();
        let lines = raw.replace("\r\n", "\n").replace('\r', "\n");
        let clean = lines.split('\n').map(text::clean).collect::<Vec<_>>().join("\n");
        let room = LONGEST.saturating_sub(held);
        let fits = clean.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last();
        self.0.insert_str(clean.get(..fits.unwrap_or(0)).unwrap_or_default());
    }

    /// Takes a key; says whether it meant anything here.
    pub(super) fn key(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                // As in a shell; the editor's own meaning of it is another one.
                KeyCode::Char('u') => self.0.delete_line_by_head(),
                KeyCode::Char('a' | 'b' | 'd' | 'e' | 'f' | 'k' | 'n' | 'p' | 'w' | 'y') => self.0.input(key),
                _ => return false,
            };
            return true;
        }
        match key.code {
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::ALT) => self.insert(c.encode_utf8(&mut [0; 4])),
            KeyCode::Enter => self.insert("\n"),
            KeyCode::Home => self.0.move_cursor(CursorMove::Head),
            KeyCode::End => self.0.move_cursor(CursorMove::End),
            KeyCode::Backspace | KeyCode::Delete | KeyCode::Left | KeyCode::Right | KeyCode::Up | KeyCode::Down => {
                self.0.input(KeyEvent::new(key.code, KeyModifiers::NONE));
            }
            _ => return false,
        }
        true
    }

    /// The rows that it takes in `width` columns, and the cursor's row and column among them.
    pub(super) fn rows(&self, width: usize) -> (Vec<String>, (usize, usize)) {
        let width = text::cells(width.max(2));
        // Of two rows that a line is wrapped into, one is more than half full.
        let most = |line: &String| 2 * text::width(line) / usize::from(width) + 2;
        let height = text::cells(self.0.lines().iter().map(most).sum());
        let area = Rect { x: 0, y: 0, width, height };
        let mut buffer = Buffer::empty(area);
        (&*self.0).render(area, &mut buffer);
        let cursor = self.0.screen_cursor();
        let row = |y: u16| {
            let mut row = String::new();
            let mut x = 0;
            while x < width {
                let symbol = buffer.cell((x, y)).map_or(" ", ratatui::buffer::Cell::symbol);
                row.push_str(symbol);
                // A wide character owns the cell after it.
                x = x.saturating_add(text::cells(text::width(symbol)).max(1));
            }
            row.truncate(row.trim_end().len());
            row
        };
        let mut rows: Vec<String> = (0..height).map(row).collect();
        let used = rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1);
        rows.truncate(used.max(cursor.row + 1));
        (rows, (cursor.row, cursor.col))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthChar as _;

    use super::*;

    fn press(draft: &mut Draft, codes: &[KeyCode]) {
        for code in codes {
            draft.key(KeyEvent::new(*code, KeyModifiers::NONE));
        }
    }

    fn control(draft: &mut Draft, letter: char) {
        draft.key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL));
    }

    #[test]
    fn lines_are_walked_and_edited() {
        let mut draft = Draft::new("one\ntwo words\nx");
        press(&mut draft, &[KeyCode::Up, KeyCode::End, KeyCode::Enter, KeyCode::Char('!'), KeyCode::Up, KeyCode::Up]);
        assert_eq!(draft.text(), "one\ntwo words\n!\nx");
        press(&mut draft, &[KeyCode::Down, KeyCode::Home, KeyCode::Char('-')]);
        assert_eq!(draft.text(), "one\n-two words\n!\nx");
        press(&mut draft, &[KeyCode::End]);
        control(&mut draft, 'u');
        assert_eq!(draft.text(), "one\n\n!\nx");
        control(&mut draft, 'y');
        assert_eq!(draft.text(), "one\n-two words\n!\nx");
    }

    #[test]
    fn what_comes_in_is_clean() {
        let mut draft = Draft::new("a\u{1b}[31mb\r\nc\u{202e}");
        draft.key(KeyEvent::new(KeyCode::Char('\u{202e}'), KeyModifiers::NONE));
        draft.insert("\u{1b}]0;title\u{7}d\te");
        assert_eq!(draft.text(), "ab\ncd    e");
        let mut full = Draft::new(&"数".repeat(20_000));
        full.insert("more");
        assert!(full.text().len() <= LONGEST);
    }

    #[test]
    fn long_lines_are_wrapped_and_the_cursor_is_where_it_types() {
        let draft = Draft::new("We restore from backup.\n\n数据库 done");
        let (rows, cursor) = draft.rows(12);
        assert_eq!(rows, ["We restore", "from backup.", "", "数据库 done"]);
        assert_eq!(cursor, (3, 11));
        assert_eq!(Draft::new("").rows(12), (vec![String::new()], (0, 0)));
    }

    proptest! {
        #[test]
        fn every_word_is_on_a_row_and_no_row_is_too_wide(
            words in any::<String>(),
            // A letter with its marks can be some columns wide, and no row takes one that is wider than itself.
            width in 12_usize..40,
            ups in 0_usize..5,
        ) {
            let mut draft = Draft::new(&words);
            press(&mut draft, &vec![KeyCode::Up; ups]);
            let (rows, (row, column)) = draft.rows(width);
            prop_assert!(row < rows.len() && column <= width, "{row}:{column} in {rows:?}");
            for row in &rows {
                prop_assert!(text::width(row) <= width, "{row:?}");
            }
            // What takes no column of its own is not drawn where it stands alone.
            let letters = |text: &str| -> String {
                text.chars().filter(|c| !c.is_whitespace() && c.width().unwrap_or(0) > 0).collect()
            };
            prop_assert_eq!(letters(&rows.concat()), letters(&draft.text()));
        }
    }
}
