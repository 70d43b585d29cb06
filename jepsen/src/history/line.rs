//! The JSON shape of a line, and its way into and out of [`Event`].
//!
//! Fields are those of the history format, plus four that other readers may pass over: `error` and `final_refusal` (on `fail`), `client_seq` (on sends), `withheld`
//! (on reads: a list of `[from, to]`). Other `f` than the format's: `member_add`, `member_remove` (`value`: whom), `member_act`, `unread_get` (`value`: what is shown, `seq`: a recount), `member_read`, `presence_read`, `presence_spy` (`value`: a list), `presence_set` (`value`: 1 or 0), `presence_shown` (`client_msg_id`: of whom, `value`: 1 or 0);
//! `edit_set`, `edit_get` (`client_msg_id`: which text, `value`: its version), `search_get`, `search_spy` (the same, by the words of which it is found), `later_set`, `later_cancel`, `later_get` (`value`: how often it is there),
//! `hook_event` (`client_msg_id`, `seq`), `hook_end`, `push_here` (`value`: 1 or 0), `push_said`, `push_read`, `push_event` (`seq`), `push_end`,
//! `name_take`, `name_get` (`client_msg_id`: the name, `value`: whose, empty for nobody's).

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, SerializeTuple, Serializer};
use serde::{Deserialize, Serialize};

use super::event::{Event, Item, Op, Outcome, PushStep, Token, Withheld};

#[derive(Deserialize, Serialize)]
pub(super) struct Line<'a> {
    process: u64,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    f: Cow<'a, str>,
    time: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    channel: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    client_msg_id: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<Value<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    op: Option<OpToken<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    device: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    node: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false", deserialize_with = "flag")]
    linearizable: bool,
    #[serde(default, rename = "final", skip_serializing_if = "is_false", deserialize_with = "flag")]
    is_final: bool,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    error: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "is_false", deserialize_with = "flag")]
    final_refusal: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    withheld: Option<Vec<(u64, u64)>>,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(from)?.unwrap_or(false))
}

/// A text that is borrowed from the line where nothing in it is escaped; serde's own `Option<Cow>` always copies.
struct Text<'a>(Cow<'a, str>);

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(v)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(v.to_owned())))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(TextVisitor)
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

enum OpToken<'a> {
    Number(u64),
    Text(Cow<'a, str>),
}

struct OpVisitor;

impl<'de> Visitor<'de> for OpVisitor {
    type Value = OpToken<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a whole number")
    }
    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(OpToken::Number(v))
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(OpToken::Text(Cow::Borrowed(v)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(OpToken::Text(Cow::Owned(v.to_owned())))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for OpToken<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OpVisitor)
    }
}

impl Serialize for OpToken<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            OpToken::Number(n) => to.serialize_u64(*n),
            OpToken::Text(t) => to.serialize_str(t),
        }
    }
}

/// The field `value`, which means something else for each `f`.
enum Value<'a> {
    Number(u64),
    Text(Cow<'a, str>),
    Items(Vec<Item<'a>>),
    Names(Vec<Cow<'a, str>>),
    /// A payload that is no text: its JSON stands for it.
    Other(String),
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a payload, a position, or a list of [seq, client_msg_id] or of names")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Self::Value, E> {
        Ok(Value::Other(v.to_string()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(Value::Number(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
        Ok(Value::Other(v.to_string()))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
        Ok(Value::Other(v.to_string()))
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(v)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(v.to_owned())))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let value = serde_json::Value::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Value::Other(value.to_string()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        let mut names = Vec::new();
        while let Some(element) = list.next_element::<Element<'de>>()? {
            match element {
                Element::Item(item) => items.push(item),
                Element::Name(name) => names.push(name),
            }
        }
        match (items.is_empty(), names.is_empty()) {
            (_, true) => Ok(Value::Items(items)),
            (true, false) => Ok(Value::Names(names)),
            (false, false) => Err(de::Error::custom("a list of both messages and names")),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ValueVisitor)
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Number(n) => to.serialize_u64(*n),
            Value::Text(t) => to.serialize_str(t),
            Value::Other(t) => to.serialize_str(t),
            Value::Names(names) => names.serialize(to),
            Value::Items(items) => {
                let mut list = to.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&ItemOut(item))?;
                }
                list.end()
            }
        }
    }
}

struct ItemOut<'a>(&'a Item<'a>);

impl Serialize for ItemOut<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut tuple = to.serialize_tuple(2 + usize::from(self.0.payload.is_some()))?;
        tuple.serialize_element(&self.0.seq)?;
        tuple.serialize_element(&self.0.message)?;
        if let Some(payload) = &self.0.payload {
            tuple.serialize_element(payload)?;
        }
        tuple.end()
    }
}

enum Element<'a> {
    Item(Item<'a>),
    Name(Cow<'a, str>),
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[seq, client_msg_id] or [seq, client_msg_id, payload] or a name")
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Element::Name(Cow::Borrowed(v)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Element::Name(Cow::Owned(v.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let seq = list.next_element::<u64>()?.ok_or_else(|| de::Error::custom("a message without a seq"))?;
        let message = list.next_element::<Text<'de>>()?.ok_or_else(|| de::Error::custom("a message without an id"))?.0;
        let payload = match list.next_element::<Option<Value<'de>>>()?.flatten() {
            None => None,
            Some(value) => Some(value.into_payload().ok_or_else(|| de::Error::custom("a payload that is a list"))?),
        };
        if list.next_element::<de::IgnoredAny>()?.is_some() {
            return Err(de::Error::custom("a message of more than three parts"));
        }
        Ok(Element::Item(Item { seq, message, payload }))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Element<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ElementVisitor)
    }
}

impl<'a> Value<'a> {
    fn into_payload(self) -> Option<Cow<'a, str>> {
        match self {
            Value::Text(text) => Some(text),
            Value::Number(n) => Some(Cow::Owned(n.to_string())),
            Value::Other(text) => Some(Cow::Owned(text)),
            Value::Items(_) | Value::Names(_) => None,
        }
    }
}

/// Why a line is no event. The text says what is wrong with which field.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShapeError {
    #[error("not a line of this format")]
    Json(#[from] serde_json::Error),
    #[error("unknown type {0:?}")]
    Type(String),
    #[error("unknown f {0:?}")]
    F(String),
    #[error("{f} without {field}")]
    Missing { f: &'static str, field: &'static str },
    #[error("{f} with a value of the wrong kind")]
    Value { f: &'static str },
    #[error("a {f} that is not ok")]
    EventType { f: &'static str },
    #[error("a withheld range that ends before it begins")]
    Withheld,
}

impl<'a> Line<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Event<'a>, ShapeError> {
        serde_json::from_slice::<Line<'a>>(bytes)?.into_event()
    }

    fn into_event(self) -> Result<Event<'a>, ShapeError> {
        let outcome = match &*self.kind {
            "invoke" => Outcome::Invoke,
            "ok" => Outcome::Ok,
            "fail" => Outcome::Fail { is_final: self.final_refusal },
            "info" => Outcome::Info,
            other => return Err(ShapeError::Type(other.to_owned())),
        };
        let f: &'static str = match &*self.f {
            "send" => "send",
            "read" => "read",
            "subscribe_event" => "subscribe_event",
            "cursor_set" => "cursor_set",
            "cursor_get" => "cursor_get",
            "member_add" => "member_add",
            "member_remove" => "member_remove",
            "member_act" => "member_act",
            "unread_get" => "unread_get",
            "member_read" => "member_read",
            "presence_read" => "presence_read",
            "presence_spy" => "presence_spy",
            "presence_set" => "presence_set",
            "presence_shown" => "presence_shown",
            "edit_set" => "edit_set",
            "edit_get" => "edit_get",
            "search_get" => "search_get",
            "search_spy" => "search_spy",
            "name_take" => "name_take",
            "name_get" => "name_get",
            "later_set" => "later_set",
            "later_cancel" => "later_cancel",
            "later_get" => "later_get",
            "hook_event" => "hook_event",
            "hook_end" => "hook_end",
            "push_here" => "push_here",
            "push_said" => "push_said",
            "push_read" => "push_read",
            "push_event" => "push_event",
            "push_end" => "push_end",
            other => return Err(ShapeError::F(other.to_owned())),
        };
        let missing = |field| move || ShapeError::Missing { f, field };
        let wrong = || ShapeError::Value { f };
        let is_ok = outcome == Outcome::Ok;
        let channel = self.channel.map(|text| text.0);
        let message = self.client_msg_id.map(|text| text.0);
        let is_linearizable = self.linearizable;
        let is_final = self.is_final;
        let op = match f {
            "send" => {
                let payload = self.value.map(|value| value.into_payload().ok_or_else(wrong)).transpose()?;
                Op::Send {
                    channel: channel.ok_or_else(missing("channel"))?,
                    message: message.ok_or_else(missing("client_msg_id"))?,
                    payload,
                    seq: self.seq.filter(|seq| *seq > 0),
                    client_seq: self.client_seq,
                }
            }
            "read" => {
                let items = match self.value {
                    None if is_ok => return Err(ShapeError::Missing { f, field: "value" }),
                    None => Vec::new(),
                    Some(Value::Items(items)) => items,
                    Some(_) => return Err(wrong()),
                };
                let mut withheld: Vec<Withheld> = self.withheld.unwrap_or_default().into_iter().map(|(from, to)| Withheld { from, to }).collect();
                if withheld.iter().any(|range| range.to < range.from) {
                    return Err(ShapeError::Withheld);
                }
                withheld.sort_by_key(|range| range.from);
                Op::Read {
                    channel: channel.ok_or_else(missing("channel"))?,
                    from: self.from_seq,
                    limit: self.limit,
                    is_linearizable,
                    is_final,
                    items,
                    withheld,
                }
            }
            "subscribe_event" => {
                if !is_ok {
                    return Err(ShapeError::EventType { f });
                }
                Op::Received {
                    channel: channel.ok_or_else(missing("channel"))?,
                    message: message.ok_or_else(missing("client_msg_id"))?,
                    seq: self.seq,
                    payload: self.value.map(|value| value.into_payload().ok_or_else(wrong)).transpose()?,
                }
            }
            "push_here" | "push_said" | "push_read" | "push_event" | "push_end" => {
                if !is_ok {
                    return Err(ShapeError::EventType { f });
                }
                let channel = channel.ok_or_else(missing("channel"))?;
                let seq = self.seq.ok_or_else(missing("seq"));
                let step = match (f, self.value) {
                    ("push_here", Some(Value::Number(number @ (0 | 1)))) => PushStep::Here(number == 1),
                    ("push_here", Some(_)) => return Err(wrong()),
                    ("push_here", None) => return Err(ShapeError::Missing { f, field: "value" }),
                    ("push_said", _) => PushStep::Said(seq?),
                    ("push_read", _) => PushStep::Read(seq?),
                    ("push_event", _) => PushStep::Came(seq?),
                    _ => PushStep::End,
                };
                Op::Push { channel, step }
            }
            "hook_event" | "hook_end" => {
                if !is_ok {
                    return Err(ShapeError::EventType { f });
                }
                let channel = channel.ok_or_else(missing("channel"))?;
                if f == "hook_end" {
                    Op::HookEnd { channel }
                } else {
                    Op::HookEvent { channel, message: message.ok_or_else(missing("client_msg_id"))?, seq: self.seq.ok_or_else(missing("seq"))? }
                }
            }
            "cursor_set" => match self.value {
                Some(Value::Number(position)) => Op::CursorSet { channel: channel.ok_or_else(missing("channel"))?, position },
                None => return Err(ShapeError::Missing { f, field: "value" }),
                Some(_) => return Err(wrong()),
            },
            "cursor_get" => {
                let position = match self.value {
                    Some(Value::Number(position)) => Some(position),
                    None if is_ok => return Err(ShapeError::Missing { f, field: "value" }),
                    None => None,
                    Some(_) => return Err(wrong()),
                };
                Op::CursorGet { channel: channel.ok_or_else(missing("channel"))?, position, is_linearizable, is_final }
            }
            "member_add" | "member_remove" => {
                let channel = channel.ok_or_else(missing("channel"))?;
                let member = match self.value {
                    Some(Value::Text(name)) => name,
                    None => return Err(ShapeError::Missing { f, field: "value" }),
                    Some(_) => return Err(wrong()),
                };
                let seq = self.seq.filter(|seq| *seq > 0);
                if f == "member_add" { Op::MemberAdd { channel, member, seq } } else { Op::MemberRemove { channel, member, seq } }
            }
            "unread_get" => {
                let shown = match self.value {
                    Some(Value::Number(number)) => Some(number),
                    None if is_ok => return Err(ShapeError::Missing { f, field: "value" }),
                    None => None,
                    Some(_) => return Err(wrong()),
                };
                Op::UnreadGet { channel: channel.ok_or_else(missing("channel"))?, shown, counted: self.seq }
            }
            "member_act" => Op::MemberAct { channel: channel.ok_or_else(missing("channel"))? },
            "edit_set" | "edit_get" | "search_get" | "search_spy" | "later_set" | "later_cancel" | "later_get" => {
                let channel = channel.ok_or_else(missing("channel"))?;
                let message = message.ok_or_else(missing("client_msg_id"))?;
                let number = match self.value {
                    Some(Value::Number(number)) => Some(number),
                    None if is_ok && (f.ends_with("get") || f == "search_spy") || f == "edit_set" => {
                        return Err(ShapeError::Missing { f, field: "value" });
                    }
                    None => None,
                    Some(_) => return Err(wrong()),
                };
                match (f, number) {
                    ("edit_set", Some(version)) => Op::EditSet { channel, message, version },
                    ("edit_get", version) => Op::EditGet { channel, message, version, is_linearizable, is_final },
                    ("search_get" | "search_spy", version) => Op::SearchGet { channel, message, version, is_member: f == "search_get" },
                    ("later_set", _) => Op::LaterSet { channel, message },
                    ("later_cancel", _) => Op::LaterCancel { channel, message },
                    (_, count) => Op::LaterGet { channel, message, count },
                }
            }
            "presence_set" | "presence_shown" => {
                if !is_ok {
                    return Err(ShapeError::EventType { f });
                }
                let is_here = match self.value {
                    Some(Value::Number(number @ (0 | 1))) => number == 1,
                    Some(_) => return Err(wrong()),
                    None => return Err(ShapeError::Missing { f, field: "value" }),
                };
                match f {
                    "presence_set" => Op::PresenceSet { is_here },
                    _ => Op::PresenceShown { who: message.ok_or_else(missing("client_msg_id"))?, is_here },
                }
            }
            "name_take" | "name_get" => {
                let name = message.ok_or_else(missing("client_msg_id"))?;
                let owner = match self.value {
                    Some(Value::Text(owner)) => Some(owner),
                    None if is_ok => return Err(ShapeError::Missing { f, field: "value" }),
                    None => None,
                    Some(_) => return Err(wrong()),
                };
                if f == "name_take" { Op::NameTake { name, owner } } else { Op::NameGet { name, owner } }
            }
            _ => {
                let names = match self.value {
                    Some(Value::Names(names)) => names,
                    Some(Value::Items(items)) if items.is_empty() => Vec::new(),
                    None if is_ok => return Err(ShapeError::Missing { f, field: "value" }),
                    None => Vec::new(),
                    Some(_) => return Err(wrong()),
                };
                if f == "member_read" {
                    Op::MembersGet { channel: channel.ok_or_else(missing("channel"))?, members: names, is_linearizable }
                } else {
                    Op::PresenceGet { users: names, is_final, is_contact: f == "presence_read" }
                }
            }
        };
        Ok(Event {
            time: self.time,
            process: self.process,
            outcome,
            token: self.op.map(|token| match token {
                OpToken::Number(n) => Token::Number(n),
                OpToken::Text(text) => Token::Text(text),
            }),
            device: self.device.map(|text| text.0),
            user: self.user.map(|text| text.0),
            node: self.node.map(|text| text.0),
            error: self.error.map(|text| text.0),
            op,
        })
    }

    pub(super) fn of(event: &'a Event<'a>) -> Line<'a> {
        let text = |text: &'a Cow<'a, str>| Text(Cow::Borrowed(&**text));
        let is_ok = event.outcome == Outcome::Ok;
        let (kind, final_refusal) = match event.outcome {
            Outcome::Invoke => ("invoke", false),
            Outcome::Ok => ("ok", false),
            Outcome::Fail { is_final } => ("fail", is_final),
            Outcome::Info => ("info", false),
        };
        let mut line = Line {
            process: event.process,
            kind: Cow::Borrowed(kind),
            f: Cow::Borrowed(event.op.name()),
            time: event.time,
            channel: event.op.channel().map(text),
            client_msg_id: None,
            seq: None,
            value: None,
            op: event.token.as_ref().map(|token| match token {
                Token::Number(n) => OpToken::Number(*n),
                Token::Text(text) => OpToken::Text(Cow::Borrowed(text)),
            }),
            device: event.device.as_ref().map(text),
            user: event.user.as_ref().map(text),
            node: event.node.as_ref().map(text),
            from_seq: None,
            limit: None,
            linearizable: false,
            is_final: false,
            error: event.error.as_ref().map(text),
            final_refusal,
            client_seq: None,
            withheld: None,
        };
        match &event.op {
            Op::Send { message, payload, seq, client_seq, .. } => {
                line.client_msg_id = Some(text(message));
                line.value = payload.as_ref().map(|payload| Value::Text(Cow::Borrowed(&**payload)));
                line.seq = *seq;
                line.client_seq = *client_seq;
            }
            Op::Received { message, payload, seq, .. } => {
                line.client_msg_id = Some(text(message));
                line.value = payload.as_ref().map(|payload| Value::Text(Cow::Borrowed(&**payload)));
                line.seq = *seq;
            }
            Op::Read { from, limit, is_linearizable, is_final, items, withheld, .. } => {
                line.from_seq = *from;
                line.limit = *limit;
                line.linearizable = *is_linearizable;
                line.is_final = *is_final;
                line.value = is_ok.then(|| Value::Items(items.clone()));
                line.withheld = (!withheld.is_empty()).then(|| withheld.iter().map(|range| (range.from, range.to)).collect());
            }
            Op::CursorSet { position, .. } => line.value = Some(Value::Number(*position)),
            Op::CursorGet { position, is_linearizable, is_final, .. } => {
                line.value = position.map(Value::Number);
                line.linearizable = *is_linearizable;
                line.is_final = *is_final;
            }
            Op::UnreadGet { shown, counted, .. } => {
                line.value = shown.map(Value::Number);
                line.seq = *counted;
            }
            Op::MemberAdd { member, seq, .. } | Op::MemberRemove { member, seq, .. } => {
                line.value = Some(Value::Text(Cow::Borrowed(&**member)));
                line.seq = *seq;
            }
            Op::MembersGet { members, is_linearizable, .. } => {
                line.value = is_ok.then(|| Value::Names(members.clone()));
                line.linearizable = *is_linearizable;
            }
            Op::EditSet { message, version, .. } => {
                line.client_msg_id = Some(text(message));
                line.value = Some(Value::Number(*version));
            }
            Op::EditGet { message, version, is_linearizable, is_final, .. } => {
                line.client_msg_id = Some(text(message));
                line.value = version.map(Value::Number);
                line.linearizable = *is_linearizable;
                line.is_final = *is_final;
            }
            Op::SearchGet { message, version, .. } => {
                line.client_msg_id = Some(text(message));
                line.value = version.map(Value::Number);
            }
            Op::NameTake { name, owner } | Op::NameGet { name, owner } => {
                line.client_msg_id = Some(text(name));
                line.value = owner.as_ref().map(|owner| Value::Text(Cow::Borrowed(&**owner)));
            }
            Op::LaterSet { message, .. } | Op::LaterCancel { message, .. } => line.client_msg_id = Some(text(message)),
            Op::LaterGet { message, count, .. } => {
                line.client_msg_id = Some(text(message));
                line.value = count.map(Value::Number);
            }
            Op::HookEvent { message, seq, .. } => {
                line.client_msg_id = Some(text(message));
                line.seq = Some(*seq);
            }
            Op::HookEnd { .. } | Op::MemberAct { .. } => {}
            Op::Push { step, .. } => match step {
                PushStep::Here(is_here) => line.value = Some(Value::Number(u64::from(*is_here))),
                PushStep::Said(seq) | PushStep::Read(seq) | PushStep::Came(seq) => line.seq = Some(*seq),
                PushStep::End => {}
            },
            Op::PresenceSet { is_here } => line.value = Some(Value::Number(u64::from(*is_here))),
            Op::PresenceShown { who, is_here } => {
                line.client_msg_id = Some(text(who));
                line.value = Some(Value::Number(u64::from(*is_here)));
            }
            Op::PresenceGet { users, is_final, .. } => {
                line.value = is_ok.then(|| Value::Names(users.clone()));
                line.is_final = *is_final;
            }
        }
        line
    }
}
