//! Passwords: hashed and checked by Argon2id, on threads of their own.
//!
//! In: passwords and PHC strings. Out: PHC strings, yes or no. Invariants: to check a password against nothing takes as long as against a
//! hash; no password is ever shown. Bounds: [`HASHES_AT_ONCE`] at a time, [`HASHES_WAITING`] wait, then it is `Busy`: a hash takes 19 MiB and
//! some 30 ms of a core. Not here: how often somebody may try (`gate`).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use kith_wire::{code::Code, secret::Secret};
use tokio::sync::Semaphore;

/// Hashes that are computed at once.
pub const HASHES_AT_ONCE: usize = 2;
/// Hashes that wait for their turn.
pub const HASHES_WAITING: usize = 64;

/// Hashes passwords. Clones share their turns.
#[derive(Clone, Debug)]
pub struct Hasher {
    turns: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Hasher {
    /// With nothing under way.
    pub fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(HASHES_AT_ONCE)), waiting: Arc::default() }
    }
    /// The PHC string of a password, with a salt of its own.
    ///
    /// # Errors
    /// `Busy`: too many wait.
    pub async fn hash(&self, password: Secret) -> Result<Secret, Code> {
        self.hash_with(password, crate::clock::draw_bytes()).await
    }
    /// As [`Hasher::hash`], with a salt that is given: never that of another hash that is kept.
    ///
    /// # Errors
    /// `Busy`: too many wait.
    pub async fn hash_with(&self, password: Secret, salt: [u8; 16]) -> Result<Secret, Code> {
        let hashed = self.turn(move || hash(&password, &salt)).await?;
        hashed.map(Secret::new).ok_or(Code::Internal)
    }
    /// Whether it is the password of that hash; against none it is not, and takes as long.
    ///
    /// # Errors
    /// `Busy`: too many wait.
    pub async fn verify(&self, password: Secret, hash: Option<Secret>) -> Result<bool, Code> {
        self.turn(move || {
            let against = hash.as_ref().map_or(DECOY, Secret::reveal);
            let fits = Argon2::default().verify_password(password.reveal().as_bytes(), against).is_ok();
            fits && hash.is_some()
        })
        .await
    }

    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Code> {
        let place = Place::take(&self.waiting).ok_or(Code::Busy)?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| Code::Draining)?;
        let done = tokio::task::spawn_blocking(move || {
            let out = work();
            drop((turn, place));
            out
        });
        done.await.map_err(|_| Code::Internal)
    }
}

/// A place among those that wait or work.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(waiting.clone());
        (waiting.fetch_add(1, Ordering::Relaxed) < HASHES_AT_ONCE + HASHES_WAITING).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

/// What a password is checked against when there is nothing: of the same parameters, and no password's.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBuaXRyYXRl$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// The parameters are Argon2id's defaults in the crate: 19 MiB, two passes, one lane (OWASP, 2023).
fn hash(password: &Secret, salt: &[u8]) -> Option<String> {
    Argon2::default().hash_password_with_salt(password.reveal().as_bytes(), salt).ok().map(|hash: PasswordHash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_hash_and_nothing_fits_none() {
        let hasher = Hasher::new();
        let (right, wrong) = (Secret::new("correct horse"), Secret::new("battery staple"));
        let first = hasher.hash(right.clone()).await.unwrap();
        let second = hasher.hash(right.clone()).await.unwrap();
        assert_ne!(first, second, "each has its own salt");
        assert!(first.reveal().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", first.reveal());
        assert!(hasher.verify(right.clone(), Some(first.clone())).await.unwrap());
        assert!(!hasher.verify(wrong, Some(first)).await.unwrap());
        assert!(!hasher.verify(right, None).await.unwrap());
        assert!(PasswordHash::new(DECOY).is_ok(), "or nothing would be computed");
        assert!(!hasher.verify(Secret::new("x"), Some(Secret::new("no hash"))).await.unwrap());
    }

    #[tokio::test]
    async fn more_than_may_wait_are_busy_and_leave_no_place_taken() {
        let hasher = Hasher::new();
        let held: Vec<_> = (0..HASHES_AT_ONCE + HASHES_WAITING).map(|_| Place::take(&hasher.waiting).unwrap()).collect();
        assert_eq!(hasher.hash(Secret::new("x")).await.unwrap_err(), Code::Busy);
        drop(held);
        assert_eq!(hasher.waiting.load(Ordering::Relaxed), 0);
    }
}
