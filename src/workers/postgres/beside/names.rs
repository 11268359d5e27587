//! What the databases that we make are called, and how they are known to be ours.

use crate::incident::{AttemptId, IncidentId};

/// Bytes that PostgreSQL keeps of a name (NAMEDATALEN - 1).
const LONGEST: usize = 63;

/// The database that an attempt restores into: `financecopilot_restore_7f3k_12`.
pub(super) fn beside(live: &str, incident: &IncidentId, attempt: AttemptId) -> String {
    named(live, &format!("_restore_{}_{}", tag(incident), attempt.0))
}

/// What the former live database is called after a swap: `financecopilot_pre_7f3k`; `financecopilot_pre_7f3k_2` after
/// a second one.
pub(in crate::workers::postgres) fn kept(live: &str, incident: &IncidentId, taken: impl Fn(&str) -> bool) -> String {
    let first = named(live, &format!("_pre_{}", tag(incident)));
    aside(&first, taken)
}

/// A free name for a database that is put aside and had none before.
pub(in crate::workers::postgres) fn aside(wanted: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut name = wanted.to_owned();
    let mut count = 1;
    while taken(&name) {
        count += 1;
        name = named(wanted, &format!("_{count}"));
    }
    name
}

/// The comment that says whose a database is while it is not in use.
pub(in crate::workers::postgres) fn mark(incident: &IncidentId) -> String {
    format!("relight {incident}: restored beside, not in use")
}

fn tag(incident: &IncidentId) -> String {
    let text = incident.as_str().to_lowercase();
    let text = text.strip_prefix("inc-").unwrap_or(&text);
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A name with an ending, cut so that the ending stays.
fn named(start: &str, ending: &str) -> String {
    let mut start = start.to_owned();
    while start.len() + ending.len() > LONGEST && start.pop().is_some() {}
    start + ending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_tell_whose_they_are() {
        let incident = IncidentId::new("INC-7F3K").expect("an id");
        assert_eq!(beside("financecopilot", &incident, AttemptId(12)), "financecopilot_restore_7f3k_12");
        let long = "ä".repeat(40);
        let name = beside(&long, &incident, AttemptId(12));
        assert!(name.len() <= LONGEST && name.ends_with("ä_restore_7f3k_12"), "{name}");
        assert_eq!(kept("db", &incident, |_| false), "db_pre_7f3k");
        assert_eq!(kept("db", &incident, |name| name == "db_pre_7f3k"), "db_pre_7f3k_2");
        assert_eq!(aside("db_restore", |name| name == "db_restore"), "db_restore_2");
    }
}
