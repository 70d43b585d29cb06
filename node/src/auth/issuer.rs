//! Tokens of the app's own backend: JWTs of the issuers that the settings name, by their published keys (JWKS, RFC 7517).
//!
//! In: a token that somebody shows instead of a password. Out: who the issuer says they are. Invariants: only asymmetric signatures count; issuer,
//! audience and time are checked; a key that is not known yet is looked for once more, so that a roll needs no restart, and one that is taken away
//! is of no use within a minute. Bounds: [`KEYS_BYTES_MAX`], one look in [`LOOK_EVERY`]. Not here: whose account that is (`service::people`).

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use kith_wire::{client::Refusal, code::Code, limit, secret::Secret};
use serde::{Deserialize, Serialize};

use crate::{
    clock::{Instant, SharedClock},
    router::refuse,
};

/// A file of keys is at most so long.
const KEYS_BYTES_MAX: usize = 256 * 1024;
/// Keys are looked for in their file so often at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Keys that were read are believed for so long.
const FRESH: Duration = Duration::from_secs(60);
/// The clocks of two machines differ by so much.
const LEEWAY_S: u64 = 60;
/// By a key that its holder keeps for itself. With a shared secret, whoever checks could also sign.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::EdDSA,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// `[[auth.issuers]]`: who may say who somebody is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// What their `aud` must name.
    pub audience: String,
    /// File of its public keys (JWKS). It is read again when it is a minute old, and when a token names a key that it did not have.
    pub jwks: PathBuf,
}

/// Who an issuer says somebody is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outsider {
    /// Which issuer.
    pub issuer: String,
    /// Who they are there.
    pub subject: String,
    /// What they would like to be called here (`preferred_username`).
    pub name: Option<String>,
}

/// The issuers of a node.
pub struct Issuers {
    issuers: Vec<Issuer>,
    clock: SharedClock,
}

impl std::fmt::Debug for Issuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.issuers.iter().map(|issuer| &issuer.config.issuer)).finish()
    }
}

struct Issuer {
    config: IssuerConfig,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    set: Option<JwkSet>,
    looked: Option<Instant>,
}

#[derive(Deserialize)]
struct Raw {
    sub: String,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    preferred_username: Option<String>,
}

impl Issuers {
    /// As the settings say. Nothing is read yet.
    pub fn new(issuers: Vec<IssuerConfig>, clock: SharedClock) -> Self {
        Self { issuers: issuers.into_iter().map(|config| Issuer { config, keys: Mutex::default() }).collect(), clock }
    }
    /// Who the token says somebody is.
    ///
    /// # Errors
    /// `BadToken`: of no issuer that is known here, or not by one of its keys. `TokenExpired`.
    pub async fn verify(&self, token: &Secret) -> Result<Outsider, Refusal> {
        let bad = || refuse(Code::BadToken);
        if token.len() > limit::TOKEN_BYTES_MAX {
            return Err(bad());
        }
        let header = jsonwebtoken::decode_header(token.reveal()).map_err(|_| bad())?;
        let kid = header.kid.filter(|_| ALGORITHMS.contains(&header.alg)).ok_or_else(bad)?;
        for issuer in &self.issuers {
            if let Some(key) = issuer.key(&kid, self.clock.instant()).await
                && let Some(raw) = issuer.read(token, header.alg, &key)
            {
                let now_s = self.clock.now().get() / 1_000;
                if raw.exp.saturating_add(LEEWAY_S) <= now_s {
                    return Err(refuse(Code::TokenExpired));
                }
                if raw.nbf > now_s + LEEWAY_S || raw.sub.is_empty() {
                    return Err(bad());
                }
                return Ok(Outsider { issuer: issuer.config.issuer.clone(), subject: raw.sub, name: raw.preferred_username });
            }
        }
        Err(bad())
    }
}

impl Issuer {
    /// A key by its id, from what was read, or from the file as it is now.
    async fn key(&self, kid: &str, now: Instant) -> Option<DecodingKey> {
        {
            let keys = self.lock();
            let is_fresh = keys.looked.is_some_and(|at| now < at + FRESH);
            let known = keys.set.as_ref().and_then(|set| set.find(kid));
            if let Some(jwk) = known.filter(|_| is_fresh) {
                return DecodingKey::from_jwk(jwk).ok();
            }
            if keys.looked.is_some_and(|at| now < at + LOOK_EVERY) {
                return None;
            }
        }
        let set = read_keys(&self.config.jwks).await;
        let mut keys = self.lock();
        keys.looked = Some(now);
        // A file that cannot be read now takes no keys away: the backend may be writing it.
        if set.is_some() {
            keys.set = set;
        }
        keys.set.as_ref().and_then(|set| set.find(kid)).and_then(|jwk| DecodingKey::from_jwk(jwk).ok())
    }
    fn read(&self, token: &Secret, algorithm: Algorithm, key: &DecodingKey) -> Option<Raw> {
        let mut rules = Validation::new(algorithm);
        // Time comes from the node's own clock.
        (rules.validate_exp, rules.validate_nbf) = (false, false);
        rules.set_issuer(&[&self.config.issuer]);
        rules.set_audience(&[&self.config.audience]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        jsonwebtoken::decode::<Raw>(token.reveal(), key, &rules).ok().map(|read| read.claims)
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, Keys> {
        // Replaced as a whole.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read_keys(path: &Path) -> Option<JwkSet> {
    let unread = |cause: &dyn std::fmt::Display| tracing::warn!(path = %path.display(), %cause, "auth.issuer: keys cannot be read");
    match tokio::fs::read(path).await {
        Ok(bytes) if bytes.len() > KEYS_BYTES_MAX => {
            unread(&"the file is too long");
            None
        }
        Ok(bytes) => serde_json::from_slice(&bytes).inspect_err(|error| unread(error)).ok(),
        Err(error) => {
            unread(&error);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jsonwebtoken::{EncodingKey, Header, jwk::Jwk};
    use kith_wire::id::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;

    struct HandClock(Mutex<Instant>);
    impl Clock for HandClock {
        fn now(&self) -> Timestamp {
            Timestamp::new(1_000_000)
        }
        fn instant(&self) -> Instant {
            *self.0.lock().unwrap()
        }
    }

    struct Pair(EncodingKey, DecodingKey);
    fn key() -> Pair {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Pair(EncodingKey::from_ed_der(pair.serialized_der()), DecodingKey::from_ed_der(pair.public_key_raw()))
    }
    fn publish(path: &Path, keys: &[(&str, &Pair)]) {
        let jwk = |(kid, key): &(&str, &Pair)| {
            let mut jwk = Jwk::from_decoding_key(&key.1, Some(Algorithm::EdDSA)).unwrap();
            jwk.common.key_id = Some((*kid).to_owned());
            jwk
        };
        std::fs::write(path, serde_json::to_vec(&JwkSet { keys: keys.iter().map(jwk).collect() }).unwrap()).unwrap();
    }
    fn token(key: &Pair, kid: &str, claims: &serde_json::Value) -> Secret {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
        Secret::new(jsonwebtoken::encode(&header, claims, &key.0).unwrap())
    }
    fn claims() -> serde_json::Value {
        json!({ "iss": "https://app.example", "aud": "chat", "sub": "42", "exp": 2_000, "preferred_username": "ann" })
    }

    #[tokio::test]
    async fn a_token_of_a_known_issuer_says_who_somebody_is_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("keys.json"), folder.path().join("none.json"));
        let (signer, stranger) = (key(), key());
        publish(&path, &[("1", &signer)]);
        let config = |issuer: &str, jwks: &Path| IssuerConfig { issuer: issuer.to_owned(), audience: "chat".into(), jwks: jwks.to_owned() };
        let clock = Arc::new(HandClock(Mutex::new(Instant::now())));
        let issuers = Issuers::new(vec![config("https://other.example", &other), config("https://app.example", &path)], clock);
        let told = issuers.verify(&token(&signer, "1", &claims())).await.unwrap();
        assert_eq!(told, Outsider { issuer: "https://app.example".into(), subject: "42".into(), name: Some("ann".into()) });
        let code = async |token: Secret| issuers.verify(&token).await.unwrap_err().code;
        let with = |key: &str, value: serde_json::Value| {
            let mut claims = claims();
            claims[key] = value;
            claims
        };
        assert_eq!(code(token(&stranger, "1", &claims())).await, Code::BadToken, "of another key");
        assert_eq!(code(token(&signer, "2", &claims())).await, Code::BadToken, "of a key that is not published");
        for (key, value) in [("iss", json!("https://evil.example")), ("aud", json!("mail")), ("sub", json!("")), ("nbf", json!(5_000))] {
            assert_eq!(code(token(&signer, "1", &with(key, value))).await, Code::BadToken, "{key}");
        }
        assert_eq!(code(token(&signer, "1", &with("exp", json!(900)))).await, Code::TokenExpired);
        let shared = EncodingKey::from_secret(b"secret");
        let header = Header { kid: Some("1".into()), ..Header::new(Algorithm::HS256) };
        assert_eq!(code(Secret::new(jsonwebtoken::encode(&header, &claims(), &shared).unwrap())).await, Code::BadToken, "a shared secret");
        assert_eq!(code(Secret::new("garbage")).await, Code::BadToken);
    }

    #[tokio::test]
    async fn keys_roll_without_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let (old, new) = (key(), key());
        publish(&path, &[("1", &old)]);
        let clock = Arc::new(HandClock(Mutex::new(Instant::now())));
        let config = IssuerConfig { issuer: "https://app.example".into(), audience: "chat".into(), jwks: path.clone() };
        let issuers = Issuers::new(vec![config], clock.clone());
        assert!(issuers.verify(&token(&old, "1", &claims())).await.is_ok());
        publish(&path, &[("1", &old), ("2", &new)]);
        *clock.0.lock().unwrap() += LOOK_EVERY;
        assert!(issuers.verify(&token(&new, "2", &claims())).await.is_ok(), "a new one is looked for");
        publish(&path, &[("2", &new)]);
        assert!(issuers.verify(&token(&old, "1", &claims())).await.is_ok(), "one that was read is believed for a while");
        *clock.0.lock().unwrap() += FRESH;
        assert!(issuers.verify(&token(&old, "1", &claims())).await.is_err());
        std::fs::write(&path, "half a fi").unwrap();
        *clock.0.lock().unwrap() += FRESH;
        assert!(issuers.verify(&token(&new, "2", &claims())).await.is_ok(), "a file that is being written takes nothing away");
    }
}
