//! Whether the lanes of a node still run: each beats once a second, and a health check asks when.
//!
//! In: the lanes. Out: the one that has been silent for longest. Invariant: asking waits for nothing. Not here: what is made of it (`http::ready`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use kith_raft::Lanes;

use crate::{
    clock::{Instant, SharedClock},
    supervise::Tasks,
};

/// When each lane last ran. Clones are the same one.
#[derive(Clone)]
pub struct Pulse {
    clock: SharedClock,
    since: Instant,
    /// Milliseconds from `since` to the last beat, by lane.
    beats: Arc<[AtomicU64]>,
}

impl std::fmt::Debug for Pulse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pulse({:?})", self.slowest())
    }
}

impl Pulse {
    /// One task on each lane.
    pub fn start(lanes: &Lanes, clock: SharedClock, tasks: &Tasks) -> Self {
        let pulse = Self { since: clock.instant(), clock, beats: (0..lanes.count()).map(|_| AtomicU64::new(0)).collect() };
        for lane in 0..lanes.count() {
            let handle = lanes.handle(lanes.of_number(lane as u64));
            tasks.on(handle).spawn("pulse.lane", pulse.clone().beat(lane));
        }
        pulse
    }

    /// The lane that has been silent for longest, and for how long.
    pub fn slowest(&self) -> (usize, Duration) {
        let now = self.clock.instant();
        let silence = |(lane, beat): (usize, &AtomicU64)| {
            let last = self.since + Duration::from_millis(beat.load(Relaxed));
            (lane, now.saturating_duration_since(last))
        };
        self.beats.iter().enumerate().map(silence).max_by_key(|(_, silence)| *silence).unwrap_or_default()
    }

    async fn beat(self, lane: usize) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            let since = self.clock.instant().saturating_duration_since(self.since);
            if let Some(beat) = self.beats.get(lane) {
                beat.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Relaxed);
            }
        }
    }
}

/// Between two beats of a lane.
const EVERY: Duration = Duration::from_secs(1);
