//! W2: clients that give up on an answer after 50 to 200 ms and send the same (device, number) again through another node, the first try still under way.
//!
//! Among what they send: texts that are refused at the door, texts that are refused by the group (which uses up their number: they are
//! sent once more, byte for byte, when what they answer has come to be), and numbers that are given up. Now and then
//! a client restarts with nothing but what it kept, which is kept before it is first sent; or with an older copy of it; or twice, so that two clients are one device.
//! Invariant: what a client does not know for certain is `info`, above all `TooOld`, which says that the number was used and not for what.
//! Bounds: [`UNDER_WAY_MAX`] sends of a device under way, one copy of it at a time. Not here: the SDK with its store (`restarted`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kith_client::wire::client::{Answer, Refusal, Request, Send};
use kith_client::wire::code::Code;
use kith_client::wire::id::{ClientSeq, Conn, DeviceId, Seq};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::direct::outcome_of;
use super::raw::{Link, Socket};
use super::{Account, Audit, Bench, Loads, Phase, Room, restarted, text};
use crate::history::Outcome;
use crate::lab::PORT;
use crate::record::{self, Voice};
use crate::seed::Chance;

/// Devices, each of a user of its own.
const DEVICES: usize = 4;
/// Channels.
const ROOMS: usize = 6;
/// Messages under way per device, over all channels.
const UNDER_WAY_MAX: usize = 5;
/// How far above what it knows of a channel a message answers, which is refused at first.
const AHEAD_MAX: u64 = 4;
/// Turns after which a refused message is sent again: others write to the channel meanwhile.
const REST_TURNS: (u64, u64) = (3, 20);
/// Numbers after one that is not settled: fewer than the server remembers.
const UNSETTLED_MAX: u64 = 16;
/// How long the copy of a device lives.
const COPY_LIFE: Duration = Duration::from_secs(4);
/// How long it goes on trying after the load has stopped.
const SETTLE: Duration = Duration::from_secs(15);

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let phase = loads.phase.clone();
    let mut accounts = Vec::new();
    for n in 0..DEVICES {
        accounts.push(bench.account(&format!("retry-{n}")).await?);
    }
    let reader = bench.account("retry-eye").await?;
    let app = bench.account("retry-app").await?;
    let users: Vec<_> = accounts.iter().chain([&reader, &app]).map(|account| account.user).collect();
    let rooms = bench.rooms(&accounts[0], &users, (0..ROOMS).map(|n| format!("retry-{n}"))).await?;
    loads.spawn(restarted::run(Arc::clone(bench), app, rooms.clone(), phase.clone()));
    for (n, account) in accounts.into_iter().enumerate() {
        let device = Device::new(bench, account, n, rooms.clone())?;
        loads.spawn(device.run(phase.clone()));
    }
    Ok(Audit { reader, rooms })
}

/// What is odd about a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Kind {
    Plain,
    /// A character too long: refused at the door, which uses up nothing.
    Oversize,
    /// Answers a record that is not there, or not yet: refused by the group, which uses up its number.
    Refused,
    /// Its number is being given up: it never appears, unless it stood already.
    GivenUp,
}

/// A message without its final answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    name: String,
    text: String,
    kind: Kind,
    /// The record that it answers.
    reply_to: Option<u64>,
    /// Refused for good; it is sent again after so many turns, and must be refused again.
    #[serde(default)]
    rest: Option<u64>,
    /// The attempt under way, as the history names it; none while it must be sent again.
    #[serde(skip)]
    attempt: Option<u64>,
}

/// What a client keeps over its own end. Written before what it holds is first sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    nonce: [u8; 16],
    conn: u64,
    next: Vec<u64>,
    pending: Vec<(usize, u64, Pending)>,
}

struct Device {
    bench: Arc<Bench>,
    voices: Vec<Voice>,
    nonce: [u8; 16],
    /// What is on its disk: the newest, and one from a while ago.
    kept: String,
    older: String,
    /// A copy of a device dies after a while.
    until: Option<Instant>,
    copies: u32,
    /// Devices that it has been so far, besides the first.
    lives: u32,
    addresses: Vec<SocketAddr>,
    socket: Socket,
    account: Account,
    device: DeviceId,
    conn: Conn,
    rooms: Vec<Room>,
    /// By room and number.
    pending: BTreeMap<(usize, u64), Pending>,
    /// The number of each room's next message.
    next: Vec<u64>,
    /// The highest position of each room that was acked here.
    heads: Vec<u64>,
    made: u64,
    /// Whose messages these are: devices, copies and later lives have names of their own.
    name: String,
    n: usize,
    chance: Chance,
}

impl Device {
    fn new(bench: &Arc<Bench>, account: Account, n: usize, rooms: Vec<Room>) -> anyhow::Result<Self> {
        let mut chance = Chance::new(bench.seed ^ (0x4e74_0000 + n as u64));
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&chance.draw().to_be_bytes());
        let name = format!("retry-{n}");
        // A connection through another node is another process of the same device.
        let voices = voices(bench, &name, &account);
        let mut device = Self {
            bench: Arc::clone(bench),
            voices,
            nonce,
            kept: String::new(),
            older: String::new(),
            until: None,
            copies: 0,
            lives: 0,
            addresses: bench.lab.nodes.iter().map(|node| SocketAddr::from((node.place.address, PORT))).collect(),
            socket: Socket::bind(&bench.ca_pem)?,
            device: DeviceId::from_nonce(account.user, &nonce),
            account,
            conn: Conn::default(),
            next: vec![1; rooms.len()],
            heads: vec![0; rooms.len()],
            rooms,
            pending: BTreeMap::new(),
            made: 0,
            name,
            n,
            chance,
        };
        device.keep();
        device.older.clone_from(&device.kept);
        Ok(device)
    }

    /// Writes down what must not be lost.
    fn keep(&mut self) {
        let pending = self.pending.iter().map(|((room, number), pending)| (*room, *number, pending.clone())).collect();
        let kept = Kept { nonce: self.nonce, conn: self.conn.get(), next: self.next.clone(), pending };
        // What cannot be written is a fault of the harness, which the next start would show as a client that forgets.
        self.kept = serde_json::to_string(&kept).unwrap_or_default();
        if self.chance.percent(1) {
            self.older.clone_from(&self.kept);
        }
    }

    /// The process ends and another begins: all it has is what was kept.
    fn restart(&mut self, from: &str) -> anyhow::Result<()> {
        let kept: Kept = serde_json::from_str(from)?;
        self.nonce = kept.nonce;
        self.device = DeviceId::from_nonce(self.account.user, &kept.nonce);
        // An old copy has an old count of connections, and would be turned away as the older one.
        self.conn = Conn::new(kept.conn.max(self.conn.get()));
        self.next = kept.next;
        self.pending = kept.pending.into_iter().map(|(room, number, pending)| ((room, number), pending)).collect();
        self.socket = Socket::bind(&self.bench.ca_pem)?;
        Ok(())
    }

    /// Another client with the same store: they are one device to the server until one of them is told otherwise.
    fn copy(&mut self) -> anyhow::Result<Self> {
        self.copies += 1;
        let mut copy = Self::new(&self.bench, self.account.clone(), self.n, self.rooms.clone())?;
        copy.name = format!("{}-copy-{}", self.name, self.copies);
        copy.voices = voices(&self.bench, &copy.name, &self.account);
        copy.chance = Chance::new(self.chance.draw());
        copy.until = Some(Instant::now() + COPY_LIFE);
        copy.restart(&self.kept)?;
        copy.keep();
        copy.older.clone_from(&copy.kept);
        Ok(copy)
    }

    /// The store is a copy, or an old one: the server knows these numbers for something else. A new device takes over; what was under way keeps its fate.
    fn renew(&mut self) {
        self.nonce[..8].copy_from_slice(&self.chance.draw().to_be_bytes());
        self.device = DeviceId::from_nonce(self.account.user, &self.nonce);
        self.pending.clear();
        self.next = vec![1; self.rooms.len()];
        self.lives += 1;
        self.voices = voices(&self.bench, &format!("{}-life-{}", self.name, self.lives), &self.account);
        self.keep();
        self.older.clone_from(&self.kept);
    }

    /// As `run`, for a device that another one makes.
    fn live(self, phase: watch::Receiver<Phase>) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(self.run(phase))
    }

    async fn run(mut self, phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
        let mut copies: JoinSet<anyhow::Result<()>> = JoinSet::new();
        let mut at = self.n % self.addresses.len();
        let mut until = None;
        loop {
            if self.until.is_some_and(|until| Instant::now() > until) {
                break;
            }
            while let Some(ended) = copies.try_join_next() {
                ended??;
            }
            match self.chance.within(1, 100) {
                1..=10 => {
                    let kept = self.kept.clone();
                    self.restart(&kept)?;
                }
                11 | 12 if *phase.borrow() == Phase::Faults => {
                    let older = self.older.clone();
                    self.restart(&older)?;
                }
                13..=18 if *phase.borrow() == Phase::Faults && self.until.is_none() && copies.is_empty() => {
                    copies.spawn(self.copy()?.live(phase.clone()));
                }
                _ => {}
            }
            if *phase.borrow() == Phase::Stopped {
                let until = *until.get_or_insert_with(|| Instant::now() + SETTLE);
                if self.pending.is_empty() || Instant::now() > until {
                    break;
                }
            }
            self.conn = Conn::new(self.conn.get() + 1);
            if let Ok(mut link) = self.socket.connect(self.addresses[at], &self.account.token, self.device, self.conn).await {
                self.talk(&mut link, at, &phase).await;
                // Whatever is under way there goes on there.
                link.drop_now();
            } else {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            at = (at + 1 + self.chance.within(0, self.addresses.len() as u64 - 2) as usize) % self.addresses.len();
        }
        while let Some(ended) = copies.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Talks to one node until an answer takes too long, or for a while.
    async fn talk(&mut self, link: &mut Link, at: usize, phase: &watch::Receiver<Phase>) {
        let turns = self.chance.within(5, 40);
        for _ in 0..turns {
            if *phase.borrow() != Phase::Stopped {
                self.make();
            } else if self.pending.is_empty() {
                return;
            }
            let is_over = *phase.borrow() == Phase::Stopped;
            if self.send_all(link, at, is_over).await.is_err() || self.hear(link, at).await.is_err() {
                break;
            }
            let pause = self.bench.pause(&mut self.chance, 5, 60);
            tokio::time::sleep(pause).await;
        }
        for ((room, _), pending) in &mut self.pending {
            if let Some(token) = pending.attempt.take() {
                let op = record::send(&self.rooms[*room].name, &pending.name, None, None, None);
                self.voices[at].end(token, Outcome::Info, op, Some("no answer in time".to_owned()));
            }
        }
    }

    fn make(&mut self) {
        while self.pending.len() < UNDER_WAY_MAX {
            let room = self.chance.within(0, self.rooms.len() as u64 - 1) as usize;
            // A number that was refused at the door is used again, so nothing may be under way behind it.
            if self.pending.iter().any(|((of, _), pending)| *of == room && pending.kind == Kind::Oversize) {
                continue;
            }
            let first = self.pending.keys().find(|(of, _)| *of == room).map_or(self.next[room], |(_, number)| *number);
            if self.next[room].saturating_sub(first) >= UNSETTLED_MAX {
                // All others have room: at most as many are held back as are under way.
                continue;
            }
            let is_first = !self.pending.keys().any(|(of, _)| *of == room);
            let kind = match self.chance.within(1, 200) {
                1 if is_first => Kind::Oversize,
                2..=7 => Kind::Refused,
                _ => Kind::Plain,
            };
            let name = format!("{}-{}", self.name, self.made);
            self.made += 1;
            let text = if kind == Kind::Oversize { text::oversize(&name, &mut self.chance) } else { text::make(&name, &mut self.chance) };
            let ahead = if self.chance.percent(25) { u64::MAX } else { self.heads[room] + self.chance.within(1, AHEAD_MAX) };
            let reply_to = (kind == Kind::Refused).then_some(ahead);
            self.pending.insert((room, self.next[room]), Pending { name, text, kind, reply_to, rest: None, attempt: None });
            self.next[room] += 1;
        }
    }

    async fn send_all(&mut self, link: &mut Link, at: usize, is_over: bool) -> anyhow::Result<()> {
        for rest in self.pending.values_mut().filter_map(|pending| pending.rest.as_mut()) {
            *rest = if is_over { 0 } else { rest.saturating_sub(1) };
        }
        for pending in self.pending.values_mut().filter(|pending| pending.kind == Kind::Plain && pending.attempt.is_none()) {
            if self.chance.within(1, 150) == 1 {
                pending.kind = Kind::GivenUp;
            }
        }
        // `settled` too must not go back when the client does.
        self.keep();
        let keys: Vec<(usize, u64)> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.attempt.is_none() && pending.rest.is_none_or(|rest| rest == 0))
            .map(|(key, _)| *key)
            .collect();
        for (room, number) in keys {
            let settled = self.pending.keys().find(|(of, _)| *of == room).map_or(number, |(_, first)| *first);
            let Some(pending) = self.pending.get_mut(&(room, number)) else { continue };
            let token = self.voices[at].begin(record::send(&self.rooms[room].name, &pending.name, Some(&pending.text), None, Some(number)));
            pending.attempt = Some(token);
            let (channel, client_seq) = (self.rooms[room].id, ClientSeq::new(number));
            let send = Send {
                channel,
                client_seq,
                settled: ClientSeq::new(settled),
                text: pending.text.clone(),
                reply_to: pending.reply_to.map(Seq::new),
                mentions: Vec::new(),
            };
            let request = match pending.kind {
                // By its digest: under that number may stand what a copy of this device sent.
                Kind::GivenUp => Request::Void { channel, device: self.device, client_seq, digest: Some(send.digest()) },
                _ => Request::Send(send),
            };
            link.request(token + 1, request).await?;
        }
        Ok(())
    }

    /// Takes answers until all have come or the time is over, which is an error.
    async fn hear(&mut self, link: &mut Link, at: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_millis(self.chance.within(50, 200));
        while self.pending.values().any(|pending| pending.attempt.is_some()) {
            let life = self.lives;
            let (id, answer) = timeout_at(deadline, link.answer()).await??;
            let key = self.pending.iter().find(|(_, pending)| pending.attempt.is_some_and(|token| token + 1 == id)).map(|(key, _)| *key);
            if let Some(key) = key {
                self.answered(key, id - 1, answer, at);
            }
            anyhow::ensure!(self.lives == life, "this session is of the device that it was");
        }
        Ok(())
    }

    fn answered(&mut self, key: (usize, u64), token: u64, answer: Result<Answer, Refusal>, at: usize) {
        let Some(pending) = self.pending.get_mut(&key) else { return };
        let op = |seq| record::send(&self.rooms[key.0].name, &pending.name, None, seq, None);
        let voice = &self.voices[at];
        match answer {
            Ok(Answer::Sent { seq, .. }) => {
                voice.end(token, Outcome::Ok, op(Some(seq.get())), None);
                self.heads[key.0] = self.heads[key.0].max(seq.get());
                self.pending.remove(&key);
            }
            Ok(Answer::Voided) => {
                voice.end(token, Outcome::Fail { is_final: true }, op(None), Some("voided".to_owned()));
                let is_asked = pending.kind == Kind::GivenUp;
                self.pending.remove(&key);
                if !is_asked {
                    self.renew();
                }
            }
            Ok(other) => {
                voice.end(token, Outcome::Info, op(None), Some(format!("an answer of another kind: {other:?}")));
                pending.attempt = None;
            }
            Err(refusal) if pending.kind == Kind::Oversize && refusal.code == Code::TooLarge => {
                // Refused at the door: the number is still free.
                voice.end(token, Outcome::Fail { is_final: false }, op(None), Some(refusal.code.to_string()));
                self.pending.remove(&key);
                self.next[key.0] = key.1;
            }
            Err(refusal) => {
                let outcome = outcome_of(refusal.code);
                voice.end(token, outcome, op(None), Some(refusal.code.to_string()));
                if matches!(refusal.code, Code::Conflict | Code::TooOld) {
                    self.renew();
                } else if matches!(outcome, Outcome::Fail { is_final: true }) {
                    if pending.kind == Kind::Refused && pending.rest.is_none() {
                        (pending.rest, pending.attempt) = (Some(self.chance.within(REST_TURNS.0, REST_TURNS.1)), None);
                    } else {
                        self.pending.remove(&key);
                    }
                } else {
                    pending.attempt = None;
                }
            }
        }
    }
}

/// A connection through another node is another process of the same device.
fn voices(bench: &Bench, name: &str, account: &Account) -> Vec<Voice> {
    bench.lab.nodes.iter().map(|node| Voice::new(&bench.recorder, name, &account.name, Some(node.name()))).collect()
}
