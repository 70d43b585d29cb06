//! Who comes with a token of the app's own backend: whose account it is, over any node, and what is no such token.

use std::path::Path;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, jwk::Jwk, jwk::JwkSet};
use kith::{
    auth::{issuer::IssuerConfig, jwks::KeysAt},
    clock::{Clock, SystemClock},
};
use kith_client::Door;
use kith_tests::{Cluster, Setup, http::Caller};
use kith_wire::code::Code;
use serde_json::{Value, json};

const ISSUER: &str = "https://app.example";

/// A backend with one key.
struct Backend(EncodingKey);

impl Backend {
    /// Publishes its key.
    fn new(keys: &Path) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let mut jwk = Jwk::from_decoding_key(&DecodingKey::from_ed_der(pair.public_key_raw()), Some(Algorithm::EdDSA)).expect("a public key");
        jwk.common.key_id = Some("1".to_owned());
        std::fs::write(keys, serde_json::to_vec(&JwkSet { keys: vec![jwk] }).expect("keys")).expect("a file");
        Self(EncodingKey::from_ed_der(pair.serialized_der()))
    }
    fn token(&self, subject: &str, name: &str) -> String {
        let expires_s = SystemClock.now().get() / 1_000 + 300;
        let claims = json!({ "iss": ISSUER, "aud": "chat", "sub": subject, "exp": expires_s, "preferred_username": name });
        let header = Header { kid: Some("1".to_owned()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &self.0).expect("a token")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_the_apps_own_backend_knows_is_one_user_over_any_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = folder.path().join("keys.json");
    let backend = Backend::new(&keys);
    let issuers = vec![IssuerConfig { issuer: ISSUER.to_owned(), audience: "chat".to_owned(), jwks: KeysAt::File(keys.clone()), ca_file: None }];
    let c = Cluster::start_with(Setup { issuers, ..Setup::default().with_api() }).await;
    let stranger = Caller::with_token("");
    let log_in = async |node: u64, token: String| stranger.post(&c, node, "/v1/log-in-with", json!({ "token": token })).await;

    let (first, second) = tokio::join!(log_in(1, backend.token("42", "ann")), log_in(2, backend.token("42", "ann")));
    let (first, second) = (first.expect(200), second.expect(200));
    assert_eq!((&first["user"], &first["name"]), (&second["user"], &json!("ann")), "two first log-ins are one account");
    assert_eq!(first["recovery"], Value::Null, "there is no password to recover");
    // The name is taken: somebody else has to be called something else.
    let other = log_in(3, backend.token("43", "ann")).await.expect(200);
    assert!(other["user"] != first["user"] && other["name"] == other["user"], "{other}");
    let ann = Caller::with_token(first["access"].as_str().expect("a token"));
    ann.post(&c, 2, &format!("/v1/channels/@{}/messages", other["name"].as_str().expect("a name")), json!({ "text": "hello" })).await.expect(201);

    // The same over QUIC, and a device as any other: its refresh token goes on without the backend.
    let door = Door::new(&[c.address(3).to_owned()], c.trust()).expect("a socket");
    let phone = door.log_in_with(backend.token("42", "bob"), "phone").await.expect("in");
    assert_eq!(json!(phone.login.user().to_string()), first["user"], "who they are there says who they are here");
    let refreshed = stranger.post(&c, 1, "/v1/refresh", json!({ "refresh": first["refresh"] })).await.expect(200);
    assert_eq!(refreshed["user"], first["user"]);

    let mallory = Backend::new(&folder.path().join("others.json"));
    assert_eq!(log_in(1, mallory.token("42", "ann")).await.expect(401)["name"], "BadToken");
    assert_eq!(door.log_in_with("garbage", "phone").await.err().map(|error| error.code), Some(Code::BadToken));
    // Nobody logs in as them by a password: they have none.
    assert_eq!(stranger.post(&c, 1, "/v1/log-in", json!({ "name": "ann", "password": "" })).await.status, 401);
    c.finish().await;
}
