//! The questions of a plan, as fields.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;

use crate::incident::{Ask, AskKind, Inputs, read_time};

use super::draft::Draft;
use super::edit::Editor;

/// One question and what was answered so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) ask: Ask,
    /// An answer of one line.
    pub(super) editor: Editor,
    /// An answer of several lines.
    pub(super) draft: Draft,
    /// The chosen answer of a choice.
    pub(super) choice: Option<usize>,
}

/// The questions of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) fields: Vec<Field>,
    pub(super) focus: usize,
    /// Why the answers were not taken.
    pub(super) error: Option<String>,
}

/// What a key did to a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FormKey {
    /// It was taken, or meant nothing.
    Stay,
    /// The answers are to be sent.
    Submit,
    /// The form is left.
    Cancel,
}

impl Field {
    fn new(ask: &Ask) -> Self {
        let choice = match &ask.kind {
            AskKind::Choice(choices) => choices.iter().position(|choice| choice.value == ask.value),
            _ => None,
        };
        let (line, lines) = if ask.kind == AskKind::Text { ("", ask.value.as_str()) } else { (ask.value.as_str(), "") };
        Self { ask: ask.clone(), editor: Editor::line(line), draft: Draft::new(lines), choice }
    }

    /// The answer as it would be sent.
    pub(super) fn value(&self) -> String {
        match &self.ask.kind {
            AskKind::Choice(choices) => {
                self.choice.and_then(|at| choices.get(at)).map_or_else(String::new, |choice| choice.value.clone())
            }
            AskKind::Text => self.draft.text().trim_end().to_owned(),
            _ => self.editor.text().trim().to_owned(),
        }
    }

    /// The question, short enough to be named in a complaint.
    fn short(&self) -> &str {
        self.ask.label.split(" (").next().unwrap_or_default()
    }

    /// Why the answer cannot be sent.
    pub(super) fn fault(&self, now: Timestamp) -> Option<String> {
        let value = self.value();
        if value.trim().is_empty() {
            return self.ask.required.then(|| format!("{}: an answer is needed", self.short()));
        }
        match self.ask.kind {
            AskKind::Time => read_time(&value, now).err().map(|error| error.to_string()),
            AskKind::Count if value.parse::<u64>().is_err() => {
                Some(format!("{}: `{value}` is no whole number", self.short()))
            }
            _ => None,
        }
    }
}

/// The question without the examples of how a time is said.
pub(super) fn question(ask: &Ask) -> &str {
    match ask.kind {
        AskKind::Time => ask.label.split(" (").next().unwrap_or_default(),
        _ => &ask.label,
    }
}

impl Form {
    /// Fields for these questions, the first one in focus that needs an answer, else the first without one.
    pub(super) fn new(asks: &[Ask]) -> Self {
        let fields: Vec<Field> = asks.iter().map(Field::new).collect();
        let first =
            |needed: bool| fields.iter().position(|field| field.value().is_empty() && (field.ask.required || !needed));
        let focus = first(true).or_else(|| first(false)).unwrap_or(0);
        Self { fields, focus, error: None }
    }

    /// Fields for these questions with the one at `focus` in focus.
    pub(super) fn at(asks: &[Ask], focus: usize) -> Self {
        Self { focus, ..Self::new(asks) }
    }

    /// The answers. "40m ago" is the moment that it means now, so that it means the same when it is read again.
    pub(super) fn inputs(&self, now: Timestamp) -> Inputs {
        let value = |field: &Field| match (&field.ask.kind, field.value()) {
            (AskKind::Time, text) => read_time(&text, now).map_or(text, |at| at.to_string()),
            (_, text) => text,
        };
        self.fields.iter().map(|field| (field.ask.name.clone(), value(field))).collect()
    }

    /// What was typed or changed, and is worth keeping where the questions are left.
    pub(super) fn typed(&self, now: Timestamp) -> Inputs {
        let mut inputs = self.inputs(now);
        let kept = |field: &&Field| {
            let typed = matches!(field.ask.kind, AskKind::Line | AskKind::Text | AskKind::Time | AskKind::Count);
            typed && field.value() != field.ask.value && !field.value().trim().is_empty()
        };
        let names: Vec<&String> = self.fields.iter().filter(kept).map(|field| &field.ask.name).collect();
        inputs.retain(|name, _| names.contains(&name));
        inputs
    }

    /// Takes pasted text.
    pub(super) fn paste(&mut self, pasted: &str) {
        let Some(field) = self.fields.get_mut(self.focus) else { return };
        match field.ask.kind {
            AskKind::Choice(_) | AskKind::YesNo => {}
            AskKind::Text => field.draft.insert(pasted),
            AskKind::Line | AskKind::Time | AskKind::Count => field.editor.insert(pasted),
        }
    }

    fn step(&mut self, forward: bool) {
        let count = self.fields.len().max(1);
        self.focus = if forward { (self.focus + 1) % count } else { (self.focus + count - 1) % count };
    }

    /// Takes a key.
    pub(super) fn key(&mut self, key: KeyEvent, now: Timestamp) -> FormKey {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let many = self.fields.get(self.focus).is_some_and(|field| field.ask.kind == AskKind::Text);
        match key.code {
            KeyCode::Esc => return FormKey::Cancel,
            KeyCode::Tab => self.step(true),
            KeyCode::BackTab => self.step(false),
            KeyCode::Char('s') if control => return self.submit(now),
            KeyCode::Enter if !many && !key.modifiers.contains(KeyModifiers::ALT) => return self.submit(now),
            code => {
                if let Some(asked) = self.meant(code) {
                    self.focus = asked;
                }
                if let Some(field) = self.fields.get_mut(self.focus) {
                    self.error = None;
                    answer(field, key);
                }
            }
        }
        FormKey::Stay
    }

    /// The only question that says `y` and `n`, pressed where they mean nothing.
    fn meant(&self, code: KeyCode) -> Option<usize> {
        let here = self.fields.get(self.focus)?;
        if !matches!(here.ask.kind, AskKind::Choice(_)) || !matches!(code, KeyCode::Char('y' | 'Y' | 'n' | 'N')) {
            return None;
        }
        let mut asked = self.fields.iter().enumerate().filter(|(_, field)| field.ask.kind == AskKind::YesNo);
        let (at, _) = asked.next()?;
        asked.next().is_none().then_some(at)
    }

    fn submit(&mut self, now: Timestamp) -> FormKey {
        let fault = self.fields.iter().enumerate().find_map(|(at, field)| Some((at, field.fault(now)?)));
        let Some((at, fault)) = fault else { return FormKey::Submit };
        self.focus = at;
        self.error = Some(fault);
        FormKey::Stay
    }
}

fn answer(field: &mut Field, key: KeyEvent) {
    match &field.ask.kind {
        AskKind::Choice(choices) => {
            let last = choices.len().saturating_sub(1);
            match key.code {
                KeyCode::Char('j') | KeyCode::Down => {
                    field.choice = Some(field.choice.map_or(0, |at| (at + 1).min(last)));
                }
                KeyCode::Char('k') | KeyCode::Up => {
                    field.choice = Some(field.choice.map_or(0, |at| at.saturating_sub(1)));
                }
                KeyCode::Char('g') | KeyCode::Home => field.choice = Some(0),
                KeyCode::Char('G') | KeyCode::End => field.choice = Some(last),
                _ => {}
            }
        }
        AskKind::YesNo if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {}
        AskKind::YesNo => match key.code {
            KeyCode::Char('y' | 'Y') => field.editor = Editor::line("yes"),
            KeyCode::Char('n' | 'N') => field.editor = Editor::line("no"),
            KeyCode::Char(' ') | KeyCode::Left | KeyCode::Right => {
                field.editor = Editor::line(if field.editor.text() == "yes" { "no" } else { "yes" });
            }
            _ => {}
        },
        AskKind::Count => {
            if !matches!(key.code, KeyCode::Char(c) if !c.is_ascii_digit()) {
                field.editor.key(key);
            }
        }
        AskKind::Text => {
            field.draft.key(key);
        }
        AskKind::Line | AskKind::Time => {
            field.editor.key(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Choice;

    fn ask(name: &str, kind: AskKind, value: &str) -> Ask {
        Ask {
            name: name.to_owned(),
            label: name.to_owned(),
            kind,
            value: value.to_owned(),
            required: true,
            offered: false,
        }
    }

    fn press(form: &mut Form, code: KeyCode) -> FormKey {
        form.key(KeyEvent::new(code, KeyModifiers::NONE), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_needs_an_answer_comes_before_what_may_be_left_empty() {
        let open = Ask { required: false, ..ask("adopt", AskKind::Line, "") };
        assert_eq!(Form::new(&[open.clone(), ask("regulated", AskKind::YesNo, "")]).focus, 1);
        assert_eq!(Form::new(&[ask("onset", AskKind::Line, "10m ago"), open]).focus, 1);
    }

    #[test]
    fn a_yes_goes_to_the_only_question_that_asks_for_one() {
        let which = ask("which", AskKind::Choice(Vec::new()), "");
        let asks = [which, ask("regulated", AskKind::YesNo, "")];
        let mut form = Form::at(&asks, 0);
        press(&mut form, KeyCode::Char('y'));
        assert_eq!((form.focus, form.fields[1].value().as_str()), (1, "yes"));
        let mut two = Form::at(&[asks[0].clone(), asks[1].clone(), asks[1].clone()], 0);
        press(&mut two, KeyCode::Char('n'));
        assert_eq!((two.focus, two.fields[1].value().as_str()), (0, ""));
    }

    #[test]
    fn answers_are_checked_before_they_are_sent() {
        let choice = |value: &str| Choice { value: value.to_owned(), label: value.to_owned() };
        let mut form = Form::new(&[
            ask("onset", AskKind::Time, "soon"),
            ask("count", AskKind::Count, ""),
            ask("regulated", AskKind::YesNo, ""),
            ask("which", AskKind::Choice(vec![choice("a"), choice("b")]), ""),
            ask("text", AskKind::Text, "draft"),
        ]);
        assert_eq!(form.focus, 1);
        press(&mut form, KeyCode::Char('x'));
        press(&mut form, KeyCode::Char('6'));
        assert_eq!(press(&mut form, KeyCode::Enter), FormKey::Stay);
        assert_eq!((form.focus, form.error.is_some()), (0, true));
        form.key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL), Timestamp::UNIX_EPOCH);
        for c in "10m ago".chars() {
            press(&mut form, KeyCode::Char(c));
        }
        press(&mut form, KeyCode::BackTab);
        assert_eq!(form.focus, 4);
        press(&mut form, KeyCode::Enter);
        press(&mut form, KeyCode::Char('!'));
        assert_eq!(press(&mut form, KeyCode::Enter), FormKey::Stay);
        press(&mut form, KeyCode::BackTab);
        press(&mut form, KeyCode::Char('j'));
        press(&mut form, KeyCode::Char('j'));
        press(&mut form, KeyCode::BackTab);
        press(&mut form, KeyCode::Char('n'));
        assert_eq!(press(&mut form, KeyCode::Enter), FormKey::Submit);
        let inputs = form.inputs(Timestamp::UNIX_EPOCH);
        let said: Vec<(&str, &str)> = inputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            said,
            [
                ("count", "6"),
                ("onset", "1969-12-31T23:50:00Z"),
                ("regulated", "no"),
                ("text", "draft\n!"),
                ("which", "b")
            ]
        );
    }
}
