//! Proving that the database holds what the dump holds, and that the service can read it.

mod age;
mod catalogue;
mod fresh;
mod readable;
mod rows;
mod sound;

use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::incident::{Fact, Finding, ObjectRef, Plan, TargetIdentity};
use crate::runbook::{StepId, TargetRef};
use crate::workers::{Context, Disposition, Done, Io, Probe, Ran, Worker, WorkerError};

use catalogue::Differences;

use super::beside::{Made, made};
use super::count::count;
use super::server::Server;
use super::session::Session;
use super::{identify, local_copy, unreadable_basis};

const NEXT: &str = "Keep the writers stopped. Restore again (r on the restore step), or go back to the safety dump.";

/// Compares a database with the dump that was restored last.
#[derive(Debug)]
pub struct ProveTables {
    /// The database.
    pub database: TargetRef,
    /// The restoring step.
    pub restore: StepId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    object: ObjectRef,
    /// The database that is looked at: the live one, or the one beside it.
    database: String,
    /// Foreign keys that are checked later, as was chosen.
    #[serde(default)]
    later: Vec<String>,
}

#[async_trait]
impl Worker for ProveTables {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        identify(cx, &self.database).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let (object, database, later) = self.restored(cx, &server).await?;
        let server = Server { database, ..server };
        let mut plan = Plan::new(cx.step.clone(), identify(cx, &self.database).await?);
        let app = server.settings.app_role.as_deref().unwrap_or(&server.settings.owner);
        plan.effects = vec![
            "Looks for invalid indexes, unchecked constraints, disabled triggers, empty views, other extensions, sequences that lag".to_owned(),
            format!("counts the rows of {} and of every table of {}, in one transaction that only reads; compares the catalogue with the dump's", object.key, server.name()),
            format!("reads every table as {app}"),
            "refreshes the planner's statistics at the end (ANALYZE), without which queries are slow after a restore".to_owned(),
        ];
        plan.commands = vec![format!(
            "psql -h {} -p {} -U {} {} -c 'SELECT count(*) FROM …' # for each table",
            server.host, server.port, server.user, server.database
        )];
        plan.basis = serde_json::to_value(Basis { object, database: server.database, later }).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis =
            serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))?;
        let stopped = || Ok(Ran::Stopped("it only read".to_owned()));
        let Some(path) = local_copy::fetch(cx, io, &basis.object).await? else { return stopped() };
        tokio::select! {
            () = io.cancel.cancelled() => stopped(),
            proved = self.prove(cx, io, path, (basis.database, &basis.later)) => proved,
        }
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(Probe::DidNot("it only reads; prove again".to_owned()))
    }
}

/// The dump of the newest restore, whichever step did it.
fn restored_last(cx: &Context, server: &Server) -> Result<ObjectRef, WorkerError> {
    let restores = cx.knowledge.facts.iter().filter_map(|known| match &known.fact {
        Fact::Restored { object, at, .. } => Some((*at, object.clone())),
        _ => None,
    });
    restores.max_by_key(|(at, _)| *at).map(|(_, object)| object).ok_or_else(|| {
        WorkerError::new(
            "find the restored dump",
            server.name(),
            "Nothing was restored yet.",
            "Restore the database first.",
        )
    })
}

impl ProveTables {
    /// The dump that the restoring step brought back, the database that holds it now, and the foreign keys that it left
    /// for later.
    async fn restored(&self, cx: &Context, server: &Server) -> Result<(ObjectRef, String, Vec<String>), WorkerError> {
        Ok(match made(cx, server, &self.restore).await? {
            Some(Made { server, object, unchecked, .. }) => (object, server.database, unchecked),
            None => (restored_last(cx, server)?, server.database.clone(), Vec::new()),
        })
    }

    /// A session on the live database, where another one is proved, for what the two should share.
    async fn live(&self, cx: &Context, proved: &Server) -> Option<Session> {
        let live = Server::of(&cx.config, &self.database).await.ok().filter(|live| live.database != proved.database)?;
        live.connect(&cx.knowledge.incident, "compare").await.ok()
    }

    async fn prove(
        &self,
        cx: &Context,
        io: &Io,
        path: PathBuf,
        (database, later): (String, &[String]),
    ) -> Result<Ran, WorkerError> {
        let beside = database != Server::of(&cx.config, &self.database).await?.database;
        let server = Server { database, ..Server::of(&cx.config, &self.database).await? };
        let incident = &cx.knowledge.incident;
        let first = server.connect(incident, "prove").await?;
        let major = first.identity().await?.major;
        let sessions = rows::sessions(&server, incident, first).await?;
        let Some(session) = sessions.first() else { return Ok(Ran::Stopped(String::new())) };
        let toc = local_copy::local_toc(&path).await?;
        let mut wrong = Vec::new();
        let mut evidence = Vec::new();
        // Cheap first: what is wrong shows at once, while the rows are still to be counted.
        let mut found = sound::sound(session, &toc, later, &mut wrong).await?;
        found.push(sound::extensions(session, &toc, self.live(cx, &server).await, &mut wrong).await?);
        found.push(sound::sequences(session, &server, &mut wrong).await?);
        if !later.is_empty() {
            found.push(format!(
                "{} foreign keys bind new rows and wait for their check: {}",
                later.len(),
                later.join(", ")
            ));
        }
        tell(io, &found);
        io.line("counting the dump's rows");
        let counted = count(&path, &toc).await?;
        // The one works on the rows, the other on the catalogue.
        let (same, catalogue) = tokio::join!(
            rows::same_rows(&sessions, &server, &toc, &counted, io, &mut wrong),
            catalogue::compare(&server, incident, major, &toc, later)
        );
        evidence.push(same?);
        let catalogue = catalogue.map_err(|why| {
            WorkerError::new(
                "compare the catalogue",
                server.name(),
                why,
                "Nothing was changed. Mend that, then retry (r).",
            )
        })?;
        evidence.push(told(&catalogue, beside, &mut wrong));
        let role = server.settings.app_role.clone().unwrap_or_else(|| server.settings.owner.clone());
        evidence.push(readable::readable(session, &server, &role, &toc, &mut wrong).await?);
        tell(io, &evidence);
        tell(io, &wrong);
        evidence.extend(found);
        if !wrong.is_empty() {
            return Err(
                WorkerError::new("prove the tables", server.name(), wrong.join(" "), NEXT).with(Disposition::Fatal)
            );
        }
        io.line("refreshing the planner's statistics");
        evidence.push(fresh::analyze(&sessions, &server).await?);
        evidence.extend(age::newest(session, &server, &counted).await?);
        for session in sessions {
            session.close().await;
        }
        Ok(Ran::Done(Done { evidence, facts: Vec::new() }))
    }
}

fn tell(io: &Io, lines: &[String]) {
    for line in lines {
        io.line(line);
    }
}

/// What the catalogues' comparison says. More than the dump has is wrong only in a database that was made for it.
fn told(found: &Differences, beside: bool, wrong: &mut Vec<String>) -> String {
    if !found.missing.is_empty() {
        wrong.push(format!("Missing: {}.", catalogue::some(&found.missing)));
    }
    if !found.other.is_empty() {
        wrong.push(format!("Not as the dump has it: {}.", catalogue::some(&found.other)));
    }
    match (found.more.is_empty(), beside) {
        (true, _) if *found == Differences::default() => "The catalogue is equal to the dump's".to_owned(),
        (false, false) => format!("The catalogue has more than the dump: {}", catalogue::some(&found.more)),
        (false, true) => {
            wrong.push(format!("More than the dump has: {}.", catalogue::some(&found.more)));
            "The catalogue was compared with the dump's".to_owned()
        }
        (true, _) => "The catalogue was compared with the dump's".to_owned(),
    }
}
