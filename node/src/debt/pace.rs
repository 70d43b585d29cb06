//! When a duty that walks debts looks at them again.
//!
//! In: what could not be done, and the group's feed. Out: what is due, and a wake-up. Invariants: what failed waits 1 to 30 s, twice as long each
//! time; news of debts wakes at once, and without any the rows are read every [`REREAD`]. Bounds: an entry for each debt that failed, kept
//! while its row stands. Not here: what is owed, and how it is paid.

use std::{collections::HashMap, hash::Hash, time::Duration};

use kith_machine::effect::Effect;
use kith_raft::{Feed, FeedError};

use crate::clock::Instant;

/// First and longest wait of one that could not be done.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The rows are read so often although there was no news of them.
const REREAD: Duration = Duration::from_secs(30);

/// Of each that failed: when it is tried again, and how long the last wait was.
pub(crate) struct Pace<K>(HashMap<K, (Instant, Duration)>);

impl<K: Eq + Hash> Pace<K> {
    pub(crate) fn new() -> Self {
        Self(HashMap::new())
    }
    pub(crate) fn is_due(&self, key: &K, now: Instant) -> bool {
        self.0.get(key).is_none_or(|(at, _)| *at <= now)
    }
    pub(crate) fn done(&mut self, key: &K) {
        self.0.remove(key);
    }
    pub(crate) fn failed(&mut self, key: K, now: Instant) {
        let wait = self.0.get(&key).map_or(RETRY.0, |(_, wait)| (*wait * 2).min(RETRY.1));
        self.0.insert(key, (now + wait, wait));
    }
    /// Forgets what is owed no more.
    pub(crate) fn keep(&mut self, is_owed: impl Fn(&K) -> bool) {
        self.0.retain(|key, _| is_owed(key));
    }
    /// When the rows are to be read again. What failed together is not read for one by one.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        self.0.values().map(|(at, _)| *at).min().unwrap_or(now + REREAD).max(now + RETRY.0 / 4).min(now + REREAD)
    }
}

/// Waits until then, or for news of debts; false: the group was closed. Cancel safe: the feed keeps what was not taken.
pub(crate) async fn is_open_at(feed: &mut Feed, at: Instant) -> bool {
    let news = async {
        loop {
            match feed.next().await {
                // What came with buckets is owed as well.
                Ok(event) if event.effects.iter().any(|effect| matches!(effect, Effect::Owes | Effect::OwnershipChanged)) => return true,
                Ok(_) => {}
                Err(FeedError::Lagged(_)) => return true,
                Err(FeedError::Closed) => return false,
            }
        }
    };
    tokio::select! {
        biased;
        is_open = news => is_open,
        () = tokio::time::sleep_until(at) => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_fails_waits_twice_as_long_each_time() {
        let (mut pace, mut now) = (Pace::new(), Instant::now());
        assert_eq!(pace.next(now), now + REREAD);
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            assert!(pace.is_due(&"a", now) && pace.is_due(&"b", now));
            pace.failed("a", now);
            let at = now + Duration::from_secs(wait);
            assert_eq!(pace.next(now), at);
            assert!(!pace.is_due(&"a", at - Duration::from_millis(1)) && pace.is_due(&"b", now));
            now = at;
        }
        assert_eq!(pace.next(now), now + RETRY.0 / 4, "what is due is not read for without a pause");
        pace.keep(|key| *key != "a");
        pace.failed("a", now);
        assert_eq!(pace.next(now), now + RETRY.0, "forgotten, it begins anew");
        pace.done(&"a");
        assert!(pace.is_due(&"a", now));
    }
}
