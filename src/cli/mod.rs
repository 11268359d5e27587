//! The commands: the only place that wires everything together.

mod arguments;
mod audit;
mod check;
mod drill;
mod engine;
mod exit;
mod export;
mod handover;
mod hands;
mod incidents;
mod info;
mod log;
mod logout;
mod out;
mod rehearse;
mod runbook;
mod signals;
mod taste;

pub use exit::Exit;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Verb};
use out::errln;

/// Runs the program with this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    if let Err(error) = crate::private::keep_process() {
        errln!("relight: a crash of it could leave secrets in a core file, for that cannot be turned off: {error}");
    }
    let arguments = Arguments::parse();
    if matches!(arguments.verb, Some(Verb::Shim | Verb::FenceGuard | Verb::Load { .. } | Verb::Engine { .. })) {
        stay_small();
    }
    if matches!(arguments.verb, Some(Verb::Shim)) {
        // It needs nothing of this program but itself: no TLS, no hooks.
        return crate::workers::process::shim::main();
    }
    if let Err(error) = color_eyre::config::HookBuilder::default().display_env_section(false).install() {
        errln!("relight: {error}");
    }
    // Every TLS client of this process uses the one provider; a second installation only says that it is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if matches!(arguments.verb, Some(Verb::FenceGuard)) {
        return crate::workers::postgres::guard::main();
    }
    if let Some(Verb::Load { order }) = &arguments.verb {
        return crate::workers::postgres::load_main(order);
    }
    let exit = run(arguments).unwrap_or_else(|report| {
        let exit = Exit::of(&report);
        errln!("relight: {}", exit::sentence(&report));
        exit
    });
    out::finish(exit).into()
}

/// A process that lasts takes its memory in small pages: in huge ones a cockpit or an engine would keep more than twice as
/// much. A command that reads a journal and ends is faster with those. Children inherit it. Where the system does not know
/// the wish, memory is all that it costs.
fn stay_small() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

fn run(arguments: Arguments) -> color_eyre::Result<Exit> {
    let common = arguments.common;
    if let (true, Some(verb)) = (common.read_only, arguments.verb.as_ref().and_then(Verb::beyond_looking)) {
        let words =
            format!("`relight {verb}` does more than look, and --read-only was asked for: leave one of them out");
        return Err(exit::Usage(words).into());
    }
    match arguments.verb {
        None => incidents::bare(&common),
        Some(Verb::Start) => incidents::start(&common),
        Some(Verb::Attach { id }) => incidents::attach(&common, id, false),
        Some(Verb::Watch { id }) => incidents::attach(&common, id, true),
        Some(Verb::Handover { id, take, confirm }) => handover::handover(&common, id, take, confirm.as_deref()),
        Some(Verb::Drill(options)) => drill::drill(&common, &options),
        Some(Verb::Rehearse(options)) => rehearse::rehearse(&common, &options),
        Some(Verb::List { json, all }) => incidents::list(&common, json, all),
        Some(Verb::Export { id, format, size, output }) => {
            export::export(&common, &id, format, size, output.as_deref())
        }
        Some(Verb::Audit { id, seal, against, json }) => {
            audit::audit(&common, &id, &audit::Wanted { seal, against, json })
        }
        Some(Verb::Check { json }) => check::check(&common, json),
        Some(Verb::Runbook { verb }) => runbook::run(&common, verb),
        Some(Verb::Info { json }) => info::info(&common, json),
        Some(Verb::Completions { shell }) => {
            arguments::completions(shell);
            Ok(Exit::Done)
        }
        Some(Verb::Man { folder }) => {
            arguments::man(folder.as_deref())?;
            Ok(Exit::Done)
        }
        Some(Verb::Sandbox { dir }) => drill::sandbox(&dir),
        Some(Verb::StandIn { words }) => drill::stand_in(&words).map(Exit::Of),
        // The caller turned it away before, see `main`.
        Some(Verb::Shim | Verb::FenceGuard | Verb::Load { .. }) => Ok(Exit::Usage),
        Some(Verb::Engine { id }) => engine::serve(&common, &id),
    }
}
