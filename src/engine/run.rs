//! The loop: turns sources into inputs, hands them to the core, and runs what follows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::incident::{
    Actor, AttemptId, Command, Effect, EventKind, Fold, Inputs, Knowledge, Listing, MessageId, Notice, Plan, Problem,
    Query, Refusal, ReplayError, Report, State, StepStatus,
};
use crate::journal::{self, Journal, JournalError};
use crate::runbook::StepId;

use super::clients::{Clients, Outgoing};
use super::find;
use super::handle::{Joined, Then};
use super::outbox::{Outbox, Owed};
use super::past;
use super::sink::log_path;
use super::supervisor::Supervisor;
use super::{Changes, ClientId, Core, Handle, Hands, Input, Seat};

/// Inputs that may wait for the loop. Commands and reports wait for room; notices are dropped.
const INPUTS: usize = 1024;
/// The most of a log that one query shows.
const MOST_OUTPUT: u32 = 1 << 20;

/// What an engine needs.
pub struct Options {
    /// The incident's folder.
    pub folder: PathBuf,
    /// Targets and credentials.
    pub config: Arc<Config>,
    /// Workers.
    pub hands: Arc<dyn Hands>,
}

/// Why an engine cannot run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal's events make no incident.
    #[error("the journal in {} cannot be replayed: {}", .0.display(), .1)]
    Replay(PathBuf, ReplayError),
}

/// Runs an incident's engine until the incident is closed and nothing is owed, or [`Input::Shutdown`]. Where the journal
/// cannot be written any more it accepts no command, waits for what is at work, and ends: a new engine asks the targets.
/// `serve` is given the way in, once the journal is held.
///
/// # Errors
/// The journal cannot be used.
pub async fn run(options: Options, serve: impl FnOnce(Handle)) -> Result<(), EngineError> {
    let mut fold = Fold::default();
    let (journal, end) = Journal::open_each(&options.folder, |event| fold.take(event))?;
    let state = fold.state().map_err(|error| EngineError::Replay(options.folder.clone(), error))?;
    let mut core = Core::of(journal, state);
    let (tx, mut rx) = mpsc::channel(INPUTS);
    let handle = Handle(tx);
    let recovered = core.state().unsent().map(|message| message.id).collect();
    let mut engine = Loop {
        supervisor: Supervisor::new(
            Arc::clone(&options.hands),
            Arc::clone(&options.config),
            options.folder.clone(),
            handle.clone(),
        ),
        outbox: Outbox::start(&options.hands, &handle),
        clients: Clients::default(),
        shown: Shown::default(),
        folder: options.folder,
        handle: handle.clone(),
        recovered,
        ending: false,
    };
    let changes = core.start(std::process::id(), end.torn, Timestamp::now())?;
    tracing::info!("relight {} runs {} as process {}", env!("CARGO_PKG_VERSION"), core.state().id, std::process::id());
    engine.follow(&core, changes);
    engine.supervisor.list(core.state(), |_| None);
    past::recall(core.state(), &engine.folder, engine.handle.clone());
    serve(handle);
    while let Some(input) = rx.recv().await {
        if matches!(input, Input::Shutdown) {
            break;
        }
        engine.handle(&mut core, input);
        if core.stopped().is_some() && engine.supervisor.is_idle() {
            // What this process knows and the disk does not is lost with it, so the next one asks the targets.
            return Err(JournalError::Stopped(engine.folder.join(journal::FILE)).into());
        }
        if engine.ending && core.state().unsent().next().is_none() {
            break;
        }
    }
    Ok(())
}

/// Lines of the engine's own log that whoever attaches later is shown.
const LOG_LINES: usize = 200;

/// The last of each kind of notice, for whoever attaches later.
#[derive(Default)]
struct Shown {
    /// All dumps, of which clients are told the first and ask for more.
    listing: Option<Listing>,
    snapshots: Option<Arc<Notice>>,
    progress: BTreeMap<AttemptId, Arc<Notice>>,
    measured: BTreeMap<StepId, Arc<Notice>>,
    precedents: Option<Arc<Notice>>,
    stopped: Option<Arc<Notice>>,
    log: VecDeque<Arc<Notice>>,
}

impl Shown {
    /// Keeps a whole listing, and gives its first page.
    fn list(&mut self, mut listing: Listing) -> Listing {
        listing.number = self.listing.as_ref().map_or(0, |before| before.number) + 1;
        let first = listing.page(0);
        self.listing = Some(listing);
        first
    }

    fn keep(&mut self, notice: &Arc<Notice>) {
        let place = match &**notice {
            Notice::Snapshots(_) => &mut self.snapshots,
            Notice::Precedents { .. } => &mut self.precedents,
            Notice::JournalStopped { .. } => &mut self.stopped,
            Notice::Progress { attempt, .. } => {
                self.progress.insert(*attempt, Arc::clone(notice));
                return;
            }
            Notice::Measured { step, .. } => {
                self.measured.insert(step.clone(), Arc::clone(notice));
                return;
            }
            Notice::Log { .. } => {
                if self.log.len() == LOG_LINES {
                    self.log.pop_front();
                }
                self.log.push_back(Arc::clone(notice));
                return;
            }
            Notice::Planned { .. }
            | Notice::Output { .. }
            | Notice::Contents { .. }
            | Notice::Found { .. }
            | Notice::OutboxWaits { .. }
            | Notice::People { .. } => return,
        };
        *place = Some(Arc::clone(notice));
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Notice>> {
        self.snapshots
            .iter()
            .chain(self.progress.values())
            .chain(self.measured.values())
            .chain(&self.precedents)
            .chain(&self.stopped)
            .chain(&self.log)
    }
}

/// What changes call for.
struct Called {
    effects: Vec<Effect>,
    /// The snapshots have to be judged anew.
    relist: bool,
}

struct Loop {
    supervisor: Supervisor,
    outbox: Outbox,
    clients: Clients,
    shown: Shown,
    folder: PathBuf,
    handle: Handle,
    /// Messages that an earlier engine owed: it may have sent them and died before it could say so.
    recovered: BTreeSet<MessageId>,
    ending: bool,
}

impl Loop {
    fn handle(&mut self, core: &mut Core, input: Input) {
        match input {
            Input::Connect { client, seat, reply } => self.connect(core, client, seat, reply),
            Input::Disconnect { client } => {
                self.clients.remove(client);
                self.tell_people();
            }
            Input::Command { client, id, command } => self.command(core, client, id, &command),
            Input::Query { client, id, query } => self.query(core, client, id, &query),
            Input::Report(report) => self.report(core, &report),
            Input::Planned { step, result, footing, then } => {
                let result = result.map(|plan| Box::new(core.keep_plan(*plan, footing, Timestamp::now())));
                match then {
                    Then::Begin => self.begin(core, step, result),
                    Then::Show => self.show(Notice::Planned { step, result }),
                }
            }
            Input::Notice(notice) => self.show(notice),
            Input::Answer { client, id, result } => {
                let result = result.map(|notice| {
                    if let Some(notice) = notice {
                        self.clients.tell(client, Outgoing::Notice(Arc::new(notice)));
                    }
                });
                self.clients.tell(client, Outgoing::Reply { id, result });
            }
            Input::Shutdown => {}
        }
    }

    fn connect(&mut self, core: &Core, client: ClientId, seat: Seat, reply: tokio::sync::oneshot::Sender<Joined>) {
        let subscription = self.clients.add(client, seat);
        for notice in self.shown.all() {
            self.clients.tell(client, Outgoing::Notice(Arc::clone(notice)));
        }
        let joined = Joined {
            incident: core.state().id.clone(),
            journal: self.folder.join(journal::FILE),
            length: core.journal_length(),
            seal: core.seal(),
            subscription,
        };
        if reply.send(joined).is_err() {
            self.clients.remove(client);
        }
        self.tell_people();
    }

    /// Tells everybody who else is there.
    fn tell_people(&mut self) {
        let people = Notice::People { people: self.clients.people() };
        self.clients.broadcast(&Outgoing::Notice(Arc::new(people)));
    }

    fn command(&mut self, core: &mut Core, client: ClientId, id: u64, command: &Command) {
        // One that was let go meanwhile hears no answer, and nothing is done in its name.
        let Some(seat) = self.clients.seat(client).cloned() else { return };
        if let Some(why) = seat.watching {
            self.clients.tell(client, Outgoing::Reply { id, result: Err(Refusal::Watching { why }) });
            return;
        }
        let before = core.stopped().is_some();
        let (result, changes) = core.command(&seat.actor, command, Timestamp::now());
        // Whoever asked is answered before anything is begun: what is in the journal is so already.
        let effects = self.tell(core, changes);
        self.tell_if_stopped(core, before);
        self.clients.tell(client, Outgoing::Reply { id, result });
        self.act_on(core, effects);
    }

    /// Begins a step that begins by itself, by the same rules as one that a person begins.
    fn begin(&mut self, core: &mut Core, step: StepId, planned: Result<Box<Plan>, Problem>) {
        let why = match planned {
            Ok(plan) => {
                let command = Command::Approve { step: step.clone(), digest: plan.digest(), typed: None };
                let (result, changes) = core.command(&Actor::engine(), &command, Timestamp::now());
                self.follow(core, changes);
                result.err().map(|refusal| refusal.to_string())
            }
            Err(problem) => Some(problem.to_string()),
        };
        // A person may have begun or settled it meanwhile, or what it needs was taken back: it has no place then.
        let wanted = core
            .state()
            .runbook
            .step(&step)
            .filter(|step| core.state().status(&step.id) == &StepStatus::Pending && core.state().is_ready(step));
        if let Some((why, found)) = why.zip(wanted) {
            let text = format!("{} did not begin by itself: {why}", found.title);
            self.report(core, &Report::Alarm { step, text });
        }
    }

    fn report(&mut self, core: &mut Core, report: &Report) {
        if let Report::Finished { attempt, .. } = report {
            tracing::info!("attempt {attempt} has ended: {}", step_of(core.state(), *attempt));
            self.supervisor.finished(*attempt);
            self.shown.progress.remove(attempt);
        }
        if let Report::SentInDoubt { message, .. } = report {
            self.outbox.forget(*message);
            self.recovered.remove(message);
        }
        let before = core.stopped().is_some();
        match core.report(report, Timestamp::now()) {
            Ok(changes) => self.follow(core, changes),
            Err(error) => tracing::error!("{error}"),
        }
        self.tell_if_stopped(core, before);
    }

    fn tell_if_stopped(&mut self, core: &Core, before: bool) {
        if let (false, Some(why)) = (before, core.stopped()) {
            self.show(Notice::JournalStopped { why: why.to_owned() });
        }
    }

    fn query(&mut self, core: &Core, client: ClientId, id: u64, query: &Query) {
        match *query {
            Query::SnapshotsFrom { listing, from } => {
                let known = self.shown.listing.as_ref().filter(|known| known.number == listing);
                let result = match known {
                    Some(known) => {
                        let page = Notice::Snapshots(known.page(from));
                        self.clients.tell(client, Outgoing::Notice(Arc::new(page)));
                        Ok(())
                    }
                    None => Err(Refusal::WrongState { why: "the snapshots were listed again meanwhile".to_owned() }),
                };
                self.clients.tell(client, Outgoing::Reply { id, result });
            }
            Query::Find { attempt, ref needle, from } => {
                let (path, needle) = (log_path(&self.folder, attempt), needle.clone());
                let handle = self.handle.clone();
                tokio::spawn(async move {
                    let searching = needle.clone();
                    let found = tokio::task::spawn_blocking(move || find::find(&path, from, &searching)).await;
                    let found = found.map_err(std::io::Error::other).and_then(|found| found);
                    let result = match found {
                        Ok(found) => Ok(Some(Notice::Found {
                            attempt,
                            needle,
                            at: found.at,
                            upto: found.upto,
                            size: found.size,
                        })),
                        Err(error) => Err(Refusal::WrongState { why: format!("the log cannot be searched: {error}") }),
                    };
                    handle.send(Input::Answer { client, id, result }).await;
                });
            }
            Query::Contents { ref key } => {
                self.supervisor.open(core.state(), key.clone(), move |notice| Input::Answer {
                    client,
                    id,
                    result: Ok(Some(notice)),
                });
            }
            Query::Snapshots => {
                self.supervisor.list(core.state(), move |result| {
                    Some(Input::Answer { client, id, result: result.map(|()| None) })
                });
            }
            Query::Output { attempt, from, most } => {
                let Some(asked) = core.state().attempts.get(&attempt) else {
                    let why = format!("there is no attempt {attempt}");
                    self.clients.tell(client, Outgoing::Reply { id, result: Err(Refusal::WrongState { why }) });
                    return;
                };
                let begins = asked.outcome.is_none();
                let path = log_path(&self.folder, attempt);
                let handle = self.handle.clone();
                tokio::spawn(async move {
                    let read = tokio::task::spawn_blocking(move || read_log(&path, from, most.min(MOST_OUTPUT))).await;
                    let read = read.map_err(std::io::Error::other).and_then(|read| read);
                    let result = match read {
                        Ok((offset, text)) => Ok(Some(Notice::Output { attempt, offset, text })),
                        // One that has just begun has no log yet.
                        Err(error) if begins && error.kind() == std::io::ErrorKind::NotFound => {
                            Ok(Some(Notice::Output { attempt, offset: 0, text: String::new() }))
                        }
                        Err(error) => Err(Refusal::WrongState { why: format!("the log cannot be read: {error}") }),
                    };
                    handle.send(Input::Answer { client, id, result }).await;
                });
            }
        }
    }

    fn show(&mut self, notice: Notice) {
        let notice = match notice {
            Notice::Snapshots(listing) => Notice::Snapshots(self.shown.list(listing)),
            other => other,
        };
        let notice = Arc::new(notice);
        self.shown.keep(&notice);
        self.clients.broadcast(&Outgoing::Notice(notice));
    }

    /// Tells the clients what happened, and acts.
    fn follow(&mut self, core: &Core, changes: Changes) {
        let effects = self.tell(core, changes);
        self.act_on(core, effects);
    }

    /// Tells the clients what happened. What it calls for is the caller's to do.
    fn tell(&mut self, core: &Core, changes: Changes) -> Called {
        let relist = changes
            .events
            .iter()
            .any(|event| matches!(&event.kind, EventKind::Finished { attempt, .. } if chose_snapshot(core, *attempt)));
        if !changes.events.is_empty() {
            for event in changes.events {
                self.clients.broadcast(&Outgoing::Event(Arc::new(event)));
            }
            self.clients.broadcast(&Outgoing::Sealed(Arc::new(core.seal())));
        }
        Called { effects: changes.effects, relist }
    }

    fn act_on(&mut self, core: &Core, called: Called) {
        for effect in called.effects {
            self.act(core, effect);
        }
        if called.relist {
            self.supervisor.list(core.state(), |_| None);
        }
    }

    fn act(&mut self, core: &Core, effect: Effect) {
        let state = core.state();
        match effect {
            Effect::Plan { step, inputs, undoes } => {
                if let Some(step) = state.runbook.step(&step) {
                    self.supervisor.plan(state, step, inputs, undoes, Then::Show);
                }
            }
            Effect::Begin { step } => {
                if let Some(step) = state.runbook.step(&step) {
                    self.supervisor.plan(state, step, Inputs::new(), None, Then::Begin);
                }
            }
            Effect::Run { attempt } => {
                tracing::info!("attempt {attempt} begins: {}", step_of(state, attempt));
                self.supervisor.run(state, attempt);
            }
            Effect::Stop { attempt } => {
                tracing::info!("attempt {attempt} is asked to stop: {}", step_of(state, attempt));
                self.supervisor.stop(attempt);
            }
            Effect::Probe { attempt } => {
                tracing::info!("attempt {attempt} is in doubt, its target is asked: {}", step_of(state, attempt));
                self.supervisor.probe(state, attempt);
            }
            Effect::Watch { attempt } => self.supervisor.watch(state, attempt),
            Effect::Unwatch { step } => self.supervisor.unwatch(&step),
            Effect::Send { message } => {
                let Some(owed) = state.messages.get(&message) else {
                    return;
                };
                self.outbox.queue(Owed {
                    message: owed.clone(),
                    knowledge: Arc::new(Knowledge::of(state, &StepId::new(""), Timestamp::now())),
                    again: self.recovered.contains(&message),
                });
            }
            Effect::End => self.ending = true,
        }
    }
}

fn step_of(state: &State, attempt: AttemptId) -> &str {
    state.attempts.get(&attempt).map_or("?", |attempt| attempt.step.as_str())
}

fn chose_snapshot(core: &Core, attempt: AttemptId) -> bool {
    let Some(attempt) = core.state().attempts.get(&attempt) else {
        return false;
    };
    let step = core.state().runbook.step(&attempt.step);
    step.is_some_and(|step| matches!(step.action, crate::runbook::Action::ChooseSnapshot { .. }))
        && matches!(core.state().status(&attempt.step), StepStatus::Succeeded(_))
}

/// Whole lines of a log: from an offset, or the last that fit.
fn read_log(path: &Path, from: Option<u64>, most: u32) -> std::io::Result<(u64, String)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let most = u64::from(most);
    let start = from.unwrap_or_else(|| length.saturating_sub(most)).min(length);
    let mut bytes = vec![0; usize::try_from(most.min(length - start)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, start)?;
    // The end of the log begins at a line's begin; a given offset does already.
    let skip = if from.is_none() && start > 0 {
        bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1)
    } else {
        0
    };
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(skip, |at| at + 1).max(skip);
    Ok((start + skip as u64, String::from_utf8_lossy(&bytes[skip..end]).into_owned()))
}
