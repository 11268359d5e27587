//! Client and engine talk over a unix socket: [`ToEngine`], [`ToClient`].

mod message;

pub use crate::incident::Query;
pub use message::{LONGEST_FRAME, PROTOCOL, ToClient, ToEngine};
