//! Kubernetes: proving the rights, stopping the deployments that write, and bringing them back.
//!
//! `status.replicas` does not count pods that are terminating, and such a pod still holds its database session. So
//! "stopped" means here that no pod of a deployment's selector is left, and that is waited for with watches.
//! `spec.replicas` is changed under an optimistic lock, and a change by somebody else is a failure, never a success.

mod check;
mod cluster;
mod error;
mod findings;
mod follow;
mod pods;
mod remember;
mod scale;
mod start;
mod stop;

pub use check::CheckKubernetes;
pub use start::StartWrites;
pub use stop::StopWrites;
