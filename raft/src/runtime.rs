//! openraft's runtime: tokio, with ticks on a common grid. With the feature `testing` its randomness can be seeded.
//!
//! In: openraft's tasks and timers. Out: tokio's. Each group has a tick of its own, five to a heartbeat: a hundred idle groups would wake a
//! node 2,000 times a second, and each heartbeat would have a frame to itself. So a wait until an instant, which is what a tick is, ends at
//! the next line of a grid that all groups of a lane share ([`tick_every`]): one wake-up serves them all, and heartbeats that are due
//! together leave together. Invariants: a wait never ends early, and less than a line late; one that is shorter than [`EXACT`] (openraft has
//! one behind its disk) is exact; on a thread that was seeded (a simulation), or that has no grid, all are, and numbers repeat. The
//! lines of two nodes stand where their starts put them, so that voters do not stand for election at one moment. Not here: lanes (`lanes`).

use std::{cell::Cell, future::Future, time::Duration};

use openraft::{AsyncRuntime, OptionalSend, TokioRuntime, async_runtime::Instant as _};

/// Waits shorter than this end when they should: no tick is.
const EXACT: Duration = Duration::from_millis(1);

type Instant = <TokioRuntime as AsyncRuntime>::Instant;

/// Lines at which waits end.
#[derive(Clone, Copy, Debug)]
struct Grid {
    origin: Instant,
    /// From one line to the next.
    every: Duration,
}

thread_local! {
    /// Of the lane on this thread. openraft asks its runtime, a type without a value, so there is no other place for it.
    static GRID: Cell<Option<Grid>> = const { Cell::new(None) };
}

/// From now on the groups of this thread's lane tick together, once in so long.
pub(crate) fn tick_every(every: Duration) {
    if !every.is_zero() && GRID.get().is_none_or(|grid| grid.every != every) {
        GRID.set(Some(Grid { origin: Instant::now(), every }));
    }
}

/// Tokio, with ticks on a common grid.
#[derive(Debug)]
pub(crate) struct Runtime(TokioRuntime);

impl Grid {
    /// The first line that is not before `deadline`; `deadline` itself, if it is nearer than [`EXACT`] or before all lines.
    fn line(&self, deadline: Instant, now: Instant) -> Instant {
        if deadline.saturating_duration_since(now) < EXACT || deadline < self.origin {
            return deadline;
        }
        let past = deadline.saturating_duration_since(self.origin).as_nanos() % self.every.as_nanos();
        // Less than a line, and a line is far below the 584 years that fit.
        let past = Duration::from_nanos(u64::try_from(past).unwrap_or(0));
        if past.is_zero() { deadline } else { deadline + (self.every - past) }
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = random::Rng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    #[cfg(not(feature = "testing"))]
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    #[cfg(feature = "testing")]
    type Watch = crate::watch::OrderedWatch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }
    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }
    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        let grid = GRID.get().filter(|_| !random::seeded());
        TokioRuntime::sleep_until(grid.map_or(deadline, |grid| grid.line(deadline, Instant::now())))
    }
    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }
    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }
    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }
    fn thread_rng() -> random::Rng {
        random::rng()
    }
    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }
    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

#[cfg(not(feature = "testing"))]
mod random {
    use super::{AsyncRuntime, TokioRuntime};

    pub(crate) type Rng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;

    pub(super) const fn seeded() -> bool {
        false
    }
    pub(super) fn rng() -> Rng {
        TokioRuntime::thread_rng()
    }
}

#[cfg(feature = "testing")]
pub(crate) mod random {
    use std::cell::Cell;

    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    pub(crate) type Rng = SmallRng;

    thread_local! {
        /// Of the simulation that runs on this thread. openraft asks its runtime, a type without a value, so there is no other place for it.
        static RANDOM: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Seeds what openraft draws on this thread from now on; `None`: truly random.
    pub(crate) fn seed(seed: Option<u64>) {
        RANDOM.set(seed);
    }
    pub(super) fn seeded() -> bool {
        RANDOM.get().is_some()
    }
    pub(super) fn rng() -> Rng {
        let Some(seed) = RANDOM.get() else { return SmallRng::seed_from_u64(rand::rng().random()) };
        let mut rng = SmallRng::seed_from_u64(seed);
        RANDOM.set(Some(rng.random()));
        rng
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_on_a_line_never_early_and_less_than_a_line_late() {
        for every in [Duration::from_millis(125), Duration::from_millis(30), Duration::from_nanos(33_333_333)] {
            let grid = Grid { origin: Instant::now(), every };
            for (begun, wait) in (0..900_000_u64).step_by(777).zip((0..200_000_u64).step_by(613).cycle()) {
                let now = grid.origin + Duration::from_micros(begun);
                let deadline = now + Duration::from_micros(wait);
                let line = grid.line(deadline, now);
                assert!(line >= deadline && line - deadline < every, "{begun} {wait}");
                if deadline - now < EXACT {
                    assert_eq!(line, deadline, "{begun} {wait}");
                } else {
                    assert_eq!((line - grid.origin).as_nanos() % every.as_nanos(), 0, "{begun} {wait}");
                }
            }
        }
    }

    #[test]
    fn a_grid_that_stands_is_left_where_it_is() {
        let of = |every| {
            tick_every(Duration::from_millis(every));
            GRID.get().map(|grid| (grid.origin, grid.every))
        };
        let first = of(40);
        assert_eq!(first, of(40));
        assert_ne!(first, of(41));
        assert_eq!(of(41), of(0), "no grid has no width");
    }
}
