//! Whole nodes in one process, over real sockets and disks: what each of them does by itself and with the others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::{Arc, Mutex};

use common::{Cluster, soon, wait_for};
use kith::peer::metrics::DialFailure;
use kith_wire::{
    admin::AdminRole,
    client::{Answer, HistoryPage, HistoryQuery, IndexQuery, Page, Pull, Refusal, Request, Send},
    code::Code,
    id::{ChannelId, ClientSeq, DeviceId, NodeId, Seq, Timestamp, UserId, UserRev},
    log::{Command, Item},
    peer::Caller,
};
use tracing::field::{Field, Visit};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};

async fn history(
    cluster: &Cluster,
    node: u64,
    caller: &Caller,
    channel: ChannelId,
    replica: Option<u64>,
    min_seq: u64,
) -> Result<HistoryPage, Refusal> {
    let query = HistoryQuery {
        channel,
        first: Seq::new(1),
        last: Seq::new(u64::MAX),
        newest_first: false,
        limit: 1_000,
        min_seq: Seq::new(min_seq),
        replica: replica.map(NodeId::new),
        linearizable: false,
        place: None,
    };
    match cluster.nodes[&node].service().pull(caller, Pull::History(query), soon()).await {
        Page::History(page) => Ok(page),
        Page::Refused(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

/// A linearizable read, which knows of nothing that it must have.
async fn latest(cluster: &Cluster, node: u64, caller: &Caller, channel: ChannelId) -> Result<HistoryPage, Refusal> {
    let (first, last, min_seq) = (Seq::new(1), Seq::new(u64::MAX), Seq::ZERO);
    let query = HistoryQuery { channel, first, last, newest_first: false, limit: 1_000, min_seq, replica: None, linearizable: true, place: None };
    match cluster.nodes[&node].service().pull(caller, Pull::History(query), soon()).await {
        Page::History(page) => Ok(page),
        Page::Refused(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

fn send(channel: ChannelId, number: u64, text: &str) -> Request {
    let (client_seq, settled) = (ClientSeq::new(number), ClientSeq::new(number));
    Request::Send(Send { channel, client_seq, settled, text: text.into(), reply_to: None, mentions: Vec::new() })
}

fn texts(page: &HistoryPage) -> Vec<(u64, String)> {
    let text = |record: &kith_wire::log::Record| match &record.content {
        kith_wire::log::Content::Text { text, .. } => text.clone(),
        other => format!("{other:?}"),
    };
    page.records.iter().map(|record| (record.at.seq.get(), text(record))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_at_any_node_are_acked_in_order_and_equal_on_all_replicas_also_after_a_restart() {
    let mut cluster = Cluster::start(3).await;
    let ann = cluster.account(1, "ann").await;
    let bob = cluster.account(2, "bob").await;
    let channel = ChannelId::direct(ann.user, bob.user);
    let mut wanted = Vec::new();
    for number in 1..=30_u64 {
        let node = number % 3 + 1;
        let (from, text) = if number % 2 == 0 { (&ann, format!("a{number}")) } else { (&bob, format!("b{number}")) };
        let answer = cluster.handle(node, from, send(channel, number.div_ceil(2), &text)).await.unwrap();
        let Answer::Sent { seq, duplicate, .. } = answer else { panic!("{answer:?}") };
        assert_eq!((seq.get(), duplicate), (number, false));
        wanted.push((number, text));
    }
    let again = cluster.handle(3, &ann, send(channel, 15, "a30")).await.unwrap();
    assert!(matches!(again, Answer::Sent { duplicate: true, seq, .. } if seq == Seq::new(30)), "{again:?}");
    for asked in 1..=3 {
        for replica in 1..=3 {
            let cluster = &cluster;
            let (bob, wanted) = (&bob, &wanted);
            wait_for("each replica has it all", async || {
                history(cluster, asked, bob, channel, Some(replica), 30).await.is_ok_and(|page| texts(&page) == *wanted)
            })
            .await;
        }
        assert_eq!(texts(&history(&cluster, asked, &ann, channel, None, 30).await.unwrap()), wanted);
    }
    let stranger = cluster.account(3, "eve").await;
    assert_eq!(history(&cluster, 1, &stranger, channel, None, 0).await.unwrap_err().code, Code::NotMember);

    let node = cluster.nodes.remove(&2).unwrap();
    node.shutdown().await;
    cluster.start_node(2, None).await;
    let answer = cluster.handle(2, &ann, send(channel, 16, "back")).await.unwrap();
    assert!(matches!(answer, Answer::Sent { seq, .. } if seq == Seq::new(31)), "{answer:?}");
    wanted.push((31, "back".into()));
    for asked in 1..=3 {
        let page = latest(&cluster, asked, &bob, channel).await.unwrap();
        assert_eq!(texts(&page), wanted, "all that was acked before, whichever node is asked");
    }
    assert_eq!(latest(&cluster, 2, &stranger, channel).await.unwrap_err().code, Code::NotMember);
    wait_for("the restarted replica has it all", async || {
        history(&cluster, 1, &ann, channel, Some(2), 31).await.is_ok_and(|page| texts(&page) == wanted)
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_node_makes_accounts_groups_and_shows_its_state() {
    let cluster = Cluster::start(1).await;
    let ann = cluster.account(1, "Ann").await;
    assert_eq!(cluster.account(1, "ann ").await.user, ann.user, "a name is folded, and found again");
    let found = cluster.handle(1, &ann, Request::FindUser { name: "ANN".into() }).await.unwrap();
    assert!(matches!(&found, Answer::Users(users) if users.len() == 1 && users[0].user == ann.user), "{found:?}");

    let nobody = Request::CreateGroup { op: 1, title: "t".into(), members: vec![UserId::new(99)] };
    assert_eq!(cluster.handle(1, &ann, nobody).await.unwrap_err().code, Code::NoSuchUser);
    let bob = cluster.account(1, "bob").await;
    let create = Request::CreateGroup { op: 1, title: "team".into(), members: vec![bob.user] };
    let Answer::Created { channel, seq } = cluster.handle(1, &ann, create.clone()).await.unwrap() else { panic!() };
    assert_eq!(cluster.handle(1, &ann, create).await.unwrap(), Answer::Created { channel, seq }, "a retry is the same group");
    let view = cluster.handle(1, &bob, Request::GetChannel { channel }).await.unwrap();
    assert!(matches!(&view, Answer::Channel(view) if view.title == "team" && view.members.len() == 2), "{view:?}");

    let unknown = ChannelId::direct(ann.user, UserId::new(12_345));
    assert_eq!(cluster.handle(1, &ann, send(unknown, 1, "hello?")).await.unwrap_err().code, Code::NoSuchUser);
    let gap = cluster.handle(1, &ann, send(channel, 2, "two")).await.unwrap_err();
    assert_eq!((gap.code, gap.expected), (Code::OutOfSequence, Some(ClientSeq::new(1))));

    assert_eq!(cluster.handle(1, &ann, Request::Status).await.unwrap_err().code, Code::NotAdmin);
    let operator = Caller { admin: Some(AdminRole::Admin), ..ann.clone() };
    let status = cluster.handle(1, &operator, Request::Status).await.unwrap();
    let Answer::Status(status) = status else { panic!("{status:?}") };
    assert_eq!((status.nodes.len(), status.groups.len()), (1, 4));
    assert!(status.groups.iter().all(|group| group.leader == Some(NodeId::new(1)) && group.replicas.len() == 1), "{status:?}");

    let query = IndexQuery { from: UserRev::ZERO, to: UserRev::ZERO, below: None, limit: 10, linearizable: false };
    let page = cluster.nodes[&1].service().pull(&ann, Pull::Index(query), soon()).await;
    assert!(matches!(page, Page::Index { more: false, .. }), "{page:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_given_up_only_for_a_device_of_the_users_own() {
    let cluster = Cluster::start(1).await;
    let (ann, bob) = (cluster.account(1, "ann").await, cluster.account(1, "bob").await);
    let channel = ChannelId::direct(ann.user, bob.user);
    cluster.handle(1, &ann, send(channel, 1, "hi")).await.unwrap();
    let void = |device, number| Request::Void { channel, device, client_seq: ClientSeq::new(number), digest: None };
    assert_eq!(cluster.handle(1, &ann, void(ann.device, 2)).await, Ok(Answer::Voided));

    let other = DeviceId::from_nonce(ann.user, &[2; 16]);
    assert_eq!(cluster.handle(1, &ann, void(other, 1)).await.unwrap_err().code, Code::NotAllowed, "her home has not met it");
    assert_eq!(cluster.handle(1, &ann, void(bob.device, 1)).await.unwrap_err().code, Code::NotAllowed, "it is bob's");
    let home = cluster.nodes[&1].service().router().locate(ann.user.bucket()).unwrap().group;
    let met = Command::RegisterDevice { user: ann.user, device: other, login: 0, issued: Timestamp::new(1) };
    cluster.nodes[&1].groups().get(home).unwrap().propose(Item { bucket: Some(ann.user.bucket()), command: met }).await.unwrap();
    assert_eq!(cluster.handle(1, &ann, void(other, 1)).await, Ok(Answer::Voided), "now it has");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_of_another_cluster_is_refused_and_does_no_harm() {
    let cluster = Cluster::start(1).await;
    let other = Cluster::start(1).await;
    // A node of the other cluster dials the first one, as if it were in its map.
    let mut map = (**other.nodes[&1].service().router().maps().current()).clone();
    let mut row = map.nodes[&NodeId::new(1)].clone();
    row.node = NodeId::new(2);
    row.address = cluster.nodes[&1].client_addr().to_string();
    map.nodes.insert(row.node, row);
    let ann = cluster.account(1, "ann").await;
    let bob = cluster.account(1, "bob").await;
    cluster.handle(1, &ann, send(ChannelId::direct(ann.user, bob.user), 1, "fine")).await.unwrap();
    wait_for("the dial was refused", async || {
        let peers = other.nodes[&1].peers();
        // Its own map does not know that node, and may come between.
        peers.follow(&map);
        [DialFailure::Untrusted, DialFailure::Refused].iter().any(|why| peers.metrics().dials_failed(*why) > 0)
    })
    .await;
    assert_eq!(other.nodes[&1].peers().links_up(), 0);
    cluster.end().await;
    other.end().await;
}

/// Names of the spans that were opened, with the node and the request that they or those around them are about.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(&'static str, Fields)>>>);

#[derive(Clone, Default, PartialEq, Debug)]
struct Fields {
    node: Option<String>,
    request: Option<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "node" => self.node = Some(format!("{value:?}")),
            "request" => self.request = Some(format!("{value:?}")),
            _ => {}
        }
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = span.parent().and_then(|parent| parent.extensions().get::<Fields>().cloned()).unwrap_or_default();
        attributes.record(&mut fields);
        self.0.lock().unwrap().push((attributes.metadata().name(), fields.clone()));
        span.extensions_mut().insert(fields);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_has_one_name_on_its_way_from_the_edge_to_the_leaders_log() {
    let spans = Spans::default();
    let ours = tracing_subscriber::filter::Targets::new().with_target("kith", tracing::Level::DEBUG).with_target("kith_raft", tracing::Level::DEBUG);
    tracing_subscriber::registry().with(spans.clone().with_filter(ours)).try_init().expect("a process of its own");
    let cluster = Cluster::start(3).await;
    let (ann, bob) = (cluster.account(1, "ann").await, cluster.account(1, "bob").await);
    let channel = ChannelId::direct(ann.user, bob.user);
    let group = cluster.nodes[&1].service().router().locate(channel.bucket()).unwrap().group;
    let leads = |node: &u64| cluster.nodes[node].groups().get(group).unwrap().leadership().serving;
    let edge = (1..=3).find(|node| !leads(node)).unwrap();
    let caller = Caller { trace: 424_242, ..ann };
    cluster.handle(edge, &caller, send(channel, 1, "who was this?")).await.unwrap();

    let of_request = |name: &str| {
        let seen = spans.0.lock().unwrap();
        let fields = seen.iter().filter(|(span, fields)| *span == name && fields.request.as_deref() == Some("424242"));
        fields.filter_map(|(_, fields)| fields.node.clone()).collect::<Vec<_>>()
    };
    assert_eq!((of_request("service.request"), of_request("router.forward")), (vec![edge.to_string()], vec![edge.to_string()]));
    let proposed = of_request("raft.propose");
    // More than one only if the leader changed meanwhile.
    let leader = proposed.last().expect("it was proposed somewhere");
    assert!(*leader != edge.to_string() && of_request("peer.ask").contains(leader), "{proposed:?}");
    cluster.end().await;
}
