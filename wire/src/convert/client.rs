//! `kith.client.v1`: requests, answers and events. What comes from a client is checked against every limit.

use bytes::Bytes;
use prost::Message as _;

use super::{
    Field, at_most,
    log::numbered_write,
    message, nested, numbered, proto,
    proto::{
        client::v1::{
            self as client, answer::Answer as AnswerKind, delivery::Body as DeliveryBodyKind, event::Event as EventKind,
            id_answer::Answer as ResultKind, page::Page as PageKind, place::Place as PlaceKind, pull::Pull as PullKind,
            request::Request as RequestKind, to_client::Frame as ToClientKind, to_edge::Frame as ToEdgeKind,
        },
        log::v1 as log,
    },
    top, tuple, union, well_formed, wrapper,
};
use crate::{
    act::{Act, ActWrite, Reaction},
    client::{
        Answer, ChangeMembers, ChannelView, ClusterStatus, Delivery, DeliveryBody, Edge, Event, GroupStatus, GroupView, Hello, HistoryPage,
        HistoryQuery, IndexQuery, Marks, MemberView, NodeStatus, Page, PageBudget, Place, Pull, ReactionTotal, Refusal, ReplicaCondition,
        ReplicaStatus, Request, ScheduledText, Send, ToClient, ToEdge, UserView, Welcome,
    },
    error::{DecodeError, Why},
    id::{NodeId, Seq},
    limit,
};

top!(client: ToEdge, ToClient, Pull, Page);

// ---------------------------------------------------------------- to the edge

impl Field<client::ToEdge> for ToEdge {
    fn put(&self) -> client::ToEdge {
        client::ToEdge {
            frame: Some(match self {
                Self::Hello(hello) => ToEdgeKind::Hello(Field::put(hello)),
                Self::Request { id, request } => ToEdgeKind::Request(client::IdRequest { id: Field::put(id), request: Field::put(request) }),
                Self::Unreadable { id, .. } => ToEdgeKind::Request(client::IdRequest { id: Field::put(id), request: None }),
                Self::Beat => ToEdgeKind::Beat(log::Unit {}),
            }),
        }
    }
    fn take(raw: client::ToEdge, _field: &'static str) -> Result<Self, DecodeError> {
        match raw.frame.ok_or(DecodeError::Field { message: "ToEdge", field: "frame", why: Why::Unknown })? {
            ToEdgeKind::Hello(raw) => Field::take(raw, "hello").map(Self::Hello),
            ToEdgeKind::Beat(log::Unit {}) => Ok(Self::Beat),
            ToEdgeKind::Request(client::IdRequest { id, request }) => {
                let id = Field::take(id, "id")?;
                // A request without a known field is one that a newer client knows: the id is kept, so that it can be told so.
                Ok(match Field::take(request.unwrap_or_default(), "request") {
                    Ok(request) => Self::Request { id, request },
                    Err(error) => Self::Unreadable { id, refusal: Refusal::from(error) },
                })
            }
        }
    }
}

message!(Hello => client::Hello { version, features, cluster, token, device, conn, user_rev } check check_hello);
message!(Send => client::Send { channel, client_seq, settled, text, reply_to, mentions } check check_send);
message!(ChangeMembers => client::ChangeMembers { channel, client_seq, settled, change } check check_change_members);
message!(ActWrite => client::ActWrite { channel, client_seq, settled, act } check check_act);
wrapper!(Request => client::Request.request check check_request);

impl Request {
    /// The same, as whoever reads it from bytes takes it: for one that did not come so.
    ///
    /// # Errors
    /// A field is malformed, or over its limit.
    pub fn checked(&self) -> Result<Self, DecodeError> {
        let raw: client::Request = Field::put(self);
        Field::take(raw, "request")
    }
}

nested!(Request, client::Request);
union!(Request => RequestKind {
    Void: client::Void { channel, device, client_seq, digest },
    CreateGroup: client::CreateGroup { op, title, members },
    MarkRead: client::MarkRead { channel, read },
    Delivered: client::Delivered { channel, delivered },
    GetChannel: client::GetChannel { channel },
    FindUser: client::FindUser { name },
    GetUsers: client::GetUsers { users },
    Join: client::Join { channel, secret },
    Typing: client::Typing { channel },
    GetGroup: client::GetGroup { channel },
    GetScheduled: client::GetScheduled { channel },
    GetSeen: client::GetSeen { channel, seq },
    GetReactions: client::GetReactions { channel, seq },
    Discover: client::Discover { measured, region },
    EnsureAccount: client::EnsureAccount { name, key },
    ReplaceNode: client::ReplaceNode { dead, node, address, http, zone, host, force },
    ; holds Send, ChangeMembers, People, Act, Desk, Hook, Search, Presence, Push, Layout, Trust
    ; empty Status
});

fn check_hello(hello: &Hello) -> Result<(), DecodeError> {
    at_most(hello.token.len(), limit::TOKEN_BYTES_MAX, "token")
}

fn check_send(send: &Send) -> Result<(), DecodeError> {
    numbered_write(send.client_seq)?;
    well_formed(send.settled <= send.client_seq, "settled")?;
    filled(&send.text, "text")?;
    at_most(chars(&send.text, limit::TEXT_CHARS_MAX), limit::TEXT_CHARS_MAX, "text")?;
    at_most(send.mentions.len(), limit::MENTIONS_MAX, "mentions")
}

fn check_change_members(change: &ChangeMembers) -> Result<(), DecodeError> {
    numbered_write(change.client_seq)?;
    well_formed(change.settled <= change.client_seq, "settled")
}

/// What no client of ours sends. What apply would refuse for what stands in the channel is left to it.
fn check_act(write: &ActWrite) -> Result<(), DecodeError> {
    numbered_write(write.client_seq)?;
    well_formed(write.settled <= write.client_seq, "settled")?;
    match write.act.refused() {
        None => Ok(()),
        Some(crate::code::Code::TooLarge) => {
            let max = match write.act {
                Act::React { .. } => limit::EMOJI_BYTES_MAX,
                Act::Describe { .. } => limit::ABOUT_CHARS_MAX,
                _ => limit::TEXT_CHARS_MAX,
            };
            Err(DecodeError::field("act", Why::TooLarge { max }))
        }
        Some(_) => Err(DecodeError::field("act", Why::Malformed)),
    }
}

fn check_request(request: &Request) -> Result<(), DecodeError> {
    match request {
        Request::Void { client_seq, .. } => numbered_write(*client_seq).map_err(|error| error.within("Void")),
        Request::CreateGroup { title, members, .. } => at_most(chars(title, limit::TITLE_CHARS_MAX), limit::TITLE_CHARS_MAX, "title")
            .and_then(|()| at_most(members.len(), limit::MEMBERS_MAX, "members"))
            .map_err(|error| error.within("CreateGroup")),
        Request::FindUser { name } => check_name(name).map_err(|error| error.within("FindUser")),
        Request::EnsureAccount { name, .. } => check_name(name).map_err(|error| error.within("EnsureAccount")),
        Request::Discover { measured, .. } => at_most(measured.len(), limit::MEASURED_MAX, "measured").map_err(|error| error.within("Discover")),
        Request::GetUsers { users } => at_most(users.len(), limit::USERS_PER_REQUEST, "users").map_err(|error| error.within("GetUsers")),
        Request::Send(_)
        | Request::ChangeMembers(_)
        | Request::MarkRead { .. }
        | Request::Delivered { .. }
        | Request::GetChannel { .. }
        | Request::Act(_)
        | Request::Join { .. }
        | Request::Typing { .. }
        | Request::GetGroup { .. }
        | Request::GetScheduled { .. }
        | Request::GetSeen { .. }
        | Request::GetReactions { .. }
        | Request::Status
        | Request::ReplaceNode { .. }
        | Request::People(_)
        | Request::Desk(_)
        | Request::Hook(_)
        | Request::Search(_)
        | Request::Presence(_)
        | Request::Push(_)
        | Request::Layout(_)
        | Request::Trust(_) => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), DecodeError> {
    filled(name, "name")?;
    at_most(name.len(), limit::NAME_BYTES_MAX, "name")
}

fn filled(text: &str, field: &'static str) -> Result<(), DecodeError> {
    if text.is_empty() { Err(DecodeError::field(field, Why::Missing)) } else { Ok(()) }
}

/// Unicode scalar values of a text; not counted where the bytes alone say that there are at most, or more than, `max`.
fn chars(text: &str, max: usize) -> usize {
    match text.len() {
        len if len <= max || len > 4 * max => len,
        _ => text.chars().count(),
    }
}

// ---------------------------------------------------------------- to the client

wrapper!(ToClient => client::ToClient.frame);
union!(ToClient => ToClientKind {
    Answer: client::IdAnswer { id, answer },
    ; holds Welcome, Event, Bye
    ; empty Beat
});
message!(Welcome => client::Welcome { version, features, cluster, node, session, user, name, user_rev, now });
message!(Refusal => client::Refusal { code, retry_after_ms, expected, leader, text, alternates } check check_refusal);
tuple!((NodeId, u32) => client::Measured { node node, ms ms });

fn check_refusal(refusal: &Refusal) -> Result<(), DecodeError> {
    at_most(refusal.alternates.len(), limit::EDGES_MAX, "alternates")?;
    refusal.alternates.iter().try_for_each(|address| at_most(address.len(), limit::NODE_LABEL_BYTES_MAX, "alternates"))
}

impl Field<Option<ResultKind>> for Result<Answer, Refusal> {
    fn put(&self) -> Option<ResultKind> {
        Some(match self {
            Ok(answer) => ResultKind::Given(Field::put(answer)),
            Err(refusal) => ResultKind::Refusal(Field::put(refusal)),
        })
    }
    fn take(raw: Option<ResultKind>, field: &'static str) -> Result<Self, DecodeError> {
        match raw.ok_or_else(|| DecodeError::field(field, Why::Unknown))? {
            ResultKind::Given(raw) => Field::take(raw, field).map(Ok),
            ResultKind::Refusal(raw) => Field::take(raw, field).map(Err),
        }
    }
}

wrapper!(Answer => client::Answer.answer check check_answer);
nested!(Answer, client::Answer);
union!(Answer => AnswerKind {
    Sent: client::Sent { seq, cnt, ts, duplicate },
    Created: client::CreatedGroup { channel, seq },
    Account: client::Account { user, name, created },
    Kept: client::Kept { id },
    Joined: client::Joined { seq },
    Seen: client::Seen { read, delivered },
    ; holds Channel, Users, Edges, Status, People, Group, Scheduled, Reactions, Desk, Hook, Found, Presence, Push, Layout, Trust
    ; empty Voided, Done, Pending
});
wrapper!(Vec<UserView> => client::Users.users);
wrapper!(Vec<Edge> => client::Edges.edges);
message!(ChannelView => client::ChannelView { channel, title, head, members });
message!(MemberView => client::MemberView { user, role, read, delivered });
message!(GroupView => client::GroupView { channel, title, about, role, rules, pins, muted, links, asked, banned });
message!(ScheduledText => client::ScheduledText { id, due, draft, refused });
wrapper!(Vec<ScheduledText> => client::ScheduledTexts.texts);
wrapper!(Vec<Reaction> => client::Reactions.reactions);
message!(UserView => client::UserView { user, name });
message!(Edge => client::Edge { node, address, region, zone });
message!(ClusterStatus => client::ClusterStatus { cluster, map_epoch, nodes, groups });
message!(NodeStatus => client::NodeStatus { node, address, zone, alive, sessions, rss_bytes });
message!(GroupStatus => client::GroupStatus { group, leader, term, replicas });
numbered!(ReplicaCondition => client::ReplicaCondition { Sound, Quarantined, Rebuilding, Failed });
message!(ReplicaStatus => client::ReplicaStatus { node, last, applied, digest, condition });

fn check_answer(answer: &Answer) -> Result<(), DecodeError> {
    match answer {
        Answer::Users(users) => at_most(users.len(), limit::USERS_PER_REQUEST, "users"),
        Answer::Edges(edges) => at_most(edges.len(), limit::EDGES_MAX, "edges"),
        Answer::Channel(view) => at_most(view.members.len(), limit::MEMBERS_MAX, "members"),
        _ => Ok(()),
    }
    .map_err(|error| error.within("Answer"))
}

wrapper!(Event => client::Event.event);
nested!(Event, client::Event);
union!(Event => EventKind {
    IndexMoved: client::IndexMoved { from, to, rows },
    SyncNeeded: client::SyncNeeded { to },
    Receipt: client::Receipt { channel, user, read, delivered },
    Typing: client::TypingNow { channel, user },
    GoAway: client::GoAway { after_ms },
    ; holds Delivery, Presence
});
message!(Delivery => client::Delivery { channel, prev, body });
union!(DeliveryBody => DeliveryBodyKind {
    Stub: client::Stub { at },
    ; holds Whole
});

// ---------------------------------------------------------------- pulls and pages

wrapper!(Pull => client::Pull.pull);
union!(Pull => PullKind { ; holds History, Index });
message!(HistoryQuery => client::HistoryQuery { channel, first, last, newest_first, limit, min_seq, replica, linearizable, place } check check_history_query);
message!(IndexQuery => client::IndexQuery { from, to, below, limit, linearizable } check check_index_query);
wrapper!(Page => client::Page.page check check_page);
nested!(Page, client::Page);
union!(Page => PageKind {
    Index: client::IndexPage { rows, more, rev },
    ; holds History, Refused
});
wrapper!(Place => client::Place.place);
nested!(Place, client::Place);
union!(Place => PlaceKind { ; holds At, Around, Thread ; empty Own });
message!(Marks => client::Marks { seq, edited, reactions, replies, last_reply, pinned });
message!(ReactionTotal => client::ReactionTotal { emoji, count, mine });
message!(HistoryPage => client::HistoryPage { node, head, incarnation, records, withheld, covered, marks } check check_history_page);
tuple!((Seq, Seq) => client::Range { first first, last last });

impl Field<Option<client::Range>> for Option<(Seq, Seq)> {
    fn put(&self) -> Option<client::Range> {
        self.as_ref().map(Field::put)
    }
    fn take(raw: Option<client::Range>, field: &'static str) -> Result<Self, DecodeError> {
        raw.map(|raw| Field::take(raw, field)).transpose()
    }
}

fn check_history_query(query: &HistoryQuery) -> Result<(), DecodeError> {
    well_formed(query.limit > 0, "limit")?;
    well_formed(!(query.linearizable && query.replica.is_some()), "linearizable")
}

fn check_index_query(query: &IndexQuery) -> Result<(), DecodeError> {
    well_formed(query.limit > 0, "limit")
}

fn check_history_page(page: &HistoryPage) -> Result<(), DecodeError> {
    let mut budget = PageBudget::new(limit::PAGE_RECORDS_MAX as u32);
    well_formed(page.records.is_sorted_by(|a, b| a.at.seq < b.at.seq), "records")?;
    well_formed(page.marks.is_sorted_by(|a, b| a.seq < b.seq) && page.marks.len() <= page.records.len(), "marks")?;
    well_formed(page.withheld.iter().chain(&page.covered).all(|(first, last)| first <= last), "withheld")?;
    if page.records.iter().all(|record| budget.admit(record)) {
        Ok(())
    } else {
        Err(DecodeError::field("records", Why::TooLarge { max: limit::PAGE_BYTES_MAX }))
    }
}

fn check_page(page: &Page) -> Result<(), DecodeError> {
    match page {
        Page::Index { rows, .. } => at_most(rows.len(), limit::PAGE_ROWS_MAX, "rows").map_err(|error| error.within("Page")),
        Page::History(_) | Page::Refused(_) => Ok(()),
    }
}
