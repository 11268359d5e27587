//! Signals, for processes of ours that nobody looks at.

use tokio::signal::unix::{SignalKind, signal};

/// Listens from now on; what is given resolves when the process is asked to end. A closed terminal (SIGHUP) and a closed
/// pipe do not count. Where nothing can be listened to, it never resolves.
pub(super) fn asked_to_end() -> impl Future<Output = ()> + Send + 'static {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::hangup()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut term), Ok(mut hangup), Ok(mut interrupt)) = signals else {
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
}
