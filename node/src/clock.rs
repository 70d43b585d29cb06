//! The time seam: the only place of the node that reads a clock.
//!
//! In: nothing. Out: wall-clock time for people and commands, monotonic time for deadlines. No correctness hangs on the former.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kith_wire::id::Timestamp;
use rand::RngExt;
pub use tokio::time::Instant;

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time.
    fn now(&self) -> Timestamp;
    /// Monotonic time.
    fn instant(&self) -> Instant;
}

/// A clock that is shared.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock seam")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// Measures from when it is made, for metrics only: nothing may hang on it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Self {
        Self(SystemClock.instant())
    }
    /// Since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A random wait between the two, both inclusive: so that those who failed together do not come back together.
pub fn jitter(least: Duration, most: Duration) -> Duration {
    if most <= least { least } else { rand::rng().random_range(least..=most) }
}

/// Random bytes, for secrets: from the thread's generator, which is a cryptographic one.
pub fn draw_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes);
    bytes
}

/// A random number, for names that need only be unique.
pub fn draw() -> u64 {
    rand::rng().random()
}
