//! A field of one line that text is typed into.

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
}

impl Editor {
    /// A field of one line, the cursor at the end of what is in it.
    pub(super) fn line(text: &str) -> Self {
        let text = text::clean(text).into_owned();
        Self { cursor: text.len(), text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Columns before the cursor.
    pub(super) fn column(&self) -> usize {
        text::width(self.text.get(..self.cursor).unwrap_or_default())
    }

    /// Puts text in at the cursor, without what a terminal could take for orders.
    pub(super) fn insert(&mut self, raw: &str) {
        let room = LONGEST.saturating_sub(self.text.len());
        let clean = text::clean(raw.trim_end_matches(['\r', '\n']));
        let fits = clean.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last();
        let clean = clean.get(..fits.unwrap_or(0)).unwrap_or_default();
        self.text.insert_str(self.cursor, clean);
        self.cursor += clean.len();
    }

    /// Takes a key; says whether it meant anything here.
    pub(super) fn key(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('a') => self.cursor = 0,
                KeyCode::Char('e') => self.cursor = self.text.len(),
                KeyCode::Char('u') => {
                    self.text.drain(..self.cursor);
                    self.cursor = 0;
                }
                KeyCode::Char('k') => self.text.truncate(self.cursor),
                KeyCode::Char('w') => self.delete_word(),
                _ => return false,
            }
            return true;
        }
        match key.code {
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::ALT) => {
                self.insert(c.encode_utf8(&mut [0; 4]));
            }
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
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
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

    fn delete_word(&mut self) {
        let before = self.text.get(..self.cursor).unwrap_or_default();
        let start = before.trim_end_matches(' ').rfind(' ').map_or(0, |at| at + 1);
        self.text.drain(start..self.cursor);
        self.cursor = start;
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
        assert_eq!(editor.column(), 3);
        editor.insert("a\u{1b}[31mb\nc\n");
        assert_eq!(editor.text(), "x据ab c");
        assert!(!editor.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE)));
        editor.key(KeyEvent::new(KeyCode::Char('w'), KeyModifiers::CONTROL));
        assert_eq!(editor.text(), "x据ab ");
        editor.key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        assert_eq!(editor.text(), "");
    }
}
