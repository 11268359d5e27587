//! The flight simulator: everything that stands in for production while somebody rehearses.

pub mod operator;
pub mod standin;
