//! A stand-in for the Kubernetes API: deployments whose pods really write to the database.
//!
//! It holds to what the API promises where relight relies on it: scale subresources with optimistic locks and dry runs, pods
//! that go one after another and only once their grace period is over, `status.replicas` that does not count terminating
//! pods, watches, access reviews, and errors as `Status`. What it does not know it refuses.
//!
//! [`state`] is the world and its changes, [`objects`] how they look in JSON, [`routes`] the HTTP API, `edits` its changes, [`watch`] its streams,
//! [`status`] its errors.

mod edits;
pub mod objects;
pub mod routes;
pub mod selector;
pub mod state;
pub mod status;
pub mod watch;

pub use state::Cluster;

/// The namespace of the deployments.
pub const NAMESPACE: &str = "default";
