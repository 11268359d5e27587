//! Names of the things in an incident.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An incident's id, such as `INC-7F3K`: also the name of its folder, so the characters are limited.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IncidentId(String);

/// Text that cannot be an incident's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no incident id: letters, digits and `-`, 1 to 32 characters, such as INC-7F3K")]
pub struct IncidentIdError(String);

impl IncidentId {
    /// Reads an id.
    ///
    /// # Errors
    /// Anything but 1 to 32 ASCII letters, digits and `-`.
    pub fn new(text: impl Into<String>) -> Result<Self, IncidentIdError> {
        let text = text.into();
        let fits = (1..=32).contains(&text.len()) && !text.starts_with('-');
        if fits && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            Ok(Self(text))
        } else {
            Err(IncidentIdError(text))
        }
    }

    /// An id from four random bytes; letters that are easily confused are left out.
    #[must_use]
    pub fn from_random(bytes: [u8; 4]) -> Self {
        const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
        let name: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
        Self(format!("INC-{name}"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for IncidentId {
    type Err = IncidentIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for IncidentId {
    type Error = IncidentIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<IncidentId> for String {
    fn from(id: IncidentId) -> Self {
        id.0
    }
}

/// One execution of a step, counted from 1 within the incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(pub u32);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A message owed to the outside, counted from 1 within the incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub u32);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The name people know them by: the login name, or `relight` for the engine.
    pub name: String,
    /// The unix user id that the socket's other end was proved to have; none for the engine itself.
    pub uid: Option<u32>,
}

impl Actor {
    /// The engine, acting by itself.
    #[must_use]
    pub fn engine() -> Self {
        Self { name: "relight".to_owned(), uid: None }
    }
}
