//! The one place that sees every step of every node: traces it, and has every invariant look at it.
//!
//! In: steps of disks, leaders and faults. Out: a trace, and the first violation. Invariant: a step is judged before what caused it goes on.
//! Not here: the invariants.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::{
    invariant::{Invariant, Step, World, all},
    trace::Trace,
};

/// Sees all.
pub(crate) struct Watch {
    started: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    trace: Trace,
    world: World,
    invariants: Vec<Box<dyn Invariant>>,
    violation: Option<String>,
}

impl Watch {
    /// Begins now.
    pub(crate) fn new(world: World, verbose: bool) -> Self {
        let inner = Inner { trace: Trace::new(verbose), world, invariants: all(), violation: None };
        Self { started: Instant::now(), inner: Mutex::new(inner) }
    }

    /// A step was made.
    pub(crate) fn step(&self, step: &Step<'_>) {
        let mut inner = self.lock();
        let (what, numbers) = step.line();
        inner.trace.note(self.started.elapsed(), what, &numbers);
        let Inner { world, invariants, violation, .. } = &mut *inner;
        for invariant in invariants {
            if let Err(found) = invariant.check(step, world)
                && violation.is_none()
            {
                *violation = Some(format!("{}: {found}", invariant.name()));
            }
        }
    }

    /// Something happened that no invariant looks at.
    pub(crate) fn note(&self, what: &'static str, numbers: &[u64]) {
        self.lock().trace.note(self.started.elapsed(), what, numbers);
    }

    /// Something is wrong.
    pub(crate) fn violate(&self, what: String) {
        self.lock().violation.get_or_insert(what);
    }

    /// What was wrong first.
    pub(crate) fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    /// The trace so far: its hash, its length, its lines.
    pub(crate) fn traced(&self) -> (u64, u64, Vec<String>) {
        let inner = self.lock();
        (inner.trace.hash(), inner.trace.events(), inner.trace.lines().map(str::to_owned).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
