//! Connections that are kept: one a host and credential.
//!
//! In: who is asked. Out: the place of its connection, empty or not. Bounds: so many places; the one that was not used for longest makes room, and whoever is using
//! it is not disturbed. Not here: making connections, and whether one still works.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use kith_wire::id::Timestamp;

use super::{Asked, HEAD_BYTES_MAX, Reach, Speaks, Tasks, connect::Stream};

/// Not spoken on yet.
pub(super) type Http1 = TokioIo<Box<dyn Stream>>;
pub(super) type Http2 = http2::SendRequest<Full<Bytes>>;

pub(super) fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    builder
}

pub(super) fn http2(tasks: Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder.max_header_list_size(HEAD_BYTES_MAX as u32);
    builder
}

/// What two requests on one connection have in common.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    host: String,
    port: u16,
    is_tls: bool,
    reach: Reach,
    speaks: Speaks,
    credential: u64,
}

impl Key {
    pub(super) fn of(asked: &Asked) -> Self {
        let (reach, speaks, credential) = (asked.reach, asked.speaks, asked.credential);
        Self { host: asked.url.host().to_owned(), port: asked.url.port(), is_tls: asked.url.is_tls(), reach, speaks, credential }
    }
}

/// The place of one connection. Locked while it is made.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) open: tokio::sync::Mutex<Option<Http2>>,
    /// The host has shown that it does not speak HTTP/2: nobody waits for anybody's connection.
    pub(super) is_http1: AtomicBool,
}

pub(super) struct Pool {
    most: usize,
    idle_max_ms: u64,
    slots: Mutex<BTreeMap<Key, (Timestamp, Arc<Slot>)>>,
}

impl Pool {
    pub(super) fn new(most: usize, idle_max_ms: u64) -> Self {
        Self { most, idle_max_ms, slots: Mutex::default() }
    }
    /// The place of this connection; it counts as used now.
    pub(super) fn slot(&self, key: &Key, now: Timestamp) -> Arc<Slot> {
        let mut slots = self.lock();
        if let Some((used, slot)) = slots.get_mut(key)
            && now.get().saturating_sub(used.get()) <= self.idle_max_ms
        {
            *used = now;
            return slot.clone();
        }
        slots.remove(key);
        while slots.len() >= self.most {
            let oldest = slots.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.map(|key| slots.remove(&key));
        }
        let slot = Arc::new(Slot::default());
        slots.insert(key.clone(), (now, slot.clone()));
        slot
    }
    /// Nobody else gets this connection; a newer one of the same key stays.
    pub(super) fn forget(&self, key: &Key, slot: &Arc<Slot>) {
        let mut slots = self.lock();
        if slots.get(key).is_some_and(|(_, known)| Arc::ptr_eq(known, slot)) {
            slots.remove(key);
        }
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, (Timestamp, Arc<Slot>)>> {
        // Any state of it is a good one.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: usize) -> Key {
        Key { host: host.to_string(), port: 443, is_tls: true, reach: Reach::Public, speaks: Speaks::Either, credential: 0 }
    }

    #[test]
    fn the_least_used_makes_room_and_the_idle_are_made_anew() {
        let pool = Pool::new(3, 1_000);
        let at = Timestamp::new;
        let slots: Vec<_> = (0..3).map(|host| pool.slot(&key(host), at(host as u64))).collect();
        assert!(Arc::ptr_eq(&slots[0], &pool.slot(&key(0), at(5))), "used again");
        pool.slot(&key(3), at(6));
        assert_eq!(pool.lock().len(), 3);
        assert!(Arc::ptr_eq(&slots[0], &pool.slot(&key(0), at(7))), "the second was the oldest");
        assert!(!Arc::ptr_eq(&slots[0], &pool.slot(&key(0), at(2_000))), "idle for too long");
    }

    #[test]
    fn only_the_connection_that_failed_is_forgotten() {
        let pool = Pool::new(3, 1_000);
        let first = pool.slot(&key(0), Timestamp::new(0));
        pool.forget(&key(0), &first);
        let second = pool.slot(&key(0), Timestamp::new(0));
        pool.forget(&key(0), &first);
        assert!(Arc::ptr_eq(&second, &pool.slot(&key(0), Timestamp::new(0))));
    }
}
