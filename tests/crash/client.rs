//! A client that remembers everything that it was told.

use std::path::Path;

use relight::incident::{Command, Event, Inputs, Notice, Plan, Refusal, State};
use relight::runbook::StepId;
use relight::wire::{self, FromEngine, Link, ToClient, ToEngine};

/// The engine is gone.
#[derive(Debug)]
pub(crate) struct Lost;

pub(crate) struct Client {
    link: Link,
    pub(crate) state: Option<State>,
    /// Every event that it saw, on whichever engine.
    pub(crate) events: Vec<Event>,
    next: u64,
}

impl Client {
    pub(crate) async fn attach(socket: &Path) -> Result<Self, Lost> {
        let link = wire::connect(socket, 0, false).await.map_err(|_| Lost)?;
        let mut client = Self { link, state: None, events: Vec::new(), next: 1 };
        client.until(|_, message| matches!(message, ToClient::CaughtUp { .. }).then_some(())).await?;
        Ok(client)
    }

    pub(crate) fn state(&self) -> &State {
        self.state.as_ref().expect("it is caught up")
    }

    /// Listens until `found` finds something.
    pub(crate) async fn until<T>(&mut self, mut found: impl FnMut(&State, &ToClient) -> Option<T>) -> Result<T, Lost> {
        loop {
            let message = match self.link.rx.recv().await {
                Some(FromEngine::Message(message)) => message,
                Some(FromEngine::Lost(_)) | None => return Err(Lost),
            };
            if let ToClient::Event { event } = &message {
                match &mut self.state {
                    None => self.state = Some(State::open(event).unwrap()),
                    Some(state) => state.apply(event).unwrap(),
                }
                self.events.push((**event).clone());
            }
            if let Some(state) = &self.state
                && let Some(found) = found(state, &message)
            {
                return Ok(found);
            }
        }
    }

    pub(crate) async fn ask(&mut self, command: Command) -> Result<Result<(), Refusal>, Lost> {
        let id = self.next;
        self.next += 1;
        self.link.tx.send(ToEngine::Command { id, command }).await.map_err(|_| Lost)?;
        self.until(|_, message| match message {
            ToClient::Reply { id: answered, result } if *answered == id => Some(result.clone()),
            _ => None,
        })
        .await
    }

    /// Has a step planned; the plan, which must be one that can be approved.
    pub(crate) async fn plan(&mut self, step: &StepId, inputs: Inputs) -> Result<Plan, Lost> {
        let id = self.next;
        self.next += 1;
        let command = Command::Prepare { step: step.clone(), inputs: inputs.clone(), undoes: None };
        self.link.tx.send(ToEngine::Command { id, command }).await.map_err(|_| Lost)?;
        let plan = self
            .until(|_, message| match message {
                ToClient::Reply { id: answered, result: Err(refusal) } if *answered == id => panic!("{refusal}"),
                ToClient::Notice { notice: Notice::Planned { step: of, result } } if of == step => {
                    Some(result.clone().unwrap())
                }
                _ => None,
            })
            .await?;
        assert_eq!(plan.obstacle(), None);
        assert_eq!(plan.inputs, inputs);
        Ok(*plan)
    }
}
