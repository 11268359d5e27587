//! Channels and messages: what is kept of them and how they read.

use serde_json::{Map, Value, json};

use super::{BOT_USER, Refusal};

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) ts: String,
    pub(super) user: String,
    pub(super) text: String,
    pub(super) blocks: Option<Value>,
    pub(super) metadata: Option<Value>,
    /// The parent's `ts`, in a reply.
    pub(super) thread: Option<String>,
    /// A reply that also shows in the channel.
    pub(super) broadcast: bool,
    /// When it was last edited.
    pub(super) edited: Option<String>,
}

impl Message {
    /// A message of nothing but text.
    pub(super) fn plain(ts: String, user: &str, text: &str) -> Self {
        let (user, text) = (user.to_owned(), text.to_owned());
        Self { ts, user, text, blocks: None, metadata: None, thread: None, broadcast: false, edited: None }
    }

    /// The message as the API shows it; metadata only where it is asked for.
    pub(super) fn json(&self, replies: usize, metadata: bool) -> Value {
        let mut json = Map::new();
        json.insert("type".into(), json!("message"));
        json.insert("user".into(), json!(self.user));
        if self.user == BOT_USER {
            json.insert("bot_id".into(), json!("B0RELIGHT1"));
        }
        json.insert("text".into(), json!(self.text));
        json.insert("ts".into(), json!(self.ts));
        if let Some(blocks) = &self.blocks {
            json.insert("blocks".into(), blocks.clone());
        }
        if let Some(thread) = &self.thread {
            json.insert("thread_ts".into(), json!(thread));
        } else if replies > 0 {
            json.insert("thread_ts".into(), json!(self.ts));
            json.insert("reply_count".into(), json!(replies));
        }
        if let Some(edited) = &self.edited {
            json.insert("edited".into(), json!({"user": self.user, "ts": edited}));
        }
        if let Some(value) = self.metadata.as_ref().filter(|_| metadata) {
            json.insert("metadata".into(), value.clone());
        }
        Value::Object(json)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Channel {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) archived: bool,
    pub(super) member: bool,
    /// Oldest first, replies among them.
    pub(super) messages: Vec<Message>,
}

impl Channel {
    pub(super) fn new(id: String, name: String) -> Self {
        Self { id, name, archived: false, member: true, messages: Vec::new() }
    }

    /// Replies to the message of that `ts`.
    pub(super) fn replies(&self, ts: &str) -> usize {
        let messages = self.messages.iter();
        messages.filter(|message| message.thread.as_deref() == Some(ts)).count()
    }

    pub(super) fn message(&self, ts: &str) -> Option<&Message> {
        self.messages.iter().find(|message| message.ts == ts)
    }

    /// Refuses reading or writing where the bot is no member.
    pub(super) fn joined(&self) -> Result<(), Refusal> {
        if self.member {
            return Ok(());
        }
        Err("not_in_channel".into())
    }

    /// Refuses writing where the bot is no member or the channel is archived.
    pub(super) fn writable(&self) -> Result<(), Refusal> {
        if self.archived {
            return Err("is_archived".into());
        }
        self.joined()
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "name_normalized": self.name,
            "is_channel": true, "is_group": false, "is_im": false, "is_private": false,
            "is_archived": self.archived, "is_member": self.member,
        })
    }

    /// Everything, for assertions.
    pub(super) fn whole(&self) -> Value {
        let mut json = self.json();
        let messages: Vec<_> =
            self.messages.iter().map(|message| message.json(self.replies(&message.ts), true)).collect();
        if let Value::Object(json) = &mut json {
            json.insert("messages".into(), json!(messages));
        }
        json
    }
}
