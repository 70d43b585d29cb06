//! A record as the verbs print it: a line for a person, an object for a program.

use kith_client::wire::{
    act::{Act, Gone},
    client::Marks,
    id::{ChannelId, Seq},
    log::{Content, MemberChange, Record},
};
use serde_json::{Value, json};

use super::cluster::Names;

/// A record as a line for a person; for [`super::shown::say`].
pub(crate) fn record_line(record: &Record, names: &Names) -> String {
    let (seq, sender) = (record.at.seq.get(), names.of(record.sender));
    match &record.content {
        Content::Text { text, reply_to, .. } => {
            let origin = record.content.extra().and_then(|extra| extra.origin);
            let from = origin.map_or(String::new(), |origin| format!(" (from {})", names.of(origin.sender)));
            let thread = record.content.extra().and_then(|extra| extra.thread).map_or(String::new(), |root| format!(" (in {root})"));
            let answers = reply_to.map_or(String::new(), |seq| format!(" (to {})", seq.get()));
            format!("{seq:>6}  {sender}{from}{thread}{answers}: {text}")
        }
        Content::Gone { why, .. } => format!("{seq:>6}  {sender}: ({})", gone(*why)),
        Content::Act(act) => format!("{seq:>6}  * {sender} {}", act_text(act, names)),
        Content::Members(MemberChange::Join) => format!("{seq:>6}  * {sender} joined by a link"),
        Content::Created { title, members } => {
            let members: Vec<String> = members.iter().map(|member| names.of(*member)).collect();
            format!("{seq:>6}  * {sender} made the group {title:?} with {}", members.join(", "))
        }
        Content::Members(MemberChange::Add(user)) => format!("{seq:>6}  * {sender} added {}", names.of(*user)),
        Content::Members(MemberChange::Remove(user)) => format!("{seq:>6}  * {sender} removed {}", names.of(*user)),
        Content::Members(MemberChange::Leave) => format!("{seq:>6}  * {sender} left"),
        Content::Members(MemberChange::SetRole(user, role)) => format!("{seq:>6}  * {sender} made {} {role:?}", names.of(*user)),
        Content::Erased { .. } => format!("{seq:>6}  * {sender} has ended the account; the texts are gone"),
        Content::Unknown { .. } => format!("{seq:>6}  * something that this version does not know"),
    }
}

/// A record as JSON.
pub(crate) fn record_json(channel: ChannelId, record: &Record, names: &Names) -> Value {
    let mut object = json!({
        "channel": channel.to_string(),
        "seq": record.at.seq.get(),
        "sender": names.of(record.sender),
        "sender_id": record.sender.to_string(),
        "ts_ms": record.ts.get(),
    });
    let (kind, value) = match &record.content {
        Content::Text { text, .. } => ("text", json!(text)),
        Content::Created { title, members } => {
            ("created", json!({ "title": title, "members": members.iter().map(|member| names.of(*member)).collect::<Vec<_>>() }))
        }
        Content::Members(change) => (
            "members",
            match change {
                MemberChange::Add(user) => json!({ "add": names.of(*user) }),
                MemberChange::Remove(user) => json!({ "remove": names.of(*user) }),
                MemberChange::Leave => json!("leave"),
                MemberChange::Join => json!("join"),
                MemberChange::SetRole(user, role) => json!({ "role": names.of(*user), "is": format!("{role:?}").to_lowercase() }),
            },
        ),
        Content::Act(act) => ("act", act_json(act, names)),
        Content::Gone { why, .. } => ("gone", json!(format!("{why:?}").to_lowercase())),
        Content::Erased { user } => ("erased", json!(user.to_string())),
        Content::Unknown { kind, .. } => ("unknown", json!(kind)),
    };
    object[kind] = value;
    if let Content::Text { reply_to, mentions, .. } = &record.content {
        object["reply_to"] = json!(reply_to.map(Seq::get));
        object["mentions"] = json!(mentions.iter().map(|user| names.of(*user)).collect::<Vec<_>>());
    }
    if let Some(extra) = record.content.extra() {
        object["thread"] = json!(extra.thread.map(Seq::get));
        object["ttl_ms"] = json!(extra.ttl_ms);
        object["origin"] = json!(extra.origin.map(|origin| json!({
            "channel": origin.channel.to_string(), "seq": origin.seq.get(), "sender": names.of(origin.sender), "ts_ms": origin.ts.get(),
        })));
    }
    object
}

/// What has gathered about a record, behind its line.
pub(crate) fn marks_line(marks: &Marks) -> String {
    let mut said = Vec::new();
    if marks.edited > Seq::ZERO {
        said.push("edited".to_owned());
    }
    if marks.pinned {
        said.push("pinned".to_owned());
    }
    if marks.replies > 0 {
        said.push(format!("{} in its thread", marks.replies));
    }
    said.extend(marks.reactions.iter().map(|reaction| format!("{} {}", reaction.emoji, reaction.count)));
    if said.is_empty() { String::new() } else { format!("  [{}]", said.join(", ")) }
}

/// What has gathered about a record, as JSON.
pub(crate) fn marks_json(marks: &Marks) -> Value {
    let reactions: Vec<_> = marks.reactions.iter().map(|one| json!({ "emoji": one.emoji, "count": one.count, "mine": one.mine })).collect();
    json!({
        "edited": (marks.edited > Seq::ZERO).then(|| marks.edited.get()), "reactions": reactions, "replies": marks.replies,
        "pinned": marks.pinned,
    })
}

fn gone(why: Gone) -> &'static str {
    match why {
        Gone::Deleted => "deleted",
        Gone::Expired => "ended",
        Gone::Retention => "no longer kept",
        Gone::Erased => "its author was erased",
        Gone::Changed => "changed since",
    }
}

fn act_text(act: &Act, names: &Names) -> String {
    match act {
        Act::Edit { target, text, .. } if text.is_empty() => format!("edited {target}"),
        Act::Edit { target, text, .. } => format!("edited {target}: {text}"),
        Act::Delete { target } => format!("deleted {target}"),
        Act::React { target, emoji, on: true } => format!("reacted to {target} with {emoji}"),
        Act::React { target, emoji, on: false } => format!("took {emoji} back from {target}"),
        Act::Pin { target, on: true } => format!("pinned {target}"),
        Act::Pin { target, on: false } => format!("unpinned {target}"),
        Act::Describe { title: Some(title), .. } => format!("named the group {title:?}"),
        Act::Describe { .. } => "described the group anew".to_owned(),
        Act::SetRules(_) => "changed the rules of the group".to_owned(),
        Act::HandOver { to } => format!("handed the group over to {}", names.of(*to)),
        Act::Mute { user, until } if until.get() == 0 => format!("lets {} write again", names.of(*user)),
        Act::Mute { user, .. } => format!("muted {}", names.of(*user)),
        Act::Ban { user, on: true } => format!("shut {} out", names.of(*user)),
        Act::Ban { user, on: false } => format!("lets {} in again", names.of(*user)),
        _ => "did something that is not shown".to_owned(),
    }
}

fn act_json(act: &Act, names: &Names) -> Value {
    match act {
        Act::Edit { target, text, .. } => json!({ "edit": target.get(), "text": text }),
        Act::Delete { target } => json!({ "delete": target.get() }),
        Act::React { target, emoji, on } => json!({ "react": target.get(), "emoji": emoji, "on": on }),
        Act::Pin { target, on } => json!({ "pin": target.get(), "on": on }),
        Act::Describe { title, about } => json!({ "describe": { "title": title, "about": about } }),
        Act::SetRules(_) => json!("rules"),
        Act::HandOver { to } => json!({ "hand_over": names.of(*to) }),
        Act::Ban { user, on } => json!({ "ban": names.of(*user), "on": on }),
        Act::Mute { user, until } => json!({ "mute": names.of(*user), "until_ms": until.get() }),
        _ => json!("other"),
    }
}
