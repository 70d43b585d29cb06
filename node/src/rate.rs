//! How often something may happen: a token bucket for each of many keys, in bounded memory.
//!
//! In: a key (an address, a name) and the time. Out: whether it may go on, or when. Bounds: [`KEYS_MAX`] keys; beyond it, those that are not
//! among them share one bucket. Not here: what is counted.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Instant;

/// Keys that are remembered.
pub const KEYS_MAX: usize = 16_384;
/// All of them are looked at once in so long at most: a flood of keys must not make each attempt cost that.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

/// How much, and how fast it comes back.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    /// In one go.
    pub burst: u32,
    /// A second, for long.
    pub per_second: f64,
}

/// Buckets of one rate.
#[derive(Debug)]
pub struct Rates {
    rate: Rate,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    by_key: HashMap<u128, Bucket>,
    pruned: Option<Instant>,
    others: Option<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Rates {
    /// Every bucket is full.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }
    /// Takes one.
    ///
    /// # Errors
    /// There is none now: so long until there is.
    pub fn take(&self, key: u128, now: Instant) -> Result<(), Duration> {
        // Counters only: any state is a good one.
        let mut buckets: MutexGuard<'_, Buckets> = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(key, self.rate, now)
    }
    /// Keys that are remembered now.
    pub fn len(&self) -> usize {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner).by_key.len()
    }
    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Buckets {
    fn take(&mut self, key: u128, rate: Rate, now: Instant) -> Result<(), Duration> {
        let full = Bucket { tokens: f64::from(rate.burst), at: now };
        let crowded = self.by_key.len() >= KEYS_MAX && !self.by_key.contains_key(&key);
        if crowded && self.pruned.is_none_or(|at| now >= at + PRUNE_EVERY) {
            self.pruned = Some(now);
            // Who has not come for so long that the bucket is full again needs none.
            let refill = Duration::from_secs_f64(f64::from(rate.burst) / rate.per_second);
            self.by_key.retain(|_, bucket| now.saturating_duration_since(bucket.at) < refill);
        }
        let bucket = if self.by_key.len() >= KEYS_MAX && !self.by_key.contains_key(&key) {
            self.others.get_or_insert(full)
        } else {
            self.by_key.entry(key).or_insert(full)
        };
        let grown = now.saturating_duration_since(bucket.at).as_secs_f64() * rate.per_second;
        bucket.tokens = (bucket.tokens + grown).min(full.tokens);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.tokens) / rate.per_second))
    }
}

/// What an address is counted as: itself, or the /64 of an IPv6 one, since a single host has all of that.
pub fn address(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_burst_and_then_its_rate_and_is_told_when() {
        let now = Instant::now();
        let rates = Rates::new(Rate { burst: 3, per_second: 2.0 });
        assert_eq!((0..5).filter(|_| rates.take(1, now).is_ok()).count(), 3);
        assert!(rates.take(2, now).is_ok(), "another key has its own");
        let wait = rates.take(1, now).unwrap_err();
        assert!(wait <= Duration::from_millis(500));
        assert!(rates.take(1, now + wait).is_ok());
    }

    #[test]
    fn buckets_are_bounded() {
        let now = Instant::now();
        let rates = Rates::new(Rate { burst: 1, per_second: 1.0 });
        for key in 0..2 * KEYS_MAX as u128 {
            let _ = rates.take(key, now);
        }
        assert_eq!(rates.len(), KEYS_MAX);
    }

    #[test]
    fn a_host_has_one_bucket_for_all_of_its_addresses() {
        assert_eq!(address("2001:db8::1".parse().unwrap()), address("2001:db8::ffff".parse().unwrap()));
        assert_ne!(address("2001:db8:0:1::1".parse().unwrap()), address("2001:db8::1".parse().unwrap()));
        assert_eq!(address("::ffff:192.0.2.1".parse().unwrap()), address("192.0.2.1".parse().unwrap()));
    }
}
