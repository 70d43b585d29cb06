//! Webhooks over whole clusters: what happens in a channel is posted in its order, nothing is missing, whoever leads and whoever dies.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use kith::hook::sign;
use kith_client::Client;
use kith_tests::Cluster;
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    hook::{HookAnswer, HookEvents, HookKey, HookRequest, HookScope},
    id::{ChannelId, DeviceId, UserId},
    peer::Caller,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::Instant,
};

/// One post, as it came.
#[derive(Clone, Debug)]
struct Post {
    id: String,
    channel: String,
    seq: u64,
    kind: String,
    text: Option<String>,
    is_signed: bool,
}

/// Takes posts in, and refuses each so many first.
struct Receiver {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    /// Ends with it.
    _serving: JoinSet<()>,
}

impl Receiver {
    async fn start(key: &'static [u8], refuses: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let posts: Arc<Mutex<Vec<Post>>> = Arc::default();
        let mut serving = JoinSet::new();
        let taken = posts.clone();
        serving.spawn(async move {
            let mut left = refuses;
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some((head, body)) = read(&mut stream).await else { continue };
                let refused = left > 0;
                left = left.saturating_sub(1);
                if !refused && let Some(post) = post_of(key, &head, &body) {
                    taken.lock().unwrap_or_else(PoisonError::into_inner).push(post);
                }
                let status = if refused { "503 Service Unavailable" } else { "200 OK" };
                // Whoever posts may be dead by now.
                let _ = stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).await;
            }
        });
        Self { address, posts, _serving: serving }
    }
    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
    fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// What came of a channel, each event once, in the order in which it first came.
    fn of(&self, channel: ChannelId) -> Vec<Post> {
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
        is_signed: header(head, "webhook-signature") == Some(signed.signature.as_str()),
    })
}

const KEY: &[u8] = b"a key of at least 24 bytes";

fn key() -> HookKey {
    HookKey::new(bytes::Bytes::from_static(KEY))
}

async fn ask(c: &Cluster, request: HookRequest) -> Result<HookAnswer, Code> {
    let operator = Caller { user: UserId::new(0), device: DeviceId::new(1), admin: true, trace: 0, key: None };
    let node = c.node(c.running()[0]);
    match node.service().handle(&operator, Request::Hook(request), Instant::now() + kith_tests::cluster::PATIENCE).await {
        Ok(Answer::Hook(answer)) => Ok(answer),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.code),
    }
}

async fn hooks_of(client: &Client, channel: ChannelId) -> kith_client::Hooks {
    client.hooks(HookScope::Channel(channel))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_happens_is_posted_in_order_though_the_leader_dies_and_the_receiver_refuses() {
    let mut c = Cluster::start(3).await;
    let receiver = Receiver::start(KEY, 2).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    let rooms = ["one", "two"];
    for room in rooms {
        c.room(room, &ann, &[&bob]).await;
    }
    let own = c.channel_of("one");
    ann.send("one", "before there was a webhook").await;
    let hooks = hooks_of(ann.client(), own).await;
    let (id, _) = hooks.add(&receiver.url(), Some(key()), HookEvents::ALL).await.expect("registered");
    assert_eq!(hooks.add("ftp://x/", None, HookEvents::ALL).await.err().map(|error| error.code), Some(Code::Invalid));
    let others = hooks_of(bob.client(), own).await;
    assert_eq!(others.add(&receiver.url(), Some(key()), HookEvents::ALL).await.err().map(|error| error.code), Some(Code::NotAllowed), "a member");
    assert_eq!(hooks.list().await.expect("listed").len(), 1);

    let mut texts = Vec::new();
    for number in 0..10 {
        ann.send("one", &format!("{number} of ann")).await;
        bob.send("one", &format!("{number} of bob")).await;
        texts.extend([format!("{number} of ann"), format!("{number} of bob")]);
    }
    c.wait_for("something was posted", async || !receiver.of(own).is_empty()).await;
    let group = c.group_of(own.bucket());
    let victim = c.leader_of(group).await;
    c.kill(victim).await;
    c.wait_ready().await;
    for number in 10..20 {
        ann.send("one", &format!("{number} of ann")).await;
        texts.push(format!("{number} of ann"));
    }
    let edited = ann.send("one", "to be changed").await;
    ann.channel("one").edit(edited.seq(), "changed").await.expect("queued").done().await.expect("edited");
    ann.channel("one").delete(edited.seq()).await.expect("queued").done().await.expect("deleted");
    let told = |kind: &str| receiver.of(own).into_iter().filter(|post| post.kind == kind).count();
    c.wait_for("all of it was posted", async || told("message.deleted") == 1).await;

    let posts = receiver.of(own);
    assert!(posts.iter().all(|post| post.is_signed), "{posts:?}");
    assert!(posts.is_sorted_by(|a, b| a.seq < b.seq), "in the channel's order");
    let said: Vec<String> = posts.iter().filter(|post| post.kind == "message.created").filter_map(|post| post.text.clone()).collect();
    assert_eq!(said[..texts.len()], texts[..], "nothing is missing, nothing is from before");
    assert_eq!(told("message.edited"), 1);
    assert!(receiver.posts().iter().all(|post| post.channel == own.to_string()), "of no other channel");
    assert!((200..300).contains(&hooks.test(id).await.expect("tried")));

    hooks.remove(id).await.expect("removed");
    assert_eq!(hooks.remove(id).await.err().map(|error| error.code), Some(Code::NotFound));
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_webhook_hears_of_every_channel_and_a_bots_of_its_own() {
    let c = Cluster::start(3).await;
    let (all, bots) = (Receiver::start(KEY, 0).await, Receiver::start(KEY, 0).await);
    let (ann, bob, bot) = (c.client("ann").await, c.client("bob").await, c.client("bot").await);
    let add = |scope, receiver: &Receiver| HookRequest::Add { scope, url: receiver.url(), secret: key(), events: HookEvents::CREATED, key: 7 };
    let added = ask(&c, add(HookScope::All, &all)).await.expect("registered");
    assert_eq!(ask(&c, add(HookScope::All, &all)).await, Ok(added), "a retry is the same webhook");
    ask(&c, add(HookScope::User(bot.user()), &bots)).await.expect("registered");
    assert_eq!(ann.client().hooks(HookScope::All).list().await.err().map(|error| error.code), Some(Code::NotAdmin));

    c.room("with", &ann, &[&bob, &bot]).await;
    c.room("without", &ann, &[&bob]).await;
    // Groups copy the desk's list within seconds; what is said before is nobody's.
    let (with, without) = (c.channel_of("with"), c.channel_of("without"));
    c.wait_for("both are heard", async || {
        ann.send("with", "hello").await;
        ann.send("without", "hello").await;
        !all.of(with).is_empty() && !all.of(without).is_empty() && !bots.of(with).is_empty()
    })
    .await;
    let last = ann.send("with", "the last").await;
    c.wait_for("the last is heard by both", async || {
        [&all, &bots].iter().all(|receiver| receiver.of(with).last().is_some_and(|post| post.seq == last.seq().get()))
    })
    .await;
    assert_eq!(bots.of(without).len(), 0, "not of a channel that the bot is not in");
    for receiver in [&all, &bots] {
        let posts = receiver.of(with);
        let seqs: Vec<u64> = posts.iter().map(|post| post.seq).collect();
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
        assert!(posts.iter().all(|post| post.is_signed && post.kind == "message.created"));
    }
    c.finish().await;
}
