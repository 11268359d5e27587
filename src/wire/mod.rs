//! Client and engine talk over a unix socket: [`ToEngine`], [`ToClient`].

mod message;

pub use message::{LONGEST_FRAME, PROTOCOL, Query, ToClient, ToEngine};
