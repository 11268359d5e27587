//! A field that text is typed into.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::text;

/// Nobody types more than this; a longer paste is cut.
const LONGEST: usize = 16 * 1024;

/// Text with a cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Editor {
    text: String,
    /// A byte offset on a character's border.
    cursor: usize,
    lines: bool,
}

impl Editor {
    /// A field of one line, the cursor at the end of what is in it.
    pub(super) fn line(text: &str) -> Self {
        let text = text::clean(text).into_owned();
        Self { cursor: text.len(), text, lines: false }
    }

    /// A field of several lines.
    pub(super) fn lines(text: &str) -> Self {
        let mut editor = Self { text: String::new(), cursor: 0, lines: true };
        editor.insert(text);
        editor
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Row and column of the cursor, in characters' cells.
    pub(super) fn position(&self) -> (usize, usize) {
        let before = self.text.get(..self.cursor).unwrap_or_default();
        let row = before.matches('\n').count();
        let line = before.rsplit('\n').next().unwrap_or_default();
        (row, text::width(line))
    }

    /// Puts text in at the cursor, without what a terminal could take for orders.
    pub(super) fn insert(&mut self, raw: &str) {
        let room = LONGEST.saturating_sub(self.text.len());
        let clean = if self.lines {
            raw.replace("\r\n", "\n").replace('\r', "\n").split('\n').map(text::clean).collect::<Vec<_>>().join("\n")
        } else {
            text::clean(raw.trim_end_matches(['\r', '\n'])).into_owned()
        };
        let fits = clean.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last();
        let clean = clean.get(..fits.unwrap_or(0)).unwrap_or_default();
        self.text.insert_str(self.cursor, clean);
        self.cursor += clean.len();
    }

    /// Takes a key; says whether it meant anything here.
    pub(super) fn key(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('a') => self.cursor = self.line_start(),
                KeyCode::Char('e') => self.cursor = self.line_end(),
                KeyCode::Char('u') => {
                    let start = self.line_start();
                    self.text.drain(start..self.cursor);
                    self.cursor = start;
                }
                KeyCode::Char('k') => {
                    let end = self.line_end();
                    self.text.drain(self.cursor..end);
                }
                KeyCode::Char('w') => self.delete_word(),
                _ => return false,
            }
            return true;
        }
        match key.code {
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::ALT) => {
                self.insert(c.encode_utf8(&mut [0; 4]));
            }
            KeyCode::Enter if self.lines => self.insert("\n"),
            KeyCode::Backspace => {
                if let Some(before) = self.before() {
                    self.text.drain(before..self.cursor);
                    self.cursor = before;
                }
            }
            KeyCode::Delete => {
                if let Some(after) = self.after() {
                    self.text.drain(self.cursor..after);
                }
            }
            KeyCode::Left => self.cursor = self.before().unwrap_or(self.cursor),
            KeyCode::Right => self.cursor = self.after().unwrap_or(self.cursor),
            KeyCode::Home => self.cursor = self.line_start(),
            KeyCode::End => self.cursor = self.line_end(),
            KeyCode::Up if self.lines => self.vertical(true),
            KeyCode::Down if self.lines => self.vertical(false),
            _ => return false,
        }
        true
    }

    fn before(&self) -> Option<usize> {
        self.text.get(..self.cursor)?.char_indices().next_back().map(|(at, _)| at)
    }

    fn after(&self) -> Option<usize> {
        self.text.get(self.cursor..)?.chars().next().map(|c| self.cursor + c.len_utf8())
    }

    fn line_start(&self) -> usize {
        self.text.get(..self.cursor).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.text.get(self.cursor..).and_then(|after| after.find('\n')).map_or(self.text.len(), |at| self.cursor + at)
    }

    fn delete_word(&mut self) {
        let before = self.text.get(..self.cursor).unwrap_or_default();
        let bare = before.trim_end_matches(' ');
        let start = bare.rfind([' ', '\n']).map_or(0, |at| at + 1).max(self.line_start().min(bare.len()));
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }

    fn vertical(&mut self, up: bool) {
        let start = self.line_start();
        let column = self.text.get(start..self.cursor).unwrap_or_default().chars().count();
        let target = if up {
            if start == 0 {
                return;
            }
            self.text.get(..start - 1).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
        } else {
            let end = self.line_end();
            if end == self.text.len() {
                return;
            }
            end + 1
        };
        let line = self.text.get(target..).unwrap_or_default().split('\n').next().unwrap_or_default();
        self.cursor = target + line.chars().take(column).map(char::len_utf8).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(editor: &mut Editor, codes: &[KeyCode]) {
        for code in codes {
            editor.key(KeyEvent::new(*code, KeyModifiers::NONE));
        }
    }

    #[test]
    fn a_line_is_edited_by_characters() {
        let mut editor = Editor::line("数据");
        press(&mut editor, &[KeyCode::Left, KeyCode::Char('x'), KeyCode::Home, KeyCode::Delete, KeyCode::End]);
        assert_eq!(editor.text(), "x据");
        assert_eq!(editor.position(), (0, 3));
        editor.insert("a\u{1b}[31mb\nc\n");
        assert_eq!(editor.text(), "x据ab c");
        assert!(!editor.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE)));
        editor.key(KeyEvent::new(KeyCode::Char('w'), KeyModifiers::CONTROL));
        assert_eq!(editor.text(), "x据ab ");
        editor.key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        assert_eq!(editor.text(), "");
    }

    #[test]
    fn lines_are_walked_up_and_down() {
        let mut editor = Editor::lines("one\ntwo words\nx");
        press(&mut editor, &[KeyCode::Up, KeyCode::End, KeyCode::Enter, KeyCode::Char('!'), KeyCode::Up, KeyCode::Up]);
        assert_eq!(editor.text(), "one\ntwo words\n!\nx");
        assert_eq!(editor.position(), (0, 1));
        press(&mut editor, &[KeyCode::Down, KeyCode::Char('-')]);
        assert_eq!(editor.text(), "one\nt-wo words\n!\nx");
    }
}
