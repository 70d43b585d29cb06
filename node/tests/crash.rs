//! Processes of the built binary, killed with SIGKILL: what was acked is on the disks, and nothing else is needed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

use kith::{demo::nodes::Nodes, operator::Operator};
use kith_client::{Backfill, Client, NewChannel, Outgoing, RetryPolicy};
use kith_wire::{
    client::{Answer, Request},
    id::{Seq, UserId},
    log::Content,
};
use tokio::time::timeout;

/// For anything: three processes start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_killed_at_once_have_everything_acked_when_they_are_back() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = Nodes::prepare(dir.path(), 3, 2).unwrap().with_binary(PathBuf::from(env!("CARGO_BIN_EXE_kith")));
    nodes.start_all().await.unwrap();
    let operator = Operator::open(dir.path()).unwrap();
    let (ann, bob) = (person(&operator, "ann").await, person(&operator, "bob").await);
    let room = ann.create_channel(NewChannel::group("general").members([bob.me()])).await.unwrap();

    // Ann goes on while the nodes die in mid-sentence; what is unanswered then is sent again by itself.
    let mut under_way: Vec<(String, Outgoing)> = Vec::new();
    let mut acked = BTreeMap::new();
    for number in 0..300 {
        under_way.push((format!("before {number}"), room.send(format!("before {number}")).await.unwrap()));
    }
    settle(&mut under_way, &mut acked).await;
    for number in 0..300 {
        under_way.push((format!("amidst {number}"), room.send(format!("amidst {number}")).await.unwrap()));
    }
    tokio::join!(nodes.kill(nodes.ids()[0]), nodes.kill(nodes.ids()[1]), nodes.kill(nodes.ids()[2]));
    nodes.start_all().await.unwrap();
    settle(&mut under_way, &mut acked).await;

    let newest = *acked.keys().next_back().unwrap();
    for reader in [&ann, &bob] {
        for node in nodes.ids() {
            let records = timeout(PATIENCE, reader.channel(room.id()).whole_history(Some(node), newest)).await.unwrap().unwrap();
            let seqs: Vec<u64> = records.iter().map(|record| record.at.seq.get()).collect();
            assert_eq!(seqs, (1..=records.len() as u64).collect::<Vec<_>>(), "node {node}");
            let texts: BTreeMap<Seq, String> = records
                .iter()
                .filter_map(|record| match &record.content {
                    Content::Text { text, .. } => Some((record.at.seq, text.clone())),
                    _ => None,
                })
                .collect();
            assert!(texts == acked, "node {node}: {} texts, {} were acked", texts.len(), acked.len());
        }
    }
    ann.close().await;
    bob.close().await;
    nodes.stop_all().await;
    for node in nodes.ids() {
        let data = dir.path().join(format!("node-{node}/data"));
        let check = tokio::process::Command::new(env!("CARGO_BIN_EXE_kith")).arg("check").arg(data).stdin(Stdio::null()).output().await.unwrap();
        assert!(check.status.success(), "kith check of node {node}: {}", String::from_utf8_lossy(&check.stdout));
    }
}

async fn settle(under_way: &mut Vec<(String, Outgoing)>, acked: &mut BTreeMap<Seq, String>) {
    for (text, outgoing) in under_way.drain(..) {
        let message = timeout(PATIENCE, outgoing.sent()).await.unwrap().unwrap();
        let before = acked.insert(message.seq(), text);
        assert_eq!(before, None, "two texts at {}", message.seq());
    }
}

async fn person(operator: &Operator, name: &str) -> Client {
    let admin = operator.admin().await.unwrap();
    timeout(PATIENCE, admin.connect()).await.unwrap().unwrap();
    let made = admin.request(Request::EnsureAccount { name: name.to_owned(), key: [name.as_bytes()[0]; 32] }).await.unwrap();
    let Answer::Account { user, .. } = made else { panic!("no account: {made:?}") };
    admin.close().await;
    assert_ne!(user, UserId::default());
    let retry = RetryPolicy { min: Duration::from_millis(50), max: Duration::from_millis(500) };
    let client = operator.client(user, name, 0).unwrap().retry(retry).backfill(Backfill::All).build().await.unwrap();
    timeout(PATIENCE, client.connect()).await.unwrap().unwrap();
    client
}
