//! Label and field selectors, as far as clients send them.

use serde_json::Value;

use super::status::Refusal;

/// A parsed selector; an object must meet all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    requirements: Vec<Requirement>,
    name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Parses `labelSelector` and `fieldSelector`; of fields only `metadata.name` is known.
    pub(super) fn parse(labels: Option<&str>, fields: Option<&str>) -> Result<Self, Refusal> {
        let mut selector = Self::default();
        for term in split(labels.unwrap_or_default()) {
            selector.requirements.push(requirement(term)?);
        }
        for term in split(fields.unwrap_or_default()) {
            match term.split_once('=') {
                Some(("metadata.name", name)) => {
                    selector.name = Some(name.trim_start_matches('=').to_owned());
                }
                _ => {
                    return Err(Refusal::bad_request(format!("field label not supported: {term}")));
                }
            }
        }
        Ok(selector)
    }

    /// Whether the object meets it.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let label = |key: &str| metadata["labels"][key].as_str();
        self.name.as_deref().is_none_or(|name| metadata["name"] == name)
            && self.requirements.iter().all(|requirement| match requirement {
                Requirement::In(key, values) => label(key).is_some_and(|v| values.iter().any(|w| w == v)),
                Requirement::NotIn(key, values) => label(key).is_none_or(|v| values.iter().all(|w| w != v)),
                Requirement::Exists(key) => label(key).is_some(),
                Requirement::Absent(key) => label(key).is_none(),
            })
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth <= 0
    })
    .map(str::trim)
    .filter(|term| !term.is_empty())
}

fn requirement(term: &str) -> Result<Requirement, Refusal> {
    let bad = || Refusal::bad_request(format!("unable to parse requirement: {term}"));
    let values = |list: &str| -> Option<Vec<String>> {
        let inner = list.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let one = |key: &str, value: &str| (key.trim().to_owned(), vec![value.trim().to_owned()]);
    if let Some((key, list)) = term.split_once(" notin ") {
        return Ok(Requirement::NotIn(key.trim().to_owned(), values(list).ok_or_else(bad)?));
    }
    if let Some((key, list)) = term.split_once(" in ") {
        return Ok(Requirement::In(key.trim().to_owned(), values(list).ok_or_else(bad)?));
    }
    if let Some((key, value)) = term.split_once("!=") {
        let (key, values) = one(key, value);
        return Ok(Requirement::NotIn(key, values));
    }
    if let Some((key, value)) = term.split_once('=') {
        let (key, values) = one(key, value.trim_start_matches('='));
        return Ok(Requirement::In(key, values));
    }
    match term.strip_prefix('!') {
        Some(key) => Ok(Requirement::Absent(key.to_owned())),
        None if term.contains(' ') => Err(bad()),
        None => Ok(Requirement::Exists(term.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_choose_by_labels_and_name() {
        let pod = json!({ "metadata": { "name": "api-1", "labels": { "app": "api", "tier": "web" } } });
        for (labels, fields, wanted) in [
            ("", "", true),
            ("app=api", "", true),
            ("app==api,tier=web", "", true),
            ("app=worker", "", false),
            ("app in (worker, api),!gone", "", true),
            ("app notin (worker),tier", "", true),
            ("app!=api", "", false),
            ("", "metadata.name=api-1", true),
            ("", "metadata.name=api-2", false),
        ] {
            let selector = Selector::parse(Some(labels), Some(fields)).unwrap();
            assert_eq!(selector.matches(&pod), wanted, "{labels} {fields}");
        }
        assert!(Selector::parse(Some("app in api"), None).is_err());
        assert!(Selector::parse(None, Some("status.phase=Running")).is_err());
    }
}
