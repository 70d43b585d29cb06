//! Somebody else's server that webhooks are posted to: what came, as it came.
//!
//! In: posts, each over a connection of its own. Out: what they said, and whether they were signed. Not here: what they should have said (the
//! scenarios).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use kith::hook::sign;
use kith_wire::id::ChannelId;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

/// One post, as it came.
#[derive(Clone, Debug)]
pub struct Post {
    /// Its `webhook-id`.
    pub id: String,
    /// Of which channel, if it is of one.
    pub channel: String,
    /// Of which record.
    pub seq: u64,
    /// What happened.
    pub kind: String,
    /// What was said.
    pub text: Option<String>,
    /// All of what it says.
    pub data: Value,
    /// Whether its signature is right.
    pub is_signed: bool,
    /// When it was sent, in seconds since 1970, as it says.
    pub sent_s: u64,
}

/// Takes posts in, and refuses each so many first.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    refused: Arc<AtomicUsize>,
    /// Ends with it.
    _serving: JoinSet<()>,
}

impl Receiver {
    /// One that refuses so many posts, then takes all.
    pub async fn start(key: &'static [u8], refuses: usize) -> Self {
        Self::serve(key, refuses, "503 Service Unavailable").await
    }
    /// One that takes none, and gives this answer.
    pub async fn answering(key: &'static [u8], status: &'static str) -> Self {
        Self::serve(key, usize::MAX, status).await
    }
    async fn serve(key: &'static [u8], refuses: usize, refusal: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (posts, refused): (Arc<Mutex<Vec<Post>>>, Arc<AtomicUsize>) = Default::default();
        let mut serving = JoinSet::new();
        let (taken, count) = (posts.clone(), refused.clone());
        serving.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some((head, body)) = read(&mut stream).await else { continue };
                let is_refused = count.load(Ordering::SeqCst) < refuses;
                if is_refused {
                    count.fetch_add(1, Ordering::SeqCst);
                } else if let Some(post) = post_of(key, &head, &body) {
                    taken.lock().unwrap_or_else(PoisonError::into_inner).push(post);
                }
                let status = if is_refused { refusal } else { "200 OK" };
                // Whoever posts may be dead by now.
                let _ = stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).await;
            }
        });
        Self { address, posts, refused, _serving: serving }
    }
    /// How many it has refused.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
    /// How many came.
    pub fn count(&self) -> usize {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
    /// Where to post.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
    /// All that came.
    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// What came of a channel, each event once, in the order in which it first came.
    pub fn of(&self, channel: ChannelId) -> Vec<Post> {
        let mut seen = BTreeMap::new();
        let mut first = Vec::new();
        for post in self.posts().into_iter().filter(|post| post.channel == channel.to_string()) {
            match seen.insert(post.id.clone(), post.seq) {
                None => first.push(post),
                Some(seq) => assert_eq!(seq, post.seq, "one id is one event"),
            }
        }
        let seqs: std::collections::BTreeSet<u64> = first.iter().map(|post| post.seq).collect();
        assert_eq!(seqs.len(), first.len(), "what came twice came under one id");
        first
    }
}

async fn read(stream: &mut tokio::net::TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize = header(head, "content-length")?.parse().ok()?;
        if body.len() >= length {
            return Some((head.to_owned(), body.to_owned()));
        }
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn post_of(key: &[u8], head: &str, body: &str) -> Option<Post> {
    let (id, timestamp) = (header(head, "webhook-id")?, header(head, "webhook-timestamp")?);
    let signed = sign::headers(key, id, timestamp.parse().ok()?, body);
    let told: Value = serde_json::from_str(body).ok()?;
    Some(Post {
        id: id.to_owned(),
        channel: told["data"]["channel"].as_str().unwrap_or_default().to_owned(),
        seq: told["data"]["seq"].as_u64().unwrap_or_default(),
        kind: told["type"].as_str()?.to_owned(),
        text: told["data"]["text"].as_str().map(str::to_owned),
        data: told["data"].clone(),
        sent_s: timestamp.parse().ok()?,
        is_signed: header(head, "webhook-signature") == Some(signed.signature.as_str()),
    })
}
