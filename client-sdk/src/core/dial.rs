//! Where to connect next, and when.
//!
//! In: seeds, found edges, failures, time. Out: an address and the moment to try it.
//! Invariants: an address that failed is tried again only after the others; the delay is full jitter over a doubling bound; a hint
//! of the server wins. Bound: `ADDRESSES_MAX`.

use std::time::{Duration, Instant};

use super::backoff;

/// When to try again. The delay is drawn evenly from 0 to a bound that doubles from `min` to `max` (full jitter).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// Bound of the first delay.
    pub min: Duration,
    /// Bound of the longest delay.
    pub max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { min: Duration::from_secs(1), max: Duration::from_secs(30) }
    }
}

/// Addresses remembered. Further edges are not taken in.
pub(crate) const ADDRESSES_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Dial {
    policy: RetryPolicy,
    addresses: Vec<Address>,
    attempts: u32,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Address {
    /// `host:port`.
    name: String,
    failures: u32,
}

impl Dial {
    pub(crate) fn new(policy: RetryPolicy, addresses: impl IntoIterator<Item = String>) -> Self {
        let mut dial = Self { policy, addresses: Vec::new(), attempts: 0, not_before: None };
        dial.learn(addresses);
        dial
    }
    /// Takes more addresses in.
    pub(crate) fn learn(&mut self, addresses: impl IntoIterator<Item = String>) {
        for name in addresses {
            if self.addresses.len() < ADDRESSES_MAX && self.addresses.iter().all(|known| known.name != name) {
                self.addresses.push(Address { name, failures: 0 });
            }
        }
    }
    /// The address to try: one of those that failed least; `spread` (below 1) says which.
    pub(crate) fn choose(&self, spread: f64) -> Option<String> {
        let least = self.addresses.iter().map(|address| address.failures).min()?;
        let best: Vec<_> = self.addresses.iter().filter(|address| address.failures == least).collect();
        let index = (spread * best.len() as f64) as usize;
        best.get(index.min(best.len() - 1)).map(|address| address.name.clone())
    }
    /// When to try; `None`: now.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }
    pub(crate) fn handle_connected(&mut self, name: &str) {
        self.attempts = 0;
        self.not_before = None;
        for address in &mut self.addresses {
            // Nodes come back: an old failure must not keep everybody away for ever.
            address.failures = if address.name == name { 0 } else { address.failures.min(1) };
        }
    }
    /// The connection to `name` failed or was lost; `hint`: the server said how long to wait.
    pub(crate) fn handle_failed(&mut self, now: Instant, spread: f64, name: &str, hint: Option<Duration>) {
        let worst = self.addresses.iter().map(|address| address.failures).max().unwrap_or(0);
        if let Some(address) = self.addresses.iter_mut().find(|address| address.name == name) {
            address.failures = worst.saturating_add(1);
        }
        let delay = hint.map_or_else(|| backoff(self.policy.min, self.policy.max, self.attempts, spread), |hint| hint.mul_f64(1.0 + spread / 2.0));
        self.attempts = self.attempts.saturating_add(1);
        self.not_before = Some(now + delay);
    }
    /// The network is another: try at once.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
        self.not_before = None;
        self.addresses.iter_mut().for_each(|address| address.failures = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial() -> Dial {
        Dial::new(RetryPolicy::default(), ["a:1".to_owned(), "b:1".to_owned(), "a:1".to_owned()])
    }

    #[test]
    fn a_failed_address_comes_after_the_others() {
        let mut dial = dial();
        let first = dial.choose(0.0).expect("an address");
        dial.handle_failed(Instant::now(), 0.5, &first, None);
        for spread in [0.0, 0.5, 0.999] {
            assert_ne!(dial.choose(spread), Some(first.clone()));
        }
    }

    #[test]
    fn the_one_that_failed_last_comes_last_also_after_all_have_failed_once() {
        let mut dial = Dial::new(RetryPolicy::default(), ["a:1", "b:1", "c:1"].map(str::to_owned));
        for name in ["a:1", "b:1", "c:1"] {
            dial.handle_connected(name);
            dial.handle_failed(Instant::now(), 0.5, name, None);
        }
        for spread in [0.0, 0.5, 0.999] {
            assert_ne!(dial.choose(spread).as_deref(), Some("c:1"));
        }
    }

    #[test]
    fn delays_grow_within_the_policy_and_end_with_success() {
        let mut dial = dial();
        let now = Instant::now();
        for bound in [1, 2, 4, 8, 16, 30, 30] {
            dial.handle_failed(now, 0.999, "a:1", None);
            let delay = dial.not_before().expect("a delay") - now;
            assert!(delay <= Duration::from_secs(bound), "{delay:?} over {bound}");
            assert!(delay > Duration::from_millis(990 * bound), "{delay:?} under {bound}");
        }
        dial.handle_connected("a:1");
        assert_eq!(dial.not_before(), None);
    }

    #[test]
    fn the_hint_of_the_server_wins() {
        let mut dial = dial();
        let now = Instant::now();
        dial.handle_failed(now, 0.0, "a:1", Some(Duration::from_secs(7)));
        assert_eq!(dial.not_before(), Some(now + Duration::from_secs(7)));
    }
}
