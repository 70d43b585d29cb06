//! Acts, rules and marks of `kith.log.v1`. What is stored is checked for form only; limits are the edge's and apply's.

use bytes::Bytes;
use prost::Message as _;

use super::{
    Field, message, nested, numbered, proto,
    proto::log::v1::{self as log, act::Act as ActKind, timer::Timer as TimerKind},
    top, union, wrapper,
};
use crate::{
    act::{Act, Asked, Draft, Erasing, Extra, Gone, Invite, Link, MarksRow, Muted, Origin, Pin, Reaction, Rules, RulesRow, ScheduledRow, Timer},
    code::Code,
    error::{DecodeError, Why},
};

top!(log: Act, RulesRow, MarksRow, ScheduledRow);

message!(Draft => log::Draft { text, reply_to, mentions, thread, ttl_ms });
message!(Extra => log::Extra { thread, ttl_ms, origin });
message!(Origin => log::Origin { channel, seq, sender, ts });
message!(Rules => log::Rules { post, invite, pin, describe, from_start, approval, slow_ms, retention_ms });
message!(Invite => log::Invite { secret, until, uses });
message!(Link => log::Link { invite, by, used });
message!(Pin => log::Pin { seq, by });
message!(Muted => log::Muted { user, until });
message!(Asked => log::Asked { user, at });
message!(Erasing => log::Erasing { user, next, upto, due });
message!(Reaction => log::Reaction { emoji, users });
message!(RulesRow => log::RulesRow { about, rules, pins, muted, links, asked, sweep, erasing, banned });
message!(MarksRow => log::MarksRow { edited, reactions, replies, last_reply });
message!(ScheduledRow => log::ScheduledRow { due, device, draft, refused });
numbered!(Gone => log::GoneWhy { Deleted, Expired, Retention, Erased, Changed });

wrapper!(Act => log::Act.act);
nested!(Act, log::Act);
union!(Act => ActKind {
    Forward: log::Forward { from, seq },
    Edit: log::Edit { target, text, mentions },
    Delete: log::Delete { target },
    React: log::React { target, emoji, on },
    Pin: log::PinTarget { target, on },
    Schedule: log::Schedule { due, draft },
    Unschedule: log::Unschedule { id },
    Describe: log::Describe { title, about },
    HandOver: log::HandOver { to },
    Mute: log::Mute { user, until },
    Revoke: log::Revoke { secret },
    Reject: log::Reject { user },
    Ban: log::BanFromGroup { user, on },
    ; holds Post, SetRules, Invite
});

wrapper!(Timer => log::Timer.timer);
nested!(Timer, log::Timer);
union!(Timer => TimerKind {
    Send: log::SendTimer { user, id },
    ; holds Expire, Erase
    ; empty Sweep
});

impl Field<Option<u32>> for Option<Code> {
    fn put(&self) -> Option<u32> {
        self.map(|code| u32::from(code.number()))
    }
    fn take(raw: Option<u32>, field: &'static str) -> Result<Self, DecodeError> {
        raw.map(|raw| Code::take(raw, field)).transpose()
    }
}
