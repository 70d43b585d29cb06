//! A device that gets another address while its session is open.

use kith_client::{Backfill, Client, Transport};
use kith_tests::Cluster;
use kith_wire::id::Seq;

/// Texts of each side.
const TEXTS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_address_changes_in_mid_stream_keeps_its_session_and_misses_nothing() {
    let c = Cluster::start(3).await;
    let ann = c.client_at("ann", 1).await;
    let bob = c.user("bob").await;
    let room = ann.make_room("general", vec![bob]).await;
    let builder = Client::builder(c.address(2)).tokens(c.token("bob", bob)).trust(c.trust());
    let phone = builder.transports(&[Transport::Quic]).backfill(Backfill::All).build().await.expect("a client");
    phone.connect().await.expect("online");
    let opened = |c: &Cluster| (1..=3).map(|node| c.metric(node, "kith_session_opened_total")).sum::<f64>();
    let before = opened(&c);

    let mut sent = Vec::new();
    for number in 0..TEXTS {
        if number % 8 == 4 {
            phone.network_changed().await;
        }
        sent.push(phone.channel(room).send(format!("from the phone {number}")).await.expect("stored"));
        ann.send("general", &format!("to the phone {number}")).await;
    }
    let mut last = Seq::new(0);
    for outgoing in sent {
        last = last.max(outgoing.sent().await.expect("acked").seq());
    }
    let end = Seq::new(2 * TEXTS as u64 + 1);
    c.wait_for("the phone holds all of it", async || {
        phone.channel(room).held().await.expect("the store").is_some_and(|cursor| cursor.max >= last.max(end))
    })
    .await;
    assert_eq!(opened(&c), before, "it is the same session");
    let records = phone.channel(room).records(Seq::new(1), end, 999).await.expect("the store");
    for side in ["from the phone", "to the phone"] {
        let texts: Vec<_> = records.iter().filter_map(|record| record.content.text()).filter(|text| text.starts_with(side)).collect();
        assert_eq!(texts, (0..TEXTS).map(|number| format!("{side} {number}")).collect::<Vec<_>>(), "each once, in order");
    }
    phone.close().await;
    c.finish().await;
}
