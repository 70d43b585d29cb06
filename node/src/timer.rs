//! The duty of a group's leader for what is to happen at a time: scheduled texts, texts that end, retention.
//!
//! In: `Timer` rows, and the feed that tells of new ones. Out: `Fire` commands, proposed when they are due by this node's clock. The rows
//! decide: a command whose row is gone does nothing, so that two leaders fire once; a new leader walks the rows when its term begins.
//! Whether the author of a text is shut out of the cluster is asked of their home then; while it cannot be asked, the text waits, and no other does.
//! Bounds: [`HELD_MAX`] timers in memory, the soonest; the rest is found by the next walk. [`FIRE_AT_ONCE`] under way; of a home that is silent, one.
//! Not here: what happens then (kith-machine).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
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
    id::{ChannelId, GroupId, Term, Timestamp, UserId},
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
    clock::Instant,
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
    /// Takes out the next one that is due.
    fn take(&mut self, now: Timestamp) -> Option<Due> {
        self.soonest.first().filter(|first| first.0 <= now)?;
        self.soonest.pop_first()
    }
    /// Whether only a walk can tell what comes next.
    fn is_out(&self, now: Timestamp) -> bool {
        self.soonest.is_empty() && self.beyond.is_some_and(|beyond| beyond <= now)
    }
}

/// How firing a timer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Logged,
    /// It may not have been: its row is still there.
    NotLogged,
    /// The author's home did not say whether they are shut out.
    HomeSilent,
}

/// What a leader is to fire when: timers held, those under way, and the homes that do not answer.
#[derive(Debug, Default)]
struct Agenda {
    held: Held,
    flying: BTreeSet<Due>,
    silent: BTreeMap<GroupId, Silence>,
    /// Something stayed behind: nothing is taken before this, and then the rows are walked.
    again: Option<Instant>,
}

/// The wall clock says what is due; how long to wait is measured by the other one, which nobody sets.
#[derive(Clone, Copy, Debug)]
struct Now {
    wall: Timestamp,
    at: Instant,
}

/// A home that did not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Silence {
    /// Nothing is asked of it before.
    Until(Instant),
    /// It may be asked about one text.
    Over,
    /// It is being asked about one text.
    Asked,
}

impl Agenda {
    /// Takes in what a walk found that began then.
    fn walked(&mut self, held: Held, at: Instant) {
        (self.held, self.again) = (held, None);
        self.silent
            .values_mut()
            .filter(|silence| matches!(silence, Silence::Until(until) if *until <= at))
            .for_each(|silence| *silence = Silence::Over);
    }
    /// Whether a timer is left to its row, for the silence of its author's home: a later walk finds it.
    fn is_left(&self, home: Option<GroupId>, at: Instant) -> bool {
        match home.and_then(|home| self.silent.get(&home)) {
            Some(Silence::Until(until)) => *until > at,
            Some(Silence::Asked) => true,
            Some(Silence::Over) | None => false,
        }
    }
    /// Takes out what is due, each with its author's home; at most as many as may be under way beside what is.
    fn take(&mut self, now: Now, home: impl Fn(&Timer) -> Option<GroupId>) -> Vec<(Due, Option<GroupId>)> {
        let mut taken = Vec::new();
        while self.flying.len() < FIRE_AT_ONCE && self.again.is_none() {
            let Some(due) = self.held.take(now.wall) else { break };
            let home = home(&due.2);
            // One that is under way was found again by a walk.
            if !self.is_left(home, now.at) && self.flying.insert(due) {
                taken.push((due, home));
                home.and_then(|home| self.silent.get_mut(&home)).into_iter().for_each(|silence| *silence = Silence::Asked);
            }
        }
        taken
    }
    /// Hears how it went.
    fn done(&mut self, due: Due, home: Option<GroupId>, outcome: Outcome, at: Instant) {
        self.flying.remove(&due);
        match (outcome, home) {
            (Outcome::HomeSilent, Some(home)) => drop(self.silent.insert(home, Silence::Until(at + ASK_AGAIN))),
            (Outcome::HomeSilent, None) => self.walk_from(at + AGAIN),
            (_, home) => {
                if outcome == Outcome::NotLogged {
                    self.walk_from(at + AGAIN);
                }
                // Its other texts are found.
                if home.is_some_and(|home| self.silent.remove(&home).is_some()) {
                    self.walk_from(at);
                }
            }
        }
    }
    /// The later one counts: a group that does not take what is proposed is not asked the more often, the more there is to propose.
    fn walk_from(&mut self, at: Instant) {
        self.again = self.again.max(Some(at));
    }
    /// When the rows are to be walked, were nothing to be held.
    fn next_walk(&self) -> Option<Instant> {
        let silence = self.silent.values().filter_map(|silence| if let Silence::Until(until) = silence { Some(*until) } else { None });
        self.again.or_else(|| silence.min())
    }
    /// Whether the rows are to be walked now.
    fn is_to_walk(&self, now: Now) -> bool {
        self.next_walk().is_some_and(|at| at <= now.at) || (self.again.is_none() && self.held.is_out(now.wall))
    }
    /// How long there is nothing to do, were nothing to happen before.
    fn wait(&self, now: Now) -> Duration {
        let held = self.held.next().filter(|_| self.flying.len() < FIRE_AT_ONCE && self.again.is_none());
        let held = held.map(|due| Duration::from_millis(due.get().saturating_sub(now.wall.get())));
        held.into_iter().chain(self.next_walk().map(|at| at.saturating_duration_since(now.at))).fold(LOOK_EVERY, Duration::min)
    }
}

async fn lead(group: GroupHandle, router: Router, metrics: Arc<TimerMetrics>) {
    // The subscription comes before the walk: what is set after it is heard, what was set before is a row.
    let mut events = group.feed();
    let home = |timer: &Timer| author(timer).and_then(|user| router.maps().current().group_of(user.bucket()));
    let (mut agenda, mut is_to_walk) = (Agenda::default(), true);
    let mut flying = FuturesUnordered::new();
    loop {
        let now = Now { wall: router.clock().now(), at: router.clock().instant() };
        if is_to_walk || agenda.is_to_walk(now) {
            let held = walk_until_read(&group, |timer| agenda.is_left(home(timer), now.at)).await;
            agenda.walked(held, now.at);
            is_to_walk = false;
        }
        for (due, home) in agenda.take(now, home) {
            let fired = fire(&group, due, &router, &metrics);
            flying.push(async move { (due, home, fired.await) });
        }
        // All branches are cancel safe.
        tokio::select! {
            heard = events.next() => match heard {
                Ok(event) => event.effects.iter().for_each(|effect| {
                    match effect {
                        Effect::Timed { due, channel, timer } => agenda.held.note((*due, *channel, *timer)),
                        // What came with buckets was set elsewhere.
                        Effect::OwnershipChanged => is_to_walk = true,
                        _ => {}
                    }
                }),
                Err(FeedError::Lagged(missed)) => {
                    tracing::debug!(group = %group.id(), missed, "timers missed events: walking the rows");
                    is_to_walk = true;
                }
                Err(FeedError::Closed) => return,
            },
            Some((due, home, outcome)) = flying.next() => agenda.done(due, home, outcome, router.clock().instant()),
            () = tokio::time::sleep(agenda.wait(now)) => {}
        }
    }
}

/// Proposes what is due.
async fn fire(group: &GroupHandle, (due, channel, timer): Due, router: &Router, metrics: &TimerMetrics) -> Outcome {
    let Ok(refused) = refused(router, timer).await else { return Outcome::HomeSilent };
    match group.propose(kith_machine::item(Command::Fire { channel, due, timer, refused })).await {
        // Of another group's the next walk knows nothing.
        Ok(Reply::Rejected(_) | Reply::WrongGroup) | Err(_) => Outcome::NotLogged,
        Ok(_) => {
            metrics.fired.inc();
            metrics.late.observe(router.clock().now().get().saturating_sub(due.get()) as f64 / 1_000.0);
            Outcome::Logged
        }
    }
}

/// Whose home is asked before this timer is fired.
fn author(timer: &Timer) -> Option<UserId> {
    match timer {
        Timer::Send { user, .. } => Some(*user),
        _ => None,
    }
}

/// Why the text of this timer is not sent, by what its author's home says.
async fn refused(router: &Router, timer: Timer) -> Result<Option<Code>, Refusal> {
    let Some(user) = author(&timer) else { return Ok(None) };
    let deadline = router.clock().instant() + ASK_WITHIN;
    match router.inner(user.bucket(), Inner::IsBanned { user }, deadline).await? {
        InnerAnswer::Truth(true) => Ok(Some(Code::Banned)),
        _ => Ok(None),
    }
}

async fn walk_until_read(group: &GroupHandle, is_left: impl Fn(&Timer) -> bool) -> Held {
    loop {
        match walk(group, &is_left).await {
            Ok(held) => return held,
            Err(error) => {
                tracing::warn!(group = %group.id(), cause = %error, "timers cannot be read");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// The soonest of all timers of the group but for those that are left to their rows. Reads all of their rows, and lets others run after each page.
async fn walk(group: &GroupHandle, is_left: impl Fn(&Timer) -> bool) -> Result<Held, ViewError> {
    let (mut held, mut after) = (Held::default(), None);
    loop {
        // What is set or fired while it reads is heard of as an event, or is no row any more when it is fired.
        let rows = group.reader()?.scan(&Scan::Timers(after), false, ROWS_PER_READ)?;
        let Some((RowKey::Timer(due, channel, timer), _)) = rows.last() else { return Ok(held) };
        after = Some((*due, *channel, *timer));
        for (key, _) in &rows {
            if let RowKey::Timer(due, channel, timer) = key
                && !is_left(timer)
            {
                held.note((*due, *channel, *timer));
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Timers held in memory.
const HELD_MAX: usize = 10_000;
/// Under way together.
const FIRE_AT_ONCE: usize = 64;
/// For an author's home to say whether they are shut out.
const ASK_WITHIN: Duration = Duration::from_secs(3);
const ROWS_PER_READ: usize = 1_024;
/// Between two questions to a home that does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Between two tries of what could not be logged.
const AGAIN: Duration = Duration::from_millis(200);
/// The longest sleep: the wall clock may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
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
        while held.take(Timestamp::new(HELD_MAX as u64)).is_some() {}
        assert!(held.is_out(Timestamp::new(HELD_MAX as u64)));
        assert_eq!(held.next(), held.beyond);
    }

    #[test]
    fn more_timers_of_one_moment_than_are_held_are_fired_all_the_same() {
        let mut held = Held::default();
        (0..HELD_MAX as u64 + 1).for_each(|user| held.note(due(7, user)));
        assert_eq!(held.soonest.len(), HELD_MAX);
        assert!(!held.is_out(Timestamp::new(7)), "a walk would find the same again");
        assert_eq!(held.take(Timestamp::new(7)), Some(due(7, 0)));
    }

    #[test]
    fn what_is_due_is_taken_in_order_and_once() {
        let mut held = Held::default();
        [7, 3, 5].into_iter().for_each(|at| held.note(due(at, at)));
        assert_eq!(
            [held.take(Timestamp::new(5)), held.take(Timestamp::new(5)), held.take(Timestamp::new(5))],
            [Some(due(3, 3)), Some(due(5, 5)), None]
        );
        assert_eq!(held.next(), Some(Timestamp::new(7)));
    }

    /// Texts of users 1 to 99 have their home in group 1, the others in group 2.
    fn home(timer: &Timer) -> Option<GroupId> {
        author(timer).map(|user| GroupId::new(if user.get() < 100 { 1 } else { 2 }))
    }

    fn text(at: u64, user: u64, id: u64) -> Due {
        (due(at, user).0, due(at, user).1, Timer::Send { user: UserId::new(user), id })
    }

    /// What a run of an agenda over these rows gives: when each was logged, and how often something was tried in vain.
    struct Ran {
        logged: BTreeMap<Due, u64>,
        in_vain: usize,
    }

    /// Runs for so many milliseconds: a question to a silent home ends after three seconds, everything else at once. `wall` says what the wall
    /// clock shows then.
    fn run(rows: &mut BTreeSet<Due>, outcome: impl Fn(u64, &Due) -> Outcome, wall: impl Fn(u64) -> u64, until: u64) -> Ran {
        let (mut agenda, mut ran, begun) = (Agenda::default(), Ran { logged: BTreeMap::new(), in_vain: 0 }, Instant::now());
        let mut flying: Vec<(u64, Due, Option<GroupId>, Outcome)> = Vec::new();
        agenda.walk_from(begun);
        for ms in (0..until).step_by(100) {
            let now = Now { wall: Timestamp::new(wall(ms)), at: begun + Duration::from_millis(ms) };
            // What ends at once is heard of, and followed up, at once; bounded, so that a loop that never rests is seen as too many tries.
            for _ in 0..100 {
                for (_, due, home, outcome) in flying.extract_if(.., |(ends, ..)| *ends <= ms).collect::<Vec<_>>() {
                    if outcome == Outcome::Logged && rows.remove(&due) {
                        ran.logged.insert(due, ms);
                    }
                    ran.in_vain += usize::from(outcome != Outcome::Logged);
                    agenda.done(due, home, outcome, now.at);
                }
                if agenda.is_to_walk(now) {
                    let mut held = Held::default();
                    rows.iter().filter(|due| !agenda.is_left(home(&due.2), now.at)).for_each(|due| held.note(*due));
                    agenda.walked(held, now.at);
                }
                let taken = agenda.take(now, home);
                if taken.is_empty() {
                    break;
                }
                for (due, home) in taken {
                    let outcome = outcome(ms, &due);
                    flying.push((if outcome == Outcome::HomeSilent { ms + 3_000 } else { ms }, due, home, outcome));
                }
                assert!(flying.len() <= FIRE_AT_ONCE);
            }
        }
        ran
    }

    fn dead_until(until: u64) -> impl Fn(u64, &Due) -> Outcome {
        move |ms, due| if ms < until && home(&due.2) == Some(GroupId::new(1)) { Outcome::HomeSilent } else { Outcome::Logged }
    }

    #[test]
    fn a_home_that_is_silent_keeps_no_other_text_waiting() {
        let of_the_dead = (0..HELD_MAX as u64 + 100).map(|n| text(n % 7, 1 + n % 99, n));
        let mut rows: BTreeSet<Due> = of_the_dead.collect();
        let others: Vec<Due> = (0..200).map(|n| text(20 + n * 100, 100 + n, n)).collect();
        rows.extend(&others);
        let all = rows.len();
        let ran = run(&mut rows, dead_until(60_000), |ms| ms, 90_000);
        for due in &others {
            let late = ran.logged[due] - due.0.get();
            assert!(late <= 3_500, "{due:?} waited {late} ms for a home that is not its own");
        }
        assert!(ran.in_vain < FIRE_AT_ONCE + 60_000 / 2_000, "{} questions to a home that does not answer", ran.in_vain);
        assert_eq!(ran.logged.len(), all, "all is fired when the home is back");
    }

    #[test]
    fn a_clock_that_is_set_back_puts_no_question_off() {
        let mut rows = BTreeSet::from([text(5, 1, 1)]);
        // Ten seconds long it is an hour later than it should be.
        let ran = run(&mut rows, dead_until(8_000), |ms| if ms < 10_000 { ms + 3_600_000 } else { ms }, 20_000);
        assert!(ran.logged[&text(5, 1, 1)] <= 14_000, "{:?}", ran.logged);
    }

    #[test]
    fn a_group_that_takes_nothing_is_not_asked_the_more_the_more_is_due() {
        let mut rows: BTreeSet<Due> = (0..5_000).map(|n| text(1, 100 + n, n)).collect();
        let ran = run(&mut rows, |ms, _| if ms < 4_000 { Outcome::NotLogged } else { Outcome::Logged }, |ms| ms, 10_000);
        assert!(ran.in_vain <= FIRE_AT_ONCE * 4_000 / 200, "{} tries in vain in four seconds", ran.in_vain);
        assert_eq!(ran.logged.len(), 5_000);
    }
}
