//! Signals, for processes of ours that nobody looks at.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the process is asked to end. A closed terminal (SIGHUP) and a closed pipe do not count.
pub(super) async fn asked_to_end() {
    let (Ok(mut term), Ok(mut hangup), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::hangup()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = term.recv() => return,
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
