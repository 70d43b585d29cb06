//! What lets people in: passwords, attempts, access tokens, refresh tokens and codes of one node.
//!
//! In: names, passwords, what a home has said. Out: tokens and codes for the asker, digests for the log. Invariants: a secret is drawn here, or
//! derived by the cluster's key where a retry must give the same, and only its digest is stored; attempts are counted by name, whether somebody
//! has it or not. Bounds: `rate`, `password`. Not here: who has a name, what a device's row says (`service::people`), attempts of one address on
//! one name, which are counted far below those of all (`adapt`).

use std::{sync::Arc, time::Duration};

use kith_wire::{
    client::Refusal,
    code::Code,
    id::{ClusterId, DeviceId, Timestamp, UserId, digest, hash},
    people::LoggedIn,
    secret::Secret,
};

use super::{Claims, TokenKey, mint, password::Hasher, token::parse_user};
use crate::{
    clock::{SharedClock, draw_bytes},
    rate::{Rate, Rates},
    router::{refuse, refuse_for},
};

/// An access token lasts so long.
pub const ACCESS_TTL: Duration = Duration::from_secs(15 * 60);
/// Attempts of a user on their own password, by a token of theirs.
const ATTEMPTS: Rate = Rate { burst: 10, per_second: 0.1 };
/// Attempts on one name, from wherever. Far above what one address may try at all nodes: a stranger must not lock somebody out by failing.
const NAME_ATTEMPTS: Rate = Rate { burst: 300, per_second: 1.0 };
/// Reports of one user at one node.
const REPORTS: Rate = Rate { burst: 20, per_second: 0.02 };
/// Searches of one user at one node.
const SEARCHES: Rate = Rate { burst: 60, per_second: 2.0 };
/// What a client is told when too many hash.
const HASH_RETRY_MS: u32 = 500;

/// The gate of a node. Clones are the same one.
#[derive(Clone)]
pub struct Gate {
    pub(super) key: TokenKey,
    cluster: ClusterId,
    clock: SharedClock,
    pub(super) hasher: Hasher,
    attempts: Arc<Rates>,
    names: Arc<Rates>,
    searches: Arc<Rates>,
    reports: Arc<Rates>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gate({})", self.cluster)
    }
}

/// A refresh token that was shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Whose it says it is.
    pub user: UserId,
    /// Of which device.
    pub device: DeviceId,
    /// Digest of its secret.
    pub digest: [u8; 32],
}

/// A secret that was drawn: the text for the asker, the digest for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drawn {
    /// Leaves once.
    pub text: Secret,
    /// Stays.
    pub digest: [u8; 32],
}

impl Gate {
    /// By the cluster's key.
    pub fn new(key: TokenKey, cluster: ClusterId, clock: SharedClock) -> Self {
        let [attempts, names, searches, reports] = [ATTEMPTS, NAME_ATTEMPTS, SEARCHES, REPORTS].map(|rate| Arc::new(Rates::new(rate)));
        Self { key, cluster, clock, hasher: Hasher::new(), attempts, names, searches, reports }
    }
    /// Counts an attempt of a user on their own password.
    ///
    /// # Errors
    /// `RateLimited`, with a delay.
    pub fn attempt(&self, user: UserId) -> Result<(), Refusal> {
        self.attempts.take(u128::from(user.get()), self.clock.instant()).map_err(limited)
    }
    /// Counts an attempt on a folded name, from wherever.
    ///
    /// # Errors
    /// `RateLimited`, with a delay.
    pub fn attempt_name(&self, name: &str) -> Result<(), Refusal> {
        self.names.take(u128::from(hash(&[b"kith/attempt/1", name.as_bytes()])), self.clock.instant()).map_err(limited)
    }
    /// Counts a report: who reports everything is slowed down.
    ///
    /// # Errors
    /// `RateLimited`, with a delay.
    pub fn report(&self, user: UserId) -> Result<(), Refusal> {
        self.reports.take(u128::from(user.get()), self.clock.instant()).map_err(limited)
    }
    /// Counts a search for users: who looks for everybody is slowed down.
    ///
    /// # Errors
    /// `RateLimited`, with a delay.
    pub fn search(&self, user: UserId) -> Result<(), Refusal> {
        self.searches.take(u128::from(user.get()), self.clock.instant()).map_err(limited)
    }
    /// The hash of a password, for the log.
    ///
    /// # Errors
    /// `Busy`.
    pub async fn hash(&self, password: Secret) -> Result<Secret, Refusal> {
        self.hasher.hash(password).await.map_err(busy)
    }
    /// What a reset by a code leads to: the same for the same code and password, so that one whose answer was lost can be asked again. Gives the
    /// password's hash and the next recovery code.
    ///
    /// # Errors
    /// `Busy`.
    pub async fn reset(&self, user: UserId, code: &[u8; 32], password: Secret) -> Result<(Secret, Drawn), Refusal> {
        let of = user.get().to_be_bytes();
        let mut salt = [0; 16];
        salt.copy_from_slice(&self.key.derive(&[b"kith/reset-salt/1", &of, code])[..16]);
        let hash = self.hasher.hash_with(password, salt).await.map_err(busy)?;
        Ok((hash, code_of(&self.key.derive(&[b"kith/reset-recovery/1", &of, code]))))
    }
    /// The refresh token that follows one that was shown: the same for each retry of one try, at whatever node.
    pub fn next_refresh(&self, shown: &Shown, nonce: &[u8; 16]) -> Drawn {
        refresh_of(shown.user, shown.device, &self.key.derive(&[b"kith/refresh-next/1", &shown.digest, nonce]))
    }
    /// Whether a password is that of the hash; takes as long when there is none.
    ///
    /// # Errors
    /// `Busy`.
    pub async fn verify(&self, password: Secret, hash: Option<Secret>) -> Result<bool, Refusal> {
        self.hasher.verify(password, hash).await.map_err(busy)
    }
    /// An access token, and until when it is one.
    ///
    /// # Errors
    /// `Internal`.
    pub fn access(&self, user: UserId, name: &str, device: DeviceId, login: u64, admin: bool) -> Result<(Secret, Timestamp), Refusal> {
        let issued_s = self.clock.now().get() / 1_000;
        let expires_s = issued_s + ACCESS_TTL.as_secs();
        let claims =
            Claims { user, name: name.to_owned(), cluster: self.cluster, admin, expires_s, issued_s, device: Some(device), login, token: None };
        match mint(&self.key, &claims) {
            Ok(token) => Ok((Secret::new(token), Timestamp::new(expires_s * 1_000))),
            Err(error) => {
                tracing::error!(cause = %error, "auth.gate: an access token could not be signed");
                Err(refuse(Code::Internal))
            }
        }
    }
    /// What a device is told that is in.
    ///
    /// # Errors
    /// `Internal`.
    pub fn logged_in(&self, user: UserId, device: DeviceId, entered: Entered, refresh: &Drawn) -> Result<LoggedIn, Refusal> {
        let Entered { name, login, admin } = entered;
        let (access, access_until) = self.access(user, &name, device, login, admin)?;
        Ok(LoggedIn { user, name, device, access, access_until, refresh: refresh.text.clone(), recovery: None })
    }
    /// Whom an issuer means by a subject.
    pub fn sign_up_key(&self, issuer: &str, subject: &str) -> [u8; 32] {
        self.key.sign_up_key(issuer, subject)
    }
    /// The time, for what is to end.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// What a home has said of a device that is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entered {
    /// The user's name.
    pub name: String,
    /// The log-in.
    pub login: u64,
    /// Whether the user has an operator's rights.
    pub admin: bool,
}

/// Draws a refresh token for a device.
pub fn draw_refresh(user: UserId, device: DeviceId) -> Drawn {
    refresh_of(user, device, &draw_bytes())
}

pub(super) fn refresh_of(user: UserId, device: DeviceId, secret: &[u8; 32]) -> Drawn {
    let secret = hex(secret);
    let digest = refresh_digest(&secret);
    Drawn { text: Secret::new(format!("{REFRESH}.{user}.{:016x}.{secret}", device.get())), digest }
}

/// Parses a refresh token; `None` when it is none.
pub fn read_refresh(token: &Secret) -> Option<Shown> {
    let mut parts = token.reveal().split('.');
    let (kind, user, device, secret) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if kind != REFRESH || parts.next().is_some() || secret.len() != 64 || device.len() != 16 {
        return None;
    }
    let device = DeviceId::new(u64::from_str_radix(device, 16).ok()?);
    Some(Shown { user: parse_user(user)?, device, digest: refresh_digest(secret) })
}

/// Draws the token of a bot. It lasts until it is ended; no other token is read as one.
pub fn draw_bot_token(bot: UserId) -> (DeviceId, Drawn) {
    bot_token_of(bot, &draw_bytes())
}

pub(super) fn bot_token_of(bot: UserId, secret: &[u8; 32]) -> (DeviceId, Drawn) {
    let (device, secret) = (DeviceId::from_nonce(bot, BOT_DEVICE), hex(secret));
    let digest = bot_digest(&secret);
    (device, Drawn { text: Secret::new(format!("{BOT}.{bot}.{secret}")), digest })
}

/// Parses the token of a bot; `None` when it is none.
pub fn read_bot_token(token: &str) -> Option<Shown> {
    let mut parts = token.split('.');
    let (kind, user, secret) = (parts.next()?, parts.next()?, parts.next()?);
    if kind != BOT || parts.next().is_some() || secret.len() != 64 {
        return None;
    }
    let user = parse_user(user)?;
    Some(Shown { user, device: DeviceId::from_nonce(user, BOT_DEVICE), digest: bot_digest(secret) })
}

/// Draws a code that a person can write down: 125 bits.
pub fn draw_code() -> Drawn {
    code_of(&draw_bytes())
}

/// The recovery code that a secret sign-up key gives: a retried sign-up shows the same one.
pub fn recovery_of(key: &[u8; 32]) -> Drawn {
    code_of(&digest(&[b"kith/recovery/1", key]))
}

/// The digest of a code as a person typed it: blanks, dashes and case do not count.
pub fn code_digest(code: &Secret) -> [u8; 32] {
    let plain: String = code.reveal().chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    digest(&[b"kith/code/1", plain.as_bytes()])
}

pub(super) fn code_of(bytes: &[u8; 32]) -> Drawn {
    let letters: Vec<char> = bytes.iter().take(25).map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let text = Secret::new(letters.chunks(5).map(|part| part.iter().collect::<String>()).collect::<Vec<_>>().join("-"));
    let digest = code_digest(&text);
    Drawn { text, digest }
}

fn refresh_digest(secret: &str) -> [u8; 32] {
    digest(&[b"kith/refresh/1", secret.as_bytes()])
}

fn bot_digest(secret: &str) -> [u8; 32] {
    digest(&[b"kith/bot/1", secret.as_bytes()])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Too many of these: when there may be another.
pub fn limited(wait: Duration) -> Refusal {
    refuse_for(Code::RateLimited, u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1))
}

pub(super) fn busy(code: Code) -> Refusal {
    if code == Code::Busy { refuse_for(code, HASH_RETRY_MS) } else { refuse(code) }
}

/// How a refresh token begins.
const REFRESH: &str = "kr1";
/// How the token of a bot begins.
const BOT: &str = "kb1";
/// Nonce of the one device that a bot is.
const BOT_DEVICE: &[u8; 16] = b"kith bot's token";
/// Crockford's base 32: no letter looks like another or like a digit.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_says_whose_it_is_and_each_is_another() {
        let (user, device) = (UserId::new(5), DeviceId::new(6));
        let (one, two) = (draw_refresh(user, device), draw_refresh(user, device));
        assert_ne!(one, two);
        assert_eq!(read_refresh(&one.text), Some(Shown { user, device, digest: one.digest }));
        for odd in ["", "kr1", "kr1.u0000000000000005.0000000000000006.short", "kr2.a.b.c", &format!("{}.x", two.text.reveal())] {
            assert_eq!(read_refresh(&Secret::new(odd)), None, "{odd}");
        }
    }

    fn gate(key: &TokenKey) -> Gate {
        Gate::new(key.clone(), ClusterId::default(), Arc::new(crate::clock::SystemClock))
    }

    #[tokio::test]
    async fn a_retry_gives_the_same_at_each_node_of_the_cluster_and_at_no_other() {
        let (user, device) = (UserId::new(5), DeviceId::new(6));
        let (key, other) = (TokenKey::generate().unwrap().0, TokenKey::generate().unwrap().0);
        let shown = read_refresh(&draw_refresh(user, device).text).unwrap();
        let next = gate(&key).next_refresh(&shown, &[1; 16]);
        assert_eq!(read_refresh(&next.text).map(|shown| (shown.user, shown.device, shown.digest)), Some((user, device, next.digest)));
        assert_eq!(gate(&key).next_refresh(&shown, &[1; 16]), next);
        assert_ne!(gate(&key).next_refresh(&shown, &[2; 16]), next, "another try");
        assert_ne!(gate(&other).next_refresh(&shown, &[1; 16]), next);

        let reset = async |key: &TokenKey, user: u64, code: u8, password: &str| {
            gate(key).reset(UserId::new(user), &[code; 32], Secret::new(password)).await.unwrap()
        };
        let first = reset(&key, 5, 9, "correct horse").await;
        assert_eq!(reset(&key, 5, 9, "correct horse").await, first);
        assert_ne!(reset(&key, 5, 9, "battery staple").await.0, first.0);
        assert_ne!(reset(&key, 5, 8, "correct horse").await, first);
        assert_ne!(reset(&key, 6, 9, "correct horse").await, first);
        assert_ne!(reset(&other, 5, 9, "correct horse").await, first);
    }

    #[test]
    fn a_bots_token_is_no_refresh_token() {
        let (device, drawn) = draw_bot_token(UserId::new(5));
        assert_eq!(read_bot_token(drawn.text.reveal()), Some(Shown { user: UserId::new(5), device, digest: drawn.digest }));
        assert_eq!(read_refresh(&drawn.text), None);
        let secret = drawn.text.reveal().rsplit('.').next().unwrap();
        assert_ne!(refresh_digest(secret), drawn.digest, "not even with the same secret");
        for odd in ["", "kb1", "kb1.u0000000000000005.short", &format!("{}.x", drawn.text.reveal())] {
            assert_eq!(read_bot_token(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_code_is_taken_however_it_is_typed() {
        let code = draw_code();
        let typed = code.text.reveal().to_lowercase().replace('-', " ");
        assert_eq!(code_digest(&Secret::new(typed)), code.digest);
        assert_ne!(draw_code().digest, code.digest);
        assert_eq!(recovery_of(&[1; 32]), recovery_of(&[1; 32]));
    }
}
