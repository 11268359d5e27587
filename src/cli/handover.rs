//! `relight handover`: the page for whoever takes over, and taking over.

use std::io::{IsTerminal as _, Write as _};

use color_eyre::Result;
use color_eyre::eyre::eyre;
use jiff::Timestamp;

use crate::export;
use crate::incident::{Command, Digest, IncidentId, Seal, State};
use crate::wire::{FromEngine, Link, ToClient, ToEngine};

use super::arguments::Common;
use super::exit::Usage;
use super::incidents::{home, named_or_only};
use super::out::{out, outln};
use super::{Exit, engine};

pub(super) fn handover(common: &Common, id: Option<IncidentId>, take: bool, confirm: Option<&str>) -> Result<Exit> {
    let home = home(common)?;
    let id = named_or_only(&home, id)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let link = engine::connect_or_start(&home, &id, common, false).await?;
        let mut client = Client::attach(link).await?;
        if take { take_over(&mut client, confirm).await } else { offer(&mut client).await }
    })
}

/// Writes the page down in the journal, where the next one finds it.
async fn offer(client: &mut Client) -> Result<Exit> {
    let page = export::handover(&client.state, Timestamp::now(), client.seal.as_ref());
    outln!("{page}");
    client.ask(Command::OfferHandover { text: page.clone() }).await?;
    let digest = short(&page);
    outln!(
        "This page waits in {}. Whoever takes over sees it in the cockpit, or confirms it with\n  relight handover {} --take",
        client.state.id,
        client.state.id
    );
    outln!("without a terminal: relight handover {} --take --confirm {digest}", client.state.id);
    Ok(Exit::Done)
}

async fn take_over(client: &mut Client, confirm: Option<&str>) -> Result<Exit> {
    let Some(offered) = client.state.handover.clone() else {
        outln!("Nobody hands {} over: relight handover {} writes the page.", client.state.id, client.state.id);
        return Ok(Exit::Refused);
    };
    outln!("{}", offered.page);
    outln!("Written by {} at {}.", offered.by.name, offered.at.strftime("%Y-%m-%d %H:%M:%SZ"));
    let digest = short(&offered.page);
    let yes = match confirm {
        Some(given) => given == digest,
        None if std::io::stdin().is_terminal() => {
            out!("Did you read it, and take the incident over? [y/N] ");
            std::io::stdout().flush()?;
            let mut answer = String::new();
            std::io::stdin().read_line(&mut answer)?;
            answer.trim().eq_ignore_ascii_case("y")
        }
        None => {
            return Err(
                Usage(format!("there is no terminal to ask on; read the page, then add --confirm {digest}")).into()
            );
        }
    };
    if !yes {
        outln!("Nothing was taken over.");
        return Ok(Exit::Refused);
    }
    client.ask(Command::TakeOver { page: Digest::of(offered.page.as_bytes()) }).await?;
    outln!("You have {}. relight attach {}", client.state.id, client.state.id);
    Ok(Exit::Done)
}

fn short(page: &str) -> String {
    Digest::of(page.as_bytes()).0.chars().take(12).collect()
}

/// A client without a screen.
struct Client {
    link: Link,
    state: State,
    seal: Option<Seal>,
}

impl Client {
    /// Hears the whole history.
    async fn attach(mut link: Link) -> Result<Self> {
        let mut state: Option<State> = None;
        loop {
            match hear(&mut link).await? {
                ToClient::Event { event } => match &mut state {
                    None => state = Some(State::open(&event)?),
                    Some(state) => state.apply(&event)?,
                },
                ToClient::CaughtUp { seal } => {
                    let state = state.ok_or_else(|| eyre!("the engine told of no incident"))?;
                    return Ok(Self { link, state, seal: Some(seal) });
                }
                _ => {}
            }
        }
    }

    /// Asks for something, and waits until it is durable.
    async fn ask(&mut self, command: Command) -> Result<()> {
        self.link.tx.send(ToEngine::Command { id: 1, command }).await?;
        loop {
            match hear(&mut self.link).await? {
                ToClient::Event { event } => self.state.apply(&event)?,
                ToClient::Reply { result, .. } => return Ok(result?),
                _ => {}
            }
        }
    }
}

async fn hear(link: &mut Link) -> Result<ToClient> {
    match link.rx.recv().await {
        Some(FromEngine::Message(message)) => Ok(message),
        Some(FromEngine::Lost(why)) => Err(eyre!("the engine is gone: {why}")),
        None => Err(eyre!("the engine is gone")),
    }
}
