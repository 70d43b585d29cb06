//! Admin tokens on a cluster: the first one is turned into another once, each role may what it may, over HTTP and over a session; what was done is in the
//! audit log under the token's id; one that was ended is refused everywhere.

use kith::operator::admin_by_token;
use kith_client::{Endpoint, Trust};
use kith_tests::{Cluster, Setup, http::Caller};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::NodeId,
    layout::LayoutRequest,
    secret::Secret,
    trust::{TrustAnswer, TrustRequest},
};
use serde_json::{Value, json};

fn setup() -> Setup {
    let mut setup = Setup { nodes: 3, groups: 3, ..Setup::default() }.with_api();
    setup.layout.balance = false;
    setup
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is a text: {value}"))
}

/// The cluster's first token, as the node that starts first shows it.
async fn first(c: &Cluster) -> Secret {
    let found = futures_util::future::join_all((1..=3).map(|node| c.node(node).service().first_admin())).await;
    let mut made: Vec<Secret> = found.into_iter().flatten().map(|(token, _)| token).collect();
    assert_eq!(made.len(), 1, "one node shows it");
    made.remove(0)
}

async fn made(c: &Cluster, admin: &Caller, role: &str) -> (String, Caller) {
    let asked = json!({ "name": format!("a {role}"), "role": role, "expires_s": 3_600 });
    let made = admin.post(c, 2, "/v1/admin-tokens", asked).await.expect(201);
    (text(&made, "id").to_owned(), Caller::with_token(text(&made, "token")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_token_makes_one_and_each_role_may_what_it_may() {
    let c = Cluster::start_with(setup()).await;
    let first = first(&c).await;
    let as_it_is = Caller::with_token(first.reveal());
    assert_eq!(as_it_is.get(&c, 1, "/v1/status").await.expect(403)["name"], "NotAllowed", "it opens nothing by itself");
    let nobody = Caller::with_token("none");
    let claim = json!({ "token": first.reveal(), "name": "ann" });
    let claimed = nobody.post(&c, 3, "/v1/admin-tokens/claim", claim.clone()).await.expect(201);
    assert_eq!(nobody.post(&c, 1, "/v1/admin-tokens/claim", claim).await.expect(409)["name"], "TokenSpent");
    let admin = Caller::with_token(text(&claimed, "token"));
    let me = admin.get(&c, 1, "/v1/me").await.expect(200);
    assert_eq!((&me["role"], &me["operator"]), (&json!("admin"), &json!(true)), "{me}");

    let ((viewer_id, viewer), (_, operator)) = (made(&c, &admin, "viewer").await, made(&c, &admin, "operator").await);
    for node in 1..=3 {
        for path in ["/v1/status", "/v1/layout", "/v1/layout/plan", "/v1/audit", "/v1/vitals", "/v1/admin-tokens", "/v1/join-tokens"] {
            viewer.get(&c, node, path).await.expect(200);
        }
    }
    let new = json!({ "name": "another", "role": "admin", "expires_s": 60 });
    let drain = json!({ "on": true });
    assert_eq!(viewer.ask(&c, 2, "PUT", "/v1/layout/nodes/2/drain", &[], Some(drain.clone())).await.expect(403)["name"], "NotAdmin");
    assert_eq!(viewer.get(&c, 2, "/v1/reports").await.expect(403)["name"], "NotAdmin", "what people wrote");
    operator.ask(&c, 2, "PUT", "/v1/layout/nodes/2/drain", &[], Some(drain)).await.expect(200);
    operator.ask(&c, 2, "PUT", "/v1/layout/nodes/2/drain", &[], Some(json!({ "on": false }))).await.expect(200);
    let refused = operator.post(&c, 2, "/v1/admin-tokens", new).await.expect(403);
    assert!(text(&refused, "detail").contains("role admin"), "{refused}");
    assert_eq!(operator.post(&c, 2, "/v1/join-tokens", json!({ "expires_s": 60 })).await.expect(403)["name"], "NotAdmin");
    let join = admin.post(&c, 2, "/v1/join-tokens", json!({ "expires_s": 60, "zone": "d" })).await.expect(201);
    assert!(text(&join, "token").starts_with("kith-join-"));
    assert_eq!(viewer.get(&c, 2, "/v1/contacts").await.expect(403)["name"], "NotAllowed", "it is nobody's");

    // Vitals are of all nodes.
    let vitals = viewer.get(&c, 1, "/v1/vitals").await.expect(200);
    assert_eq!((&vitals["asked"], &vitals["ready"]), (&json!(1), &json!(true)), "{vitals}");
    let nodes = vitals["nodes"].as_array().expect("nodes");
    assert!(nodes.len() == 3 && nodes.iter().all(|node| node["samples"].as_array().is_some_and(|samples| samples.len() > 20)), "{vitals}");

    // Who did what, by which token.
    let log = viewer.get(&c, 3, "/v1/audit").await.expect(200);
    let entries = log["entries"].as_array().expect("entries");
    let find = |act: &str| entries.iter().find(|entry| entry["act"] == act).unwrap_or_else(|| panic!("{act}: {log}"));
    assert_eq!(find("claim-admin-token")["of"], claimed["id"]);
    assert_eq!(find("first-admin-token")["state"], "done");
    let made_by = find("make-admin-token");
    assert_eq!((&made_by["token"], &made_by["state"]), (&claimed["id"], &json!("done")), "{made_by}");
    assert!(find("drain")["token"].is_string() && !log.to_string().contains("kith-admin-"));

    // Ended: refused by all nodes, within seconds where the token was known.
    admin.ask(&c, 1, "DELETE", &format!("/v1/admin-tokens/{viewer_id}"), &[], None).await.expect(200);
    for node in 1..=3 {
        c.wait_for("the token is refused", async || viewer.get(&c, node, "/v1/status").await.status == 401).await;
    }
    let listed = admin.get(&c, 1, "/v1/admin-tokens").await.expect(200);
    let states: Vec<&str> = listed["tokens"].as_array().expect("tokens").iter().map(|token| text(token, "state")).collect();
    assert_eq!(states, ["good", "revoked", "good", "used"], "{listed}");
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_elsewhere_runs_the_cluster_by_a_token() {
    let c = Cluster::start_with(setup()).await;
    let first = first(&c).await;
    let addresses: Vec<String> = c.map().nodes.values().map(|row| row.address.clone()).collect();
    let trust = Trust::ca_pem(c.files().ca_pem.as_bytes()).expect("the cluster's authority");
    let endpoint = Endpoint::bind().expect("a socket");
    let door = kith_client::Door::with_endpoint(&addresses, trust.clone(), endpoint.clone());
    let TrustAnswer::Made { token, .. } = door.claim_admin(first.clone(), "ann").await.expect("it is turned into another") else { panic!("a token") };
    assert_eq!(door.claim_admin(first, "eve").await.expect_err("once").code, Code::TokenSpent);

    let admin = admin_by_token(&addresses, trust.clone(), endpoint.clone(), token).await.expect("a client");
    admin.connect().await.expect("it is let in");
    assert!(matches!(admin.request(Request::Status).await, Ok(Answer::Status(_))));
    let asked = TrustRequest::MakeAdmin { name: "the night shift".into(), role: kith_wire::admin::AdminRole::Operator, ttl_s: 600 };
    let Ok(Answer::Trust(TrustAnswer::Made { token, id, .. })) = admin.request(Request::Trust(asked)).await else { panic!("a token") };
    let operator = admin_by_token(&addresses, trust, endpoint.clone(), token).await.expect("a client");
    operator.connect().await.expect("it is let in");
    let drain = |on| Request::Layout(LayoutRequest::Drain { node: NodeId::new(3), on });
    operator.request(drain(true)).await.expect("an operator drains");
    operator.request(drain(false)).await.expect("and ends it");
    let refused = operator.request(Request::Trust(TrustRequest::RevokeAdmin { id })).await.expect_err("an operator ends no token");
    assert_eq!(refused.code, Code::NotAdmin);
    // A session that is open ends with its token.
    admin.request(Request::Trust(TrustRequest::RevokeAdmin { id })).await.expect("an admin does");
    c.wait_for("the open session is refused", async || operator.request(Request::Status).await.is_err_and(|error| error.code == Code::Revoked)).await;
    admin.close().await;
    operator.close().await;
    endpoint.close().await;
    c.finish().await;
}
