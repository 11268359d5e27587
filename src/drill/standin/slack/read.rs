//! Reading channels: who is in, what was said, what was replied.

use serde_json::{Map, Value, json};

use super::{Message, Outcome, Refusal, Slack, write::truth};
use crate::drill::standin::message::text;

/// Messages on one page at most.
const LARGEST_PAGE: usize = 999;

impl Slack {
    /// `conversations.info`, which a bot may also call on a public channel that it is not in.
    pub(super) fn info(&self, arguments: &Map<String, Value>) -> Outcome {
        required(arguments, &["channel"])?;
        Ok(json!({"channel": self.channel(arguments)?.json()}))
    }

    /// `conversations.history`: newest first, without replies unless they were broadcast.
    pub(super) fn history(&self, arguments: &Map<String, Value>) -> Outcome {
        required(arguments, &["channel"])?;
        let channel = self.channel(arguments)?;
        channel.joined()?;
        let shown = channel.messages.iter().rev();
        let shown = shown.filter(|message| message.thread.is_none() || message.broadcast);
        page(&shown.collect::<Vec<_>>(), arguments, |message| channel.replies(&message.ts))
    }

    /// `conversations.replies`: the parent, then its replies, oldest first.
    pub(super) fn replies(&self, arguments: &Map<String, Value>) -> Outcome {
        required(arguments, &["channel", "ts"])?;
        let channel = self.channel(arguments)?;
        channel.joined()?;
        let ts = text(arguments, "ts").unwrap_or_default();
        let parent = channel.message(ts).ok_or("thread_not_found")?;
        // Asked with a reply's `ts`, Slack answers with that one message.
        let mut shown = vec![parent];
        let messages = channel.messages.iter();
        shown.extend(messages.filter(|message| message.thread.as_deref() == Some(ts)));
        page(&shown, arguments, |message| channel.replies(&message.ts))
    }
}

/// Slack names what is missing. A JSON body to a reading method ends here, since it carries no arguments there.
fn required(arguments: &Map<String, Value>, names: &[&str]) -> Result<(), Refusal> {
    let missing: Vec<String> = names
        .iter()
        .filter(|name| text(arguments, name).is_none())
        .map(|name| format!("[ERROR] missing required field: {name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refusal { error: "invalid_arguments", more: json!({"response_metadata": {"messages": missing}}) })
}

/// One page between `oldest` and `latest`; the cursor is the place in the list.
fn page(messages: &[&Message], arguments: &Map<String, Value>, replies: impl Fn(&Message) -> usize) -> Outcome {
    let limit = match arguments.get("limit").map(number) {
        None => 100,
        Some(Some(limit)) if (1..=LARGEST_PAGE).contains(&limit) => limit,
        Some(_) => return Err("invalid_limit".into()),
    };
    let start = match text(arguments, "cursor") {
        None => 0,
        Some(cursor) => {
            cursor.strip_prefix("place:").and_then(|place| place.parse::<usize>().ok()).ok_or("invalid_cursor")?
        }
    };
    let (oldest, latest) = (moment(arguments, "oldest")?, moment(arguments, "latest")?);
    let inclusive = truth(arguments, "inclusive");
    let metadata = truth(arguments, "include_all_metadata");
    let inside = |message: &&&Message| {
        let at = micros(&message.ts);
        let after = oldest.is_none_or(|oldest| at > Some(oldest) || inclusive && at == Some(oldest));
        let before = latest.is_none_or(|latest| at < Some(latest) || inclusive && at == Some(latest));
        after && before
    };
    let all: Vec<_> = messages.iter().filter(inside).collect();
    let shown: Vec<_> =
        all.iter().skip(start).take(limit).map(|message| message.json(replies(message), metadata)).collect();
    let more = start.saturating_add(limit) < all.len();
    let mut answer = json!({"messages": shown, "has_more": more});
    if let (true, Value::Object(answer)) = (more, &mut answer) {
        let next = format!("place:{}", start + limit);
        answer.insert("response_metadata".into(), json!({"next_cursor": next}));
    }
    Ok(answer)
}

fn number(value: &Value) -> Option<usize> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|number| number.try_into().ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn moment(arguments: &Map<String, Value>, key: &'static str) -> Result<Option<i64>, Refusal> {
    let wrong = if key == "oldest" { "invalid_ts_oldest" } else { "invalid_ts_latest" };
    match text(arguments, key) {
        None => Ok(None),
        Some(ts) => Ok(Some(micros(ts).ok_or(wrong)?)),
    }
}

/// A `ts` in microseconds.
fn micros(ts: &str) -> Option<i64> {
    let (seconds, fraction) = ts.split_once('.').unwrap_or((ts, "0"));
    let fraction = format!("{fraction:0<6}");
    let (seconds, fraction) = (seconds.parse::<i64>().ok()?, fraction.parse::<i64>().ok()?);
    seconds.checked_mul(1_000_000)?.checked_add(fraction)
}
