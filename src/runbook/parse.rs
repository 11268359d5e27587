//! From TOML to a proved [`Runbook`], with the place of every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{Action, Approval, Begins, Contact, Link, Phase, Runbook, Step, StepId};

/// A place in a text file, both counted from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Position {
    /// The position of a byte offset in `text`; the end where the offset lies behind it.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// Why a runbook cannot be used: the file, the place and the fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunbookError {
    /// What the file is called.
    pub origin: String,
    /// Where in it.
    pub at: Position,
    /// What is wrong, and what to write instead where that is known.
    pub fault: String,
}

impl fmt::Display for RunbookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.origin, self.at.line, self.at.column, self.fault)
    }
}

impl std::error::Error for RunbookError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    title: String,
    phase: Spanned<Vec<FilePhase>>,
    #[serde(default)]
    contact: Vec<Contact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePhase {
    id: Spanned<String>,
    title: String,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    step: Vec<FileStep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileStep {
    id: Spanned<String>,
    title: Spanned<String>,
    why: String,
    action: Spanned<Action>,
    approval: Spanned<Approval>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    undo: Option<Spanned<String>>,
    #[serde(default)]
    links: Vec<Link>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    repeat: bool,
    background: Option<Spanned<bool>>,
    #[serde(default)]
    milestone: bool,
}

pub(super) fn parse(origin: &str, text: &str) -> Result<Runbook, RunbookError> {
    let place = |span: Range<usize>, fault: String| RunbookError {
        origin: origin.to_owned(),
        at: Position::of(text, span.start),
        fault,
    };
    let file: File =
        toml::from_str(text).map_err(|error| place(error.span().unwrap_or(0..0), error.message().to_owned()))?;
    check(&file).map_err(|(span, fault)| place(span, fault))?;
    let phases = file
        .phase
        .into_inner()
        .into_iter()
        .map(|phase| Phase {
            id: phase.id.into_inner(),
            title: phase.title,
            steps: phase.step.into_iter().map(|step| into_step(step, phase.optional)).collect(),
        })
        .collect();
    Ok(Runbook { id: file.id, title: file.title, phases, contacts: file.contact })
}

fn into_step(step: FileStep, phase_optional: bool) -> Step {
    Step {
        id: StepId::new(step.id.into_inner()),
        title: step.title.into_inner(),
        why: step.why,
        action: step.action.into_inner(),
        approval: step.approval.into_inner(),
        needs: step.needs.into_iter().map(|need| StepId::new(need.into_inner())).collect(),
        undo: step.undo.map(|undo| StepId::new(undo.into_inner())),
        links: step.links,
        optional: step.optional || phase_optional,
        repeat: step.repeat,
        begins: if step.background.is_some_and(Spanned::into_inner) { Begins::ByItself } else { Begins::Asked },
        milestone: step.milestone,
    }
}

type Fault = (Range<usize>, String);

fn check(file: &File) -> Result<(), Fault> {
    let phases = file.phase.get_ref();
    let mut phase_ids = BTreeSet::new();
    for phase in phases {
        if !phase_ids.insert(phase.id.get_ref().as_str()) {
            return Err((phase.id.span(), format!("the phase id `{}` is used twice", phase.id.get_ref())));
        }
    }
    let mut steps: BTreeMap<&str, &FileStep> = BTreeMap::new();
    for step in phases.iter().flat_map(|phase| &phase.step) {
        let id = step.id.get_ref();
        let well_formed =
            !id.is_empty() && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.');
        if !well_formed {
            return Err((
                step.id.span(),
                format!("`{id}` cannot be a step's id: use lower-case letters, digits, `-` and `.`"),
            ));
        }
        if steps.insert(id, step).is_some() {
            return Err((step.id.span(), format!("the step id `{id}` is used twice")));
        }
    }
    if steps.is_empty() {
        return Err((file.phase.span(), "the runbook has no steps".to_owned()));
    }
    for step in steps.values() {
        for named in step.needs.iter().chain(&step.undo) {
            if !steps.contains_key(named.get_ref().as_str()) {
                return Err((
                    named.span(),
                    format!("step `{}` names the step `{}`, which does not exist", step.id.get_ref(), named.get_ref()),
                ));
            }
        }
        check_action(step, &steps)?;
    }
    check_cycles(phases, &steps)
}

fn check_action(step: &FileStep, steps: &BTreeMap<&str, &FileStep>) -> Result<(), Fault> {
    let action = step.action.get_ref();
    let span = step.action.span();
    for (used, kinds) in action.uses() {
        let Some(found) = steps.get(used.as_str()) else {
            return Err((span, format!("action `{}` names the step `{used}`, which does not exist", action.name())));
        };
        let kind = found.action.get_ref().name();
        if !kinds.contains(&kind) {
            return Err((
                span,
                format!(
                    "action `{}` uses what step `{used}` found, but that step is a `{kind}`; it must be {}",
                    action.name(),
                    kinds.join(" or ")
                ),
            ));
        }
    }
    if step.approval.get_ref() == &Approval::None && action.destroys().is_some() {
        return Err((
            step.approval.span(),
            format!(
                "action `{}` changes something, so its approval is `confirm`, `type` or `two_person`",
                action.name()
            ),
        ));
    }
    let by_itself = step.background.as_ref().filter(|background| *background.get_ref());
    if let Some(background) = by_itself
        && (!action.only_reads() || step.approval.get_ref() != &Approval::None || step.needs.is_empty())
    {
        let fault =
            "a step that begins by itself only reads, needs a step that it begins after, and has the approval `none`";
        return Err((background.span(), fault.to_owned()));
    }
    let value = serde_json::to_value(action).map_err(|error| (span.clone(), error.to_string()))?;
    let mut fault = None;
    each_string(&value, &mut |text| {
        if fault.is_none()
            && let Err(error) = minijinja::Environment::new().template_from_str(text)
        {
            fault = Some(format!("template `{text}`: {error}"));
        }
    });
    fault.map_or(Ok(()), |fault| Err((span, fault)))
}

fn each_string(value: &serde_json::Value, visit: &mut impl FnMut(&str)) {
    match value {
        serde_json::Value::String(text) => visit(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| each_string(item, visit)),
        serde_json::Value::Object(map) => map.values().for_each(|item| each_string(item, visit)),
        _ => {}
    }
}

/// Follows `needs` depth first; a step met again on its own path closes a cycle.
fn check_cycles(phases: &[FilePhase], steps: &BTreeMap<&str, &FileStep>) -> Result<(), Fault> {
    fn visit<'a>(
        id: &'a str,
        steps: &BTreeMap<&'a str, &'a FileStep>,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Result<(), Fault> {
        if done.contains(id) {
            return Ok(());
        }
        let Some(step) = steps.get(id) else {
            return Ok(());
        };
        path.push(id);
        for need in &step.needs {
            let name = need.get_ref().as_str();
            if let Some(start) = path.iter().position(|on_path| *on_path == name) {
                let mut cycle: Vec<&str> = path[start..].to_vec();
                cycle.push(name);
                return Err((need.span(), format!("steps wait for each other: {}", cycle.join(" needs "))));
            }
            visit(name, steps, path, done)?;
        }
        path.pop();
        done.insert(id);
        Ok(())
    }
    let mut done = BTreeSet::new();
    for step in phases.iter().flat_map(|phase| &phase.step) {
        visit(step.id.get_ref(), steps, &mut Vec::new(), &mut done)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "id = 'x'\ntitle = 'X'\n[[phase]]\nid = 'p'\ntitle = 'P'\n";

    fn step(id: &str, rest: &str) -> String {
        format!("[[phase.step]]\nid = '{id}'\ntitle = 'T'\nwhy = 'W'\napproval = 'confirm'\n{rest}\n")
    }

    fn fault(body: &str) -> String {
        Runbook::parse("f.toml", &format!("{HEAD}{body}")).expect_err("a fault").to_string()
    }

    const POST: &str = "action.post_message = { text = 'hi' }";

    #[test]
    fn the_built_in_runbook_is_sound() {
        let runbook = Runbook::parse("built-in", super::super::BUILT_IN).expect("sound");
        assert_eq!(runbook.phases.len(), 9);
        assert_eq!(runbook.contacts.len(), 3);
        let written = Runbook::parse("in-place", include_str!("../../assets/runbooks/in-place.toml")).expect("sound");
        assert_eq!(written.phases.len(), 9);
    }

    #[test]
    fn faults_name_their_place() {
        assert_eq!(fault(&(step("a", POST) + &step("a", POST))), "f.toml:13:6: the step id `a` is used twice");
        assert_eq!(
            fault(&step("a", &format!("needs = ['b']\n{POST}"))),
            "f.toml:11:10: step `a` names the step `b`, which does not exist"
        );
        assert!(
            fault(&step("a", "action.post_massage = { text = 'hi' }"))
                .starts_with("f.toml:11:8: unknown variant `post_massage`")
        );
        assert!(fault(&step("a", "action.post_message = { }")).contains("missing field `text`"));
        assert!(fault(&step("a", "action.post_message = { text = 'x', txt = 'y' }")).contains("txt"));
        assert!(fault(&step("a", &format!("{POST}\ncolour = 'red'"))).contains("unknown field `colour`"));
        assert!(fault(&step("a", "action.post_message = { text = '{{ x' }")).contains("template"));
        assert!(fault(&step("a", "action.check = { target = 'mysql.x' }")).contains("`mysql.x` names no target"));
    }

    #[test]
    fn cycles_are_spelled_out() {
        let body = step("a", &format!("needs = ['b']\n{POST}")) + &step("b", &format!("needs = ['a']\n{POST}"));
        assert_eq!(fault(&body), "f.toml:18:10: steps wait for each other: a needs b needs a");
    }

    #[test]
    fn a_change_needs_an_approval() {
        let body = step("a", "action.set_flag = { flag = 'f', on = true }").replace("'confirm'", "'none'");
        assert!(fault(&body).contains("its approval is `confirm`, `type` or `two_person`"));
    }

    #[test]
    fn what_begins_by_itself_only_reads_and_knows_after_what() {
        let look = "background = true\naction.check_endpoints = { service = 'http.api' }";
        let first = step("a", POST);
        let after = |body: &str| fault(&(first.clone() + &step("b", &format!("needs = ['a']\n{body}"))));
        assert!(after(look).contains("begins by itself only reads"), "its approval is `confirm`");
        let reads = |body: &str| step("b", body).replace("'confirm'", "'none'");
        let fault_of = |body: &str| fault(&(first.clone() + &reads(body)));
        assert!(fault_of(look).contains("needs a step that it begins after"));
        assert!(fault_of(&format!("needs = ['a']\nbackground = true\n{POST}")).contains("begins by itself only reads"));
        let sound = format!("{HEAD}{first}{}", reads(&format!("needs = ['a']\n{look}")));
        let runbook = Runbook::parse("f.toml", &sound).expect("sound");
        assert_eq!(runbook.steps().map(|step| step.begins).collect::<Vec<_>>(), [Begins::Asked, Begins::ByItself]);
    }

    #[test]
    fn a_used_step_must_be_of_the_right_kind() {
        let body = step("a", POST) + &step("b", "action.restore_flag = { from = 'a' }");
        assert!(fault(&body).contains("it must be set_flag"));
    }
}
