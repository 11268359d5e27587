//! Networks that lie: a proxy before each service, every worker, every request of its run, every lie. Whatever happens
//! the worker ends in bounded time, says what failed where and what to do, tells what is in doubt from what did not
//! happen, and repeats nothing that is not safe to repeat.
//!
//! `make test` runs a sample, `make chaos` all of it; of the requests of Kubernetes and S3, whose runs are long, it takes one
//! in eight.

#[path = "../contract_http/bench.rs"]
#[expect(dead_code, reason = "the contract tests use more of it")]
mod bench;
mod http;
mod lies;
mod proxy;
#[path = "../stores/shared.rs"]
#[expect(dead_code, reason = "only the sandbox of it is of use here")]
mod sandbox;
mod stores;
mod subject;
#[path = "../crash/tally.rs"]
mod tally;
mod verdict;
mod world;
