//! Another authority takes the place of the cluster's, while people talk: nothing is lost, and in the end nobody is believed whom the old one has signed.

use kith_tests::{Cluster, raw::Raw};

/// The handshake of a client that trusts just this authority with every node.
async fn all_show(c: &Cluster, ca_pem: &str) -> Vec<bool> {
    let mut shown = Vec::new();
    for node in c.running() {
        shown.push(Raw::connect(c.address(node), ca_pem, b"kith/1").await.is_ok());
    }
    shown
}

async fn trusted(c: &Cluster, count: f64) {
    c.wait_for(&format!("every node trusts {count} authorities"), async || {
        c.running().iter().all(|node| c.metric(*node, "kith_node_authorities") == count)
    })
    .await;
}

/// All links of a node are made anew.
async fn again(c: &mut Cluster, node: u64) {
    c.shut_down(node).await;
    c.restart(node).await;
    c.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_takes_the_place_of_the_clusters_under_load() {
    let mut c = Cluster::start(3).await;
    c.expect_logs("peer.hello: not taken");
    let old = c.files().ca_pem.clone();
    let id = c.authorities().authorities()[0].id.to_string();
    let stale = c.node_identity(2);
    trusted(&c, 1.0).await;

    let (new, _) = c.authorities().create_ca().expect("the next one");
    trusted(&c, 2.0).await;
    c.read_files();
    let new_pem = c.files().ca_pem.strip_prefix(&old).expect("it comes after the old one").to_owned();
    assert_eq!(all_show(&c, &old).await, [true; 3]);
    assert_eq!(all_show(&c, &new_pem).await, [false; 3], "nothing is signed by it yet");

    // An app that has the new file.
    let people = [c.client_at("ann", 1).await, c.client_at("bob", 2).await];
    let [ann, bob] = &people;
    c.room("general", ann, &[bob]).await;
    bob.direct("aside", ann.user());
    let talks = [ann.talk("general"), bob.talk("aside")];

    c.authorities().use_ca(&new.to_string()).expect("it signs");
    for node in 1..=3 {
        let signed = c.sign(node);
        assert_eq!(signed.by.as_ref(), Some(&new));
        c.wait_for(&format!("node {node} shows it"), async || Raw::connect(c.address(node), &new_pem, b"kith/1").await.is_ok()).await;
        // Its links to those that are of the old one still, and theirs to it, are made anew.
        again(&mut c, node).await;
    }
    assert_eq!((all_show(&c, &old).await, all_show(&c, &new_pem).await), (vec![false; 3], vec![true; 3]));

    assert!(c.authorities().drop_ca(&id).expect("it is dropped"));
    trusted(&c, 1.0).await;
    again(&mut c, 3).await;
    for talk in talks {
        assert!(talk.stop().await > 0);
    }
    if let Ok(link) = Raw::connect_as(Some((&stale.0, &stale.1)), c.address(1), &new_pem, b"kith-peer/1").await {
        // In TLS 1.3 the client may be done before the server has looked at its certificate; then the connection ends.
        assert_eq!(link.closed().await, None, "the handshake failed, nobody said goodbye in the protocol");
    }
    for person in &people {
        c.wait_device(person, "general").await;
    }
    c.check_history().await;
    c.finish().await;
}
