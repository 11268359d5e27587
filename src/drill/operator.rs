//! Plays the person: the same commands that keys send, over the same wire.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::incident::{AskKind, Command, Inputs, Notice, Plan, Problem, Refusal, ReplayError, State, StepStatus};
use crate::runbook::{Action, Begins, Step, StepId};
use crate::wire::{FromEngine, Link, ToClient, ToEngine};

/// Why the operator gave up.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The engine is gone.
    #[error("the engine is gone: {0}")]
    Lost(String),
    /// The engine said no.
    #[error("`{step}` was refused: {refusal}")]
    Refused {
        /// The step's title.
        step: String,
        /// Why.
        refusal: Refusal,
    },
    /// There was no plan.
    #[error("`{step}` has no plan: {problem}")]
    NoPlan {
        /// The step's title.
        step: String,
        /// Why.
        problem: Problem,
    },
    /// A plan asks what nobody told the operator, or has a finding that blocks.
    #[error("`{step}` cannot be approved: {why}")]
    Stuck {
        /// The step's title.
        step: String,
        /// Why.
        why: String,
    },
    /// A step did not succeed.
    #[error("`{step}` ended badly: {why}")]
    Ended {
        /// The step's title.
        step: String,
        /// How.
        why: String,
    },
    /// No step can be done, and the incident is not over.
    #[error("no step is ready, and the incident is not closed: {0}")]
    DeadEnd(String),
    /// The engine's events make no incident.
    #[error("the engine's events make no sense: {0}")]
    Replay(#[from] ReplayError),
}

/// The operator at its screen.
pub struct Operator {
    link: Link,
    state: Option<State>,
    /// The last event of the batches that came whole.
    sealed: u64,
    answers: BTreeMap<String, String>,
    next: u64,
}

impl Operator {
    /// Sits down. `answers` are what it says when a plan asks, by the ask's name; where it knows nothing it takes
    /// what is proposed.
    ///
    /// # Errors
    /// The engine is gone.
    pub async fn attach(link: Link, answers: BTreeMap<String, String>) -> Result<Self, OperatorError> {
        let mut operator = Self { link, state: None, sealed: 0, answers, next: 1 };
        operator.hear(|_, message| matches!(message, ToClient::CaughtUp { .. }).then_some(())).await?;
        Ok(operator)
    }

    /// Sits down again after the engine was lost, at one that was started anew. Waits until what was at work then is
    /// settled by its target, and makes what had no effect ready to be done again.
    ///
    /// # Errors
    /// The engine is gone, or no target can tell what became of a step.
    pub async fn come_back(&mut self, link: Link) -> Result<(), OperatorError> {
        (self.link, self.state, self.sealed) = (link, None, 0);
        self.hear(|_, message| matches!(message, ToClient::CaughtUp { .. }).then_some(())).await?;
        let settled = |state: &State| {
            let open = |step: &Step| match state.status(&step.id) {
                // What began by itself may have begun on the new engine, and waits perhaps for something of ours.
                StepStatus::Running(_) => step.begins == Begins::Asked,
                StepStatus::InDoubt(attempt) => state.attempts.get(attempt).is_some_and(|attempt| !attempt.asked),
                _ => false,
            };
            !state.runbook.steps().any(open)
        };
        if !self.state.as_ref().is_some_and(settled) {
            self.hear(|state, _| settled(state).then_some(())).await?;
        }
        self.wait_for_the_batch().await?;
        let steps: Vec<Step> = self.state.iter().flat_map(|state| state.runbook.steps().cloned()).collect();
        for step in steps {
            let status = self.state.as_ref().map(|state| state.status(&step.id).clone());
            match status {
                Some(StepStatus::Stopped(_) | StepStatus::Failed(_)) => {
                    let retried = self.ask(Command::Retry { step: step.id.clone() }).await?;
                    retried.map_err(|refusal| OperatorError::Refused { step: step.title.clone(), refusal })?;
                }
                Some(StepStatus::InDoubt(attempt)) => {
                    let found = self.state.as_ref().and_then(|state| state.attempts.get(&attempt)?.outcome.clone());
                    return Err(OperatorError::Ended { step: step.title, why: format!("{found:?}") });
                }
                _ => {}
            }
        }
        self.wait_for_the_end().await
    }

    /// Whether nothing is left to do or to send.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.closed_at.is_some() && state.unsent().next().is_none())
    }

    /// The incident as the operator sees it.
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// The step to do next: one that begins by itself, to see how it ends; a status message as soon as one can be sent; else
    /// the first of the file that is ready and not done. None when the incident is over.
    ///
    /// # Errors
    /// Steps are left, and none is ready.
    pub fn next_step(&self) -> Result<Option<Step>, OperatorError> {
        let Some(state) = &self.state else { return Err(OperatorError::DeadEnd("nothing is known of it".to_owned())) };
        if state.closed_at.is_some() {
            return Ok(None);
        }
        let ready =
            |step: &&Step| !step.optional && state.status(&step.id) == &StepStatus::Pending && state.is_ready(step);
        let awaited = |step: &&Step| {
            let at_work = matches!(state.status(&step.id), StepStatus::Running(_));
            step.begins == Begins::ByItself && !step.optional && (at_work || ready(step))
        };
        if let Some(step) = state.runbook.steps().find(awaited) {
            return Ok(Some(step.clone()));
        }
        let message =
            state.runbook.steps().filter(ready).find(|step| matches!(step.action, Action::PostMessage { .. }));
        message.or_else(|| state.runbook.steps().find(ready)).cloned().map(Some).ok_or_else(|| {
            let open = state.runbook.steps().filter(|step| !step.optional && !state.status(&step.id).is_met());
            let open = open.map(|step| format!("{} is {:?}", step.id, state.status(&step.id)));
            OperatorError::DeadEnd(open.take(3).collect::<Vec<_>>().join(", "))
        })
    }

    /// Prepares a step, answers what its plan asks, approves it, and waits until it is over; only the last of one that begins
    /// by itself.
    ///
    /// # Errors
    /// It was refused, cannot be approved, or did not succeed.
    pub async fn carry_out(&mut self, step: &Step) -> Result<(), OperatorError> {
        if step.begins == Begins::ByItself {
            return self.wait_until_over(step, 0).await;
        }
        self.approve(step, None).await
    }

    /// Takes back what a step did, by another one: as [`Self::carry_out`] does that.
    ///
    /// # Errors
    /// It was refused, cannot be approved, or did not succeed.
    pub async fn take_back(&mut self, undone: &StepId, by: &Step) -> Result<(), OperatorError> {
        self.approve(by, Some(undone)).await
    }

    async fn approve(&mut self, step: &Step, undoes: Option<&StepId>) -> Result<(), OperatorError> {
        let mut inputs = Inputs::new();
        let plan = loop {
            let plan = self.prepare(step, inputs.clone(), undoes).await?;
            let mut answered = inputs.clone();
            for ask in &plan.asks {
                if let Some(answer) = self.answers.get(&ask.name) {
                    answered.insert(ask.name.clone(), answer.clone());
                } else if ask.value.is_empty() && matches!(ask.kind, AskKind::YesNo) {
                    answered.insert(ask.name.clone(), "no".to_owned());
                }
            }
            if answered == inputs {
                break plan;
            }
            inputs = answered;
        };
        let stuck = |why| OperatorError::Stuck { step: step.title.clone(), why };
        if let Some(why) = plan.obstacle() {
            return Err(stuck(why));
        }
        let before = self.state.as_ref().map_or(0, |state| state.seq);
        let typed = plan.type_name.clone();
        let command = Command::Approve { step: step.id.clone(), digest: plan.digest(), typed };
        self.ask(command).await?.map_err(|refusal| OperatorError::Refused { step: step.title.clone(), refusal })?;
        self.wait_until_over(step, before).await?;
        self.wait_for_the_end().await
    }

    /// What a step's end leads to comes behind it: what it takes back is open again, for one.
    async fn wait_for_the_batch(&mut self) -> Result<(), OperatorError> {
        if self.state.as_ref().is_some_and(|state| state.seq > self.sealed) {
            self.hear(|_, message| matches!(message, ToClient::Sealed { .. }).then_some(())).await?;
        }
        Ok(())
    }

    /// The incident's end is an event of its own, right behind that of the step which closes it.
    async fn wait_for_the_end(&mut self) -> Result<(), OperatorError> {
        self.wait_for_the_batch().await?;
        let closing = |state: &State| {
            let closes = |step: &Step| matches!(step.action, Action::CloseIncident { .. });
            let done = |step: &Step| matches!(state.status(&step.id), StepStatus::Succeeded(_));
            state.closed_at.is_none() && state.runbook.steps().any(|step| closes(step) && done(step))
        };
        if self.state.as_ref().is_some_and(closing) {
            self.hear(|state, _| state.closed_at.map(|_| ())).await?;
        }
        Ok(())
    }

    async fn prepare(&mut self, step: &Step, inputs: Inputs, undoes: Option<&StepId>) -> Result<Plan, OperatorError> {
        let id = self.tell(Command::Prepare { step: step.id.clone(), inputs, undoes: undoes.cloned() }).await?;
        let wanted = step.id.clone();
        let title = step.title.clone();
        self.hear(move |_, message| match message {
            ToClient::Reply { id: of, result: Err(refusal) } if *of == id => {
                Some(Err(OperatorError::Refused { step: title.clone(), refusal: refusal.clone() }))
            }
            ToClient::Notice { notice: Notice::Planned { step: of, result } } if of == &wanted => Some(
                result
                    .clone()
                    .map(|plan| *plan)
                    .map_err(|problem| OperatorError::NoPlan { step: title.clone(), problem }),
            ),
            _ => None,
        })
        .await?
    }

    async fn wait_until_over(&mut self, step: &Step, since: u64) -> Result<(), OperatorError> {
        let over = |state: &State, id: &StepId| -> Option<Result<(), String>> {
            if state.seq <= since {
                return None;
            }
            match state.status(id) {
                StepStatus::Succeeded(_) | StepStatus::Skipped(_) | StepStatus::DoneByHand(_) => Some(Ok(())),
                StepStatus::Failed(attempt) | StepStatus::Stopped(attempt) | StepStatus::InDoubt(attempt) => {
                    let outcome = state.attempts.get(attempt).and_then(|attempt| attempt.outcome.clone());
                    Some(Err(format!("{outcome:?}")))
                }
                StepStatus::Pending | StepStatus::Running(_) => None,
            }
        };
        let already = self.state.as_ref().and_then(|state| over(state, &step.id));
        let ended = match already {
            Some(ended) => ended,
            None => self.hear(|state, _| over(state, &step.id)).await?,
        };
        ended.map_err(|why| OperatorError::Ended { step: step.title.clone(), why })
    }

    /// Waits until nothing is owed to the outside any more, or the engine ended because that is so.
    ///
    /// # Errors
    /// The engine's events make no sense.
    pub async fn wait_until_sent(&mut self) -> Result<(), OperatorError> {
        if self.is_over() {
            return Ok(());
        }
        self.hear(|state, _| (state.closed_at.is_some() && state.unsent().next().is_none()).then_some(())).await
    }

    async fn ask(&mut self, command: Command) -> Result<Result<(), Refusal>, OperatorError> {
        let id = self.tell(command).await?;
        self.hear(move |_, message| match message {
            ToClient::Reply { id: of, result } if *of == id => Some(result.clone()),
            _ => None,
        })
        .await
    }

    async fn tell(&mut self, command: Command) -> Result<u64, OperatorError> {
        let id = self.next;
        self.next += 1;
        let sent = self.link.tx.send(ToEngine::Command { id, command }).await;
        sent.map_err(|_| OperatorError::Lost("the connection is closed".to_owned()))?;
        Ok(id)
    }

    async fn hear<T>(&mut self, mut found: impl FnMut(&State, &ToClient) -> Option<T>) -> Result<T, OperatorError> {
        loop {
            let message = match self.link.rx.recv().await {
                Some(FromEngine::Message(message)) => message,
                Some(FromEngine::Lost(why)) => return Err(OperatorError::Lost(why)),
                None => return Err(OperatorError::Lost("the connection is closed".to_owned())),
            };
            if let ToClient::Event { event } = &message {
                match &mut self.state {
                    None => self.state = Some(State::open(event)?),
                    Some(state) => state.apply(event)?,
                }
            }
            if let ToClient::Sealed { seal } | ToClient::CaughtUp { seal } = &message {
                self.sealed = seal.seq;
            }
            if let Some(state) = &self.state
                && let Some(found) = found(state, &message)
            {
                return Ok(found);
            }
        }
    }
}

/// What the operator of a drill says when it is asked.
#[must_use]
pub fn drill_answers(onset: Timestamp) -> BTreeMap<String, String> {
    [
        ("onset", onset.to_string()),
        ("regulated", "no".to_owned()),
        ("who", "Dana Reyes, product".to_owned()),
        ("place", "the drill's bridge call".to_owned()),
    ]
    .into_iter()
    .map(|(name, answer)| (name.to_owned(), answer))
    .collect()
}
