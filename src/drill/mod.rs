//! The drill: a flight simulator for the runbook, with a damaged service to bring back.
//!
//! Real are the PostgreSQL cluster ([`postgres`]), its dumps by `pg_dump`, the Redis server ([`redis`]) and the S3 server
//! ([`s3`], s3s-fs in process). What cannot run here stands in over HTTP: the Kubernetes API ([`kubernetes`]) and the `api`
//! deployment ([`api`]), whose pods hold real database sessions and whose routes query the real tables; and PagerDuty,
//! LaunchDarkly, Slack and Grafana ([`standin`], started by [`paid`]). Grafana's numbers are what the pods measured ([`meters`]).
//!
//! ```text
//!  scenario (TOML) ──▶ sandbox::serve ──▶ folder: config.toml, ready.json, kubeconfig, secrets/, records/
//!                         │
//!                         ├─ postgres, redis      children that die with the sandbox (setpriv --pdeathsig)
//!                         ├─ s3, kubernetes, api  in process, on 127.0.0.1 and free ports
//!                         └─ control socket       idle clock; /_control/* for tests and `--stop`
//! ```
//!
//! [`sandbox::serve`] is the process; [`ready::Ready`] is what it tells others; [`scorecard`] proves the data is back;
//! [`standin_command`] are the programs that the drill's configuration names as smoke and deploy commands.

pub mod api;
pub mod config_file;
pub mod control;
pub mod data;
pub mod db;
pub mod dumps;
pub mod error;
pub mod folder;
pub mod kubernetes;
pub mod meters;
pub mod objects;
pub mod operator;
pub mod paid;
pub mod postgres;
pub mod programs;
pub mod ready;
pub mod redis;
pub mod rehearsal;
pub mod s3;
pub mod sandbox;
pub mod scenario;
pub mod scorecard;
pub mod standin;
pub mod standin_command;
mod told;
mod world;
