//! A drill's world as data: when rows came in, when dumps were taken, what did the damage.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::error::SandboxError;

/// The one scenario that is built in.
const BAD_MIGRATION: &str = include_str!("../../assets/drills/bad-migration.toml");

/// A scenario, parsed and checked. Times are relative to the start of the sandbox.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, as on the command line.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Where the rows of the first moment begin.
    pub begin: SignedDuration,
    /// What happened, oldest first; the first moment's rows are the first load.
    #[serde(rename = "moment")]
    pub moments: Vec<Moment>,
    /// The object storage.
    pub objects: Objects,
    /// The cache.
    pub redis: Redis,
    /// The deployments of the cluster.
    #[serde(rename = "deployment")]
    pub deployments: Vec<Deployment>,
}

/// A point in the world's history.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// When, relative to the start of the sandbox; negative.
    pub at: SignedDuration,
    /// Rows that came in since the moment before.
    pub grow: Grow,
    /// Take a dump at this moment, of this kind.
    #[serde(default)]
    pub dump: Option<DumpKind>,
    /// SQL that does the damage, as the application's role; `{at}` stands for this moment. Exactly one moment has it.
    #[serde(default)]
    pub damage: Option<String>,
}

/// New rows of every table.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grow {
    /// Rows of `users`.
    pub users: u32,
    /// Rows of `accounts`.
    pub accounts: u32,
    /// Rows of `ofx_imports`.
    pub imports: u32,
    /// Rows of `transactions`.
    pub transactions: u32,
    /// Rows of `audit_log`.
    pub audit: u32,
}

/// What became of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DumpKind {
    /// As pg_dump wrote it.
    Good,
    /// Written by pg_dump, then cut inside its data.
    Truncated,
    /// No bytes at all.
    Empty,
}

/// How many objects of which fate.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    /// When the snapshot prefix was filled.
    pub snapshot_at: SignedDuration,
    /// The same in production and snapshot.
    pub identical: u32,
    /// Gone from production.
    pub deleted: u32,
    /// Damaged after the onset: same size, other bytes, newer.
    pub overwritten: u32,
    /// Rightly changed between snapshot and onset.
    pub changed: u32,
    /// Only in production, written after the snapshot.
    pub added: u32,
}

/// What ingestion left in the cache.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// How many keys in database 0.
    pub keys: u32,
    /// Their prefixes, used in turn.
    pub prefixes: Vec<String>,
}

/// A deployment of the cluster. Its pods write to the database; the one called `api` also serves HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Its name, which is also the value of its pods' label `app`.
    pub name: String,
    /// Pods to begin with.
    pub replicas: i32,
    /// The image without its tag.
    pub image: String,
    /// The tag that runs.
    pub tag: String,
    /// The tag to go back to.
    pub previous: String,
}

impl Scenario {
    /// The built-in scenario of that name.
    ///
    /// # Errors
    /// When there is none, or its text does not hold together.
    pub fn named(name: &str) -> Result<Self, SandboxError> {
        match name {
            "bad-migration" => Self::parse(name, BAD_MIGRATION),
            _ => Err(SandboxError::Scenario {
                name: name.to_owned(),
                reason: "there is no such scenario; there is: bad-migration".to_owned(),
            }),
        }
    }

    /// Parses and checks a scenario.
    ///
    /// # Errors
    /// Unknown keys, moments out of order, not exactly one damage, nothing to restore from.
    pub fn parse(name: &str, text: &str) -> Result<Self, SandboxError> {
        let fail = |reason: String| SandboxError::Scenario { name: name.to_owned(), reason };
        let scenario: Self = toml::from_str(text).map_err(|error| fail(error.to_string()))?;
        scenario.check().map_err(fail)?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), String> {
        let mut before = self.begin;
        for moment in &self.moments {
            if moment.at <= before {
                return Err(format!("the moment {} does not come after {before}", moment.at));
            }
            let Grow { users, accounts, imports, transactions, audit } = moment.grow;
            if [users, accounts, imports, transactions, audit].contains(&0) {
                return Err(format!("the moment {} must grow every table", moment.at));
            }
            before = moment.at;
        }
        if before >= SignedDuration::ZERO {
            return Err("the last moment must lie before the start of the sandbox".to_owned());
        }
        if self.moments.iter().filter(|m| m.damage.is_some()).count() != 1 {
            return Err("exactly one moment must do the damage".to_owned());
        }
        let onset = self.onset();
        if !self.moments.iter().any(|m| m.at < onset && m.dump == Some(DumpKind::Good)) {
            return Err("there is no good dump before the damage".to_owned());
        }
        if self.objects.snapshot_at >= onset || self.redis.prefixes.is_empty() {
            return Err("the object snapshot must lie before the damage, and Redis needs a prefix".to_owned());
        }
        let names: BTreeSet<_> = self.deployments.iter().map(|d| d.name.as_str()).collect();
        if names.len() != self.deployments.len() || !names.contains("api") {
            return Err("deployments must have different names, and one must be called api".to_owned());
        }
        Ok(())
    }

    /// When the damage is done, relative to the start.
    #[must_use]
    pub fn onset(&self) -> SignedDuration {
        self.moments.iter().find(|m| m.damage.is_some()).map_or(SignedDuration::ZERO, |m| m.at)
    }
}

/// A moment of the scenario on the sandbox's clock, `start + offset`, at whole seconds.
#[must_use]
pub fn at(start: Timestamp, offset: SignedDuration) -> Timestamp {
    let second = start.as_second().saturating_add(offset.as_secs());
    Timestamp::from_second(second).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_scenario_holds_together() {
        let scenario = Scenario::named("bad-migration").unwrap();
        assert_eq!(scenario.moments.iter().filter(|m| m.dump.is_some()).count(), 5);
        assert_eq!(scenario.onset(), SignedDuration::from_mins(-42));
        let rows: u32 = scenario
            .moments
            .iter()
            .map(|m| m.grow.users + m.grow.accounts + m.grow.imports + m.grow.transactions + m.grow.audit)
            .sum();
        assert!(rows >= 300_000, "{rows}");
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = BAD_MIGRATION.replace("keys = 500", "kesy = 500");
        let error = Scenario::parse("x", &unknown).unwrap_err().to_string();
        assert!(error.contains("kesy") && error.contains("line"), "{error}");
        let unordered = BAD_MIGRATION.replace("at = \"-12m\"", "at = \"-7h\"");
        let error = Scenario::parse("x", &unordered).unwrap_err().to_string();
        assert!(error.contains("does not come after"), "{error}");
        let harmless = BAD_MIGRATION.replace("damage = ", "dump = \"good\"\n# ");
        assert!(Scenario::parse("x", &harmless).is_err());
    }
}
