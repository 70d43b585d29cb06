//! The time seam: the only place of the node that reads a clock.
//!
//! In: nothing. Out: wall-clock time for people and commands, monotonic time for deadlines. No correctness hangs on the former.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use kith_wire::id::Timestamp;
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
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
    fn instant(&self) -> Instant {
        Instant::now()
    }
}
