//! Getting something done at the leader of a bucket's group, by one hop at most, until it is done or the deadline has passed.

use std::time::Duration;

use kith_machine::mutant::Mutant;
use kith_raft::TransportError;
use kith_wire::{
    client::{Answer, Page, Pull, Refusal, Request},
    code::Code,
    id::{Bucket, GroupId, NodeId, UserRev},
    peer::{Ask, Caller, Inner, InnerAnswer, Told},
};

use tracing::Instrument;

use super::{Route, Router, refuse, refuse_for};
use crate::clock::{Instant, jitter};

#[derive(Clone)]
enum Work {
    Request(Caller, Request),
    Read(Caller, Pull),
    Inner(Inner),
}

/// Where something is to be done.
#[derive(Clone, Copy)]
enum Place {
    Bucket(Bucket),
    Group(GroupId),
}

enum Done {
    Answer(Answer),
    Page(Page),
    Inner(InnerAnswer),
}

/// What an attempt that gave no answer means for the next one.
enum Failure {
    /// Final: the asker's answer.
    Refused(Refusal),
    /// It was not done: try again, perhaps there.
    NotDone(Refusal, Option<NodeId>),
    /// It may have been done: try again (every work is idempotent), and say so if there is no time left.
    Unknown,
}

impl Router {
    /// A client's request, at the leader of the bucket's group.
    ///
    /// # Errors
    /// The leader's refusal; `NoLeader`, `Busy` with a delay; `OutcomeUnknown` once it may have been proposed.
    pub async fn forward(&self, caller: &Caller, bucket: Bucket, request: Request, deadline: Instant) -> Result<Answer, Refusal> {
        let span = tracing::debug_span!("router.forward", node = %self.node, request = caller.trace);
        match self.lead(Place::Bucket(bucket), Work::Request(caller.clone(), request), deadline).instrument(span).await? {
            Done::Answer(answer) => Ok(answer),
            Done::Page(_) | Done::Inner(_) => Err(refuse(Code::Internal)),
        }
    }

    /// A linearizable pull, at the leader of the bucket's group.
    ///
    /// # Errors
    /// The leader's refusal; `NoLeader` when nobody could be asked in time.
    pub async fn read(&self, caller: &Caller, bucket: Bucket, pull: Pull, deadline: Instant) -> Result<Page, Refusal> {
        let span = tracing::debug_span!("router.read", node = %self.node, request = caller.trace);
        match self.lead(Place::Bucket(bucket), Work::Read(caller.clone(), pull), deadline).instrument(span).await {
            Ok(Done::Page(page)) => Ok(page),
            Ok(Done::Answer(_) | Done::Inner(_)) => Err(refuse(Code::Internal)),
            // A read has no outcome to know of.
            Err(refusal) if refusal.code == Code::OutcomeUnknown => Err(refuse_for(Code::NoLeader, NO_LEADER_MS)),
            Err(refusal) => Err(refusal),
        }
    }

    /// An operation of the cluster itself, at the leader of the bucket's group.
    ///
    /// # Errors
    /// As [`Router::forward`].
    pub async fn inner(&self, bucket: Bucket, inner: Inner, deadline: Instant) -> Result<InnerAnswer, Refusal> {
        match self.lead(Place::Bucket(bucket), Work::Inner(inner), deadline).await? {
            Done::Inner(answer) => Ok(answer),
            Done::Answer(_) | Done::Page(_) => Err(refuse(Code::Internal)),
        }
    }

    /// As [`Router::inner`], at the leader of a group that holds no buckets.
    ///
    /// # Errors
    /// As [`Router::forward`].
    pub async fn inner_to(&self, group: GroupId, inner: Inner, deadline: Instant) -> Result<InnerAnswer, Refusal> {
        match self.lead(Place::Group(group), Work::Inner(inner), deadline).await? {
            Done::Inner(answer) => Ok(answer),
            Done::Answer(_) | Done::Page(_) => Err(refuse(Code::Internal)),
        }
    }

    /// A client's request, at the leader of a group that holds no buckets.
    ///
    /// # Errors
    /// As [`Router::forward`].
    pub async fn forward_to(&self, caller: &Caller, group: GroupId, request: Request, deadline: Instant) -> Result<Answer, Refusal> {
        match self.lead(Place::Group(group), Work::Request(caller.clone(), request), deadline).await? {
            Done::Answer(answer) => Ok(answer),
            Done::Inner(_) | Done::Page(_) => Err(refuse(Code::Internal)),
        }
    }

    async fn lead(&self, place: Place, work: Work, deadline: Instant) -> Result<Done, Refusal> {
        let mut last = refuse(Code::Timeout);
        let (mut hint, mut asked, mut may_be_done) = (None, None, false);
        let mut wait = RETRY_MIN;
        loop {
            let mut stranger = None;
            let attempt = match self.place(place) {
                Ok(route) => {
                    stranger = Some(route.group);
                    // A hint is what another node knew a while ago: what is heard here meanwhile is newer.
                    let own = self.leader(route.group).map(|(node, _)| node);
                    let hinted = hint.take();
                    let known = own.filter(|node| Some(*node) != asked).or(hinted).or(own);
                    // One that has just said it does not lead, and nobody else is known: ask around.
                    match known.or_else(|| self.any_replica(&route, asked)) {
                        Some(node) => {
                            tracing::debug!(group = %route.group, peer = %node, "router.locate");
                            asked = Some(node);
                            self.attempt(node, &route, work.clone(), deadline).await
                        }
                        None => Err(Failure::NotDone(refuse_for(Code::NoLeader, NO_LEADER_MS), None)),
                    }
                }
                Err(refusal) => Err(Failure::NotDone(refusal, None)),
            };
            match attempt {
                Ok(done) => return Ok(done),
                Err(Failure::Refused(refusal)) => return Err(refusal),
                Err(Failure::NotDone(refusal, at)) => {
                    let is_stranger = refusal.code == Code::WrongGroup;
                    // Who named the group has to look where its buckets are now.
                    if is_stranger && matches!(place, Place::Group(_)) {
                        return Err(refusal);
                    }
                    last = refusal;
                    if is_stranger
                        && let (Place::Bucket(bucket), Some(group)) = (place, stranger)
                        && self.is_outpaced(group, bucket, asked, deadline).await
                    {
                        // It is known where to ask: at once.
                        (hint, asked) = (None, None);
                        continue;
                    }
                    hint = at.filter(|at| Some(*at) != asked);
                }
                Err(Failure::Unknown) if self.groups.quirk().is(Mutant::FailOnTimeout) => return Err(refuse(Code::NotAllowed)),
                Err(Failure::Unknown) => may_be_done = true,
            }
            let pause = jitter(wait / 2, wait);
            wait = (wait * 2).min(RETRY_MAX);
            if self.clock.instant() + pause >= deadline {
                return Err(if may_be_done { refuse(Code::OutcomeUnknown) } else { outward(last) });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether the bucket is known to be elsewhere now.
    async fn is_outpaced(&self, group: GroupId, bucket: Bucket, asked: Option<NodeId>, deadline: Instant) -> bool {
        self.learn(group, bucket, asked, deadline).await;
        self.locate(bucket).is_ok_and(|route| route.group != group)
    }

    fn place(&self, place: Place) -> Result<Route, Refusal> {
        match place {
            Place::Bucket(bucket) => self.locate(bucket),
            Place::Group(group) => self.locate_group(group),
        }
    }

    async fn attempt(&self, node: NodeId, route: &Route, work: Work, deadline: Instant) -> Result<Done, Failure> {
        let now = self.clock.instant();
        if now >= deadline {
            return Err(Failure::NotDone(refuse(Code::Timeout), None));
        }
        if node == self.node {
            let ops = self.ops().map_err(Failure::Refused)?;
            let done = match work {
                Work::Request(caller, request) => ops.at_leader(route.group, caller, request, deadline).await.map(Done::Answer),
                Work::Read(caller, pull) => ops.read(route.group, caller, pull).await.map(Done::Page),
                Work::Inner(inner) => ops.inner(route.group, inner, deadline).await.map(Done::Inner),
            };
            return done.map_err(classify);
        }
        let ask = match work {
            Work::Request(caller, request) => Ask::Forward { group: route.group, map_epoch: route.epoch, caller, request },
            Work::Read(caller, Pull::History(query)) => Ask::History { group: route.group, caller, query },
            Work::Read(caller, Pull::Index(query)) => Ask::Index { group: route.group, caller, query, min_rev: UserRev::ZERO },
            Work::Inner(inner) => Ask::Inner { group: route.group, map_epoch: route.epoch, inner },
        };
        let answer = tokio::select! {
            answer = self.peers.ask(node, ask, (deadline - now).min(ATTEMPT_MAX)) => answer,
            () = self.succeeded(route.group, node) => return Err(Failure::Unknown),
        };
        match answer {
            Ok(Told::Answer(answer)) => Ok(Done::Answer(answer)),
            Ok(Told::Inner(answer)) => Ok(Done::Inner(answer)),
            Ok(Told::History(page)) => Ok(Done::Page(Page::History(page))),
            Ok(Told::Page(page)) => Ok(Done::Page(page)),
            Ok(_) => Err(Failure::Refused(refuse(Code::Internal))),
            Err(TransportError::Refused(_, refusal)) => Err(classify(refusal)),
            Err(TransportError::Unreachable(_)) => Err(Failure::NotDone(refuse_for(Code::NoLeader, NO_LEADER_MS), None)),
            Err(TransportError::Full(_)) => Err(Failure::Refused(refuse_for(Code::Busy, BUSY_MS))),
            Err(TransportError::Timeout(_) | TransportError::Lost(_) | TransportError::Source(_)) => Err(Failure::Unknown),
        }
    }

    /// Ends once another node is known to lead the group: one that died while it was asked will not answer, and need not be waited for.
    async fn succeeded(&self, group: GroupId, asked: NodeId) {
        let leader = self.leader(group);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.leader(group);
            if now != leader && now.is_some_and(|(node, _)| node != asked) {
                return;
            }
        }
    }
}

fn classify(refusal: Refusal) -> Failure {
    match refusal.code {
        Code::NotLeader => {
            let leader = refusal.leader;
            Failure::NotDone(refusal, leader)
        }
        // The data is on its way: nothing was done, and soon it is there.
        Code::Frozen => Failure::NotDone(refusal, None),
        Code::WrongGroup | Code::NoLeader | Code::Draining => Failure::NotDone(refusal, None),
        Code::OutcomeUnknown | Code::Timeout | Code::Disconnected => Failure::Unknown,
        _ => Failure::Refused(refusal),
    }
}

/// What a client is told of the last attempt: places inside the cluster are not its business.
fn outward(last: Refusal) -> Refusal {
    match last.code {
        Code::NotLeader | Code::WrongGroup | Code::Draining | Code::Timeout => refuse_for(Code::NoLeader, NO_LEADER_MS),
        _ => last,
    }
}

/// First wait before another attempt.
const RETRY_MIN: Duration = Duration::from_millis(10);
/// Longest wait.
const RETRY_MAX: Duration = Duration::from_millis(250);
/// One attempt at another node: a leader that is cut off is not waited for until the deadline.
const ATTEMPT_MAX: Duration = Duration::from_millis(2_500);
/// While an answer is awaited: how often to see whether the one asked still leads. Most answers come sooner.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// About an election.
const NO_LEADER_MS: u32 = 1_000;
/// A peer that reads too slowly.
const BUSY_MS: u32 = 200;
