//! Posting and editing messages, and what a message may hold.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{BOT_USER, Message, Outcome, Refusal, Slack};
use crate::drill::standin::message::text;

/// Where `chat.postMessage` cuts the text.
const LONGEST_POST: usize = 40_000;
/// What `chat.update` refuses to exceed.
const LONGEST_UPDATE: usize = 4_000;
/// Characters of `markdown_text`.
const LONGEST_MARKDOWN: usize = 12_000;
/// Blocks of one message.
const MOST_BLOCKS: usize = 50;
/// Characters of one section's text.
const LONGEST_SECTION: usize = 3_000;
/// Characters of all blocks together, where the service was seen to refuse.
const LONGEST_BLOCKS: usize = 13_200;

/// What a message says.
struct Content {
    text: String,
    blocks: Option<Value>,
}

impl Slack {
    /// `chat.postMessage`, in the name of `user`.
    pub(super) fn post(&mut self, arguments: &Map<String, Value>, user: &str, now: Timestamp) -> Outcome {
        let channel = self.channel(arguments)?;
        channel.writable()?;
        let content = content(arguments)?;
        let thread = match text(arguments, "thread_ts") {
            None => None,
            Some(ts) => match channel.message(ts) {
                None => return Err("thread_not_found".into()),
                // Only a parent can be replied to.
                Some(message) if message.thread.is_some() => {
                    return Err("cannot_reply_to_message".into());
                }
                Some(_) => Some(ts.to_owned()),
            },
        };
        let metadata = match nested(arguments, "metadata") {
            None => None,
            Some(Value::Object(object))
                if text(&object, "event_type").is_some()
                    && object.get("event_payload").is_some_and(Value::is_object) =>
            {
                Some(Value::Object(object))
            }
            Some(_) => return Err("invalid_metadata_format".into()),
        };
        let id = channel.id.clone();
        let message = Message {
            ts: self.ts(now),
            user: user.to_owned(),
            text: content.text.chars().take(LONGEST_POST).collect(),
            blocks: content.blocks,
            metadata,
            thread,
            broadcast: truth(arguments, "reply_broadcast"),
            edited: None,
        };
        let answer = json!({"channel": id, "ts": message.ts, "message": message.json(0, true)});
        self.channel_mut(&id)?.messages.push(message);
        Ok(answer)
    }

    /// `chat.update`: only the bot's own messages, and only while the workspace lets them be edited.
    pub(super) fn update(&mut self, arguments: &Map<String, Value>, now: Timestamp) -> Outcome {
        let channel = self.channel(arguments)?;
        channel.writable()?;
        let ts = text(arguments, "ts").ok_or("message_not_found")?;
        let message = channel.message(ts).ok_or("message_not_found")?;
        if message.user != BOT_USER {
            return Err("cant_update_message".into());
        }
        if self.edit_window_closed {
            return Err("edit_window_closed".into());
        }
        let content = content(arguments)?;
        if content.text.chars().count() > LONGEST_UPDATE {
            return Err("msg_too_long".into());
        }
        let (id, ts) = (channel.id.clone(), ts.to_owned());
        let edited = self.ts(now);
        let channel = self.channel_mut(&id)?;
        let replies = channel.replies(&ts);
        let found = channel.messages.iter_mut().find(|it| it.ts == ts);
        let message = found.ok_or("message_not_found")?;
        message.text = content.text;
        message.blocks = content.blocks;
        message.edited = Some(edited);
        let json = message.json(replies, true);
        Ok(json!({"channel": id, "ts": ts, "text": message.text, "message": json}))
    }
}

/// A yes or no, as JSON or as a form spells it.
pub(super) fn truth(arguments: &Map<String, Value>, key: &str) -> bool {
    match arguments.get(key) {
        Some(Value::Bool(yes)) => *yes,
        Some(Value::String(text)) => ["true", "1"].contains(&text.as_str()),
        _ => false,
    }
}

/// An argument that is JSON itself, which a form carries as text.
fn nested(arguments: &Map<String, Value>, key: &str) -> Option<Value> {
    match arguments.get(key) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(serde_json::from_str(text).unwrap_or(Value::String(text.clone()))),
        Some(other) => Some(other.clone()),
    }
}

fn content(arguments: &Map<String, Value>) -> Result<Content, Refusal> {
    let plain = match arguments.get("text") {
        None | Some(Value::Null) => "",
        Some(Value::String(plain)) => plain,
        Some(_) => return Err("invalid_arguments".into()),
    };
    let blocks = nested(arguments, "blocks");
    if let Some(markdown) = text(arguments, "markdown_text") {
        if !plain.is_empty() || blocks.is_some() {
            return Err("markdown_text_conflict".into());
        }
        if markdown.chars().count() > LONGEST_MARKDOWN {
            return Err("msg_too_long".into());
        }
        return Ok(Content { text: markdown.to_owned(), blocks: None });
    }
    if let Some(blocks) = &blocks {
        check_blocks(blocks)?;
    }
    let empty = blocks.as_ref().and_then(Value::as_array).is_none_or(Vec::is_empty);
    if plain.trim().is_empty() && empty {
        return Err("no_text".into());
    }
    Ok(Content { text: plain.to_owned(), blocks })
}

fn check_blocks(blocks: &Value) -> Result<(), Refusal> {
    let list = blocks.as_array().ok_or("invalid_blocks_format")?;
    if list.len() > MOST_BLOCKS {
        return Err("invalid_blocks".into());
    }
    let mut total = 0;
    for block in list {
        let kind = block.get("type").and_then(Value::as_str);
        kind.ok_or("invalid_blocks")?;
        let said = block.pointer("/text/text").and_then(Value::as_str);
        let length = said.map_or(0, |said| said.chars().count());
        if kind == Some("section") {
            let fields = block.get("fields").is_some_and(Value::is_array);
            if (said.is_none() && !fields) || length > LONGEST_SECTION {
                return Err("invalid_blocks".into());
            }
        }
        total += length;
    }
    if total > LONGEST_BLOCKS {
        return Err("msg_blocks_too_long".into());
    }
    Ok(())
}
