//! Lanes: threads that each run one single-threaded runtime; a group lives on one of them for good.
//!
//! In: futures and a lane number. Out: they run there, with no wake-up ever crossing a thread unless the future itself does.
//! Measured: a work-stealing pool on the hot path costs half as much CPU again. Invariant: a panic in a task ends that task only.
//! Not here: which group goes where (`registry`).

use std::{future::Future, io, sync::Mutex, thread};

use kith_wire::id::GroupId;
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
    task::JoinHandle,
};

/// Names a lane: from 0, below [`Lanes::count`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LaneId(usize);

impl LaneId {
    /// The lane's number, from 0.
    pub const fn index(self) -> usize {
        self.0
    }
}

/// A fixed number of single-threaded runtimes.
#[derive(Debug)]
pub struct Lanes {
    handles: Vec<Handle>,
    stop: watch::Sender<bool>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Lanes {
    /// Starts `count` lanes (at least one).
    ///
    /// # Errors
    /// The system gives no more threads or descriptors.
    pub fn start(count: usize) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut handles = Vec::new();
        let mut threads = Vec::new();
        for lane in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().thread_name(format!("kith-lane-{lane}-blocking")).build()?;
            handles.push(runtime.handle().clone());
            let mut stopped = stopped.clone();
            let thread = thread::Builder::new().name(format!("kith-lane-{lane}")).spawn(move || {
                // An error means that `Lanes` is gone, which stops the lane just as well.
                let _ = runtime.block_on(stopped.wait_for(|stop| *stop));
            })?;
            threads.push(thread);
        }
        Ok(Self { handles, stop, threads: Mutex::new(threads) })
    }

    /// One lane that is a runtime of someone else, who runs it: for simulations.
    #[cfg(feature = "testing")]
    pub fn on(runtime: Handle) -> Self {
        Self { handles: vec![runtime], stop: watch::channel(false).0, threads: Mutex::default() }
    }

    /// One lane per core but one, at least one.
    ///
    /// # Errors
    /// As [`Lanes::start`].
    pub fn start_default() -> io::Result<Self> {
        Self::start(thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// The lane that a group lives on.
    pub fn of_group(&self, group: GroupId) -> LaneId {
        LaneId(group.get() as usize % self.handles.len())
    }

    /// The lane that anything else with a number lives on, such as a connection.
    pub fn of_number(&self, number: u64) -> LaneId {
        LaneId((number % self.handles.len() as u64) as usize)
    }

    /// The runtime of a lane, for owners of task sets.
    pub fn handle(&self, lane: LaneId) -> &Handle {
        &self.handles[lane.0 % self.handles.len()]
    }

    /// Runs a future on a lane. The caller keeps the handle and awaits it.
    pub fn spawn_on<F>(&self, lane: LaneId, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle(lane).spawn(future)
    }

    /// Ends all lanes and waits for their threads; tasks that still run are dropped. Blocks: call it off the lanes.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for thread in threads {
            // A lane thread panics only if its runtime does; there is nothing left to do for it then.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_always_runs_on_the_same_thread() {
        let lanes = Lanes::start(2).expect("threads");
        let probe = Builder::new_current_thread().build().expect("runtime");
        let name = |group| {
            let lane = lanes.of_group(GroupId::new(group));
            probe.block_on(lanes.spawn_on(lane, async { thread::current().name().map(str::to_owned) })).expect("joined")
        };
        assert_eq!(name(4), name(4));
        assert_eq!(name(4), name(6));
        assert_ne!(name(4), name(5));
        lanes.stop();
    }
}
