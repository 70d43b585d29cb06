//! A cluster of one process, for tests of apps: what they say goes over real QUIC to a server that does as it is told.
//!
//! In: clients; what a test has happen. Out: the protocol; what was recorded. Invariant: its tasks end with it. Not here: what it answers
//! (`town`).

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use kith_wire::{
    client::{Pull, ToClient, ToEdge},
    code::Code,
    frame::{Decoder, Framing, Kind, encode},
    id::{ChannelId, Seq, Timestamp, UserId},
    limit::FRAME_BYTES_MAX,
    log::{Content, Record},
};
use quinn::{ServerConfig, crypto::rustls::QuicServerConfig};
use rustls::pki_types::PrivateKeyDer;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::task::AbortOnDropHandle;

use super::town::{After, Fault, Town, WriteStep};
use crate::{
    builder::ClientBuilder,
    client::Client,
    core::RetryPolicy,
    endpoint::Trust,
    error::Error,
    token::{self, TokenReason},
};

/// A server in this process. Dropping it ends it, and every connection to it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kith_client::Error> {
/// use kith_client::{testing::{FakeServer, Fault}, wire::id::UserId};
///
/// let server = FakeServer::start()?;
/// let (ann, ben) = (server.user("ann"), server.user("ben"));
/// let app = server.client(ann).build().await?;
/// app.connect().await?;
/// let room = app.direct("ben").await?;
/// // The answer is lost with the connection: the app's message is sent again, and stands once.
/// server.next(Fault::LoseAnswer);
/// room.send("hello").await?.sent().await?;
/// assert_eq!(server.texts(room.id()), ["hello"]);
/// // Somebody else answers.
/// server.say(room.id(), ben, "hello ann");
/// assert_eq!(server.texts(room.id()), ["hello", "hello ann"]);
/// # Ok(())
/// # }
/// ```
pub struct FakeServer {
    town: Arc<Mutex<Town>>,
    /// Raised when a session has something to say that no frame of its own led to, or is to end.
    nudge: watch::Sender<u64>,
    address: SocketAddr,
    pem: String,
    reachable: watch::Sender<bool>,
    _task: AbortOnDropHandle<()>,
}

impl FakeServer {
    /// Begins, on a free port of this machine. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// No certificate can be made, or no socket bound.
    pub fn start() -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::new(Code::Internal, format!("starting the fake server: {error}"));
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).map_err(|error| failed(&error))?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(|error| failed(&error))?;
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| failed(&error))?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .map_err(|error| failed(&error))?;
        tls.alpn_protocols = vec![b"kith/1".to_vec()];
        let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).map_err(|error| failed(&error))?));
        let endpoint = quinn::Endpoint::server(config, SocketAddr::from(([127, 0, 0, 1], 0))).map_err(|error| failed(&error))?;
        let address = endpoint.local_addr().map_err(|error| failed(&error))?;
        let town = Arc::new(Mutex::new(Town::default()));
        let nudge = watch::Sender::new(0);
        let (reachable, is_reachable) = watch::channel(true);
        let serving = serve(endpoint, Arc::clone(&town), nudge.clone(), is_reachable);
        #[expect(clippy::disallowed_methods, reason = "the one task of the server; the server owns its handle and ends it")]
        let task = AbortOnDropHandle::new(tokio::spawn(serving));
        Ok(Self { town, nudge, address, pem: made.cert.pem(), reachable, _task: task })
    }
    /// `host:port` of it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
    /// The authority that its certificate is believed by.
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }
    /// A user by this name, made when it is first asked for; the same name gives the same user.
    pub fn user(&self, name: &str) -> UserId {
        let mut town = self.town();
        if let Some((user, _)) = town.names.iter().find(|(_, known)| *known == name) {
            return *user;
        }
        let user = UserId::new(town.names.len() as u64 + 1);
        town.names.insert(user, name.to_owned());
        user
    }
    /// A client of a user, ready to be built: it believes this server, has its tokens, and tries again soon.
    pub fn client(&self, user: UserId) -> ClientBuilder {
        let town = Arc::clone(&self.town);
        let tokens = move |_: TokenReason| -> Result<String, Error> { Ok(token_of(user, lock(&town).epoch)) };
        let trust = Trust::ca_pem(self.pem.as_bytes()).expect("it was made here");
        let retry = RetryPolicy { min: Duration::from_millis(10), max: Duration::from_millis(50) };
        Client::builder(&self.address()).tokens(tokens).trust(trust).user(user).retry(retry)
    }
    /// A token of a user, as good as a new one is now.
    pub fn token(&self, user: UserId) -> String {
        token_of(user, self.town().epoch)
    }

    // ---- what a test has happen

    /// The next write or question of any client meets this.
    pub fn next(&self, fault: Fault) {
        self.town().faults.push_back(fault);
    }
    /// The next session that is to be opened is refused so.
    pub fn refuse_next_session(&self, code: Code) {
        self.town().hello_refusals.push_back(code);
    }
    /// Every token given so far has expired; sessions end, and new ones need new tokens.
    pub fn expire_tokens(&self) {
        self.town().epoch += 1;
        self.disconnect();
    }
    /// Every connection ends; new ones are taken.
    pub fn disconnect(&self) {
        self.town().sessions.values_mut().for_each(|seat| seat.ends = true);
        self.stir();
    }
    /// As a tunnel does it: while it is not reachable, connections end and none is taken.
    pub fn set_reachable(&self, is_reachable: bool) {
        self.reachable.send_replace(is_reachable);
        if !is_reachable {
            self.disconnect();
        }
    }
    /// Somebody writes, whom no client of the test is.
    ///
    /// # Panics
    /// They are no member.
    pub fn say(&self, channel: ChannelId, user: UserId, text: &str) -> Seq {
        self.record(channel, user, Content::Text { text: text.to_owned(), reply_to: None, mentions: Vec::new(), extra: None })
    }
    /// As [`FakeServer::say`], with any record.
    ///
    /// # Panics
    /// They are no member.
    pub fn record(&self, channel: ChannelId, user: UserId, content: Content) -> Seq {
        let at = self.town().append_by(channel, user, content).expect("a member writes");
        self.stir();
        at.seq
    }
    /// The time, by the server's clock. It stands still, but for a millisecond with each record.
    pub fn now(&self) -> Timestamp {
        Timestamp::new(self.town().now)
    }
    /// Time passes.
    pub fn advance(&self, by: Duration) {
        self.town().now += u64::try_from(by.as_millis()).unwrap_or(u64::MAX / 2);
    }
    /// Is called with each step of each write, while nothing else goes on.
    pub fn on_write(&self, watch: impl FnMut(WriteStep) + Send + 'static) {
        self.town().on_write = Some(Box::new(watch));
    }

    // ---- what was recorded

    /// The log of a channel, as readers get it now.
    pub fn log(&self, channel: ChannelId) -> Vec<Record> {
        self.town().records(channel)
    }
    /// Its texts, in order.
    pub fn texts(&self, channel: ChannelId) -> Vec<String> {
        self.log(channel).iter().filter_map(|record| record.content.text().map(str::to_owned)).collect()
    }

    fn stir(&self) {
        stir(&self.nudge);
    }
    fn town(&self) -> MutexGuard<'_, Town> {
        lock(&self.town)
    }
}

fn lock(town: &Mutex<Town>) -> MutexGuard<'_, Town> {
    town.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stir(nudge: &watch::Sender<u64>) {
    nudge.send_modify(|count| *count += 1);
}

/// Nobody signs it: the fake server believes what it says.
fn token_of(user: UserId, epoch: u64) -> String {
    let claims = format!("{{\"sub\":\"u{:016x}\",\"epoch\":{epoch}}}", user.get());
    format!("e30.{}.c2ln", token::to_base64url(claims.as_bytes()))
}

fn user_of(token: &str) -> Option<(UserId, u64)> {
    let user = token::subject(token)?;
    let claims = token::claims(token)?;
    let epoch = claims.split_once("\"epoch\":")?.1.trim_end_matches('}').parse().ok()?;
    Some((user, epoch))
}

async fn serve(endpoint: quinn::Endpoint, town: Arc<Mutex<Town>>, nudge: watch::Sender<u64>, reachable: watch::Receiver<bool>) {
    // They end with this future.
    let mut sessions = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        while sessions.try_join_next().is_some() {}
        if !*reachable.borrow() {
            incoming.ignore();
            continue;
        }
        let (town, nudge) = (Arc::clone(&town), nudge.clone());
        sessions.spawn(async move {
            if let Ok(connection) = incoming.await {
                session(connection, &town, &nudge).await;
            }
        });
    }
}

/// One connection: the chat stream first, then bulk streams.
async fn session(connection: quinn::Connection, town: &Mutex<Town>, nudge: &watch::Sender<u64>) {
    let Ok((mut send, mut recv)) = connection.accept_bi().await else { return };
    let mut nudged = nudge.subscribe();
    let id = lock(town).open();
    let mut decoder = Decoder::new(Framing::Plain, FRAME_BYTES_MAX);
    loop {
        // Cancel safe: quinn's reads and accepts, a watch.
        tokio::select! {
            chunk = recv.read_chunk(64 * 1024, true) => {
                let Ok(Some(chunk)) = chunk else { break };
                decoder.push(&chunk.bytes);
            }
            pull = connection.accept_bi() => {
                let Ok((send, recv)) = pull else { break };
                bulk(send, recv, town, id).await;
            }
            Ok(()) = nudged.changed() => {}
        }
        let out = turn(town, id, &mut decoder);
        if std::mem::take(&mut lock(town).has_told) {
            // Whoever it was has no reason of their own to look.
            stir(nudge);
        }
        let Some(out) = out else { break };
        let mut bytes = BytesMut::new();
        for frame in &out {
            encode(Framing::Plain, Kind::ToClient, &frame.encode(), &mut bytes);
        }
        if send.write_all(&bytes).await.is_err() {
            break;
        }
        let has_answer = out.iter().any(|frame| matches!(frame, ToClient::Answer { answer: Ok(kith_wire::client::Answer::Sent { .. }), .. }));
        lock(town).reached(WriteStep::Answered, has_answer);
        if out.iter().any(|frame| matches!(frame, ToClient::Bye(_))) {
            // So that it is read before the connection is gone.
            let _ = send.finish();
            let _ = send.stopped().await;
            break;
        }
    }
    lock(town).sessions.remove(&id);
    connection.close(quinn::VarInt::from_u32(0), b"");
}

/// Takes in what arrived. What is to be sent now; `None`: the connection ends.
fn turn(town: &Mutex<Town>, id: u64, decoder: &mut Decoder) -> Option<Vec<ToClient>> {
    let mut town = lock(town);
    while let Ok(Some(frame)) = decoder.poll() {
        let frame = ToEdge::decode(&frame.body).ok()?;
        if town.handle(id, frame, user_of) == After::Ends {
            return None;
        }
    }
    let seat = town.sessions.get_mut(&id).filter(|seat| !seat.ends)?;
    Some(seat.out.drain(..).collect())
}

async fn bulk(mut send: quinn::SendStream, mut recv: quinn::RecvStream, town: &Mutex<Town>, id: u64) {
    let Ok(request) = recv.read_to_end(4_096).await else { return };
    let mut decoder = Decoder::new(Framing::Plain, 4_096);
    decoder.push(&request);
    let Ok(Some(frame)) = decoder.poll() else { return };
    let Ok(pull) = Pull::decode(&frame.body) else { return };
    let page = lock(town).page(id, &pull);
    let mut bytes = BytesMut::new();
    encode(Framing::Plain, Kind::Page, &page.encode(), &mut bytes);
    // The client may have gone meanwhile.
    if send.write_all(&bytes).await.is_ok() {
        let _ = send.finish();
    }
}
