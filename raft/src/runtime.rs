//! openraft's runtime: tokio, with ticks on a common grid. With the feature `testing` its randomness can be seeded.
//!
//! In: openraft's tasks and timers. Out: tokio's. Each group has a tick of its own, five to a heartbeat: a hundred idle groups would wake a
//! node 2,000 times a second. So a wait until an instant ends at the next line of a [`GRID`] that all groups of the process share, and one
//! wake-up serves them all. Invariants: a wait never ends early, and less than [`GRID`] late; one that is shorter than [`GRID`] (openraft has
//! one behind its disk) is exact; on a thread that was seeded (a simulation) all are, and numbers repeat. Not here: lanes (`lanes`).

use std::{future::Future, sync::LazyLock, time::Duration};

use openraft::{AsyncRuntime, OptionalSend, TokioRuntime, async_runtime::Instant as _};

/// Between two wake-ups for ticks: half of a tick, and a twenty-fourth of the shortest election timeout.
const GRID: Duration = Duration::from_millis(25);

type Instant = <TokioRuntime as AsyncRuntime>::Instant;

/// Where the grid begins: it has no meaning but to be the same for all.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Tokio, with ticks on a common grid.
#[derive(Debug)]
pub(crate) struct Runtime(TokioRuntime);

/// The first line of the grid that is not before `deadline`; `deadline` itself, if it is nearer than a line.
fn on_grid(deadline: Instant, now: Instant, origin: Instant) -> Instant {
    const { assert!(1_000_000_000 % GRID.subsec_nanos() == 0, "a second is a number of lines") };
    if deadline.saturating_duration_since(now) < GRID {
        return deadline;
    }
    let past = deadline.saturating_duration_since(origin).subsec_nanos() % GRID.subsec_nanos();
    if past == 0 { deadline } else { deadline + (GRID - Duration::from_nanos(past.into())) }
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
        TokioRuntime::sleep_until(if random::seeded() { deadline } else { on_grid(deadline, Instant::now(), *ORIGIN) })
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
    fn a_wait_ends_on_the_grid_never_early_and_less_than_a_line_late() {
        let origin = Instant::now();
        for (begun, wait) in (0..200_000_u64).step_by(777).zip((0..200_000_u64).step_by(1_913).cycle()) {
            let now = origin + Duration::from_micros(begun);
            let deadline = now + Duration::from_micros(wait);
            let on = on_grid(deadline, now, origin);
            assert!(on >= deadline && on - deadline < GRID, "{begun} {wait}");
            if deadline - now < GRID {
                assert_eq!(on, deadline, "{begun} {wait}");
            } else {
                assert_eq!((on - origin).as_nanos() % GRID.as_nanos(), 0, "{begun} {wait}");
            }
        }
    }
}
