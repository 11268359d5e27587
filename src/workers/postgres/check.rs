//! Proving that we may do to a database what the runbook will ask of us.

use async_trait::async_trait;

use crate::incident::{Finding, Gravity, Plan, TargetIdentity};
use crate::runbook::TargetRef;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::server::{Server, ident};
use super::session::Session;
use super::{identify, tools};

/// Looks at roles, rights and programs.
#[derive(Debug)]
pub struct CheckPostgres {
    /// The database.
    pub target: TargetRef,
}

#[async_trait]
impl Worker for CheckPostgres {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        identify(cx, &self.target).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let server = Server::of(&cx.config, &self.target).await?;
        let identity = identify(cx, &self.target).await?;
        let mut plan = Plan::new(cx.step.clone(), identity);
        plan.effects = vec![format!(
            "Connects to {} as {}, takes the role {} for a moment, looks at rights and at pg_restore and pg_dump; changes nothing",
            server.name(),
            server.user,
            server.settings.owner
        )];
        plan.commands = vec![
            format!(
                "psql -h {} -p {} -U {} {} -c 'SET ROLE {}'",
                server.host,
                server.port,
                server.user,
                server.database,
                ident(&server.settings.owner)
            ),
            "pg_restore --version; pg_dump --version".to_owned(),
        ];
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, _plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let server = Server::of(&cx.config, &self.target).await?;
        let session = server.connect(&cx.knowledge.incident, "check").await?;
        let findings = examine(&server, &session).await?;
        session.close().await;
        for finding in &findings {
            let mark = if finding.gravity == Gravity::Good { "ok" } else { "!!" };
            io.line(format!("{mark} {}", finding.text));
        }
        let wrong: Vec<&str> = findings
            .iter()
            .filter(|finding| finding.gravity == Gravity::Blocking)
            .map(|finding| finding.text.as_str())
            .collect();
        if !wrong.is_empty() {
            return Err(WorkerError::new(
                "check the database role",
                server.name(),
                wrong.join(" "),
                "Mend it, then retry (r): a restore that stops there leaves the database half done.",
            ));
        }
        Ok(Ran::Done(Done { evidence: findings.into_iter().map(|finding| finding.text).collect(), facts: Vec::new() }))
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(Probe::DidNot("it only reads".to_owned()))
    }
}

async fn examine(server: &Server, session: &Session) -> Result<Vec<Finding>, WorkerError> {
    let identity = session.identity().await?;
    let mut findings = vec![Finding::good(format!(
        "{} may connect to {}, PostgreSQL {}",
        server.user,
        server.name(),
        identity.version
    ))];
    let owner = &server.settings.owner;
    let doing = "look at the role's rights";
    let row = session
        .one(
            doing,
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1), pg_catalog.pg_is_in_recovery(), \
             (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), \
             (SELECT pg_catalog.pg_get_userbyid(datdba)::text FROM pg_catalog.pg_database WHERE datname = current_database()), \
             current_setting('default_transaction_read_only') = 'on', \
             (SELECT rolsuper OR rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user)",
            &[owner],
        )
        .await?;
    let (exists, standby, superuser, holder, read_only): (bool, bool, bool, String, bool) =
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
    if standby {
        findings
            .push(Finding::blocking("This server is a standby and takes no writes: point the config at the primary."));
    }
    if read_only {
        findings.push(Finding::warning(
            "default_transaction_read_only is on: a restore would fail unless the role has it off.",
        ));
    }
    findings.push(if row.get(5) {
        Finding::good(format!("{} may create databases", server.user))
    } else {
        Finding::warning(format!(
            "{0} may not create databases, which a restore beside the live one takes. Run: ALTER ROLE {1} CREATEDB. Without it only a runbook with strategy in_place restores.",
            server.user,
            ident(&server.user)
        ))
    });
    if !exists {
        findings.push(Finding::blocking(format!("There is no role {owner}: correct `owner` in the config.")));
        return Ok(findings);
    }
    match session.batch(doing, &format!("SET ROLE {0}; RESET ROLE", ident(owner))).await {
        Ok(()) => findings.push(Finding::good(format!("{} may take the role {owner}", server.user))),
        Err(error) => {
            findings.push(Finding::blocking(format!(
                "{} may not take the role {owner} ({}) Run: GRANT {} TO {}.",
                server.user,
                error.cause,
                ident(owner),
                ident(&server.user)
            )));
        }
    }
    let rights = session
        .one(
            doing,
            "SELECT pg_catalog.has_database_privilege($1, current_database(), 'CREATE'), \
             pg_catalog.pg_has_role(current_user, 'pg_signal_backend', 'MEMBER'), \
             (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
              WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'S') \
              AND NOT pg_catalog.pg_has_role($1, c.relowner, 'USAGE') \
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'))",
            &[owner],
        )
        .await?;
    let (create, signal, foreign): (bool, bool, i64) = (rights.get(0), rights.get(1), rights.get(2));
    findings.push(if create {
        Finding::good(format!("{owner} may create in {} (it belongs to {holder})", server.database))
    } else {
        Finding::blocking(format!(
            "{owner} may not create in {}, so that schemas cannot be restored. Run: GRANT CREATE ON DATABASE {} TO {}.",
            server.database,
            ident(&server.database),
            ident(owner)
        ))
    });
    findings.push(if signal || superuser {
        Finding::good(format!("{} may end other sessions", server.user))
    } else {
        Finding::blocking(format!(
            "{0} may not end other sessions. Run: GRANT pg_signal_backend TO {1}.",
            server.user,
            ident(&server.user)
        ))
    });
    if foreign > 0 {
        findings.push(Finding::blocking(format!(
            "{foreign} tables, views or sequences belong to others than {owner}, which can therefore not replace them."
        )));
    }
    findings.extend(programs(server, identity.major).await);
    Ok(findings)
}

/// The programs of the server's version.
async fn programs(server: &Server, major: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    for program in ["pg_restore", "pg_dump"] {
        findings.push(match tools::find(program, &server.settings, major).await {
            Ok(tool) => Finding::good(format!("{} is of the server's version", tool.describe())),
            Err(error) => Finding::blocking(format!("{} {}", error.cause, error.next)),
        });
    }
    findings
}
