//! What is known of every message, position and open operation: names become numbers, completions meet their invocations.
//!
//! In: events. Out: facts for the properties. Invariant: the first sight of a (message, position) pair is kept, and later sights are compared with it.
//! Bounds: about 150 bytes a message and 5 a position; operations under way.

use std::num::NonZeroU64;

use kith_wire::limit::TEXT_CHARS_MAX;

use super::finding::Findings;
use super::intern::{Interner, Map, hash};
use crate::history::{Event, Nanos, Op, Outcome, PushStep, Token, Withheld};

macro_rules! index {
    ($($Name:ident $text:literal,)*) => {
        $(#[doc = $text] #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)] pub(crate) struct $Name(pub(crate) u32);)*
    };
}

index! {
    ChannelIx "A channel.",
    MessageIx "A message.",
    DeviceIx "A device, or the process where no device is named.",
    UserIx "A user.",
    NodeIx "A node.",
    ThingIx "A text or a name that is judged by itself.",
}

/// A moment in eight bytes, also where there is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Stamp(NonZeroU64);

impl Stamp {
    fn of(at: Nanos) -> Self {
        Self(NonZeroU64::MIN.saturating_add(at))
    }
    pub(crate) fn nanos(self) -> Nanos {
        self.0.get() - 1
    }
}

#[derive(Default, Debug, Clone)]
pub(crate) struct Message {
    /// Where it was sent to; none if nobody sent it so far.
    pub(crate) channel: Option<ChannelIx>,
    pub(crate) invoked_at: Option<Stamp>,
    pub(crate) acked_at: Option<Stamp>,
    /// Where it stands, by the first ack or sight.
    pub(crate) place: Option<NonZeroU64>,
    payload: Option<NonZeroU64>,
    pub(crate) attempts: u32,
    pub(crate) fails: u32,
    /// Refused for good by one of the answers.
    pub(crate) is_refused: bool,
    /// Written by the system itself.
    pub(crate) is_system: bool,
}

impl Message {
    /// The hash of what was sent, if the history says.
    pub(crate) fn payload(&self) -> Option<u64> {
        self.payload.map(NonZeroU64::get)
    }
}

/// One message in an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) seq: u64,
    pub(crate) message: MessageIx,
    pub(crate) payload: Option<u64>,
}

/// One line, resolved; a completion carries what its invocation said.
#[derive(Debug)]
pub(crate) struct Fact<'f> {
    pub(crate) line: u64,
    pub(crate) at: Nanos,
    /// When its operation began; `at` for an invocation.
    pub(crate) invoked_at: Nanos,
    /// Same for an invocation and its completion.
    pub(crate) op: u64,
    pub(crate) outcome: Outcome,
    pub(crate) device: DeviceIx,
    pub(crate) user: Option<UserIx>,
    pub(crate) node: Option<NodeIx>,
    pub(crate) what: What<'f>,
}

#[derive(Debug)]
pub(crate) enum What<'f> {
    Send {
        channel: ChannelIx,
        message: MessageIx,
        seq: Option<u64>,
        client_seq: Option<u64>,
        is_first: bool,
        is_not_member: bool,
        is_oversize: bool,
    },
    Read {
        channel: ChannelIx,
        from: Option<u64>,
        limit: Option<u64>,
        is_linearizable: bool,
        is_final: bool,
        items: &'f [Seen],
        withheld: &'f [Withheld],
    },
    Received {
        channel: ChannelIx,
        seen: Option<u64>,
        message: MessageIx,
        payload: Option<u64>,
    },
    CursorSet {
        channel: ChannelIx,
        position: u64,
    },
    CursorGet {
        channel: ChannelIx,
        position: Option<u64>,
        is_linearizable: bool,
        is_final: bool,
    },
    /// Unread texts, as they are shown and as they are counted in the log.
    Unread {
        channel: ChannelIx,
        counts: Option<(u64, u64)>,
    },
    Member {
        channel: ChannelIx,
        member: UserIx,
        adds: bool,
        seq: Option<u64>,
    },
    /// Something was done that only a member may do, or refused since they are none.
    Acted {
        channel: ChannelIx,
        is_not_member: bool,
    },
    Members {
        channel: ChannelIx,
        members: Vec<UserIx>,
        is_linearizable: bool,
    },
    Edited {
        thing: ThingIx,
        /// Set, or found.
        version: Option<u64>,
        sets: bool,
        is_linearizable: bool,
        is_final: bool,
    },
    /// By the words of which version a text is found.
    Searched {
        thing: ThingIx,
        version: Option<u64>,
        is_member: bool,
    },
    Named {
        thing: ThingIx,
        /// By its hash; nobody's is none.
        owner: Option<u64>,
        takes: bool,
    },
    Later {
        thing: ThingIx,
        step: Later,
    },
    /// What a webhook was told, and where that stands by what it was told; none: the end of it.
    Hook {
        channel: ChannelIx,
        told: Option<(MessageIx, u64)>,
    },
    Presence {
        users: Vec<UserIx>,
        is_final: bool,
        is_contact: bool,
    },
    /// The line's user has come or left.
    Came {
        is_here: bool,
    },
    /// Something of pushes to the line's user about a conversation.
    Push {
        channel: ChannelIx,
        step: PushStep,
    },
    /// A device that looks on is shown it.
    Shown {
        who: UserIx,
        is_here: bool,
    },
}

/// What happens to a text that is to be sent later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Later {
    Set,
    Cancel,
    Count(Option<u64>),
}

impl What<'_> {
    /// How far a read that came back claims to have seen: all up to this position, and nothing above it. None where it may have stopped early.
    pub(crate) fn reach(&self) -> Option<u64> {
        let What::Read { from, limit, items, withheld, .. } = self else { return None };
        if limit.is_some() && !(items.is_empty() && withheld.is_empty()) {
            return None;
        }
        Some(self.last().max(from.unwrap_or(1).saturating_sub(1)))
    }

    /// The highest position that a read names.
    pub(crate) fn last(&self) -> u64 {
        let What::Read { items, withheld, .. } = self else { return 0 };
        items.iter().map(|item| item.seq).chain(withheld.iter().map(|range| range.to)).max().unwrap_or(0)
    }
}

/// What an operation was at its invocation.
#[derive(Debug)]
struct Open {
    op: u64,
    at: Nanos,
    f: &'static str,
    channel: Option<ChannelIx>,
    message: Option<MessageIx>,
    member: Option<UserIx>,
    thing: Option<ThingIx>,
    from: Option<u64>,
    limit: Option<u64>,
    client_seq: Option<u64>,
    is_linearizable: bool,
    is_final: bool,
    is_oversize: bool,
    device: DeviceIx,
    user: Option<UserIx>,
    node: Option<NodeIx>,
}

const PAGE: u64 = 64;

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) channels: Interner,
    pub(crate) messages: Interner,
    pub(crate) devices: Interner,
    pub(crate) users: Interner,
    pub(crate) nodes: Interner,
    pub(crate) things: Interner,
    known: Vec<Message>,
    /// Who stands where: message number plus one, by (channel, page of positions).
    slots: Map<(u32, u64), Box<[u32; PAGE as usize]>>,
    open: Map<(u64, u64), Open>,
    ops: u64,
    pub(crate) invoked: u64,
    pub(crate) acked: u64,
    pub(crate) failed: u64,
}

impl Book {
    pub(crate) fn message(&self, message: MessageIx) -> &Message {
        &self.known[message.0 as usize]
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (MessageIx, &Message)> {
        self.known.iter().enumerate().map(|(n, message)| (MessageIx(n as u32), message))
    }

    /// Who stands at a position, by the first sight of it.
    pub(crate) fn slot(&self, channel: ChannelIx, seq: u64) -> Option<MessageIx> {
        let page = self.slots.get(&(channel.0, seq / PAGE))?;
        page[(seq % PAGE) as usize].checked_sub(1).map(MessageIx)
    }

    pub(crate) fn name(&self, message: MessageIx) -> &str {
        self.messages.text(message.0)
    }

    pub(crate) fn user(&self, user: UserIx) -> &str {
        self.users.text(user.0)
    }

    pub(crate) fn channel(&self, channel: ChannelIx) -> &str {
        self.channels.text(channel.0)
    }

    /// A message with its place, for an example.
    pub(crate) fn tell(&self, message: MessageIx) -> String {
        let known = self.message(message);
        let channel = known.channel.map_or("nowhere", |channel| self.channel(channel));
        let ack = known.acked_at.map_or_else(|| "not acked".to_owned(), |at| format!("acked at {} ns", at.nanos()));
        match known.place {
            Some(seq) => format!("{} of {channel}, seq {seq}, {ack}", self.name(message)),
            None => format!("{} of {channel}, {ack}", self.name(message)),
        }
    }

    fn number(&mut self, id: &str) -> MessageIx {
        let number = self.messages.number(id);
        if number as usize == self.known.len() {
            self.known.push(Message { is_system: id.starts_with("sys:"), ..Message::default() });
        }
        MessageIx(number)
    }

    /// Keeps the first sight of a message at a position.
    fn place(&mut self, channel: ChannelIx, message: MessageIx, seq: u64) {
        let Some(place) = NonZeroU64::new(seq) else { return };
        let known = &mut self.known[message.0 as usize];
        if known.channel == Some(channel) && known.place.is_none() {
            known.place = Some(place);
        }
        let page = self.slots.entry((channel.0, seq / PAGE)).or_insert_with(|| Box::new([0; PAGE as usize]));
        let slot = &mut page[(seq % PAGE) as usize];
        if *slot == 0 {
            *slot = message.0 + 1;
        }
    }

    /// Resolves a line. None where it cannot be: that is an error of the harness, and is reported as one.
    pub(crate) fn resolve<'f>(&mut self, line: u64, event: &'f Event<'_>, items: &'f mut Vec<Seen>, findings: &mut Findings) -> Option<Fact<'f>> {
        let device = match &event.device {
            Some(name) => DeviceIx(self.devices.number(name)),
            None => DeviceIx(self.devices.number(&format!("process {}", event.process))),
        };
        let user = event.user.as_ref().map(|name| UserIx(self.users.number(name)));
        let node = event.node.as_ref().map(|name| NodeIx(self.nodes.number(name)));
        let channel = event.op.channel().map(|name| ChannelIx(self.channels.number(name)));
        let mut fact = Fact {
            line,
            at: event.time,
            invoked_at: event.time,
            op: 0,
            outcome: event.outcome,
            device,
            user,
            node,
            what: What::Came { is_here: false },
        };
        if let Op::Received { message, seq, payload, .. } = &event.op {
            let (channel, message) = (channel?, self.number(message));
            if let Some(seq) = seq {
                self.place(channel, message, *seq);
            }
            fact.what = What::Received { channel, seen: *seq, message, payload: payload.as_deref().map(digest) };
            return Some(fact);
        }
        if let Op::HookEvent { message, seq, .. } = &event.op {
            let (channel, message) = (channel?, self.number(message));
            self.place(channel, message, *seq);
            fact.what = What::Hook { channel, told: Some((message, *seq)) };
            return Some(fact);
        }
        if let Op::Push { step, .. } = event.op {
            fact.what = What::Push { channel: channel?, step };
            return Some(fact);
        }
        if let Op::PresenceSet { is_here } = event.op {
            fact.what = What::Came { is_here };
            return Some(fact);
        }
        if let Op::PresenceShown { who, is_here } = &event.op {
            fact.what = What::Shown { who: UserIx(self.users.number(who)), is_here: *is_here };
            return Some(fact);
        }
        if let Op::HookEnd { .. } = &event.op {
            fact.what = What::Hook { channel: channel?, told: None };
            return Some(fact);
        }
        let open = self.pair(line, event, channel, device, user, node, findings)?;
        fact.op = open.op;
        fact.invoked_at = open.at;
        if event.outcome != Outcome::Invoke {
            fact.device = open.device;
            fact.user = fact.user.or(open.user);
            fact.node = fact.node.or(open.node);
        }
        fact.what = match &event.op {
            Op::Send { payload, seq, .. } => {
                let (channel, message) = (channel?, open.message?);
                let is_first = self.count_send(line, event, channel, message, payload.as_deref(), *seq, findings);
                let is_not_member = event.error.as_deref() == Some("not_member");
                What::Send { channel, message, seq: *seq, client_seq: open.client_seq, is_first, is_not_member, is_oversize: open.is_oversize }
            }
            Op::Read { items: read, withheld, .. } => {
                let channel = channel?;
                items.clear();
                for item in read {
                    let message = self.number(&item.message);
                    self.place(channel, message, item.seq);
                    items.push(Seen { seq: item.seq, message, payload: item.payload.as_deref().map(digest) });
                }
                let Open { from, limit, is_linearizable, is_final, .. } = open;
                What::Read { channel, from, limit, is_linearizable, is_final, items, withheld }
            }
            Op::CursorSet { position, .. } => What::CursorSet { channel: channel?, position: *position },
            Op::CursorGet { position, .. } => {
                What::CursorGet { channel: channel?, position: *position, is_linearizable: open.is_linearizable, is_final: open.is_final }
            }
            Op::UnreadGet { shown, counted, .. } => What::Unread { channel: channel?, counts: shown.zip(*counted) },
            Op::MemberAdd { seq, .. } => What::Member { channel: channel?, member: open.member?, adds: true, seq: *seq },
            Op::MemberRemove { seq, .. } => What::Member { channel: channel?, member: open.member?, adds: false, seq: *seq },
            Op::MemberAct { .. } => What::Acted { channel: channel?, is_not_member: event.error.as_deref() == Some("not_member") },
            Op::MembersGet { members, .. } => {
                let members = members.iter().map(|name| UserIx(self.users.number(name))).collect();
                What::Members { channel: channel?, members, is_linearizable: open.is_linearizable }
            }
            Op::EditSet { version, .. } => {
                What::Edited { thing: open.thing?, version: Some(*version), sets: true, is_linearizable: false, is_final: false }
            }
            Op::EditGet { version, .. } => {
                What::Edited { thing: open.thing?, version: *version, sets: false, is_linearizable: open.is_linearizable, is_final: open.is_final }
            }
            Op::SearchGet { version, is_member, .. } => What::Searched { thing: open.thing?, version: *version, is_member: *is_member },
            Op::NameTake { owner, .. } | Op::NameGet { owner, .. } => What::Named {
                thing: open.thing?,
                owner: owner.as_deref().filter(|owner| !owner.is_empty()).map(digest),
                takes: matches!(event.op, Op::NameTake { .. }),
            },
            Op::LaterSet { .. } => What::Later { thing: open.thing?, step: Later::Set },
            Op::LaterCancel { .. } => What::Later { thing: open.thing?, step: Later::Cancel },
            Op::LaterGet { count, .. } => What::Later { thing: open.thing?, step: Later::Count(*count) },
            Op::PresenceGet { users, is_contact, .. } => {
                let users = users.iter().map(|name| UserIx(self.users.number(name))).collect();
                What::Presence { users, is_final: open.is_final, is_contact: *is_contact }
            }
            Op::Received { .. } | Op::HookEvent { .. } | Op::HookEnd { .. } | Op::Push { .. } | Op::PresenceSet { .. } | Op::PresenceShown { .. } => {
                return None;
            }
        };
        Some(fact)
    }

    /// Opens an operation, or closes the one that this line completes.
    #[allow(clippy::too_many_arguments)]
    fn pair(
        &mut self,
        line: u64,
        event: &Event<'_>,
        channel: Option<ChannelIx>,
        device: DeviceIx,
        user: Option<UserIx>,
        node: Option<NodeIx>,
        findings: &mut Findings,
    ) -> Option<Open> {
        let token = match &event.token {
            None => 0,
            Some(Token::Number(n)) => n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
            Some(Token::Text(text)) => hash(text),
        };
        let key = (event.process, token);
        let message = match &event.op {
            Op::Send { message, .. } => Some(self.number(message)),
            _ => None,
        };
        let member = match &event.op {
            Op::MemberAdd { member, .. } | Op::MemberRemove { member, .. } => Some(UserIx(self.users.number(member))),
            _ => None,
        };
        let thing = event.op.thing().map(|name| ThingIx(self.things.number(name)));
        let f = event.op.name();
        let (mut from, mut limit, mut client_seq, mut is_linearizable, mut is_final, mut is_oversize) = (None, None, None, false, false, false);
        match &event.op {
            Op::Read { from: a, limit: b, is_linearizable: c, is_final: d, .. } => (from, limit, is_linearizable, is_final) = (*a, *b, *c, *d),
            Op::CursorGet { is_linearizable: c, is_final: d, .. } | Op::EditGet { is_linearizable: c, is_final: d, .. } => {
                (is_linearizable, is_final) = (*c, *d)
            }
            Op::MembersGet { is_linearizable: c, .. } => is_linearizable = *c,
            Op::PresenceGet { is_final: d, .. } => is_final = *d,
            Op::Send { client_seq: a, payload, .. } => {
                client_seq = *a;
                is_oversize = payload.as_deref().is_some_and(|text| text.len() > TEXT_CHARS_MAX && text.chars().count() > TEXT_CHARS_MAX);
            }
            _ => {}
        }
        if event.outcome == Outcome::Invoke {
            self.ops += 1;
            self.invoked += 1;
            let op = self.ops;
            let at = event.time;
            let open = || Open {
                op,
                at,
                f,
                channel,
                message,
                member,
                thing,
                from,
                limit,
                client_seq,
                is_linearizable,
                is_final,
                is_oversize,
                device,
                user,
                node,
            };
            if self.open.insert(key, open()).is_some() {
                findings.harness(|| format!("line {line}: process {} begins an operation that it has under way already", event.process));
                return None;
            }
            return Some(open());
        }
        let Some(mut open) = self.open.remove(&key) else {
            findings.harness(|| format!("line {line}: process {} completes a {f} that it did not begin", event.process));
            return None;
        };
        if open.f != f || open.channel != channel || open.message != message || open.member != member || open.thing != thing {
            findings.harness(|| format!("line {line}: this completes another operation than process {} began", event.process));
            return None;
        }
        match event.outcome {
            Outcome::Ok => self.acked += 1,
            Outcome::Fail { .. } => self.failed += 1,
            Outcome::Info | Outcome::Invoke => {}
        }
        open.from = open.from.or(from);
        open.limit = open.limit.or(limit);
        open.client_seq = open.client_seq.or(client_seq);
        open.is_linearizable |= is_linearizable;
        open.is_final |= is_final;
        Some(open)
    }

    /// Counts an attempt or its answer; whether it is the first attempt of all.
    #[allow(clippy::too_many_arguments)]
    fn count_send(
        &mut self,
        line: u64,
        event: &Event<'_>,
        channel: ChannelIx,
        message: MessageIx,
        payload: Option<&str>,
        seq: Option<u64>,
        findings: &mut Findings,
    ) -> bool {
        let known = &mut self.known[message.0 as usize];
        let at = Stamp::of(event.time);
        let mut is_first = false;
        match event.outcome {
            Outcome::Invoke => {
                is_first = known.attempts == 0;
                known.attempts += 1;
                known.invoked_at.get_or_insert(at);
                if known.is_system {
                    findings.harness(|| format!("line {line}: a client sends under a name of the system's"));
                }
                if known.channel.is_some_and(|before| before != channel) {
                    findings.harness(|| format!("line {line}: one message is sent to two channels"));
                }
                known.channel.get_or_insert(channel);
                let payload = payload.and_then(|text| NonZeroU64::new(digest(text)));
                if !is_first && known.payload != payload {
                    findings.harness(|| format!("line {line}: a retry with other bytes"));
                }
                known.payload = payload;
            }
            Outcome::Ok => {
                known.acked_at.get_or_insert(at);
                if let Some(seq) = seq {
                    self.place(channel, message, seq);
                }
            }
            Outcome::Fail { is_final } => {
                known.fails += 1;
                known.is_refused |= is_final;
            }
            Outcome::Info => {}
        }
        is_first
    }
}

/// The hash of a payload; never zero.
pub(crate) fn digest(text: &str) -> u64 {
    hash(text).max(1)
}
