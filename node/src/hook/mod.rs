//! Outgoing webhooks: what happens in the channels of the groups that this node leads is posted to whoever registered for it.
//!
//! In: `HookDue` rows, the feed that tells of new ones, and the desk's list. Out: posts, acknowledgements in the channel's group. Each (channel, webhook)
//! that is behind is told by one task at a time, from its logged cursor on, in the channel's order: so a new leader goes on where the last one was
//! acknowledged, and what was posted and not acknowledged is posted again under the same `webhook-id`. Invariants: nothing is skipped but what is not
//! for that webhook; a channel waits for nobody but itself. Bounds: [`AT_ONCE`] posts of a group, [`RECORDS`] records between two acknowledgements,
//! [`RATE`] a webhook; a failure waits 1 s to 5 min; after [`GIVE_UP_AFTER_MS`] of failures the webhook is disabled, and the audit log says so. On
//! cancel all is dropped.
//! Not here: what a post looks like ([`event`]), where it may go ([`post`]), which rows there are (kith-machine's `hook`),
//! signatures (kith-wire's `sign`, which push has too).

pub mod event;
pub mod post;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use kith_machine::{effect::Effect, hook as rows, view::ViewError};
use kith_raft::{FeedError, GroupHandle};
pub use kith_wire::sign;
use kith_wire::{
    client::Refusal,
    code::Code,
    desk::{self, AuditAct, AuditEntry, DeskChange},
    hook::{Hook, HookAck, HookChange, HookCursorRow, HookScope},
    id::{ChannelId, GroupId, HookId, Seq, Term, Timestamp, UserId, hash},
    log::Command,
    peer::{Inner, InnerAnswer},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use self::post::{Posted, Poster};
use crate::{
    clock::{Instant, draw_bytes},
    leadership::{Duty, PerGroup},
    rate::{Rate, Rates},
    router::Router,
    service::desk::Desk,
    supervise::Tasks,
};

/// Channels of a group that are told at once.
const AT_ONCE: usize = 16;
/// Records between two acknowledgements.
const RECORDS: usize = 64;
/// Channels of one read.
const PAGE: usize = 1_024;
/// Channels that are held in memory; the rest is found by the next walk.
const HELD_MAX: usize = 10_000;
/// First and longest wait after a failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// The rows are walked so often although nothing was heard of them.
const WALK_EVERY: Duration = Duration::from_secs(30);
/// The desk is asked so often whether there are other webhooks.
const ASK_DESK_EVERY: Duration = Duration::from_secs(5);
/// For the desk, or for an acknowledgement.
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// Posts of one webhook by this node.
const RATE: Rate = Rate { burst: 100, per_second: 50.0 };
/// A webhook that failed for three days is told nothing any more.
pub const GIVE_UP_AFTER_MS: u64 = 3 * 24 * 3_600_000;

/// How a post went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
enum Outcome {
    Taken,
    Failed,
    Forbidden,
    Ended,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Label {
    reason: Outcome,
}

/// Of all that this node posts.
#[derive(Debug)]
pub(crate) struct HookMetrics {
    posts: Family<Label, Counter>,
    seconds: Histogram,
    disabled: Counter,
}

impl Default for HookMetrics {
    fn default() -> Self {
        let posts = Family::default();
        // All are shown from the start.
        for reason in [Outcome::Taken, Outcome::Failed, Outcome::Forbidden, Outcome::Ended] {
            drop(posts.get_or_create(&Label { reason }));
        }
        Self { posts, seconds: Histogram::new(exponential_buckets(0.005, 4.0, 8)), disabled: Counter::default() }
    }
}

impl HookMetrics {
    /// Shows them under `kith_hook_…`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kith_hook");
        registry.register("posts", "Posts to webhooks by this node, by how they went", self.posts.clone());
        registry.register("post_seconds", "Seconds that a post to a webhook took, answered or not", self.seconds.clone());
        registry.register("disabled", "Webhooks that this node gave up on", self.disabled.clone());
    }
    fn count(&self, outcome: Outcome) {
        self.posts.get_or_create(&Label { reason: outcome }).inc();
    }
}

/// The duty.
pub(crate) struct HookDuty {
    teller: Teller,
    groups: PerGroup,
}

#[derive(Clone)]
struct Teller {
    router: Router,
    poster: Poster,
    desk: Desk,
    rates: Arc<Rates>,
    metrics: Arc<HookMetrics>,
}

impl HookDuty {
    pub(crate) fn new(router: Router, poster: Poster, desk: Desk, tasks: Tasks, metrics: Arc<HookMetrics>) -> Self {
        Self { teller: Teller { router, poster, desk, rates: Arc::new(Rates::new(RATE)), metrics }, groups: PerGroup::new(tasks) }
    }
}

impl Duty for HookDuty {
    fn begin(&self, group: GroupId, _term: Term) {
        if group != GroupId::META {
            self.groups.begin(group, "hook.tell", self.teller.clone().tell_all(group));
        }
    }
    fn end(&self, group: GroupId, _term: Term) {
        self.groups.end(group);
    }
}

/// What is to be told, and when.
type Key = (ChannelId, HookId);

/// What the leader of a group knows of its webhooks. The rows know better.
#[derive(Debug, Default)]
struct Plan {
    /// Channels to look at.
    due: BTreeSet<ChannelId>,
    /// Being told now.
    running: BTreeSet<Key>,
    /// Those whose channel grew while they were being told.
    again: BTreeSet<Key>,
    /// Those that failed: not before then (`None`: now), and how long the last wait was. At most [`HELD_MAX`]; others wait for the next walk.
    waiting: BTreeMap<Key, (Option<Instant>, Duration)>,
}

impl Plan {
    fn note(&mut self, channel: ChannelId) {
        if self.due.len() < HELD_MAX {
            self.due.insert(channel);
        }
    }
    /// When something is to be looked at again that failed.
    fn next(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|(at, _)| *at).min()
    }
    /// Channels whose wait is over are due.
    fn wake(&mut self, now: Instant) {
        let mut over = Vec::new();
        for ((channel, _), (at, _)) in &mut self.waiting {
            if at.take_if(|at| *at <= now).is_some() {
                over.push(*channel);
            }
        }
        over.into_iter().for_each(|channel| self.note(channel));
    }
    fn may_run(&self, key: &Key, now: Instant) -> bool {
        !self.running.contains(key) && self.waiting.get(key).is_none_or(|(at, _)| at.is_none_or(|at| at <= now))
    }
    /// Forgets the waits of webhooks that are not among these of the channel any more.
    fn keep(&mut self, channel: ChannelId, hooks: &[HookId]) {
        let all = (channel, HookId::new(0))..=(channel, HookId::new(u64::MAX));
        let gone: Vec<Key> = self.waiting.range(all).map(|(key, _)| *key).filter(|(_, hook)| !hooks.contains(hook)).collect();
        for key in gone {
            self.waiting.remove(&key);
        }
    }
    /// Takes note of how it went; `jitter` is below 1.
    fn done(&mut self, key: Key, went: Went, now: Instant, jitter: f64) {
        self.running.remove(&key);
        match went {
            Went::Through | Went::Idle => {
                self.waiting.remove(&key);
            }
            Went::Failed => {
                let wait = self.waiting.get(&key).map_or(RETRY.0, |(_, last)| (*last * 2).min(RETRY.1));
                if self.waiting.len() < HELD_MAX || self.waiting.contains_key(&key) {
                    self.waiting.insert(key, (Some(now + wait.mul_f64(0.5 + jitter / 2.0)), wait));
                }
            }
        }
        if self.again.remove(&key) || went == Went::Through {
            self.note(key.0);
        }
    }
}

/// How a run of one webhook in one channel went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Went {
    /// All of what was read; there may be more.
    Through,
    /// There was nothing to be told.
    Idle,
    /// Not to the end.
    Failed,
}

impl Teller {
    async fn tell_all(self, group: GroupId) {
        let Some(handle) = self.router.groups().get(group) else { return };
        // Before the first walk: what comes after it is heard.
        let mut feed = handle.feed();
        let mut plan = Plan::default();
        let mut runs = FuturesUnordered::new();
        let (mut walk_at, mut ask_at) = (self.now(), self.now());
        loop {
            // A run that has nothing to tell waits for nothing: many of them in turn must not keep the lane.
            tokio::task::consume_budget().await;
            let now = self.now();
            if now >= ask_at {
                self.copy_from_desk(&handle).await;
                ask_at = self.now() + ASK_DESK_EVERY;
            }
            if now >= walk_at {
                match walk(&handle, &mut plan).await {
                    Ok(()) => walk_at = self.now() + WALK_EVERY,
                    Err(error) => {
                        tracing::warn!(%group, cause = %error, "hook.tell: what is to be told cannot be read now");
                        walk_at = self.now() + RETRY.0;
                    }
                }
            }
            plan.wake(now);
            while runs.len() < AT_ONCE
                && let Some(channel) = plan.due.pop_first()
            {
                let told = handle.reader().and_then(|view| rows::told(&view, channel));
                if let Ok(told) = &told {
                    let hooks: Vec<HookId> = told.iter().map(|(hook, _)| hook.id).collect();
                    plan.keep(channel, &hooks);
                }
                match told {
                    Ok(told) if told.is_empty() => {
                        // Its webhooks went away: it is due no more. If this is lost, the next walk finds it again.
                        let forget = Command::Hooked { channel, acks: Vec::new() };
                        drop(handle.propose(kith_machine::item(forget)).await);
                    }
                    Ok(told) => {
                        for (hook, cursor) in told {
                            let key = (channel, hook.id);
                            if plan.running.contains(&key) {
                                plan.again.insert(key);
                            } else if plan.may_run(&key, now) {
                                plan.running.insert(key);
                                runs.push(self.run(&handle, channel, hook, cursor));
                            }
                        }
                    }
                    // Its new group tells them.
                    Err(error) if error.is_not_owned() => plan.keep(channel, &[]),
                    Err(error) => tracing::warn!(%group, cause = %error, "hook.tell: a channel's webhooks cannot be read now"),
                }
            }
            let until = walk_at.min(ask_at).min(plan.next().unwrap_or(walk_at)).max(now + Duration::from_millis(10));
            // All branches are cancel safe: the feed and the runs keep what was not taken.
            tokio::select! {
                Some((key, went)) = runs.next() => plan.done(key, went, self.now(), jitter()),
                heard = feed.next() => match heard {
                    Ok(event) => event.effects.iter().for_each(|effect| {
                        match effect {
                            Effect::Hooked { channel } => plan.note(*channel),
                            // What came with buckets may have something to tell.
                            Effect::OwnershipChanged => walk_at = self.now(),
                            _ => {}
                        }
                    }),
                    Err(FeedError::Lagged(_)) => walk_at = self.now(),
                    Err(FeedError::Closed) => return,
                },
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Tells one webhook the next records of one channel, and logs how far it came.
    async fn run(&self, handle: &GroupHandle, channel: ChannelId, hook: Hook, cursor: HookCursorRow) -> (Key, Went) {
        let key = (channel, hook.id);
        let read = handle.reader().and_then(|view| rows::records(&view, channel, &hook, cursor.seq, RECORDS));
        let (records, head) = match read {
            Ok(read) => read,
            Err(error) if error.is_not_owned() => return (key, Went::Idle),
            Err(error) => {
                tracing::warn!(group = %handle.id(), cause = %error, "hook.tell: records cannot be read now");
                return (key, Went::Failed);
            }
        };
        if records.is_empty() {
            // What is not behind is due no more: the row stays only where a webhook went away.
            let is_due = handle.reader().and_then(|view| rows::is_due(&view, channel)).unwrap_or(true);
            let acks = vec![HookAck { hook: hook.id, seq: head, failing: cursor.failing }];
            let failed = is_due && handle.propose(kith_machine::item(Command::Hooked { channel, acks })).await.is_err();
            return (key, if failed { Went::Failed } else { Went::Idle });
        }
        let (mut seq, mut went) = (cursor.seq, Went::Through);
        for (at, record) in records {
            if let Some(event) = record.and_then(|record| event::of(channel, &record, hook.events))
                && !self.post(handle, &hook, channel, at, &event, cursor).await
            {
                went = Went::Failed;
                break;
            }
            seq = at;
        }
        let failing = match went {
            Went::Through | Went::Idle => Timestamp::new(0),
            Went::Failed if cursor.failing > Timestamp::new(0) && seq == cursor.seq => cursor.failing,
            Went::Failed => self.router.clock().now(),
        };
        if seq > cursor.seq || failing != cursor.failing {
            let acks = vec![HookAck { hook: hook.id, seq, failing }];
            // If this is lost, the same is posted once more, under the same ids.
            if let Err(error) = handle.propose(kith_machine::item(Command::Hooked { channel, acks })).await {
                tracing::debug!(group = %handle.id(), cause = %error, "hook.tell: not acknowledged");
                went = Went::Failed;
            }
        }
        (key, went)
    }

    /// Posts one event. Says whether it got through.
    async fn post(&self, handle: &GroupHandle, hook: &Hook, channel: ChannelId, seq: Seq, event: &str, cursor: HookCursorRow) -> bool {
        while let Err(wait) = self.rates.take(u128::from(hook.id.get()), self.now()) {
            tokio::time::sleep(wait).await;
        }
        let id = message_id(hook.id, channel, seq);
        let began = self.now();
        let posted = self.poster.post(&hook.url, hook.secret.reveal(), &id, self.router.clock().now(), event).await;
        self.metrics.seconds.observe(self.now().saturating_duration_since(began).as_secs_f64());
        let now = self.router.clock().now();
        let is_old = cursor.failing > Timestamp::new(0) && now.get() >= cursor.failing.get().saturating_add(GIVE_UP_AFTER_MS);
        let (outcome, gives_up) = match &posted {
            Posted::Status(200..=299) => {
                self.metrics.count(Outcome::Taken);
                return true;
            }
            // The other side says that it wants no more.
            Posted::Status(410) => (Outcome::Ended, true),
            Posted::Status(_) | Posted::Failed(_) => (Outcome::Failed, is_old),
            Posted::Forbidden => (Outcome::Forbidden, is_old),
        };
        self.metrics.count(outcome);
        tracing::debug!(group = %handle.id(), hook = %hook.id, outcome = ?outcome, "hook.post: not taken");
        if gives_up {
            self.give_up(handle, hook).await;
        }
        false
    }

    async fn give_up(&self, handle: &GroupHandle, hook: &Hook) {
        let change = HookChange::Disable { id: hook.id };
        let logged = match hook.scope {
            HookScope::Channel(channel) => {
                let (by, act, number) = (UserId::new(0), AuditAct::DisableWebhook, hook.id.get());
                let entry = AuditEntry { by, token: None, act, user: None, channel: Some(channel), number, note: String::new() };
                let disabled = async {
                    let command = Command::ChannelHook { channel, by, change };
                    handle.propose(kith_machine::item(command)).await.map_err(|_| Refusal::new(Code::OutcomeUnknown))
                };
                // Without the log it is not done: it fails again, and is tried again then.
                self.desk.audited(entry, self.now() + ASK_WITHIN, disabled).await.is_ok()
            }
            // The desk logs it with the change.
            HookScope::User(_) | HookScope::All => {
                let deadline = self.now() + ASK_WITHIN;
                self.router.inner(desk::bucket(), Inner::Desk(DeskChange::Hook(change)), deadline).await.is_ok()
            }
        };
        if logged {
            self.metrics.disabled.inc();
            tracing::info!(hook = %hook.id, "hook.post: a webhook failed for days, or its receiver ended it: it is disabled");
        }
    }

    /// The group's copy of the desk's list follows it; without the desk, what is copied goes on.
    async fn copy_from_desk(&self, handle: &GroupHandle) {
        let Ok(version) = handle.reader().and_then(|view| rows::copied(&view)) else { return };
        let deadline = self.now() + ASK_WITHIN;
        match self.router.inner(desk::bucket(), Inner::HooksSince { version }, deadline).await {
            Ok(InnerAnswer::Hooks { hooks: Some(hooks) }) => {
                if let Err(error) = handle.propose(kith_machine::item(Command::SetHooks { hooks })).await {
                    tracing::debug!(group = %handle.id(), cause = %error, "hook.tell: the list of webhooks is not copied now");
                }
            }
            Ok(_) => {}
            Err(refusal) => tracing::debug!(group = %handle.id(), code = %refusal.code, "hook.tell: the desk cannot be asked now"),
        }
    }

    fn now(&self) -> Instant {
        self.router.clock().instant()
    }
}

/// Names a post: the same event has the same name, whoever posts it and how often.
pub fn message_id(hook: HookId, channel: ChannelId, seq: Seq) -> String {
    let parts: [&[u8]; 4] = [b"kith/hook-message/1", &hook.get().to_be_bytes(), channel.as_bytes(), &seq.get().to_be_bytes()];
    format!("msg_{:016x}{:016x}", hash(&parts), hash(&[parts[0], parts[2], parts[3], parts[1]]))
}

async fn walk(handle: &GroupHandle, plan: &mut Plan) -> Result<(), ViewError> {
    let mut after = None;
    loop {
        let page = handle.reader().and_then(|view| rows::due(&view, after, PAGE))?;
        after = page.last().copied();
        page.iter().for_each(|channel| plan.note(*channel));
        if page.len() < PAGE {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// At least 0, below 1.
fn jitter() -> f64 {
    let bytes: [u8; 2] = draw_bytes();
    f64::from(u16::from_be_bytes(bytes)) / 65_536.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(number: u64) -> ChannelId {
        ChannelId::direct(UserId::new(number), UserId::new(number))
    }

    #[test]
    fn a_failure_waits_longer_each_time_and_holds_up_nothing_else() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let (one, other) = ((channel(1), HookId::new(1)), (channel(1), HookId::new(2)));
        let mut waits = Vec::new();
        for _ in 0..12 {
            plan.running.insert(one);
            plan.done(one, Went::Failed, now, 0.999);
            waits.push(plan.next().expect("waits") - now);
            assert!(!plan.may_run(&one, now) && plan.may_run(&other, now));
        }
        assert!(waits.is_sorted() && waits[0] <= RETRY.0 && waits[11] > RETRY.1 / 2 && waits[11] <= RETRY.1, "{waits:?}");
        plan.wake(now + RETRY.1);
        assert!(plan.due.contains(&one.0) && plan.may_run(&one, now + RETRY.1));
        plan.done(one, Went::Through, now, 0.0);
        assert_eq!(plan.next(), None, "the next failure begins anew");
    }

    #[test]
    fn a_webhook_that_failed_and_was_removed_is_waited_for_no_more() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let (gone, other) = ((channel(1), HookId::new(1)), (channel(1), HookId::new(2)));
        for key in [gone, other] {
            plan.running.insert(key);
            plan.done(key, Went::Failed, now, 0.0);
        }
        let later = now + RETRY.1;
        plan.wake(later);
        assert_eq!(plan.due.pop_first(), Some(gone.0));
        plan.wake(later);
        assert!(plan.due.is_empty() && plan.next().is_none(), "a wait that is over wakes once");
        plan.keep(gone.0, &[other.1]);
        assert!(!plan.waiting.contains_key(&gone) && plan.waiting.contains_key(&other), "the other's next wait is longer");
    }

    #[test]
    fn what_grew_while_it_was_told_is_looked_at_again() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let key = (channel(1), HookId::new(1));
        plan.running.insert(key);
        assert!(!plan.may_run(&key, now));
        plan.again.insert(key);
        // Another webhook of the channel that has nothing to tell ends at once, time and again: looking anew for that would never end.
        let other = (key.0, HookId::new(2));
        plan.running.insert(other);
        plan.done(other, Went::Idle, now, 0.0);
        assert!(plan.due.is_empty(), "the one that is told is not done yet");
        plan.done(key, Went::Failed, now, 0.0);
        assert!(plan.due.contains(&key.0));
    }

    #[test]
    fn an_event_has_one_name_and_no_other_has_it() {
        let of = |hook, channel_of, seq| message_id(HookId::new(hook), channel(channel_of), Seq::new(seq));
        assert_eq!(of(1, 1, 1), of(1, 1, 1));
        let all: BTreeSet<String> = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)].map(|(a, b, c)| of(a, b, c)).into();
        assert_eq!(all.len(), 4);
    }
}
