//! What a node takes from others beside frames, texts and what lies on its disk: tokens and keys of others, settings, files to replay.

use std::{
    fs,
    panic::AssertUnwindSafe,
    path::Path,
    sync::{Arc, OnceLock},
};

use bolero::check;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, jwk::Jwk, jwk::JwkSet};
use kith::{
    auth::{
        issuer::{IssuerConfig, Issuers},
        jwks::KeysAt,
        token::{self, Claims, TokenKey},
    },
    clock::SystemClock,
    config::Config,
    demo::replay::Plan,
    supervise::Tasks,
};
use kith_wire::{
    id::{ClusterId, Timestamp, UserId},
    secret::Secret,
};
use tokio::runtime::Runtime;

const NOW: Timestamp = Timestamp::new(1_000_000);

fn key() -> &'static TokenKey {
    static KEY: OnceLock<TokenKey> = OnceLock::new();
    KEY.get_or_init(|| TokenKey::generate().expect("a key").0)
}

/// Bytes as a token, and as what a lawful token has in its place.
#[test]
fn token() {
    let cluster = ClusterId::new([7; 16]);
    let claims = Claims { user: UserId::new(1), name: "ann".to_owned(), cluster, expires_s: u64::MAX / 2, ..Claims::default() };
    let lawful = token::mint(key(), &claims).expect("signed");
    check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        assert!(token::verify(key(), cluster, &text, NOW).is_err(), "a token that nobody signed");
        let (at, byte) = (usize::from(*input.first().unwrap_or(&0)) * lawful.len() / 256, *input.get(1).unwrap_or(&b'x'));
        let mut changed = lawful.clone().into_bytes();
        if byte.is_ascii_graphic() && changed[at] != byte {
            changed[at] = byte;
            let changed = String::from_utf8_lossy(&changed);
            if let Ok(taken) = token::verify(key(), cluster, &changed, NOW) {
                assert_eq!(taken, claims, "a changed token says something else");
            }
        }
    });
}

/// Heads of HTTP/3, which the library reads: neither stops it, and what is nothing is not taken for a request.
#[test]
fn heads_of_http3() {
    check!().for_each(|input: &[u8]| {
        let (_, is_request) = kith::fuzz::of_page(input);
        assert!(!is_request || input.len() > 20, "a request without a host");
    });
}

#[test]
fn settings() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("node.toml");
    check!().for_each(|input: &[u8]| {
        fs::write(&path, input).expect("written");
        if let Err(error) = Config::load_with(&path, &[]) {
            assert!(!error.to_string().is_empty());
        }
    });
}

#[test]
fn replayed_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("replay.jsonl");
    check!().for_each(|input: &[u8]| {
        fs::write(&path, input).expect("written");
        if let Ok(plan) = Plan::read(&path, Some(1_000)) {
            assert!(plan.messages() <= 1_000);
        }
    });
}

/// An issuer whose key only this process has: its private key, and the file of its public one.
fn signer() -> (EncodingKey, String) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let mut jwk = Jwk::from_decoding_key(&DecodingKey::from_ed_der(pair.public_key_raw()), Some(Algorithm::EdDSA)).expect("a public key");
    jwk.common.key_id = Some("1".to_owned());
    (EncodingKey::from_ed_der(pair.serialized_der()), serde_json::to_string(&JwkSet { keys: vec![jwk] }).expect("JSON"))
}

fn issuers(jwks: &Path, runtime: &Runtime) -> Issuers {
    let (issuer, audience, jwks) = ("https://app.example".to_owned(), "chat".to_owned(), KeysAt::File(jwks.to_owned()));
    let tasks = Tasks::new(runtime.handle().clone());
    Issuers::new(vec![IssuerConfig { issuer, audience, jwks, ca_file: None }], Arc::new(SystemClock), tasks, &Arc::default())
}

/// A token that shows what the bytes are: as they are, as claims that the issuer signed, and as claims with all that is asked for.
#[test]
fn token_of_an_issuer() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, runtime, (key, jwks)) = (dir.path().join("keys.json"), AssertUnwindSafe(Runtime::new().expect("a runtime")), signer());
    fs::write(&path, jwks).expect("written");
    let (issuers, key) = (AssertUnwindSafe(issuers(&path, &runtime)), AssertUnwindSafe(key));
    let header = Header { kid: Some("1".to_owned()), ..Header::new(Algorithm::EdDSA) };
    let signed = |claims: &serde_json::Value| jsonwebtoken::encode(&header, claims, &key).expect("signed");
    check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input).into_owned();
        assert!(runtime.block_on(issuers.verify(&Secret::new(text))).is_err(), "a token that nobody signed");
        let Ok(mut claims) = serde_json::from_slice::<serde_json::Value>(input) else { return };
        let lawful = runtime.block_on(issuers.verify(&Secret::new(signed(&claims))));
        assert!(lawful.is_err() || claims["iss"] == "https://app.example", "of another issuer");
        if let Some(claims) = claims.as_object_mut() {
            for (name, value) in [("iss", "https://app.example".into()), ("aud", "chat".into()), ("exp", (1_u64 << 40).into())] {
                claims.insert(name.to_owned(), value);
            }
        }
        if let Ok(told) = runtime.block_on(issuers.verify(&Secret::new(signed(&claims)))) {
            assert_eq!((claims["sub"].as_str(), told.subject.is_empty()), (Some(told.subject.as_str()), false));
        }
    });
}

/// A file of keys, whatever is in it: no token of somebody else is taken by it.
#[test]
fn keys_of_an_issuer() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, runtime, (key, _)) = (dir.path().join("keys.json"), AssertUnwindSafe(Runtime::new().expect("a runtime")), signer());
    let claims = serde_json::json!({ "iss": "https://app.example", "aud": "chat", "sub": "42", "exp": 1_u64 << 40 });
    let header = Header { kid: Some("1".to_owned()), ..Header::new(Algorithm::EdDSA) };
    let shown = Secret::new(jsonwebtoken::encode(&header, &claims, &key).expect("signed"));
    check!().for_each(|input: &[u8]| {
        fs::write(&path, input).expect("written");
        assert!(runtime.block_on(issuers(&path, &runtime).verify(&shown)).is_err(), "nobody published that key");
    });
}
