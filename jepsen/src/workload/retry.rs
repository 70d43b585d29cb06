//! W2: clients that give up on an answer after 50 to 200 ms and send the same (device, number) again through another node, the first try still under way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kith_client::wire::client::{Answer, Refusal, Request, Send};
use kith_client::wire::code::Code;
use kith_client::wire::id::{ClientSeq, Conn, DeviceId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::raw::{Link, Socket};
use super::{Account, Audit, Bench, Loads, Phase, Room, text};
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
/// How long it goes on trying after the load has stopped.
const SETTLE: Duration = Duration::from_secs(15);

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let phase = loads.phase.clone();
    let mut accounts = Vec::new();
    for n in 0..DEVICES {
        accounts.push(bench.account(&format!("retry-{n}")).await?);
    }
    let reader = bench.account("retry-eye").await?;
    let users: Vec<_> = accounts.iter().chain([&reader]).map(|account| account.user).collect();
    let rooms = bench.rooms(&accounts[0], &users, (0..ROOMS).map(|n| format!("retry-{n}"))).await?;
    for (n, account) in accounts.into_iter().enumerate() {
        let device = Device::new(bench, account, n, rooms.clone())?;
        loads.spawn(device.run(phase.clone()));
    }
    Ok(Audit { reader, rooms })
}

/// A message without its final answer.
struct Pending {
    name: String,
    text: String,
    is_oversize: bool,
    /// The attempt under way, as the history names it; none while it must be sent again.
    attempt: Option<u64>,
}

struct Device {
    voices: Vec<Voice>,
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
    made: u64,
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
        let voices = bench.lab.nodes.iter().map(|node| Voice::new(&bench.recorder, &name, &account.name, Some(node.name()))).collect();
        Ok(Self {
            voices,
            addresses: bench.lab.nodes.iter().map(|node| SocketAddr::from((node.place.address, PORT))).collect(),
            socket: Socket::bind(&bench.ca_pem)?,
            device: DeviceId::from_nonce(account.user, &nonce),
            account,
            conn: Conn::default(),
            next: vec![1; rooms.len()],
            rooms,
            pending: BTreeMap::new(),
            made: 0,
            n,
            chance,
        })
    }

    async fn run(mut self, phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
        let mut at = self.n % self.addresses.len();
        let mut until = None;
        loop {
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
            if self.send_all(link, at).await.is_err() || self.hear(link, at).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(self.chance.within(5, 60))).await;
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
            // A refused number is used again, so nothing may be under way behind one that will be refused.
            if self.pending.iter().any(|((of, _), pending)| *of == room && pending.is_oversize) {
                continue;
            }
            let is_first = !self.pending.keys().any(|(of, _)| *of == room);
            let is_oversize = is_first && self.chance.within(1, 200) == 1;
            let name = format!("r{}-{}", self.n, self.made);
            self.made += 1;
            let text = if is_oversize { text::oversize(&name, &mut self.chance) } else { text::make(&name, &mut self.chance) };
            self.pending.insert((room, self.next[room]), Pending { name, text, is_oversize, attempt: None });
            self.next[room] += 1;
        }
    }

    async fn send_all(&mut self, link: &mut Link, at: usize) -> anyhow::Result<()> {
        let keys: Vec<(usize, u64)> = self.pending.iter().filter(|(_, pending)| pending.attempt.is_none()).map(|(key, _)| *key).collect();
        for (room, number) in keys {
            let settled = self.pending.keys().find(|(of, _)| *of == room).map_or(number, |(_, first)| *first);
            let Some(pending) = self.pending.get_mut(&(room, number)) else { continue };
            let token = self.voices[at].begin(record::send(&self.rooms[room].name, &pending.name, Some(&pending.text), None, Some(number)));
            pending.attempt = Some(token);
            let request = Request::Send(Send {
                channel: self.rooms[room].id,
                client_seq: ClientSeq::new(number),
                settled: ClientSeq::new(settled),
                text: pending.text.clone(),
                reply_to: None,
                mentions: Vec::new(),
            });
            link.request(token + 1, request).await?;
        }
        Ok(())
    }

    /// Takes answers until all have come or the time is over, which is an error.
    async fn hear(&mut self, link: &mut Link, at: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_millis(self.chance.within(50, 200));
        while self.pending.values().any(|pending| pending.attempt.is_some()) {
            let (id, answer) = timeout_at(deadline, link.answer()).await??;
            let key = self.pending.iter().find(|(_, pending)| pending.attempt.is_some_and(|token| token + 1 == id)).map(|(key, _)| *key);
            if let Some(key) = key {
                self.answered(key, id - 1, answer, at);
            }
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
                self.pending.remove(&key);
            }
            Ok(other) => {
                voice.end(token, Outcome::Info, op(None), Some(format!("an answer of another kind: {other:?}")));
                pending.attempt = None;
            }
            Err(refusal) if pending.is_oversize && refusal.code == Code::TooLarge => {
                // Refused at the door: the number is still free.
                voice.end(token, Outcome::Fail { is_final: false }, op(None), Some(refusal.code.to_string()));
                self.pending.remove(&key);
                self.next[key.0] = key.1;
            }
            Err(refusal) => {
                let outcome = match refusal.code {
                    Code::Timeout | Code::Disconnected | Code::OutcomeUnknown | Code::Draining | Code::Replaced | Code::Internal => Outcome::Info,
                    _ => Outcome::Fail { is_final: matches!(refusal.code.number() / 1_000, 3 | 4) },
                };
                voice.end(token, outcome, op(None), Some(refusal.code.to_string()));
                if matches!(outcome, Outcome::Fail { is_final: true }) {
                    self.pending.remove(&key);
                } else {
                    pending.attempt = None;
                }
            }
        }
    }
}
