//! W11: scripts that write over HTTP, each text under a key of its own, through one node after another until it is answered; what was answered is now and then
//! asked again, over any node, and must stand where it stood.
//!
//! The scripts of a user share their token and know nothing of one another, as HTTP callers do. Invariant: the same bytes under the same key, and one text of a
//! script under way at a time; an answer that says nothing for certain is `info`. Bounds: [`KEPT_MAX`] answered texts of a script. Not here: sessions (`append`,
//! `retry`), what the API does besides.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use kith_client::wire::code::Code;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::direct::outcome_of;
use super::{Account, Audit, Bench, Loads, Phase, Room, text};
use crate::history::Outcome;
use crate::lab::PORT;
use crate::record::{self, Voice, unix_ms};
use crate::seed::Chance;

/// Users, and the scripts of each.
const USERS: usize = 3;
const SCRIPTS: usize = 6;
/// Channels.
const ROOMS: usize = 5;
/// Answered texts of a script that are asked again.
const KEPT_MAX: usize = 16;
/// For an answer; then the next node is asked.
const ANSWER_WITHIN: Duration = Duration::from_millis(2_500);
/// How long a text is tried again after the load has stopped.
const SETTLE: Duration = Duration::from_secs(15);
/// An answer is at most so long.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let phase = loads.phase.clone();
    let mut accounts = Vec::new();
    for n in 0..USERS {
        accounts.push(bench.account(&format!("http-{n}")).await?);
    }
    let reader = bench.account("http-eye").await?;
    let users: Vec<_> = accounts.iter().chain([&reader]).map(|account| account.user).collect();
    let rooms = bench.rooms(&accounts[0], &users, (0..ROOMS).map(|n| format!("http-{n}"))).await?;
    let tls = connector(&bench.ca_pem)?;
    for n in 0..USERS * SCRIPTS {
        let script = Script::new(bench, &accounts[n % USERS], n, rooms.clone(), tls.clone());
        loads.spawn(script.run(phase.clone()));
    }
    Ok(Audit { reader, rooms })
}

/// A text with its key.
#[derive(Clone, Debug)]
struct Keyed {
    room: usize,
    key: String,
    name: String,
    text: String,
}

/// A process of its own, with nothing but HTTP.
struct Script {
    bench: Arc<Bench>,
    voice: Voice,
    account: Account,
    tls: TlsConnector,
    addresses: Vec<SocketAddr>,
    at: usize,
    rooms: Vec<Room>,
    kept: VecDeque<Keyed>,
    made: u64,
    n: usize,
    chance: Chance,
}

impl Script {
    fn new(bench: &Arc<Bench>, account: &Account, n: usize, rooms: Vec<Room>, tls: TlsConnector) -> Self {
        Self {
            bench: Arc::clone(bench),
            voice: Voice::new(&bench.recorder, &format!("http-script-{n}"), &account.name, None),
            account: account.clone(),
            tls,
            addresses: bench.lab.nodes.iter().map(|node| SocketAddr::from((node.place.address, PORT))).collect(),
            at: n,
            rooms,
            kept: VecDeque::new(),
            made: 0,
            n,
            chance: Chance::new(bench.seed ^ (0x4774_0000 + n as u64)),
        }
    }

    async fn run(mut self, phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
        while *phase.borrow() != Phase::Stopped {
            let one = self.draw();
            self.until_answered(&one, &phase).await;
            if self.chance.percent(25) && !self.kept.is_empty() {
                let again = self.kept[self.chance.within(0, self.kept.len() as u64 - 1) as usize].clone();
                self.at += self.chance.within(0, 2) as usize;
                self.attempt(&again).await;
            }
            let pause = self.bench.pause(&mut self.chance, 20, 120);
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// A new text, and a key for it: a UUID of version 7, dated by this machine's clock.
    fn draw(&mut self) -> Keyed {
        let name = format!("http{}-{}", self.n, self.made);
        self.made += 1;
        let (ms, a, b) = (unix_ms(), self.chance.draw(), self.chance.draw());
        let key = format!("{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}", ms >> 16, ms & 0xffff, a & 0xfff, (a >> 12) & 0xfff, b >> 16);
        let text = text::make(&name, &mut self.chance);
        Keyed { room: self.chance.within(0, self.rooms.len() as u64 - 1) as usize, key, name, text }
    }

    async fn until_answered(&mut self, one: &Keyed, phase: &watch::Receiver<Phase>) {
        let mut until = None;
        loop {
            match self.attempt(one).await {
                Outcome::Ok => {
                    if self.kept.len() == KEPT_MAX {
                        self.kept.pop_front();
                    }
                    self.kept.push_back(one.clone());
                    return;
                }
                Outcome::Fail { is_final: true } => return,
                _ => self.at += 1,
            }
            if *phase.borrow() == Phase::Stopped && Instant::now() > *until.get_or_insert_with(|| Instant::now() + SETTLE) {
                return;
            }
            let pause = self.bench.pause(&mut self.chance, 20, 200);
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&mut self, one: &Keyed) -> Outcome {
        let room = &self.rooms[one.room];
        let token = self.voice.begin(record::send(&room.name, &one.name, Some(&one.text), None, None));
        let answer = timeout(ANSWER_WITHIN, self.post(room, one)).await;
        let (outcome, seq, error) = match answer {
            Ok(Ok(Told::Written { seq })) => (Outcome::Ok, Some(seq), None),
            Ok(Ok(Told::Refused { code })) => {
                let code = Code::from_number(code);
                // Said of the key, not of the text: an attempt before may have been taken.
                let of_key = matches!(code, Code::Invalid | Code::Conflict | Code::TooOld);
                (if of_key { Outcome::Info } else { outcome_of(code) }, None, Some(code.to_string()))
            }
            Ok(Err(error)) => (Outcome::Info, None, Some(format!("{error:#}"))),
            Err(_) => (Outcome::Info, None, Some("no answer in time".to_owned())),
        };
        self.voice.end(token, outcome, record::send(&room.name, &one.name, None, seq, None), error);
        outcome
    }

    /// One request on a connection of its own.
    async fn post(&self, room: &Room, one: &Keyed) -> anyhow::Result<Told> {
        let to = self.addresses[self.at % self.addresses.len()];
        let stream = TcpStream::connect(to).await.context("connecting")?;
        let mut stream = self.tls.connect(ServerName::from(to.ip()), stream).await.context("greeting")?;
        let body = serde_json::json!({ "text": one.text }).to_string();
        let (channel, token, key, length) = (room.id, &self.account.token, &one.key, body.len());
        let head = format!(
            "POST /v1/channels/{channel}/messages HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             idempotency-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).await.context("asking")?;
        let mut answer = Vec::new();
        // A node that dies in the middle closes without a word.
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.context("reading the answer")?;
        let text = std::str::from_utf8(&answer)?;
        let (head, body) = text.split_once("\r\n\r\n").context("half an answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).context("an answer without a status")?;
        match (status, serde_json::from_str::<Body>(body)?) {
            (201, Body { seq: Some(seq), .. }) => Ok(Told::Written { seq }),
            (400.., Body { code: Some(code), .. }) => Ok(Told::Refused { code }),
            (status, _) => bail!("an answer of another kind: {status}"),
        }
    }
}

/// What a node said.
enum Told {
    Written { seq: u64 },
    Refused { code: u16 },
}

#[derive(Deserialize)]
struct Body {
    seq: Option<u64>,
    code: Option<u16>,
}

fn connector(ca_pem: &[u8]) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        roots.add(certificate.context("reading the CA")?).context("reading the CA")?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
