//! The duty of a group's leader for what is to happen at a time: scheduled texts, texts that end, retention.
//!
//! In: `Timer` rows, and the feed that tells of new ones. Out: `Fire` commands, proposed when they are due by this node's clock. The rows
//! decide: a command whose row is gone does nothing, so that two leaders fire once; a new leader walks the rows when its term begins.
//! Whether the author of a text is shut out of the cluster is asked of their home then; while it cannot be asked, the text waits.
//! Bounds: [`HELD_MAX`] timers in memory, the soonest; the rest is found by the next walk. Not here: what happens then (kith-machine).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use kith_machine::{
    effect::Effect,
    reply::Reply,
    view::{RowKey, Scan, StateView, ViewError},
};
use kith_raft::{GroupHandle, feed::FeedError};
use kith_wire::{
    act::Timer,
    client::Refusal,
    code::Code,
    id::{ChannelId, GroupId, Term, Timestamp},
    log::Command,
    peer::{Inner, InnerAnswer},
};

use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::{
    leadership::{Duty, PerGroup},
    router::Router,
    supervise::Tasks,
};

type Due = (Timestamp, ChannelId, Timer);

/// Of all that this node fires.
#[derive(Debug)]
pub(crate) struct TimerMetrics {
    fired: Counter,
    late: Histogram,
}

impl Default for TimerMetrics {
    fn default() -> Self {
        Self { fired: Counter::default(), late: Histogram::new(exponential_buckets(0.01, 4.0, 8)) }
    }
}

impl TimerMetrics {
    /// Shows them under `kith_timer_…`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kith_timer");
        registry.register("fired", "Timers fired by this node as a leader: scheduled texts, ends of texts, sweeps", self.fired.clone());
        registry.register("late_seconds", "Seconds from when a timer was due until it was logged", self.late.clone());
    }
}

/// Fires the timers of every group that this node leads.
pub(crate) struct TimerDuty {
    router: Router,
    metrics: Arc<TimerMetrics>,
    leads: PerGroup,
}

impl TimerDuty {
    /// None running.
    pub(crate) fn new(router: Router, tasks: Tasks, metrics: Arc<TimerMetrics>) -> Self {
        Self { router, metrics, leads: PerGroup::new(tasks) }
    }
}

impl Duty for TimerDuty {
    fn begin(&self, group: GroupId, _term: Term) {
        if let Some(handle) = self.router.groups().get(group).filter(|_| group != GroupId::META) {
            self.leads.begin(group, "timer.lead", lead(handle, self.router.clone(), self.metrics.clone()));
        }
    }
    fn end(&self, group: GroupId, _term: Term) {
        self.leads.end(group);
    }
}

/// The soonest timers of a group.
#[derive(Debug, Default)]
struct Held {
    soonest: BTreeSet<Due>,
    /// There are others, none of them sooner than this nor than those held: they are found by a walk.
    beyond: Option<Timestamp>,
}

impl Held {
    /// Takes a timer in, and gives up the latest one for it.
    fn note(&mut self, due: Due) {
        if self.beyond.is_some_and(|beyond| due.0 >= beyond) {
            return;
        }
        self.soonest.insert(due);
        if self.soonest.len() > HELD_MAX
            && let Some((latest, ..)) = self.soonest.pop_last()
        {
            // Others of the same moment stay: were all of them given up, many at one moment would leave nothing to fire.
            self.beyond = Some(self.beyond.map_or(latest, |beyond| beyond.min(latest)));
        }
    }
    /// When something is to be done next: a timer is due, or a walk.
    fn next(&self) -> Option<Timestamp> {
        self.soonest.first().map(|(due, ..)| *due).or(self.beyond)
    }
    /// Takes out what is due.
    fn take(&mut self, now: Timestamp) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some(first) = self.soonest.first().copied().filter(|first| first.0 <= now && due.len() < FIRE_AT_ONCE) {
            self.soonest.remove(&first);
            due.push(first);
        }
        due
    }
    /// Whether only a walk can tell what comes next.
    fn is_out(&self, now: Timestamp) -> bool {
        self.soonest.is_empty() && self.beyond.is_some_and(|beyond| beyond <= now)
    }
}

async fn lead(group: GroupHandle, router: Router, metrics: Arc<TimerMetrics>) {
    // The subscription comes before the walk: what is set after it is heard, what was set before is a row.
    let mut events = group.feed();
    let mut held = walk_until_read(&group).await;
    loop {
        let now = router.clock().now();
        let due = held.take(now);
        if !due.is_empty() {
            // What could not be logged is tried again: its row is still there.
            if fire(&group, due, &router, &metrics).await > 0 {
                held = walk_until_read(&group).await;
            }
            continue;
        }
        if held.is_out(now) {
            held = walk_until_read(&group).await;
            continue;
        }
        let wait = held.next().map_or(LOOK_EVERY, |due| Duration::from_millis(due.get().saturating_sub(now.get())).min(LOOK_EVERY));
        // Both branches are cancel safe.
        tokio::select! {
            heard = events.next() => match heard {
                Ok(event) => event.effects.iter().for_each(|effect| {
                    if let Effect::Timed { due, channel, timer } = effect {
                        held.note((*due, *channel, *timer));
                    }
                }),
                Err(FeedError::Lagged(missed)) => {
                    tracing::debug!(group = %group.id(), missed, "timers missed events: walking the rows");
                    held = walk_until_read(&group).await;
                }
                Err(FeedError::Closed) => return,
            },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Proposes what is due. Says how many may not have been logged.
async fn fire(group: &GroupHandle, due: Vec<Due>, router: &Router, metrics: &TimerMetrics) -> usize {
    let proposals = due.into_iter().map(|(due, channel, timer)| async move {
        let Ok(refused) = refused(router, timer).await else { return 1 };
        match group.propose(kith_machine::item(Command::Fire { channel, due, timer, refused })).await {
            Ok(Reply::Rejected(_)) | Err(_) => 1,
            Ok(_) => {
                metrics.fired.inc();
                metrics.late.observe(router.clock().now().get().saturating_sub(due.get()) as f64 / 1_000.0);
                0
            }
        }
    });
    let failed = stream::iter(proposals.collect::<Vec<_>>()).buffered(FIRE_AT_ONCE).fold(0, |sum, failed: usize| async move { sum + failed }).await;
    if failed > 0 {
        tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await;
    }
    failed
}

/// Why the text of this timer is not sent, by what its author's home says.
async fn refused(router: &Router, timer: Timer) -> Result<Option<Code>, Refusal> {
    let Timer::Send { user, .. } = timer else { return Ok(None) };
    let deadline = router.clock().instant() + ASK_WITHIN;
    match router.inner(user.bucket(), Inner::IsBanned { user }, deadline).await? {
        InnerAnswer::Truth(true) => Ok(Some(Code::Banned)),
        _ => Ok(None),
    }
}

async fn walk_until_read(group: &GroupHandle) -> Held {
    loop {
        match walk(group).await {
            Ok(held) => return held,
            Err(error) => {
                tracing::warn!(group = %group.id(), cause = %error, "timers cannot be read");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// The soonest of all timers of the group. Reads all of their rows, and lets others run after each page.
async fn walk(group: &GroupHandle) -> Result<Held, ViewError> {
    let (mut held, mut after) = (Held::default(), None);
    loop {
        // What is set or fired while it reads is heard of as an event, or is no row any more when it is fired.
        let rows = group.reader()?.scan(&Scan::Timers(after), false, ROWS_PER_READ)?;
        let Some((RowKey::Timer(due, channel, timer), _)) = rows.last() else { return Ok(held) };
        after = Some((*due, *channel, *timer));
        for (key, _) in &rows {
            if let RowKey::Timer(due, channel, timer) = key {
                held.note((*due, *channel, *timer));
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Timers held in memory.
const HELD_MAX: usize = 10_000;
/// Proposed together.
const FIRE_AT_ONCE: usize = 64;
/// For an author's home to say whether they are shut out.
const ASK_WITHIN: Duration = Duration::from_secs(3);
const ROWS_PER_READ: usize = 1_024;
/// Between two tries of what could not be logged.
const AGAIN_MS: u64 = 200;
/// The longest sleep: the wall clock may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use kith_wire::id::UserId;

    use super::*;

    fn due(at: u64, user: u64) -> Due {
        (Timestamp::new(at), ChannelId::direct(UserId::new(user), UserId::new(user)), Timer::Sweep)
    }

    #[test]
    fn the_soonest_are_held_and_the_rest_is_known_to_be_there() {
        let mut held = Held::default();
        (0..HELD_MAX as u64 + 10).rev().for_each(|at| held.note(due(at, 1)));
        assert_eq!(held.soonest.len(), HELD_MAX);
        assert_eq!(held.beyond, Some(Timestamp::new(HELD_MAX as u64)));
        held.note(due(HELD_MAX as u64 + 5, 2));
        assert_eq!(held.soonest.len(), HELD_MAX, "what is later than what was given up is found by a walk");
        while !held.take(Timestamp::new(HELD_MAX as u64)).is_empty() {}
        assert!(held.is_out(Timestamp::new(HELD_MAX as u64)));
        assert_eq!(held.next(), held.beyond);
    }

    #[test]
    fn more_timers_of_one_moment_than_are_held_are_fired_all_the_same() {
        let mut held = Held::default();
        (0..HELD_MAX as u64 + 1).for_each(|user| held.note(due(7, user)));
        assert_eq!(held.soonest.len(), HELD_MAX);
        assert!(!held.is_out(Timestamp::new(7)), "a walk would find the same again");
        assert_eq!(held.take(Timestamp::new(7)).len(), FIRE_AT_ONCE);
    }

    #[test]
    fn what_is_due_is_taken_in_order_and_once() {
        let mut held = Held::default();
        [7, 3, 5].into_iter().for_each(|at| held.note(due(at, at)));
        assert_eq!(held.take(Timestamp::new(5)), [due(3, 3), due(5, 5)]);
        assert_eq!(held.take(Timestamp::new(5)), []);
        assert_eq!(held.next(), Some(Timestamp::new(7)));
    }
}
