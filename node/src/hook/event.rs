//! What a webhook is told of a record: JSON by Standard Webhooks, `type`, `timestamp`, `data`.
//!
//! In: a record as its receiver may read it. Out: the body of a post; none for what nobody registers for. Invariant: the same record gives the same
//! event, unless its text has gone meanwhile. Bounds: a text is cut to [`TEXT_CHARS_MAX`], and says so. Not here: signatures, sending.

pub(crate) use kith_wire::sign::time_text;
use kith_wire::{
    act::Act,
    hook::HookEvents,
    id::{ChannelId, Timestamp, UserId},
    log::{Content, MemberChange, Record, Role},
};
use serde_json::{Value, json};

/// Of a text, in Unicode scalar values. The whole of it is in the channel's history.
const TEXT_CHARS_MAX: usize = 16_384;

/// The body of a post about a record, if it is among the events that are wanted.
pub fn of(channel: ChannelId, record: &Record, wanted: HookEvents) -> Option<String> {
    let (kind, name, data) = told(record)?;
    if !wanted.holds(kind) {
        return None;
    }
    let mut data = data;
    data["channel"] = json!(channel.to_string());
    data["seq"] = json!(record.at.seq.get());
    data["sender"] = json!(record.sender.to_string());
    Some(json!({ "type": name, "timestamp": time_text(record.ts), "data": data }).to_string())
}

/// The body of a post that means nothing: to try a webhook.
pub fn test(now: Timestamp) -> String {
    json!({ "type": "webhook.test", "timestamp": time_text(now), "data": {} }).to_string()
}

fn told(record: &Record) -> Option<(HookEvents, &'static str, Value)> {
    let members = |name, data| Some((HookEvents::MEMBERS, name, data));
    let user = |user: UserId| json!({ "user": user.to_string() });
    match &record.content {
        Content::Text { text, reply_to, mentions, extra } => {
            let mut data = text_data(text);
            data["reply_to"] = json!(reply_to.map(|seq| seq.get()));
            data["mentions"] = json!(mentions.iter().map(ToString::to_string).collect::<Vec<_>>());
            data["thread"] = json!(extra.as_ref().and_then(|extra| extra.thread).map(|root| root.get()));
            Some((HookEvents::CREATED, "message.created", data))
        }
        // It was sent, and is gone: its receiver hears of the first by this, of the second by what follows.
        Content::Gone { counted: true, .. } => Some((HookEvents::CREATED, "message.created", json!({ "text": null }))),
        Content::Gone { counted: false, .. } | Content::Unknown { .. } => None,
        Content::Act(Act::Edit { target, text, .. }) => {
            let mut data = if text.is_empty() { json!({ "text": null }) } else { text_data(text) };
            data["target"] = json!(target.get());
            Some((HookEvents::EDITED, "message.edited", data))
        }
        Content::Act(Act::Delete { target }) => Some((HookEvents::DELETED, "message.deleted", json!({ "target": target.get() }))),
        Content::Erased { user: erased } => Some((HookEvents::DELETED, "user.erased", user(*erased))),
        Content::Created { members: all, .. } => {
            members("group.created", json!({ "members": all.iter().map(ToString::to_string).collect::<Vec<_>>() }))
        }
        Content::Members(MemberChange::Add(who)) => members("member.added", user(*who)),
        Content::Members(MemberChange::Remove(who)) => members("member.removed", user(*who)),
        Content::Members(MemberChange::Leave) => members("member.left", user(record.sender)),
        Content::Members(MemberChange::Join) => members("member.joined", user(record.sender)),
        Content::Members(MemberChange::SetRole(who, role)) => {
            let mut data = user(*who);
            data["role"] = json!(role_text(*role));
            members("member.role", data)
        }
        Content::Act(Act::HandOver { to }) => {
            let mut data = user(*to);
            data["role"] = json!(role_text(Role::Owner));
            members("member.role", data)
        }
        Content::Act(Act::Ban { user: who, on }) => members(if *on { "member.banned" } else { "member.unbanned" }, user(*who)),
        Content::Act(_) => None,
    }
}

fn text_data(text: &str) -> Value {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => json!({ "text": &text[..end], "cut": true }),
        None => json!({ "text": text }),
    }
}

const fn role_text(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::{
        id::{ClientSeq, DeviceId, Incarnation, Seq},
        log::Position,
    };

    use super::*;

    fn record(content: Content) -> Record {
        Record {
            at: Position { seq: Seq::new(7), cnt: 3 },
            incarnation: Incarnation::new(0),
            sender: UserId::new(5),
            device: DeviceId::new(1),
            client_seq: ClientSeq::new(1),
            ts: Timestamp::new(1_700_000_000_123),
            content,
        }
    }

    fn body(content: Content, wanted: HookEvents) -> Option<Value> {
        let channel = ChannelId::direct(UserId::new(1), UserId::new(5));
        of(channel, &record(content), wanted).map(|body| serde_json::from_str(&body).expect("JSON"))
    }

    #[test]
    fn times_are_as_the_calendar_has_them() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (ms, text) in cases {
            assert_eq!(time_text(Timestamp::new(ms)), text);
        }
    }

    #[test]
    fn a_webhook_hears_of_what_it_wants_and_of_nothing_else() {
        let text = || Content::Text { text: "hi".into(), reply_to: None, mentions: vec![], extra: None };
        let told = body(text(), HookEvents::CREATED).expect("told");
        assert_eq!(
            (told["type"].as_str(), told["data"]["text"].as_str(), told["data"]["seq"].as_u64()),
            (Some("message.created"), Some("hi"), Some(7))
        );
        assert_eq!(body(text(), HookEvents(HookEvents::ALL.0 & !HookEvents::CREATED.0)), None);
        let react = Content::Act(Act::React { target: Seq::new(1), emoji: "+".into(), on: true });
        assert_eq!(body(react, HookEvents::ALL), None);
        let blank = Content::Act(Act::Edit { target: Seq::new(1), text: String::new(), mentions: vec![] });
        assert_eq!(body(blank, HookEvents::EDITED).expect("told")["data"]["text"], Value::Null);
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let text = "🦀".repeat(TEXT_CHARS_MAX + 1);
        let told = body(Content::Text { text, reply_to: None, mentions: vec![], extra: None }, HookEvents::ALL).expect("told");
        assert_eq!(told["data"]["text"].as_str().map(|text| text.chars().count()), Some(TEXT_CHARS_MAX));
        assert_eq!(told["data"]["cut"], json!(true));
    }
}
