//! Search for messages over HTTP.

use kith_tests::{Cluster, Setup, http::Caller};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_a_page_after_the_other_over_any_node() {
    let c = Cluster::start_with(Setup::default().with_api()).await;
    let (ann, bob, eve) = (Caller::new(&c, "ann").await, Caller::new(&c, "bob").await, Caller::new(&c, "eve").await);
    for (who, text) in [(&ann, "the blue boat"), (&bob, "a red boat"), (&ann, "BOATS, all of them")] {
        let other = if who.name == "ann" { "bob" } else { "ann" };
        who.post(&c, 1, &format!("/v1/channels/@{other}/messages"), json!({ "text": text })).await.expect(201);
    }
    for node in c.running() {
        c.wait_for("it is found", async || {
            let page = ann.get(&c, node, "/v1/search/messages?q=boat*").await.expect(200);
            page["hits"].as_array().is_some_and(|hits| hits.len() == 3) && page["unsearched"] == 0
        })
        .await;
    }
    let page = ann.get(&c, 1, "/v1/search/messages?q=boat*&limit=2&channel=@bob").await.expect(200);
    assert_eq!((&page["hits"][0]["excerpt"], &page["hits"][0]["marks"]), (&json!("BOATS, all of them"), &json!([[0, 5]])));
    assert_eq!((&page["hits"][1]["excerpt"], &page["hits"][1]["sender"]), (&json!("a red boat"), &json!(bob.user.to_string())));
    let next = page["next"].as_str().expect("there is more").to_owned();
    let page = ann.get(&c, 2, &format!("/v1/search/messages?q=boat*&limit=2&channel=@bob&cursor={next}")).await.expect(200);
    assert_eq!((&page["hits"][0]["excerpt"], &page["next"]), (&json!("the blue boat"), &json!(null)));
    let page = bob.get(&c, 3, &format!("/v1/search/messages?sender={}", ann.user)).await.expect(200);
    assert_eq!(page["hits"].as_array().map(Vec::len), Some(2));

    assert_eq!(eve.get(&c, 1, "/v1/search/messages?q=boat*").await.expect(200)["hits"], json!([]));
    for wrong in [
        "",
        "?q=%21%21",
        "?q=b*",
        "?q=boat&limit=0",
        "?q=boat&limit=51",
        "?q=boat&cursor=x",
        "?q=boat&sender=ann",
        "?q=boat&channel=x",
        "?q=boat&colour=red",
    ] {
        ann.get(&c, 1, &format!("/v1/search/messages{wrong}")).await.expect(400);
    }
    Caller::with_token("").get(&c, 1, "/v1/search/messages?q=boat").await.expect(401);
    c.finish().await;
}
