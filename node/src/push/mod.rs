//! Pushes to devices that are not here: the duty of the leader of a home group.
//!
//! In: `PushDue` rows, the feed that tells of new ones, who is near. Out: pushes, records of what was sent, settlements. Each conversation that is due is looked at by
//! one pass at a time: rows, nearness and time give a verdict for each device (kith-machine's `push`); what is sent is noted in the user's group, and what is settled
//! is due no more. Invariants: a push is sent before it is noted, so that none is lost with its leader, and this leader sends none twice; before all edges have told
//! their sessions nobody is absent. Bounds: [`AT_ONCE`] pushes of a group under way, [`ROUND`] conversations in a pass, [`plan::HELD_MAX`] held. On cancel all is
//! dropped: the next leader walks the same rows. Not here: what is due and why (kith-machine), providers and retries (kith-push), registration (`service::push`).

mod plan;
pub mod sender;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use kith_machine::{
    effect::Effect,
    push::{Beside, Near, Verdict, decide},
    user::push::{self as rows, Due},
    view::ViewError,
};
use kith_push::{Attempted, Next, Outcome, Push, Schedule};
use kith_raft::{FailPoints, FeedError, GroupHandle, failpoint::point};
use kith_wire::{
    id::{DeviceId, GroupId, Term, Timestamp, UserId, hash},
    limit,
    log::{PushChange, PushDevice, PushSent, PushSettled, PushesRow, UserChange},
};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use self::{
    plan::{Key, Plan, Tried},
    sender::{About, News, Sender, target_of},
};
use crate::{
    clock::{Instant, SharedClock},
    fanout::{Fanout, near::Found},
    leadership::{Duty, PerGroup},
    router::Router,
    supervise::Tasks,
};

/// Pushes of a group that are under way.
const AT_ONCE: usize = 256;
/// Conversations of one pass.
const ROUND: usize = 512;
/// Conversations of one read.
const PAGE: usize = 1_024;
/// The rows are walked so often although nothing was heard of them.
const WALK_EVERY: Duration = Duration::from_secs(60);
/// After rows could not be read, or nearness not asked for.
const AGAIN: Duration = Duration::from_secs(1);
/// Credentials are looked at so often.
const RELOAD_EVERY: Duration = Duration::from_secs(5);
/// A provider whose word is doubted is asked again after so long.
const UNSURE: Duration = Duration::from_secs(60);
/// Settlements that are proposed at once.
const SETTLED_AT_ONCE: usize = 64;

/// Of the worker; those of attempts are kith-push's.
#[derive(Debug, Default)]
pub(crate) struct WorkerMetrics {
    due: Gauge,
    settled: Counter,
    given_up: Counter,
    dead: Counter,
    taken_back: Counter,
}

impl WorkerMetrics {
    /// Shows them under `kith_push_…`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kith_push");
        registry.register("due", "Conversations that leaders of this node look at for pushes", self.due.clone());
        registry.register("settled", "Conversations that were settled: pushed, confirmed, read or not wanted", self.settled.clone());
        registry.register("given_up", "Pushes that were not tried again: refused for good, or too old", self.given_up.clone());
        registry.register(
            "dead_devices",
            "Devices that were forgotten because their provider does not know them, or they did not register for long",
            self.dead.clone(),
        );
        registry.register("taken_back", "Pushes that took back what a device showed, since it was read on another", self.taken_back.clone());
    }
}

/// The duty.
pub(crate) struct PushDuty {
    worker: Worker,
    groups: PerGroup,
}

/// What a worker is made of.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) router: Router,
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) sender: Sender,
    pub(crate) clock: SharedClock,
    /// How long a device whose edge was lost may take to come back.
    pub(crate) grace: Duration,
    pub(crate) fail_points: FailPoints,
    pub(crate) metrics: Arc<WorkerMetrics>,
}

impl PushDuty {
    pub(crate) fn new(worker: Worker, tasks: Tasks) -> Self {
        Self { worker, groups: PerGroup::new(tasks) }
    }
}

impl Duty for PushDuty {
    fn begin(&self, group: GroupId, _term: Term) {
        if group != GroupId::META {
            self.groups.begin(group, "push.send", self.worker.clone().run(group));
        }
    }
    fn end(&self, group: GroupId, _term: Term) {
        self.groups.end(group);
    }
}

/// What came of one push.
struct Came {
    key: Key,
    device: PushDevice,
    about: About,
    outcome: Outcome,
    /// It is delivered, and that is noted.
    is_noted: bool,
    at: Timestamp,
}

/// A push that may go: whom to, how it is reached, leave to send, what it says.
type Sending = (PushDevice, kith_push::Target, kith_push::Permit, About);

/// One conversation at one look.
struct Look {
    key: Key,
    due: Due,
    pushes: Arc<PushesRow>,
}

/// What a pass leaves behind, to be proposed.
#[derive(Default)]
struct Left {
    settled: BTreeMap<UserId, Vec<PushSettled>>,
    expired: Vec<(UserId, DeviceId, Timestamp)>,
    /// What was sent of them could not be noted.
    unnoted: Vec<Key>,
}

impl Worker {
    async fn run(self, group: GroupId) {
        let Some(handle) = self.router.groups().get(group) else { return };
        // Before the first walk: what comes after it is heard.
        let mut feed = handle.feed();
        let (mut plan, mut walk_at) = (Plan::default(), self.now());
        let mut running: FuturesUnordered<BoxFuture<'static, Came>> = FuturesUnordered::new();
        let mut pending: HashMap<Key, usize> = HashMap::new();
        let mut gauge = Held(&self.metrics.due, 0);
        loop {
            tokio::task::consume_budget().await;
            let now = self.now();
            if now >= walk_at {
                walk_at = now + self.walk(&handle, &mut plan, now).await;
            }
            if running.len() < AT_ONCE {
                let keys = plan.take(now, ROUND.min(AT_ONCE - running.len()));
                if !keys.is_empty() {
                    self.pass(&handle, &mut plan, keys, (&mut running, &mut pending)).await;
                }
            }
            gauge.set(plan.len());
            let room = (running.len() < AT_ONCE).then(|| plan.next()).flatten();
            let until = walk_at.min(room.unwrap_or(walk_at)).max(now + Duration::from_millis(10));
            // All branches are cancel safe: the feed and the pushes under way keep what was not taken.
            tokio::select! {
                Some(came) = running.next() => self.came(&handle, &mut plan, &mut pending, came).await,
                heard = feed.next() => match heard {
                    Ok(event) => event.effects.iter().for_each(|effect| match effect {
                        Effect::Pushable { user, channel }
                            if !plan.note((*user, *channel), self.now() + Duration::from_millis(limit::PUSH_WAIT_MS)) =>
                        {
                            walk_at = walk_at.min(self.now() + WALK_EVERY);
                        }
                        // What came with buckets may be due.
                        Effect::OwnershipChanged => walk_at = self.now(),
                        _ => {}
                    }),
                    Err(FeedError::Lagged(_)) => walk_at = self.now(),
                    Err(FeedError::Closed) => return,
                },
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Takes all that is due into the plan. Says when to walk again.
    async fn walk(&self, handle: &GroupHandle, plan: &mut Plan, now: Instant) -> Duration {
        let mut after = None;
        loop {
            let page = match handle.reader().and_then(|view| rows::due(&view, after, PAGE)) {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(group = %handle.id(), cause = %error, "push.send: what is due cannot be read now");
                    return AGAIN;
                }
            };
            let has_room = page.iter().all(|key| plan.note(*key, now));
            if page.len() < PAGE || !has_room {
                return WALK_EVERY;
            }
            after = page.last().copied();
            tokio::task::yield_now().await;
        }
    }

    /// Looks at conversations: each is sent of, settled, or looked at again later.
    async fn pass(
        &self,
        handle: &GroupHandle,
        plan: &mut Plan,
        keys: Vec<Key>,
        (running, pending): (&mut FuturesUnordered<BoxFuture<'static, Came>>, &mut HashMap<Key, usize>),
    ) {
        let now = self.now();
        let looks = match read(handle, &keys) {
            Ok(looks) => looks,
            Err(error) => {
                tracing::warn!(group = %handle.id(), cause = %error, "push.send: rows cannot be read now");
                return keys.into_iter().for_each(|key| plan.wait(key, now + AGAIN));
            }
        };
        let asked = looks.iter().flat_map(|look| look.pushes.devices.iter().map(move |known| (look.key.0, look.key.1, known.device))).collect();
        let Ok(found) = self.fanout.near(handle.id(), asked).await else {
            // It does not lead any more, or is busy.
            return keys.into_iter().for_each(|key| plan.wait(key, now + AGAIN));
        };
        let mut found = found.into_iter();
        let mut left = Left::default();
        for key in keys.iter().filter(|key| !looks.iter().any(|look| look.key == **key)) {
            // Read, or gone: the row went with it.
            plan.done(*key, now);
        }
        for look in looks {
            let near: Vec<Found> = found.by_ref().take(look.pushes.devices.len()).collect();
            let sends = self.look(plan, &look, near, &mut left);
            if sends.is_empty() {
                continue;
            }
            pending.insert(look.key, sends.len());
            let badge = handle.reader().and_then(|view| rows::badge(&view, look.key.0, self.clock.now())).unwrap_or_default();
            for (device, target, permit, about) in sends {
                let (user, channel) = look.key;
                let expires = Timestamp::new(look.due.since.get().saturating_add(limit::PUSH_KEPT_MS));
                let news = News { user, device: device.device, channel, about, badge, expires };
                running.push(Box::pin(self.clone().send(handle.clone(), device, target, permit, news)));
            }
        }
        for key in std::mem::take(&mut left.unnoted) {
            let sent = plan.get(&key).map(|held| held.unnoted.clone()).unwrap_or_default();
            let is_noted = self.propose(handle, key.0, PushChange::Sent { channel: key.1, sent }).await;
            if let Some(held) = plan.get_mut(&key).filter(|_| is_noted) {
                held.unnoted.clear();
            }
        }
        self.leave(handle, left).await;
    }

    /// What is to be done about one conversation: devices to push to now, each with its leave. None: the plan knows what else.
    fn look(&self, plan: &mut Plan, look: &Look, near: Vec<Found>, left: &mut Left) -> Vec<Sending> {
        let (key, now, wall) = (look.key, self.now(), self.clock.now());
        let mut due = look.due.clone();
        plan.with_unnoted(&key, &mut due.sent);
        let head = due.index.news.head.seq;
        let steady = plan.steady(&key, head, now);
        let mut wait: Option<Instant> = None;
        let mut sends = Vec::new();
        let later = |ms: Timestamp| now + Duration::from_millis(ms.get().saturating_sub(wall.get()));
        for (device, (near, confirmed)) in look.pushes.devices.iter().zip(near.into_iter().chain(std::iter::repeat((Near::Unknown, None)))) {
            let not_before = plan.get(&key).and_then(|held| held.tries.get(&device.device)).map(|tried| tried.not_before);
            let beside = Beside { near, confirmed, not_before, steady, grace: self.grace };
            let mut wait_for = |at: Instant| wait = Some(wait.map_or(at, |known| known.min(at)));
            match decide(&due, device, look.pushes.quiet, &beside, wall) {
                Verdict::Settled => {}
                Verdict::Wait(until) => wait_for(later(until)),
                Verdict::Expired => left.expired.push((key.0, device.device, device.registered)),
                verdict @ (Verdict::Send { .. } | Verdict::TakeBack) => match target_of(&device.target) {
                    Ok(target) => match self.sender.admit(&target) {
                        Ok(permit) => {
                            let about = match verdict {
                                Verdict::Send { is_mention } => About::Grown(head, is_mention),
                                _ => About::Read(head),
                            };
                            sends.push((device.clone(), target, permit, about));
                        }
                        Err(wait) => wait_for(now + wait),
                    },
                    // It was looked at when it was registered: another build did.
                    Err(_) => left.expired.push((key.0, device.device, device.registered)),
                },
            }
        }
        match wait {
            _ if !sends.is_empty() => {}
            Some(at) => plan.wait(key, at),
            None if plan.get(&key).is_some_and(|held| !held.unnoted.is_empty()) => {
                left.unnoted.push(key);
                plan.wait(key, now + AGAIN);
            }
            None => {
                left.settled.entry(key.0).or_default().push(PushSettled { channel: key.1, seq: head, is_read: due.is_read() });
                plan.done(key, now);
            }
        }
        sends
    }

    /// Sends one push, and notes it.
    async fn send(self, handle: GroupHandle, device: PushDevice, target: kith_push::Target, permit: kith_push::Permit, news: News) -> Came {
        let key = (news.user, news.channel);
        let at = self.clock.now();
        let lost = |outcome, device, is_noted| Came { key, device, about: news.about, outcome, is_noted, at };
        if self.fail_points.hit(point::PUSH_DECIDED).await.is_err() {
            return lost(Outcome::Transient(kith_push::Fault::Reset), device, false);
        }
        let outcome = self.sender.send(permit, target, &news).await;
        if outcome != Outcome::Delivered {
            return lost(outcome, device, false);
        }
        if self.fail_points.hit(point::PUSH_SENT).await.is_err() {
            return lost(outcome, device, false);
        }
        if matches!(news.about, About::Read(_)) {
            self.metrics.taken_back.inc();
        }
        let sent = vec![sent(&device, news.about, self.clock.now())];
        let change = UserChange::Push(PushChange::Sent { channel: news.channel, sent });
        let is_noted = handle.propose(kith_machine::item(change.of(news.user))).await.is_ok();
        let _ = self.fail_points.hit(point::PUSH_NOTED).await;
        lost(outcome, device, is_noted)
    }

    /// Takes what came of a push.
    async fn came(&self, handle: &GroupHandle, plan: &mut Plan, pending: &mut HashMap<Key, usize>, came: Came) {
        let Came { key, device, about, outcome, is_noted, at } = came;
        let (now, wall) = (self.now(), self.clock.now());
        let known = plan.get(&key).and_then(|held| held.tries.get(&device.device).copied());
        let attempts = known.map_or(1, |tried| tried.attempts + 1);
        let begun = known.map_or(at, |tried| tried.begun);
        let seed = hash(&[&key.0.get().to_be_bytes(), &device.device.get().to_be_bytes(), key.1.as_bytes(), &about.seq().get().to_be_bytes()]);
        let expires = Timestamp::new(begun.get().saturating_add(limit::PUSH_KEPT_MS));
        let next = match Schedule::default().next(&outcome, &Attempted { attempts, begun, expires, seed }, wall) {
            // It says so of an older registration than this one: perhaps it does not know yet.
            Next::RemoveToken { since: Some(since) } if since < device.registered => Next::At(plus(wall, UNSURE)),
            next => next,
        };
        let failed = |reason: String| PushChange::Failed { device: device.device, registered: device.registered, reason };
        let is_news = device.failure.as_ref().is_none_or(|failure| failure.reason != outcome.to_string());
        let mut unnoted = None;
        let change = match next {
            Next::Done if is_noted => None,
            Next::Done => {
                // This leader knows it. The next one, should this one die now, sends it once more.
                let sent = sent(&device, about, at);
                unnoted = Some(sent);
                Some(PushChange::Sent { channel: key.1, sent: vec![sent] })
            }
            Next::At(_) => is_news.then(|| failed(outcome.to_string())),
            Next::RemoveToken { .. } => {
                self.metrics.dead.inc();
                Some(PushChange::Unregister { device: device.device, registered: Some(device.registered) })
            }
            Next::GiveUp(_) => {
                self.metrics.given_up.inc();
                // As if it had been sent: nothing is tried again before there is something new.
                let sent = sent(&device, about, at);
                unnoted = Some(sent);
                self.propose(handle, key.0, failed(outcome.to_string())).await;
                Some(PushChange::Sent { channel: key.1, sent: vec![sent] })
            }
        };
        let mut is_proposed = true;
        if let Some(change) = change {
            is_proposed = self.propose(handle, key.0, change).await;
        }
        if let Some(held) = plan.get_mut(&key) {
            match next {
                Next::At(not_before) => held.tries.insert(device.device, Tried { attempts, begun, not_before }),
                // What could not be proposed is not tried again at once.
                Next::RemoveToken { .. } if !is_proposed => {
                    held.tries.insert(device.device, Tried { attempts, begun, not_before: plus(wall, UNSURE) })
                }
                _ => held.tries.remove(&device.device),
            };
            held.unnoted.retain(|sent| sent.device != device.device);
            held.unnoted.extend(unnoted.filter(|_| !is_proposed));
        }
        let left = pending.get_mut(&key).map_or(0, |left| {
            *left = left.saturating_sub(1);
            *left
        });
        if left == 0 {
            pending.remove(&key);
            plan.wait(key, now);
        }
    }

    /// Proposes what a pass has settled. What is lost of it is settled by a later pass.
    async fn leave(&self, handle: &GroupHandle, left: Left) {
        let settled = left.settled.into_iter().flat_map(|(user, channels)| {
            let chunks: Vec<_> = channels.chunks(limit::PUSH_SETTLED_MAX).map(<[_]>::to_vec).collect();
            chunks.into_iter().map(move |channels| (user, PushChange::Settled { channels }))
        });
        let expired =
            left.expired.into_iter().map(|(user, device, registered)| (user, PushChange::Unregister { device, registered: Some(registered) }));
        let changes: Vec<_> = settled.chain(expired).collect();
        stream::iter(changes)
            .for_each_concurrent(SETTLED_AT_ONCE, |(user, change)| async move {
                match &change {
                    PushChange::Settled { channels } => self.metrics.settled.inc_by(channels.len() as u64),
                    _ => self.metrics.dead.inc(),
                };
                self.propose(handle, user, change).await;
            })
            .await;
    }

    async fn propose(&self, handle: &GroupHandle, user: UserId, change: PushChange) -> bool {
        let proposed = handle.propose(kith_machine::item(UserChange::Push(change).of(user))).await;
        if let Err(error) = &proposed {
            tracing::debug!(group = %handle.id(), cause = %error, "push.send: not noted");
        }
        proposed.is_ok()
    }
    fn now(&self) -> Instant {
        self.clock.instant()
    }
}

/// Looks at credentials again and again: one that was replaced is used without a restart.
pub(crate) async fn reload(push: Arc<Push>) {
    let mut ticks = tokio::time::interval(RELOAD_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // What changed is logged there.
        push.reload().await;
    }
}

/// What is noted of a push.
fn sent(device: &PushDevice, about: About, at: Timestamp) -> PushSent {
    PushSent { device: device.device, seq: about.seq(), at, is_read: matches!(about, About::Read(_)) }
}

fn plus(at: Timestamp, wait: Duration) -> Timestamp {
    Timestamp::new(at.get().saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
}

/// What the rows say of conversations; those that are not due any more are left out.
fn read(handle: &GroupHandle, keys: &[Key]) -> Result<Vec<Look>, ViewError> {
    let view = handle.reader()?;
    let mut pushes: HashMap<UserId, Arc<PushesRow>> = HashMap::new();
    let mut looks = Vec::with_capacity(keys.len());
    for key in keys {
        let due = match rows::read_due(&view, key.0, key.1) {
            // Their new home pushes.
            Err(error) if error.is_not_owned() => continue,
            due => due?,
        };
        let Some(due) = due else { continue };
        let pushes = match pushes.get(&key.0) {
            Some(row) => row.clone(),
            None => {
                let row = Arc::new(rows::pushes(&view, key.0)?);
                pushes.insert(key.0, row.clone());
                row
            }
        };
        looks.push(Look { key: *key, due, pushes });
    }
    Ok(looks)
}

/// A share of a gauge that goes with its holder.
struct Held<'a>(&'a Gauge, i64);

impl Held<'_> {
    fn set(&mut self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.0.inc_by(count - self.1);
        self.1 = count;
    }
}
impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.dec_by(self.1);
    }
}
