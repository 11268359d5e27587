//! What a step does, typed.

use serde::{Deserialize, Serialize};

use super::{StepId, TargetRef};

/// How a database is brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Into a new database beside the live one, which is not touched until a swap.
    Beside,
    /// `pg_restore --clean --if-exists --single-transaction` over the live database: all of it or nothing. Refused where
    /// the live database has what the dump lacks and what would stand in the way.
    InPlace,
    /// `pg_restore --clean --if-exists` over the live database, as the written procedure says: not atomic.
    Runbook,
}

/// The answer by which a person chooses a [`Strategy`] on the card.
pub const STRATEGY: &str = "strategy";

impl Strategy {
    /// Every strategy, the safest first.
    pub const ALL: [Self; 3] = [Self::Beside, Self::InPlace, Self::Runbook];

    /// As a runbook writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Beside => "beside",
            Self::InPlace => "in_place",
            Self::Runbook => "runbook",
        }
    }
}

/// The one thing that a step does. Strings may be templates over the incident's facts (`{{ … }}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Proves that a target is there and that we may do there what the runbook will ask of us.
    Check {
        /// What to check.
        target: TargetRef,
    },
    /// Opens an incident in PagerDuty, or adopts the one that just paged.
    DeclareIncident {
        /// The incident type as people call it (its display name).
        incident_type: String,
        /// Title of the incident.
        title: String,
        /// Plain-text details.
        details: String,
    },
    /// Asks the configured people onto the incident, with the conference bridge.
    CallResponders {
        /// The declaring step.
        incident: StepId,
        /// What they read.
        message: String,
    },
    /// Sets a LaunchDarkly flag and remembers its former state.
    SetFlag {
        /// The flag's key.
        flag: String,
        /// The state to give it.
        on: bool,
    },
    /// Gives a flag the state back that a [`Action::SetFlag`] step found.
    RestoreFlag {
        /// The step that remembered it.
        from: StepId,
    },
    /// Posts to the Slack channel of the config; the draft can be edited before it is sent.
    PostMessage {
        /// The draft.
        text: String,
    },
    /// Sends a status update to the PagerDuty incident's subscribers; the draft can be edited.
    PostStatusUpdate {
        /// The declaring step.
        incident: StepId,
        /// The draft.
        text: String,
    },
    /// Lists the database dumps, asks the onset and proposes the newest one before it.
    ChooseSnapshot {
        /// Where the dumps are.
        from: TargetRef,
        /// The database that they are of.
        database: TargetRef,
    },
    /// Records who agreed to lose what the chosen snapshot loses, when and where.
    RecordAgreement {
        /// The choosing step.
        snapshot: StepId,
        /// Whose word is needed: "product".
        with: String,
    },
    /// Scales every writer to zero, remembers the counts, and waits until their pods are gone.
    StopWrites {
        /// The cluster; its configured writers are stopped.
        cluster: TargetRef,
    },
    /// Proves that no client but ours is connected; lists the others and ends them.
    EndSessions {
        /// The database.
        database: TargetRef,
    },
    /// Dumps the database as it is now to S3 and reads the dump back.
    SafetyDump {
        /// The database.
        database: TargetRef,
        /// Where the dump goes.
        to: TargetRef,
    },
    /// Restores the database from a chosen snapshot or a safety dump.
    RestoreDatabase {
        /// The database.
        database: TargetRef,
        /// The step that chose the snapshot or made the safety dump.
        from: StepId,
        /// How.
        strategy: Strategy,
    },
    /// Gives the live name to the database that was restored beside, and keeps the former one.
    SwapDatabase {
        /// The database.
        database: TargetRef,
        /// The step that restored beside it.
        restore: StepId,
    },
    /// Gives the live name back to the kept database.
    SwapBack {
        /// The database.
        database: TargetRef,
        /// The step that swapped.
        swap: StepId,
    },
    /// Drops the database that a swap kept.
    DropKept {
        /// The live database.
        database: TargetRef,
        /// The step that swapped.
        swap: StepId,
    },
    /// Ends sessions that keep one of ours waiting.
    EndBlockers {
        /// The database whose restore waits.
        database: TargetRef,
    },
    /// Checks the foreign keys that a restore left for later.
    CheckForeignKeys {
        /// The database.
        database: TargetRef,
        /// The restoring step.
        restore: StepId,
    },
    /// Reads every index and table of the restored database with `amcheck`.
    CheckStorage {
        /// The database.
        database: TargetRef,
        /// The restoring step.
        restore: StepId,
    },
    /// Proves that the database holds what the dump holds: tables, row counts, constraints, the app's role.
    ProveTables {
        /// The database.
        database: TargetRef,
        /// The restoring step.
        restore: StepId,
    },
    /// Gives every writer its remembered count back and waits until it is available.
    StartWrites {
        /// The step that stopped them.
        from: StepId,
    },
    /// Compares objects with their snapshot and copies back what is missing or differs; deletes nothing.
    RehydrateObjects {
        /// The snapshot: an S3 prefix or a folder.
        from: TargetRef,
        /// What is brought back.
        to: TargetRef,
        /// Where objects that get overwritten are kept first.
        keep: TargetRef,
    },
    /// Puts back the objects that a [`Action::RehydrateObjects`] step overwrote.
    PutBackObjects {
        /// The rehydrating step.
        from: StepId,
    },
    /// Empties the selected database of a Redis server.
    FlushCache {
        /// The server.
        cache: TargetRef,
    },
    /// Runs a configured command.
    RunCommand {
        /// The command.
        command: TargetRef,
        /// A flag that blocks the command while it is on.
        blocked_by: Option<String>,
        /// The command changes something (a deploy does, a smoke test does not).
        #[serde(default)]
        changes: bool,
    },
    /// Asks the configured endpoints for their health.
    CheckEndpoints {
        /// The service.
        service: TargetRef,
    },
    /// Reads the configured panels of a Grafana dashboard against their thresholds.
    ReviewDashboard {
        /// `Folder > Dashboard`.
        dashboard: String,
    },
    /// Resolves the PagerDuty incident and closes ours.
    CloseIncident {
        /// The declaring step.
        incident: StepId,
        /// Stored with the resolution.
        resolution: String,
    },
}

impl Action {
    /// The action with what a person chose for it.
    #[must_use]
    pub fn chosen(&self, inputs: &std::collections::BTreeMap<String, String>) -> Self {
        let mut action = self.clone();
        if let Self::RestoreDatabase { strategy, .. } = &mut action {
            let wanted = inputs.get(STRATEGY);
            *strategy = Strategy::ALL
                .into_iter()
                .find(|one| wanted.is_some_and(|name| name == one.name()))
                .unwrap_or(*strategy);
        }
        action
    }

    /// The action takes back what another one did.
    #[must_use]
    pub fn is_way_back(&self) -> bool {
        matches!(
            self,
            Self::SwapBack { .. } | Self::StartWrites { .. } | Self::RestoreFlag { .. } | Self::PutBackObjects { .. }
        )
    }

    /// The action asks its target and changes and tells nothing, whoever wrote the runbook.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::Check { .. }
                | Self::ProveTables { .. }
                | Self::CheckForeignKeys { .. }
                | Self::CheckStorage { .. }
                | Self::CheckEndpoints { .. }
                | Self::ReviewDashboard { .. }
        )
    }

    /// What it did cannot be taken back by any step: the rollback ends, a database is gone, or only a dump is left of it.
    #[must_use]
    pub fn is_point_of_no_return(&self) -> bool {
        match self {
            Self::CloseIncident { .. } | Self::DropKept { .. } => true,
            Self::RestoreDatabase { strategy, .. } => *strategy != Strategy::Beside,
            _ => false,
        }
    }

    /// The target that the action changes in a way that must not overlap with another change of it.
    /// Two attempts on the same one never run at once.
    #[must_use]
    pub fn destroys(&self) -> Option<String> {
        match self {
            // The live database is not touched, so a safety dump of it may run meanwhile.
            Self::RestoreDatabase { database, strategy: Strategy::Beside, .. } => Some(format!("beside {database}")),
            Self::EndSessions { database }
            | Self::SafetyDump { database, .. }
            | Self::SwapDatabase { database, .. }
            | Self::SwapBack { database, .. }
            | Self::DropKept { database, .. }
            | Self::RestoreDatabase { database, .. } => Some(database.to_string()),
            Self::StopWrites { cluster } => Some(cluster.to_string()),
            Self::StartWrites { from } => Some(format!("writers of {from}")),
            Self::RehydrateObjects { to, .. } => Some(to.to_string()),
            Self::PutBackObjects { from } => Some(format!("objects of {from}")),
            Self::FlushCache { cache } => Some(cache.to_string()),
            Self::SetFlag { flag, .. } => Some(format!("flag {flag}")),
            Self::RestoreFlag { from } => Some(format!("flag of {from}")),
            Self::EndBlockers { database } => Some(format!("in the way of {database}")),
            Self::RunCommand { command, changes: true, .. } => Some(command.to_string()),
            Self::DeclareIncident { .. } | Self::CallResponders { .. } | Self::CloseIncident { .. } => {
                Some("pagerduty".to_owned())
            }
            Self::Check { .. }
            | Self::PostMessage { .. }
            | Self::PostStatusUpdate { .. }
            | Self::ChooseSnapshot { .. }
            | Self::RecordAgreement { .. }
            | Self::ProveTables { .. }
            // No row is changed: a key that holds for all of them is marked so.
            | Self::CheckForeignKeys { .. }
            | Self::CheckStorage { .. }
            | Self::RunCommand { .. }
            | Self::CheckEndpoints { .. }
            | Self::ReviewDashboard { .. } => None,
        }
    }

    /// Steps whose results the action uses, with the kinds of action that give such results.
    #[must_use]
    pub fn uses(&self) -> Vec<(&StepId, &'static [&'static str])> {
        match self {
            Self::CallResponders { incident, .. }
            | Self::PostStatusUpdate { incident, .. }
            | Self::CloseIncident { incident, .. } => vec![(incident, &["declare_incident"])],
            Self::RestoreFlag { from } => vec![(from, &["set_flag"])],
            Self::RecordAgreement { snapshot, .. } => vec![(snapshot, &["choose_snapshot"])],
            Self::RestoreDatabase { from, .. } => vec![(from, &["choose_snapshot", "safety_dump"])],
            Self::ProveTables { restore, .. }
            | Self::SwapDatabase { restore, .. }
            | Self::CheckForeignKeys { restore, .. }
            | Self::CheckStorage { restore, .. } => {
                vec![(restore, &["restore_database"])]
            }
            Self::SwapBack { swap, .. } | Self::DropKept { swap, .. } => vec![(swap, &["swap_database"])],
            Self::StartWrites { from } => vec![(from, &["stop_writes"])],
            Self::PutBackObjects { from } => vec![(from, &["rehydrate_objects"])],
            _ => Vec::new(),
        }
    }

    /// The targets of the config that the action needs.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetRef> {
        match self {
            Self::Check { target } => vec![target.clone()],
            Self::DeclareIncident { .. }
            | Self::CallResponders { .. }
            | Self::PostStatusUpdate { .. }
            | Self::CloseIncident { .. } => vec![TargetRef::PagerDuty],
            Self::SetFlag { .. } | Self::RestoreFlag { .. } => vec![TargetRef::LaunchDarkly],
            Self::PostMessage { .. } => vec![TargetRef::Slack],
            Self::ChooseSnapshot { from, database } => vec![from.clone(), database.clone()],
            Self::StopWrites { cluster } => vec![cluster.clone()],
            Self::EndSessions { database }
            | Self::RestoreDatabase { database, .. }
            | Self::SwapDatabase { database, .. }
            | Self::SwapBack { database, .. }
            | Self::DropKept { database, .. }
            | Self::EndBlockers { database }
            | Self::CheckForeignKeys { database, .. }
            | Self::CheckStorage { database, .. }
            | Self::ProveTables { database, .. } => vec![database.clone()],
            Self::SafetyDump { database, to } => vec![database.clone(), to.clone()],
            Self::RehydrateObjects { from, to, keep } => {
                vec![from.clone(), to.clone(), keep.clone()]
            }
            Self::FlushCache { cache } => vec![cache.clone()],
            Self::RunCommand { command, .. } => vec![command.clone()],
            Self::CheckEndpoints { service } => vec![service.clone()],
            Self::ReviewDashboard { .. } => vec![TargetRef::Grafana],
            Self::RecordAgreement { .. } | Self::StartWrites { .. } | Self::PutBackObjects { .. } => Vec::new(),
        }
    }

    /// The action's name as a runbook writes it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Check { .. } => "check",
            Self::DeclareIncident { .. } => "declare_incident",
            Self::CallResponders { .. } => "call_responders",
            Self::SetFlag { .. } => "set_flag",
            Self::RestoreFlag { .. } => "restore_flag",
            Self::PostMessage { .. } => "post_message",
            Self::PostStatusUpdate { .. } => "post_status_update",
            Self::ChooseSnapshot { .. } => "choose_snapshot",
            Self::RecordAgreement { .. } => "record_agreement",
            Self::StopWrites { .. } => "stop_writes",
            Self::EndSessions { .. } => "end_sessions",
            Self::SafetyDump { .. } => "safety_dump",
            Self::RestoreDatabase { .. } => "restore_database",
            Self::SwapDatabase { .. } => "swap_database",
            Self::SwapBack { .. } => "swap_back",
            Self::DropKept { .. } => "drop_kept",
            Self::EndBlockers { .. } => "end_blockers",
            Self::CheckForeignKeys { .. } => "check_foreign_keys",
            Self::CheckStorage { .. } => "check_storage",
            Self::ProveTables { .. } => "prove_tables",
            Self::StartWrites { .. } => "start_writes",
            Self::RehydrateObjects { .. } => "rehydrate_objects",
            Self::PutBackObjects { .. } => "put_back_objects",
            Self::FlushCache { .. } => "flush_cache",
            Self::RunCommand { .. } => "run_command",
            Self::CheckEndpoints { .. } => "check_endpoints",
            Self::ReviewDashboard { .. } => "review_dashboard",
            Self::CloseIncident { .. } => "close_incident",
        }
    }
}
