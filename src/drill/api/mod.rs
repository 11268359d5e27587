//! The service that was damaged: its pods ([`pod`]), which write as the application does, and its HTTP routes ([`routes`]).

pub mod pod;
pub mod routes;
