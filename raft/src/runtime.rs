//! openraft's runtime: tokio. With the feature `testing` its randomness (the first tick, election timeouts) can be seeded.
//!
//! Invariant: without the feature this is openraft's own `TokioRuntime` and nothing else. Not here: lanes (`lanes`).

#[cfg(not(feature = "testing"))]
pub(crate) use openraft::TokioRuntime as Runtime;
#[cfg(feature = "testing")]
pub(crate) use seeded::Runtime;

#[cfg(feature = "testing")]
pub(crate) mod seeded {
    use std::{cell::Cell, future::Future, time::Duration};

    use openraft::{AsyncRuntime, OptionalSend, TokioRuntime};
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    thread_local! {
        /// Of the simulation that runs on this thread. openraft asks its runtime, a type without a value, so there is no other place for it.
        static RANDOM: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Seeds what openraft draws on this thread from now on; `None`: truly random.
    pub(crate) fn seed(seed: Option<u64>) {
        RANDOM.set(seed);
    }

    /// Tokio, with random numbers that repeat on a thread that was seeded.
    #[derive(Debug)]
    pub(crate) struct Runtime(TokioRuntime);

    impl AsyncRuntime for Runtime {
        type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
        type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
        type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
        type Instant = <TokioRuntime as AsyncRuntime>::Instant;
        type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
        type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
        type ThreadLocalRng = SmallRng;
        type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
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
            TokioRuntime::sleep_until(deadline)
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
        fn thread_rng() -> SmallRng {
            let Some(seed) = RANDOM.get() else { return SmallRng::seed_from_u64(rand::rng().random()) };
            let mut rng = SmallRng::seed_from_u64(seed);
            RANDOM.set(Some(rng.random()));
            rng
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
}
