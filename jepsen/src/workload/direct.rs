//! A device that speaks the protocol itself: numbered sends, one at a time in each channel, through one node after another, and again on request.
//!
//! In: what to send, and again. Out: lines of the history, and what came of each attempt. Invariants: a number and its text are kept before they are first sent, and
//! only that text is ever sent under it; `settled` never passes a number that may be sent again. Bounds: [`KEPT_MAX`] answered sends per channel.
//! Not here: several sends under way at once (`retry`).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kith_client::wire::client::{Answer, Refusal, Request, Send};
use kith_client::wire::code::Code;
use kith_client::wire::id::{ClientSeq, Conn, DeviceId};
use tokio::time::timeout;

use super::raw::{Link, Socket};
use super::{Account, Bench, Room, text};
use crate::history::Outcome;
use crate::lab::PORT;
use crate::record::{self, Voice};
use crate::seed::Chance;

/// Answered sends of a channel that can be sent again: fewer than the server remembers.
const KEPT_MAX: usize = 8;
/// Numbers back that can be sent again: well within the server's ring.
const AGAIN_WITHIN: u64 = 20;
/// How long an answer is awaited before the next node is tried.
const ANSWER_WITHIN: Duration = Duration::from_millis(2_500);

/// A message with its number.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    number: u64,
    name: String,
    text: String,
}

/// What came of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Acked(u64),
    /// For good: it never appears.
    Refused(Code),
    /// Not yet, or nobody knows: to be tried again.
    Open,
}

/// What a channel's numbers are.
#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    /// The one without its final answer.
    open: Option<Numbered>,
    kept: VecDeque<Numbered>,
}

/// The device.
#[derive(Debug)]
pub(super) struct Direct {
    voice: Voice,
    socket: Socket,
    addresses: Vec<SocketAddr>,
    account: Account,
    device: DeviceId,
    conn: Conn,
    at: usize,
    link: Option<Link>,
    requests: u64,
    numbers: BTreeMap<String, Numbers>,
    name: String,
    made: u64,
}

impl Direct {
    /// A device with a name of its own, which begins at node `first`.
    pub(super) fn new(bench: &Arc<Bench>, account: &Account, name: &str, first: usize, chance: &mut Chance) -> anyhow::Result<Self> {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&chance.draw().to_be_bytes());
        Ok(Self {
            voice: Voice::new(&bench.recorder, name, &account.name, None),
            socket: Socket::bind(&bench.ca_pem)?,
            addresses: bench.lab.nodes.iter().map(|node| SocketAddr::from((node.place.address, PORT))).collect(),
            account: account.clone(),
            device: DeviceId::from_nonce(account.user, &nonce),
            conn: Conn::default(),
            at: first,
            link: None,
            requests: 0,
            numbers: BTreeMap::new(),
            name: name.to_owned(),
            made: 0,
        })
    }

    /// Sends what the channel still waits for, or something new.
    pub(super) async fn send(&mut self, room: &Room, chance: &mut Chance) -> Fate {
        if self.numbers.get(&room.name).is_none_or(|numbers| numbers.open.is_none()) {
            let name = format!("{}-{}", self.name, self.made);
            self.made += 1;
            let text = text::make(&name, chance);
            let numbers = self.numbers.entry(room.name.clone()).or_default();
            numbers.last += 1;
            numbers.open = Some(Numbered { number: numbers.last, name, text });
            // What the server may have forgotten is not asked about.
            let least = numbers.last.saturating_sub(AGAIN_WITHIN);
            numbers.kept.retain(|one| one.number > least);
        }
        let Some(one) = self.numbers.get(&room.name).and_then(|numbers| numbers.open.clone()) else { return Fate::Open };
        let fate = self.attempt(room, &one).await;
        if let (Fate::Acked(_) | Fate::Refused(_), Some(numbers)) = (fate, self.numbers.get_mut(&room.name)) {
            numbers.open = None;
            if matches!(fate, Fate::Acked(_)) {
                numbers.kept.push_back(one);
            }
            while numbers.kept.len() > KEPT_MAX {
                numbers.kept.pop_front();
            }
        }
        fate
    }

    /// Whether a send to the channel still waits for its answer.
    pub(super) fn is_open(&self, room: &Room) -> bool {
        self.numbers.get(&room.name).is_some_and(|numbers| numbers.open.is_some())
    }

    /// Sends an acked one again, byte for byte; none if there is none. It must get the same answer.
    pub(super) async fn send_again(&mut self, room: &Room, chance: &mut Chance) -> Option<Fate> {
        let kept = &self.numbers.get(&room.name)?.kept;
        let at = chance.within(0, (kept.len() as u64).checked_sub(1)?) as usize;
        let one = kept.get(at)?.clone();
        Some(self.attempt(room, &one).await)
    }

    /// Sends everything again that can be; gives how many were answered.
    pub(super) async fn send_all_again(&mut self, room: &Room) -> usize {
        let kept: Vec<Numbered> = self.numbers.get(&room.name).map(|numbers| numbers.kept.iter().cloned().collect()).unwrap_or_default();
        let mut answered = 0;
        for one in &kept {
            let mut tries = 0;
            while tries < 5 && self.attempt(room, one).await == Fate::Open {
                tries += 1;
            }
            answered += usize::from(tries < 5);
        }
        answered
    }

    async fn attempt(&mut self, room: &Room, one: &Numbered) -> Fate {
        if !self.connect().await {
            return Fate::Open;
        }
        let settled = self.numbers.get(&room.name).and_then(|numbers| numbers.kept.front()).map_or(one.number, |first| first.number.min(one.number));
        let request = Request::Send(Send {
            channel: room.id,
            client_seq: ClientSeq::new(one.number),
            settled: ClientSeq::new(settled),
            text: one.text.clone(),
            reply_to: None,
            mentions: Vec::new(),
        });
        let token = self.voice.begin(record::send(&room.name, &one.name, Some(&one.text), None, Some(one.number)));
        let answer = self.ask(request).await;
        let (outcome, seq, error) = judge(&answer);
        self.voice.end(token, outcome, record::send(&room.name, &one.name, None, seq, None), error);
        match (outcome, answer, seq) {
            (Outcome::Ok, _, Some(seq)) => Fate::Acked(seq),
            (Outcome::Fail { is_final: true }, Some(Err(refusal)), _) => Fate::Refused(refusal.code),
            (Outcome::Fail { is_final: true }, ..) => Fate::Refused(Code::Voided),
            _ => {
                if !matches!(outcome, Outcome::Fail { .. }) {
                    self.leave();
                }
                Fate::Open
            }
        }
    }

    /// Asks the node that it is connected to; none if no answer came in time.
    async fn ask(&mut self, request: Request) -> Option<Result<Answer, Refusal>> {
        self.requests += 1;
        let id = self.requests;
        let link = self.link.as_mut()?;
        let exchange = async {
            link.request(id, request).await.ok()?;
            loop {
                match link.answer().await {
                    Ok((of, answer)) if of == id => return Some(answer),
                    // An answer that came too late.
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        timeout(ANSWER_WITHIN, exchange).await.ok().flatten()
    }

    async fn connect(&mut self) -> bool {
        if self.link.is_some() {
            return true;
        }
        self.conn = Conn::new(self.conn.get() + 1);
        let to = self.addresses[self.at % self.addresses.len()];
        self.link = self.socket.connect(to, &self.account.token, self.device, self.conn).await.ok();
        if self.link.is_none() {
            self.at += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.link.is_some()
    }

    /// Leaves this node for the next one.
    pub(super) fn leave(&mut self) {
        self.at += 1;
        if let Some(link) = self.link.take() {
            link.drop_now();
        }
    }
}

/// What an answer to a send says in a history.
pub(super) fn judge(answer: &Option<Result<Answer, Refusal>>) -> (Outcome, Option<u64>, Option<String>) {
    match answer {
        None => (Outcome::Info, None, Some("no answer in time".to_owned())),
        Some(Ok(Answer::Sent { seq, .. })) => (Outcome::Ok, Some(seq.get()), None),
        Some(Ok(Answer::Voided)) => (Outcome::Fail { is_final: true }, None, Some("voided".to_owned())),
        Some(Ok(other)) => (Outcome::Info, None, Some(format!("an answer of another kind: {other:?}"))),
        // The checkers know this one by name.
        Some(Err(refusal)) if refusal.code == Code::NotMember => (Outcome::Fail { is_final: true }, None, Some("not_member".to_owned())),
        Some(Err(refusal)) => (outcome_of(refusal.code), None, Some(refusal.code.to_string())),
    }
}

/// Whether a refusal says that nothing happened, and for ever.
pub(super) fn outcome_of(code: Code) -> Outcome {
    match code {
        // It was used, perhaps for this very message.
        Code::TooOld => Outcome::Info,
        Code::Timeout | Code::Disconnected | Code::OutcomeUnknown | Code::Draining | Code::Replaced | Code::Internal => Outcome::Info,
        _ => Outcome::Fail { is_final: matches!(code.number() / 1_000, 3 | 4) },
    }
}
