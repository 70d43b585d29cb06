//! Tokens of the app's own backend: JWTs of the issuers that the settings name, by their published keys (JWKS, RFC 7517).
//!
//! In: a token that somebody shows instead of a password. Out: who the issuer says they are. Invariants: only asymmetric signatures count; issuer,
//! audience and time are checked; a key that is not known yet is looked for once more, so that a roll needs no restart, and one that is taken away
//! is of no use once the keys were read again; keys that cannot be read now are those that were read last. Bounds: `jwks`; one look at a time of an
//! issuer, and one in [`KeysAt::look_every`]. Not here: how keys are read ([`super::jwks`]), whose account that is (`service::people`).

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, dangerous, jwk::JwkSet};
use kith_wire::{client::Refusal, code::Code, limit, secret::Secret};
use serde::{Deserialize, Serialize};

use super::{
    jwks::{KeysAt, Source},
    metrics::AuthMetrics,
};
use crate::{
    clock::{Instant, SharedClock},
    router::refuse,
    supervise::Tasks,
};

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
    /// Its public keys (JWKS): a file, or a URL that begins with `https://`. They are read again when they are a minute old (five minutes, by a
    /// URL), and when a token names a key that is not among them.
    pub jwks: KeysAt,
    /// Certificates of the authorities that the URL's server is known by, PEM; the system's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
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
    issuers: Vec<Arc<Issuer>>,
    clock: SharedClock,
    tasks: Tasks,
}

impl fmt::Debug for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.issuers.iter().map(|issuer| &issuer.config.issuer)).finish()
    }
}

struct Issuer {
    config: IssuerConfig,
    source: Source,
    clock: SharedClock,
    metrics: Arc<AuthMetrics>,
    keys: Mutex<Keys>,
    /// One look at a time: who waits for it finds what it found.
    looking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Keys {
    set: Option<JwkSet>,
    /// When the last look began.
    looked: Option<Instant>,
    /// The last look found nothing.
    failed: bool,
}

#[derive(Deserialize)]
struct Raw {
    sub: String,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    preferred_username: Option<String>,
}

/// Whose a token says it is: before anything of it is believed.
#[derive(Deserialize)]
struct Claimed {
    iss: String,
}

impl Issuers {
    /// As the settings say. Nothing is read yet; what reads keys is one of the tasks.
    pub fn new(issuers: Vec<IssuerConfig>, clock: SharedClock, tasks: Tasks, metrics: &Arc<AuthMetrics>) -> Self {
        let issuer = |config: IssuerConfig| Issuer {
            source: Source::new(&config.jwks, config.ca_file.as_deref()),
            config,
            clock: clock.clone(),
            metrics: metrics.clone(),
            keys: Mutex::default(),
            looking: Arc::default(),
        };
        let issuers = issuers.into_iter().map(|config| Arc::new(issuer(config))).collect();
        Self { issuers, clock, tasks }
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
        // It says only whose keys to try.
        let claimed: Claimed = dangerous::insecure_decode_claims(token.reveal()).map_err(|_| bad())?;
        for issuer in self.issuers.iter().filter(|issuer| issuer.config.issuer == claimed.iss) {
            if let Some(key) = issuer.key(&kid, &self.tasks).await
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
    /// A key by its id, from what was read, or from where keys are published.
    async fn key(self: &Arc<Self>, kid: &str, tasks: &Tasks) -> Option<DecodingKey> {
        let known = self.lock().find(kid);
        if known.is_some() && self.has_looked_within(self.config.jwks.fresh()) {
            return known;
        }
        let turn = match self.looking.clone().try_lock_owned() {
            Ok(turn) => turn,
            // Somebody looks just now: a key that is known need not wait for it.
            Err(_) if known.is_some() => return known,
            Err(_) => self.looking.clone().lock_owned().await,
        };
        if self.has_looked_within(self.config.jwks.look_every()) {
            return self.lock().find(kid);
        }
        self.lock().looked = Some(self.clock.instant());
        let issuer = self.clone();
        // It goes on though the asker goes: nobody keeps keys from being read by leaving.
        tasks.spawn("auth.issuer", async move {
            issuer.look().await;
            drop(turn);
        });
        drop(self.looking.lock().await);
        self.lock().find(kid)
    }
    fn has_looked_within(&self, time: Duration) -> bool {
        self.lock().looked.is_some_and(|at| self.clock.instant() < at + time)
    }
    /// Reads the keys anew. The caller has the turn.
    async fn look(&self) {
        let read = self.source.read().await;
        self.metrics.looked(read.is_ok());
        if let Err(cause) = &read {
            tracing::warn!(issuer = %self.config.issuer, at = %self.config.jwks, %cause, "auth.issuer: keys cannot be read; those that were read last stay");
        }
        let mut keys = self.lock();
        if keys.failed != read.is_err() {
            self.metrics.failing(read.is_err());
            keys.failed = read.is_err();
        }
        if let Ok(set) = read {
            keys.set = Some(set);
        }
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

impl Keys {
    fn find(&self, kid: &str) -> Option<DecodingKey> {
        self.set.as_ref().and_then(|set| set.find(kid)).and_then(|jwk| DecodingKey::from_jwk(jwk).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use jsonwebtoken::{EncodingKey, Header, jwk::Jwk};
    use kith_wire::id::Timestamp;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::clock::Clock;

    const LOOK_EVERY: Duration = Duration::from_secs(1);
    const FRESH: Duration = Duration::from_secs(60);

    struct HandClock(Mutex<Instant>);
    impl Clock for HandClock {
        fn now(&self) -> Timestamp {
            Timestamp::new(1_000_000)
        }
        fn instant(&self) -> Instant {
            *self.0.lock().unwrap()
        }
    }

    fn tasks() -> Tasks {
        Tasks::new(tokio::runtime::Handle::current())
    }
    struct Pair(EncodingKey, DecodingKey);
    fn key() -> Pair {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Pair(EncodingKey::from_ed_der(pair.serialized_der()), DecodingKey::from_ed_der(pair.public_key_raw()))
    }
    fn jwks(keys: &[(&str, &Pair)]) -> Vec<u8> {
        let jwk = |(kid, key): &(&str, &Pair)| {
            let mut jwk = Jwk::from_decoding_key(&key.1, Some(Algorithm::EdDSA)).unwrap();
            jwk.common.key_id = Some((*kid).to_owned());
            jwk
        };
        serde_json::to_vec(&JwkSet { keys: keys.iter().map(jwk).collect() }).unwrap()
    }
    fn publish(path: &Path, keys: &[(&str, &Pair)]) {
        std::fs::write(path, jwks(keys)).unwrap();
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
        let config = |issuer: &str, jwks: &Path| IssuerConfig {
            issuer: issuer.to_owned(),
            audience: "chat".into(),
            jwks: KeysAt::File(jwks.to_owned()),
            ca_file: None,
        };
        let clock = Arc::new(HandClock(Mutex::new(Instant::now())));
        let issuers =
            Issuers::new(vec![config("https://other.example", &other), config("https://app.example", &path)], clock, tasks(), &Arc::default());
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
        let config = IssuerConfig { issuer: "https://app.example".into(), audience: "chat".into(), jwks: KeysAt::File(path.clone()), ca_file: None };
        let issuers = Issuers::new(vec![config], clock.clone(), tasks(), &Arc::default());
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

    /// A server of keys with a certificate of its own making. What it answers can be changed; it counts how often it was asked.
    struct Server {
        url: String,
        answer: Arc<Mutex<(u16, Vec<u8>)>>,
        asked: Arc<AtomicUsize>,
        _serving: tokio::task::JoinSet<()>,
    }

    impl Server {
        async fn start(ca_file: &Path, answer: Vec<u8>) -> Self {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
            std::fs::write(ca_file, made.cert.pem()).unwrap();
            let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
            let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
            let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://localhost:{}/keys.json", listener.local_addr().unwrap().port());
            let (answer, asked) = (Arc::new(Mutex::new((200, answer))), Arc::new(AtomicUsize::new(0)));
            let mut serving = tokio::task::JoinSet::new();
            let (told, count) = (answer.clone(), asked.clone());
            serving.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let Ok(mut stream) = tls.accept(stream).await else { continue };
                    let mut head = Vec::new();
                    while !head.windows(4).any(|part| part == b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => break,
                        }
                    }
                    assert!(head.starts_with(b"GET /keys.json HTTP/1.1\r\n"));
                    count.fetch_add(1, Ordering::SeqCst);
                    let (status, body) = told.lock().unwrap().clone();
                    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
                    let _ = stream.shutdown().await;
                }
            });
            Self { url, answer, asked, _serving: serving }
        }
        fn answers(&self, status: u16, body: Vec<u8>) {
            *self.answer.lock().unwrap() = (status, body);
        }
        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn keys_come_over_https_roll_and_outlive_a_backend_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        let (old, new, other) = (key(), key(), key());
        let server = Server::start(&ca_file, jwks(&[("1", &old)])).await;
        let clock = Arc::new(HandClock(Mutex::new(Instant::now())));
        let jwks_at = KeysAt::try_from(server.url.clone()).unwrap();
        let (look_every, fresh) = (jwks_at.look_every(), jwks_at.fresh());
        let config = |issuer: &str, jwks: &KeysAt, ca_file: Option<&Path>| IssuerConfig {
            issuer: issuer.to_owned(),
            audience: "chat".into(),
            jwks: jwks.clone(),
            ca_file: ca_file.map(Path::to_owned),
        };
        let metrics = Arc::new(AuthMetrics::default());
        // The second one shows a certificate that nobody knows.
        let all = vec![config("https://app.example", &jwks_at, Some(&ca_file)), config("https://far.example", &jwks_at, None)];
        let issuers = Issuers::new(all, clock.clone(), tasks(), &metrics);
        let passes = async |pair: &Pair, kid: &str| issuers.verify(&token(pair, kid, &claims())).await.is_ok();
        let later = |wait: Duration| *clock.0.lock().unwrap() += wait;

        assert!(passes(&old, "1").await && passes(&old, "1").await);
        assert_eq!(server.asked(), 1, "what was read is kept");
        // Whoever invents keys makes nobody ask for them each time.
        for _ in 0..9 {
            assert!(!passes(&other, "invented").await);
        }
        assert_eq!(server.asked(), 1);

        server.answers(200, jwks(&[("1", &old), ("2", &new)]));
        later(look_every);
        let both = futures_util::future::join_all((0..5).map(|_| passes(&new, "2"))).await;
        assert!(both.into_iter().all(|passed| passed), "a new one is looked for, and those who wait find it too");
        assert_eq!(server.asked(), 2);

        for (status, body) in
            [(500, jwks(&[])), (302, Vec::new()), (200, b"half a fi".to_vec()), (200, vec![b' '; super::super::jwks::BYTES_MAX + 1])]
        {
            server.answers(status, body);
            later(fresh);
            let before = server.asked();
            assert!(passes(&new, "2").await && passes(&old, "1").await, "the last keys stay");
            assert_eq!(server.asked(), before + 1, "and it is asked again, not too often");
        }
        assert_eq!((metrics.looks(true), metrics.looks(false), metrics.failing_now()), (2, 4, 1));
        server.answers(200, jwks(&[("2", &new)]));
        later(fresh);
        assert!(passes(&new, "2").await && !passes(&old, "1").await, "one that was taken away is of no use");
        assert_eq!(metrics.failing_now(), 0);

        let asked = server.asked();
        let far = json!({ "iss": "https://far.example", "aud": "chat", "sub": "42", "exp": 2_000 });
        assert!(issuers.verify(&token(&new, "2", &far)).await.is_err());
        assert_eq!((server.asked(), metrics.failing_now()), (asked, 1), "nothing is asked of a server that is not known");
    }
}
