//! Grafana: finding a dashboard, asking what its panels ask, and judging the numbers.

mod api;
mod check;
mod find;
mod frames;
mod panels;
mod review;
mod variables;

pub use check::CheckGrafana;
pub use review::ReviewDashboard;

/// The header that a command by hand carries.
const TOKEN: &str = "Authorization: Bearer $GRAFANA_TOKEN";
