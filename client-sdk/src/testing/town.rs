//! The fake server without IO: people, conversations, what each session is told; as the protocol says, in the smallest form.
//!
//! In: frames and pulls of sessions, what a test has happen. Out: frames by session, pages. Invariants: numbers are deduplicated as a cluster
//! does it; a log has no hole. Not as in a cluster: who made a group may do everything, others may write; nothing is hidden from a member;
//! requests that an app's tests rarely need are `Unsupported`. Bound: none, it is for tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kith_wire::{
    act::Act,
    client::{
        Answer, ChannelView, Delivery, DeliveryBody, Event, Hello, HistoryPage, HistoryQuery, MemberView, Page, Place, Pull, Refusal, Request,
        ToClient, ToEdge, UserView, Welcome,
    },
    code::Code,
    hello::{CURRENT, Features},
    id::{
        ChannelId, ChannelKind, ClientSeq, ClusterId, DeviceId, Incarnation, NodeId, RegionId, RequestId, Seq, SessionId, Timestamp, UserId, UserRev,
    },
    limit::{DEDUP_RING, PAGE_RECORDS_MAX, PAGE_ROWS_MAX},
    log::{Content, IndexRow, MemberChange, Position, Record, Ref, Role},
    search::{SearchHit, SearchPage, SearchQuery, Spot},
};

use crate::amend::amended;

/// What goes wrong with the next write or question of a client. Each is used up by one; the order is that in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is refused, with a wait where the server names one. A final code (3xxx, 4xxx) uses up the number of a write, as in a cluster.
    Refuse(Code, Option<std::time::Duration>),
    /// The connection ends before it is looked at.
    LoseRequest,
    /// It is done, and the connection ends before it is answered.
    LoseAnswer,
}

/// How far a write got in the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WriteStep {
    /// It has arrived, and nothing is done.
    Arrived,
    /// It stands, and is not answered.
    Recorded,
    /// Its answer is on its way.
    Answered,
}

/// What is to become of a session's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    Goes,
    /// It ends now; what is still to be sent is lost.
    Ends,
}

pub(crate) struct Town {
    pub(crate) now: u64,
    pub(crate) names: BTreeMap<UserId, String>,
    people: BTreeMap<UserId, Person>,
    channels: BTreeMap<ChannelId, Conversation>,
    pub(crate) sessions: BTreeMap<u64, Seat>,
    /// Somebody was told something since this was last looked at: their session may not have had a reason to look.
    pub(crate) has_told: bool,
    next_session: u64,
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) hello_refusals: VecDeque<Code>,
    /// Tokens of an older epoch have expired.
    pub(crate) epoch: u64,
    pub(crate) on_write: Option<Box<dyn FnMut(WriteStep) + Send>>,
}

#[derive(Default)]
struct Person {
    rev: u64,
    rows: BTreeMap<ChannelId, IndexRow>,
}

#[derive(Default)]
struct Conversation {
    title: String,
    members: BTreeMap<UserId, Role>,
    read: BTreeMap<UserId, Position>,
    records: Vec<Record>,
    dedup: BTreeMap<DeviceId, Dedup>,
}

#[derive(Default)]
struct Dedup {
    last: u64,
    ring: BTreeMap<u64, (u64, Result<Answer, Refusal>)>,
}

pub(crate) struct Seat {
    /// `None` before its hello.
    who: Option<(UserId, DeviceId)>,
    pub(crate) out: VecDeque<ToClient>,
    pub(crate) ends: bool,
}

impl Default for Town {
    fn default() -> Self {
        Self {
            now: 1_700_000_000_000,
            names: BTreeMap::new(),
            people: BTreeMap::new(),
            channels: BTreeMap::new(),
            sessions: BTreeMap::new(),
            has_told: false,
            next_session: 1,
            faults: VecDeque::new(),
            hello_refusals: VecDeque::new(),
            epoch: 0,
            on_write: None,
        }
    }
}

impl Town {
    pub(crate) fn open(&mut self) -> u64 {
        let id = self.next_session;
        self.next_session += 1;
        self.sessions.insert(id, Seat { who: None, out: VecDeque::new(), ends: false });
        id
    }
    pub(crate) fn handle(&mut self, session: u64, frame: ToEdge, user_of: impl Fn(&str) -> Option<(UserId, u64)>) -> After {
        match frame {
            ToEdge::Hello(hello) => self.hello(session, &hello, user_of(&hello.token)),
            ToEdge::Beat => self.say(session, ToClient::Beat),
            ToEdge::Request { id, request } => return self.request(session, id, request),
            ToEdge::Unreadable { id, refusal } => self.say(session, ToClient::Answer { id, answer: Err(refusal) }),
        }
        After::Goes
    }
    fn hello(&mut self, session: u64, hello: &Hello, token: Option<(UserId, u64)>) {
        let refused = match (self.hello_refusals.pop_front(), token) {
            (Some(code), _) => Some(code),
            (_, None) => Some(Code::BadToken),
            (_, Some((_, epoch))) if epoch < self.epoch => Some(Code::TokenExpired),
            _ => None,
        };
        let Some((user, _)) = token.filter(|_| refused.is_none()) else {
            return self.say(session, ToClient::Bye(refusal(refused.unwrap_or(Code::BadToken))));
        };
        let Some(seat) = self.sessions.get_mut(&session) else { return };
        seat.who = Some((user, hello.device));
        let user_rev = UserRev::new(self.people.entry(user).or_default().rev);
        let welcome = Welcome {
            version: CURRENT,
            features: Features::default(),
            cluster: ClusterId::default(),
            node: NodeId::new(1),
            session: SessionId::new(session),
            user,
            name: self.name_of(user),
            user_rev,
            now: Timestamp::new(self.now),
        };
        self.say(session, ToClient::Welcome(welcome));
    }
    pub(crate) fn name_of(&self, user: UserId) -> String {
        self.names.get(&user).cloned().unwrap_or_else(|| format!("user-{user}"))
    }
    fn request(&mut self, session: u64, id: RequestId, request: Request) -> After {
        let Some((user, device)) = self.sessions.get(&session).and_then(|seat| seat.who) else { return After::Ends };
        let is_write = matches!(request, Request::Send(_) | Request::ChangeMembers(_) | Request::Act(_));
        self.reached(WriteStep::Arrived, is_write);
        // What the SDK asks by itself is no prey for a script.
        let fault = if matches!(request, Request::Discover { .. } | Request::Delivered { .. }) { None } else { self.faults.pop_front() };
        if fault == Some(Fault::LoseRequest) {
            return After::Ends;
        }
        let refused = match &fault {
            Some(Fault::Refuse(code, wait)) => {
                let retry_after_ms = wait.map(|wait| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX));
                Some(Refusal { retry_after_ms, ..refusal(*code) })
            }
            _ => None,
        };
        let answer = self.answer(user, device, request, refused);
        self.reached(WriteStep::Recorded, is_write);
        if fault == Some(Fault::LoseAnswer) {
            return After::Ends;
        }
        self.say(session, ToClient::Answer { id, answer });
        After::Goes
    }
    pub(crate) fn reached(&mut self, step: WriteStep, is_write: bool) {
        if let Some(watch) = self.on_write.as_mut().filter(|_| is_write) {
            watch(step);
        }
    }
    fn answer(&mut self, user: UserId, device: DeviceId, request: Request, refused: Option<Refusal>) -> Result<Answer, Refusal> {
        match request {
            Request::Send(send) => {
                let digest = send.digest();
                let content = Content::Text { text: send.text, reply_to: send.reply_to, mentions: send.mentions, extra: None };
                self.write(user, device, send.channel, (send.client_seq, send.settled, digest), content, refused)
            }
            Request::ChangeMembers(change) => {
                let digest = change.digest();
                let number = (change.client_seq, change.settled, digest);
                self.write(user, device, change.channel, number, Content::Members(change.change), refused)
            }
            Request::Act(act) => {
                let digest = act.digest();
                let content = match act.act {
                    Act::Post(draft) => {
                        let extra = draft.extra();
                        Content::Text { text: draft.text, reply_to: draft.reply_to, mentions: draft.mentions, extra }
                    }
                    act => Content::Act(act),
                };
                self.write(user, device, act.channel, (act.client_seq, act.settled, digest), content, refused)
            }
            _ if refused.is_some() => Err(refused.unwrap_or_else(|| refusal(Code::Internal))),
            Request::Void { channel, device, client_seq, .. } => self.void(channel, device, client_seq),
            Request::Discover { .. } => Ok(Answer::Edges(Vec::new())),
            Request::FindUser { name } => {
                let found = self.names.iter().filter(|(_, known)| **known == name).map(|(user, name)| UserView { user: *user, name: name.clone() });
                let users: Vec<_> = found.collect();
                if users.is_empty() { Err(refusal(Code::NoSuchUser)) } else { Ok(Answer::Users(users)) }
            }
            Request::GetUsers { users } => Ok(Answer::Users(users.into_iter().map(|user| UserView { user, name: self.name_of(user) }).collect())),
            Request::CreateGroup { op, title, members } => {
                let channel = ChannelId::group(RegionId::new(1), user, device, op);
                let is_new = !self.channels.contains_key(&channel);
                if is_new {
                    let mut all: BTreeMap<_, _> = members.iter().map(|member| (*member, Role::Member)).collect();
                    all.insert(user, Role::Owner);
                    self.channels.insert(channel, Conversation { title: title.clone(), members: all, ..Conversation::default() });
                    self.append(channel, user, device, ClientSeq::default(), Content::Created { title, members });
                }
                Ok(Answer::Created { channel, seq: Seq::new(1) })
            }
            Request::GetChannel { channel } => self.view(channel, user).map(Answer::Channel),
            Request::MarkRead { channel, read } => {
                let conversation = self.of_member(channel, user)?;
                let held = conversation.read.entry(user).or_default();
                if read.seq > held.seq {
                    *held = read;
                    let others: Vec<_> = conversation.members.keys().copied().filter(|member| *member != user).collect();
                    self.index(channel, user);
                    for other in others {
                        self.tell(other, &Event::Receipt { channel, user, read, delivered: read });
                    }
                }
                Ok(Answer::Done)
            }
            Request::Typing { channel } => {
                let others: Vec<_> = self.of_member(channel, user)?.members.keys().copied().filter(|member| *member != user).collect();
                for other in others {
                    self.tell(other, &Event::Typing { channel, user });
                }
                Ok(Answer::Done)
            }
            Request::Delivered { .. } => Ok(Answer::Done),
            Request::Search(query) => Ok(Answer::Found(self.search(user, &query))),
            _ => Err(Refusal { text: "the fake server does not know this request".to_owned(), ..refusal(Code::Unsupported) }),
        }
    }
    /// Texts that have the words as they are typed.
    fn search(&self, user: UserId, query: &SearchQuery) -> SearchPage {
        let mine = self.channels.iter().filter(|(_, conversation)| conversation.members.contains_key(&user)).map(|(channel, _)| *channel);
        let mine = mine.filter(|channel| query.channel.is_none_or(|wanted| wanted == *channel));
        let mut hits = Vec::new();
        for channel in mine {
            for record in self.records(channel) {
                let spot = Spot { ts: record.ts, seq: record.at.seq, channel };
                if let Some(text) = record.content.text().filter(|text| text.contains(&query.words) && query.below.is_none_or(|below| spot < below)) {
                    hits.push(SearchHit { spot, sender: record.sender, excerpt: text.to_owned(), marks: Vec::new() });
                }
            }
        }
        hits.sort_unstable_by_key(|hit| std::cmp::Reverse(hit.spot));
        SearchPage { hits, ..SearchPage::default() }
    }
    fn view(&mut self, channel: ChannelId, user: UserId) -> Result<ChannelView, Refusal> {
        let conversation = self.of_member(channel, user)?;
        let position = |user: &UserId| conversation.read.get(user).copied().unwrap_or_default();
        let member = |(user, role): (&UserId, &Role)| MemberView { user: *user, role: *role, read: position(user), delivered: position(user) };
        let members = conversation.members.iter().map(member).collect();
        Ok(ChannelView { channel, title: conversation.title.clone(), head: conversation.head(), members })
    }
    fn of_member(&mut self, channel: ChannelId, user: UserId) -> Result<&mut Conversation, Refusal> {
        if let ChannelKind::Direct(a, b) = channel.kind() {
            let members = [(a, Role::Member), (b, Role::Member)].into();
            let conversation = self.channels.entry(channel).or_default();
            if conversation.members.is_empty() {
                conversation.members = members;
            }
        }
        self.channels.get_mut(&channel).filter(|conversation| conversation.members.contains_key(&user)).ok_or_else(|| refusal(Code::NotMember))
    }

    // ---- numbered writes

    fn write(
        &mut self,
        user: UserId,
        device: DeviceId,
        channel: ChannelId,
        (client_seq, settled, digest): (ClientSeq, ClientSeq, u64),
        content: Content,
        refused: Option<Refusal>,
    ) -> Result<Answer, Refusal> {
        let number = client_seq.get();
        let member = self.of_member(channel, user).map(|conversation| {
            let dedup = conversation.dedup.entry(device).or_default();
            (dedup.last, dedup.ring.get(&number).cloned())
        });
        let (last, known) = member?;
        match known {
            Some((before, answer)) if before == digest => return answer,
            Some(_) => return Err(refusal(Code::Conflict)),
            None if number <= last => return Err(refusal(Code::TooOld)),
            None if number > last + 1 => return Err(Refusal { expected: Some(ClientSeq::new(last + 1)), ..refusal(Code::OutOfSequence) }),
            None => {}
        }
        let answer = match refused {
            // Used up only by what is final.
            Some(refusal) if !matches!(refusal.code.number() / 1000, 3 | 4) => return Err(refusal),
            Some(refusal) => Err(refusal),
            None => self.done(user, device, channel, client_seq, content),
        };
        let dedup = self.channels.entry(channel).or_default().dedup.entry(device).or_default();
        dedup.last = number;
        dedup.ring.retain(|known, _| *known >= settled.get());
        dedup.ring.insert(number, (digest, answer.clone()));
        assert!(dedup.ring.len() <= DEDUP_RING, "the client keeps its window");
        answer
    }
    fn done(&mut self, user: UserId, device: DeviceId, channel: ChannelId, client_seq: ClientSeq, content: Content) -> Result<Answer, Refusal> {
        let target = match &content {
            Content::Act(Act::Edit { target, .. } | Act::Delete { target }) => Some((*target, true)),
            Content::Act(Act::React { target, .. } | Act::Pin { target, .. }) => Some((*target, false)),
            Content::Act(Act::Describe { .. }) | Content::Text { .. } | Content::Members(_) => None,
            _ => return Err(refusal(Code::Unsupported)),
        };
        if let Some((target, is_own)) = target {
            let conversation = self.of_member(channel, user)?;
            let record = conversation.records.get((target.get() as usize).wrapping_sub(1)).ok_or_else(|| refusal(Code::NotFound))?;
            if record.content.text().is_none() {
                return Err(refusal(Code::TextGone));
            }
            if is_own && record.sender != user {
                return Err(refusal(Code::NotAllowed));
            }
        }
        if let Content::Members(change) = &content {
            let conversation = self.of_member(channel, user)?;
            match change {
                MemberChange::Add(member) => drop(conversation.members.insert(*member, Role::Member)),
                MemberChange::Remove(member) => drop(conversation.members.remove(member)),
                MemberChange::Leave => drop(conversation.members.remove(&user)),
                MemberChange::SetRole(member, role) => drop(conversation.members.insert(*member, *role)),
                MemberChange::Join => return Err(refusal(Code::Invalid)),
            }
        }
        if let Content::Act(Act::Describe { title: Some(title), .. }) = &content {
            self.of_member(channel, user)?.title.clone_from(title);
        }
        let at = self.append(channel, user, device, client_seq, content);
        Ok(Answer::Sent { seq: at.seq, cnt: at.cnt, ts: Timestamp::new(self.now), duplicate: false })
    }
    fn void(&mut self, channel: ChannelId, device: DeviceId, client_seq: ClientSeq) -> Result<Answer, Refusal> {
        let dedup = self.channels.entry(channel).or_default().dedup.entry(device).or_default();
        let number = client_seq.get();
        if number <= dedup.last {
            return dedup.ring.get(&number).map_or_else(|| Err(refusal(Code::TooOld)), |(_, answer)| answer.clone());
        }
        if number > dedup.last + 1 {
            return Err(Refusal { expected: Some(ClientSeq::new(dedup.last + 1)), ..refusal(Code::OutOfSequence) });
        }
        dedup.last = number;
        dedup.ring.insert(number, (0, Ok(Answer::Voided)));
        Ok(Answer::Voided)
    }

    // ---- logs

    /// Somebody writes whom no client is.
    pub(crate) fn append_by(&mut self, channel: ChannelId, user: UserId, content: Content) -> Result<Position, Refusal> {
        self.of_member(channel, user)?;
        Ok(self.append(channel, user, DeviceId::new(user.get()), ClientSeq::default(), content))
    }
    fn append(&mut self, channel: ChannelId, sender: UserId, device: DeviceId, client_seq: ClientSeq, content: Content) -> Position {
        self.now += 1;
        let conversation = self.channels.entry(channel).or_default();
        let head = conversation.head();
        let at = Position { seq: head.seq.next(), cnt: head.cnt + u64::from(content.is_text()) };
        let record = Record { at, incarnation: Incarnation::default(), sender, device, client_seq, ts: Timestamp::new(self.now), content };
        for older in &mut conversation.records {
            if let Some(left) = amended(older, &record) {
                *older = (*left).clone();
            }
        }
        conversation.records.push(record.clone());
        conversation.read.insert(sender, at);
        // Who is not a member any more hears of that too.
        let mut told: BTreeSet<_> = conversation.members.keys().copied().collect();
        told.extend(record.users().into_iter().filter(|_| matches!(record.content, Content::Members(_))));
        for user in told {
            self.tell(user, &Event::Delivery(Delivery { channel, prev: head.seq, body: DeliveryBody::Whole(record.clone()) }));
            self.index(channel, user);
        }
        at
    }
    /// The channel has news for a user.
    fn index(&mut self, channel: ChannelId, user: UserId) {
        let Some(conversation) = self.channels.get(&channel) else { return };
        let Some(last) = conversation.records.last() else { return };
        let mentions = |record: &&Record| matches!(&record.content, Content::Text { mentions, .. } if mentions.contains(&user));
        let text = conversation.records.iter().rev().find(|record| record.content.text().is_some());
        let news = Ref {
            channel,
            incarnation: Incarnation::default(),
            head: last.at,
            head_ts: last.ts,
            head_sender: last.sender,
            member_seq: Seq::ZERO,
            join: Position::default(),
            left: (!conversation.members.contains_key(&user)).then_some(last.at.seq),
            own: Position::default(),
            mentions: conversation.records.iter().filter(mentions).map(|record| record.at.seq).collect(),
            title: conversation.title.clone(),
            preview: text.map(Record::preview).unwrap_or_default(),
        };
        let read = conversation.read.get(&user).copied().unwrap_or_default();
        let person = self.people.entry(user).or_default();
        let from = UserRev::new(person.rev);
        person.rev += 1;
        let to = UserRev::new(person.rev);
        let row = IndexRow { rev: to, news, read, preferences: Default::default() };
        person.rows.insert(channel, row.clone());
        self.tell(user, &Event::IndexMoved { from, to, rows: vec![row] });
    }
    pub(crate) fn records(&self, channel: ChannelId) -> Vec<Record> {
        self.channels.get(&channel).map(|conversation| conversation.records.clone()).unwrap_or_default()
    }
    pub(crate) fn page(&mut self, session: u64, pull: &Pull) -> Page {
        let Some((user, _)) = self.sessions.get(&session).and_then(|seat| seat.who) else { return Page::Refused(refusal(Code::BadToken)) };
        match pull {
            Pull::Index(query) => {
                let person = self.people.entry(user).or_default();
                let below = query.below.unwrap_or(UserRev::new(u64::MAX));
                let mut rows: Vec<_> =
                    person.rows.values().filter(|row| row.rev > query.from && row.rev <= query.to && row.rev < below).cloned().collect();
                rows.sort_by_key(|row| std::cmp::Reverse(row.rev));
                let limit = (query.limit as usize).clamp(1, PAGE_ROWS_MAX);
                let more = rows.len() > limit;
                rows.truncate(limit);
                Page::Index { rows, more, rev: UserRev::new(person.rev) }
            }
            Pull::History(query) => match self.of_member(query.channel, user) {
                Ok(conversation) => Page::History(conversation.page(query)),
                Err(refusal) => Page::Refused(refusal),
            },
        }
    }

    // ---- sessions

    fn tell(&mut self, user: UserId, event: &Event) {
        for seat in self.sessions.values_mut().filter(|seat| seat.who.is_some_and(|(of, _)| of == user)) {
            seat.out.push_back(ToClient::Event(event.clone()));
            self.has_told = true;
        }
    }
    pub(crate) fn say(&mut self, session: u64, frame: ToClient) {
        if let Some(seat) = self.sessions.get_mut(&session) {
            seat.out.push_back(frame);
        }
    }
}

impl Conversation {
    fn head(&self) -> Position {
        self.records.last().map(|record| record.at).unwrap_or_default()
    }
    fn page(&self, query: &HistoryQuery) -> HistoryPage {
        let end = self.records.len() as u64;
        let limit = u64::from(query.limit).clamp(1, PAGE_RECORDS_MAX as u64);
        let (mut first, mut last) = (query.first.get().max(1), query.last.get().min(end));
        match query.place {
            Some(Place::At(ts)) => {
                first = self.records.partition_point(|record| record.ts < ts) as u64 + 1;
                last = end.min(first + limit - 1);
            }
            Some(Place::Around(seq)) => {
                first = seq.get().saturating_sub(limit / 2).max(1);
                last = end.min(first + limit - 1);
            }
            _ if query.newest_first => first = first.max((last + 1).saturating_sub(limit)),
            _ => last = last.min(first + limit - 1),
        }
        let records = if first <= last { self.records[first as usize - 1..last as usize].to_vec() } else { Vec::new() };
        HistoryPage {
            node: NodeId::new(1),
            head: self.head(),
            incarnation: Incarnation::default(),
            covered: (first <= last).then(|| (Seq::new(first), Seq::new(last))),
            records,
            withheld: Vec::new(),
            marks: Vec::new(),
        }
    }
}

fn refusal(code: Code) -> Refusal {
    Refusal { code, retry_after_ms: None, expected: None, leader: None, text: String::new(), alternates: Vec::new() }
}
