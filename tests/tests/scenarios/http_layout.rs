//! Where groups stand, over HTTP: for operators alone.

use kith_tests::{Cluster, Setup, http::Caller};
use kith_wire::trust::{TrustAnswer, TrustRequest};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn operators_look_plan_and_empty_nodes_and_nobody_else_does() {
    let c = Cluster::start_with(Setup::default().with_api()).await;
    let (ann, operator) = (Caller::new(&c, "ann").await, Caller::with_token(&c.operator_token()));
    for path in ["/v1/layout", "/v1/layout/plan"] {
        assert_eq!(ann.get(&c, 1, path).await.expect(403)["name"], "NotAdmin");
    }
    let shown = operator.get(&c, 2, "/v1/layout").await.expect(200);
    let nodes = shown["nodes"].as_array().expect("nodes");
    assert_eq!(
        nodes.iter().map(|node| (&node["node"], &node["state"])).collect::<Vec<_>>(),
        [1, 2, 3].map(|id| (json!(id), json!("up"))).each_ref().map(|(id, state)| (id, state))
    );
    assert_eq!(shown["groups"].as_array().map(Vec::len), Some(3), "{shown}");
    let plan = operator.get(&c, 3, "/v1/layout/plan").await.expect(200);
    assert_eq!(plan["version"], shown["version"]);
    let old = json!({ "version": 1 });
    assert_eq!(operator.post(&c, 1, "/v1/layout/apply", old.clone()).await.expect(409)["name"], "Outdated");
    assert_eq!(ann.post(&c, 1, "/v1/layout/apply", old).await.expect(403)["name"], "NotAdmin");

    // Three nodes for three replicas: nothing could go anywhere.
    let asked = json!({ "dry_run": false });
    let blocked = operator.post(&c, 2, "/v1/layout/nodes/2/decommission", asked.clone()).await.expect(200);
    assert_eq!(blocked["blocked"].as_array().map(Vec::len), Some(3), "{blocked}");
    operator.post(&c, 2, "/v1/layout/nodes/9/decommission", asked).await.expect(404);
    operator.post(&c, 2, "/v1/layout/nodes/2/recommission", json!({})).await.expect(200);

    let drain = |on| json!({ "on": on });
    operator.ask(&c, 1, "PUT", "/v1/layout/nodes/2/drain", &[], Some(drain(true))).await.expect(200);
    c.wait_for("node 2 leads nothing", async || c.map().groups.keys().all(|group| c.leader_now(*group) != Some(2))).await;
    let left = operator.ask(&c, 3, "PUT", "/v1/layout/nodes/2/drain", &[], Some(drain(false))).await.expect(200);
    assert_eq!(left, json!({ "sessions": 0, "leads": 0 }));
    // Tokens by which nodes join: one is made where secrets are shown, then it is listed and ended here.
    let made = TrustRequest::MakeJoin { ttl_s: 60, region: None, zone: "b".into(), host: String::new(), replaces: None };
    let TrustAnswer::Made { id, token, .. } = c.ask_trust(made).await.expect("a token") else { panic!("a token was asked for") };
    assert_eq!(ann.get(&c, 1, "/v1/join-tokens").await.expect(403)["name"], "NotAdmin");
    let listed = operator.get(&c, 1, "/v1/join-tokens").await.expect(200);
    assert_eq!((&listed["tokens"][0]["id"], &listed["tokens"][0]["state"]), (&json!(id.to_string()), &json!("good")), "{listed}");
    assert!(!listed.to_string().contains(token.reveal()));
    let path = format!("/v1/join-tokens/{id}");
    assert_eq!(ann.ask(&c, 1, "DELETE", &path, &[], None).await.expect(403)["name"], "NotAdmin");
    operator.ask(&c, 2, "DELETE", &path, &[], None).await.expect(200);
    operator.ask(&c, 2, "DELETE", "/v1/join-tokens/00000000000000ff", &[], None).await.expect(404);
    let listed = operator.get(&c, 3, "/v1/join-tokens").await.expect(200);
    assert_eq!(listed["tokens"][0]["state"], "revoked", "{listed}");

    // Buckets move from one shard to another, and back.
    assert_eq!(ann.get(&c, 1, "/v1/shards").await.expect(403)["name"], "NotAdmin");
    let all = operator.get(&c, 1, "/v1/shards").await.expect(200);
    let count = |shards: &serde_json::Value, at: usize| shards["shards"][at]["buckets"].as_u64().expect("a number");
    assert_eq!((count(&all, 0), count(&all, 1)), (0x8000, 0x8000), "{all}");
    assert_eq!(ann.post(&c, 1, "/v1/shards/1/move", json!({})).await.expect(403)["name"], "NotAdmin");
    operator.post(&c, 1, "/v1/shards/9/move", json!({})).await.expect(404);
    operator.post(&c, 1, "/v1/shards/9/cancel", json!({})).await.expect(404);
    operator.post(&c, 1, "/v1/shards/1/move", json!({ "first": 1 })).await.expect(400);
    operator.post(&c, 1, "/v1/shards/1/cancel", json!({})).await.expect(404);
    let begun = operator.post(&c, 2, "/v1/shards/1/move", json!({})).await.expect(200);
    assert_eq!((&begun["from"], &begun["to"]), (&json!(1), &json!(2)), "{begun}");
    let is_moved = async |one: u64, two: u64| {
        let all = operator.get(&c, 3, "/v1/shards").await.expect(200);
        let rests = all["shards"].as_array().expect("shards").iter().all(|shard| shard["moving"].is_null());
        rests && (count(&all, 0), count(&all, 1)) == (one, two)
    };
    c.wait_for("half of shard 1 is on shard 2", async || is_moved(0x4000, 0xc000).await).await;
    let back = json!({ "to": 1, "first": begun["buckets"]["first"], "last": begun["buckets"]["last"] });
    operator.post(&c, 3, "/v1/shards/2/move", back).await.expect(200);
    c.wait_for("it is back", async || is_moved(0x8000, 0x8000).await).await;

    let log = operator.get(&c, 2, "/v1/audit").await.expect(200);
    let acts: Vec<_> = log["entries"].as_array().expect("entries").iter().map(|entry| entry["act"].clone()).collect();
    for act in ["move-buckets", "revoke-join-token", "make-join-token", "drain", "recommission", "decommission", "apply-layout"] {
        assert!(acts.contains(&json!(act)), "{act}: {acts:?}");
    }
    c.finish().await;
}
