//! Client and engine talk over a unix socket: [`ToEngine`], [`ToClient`].

mod accounts;
mod client;
mod frame;
mod message;
mod server;

pub use crate::incident::Query;
pub use client::{ConnectError, FromEngine, Link, connect};
pub use message::{LONGEST_FRAME, PROTOCOL, ToClient, ToEngine};
pub use server::{Admission, Server, bind, serve};

/// The name of the user that this process runs as.
#[must_use]
pub fn own_name() -> String {
    accounts::login_name(rustix::process::getuid().as_raw())
}
