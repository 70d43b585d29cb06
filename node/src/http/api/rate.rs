//! How often somebody may ask: by user, by device and by address, each with a burst.
//!
//! In: who asks. Out: go on, or how long to wait. A generic cell rate algorithm over the node's own clock. Bound: [`KEYS_MAX`] askers of each
//! kind are told apart; those that have not asked for a while are forgotten, at most once a second, and at the bound all share one allowance.

use std::{
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{self, Clock as _},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::keyed::HashMapStateStore,
};
use kith_wire::{
    client::Refusal,
    id::{DeviceId, UserId},
};

use super::problem::Problem;
use crate::clock::{Instant, SharedClock};

/// Requests a second, over a longer time; four times as many may come at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rates {
    /// Of one user.
    pub user: NonZeroU32,
    /// Of one device.
    pub device: NonZeroU32,
    /// From one address: an IPv4 address, or the first 64 bits of an IPv6 one.
    pub address: NonZeroU32,
}

/// Who has asked how often.
pub(super) struct Limiter {
    users: Kind<UserId>,
    devices: Kind<DeviceId>,
    addresses: Kind<IpAddr>,
}

impl Limiter {
    pub(super) fn new(rates: Rates, clock: &SharedClock) -> Self {
        let seam = Seam { clock: clock.clone(), start: clock.instant() };
        Self { users: Kind::new(rates.user, seam.clone()), devices: Kind::new(rates.device, seam.clone()), addresses: Kind::new(rates.address, seam) }
    }
    /// Counts a request of an address.
    pub(super) fn address(&self, address: IpAddr) -> Result<(), Problem> {
        self.addresses.check(network(address))
    }
    /// Counts a request of a user's device.
    pub(super) fn caller(&self, user: UserId, device: DeviceId) -> Result<(), Problem> {
        self.devices.check(device)?;
        self.users.check(user)
    }
}

/// What one customer of an access provider has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// `None` stands for all that came when the table was full.
type Limited<K> = RateLimiter<Option<K>, HashMapStateStore<Option<K>>, Seam, NoOpMiddleware<Nanos>>;

struct Kind<K: Hash + Eq + Clone> {
    limited: Limited<K>,
    /// Second in which those of long ago were forgotten last.
    swept_s: AtomicU64,
}

impl<K: Hash + Eq + Clone> Kind<K> {
    fn new(per_second: NonZeroU32, seam: Seam) -> Self {
        let burst = per_second.saturating_mul(BURST);
        let limited = RateLimiter::new(Quota::per_second(per_second).allow_burst(burst), HashMapStateStore::default(), seam);
        Self { limited, swept_s: AtomicU64::new(0) }
    }
    fn check(&self, key: K) -> Result<(), Problem> {
        let limited = &self.limited;
        if limited.len() >= KEYS_MAX {
            let now_s = Duration::from_nanos(limited.clock().now().as_u64()).as_secs();
            if self.swept_s.swap(now_s, Ordering::Relaxed) != now_s {
                limited.retain_recent();
            }
        }
        let key = (limited.len() < KEYS_MAX).then_some(key);
        limited.check_key(&key).map_err(|not_until| {
            let wait = not_until.wait_time_from(limited.clock().now());
            let ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1);
            Problem::from(Refusal::busy(ms).with_text("too many requests: wait as long as this says"))
        })
    }
}

/// The node's clock, as the algorithm wants it.
#[derive(Clone)]
struct Seam {
    clock: SharedClock,
    start: Instant,
}

impl clock::Clock for Seam {
    type Instant = Nanos;
    fn now(&self) -> Nanos {
        Nanos::from(self.clock.instant().saturating_duration_since(self.start) + BEGUN)
    }
}

/// Askers of each kind that are told apart.
const KEYS_MAX: usize = 65_536;
/// So many seconds' worth may come at once.
const BURST: NonZeroU32 = NonZeroU32::new(4).expect("it is not 0");
/// Time does not begin at 0 for the algorithm.
const BEGUN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kith_wire::id::Timestamp;

    use super::*;
    use crate::clock::Clock;

    struct Hand(Instant, AtomicU64);
    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::new(0)
        }
        fn instant(&self) -> Instant {
            self.0 + Duration::from_millis(self.1.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_burst_passes_then_the_rate_and_others_are_not_touched() {
        let hand = Arc::new(Hand(Instant::now(), AtomicU64::new(0)));
        let clock: SharedClock = hand.clone();
        let two = NonZeroU32::new(2).unwrap();
        let limiter = Limiter::new(Rates { user: two, device: NonZeroU32::new(100).unwrap(), address: two }, &clock);
        let ask = |user: u64| limiter.caller(UserId::new(user), DeviceId::new(1));
        assert_eq!((0..20).filter(|_| ask(1).is_ok()).count(), 8);
        let wait = ask(1).unwrap_err().retry_after_ms.unwrap();
        assert!((1..=500).contains(&wait), "{wait}");
        assert!(ask(2).is_ok());
        hand.1.store(u64::from(wait), Ordering::Relaxed);
        assert!(ask(1).is_ok(), "it may ask again when it was told to");
        assert!(ask(1).is_err());
    }

    #[test]
    fn an_ipv6_customer_is_one_asker() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
