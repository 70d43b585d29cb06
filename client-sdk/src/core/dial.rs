//! Where to connect next, and when.
//!
//! In: seeds, found edges in their order, failures, time. Out: an address and the moment to try it.
//! Invariants: an address that failed is tried again only after the others; among those the best ranked goes first; the delay is full jitter over
//! a doubling bound; a hint of the server wins, unless it names other places. Bound: `ADDRESSES_MAX`.

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

/// Addresses remembered. Of those that no answer names any more the worst makes room; seeds stay.
pub(crate) const ADDRESSES_MAX: usize = 64;
/// Bound of the delay before a place that a full or ending edge has named.
const ELSEWHERE: Duration = Duration::from_millis(250);
/// Of an address that no answer names.
const UNRANKED: usize = usize::MAX;

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
    /// Its place in the last answer.
    rank: usize,
    is_seed: bool,
}

impl Dial {
    pub(crate) fn new(policy: RetryPolicy, seeds: impl IntoIterator<Item = String>) -> Self {
        let mut dial = Self { policy, addresses: Vec::new(), attempts: 0, not_before: None };
        for name in seeds {
            if dial.addresses.len() < ADDRESSES_MAX && dial.find(&name).is_none() {
                dial.addresses.push(Address { name, failures: 0, rank: UNRANKED, is_seed: true });
            }
        }
        dial
    }
    /// Takes an answer in: edges, best first. What it does not name comes after them.
    pub(crate) fn rank(&mut self, names: impl IntoIterator<Item = String>) {
        self.addresses.iter_mut().for_each(|address| address.rank = UNRANKED);
        for (rank, name) in names.into_iter().take(ADDRESSES_MAX / 2).enumerate() {
            match self.find(&name) {
                Some(address) => address.rank = address.rank.min(rank),
                None => self.add(name, rank),
            }
        }
    }
    /// The address answers, or is where to go: what it failed before is forgotten.
    pub(crate) fn forgive(&mut self, name: &str) {
        if let Some(address) = self.find(name) {
            address.failures = 0;
        }
    }
    /// The address to try: of those that failed least the best ranked, else any; `spread` (below 1) says which.
    pub(crate) fn choose(&self, spread: f64) -> Option<String> {
        let least = self.addresses.iter().map(|address| (address.failures, address.rank)).min()?;
        let best: Vec<_> = self.addresses.iter().filter(|address| (address.failures, address.rank) == least).collect();
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
    /// The connection to `name` failed or was lost. `hint`: the server said how long to wait; `elsewhere`: it said where to go instead.
    pub(crate) fn handle_failed(&mut self, now: Instant, spread: f64, name: &str, hint: Option<Duration>, elsewhere: Vec<String>) {
        let worst = self.addresses.iter().map(|address| address.failures).max().unwrap_or(0);
        if let Some(address) = self.find(name) {
            address.failures = worst.saturating_add(1);
        }
        if !elsewhere.is_empty() {
            self.rank(elsewhere);
        }
        // Those that are named and have failed themselves are no better than to wait.
        let is_open = self.addresses.iter().any(|address| address.rank != UNRANKED && address.failures == 0);
        let delay = match hint {
            Some(hint) if hint > Duration::ZERO && is_open => ELSEWHERE.min(hint).mul_f64(spread),
            Some(hint) => hint.mul_f64(1.0 + spread / 2.0),
            None => backoff(self.policy.min, self.policy.max, self.attempts, spread),
        };
        self.attempts = self.attempts.saturating_add(1);
        self.not_before = Some(now + delay);
    }
    /// The network is another: try at once.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
        self.not_before = None;
        self.addresses.iter_mut().for_each(|address| address.failures = 0);
    }

    fn find(&mut self, name: &str) -> Option<&mut Address> {
        self.addresses.iter_mut().find(|known| known.name == name)
    }
    fn add(&mut self, name: String, rank: usize) {
        if self.addresses.len() >= ADDRESSES_MAX {
            let old = self.addresses.iter().enumerate().filter(|(_, address)| !address.is_seed && address.rank == UNRANKED);
            let Some((worst, _)) = old.max_by_key(|(_, address)| address.failures) else { return };
            self.addresses.swap_remove(worst);
        }
        self.addresses.push(Address { name, failures: 0, rank, is_seed: false });
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
        dial.handle_failed(Instant::now(), 0.5, &first, None, Vec::new());
        for spread in [0.0, 0.5, 0.999] {
            assert_ne!(dial.choose(spread), Some(first.clone()));
        }
    }

    #[test]
    fn the_one_that_failed_last_comes_last_also_after_all_have_failed_once() {
        let mut dial = Dial::new(RetryPolicy::default(), ["a:1", "b:1", "c:1"].map(str::to_owned));
        for name in ["a:1", "b:1", "c:1"] {
            dial.handle_connected(name);
            dial.handle_failed(Instant::now(), 0.5, name, None, Vec::new());
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
            dial.handle_failed(now, 0.999, "a:1", None, Vec::new());
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
        dial.handle_failed(now, 0.0, "a:1", Some(Duration::from_secs(7)), Vec::new());
        assert_eq!(dial.not_before(), Some(now + Duration::from_secs(7)));
    }

    fn order(dial: &mut Dial, count: usize) -> Vec<String> {
        let mut out = Vec::new();
        for _ in 0..count {
            let name = dial.choose(0.5).expect("an address");
            dial.handle_failed(Instant::now(), 0.5, &name, None, Vec::new());
            out.push(name);
        }
        out
    }

    #[test]
    fn dials_by_rank_then_the_rest_and_what_answers_again_in_its_place() {
        let mut dial = dial();
        dial.rank(["c:1", "b:1", "d:1"].map(str::to_owned));
        assert_eq!(order(&mut dial, 4), ["c:1", "b:1", "d:1", "a:1"]);
        dial.handle_connected("d:1");
        assert_eq!(dial.choose(0.0).as_deref(), Some("d:1"), "where it was let in goes first");
        dial.forgive("c:1");
        assert_eq!(dial.choose(0.0).as_deref(), Some("c:1"));
    }

    #[test]
    fn goes_where_a_full_edge_sends_it_and_waits_once_those_are_full_too() {
        let (mut dial, now, hint) = (dial(), Instant::now(), Some(Duration::from_secs(20)));
        let named = || vec!["c:1".to_owned(), "d:1".to_owned()];
        for at in ["c:1", "d:1"] {
            dial.handle_failed(now, 0.999, "a:1", hint, named());
            assert!(dial.not_before().expect("a moment") <= now + ELSEWHERE);
            assert_eq!(dial.choose(0.0).as_deref(), Some(at));
            dial.handle_failed(now, 0.5, at, None, Vec::new());
        }
        dial.handle_failed(now, 0.0, "d:1", hint, named());
        assert_eq!(dial.not_before(), Some(now + Duration::from_secs(20)));
    }

    #[test]
    fn addresses_are_bounded_and_what_was_named_last_is_known() {
        let mut dial = dial();
        for turn in 0..100 {
            dial.rank((0..8).map(|at| format!("{turn}-{at}:1")));
            assert!(dial.addresses.len() <= ADDRESSES_MAX);
            assert_eq!(dial.choose(0.0), Some(format!("{turn}-0:1")));
        }
        assert!(dial.find("a:1").is_some() && dial.find("b:1").is_some(), "seeds stay");
    }
}
