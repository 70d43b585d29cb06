//! What a store keeps under a key of the app's.
//!
//! In: a key, bodies with their place. Out: the same, sealed or open; whether the key is the file's. Layout: each file has one row `seal` with a
//! salt of its own and a proof; a body is a random nonce (12 B), what is sealed, a tag (16 B), by AES-256-GCM-SIV under a key of the salt and the
//! app's. Invariants: a body opens only in its place; a file is of one key, or of none, for all of its life; a wrong key is told before anything
//! is written. Not here: which columns are bodies (`outbox`, `history`).

use std::{borrow::Cow, fmt, path::Path};

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, Salt},
    rand,
};
use kith_wire::id::hash;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use zeroize::Zeroizing;

use super::database::{damaged, failed};
use crate::store::{StoreFailed, StoreTrouble};

/// The table, for the steps of both files.
pub(super) const STEP: &str = "
    CREATE TABLE seal (id INTEGER PRIMARY KEY CHECK (id = 1), salt BLOB NOT NULL, proof BLOB NOT NULL, sum INTEGER NOT NULL);
";

/// Says that it is the right key.
const PROOF: &[u8] = b"kith store";

/// A store's key: 32 random bytes that the app keeps where the system keeps secrets (Keychain, Keystore, Secret Service). Not a password: nothing
/// here makes guessing one slow.
#[derive(Clone)]
pub struct StoreKey(Zeroizing<[u8; StoreKey::BYTES]>);

impl StoreKey {
    /// How long one is.
    pub const BYTES: usize = 32;

    /// Of these bytes. Whoever loses them loses the store: what was queued, and the device.
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(…)")
    }
}

/// Where a body is kept: it opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// Table and column.
    pub(super) table: &'static str,
    /// Which row.
    pub(super) of: &'a [u8],
    /// Which of the row's.
    pub(super) at: u64,
}

impl<'a> Place<'a> {
    pub(super) fn new(table: &'static str, of: &'a [u8], at: u64) -> Self {
        Self { table, of, at }
    }
    fn bytes(self) -> Vec<u8> {
        let mut bytes = self.table.as_bytes().to_vec();
        bytes.push(0);
        bytes.extend_from_slice(&self.at.to_be_bytes());
        bytes.extend_from_slice(self.of);
        bytes
    }
}

/// How one file keeps its bodies.
pub(super) enum Seal {
    /// As they are.
    Open,
    /// Under a key.
    Closed(Box<RandomizedNonceKey>),
}

impl Seal {
    /// The first thing in a new file: what makes it one of this key.
    pub(super) fn begin(db: &Connection, file: &str, key: Option<&StoreKey>) -> Result<(), StoreFailed> {
        let Some(key) = key else { return Ok(()) };
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(|_| StoreFailed::new(StoreTrouble::Io, "the system gave no random bytes"))?;
        let proof = Self::of(&salt, file, key)?.close(proof(), PROOF)?.into_owned();
        let values = params![&salt[..], proof, sum(&salt, &proof)];
        let made = db.execute("INSERT INTO seal (id, salt, proof, sum) VALUES (1, ?, ?, ?)", values);
        made.map(drop).map_err(|error| failed("writing the seal", &error))
    }
    /// That of a file, proven.
    pub(super) fn read(db: &Connection, file: &str, key: Option<&StoreKey>) -> Result<Self, StoreFailed> {
        let reading = |error| failed("reading the seal", &error);
        let wrong = |text: &str| StoreFailed::new(StoreTrouble::WrongKey, format!("{file}: {text}"));
        // A file of an older version has none.
        let has_table = db.query_row("SELECT 1 FROM sqlite_schema WHERE name = 'seal'", [], |_| Ok(())).optional().map_err(reading)?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let found = match has_table {
            Some(()) => db.query_row("SELECT salt, proof, sum FROM seal", [], row).optional().map_err(reading)?,
            None => None,
        };
        let found: Option<(Vec<u8>, Vec<u8>, i64)> = found;
        match (found, key) {
            (None, None) => Ok(Self::Open),
            (None, Some(_)) => Err(wrong("it was made without a key")),
            (Some((salt, proof, found)), _) if found != sum(&salt, &proof) => Err(damaged("the seal")),
            (Some(_), None) => Err(wrong("it is encrypted, and no key was given")),
            (Some((salt, known, _)), Some(key)) => {
                let seal = Self::of(&salt, file, key)?;
                if seal.open(proof(), known).is_ok_and(|found| found == PROOF) { Ok(seal) } else { Err(wrong("its key is another")) }
            }
        }
    }
    /// Whether a file may be opened with this key. One that is not there may, and one that is damaged: what becomes of it is not said here.
    pub(super) fn check(path: &Path, key: Option<&StoreKey>) -> Result<(), StoreFailed> {
        if !path.exists() {
            return Ok(());
        }
        let Ok(db) = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY) else { return Ok(()) };
        // One that was begun and has no table yet is made by whoever opens it.
        match db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)) {
            Ok(version) if version > 0 => {}
            _ => return Ok(()),
        }
        match Self::read(&db, &super::database::name_of(path), key) {
            Err(error) if error.trouble == StoreTrouble::WrongKey => Err(error),
            _ => Ok(()),
        }
    }
    fn of(salt: &[u8], file: &str, key: &StoreKey) -> Result<Self, StoreFailed> {
        let mut derived = Zeroizing::new([0; StoreKey::BYTES]);
        let refused = |_| StoreFailed::new(StoreTrouble::Io, "the key of a file could not be made");
        let root = Salt::new(HKDF_SHA256, salt).extract(&key.0[..]);
        let of = [&b"kith store 1 "[..], file.as_bytes()];
        root.expand(&of, HKDF_SHA256).and_then(|okm| okm.fill(&mut derived[..])).map_err(refused)?;
        Ok(Self::Closed(Box::new(RandomizedNonceKey::new(&AES_256_GCM_SIV, &derived[..]).map_err(refused)?)))
    }

    /// A body as it is kept.
    pub(super) fn close<'a>(&self, place: Place<'_>, body: &'a [u8]) -> Result<Cow<'a, [u8]>, StoreFailed> {
        let Self::Closed(key) = self else { return Ok(Cow::Borrowed(body)) };
        let mut sealed = body.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(place.bytes()), &mut sealed)
            .map_err(|_| StoreFailed::new(StoreTrouble::Io, "a body could not be sealed"))?;
        let mut kept = nonce.as_ref().to_vec();
        kept.append(&mut sealed);
        Ok(Cow::Owned(kept))
    }
    /// A body as it was.
    pub(super) fn open(&self, place: Place<'_>, mut kept: Vec<u8>) -> Result<Vec<u8>, StoreFailed> {
        let Self::Closed(key) = self else { return Ok(kept) };
        let Some((nonce, sealed)) = kept.split_at_mut_checked(NONCE_LEN) else { return Err(damaged(place.table)) };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged(place.table))?;
        let body = key.open_in_place(nonce, Aad::from(place.bytes()), sealed).map_err(|_| damaged(place.table))?;
        Ok(body.to_vec())
    }
}

fn proof() -> Place<'static> {
    Place::new("seal", &[], 0)
}

fn sum(salt: &[u8], proof: &[u8]) -> i64 {
    hash(&[b"seal", salt, proof]).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(salt: u8, file: &str, key: u8) -> Seal {
        Seal::of(&[salt; 16], file, &StoreKey::new([key; 32])).expect("a key")
    }

    #[test]
    fn a_body_opens_in_its_place_by_its_key_and_nowhere_else() {
        let (mine, place) = (seal(1, "a.db", 1), Place::new("records", b"row", 7));
        let kept = mine.close(place, b"hello").expect("sealed").into_owned();
        assert_eq!(mine.open(place, kept.clone()).expect("its place"), b"hello");
        assert!(!kept.windows(5).any(|part| part == b"hello"));
        assert_ne!(mine.close(place, b"hello").expect("sealed").into_owned(), kept, "no two are the same");
        for other in [seal(2, "a.db", 1), seal(1, "b.db", 1), seal(1, "a.db", 2)] {
            assert_eq!(other.open(place, kept.clone()).expect_err("another key").trouble, StoreTrouble::Corrupt);
        }
        for other in [Place::new("writes", b"row", 7), Place::new("records", b"rov", 7), Place::new("records", b"row", 8)] {
            assert!(mine.open(other, kept.clone()).is_err());
        }
        for length in 0..kept.len() {
            assert!(mine.open(place, kept[..length].to_vec()).is_err());
        }
        assert_eq!(Seal::Open.open(place, Seal::Open.close(place, b"hello").expect("as it is").into_owned()).expect("as it is"), b"hello");
    }
}
