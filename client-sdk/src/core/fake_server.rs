//! A server for tests of the core: dedup, logs, index and pages as the protocol says, in the smallest form.

use std::collections::{BTreeMap, HashMap};

use kith_wire::{
    client::{Answer, Delivery, DeliveryBody, Event, HistoryPage, Page, Pull, Refusal, Request, Send, ToClient, ToEdge, Welcome},
    code::Code,
    hello::{CURRENT, Features},
    id::{ChannelId, ClientSeq, ClusterId, DeviceId, Incarnation, NodeId, RequestId, Seq, SessionId, Timestamp, UserId, UserRev},
    limit::DEDUP_RING,
    log::{Content, IndexRow, Position, Record, Ref},
};

pub(crate) const ME: UserId = UserId::new(1);
const OTHER: UserId = UserId::new(2);
const PAGE_RECORDS: usize = 3;
const PAGE_ROWS: usize = 2;

/// What may go wrong with one request or one push.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) busy: bool,
    pub(crate) lose_push: bool,
    pub(crate) lose_moved: bool,
    pub(crate) stub: bool,
    pub(crate) behind: bool,
}

#[derive(Default)]
pub(crate) struct Server {
    pub(crate) logs: HashMap<ChannelId, Log>,
    rev: u64,
    rows: HashMap<ChannelId, IndexRow>,
    device: DeviceId,
    is_up: bool,
    /// Sessions so far: the end of an older one is no end of the newest.
    pub(crate) sessions: u64,
    /// Towards the client.
    pub(crate) out: Vec<ToClient>,
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) records: Vec<Record>,
    dedup: HashMap<DeviceId, Dedup>,
}

#[derive(Default)]
struct Dedup {
    last: u64,
    ring: BTreeMap<u64, (u64, Result<Answer, Refusal>)>,
}

impl Server {
    pub(crate) fn disconnect(&mut self) {
        self.is_up = false;
        self.out.clear();
    }
    /// A session has ended: the newest, or one that was followed already.
    pub(crate) fn end(&mut self, session: u64) {
        if session == self.sessions {
            self.disconnect();
        }
    }
    pub(crate) fn handle(&mut self, frame: ToEdge, faults: Faults) {
        match frame {
            ToEdge::Hello(hello) => {
                self.is_up = true;
                self.sessions += 1;
                self.device = hello.device;
                self.out.push(ToClient::Welcome(Welcome {
                    version: CURRENT,
                    features: Features::default(),
                    cluster: ClusterId::default(),
                    node: NodeId::new(1),
                    session: SessionId::new(1),
                    user: ME,
                    name: "me".into(),
                    user_rev: UserRev::new(self.rev),
                    now: Timestamp::new(0),
                }));
            }
            ToEdge::Beat => self.out.push(ToClient::Beat),
            ToEdge::Request { id, request } => self.request(id, request, faults),
            ToEdge::Unreadable { .. } => panic!("the client never sends this"),
        }
    }
    /// Someone else's record.
    pub(crate) fn append_other(&mut self, channel: ChannelId, faults: Faults) {
        let n = self.logs.entry(channel).or_default().records.len();
        self.append(channel, OTHER, DeviceId::new(9), ClientSeq::default(), format!("other {n}"), faults);
    }
    pub(crate) fn sync_needed(&mut self) {
        self.push(Event::SyncNeeded { to: UserRev::new(self.rev) });
    }
    pub(crate) fn page(&self, pull: &Pull, faults: Faults) -> Page {
        if faults.behind {
            return Page::Refused(refusal(Code::Behind));
        }
        match pull {
            Pull::Index(query) => {
                let below = query.below.unwrap_or(UserRev::new(u64::MAX));
                let mut rows: Vec<_> =
                    self.rows.values().filter(|row| row.rev > query.from && row.rev <= query.to && row.rev < below).cloned().collect();
                rows.sort_by_key(|row| std::cmp::Reverse(row.rev));
                let more = rows.len() > PAGE_ROWS;
                rows.truncate(PAGE_ROWS);
                Page::Index { rows, more, rev: UserRev::new(self.rev) }
            }
            Pull::History(query) => {
                let log = &self.logs[&query.channel];
                assert!(query.last.get() <= log.records.len() as u64, "asked for what is not there");
                let range: Vec<_> = log.records[query.first.get() as usize - 1..query.last.get() as usize].iter().take(PAGE_RECORDS).collect();
                let withheld = range.iter().filter(|record| is_withheld(record)).map(|record| (record.at.seq, record.at.seq)).collect();
                let covered = range.first().zip(range.last()).map(|(first, last)| (first.at.seq, last.at.seq));
                let records = range.into_iter().filter(|record| !is_withheld(record)).cloned().collect();
                let head = log.records.last().map(|record| record.at).unwrap_or_default();
                Page::History(HistoryPage {
                    node: NodeId::new(1),
                    head,
                    incarnation: Incarnation::default(),
                    records,
                    withheld,
                    covered,
                    marks: Vec::new(),
                })
            }
        }
    }

    fn request(&mut self, id: RequestId, request: Request, faults: Faults) {
        let answer = match request {
            Request::Send(send) => self.send(send, faults),
            Request::Void { channel, device, client_seq, .. } => self.void(channel, device, client_seq),
            Request::Discover { .. } => Ok(Answer::Edges(Vec::new())),
            _ => Err(refusal(Code::Unsupported)),
        };
        self.out.push(ToClient::Answer { id, answer });
    }
    fn send(&mut self, send: Send, faults: Faults) -> Result<Answer, Refusal> {
        // "edge" is refused before the log, so it uses no number up; "final" is refused in the log.
        if send.text.starts_with("edge") {
            return Err(refusal(Code::TooLarge));
        }
        let device = self.device;
        let dedup = self.logs.entry(send.channel).or_default().dedup.entry(device).or_default();
        let (number, digest) = (send.client_seq.get(), send.digest());
        if number <= dedup.last {
            return match dedup.ring.get(&number) {
                Some((known, answer)) if *known == digest => answer.clone(),
                Some(_) => Err(refusal(Code::Conflict)),
                None => Err(refusal(Code::TooOld)),
            };
        }
        if number > dedup.last + 1 {
            return Err(Refusal { expected: Some(ClientSeq::new(dedup.last + 1)), ..refusal(Code::OutOfSequence) });
        }
        if faults.busy {
            return Err(Refusal { retry_after_ms: Some(20), ..refusal(Code::Busy) });
        }
        let answer = if send.text.starts_with("final") {
            Err(refusal(Code::NotAllowed))
        } else {
            let at = self.append(send.channel, ME, device, send.client_seq, send.text, faults);
            Ok(Answer::Sent { seq: at.seq, cnt: at.cnt, ts: Timestamp::new(at.seq.get()), duplicate: false })
        };
        self.remember(send.channel, device, number, send.settled.get(), digest, answer)
    }
    fn void(&mut self, channel: ChannelId, device: DeviceId, client_seq: ClientSeq) -> Result<Answer, Refusal> {
        let dedup = self.logs.entry(channel).or_default().dedup.entry(device).or_default();
        let number = client_seq.get();
        if number <= dedup.last {
            return dedup.ring.get(&number).map_or_else(|| Err(refusal(Code::TooOld)), |(_, answer)| answer.clone());
        }
        if number > dedup.last + 1 {
            return Err(Refusal { expected: Some(ClientSeq::new(dedup.last + 1)), ..refusal(Code::OutOfSequence) });
        }
        self.remember(channel, device, number, number, 0, Ok(Answer::Voided))
    }
    fn remember(
        &mut self,
        channel: ChannelId,
        device: DeviceId,
        number: u64,
        settled: u64,
        digest: u64,
        answer: Result<Answer, Refusal>,
    ) -> Result<Answer, Refusal> {
        let dedup = self.logs.entry(channel).or_default().dedup.entry(device).or_default();
        dedup.last = number;
        dedup.ring.retain(|known, _| *known >= settled);
        dedup.ring.insert(number, (digest, answer.clone()));
        assert!(dedup.ring.len() <= DEDUP_RING, "the window was kept");
        answer
    }
    fn append(&mut self, channel: ChannelId, sender: UserId, device: DeviceId, client_seq: ClientSeq, text: String, faults: Faults) -> Position {
        let log = self.logs.entry(channel).or_default();
        let seq = Seq::new(log.records.len() as u64 + 1);
        let prev = log.records.iter().rev().find(|record| !is_withheld(record)).map_or(Seq::ZERO, |record| record.at.seq);
        let at = Position { seq, cnt: seq.get() };
        let content = Content::Text { text, reply_to: None, mentions: Vec::new(), extra: None };
        let record = Record { at, incarnation: Incarnation::default(), sender, device, client_seq, ts: Timestamp::new(seq.get()), content };
        log.records.push(record.clone());
        if is_withheld(&record) {
            return at;
        }
        if !faults.lose_push {
            let body = if faults.stub { DeliveryBody::Stub { at } } else { DeliveryBody::Whole(record) };
            self.push(Event::Delivery(Delivery { channel, prev, body }));
        }
        let from = UserRev::new(self.rev);
        self.rev += 1;
        let to = UserRev::new(self.rev);
        let news = Ref {
            channel,
            incarnation: Incarnation::default(),
            head: at,
            head_ts: Timestamp::new(seq.get()),
            member_seq: Seq::ZERO,
            join: Position::default(),
            left: None,
            own: Position::default(),
            mentions: Vec::new(),
            title: String::new(),
            preview: String::new(),
            head_sender: sender,
        };
        let row = IndexRow { rev: to, news, read: Position::default(), preferences: Default::default() };
        self.rows.insert(channel, row.clone());
        if !faults.lose_moved {
            self.push(Event::IndexMoved { from, to, rows: if faults.stub { Vec::new() } else { vec![row] } });
        }
        at
    }
    fn push(&mut self, event: Event) {
        if self.is_up {
            self.out.push(ToClient::Event(event));
        }
    }
}

/// Some of the others' records are not this user's to see.
pub(crate) fn is_withheld(record: &Record) -> bool {
    record.sender == OTHER && record.at.seq.get() % 5 == 3
}

fn refusal(code: Code) -> Refusal {
    Refusal { code, retry_after_ms: None, expected: None, leader: None, text: String::new(), alternates: Vec::new() }
}
