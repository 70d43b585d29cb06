//! Pulls: history of a channel and rows of a user's index, from the nearest replica that has applied far enough.
//!
//! In: a query with the least that an answer must know (`min_seq`, `to`). Out: a page. This node's own replica is asked first and waited
//! for ≤ 50 ms, then the leader, then any other; a linearizable one only the leader, behind a read barrier. Invariant: membership, ranges and rows are read from one view; records come from the
//! cache of recent ones only below that view's head.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use kith_machine::{
    channel::read,
    mutant::Mutant,
    user::index,
    view::{Row, RowKey, Scan, StateView, ViewError},
};
use kith_raft::{FeedError, GroupHandle, Groups, TransportError};
use kith_wire::{
    client::{HistoryPage, HistoryQuery, IndexQuery, Page, Pull, Refusal},
    code::Code,
    id::{Bucket, GroupId, NodeId, Seq, Term, UserId, UserRev},
    peer::{Ask, Caller, Told},
};

use super::{
    local::{broken, not_proposed, view},
    mutant::Earlier,
};
use crate::{
    clock::{Instant, SharedClock},
    router::{Route, Router, refuse, refuse_for},
};

/// The node as reads see it: its own replicas, and the way to others. The [`Router`] is one; the simulation has another.
pub trait Way: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeId;
    /// Its groups.
    fn groups(&self) -> &Arc<Groups>;
    /// Time.
    fn clock(&self) -> &SharedClock;
    /// The place of a bucket.
    ///
    /// # Errors
    /// The map names no group for it yet.
    fn locate(&self, bucket: Bucket) -> Result<Route, Refusal>;
    /// Who leads a group, as far as is known here.
    fn leader(&self, group: GroupId) -> Option<(NodeId, Term)>;
    /// Whether what is asked of a node now would arrive.
    fn reachable(&self, node: NodeId) -> bool;
    /// How far it is.
    fn rtt(&self, _node: NodeId) -> Option<Duration> {
        None
    }
    /// Asks another node.
    fn ask(&self, node: NodeId, ask: Ask, within: Duration) -> BoxFuture<'static, Result<Told, TransportError>>;
    /// A linearizable pull, at the leader of the bucket's group.
    fn read(&self, caller: Caller, bucket: Bucket, pull: Pull, deadline: Instant) -> BoxFuture<'static, Result<Page, Refusal>>;
    /// A group has said that the bucket is not its own: learns where it is.
    fn learn(&self, _group: GroupId, _bucket: Bucket, _deadline: Instant) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

impl Way for Router {
    fn node(&self) -> NodeId {
        Self::node(self)
    }
    fn groups(&self) -> &Arc<Groups> {
        Self::groups(self)
    }
    fn clock(&self) -> &SharedClock {
        Self::clock(self)
    }
    fn locate(&self, bucket: Bucket) -> Result<Route, Refusal> {
        Self::locate(self, bucket)
    }
    fn leader(&self, group: GroupId) -> Option<(NodeId, Term)> {
        Self::leader(self, group)
    }
    fn reachable(&self, node: NodeId) -> bool {
        self.peers().reachable(node)
    }
    fn rtt(&self, node: NodeId) -> Option<Duration> {
        self.peers().rtt(node)
    }
    fn ask(&self, node: NodeId, ask: Ask, within: Duration) -> BoxFuture<'static, Result<Told, TransportError>> {
        let peers = self.peers().clone();
        async move { peers.ask(node, ask, within).await }.boxed()
    }
    fn read(&self, caller: Caller, bucket: Bucket, pull: Pull, deadline: Instant) -> BoxFuture<'static, Result<Page, Refusal>> {
        let router = self.clone();
        async move { Self::read(&router, &caller, bucket, pull, deadline).await }.boxed()
    }
    fn learn(&self, group: GroupId, bucket: Bucket, deadline: Instant) -> BoxFuture<'static, ()> {
        let router = self.clone();
        async move { Self::learn(&router, group, bucket, None, deadline).await }.boxed()
    }
}

/// Reads for clients.
#[derive(Clone)]
pub struct Reads {
    way: Arc<dyn Way>,
    earlier: Earlier,
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reads({})", self.way.node())
    }
}

impl Reads {
    /// Over a router, or what stands for it.
    pub fn new(way: impl Way) -> Self {
        Self { way: Arc::new(way), earlier: Earlier::default() }
    }

    /// A page of history, from where the query says or from the nearest replica.
    ///
    /// # Errors
    /// `NotMember`, `Behind`, `Resync`, `NotFound` when the asked node has no replica, or nobody could be asked.
    pub async fn history(&self, caller: &Caller, query: HistoryQuery, deadline: Instant) -> Result<HistoryPage, Refusal> {
        if query.linearizable {
            return match self.way.read(caller.clone(), query.channel.bucket(), Pull::History(query), deadline).await? {
                Page::History(page) => Ok(page),
                _ => Err(refuse(Code::Internal)),
            };
        }
        let bucket = query.channel.bucket();
        loop {
            let route = self.way.locate(bucket)?;
            let places = query.replica.map_or_else(|| self.places(&route), |node| vec![node]);
            let mut last = refuse_for(Code::NoLeader, RETRY_MS);
            for node in places {
                match self.history_at(node, route.group, caller, query.clone(), deadline).await {
                    Err(refusal) if is_local_to_replica(refusal.code) => last = refusal,
                    answer => return answer,
                }
                if self.way.clock().instant() >= deadline {
                    break;
                }
            }
            if query.replica.is_some() && last.code != Code::WrongGroup {
                return Err(last);
            }
            if !self.may_have_moved(&last, (route.group, bucket), deadline).await {
                return Err(unknown(last));
            }
        }
    }

    /// Nobody of a group owned the bucket: whether to look for it once more. On its way it is nobody's for a moment.
    async fn may_have_moved(&self, last: &Refusal, (group, bucket): (GroupId, Bucket), deadline: Instant) -> bool {
        if last.code != Code::WrongGroup || self.way.clock().instant() + MOVING_PAUSE >= deadline {
            return false;
        }
        self.way.learn(group, bucket, deadline).await;
        if self.way.locate(bucket).is_ok_and(|route| route.group == group) {
            tokio::time::sleep(MOVING_PAUSE).await;
        }
        true
    }

    async fn history_at(
        &self,
        node: NodeId,
        group: GroupId,
        caller: &Caller,
        query: HistoryQuery,
        deadline: Instant,
    ) -> Result<HistoryPage, Refusal> {
        if node == self.way.node() {
            return self.history_here(group, caller, &query).await;
        }
        let within = deadline.saturating_duration_since(self.way.clock().instant()).min(ASK_MAX);
        match self.way.ask(node, Ask::History { group, caller: caller.clone(), query }, within).await {
            Ok(Told::History(page)) => Ok(page),
            Ok(_) => Err(refuse(Code::Internal)),
            Err(error) => Err(unreachable(error)),
        }
    }

    /// A page from this node's replica; also what other nodes ask for.
    ///
    /// # Errors
    /// As [`Reads::history`]; `NotLeader` for a linearizable one, with a hint.
    pub async fn history_here(&self, group: GroupId, caller: &Caller, query: &HistoryQuery) -> Result<HistoryPage, Refusal> {
        if query.linearizable {
            let handle = self.latest(group).await?;
            return self.read_history(&handle, caller, query)?.map_err(gone);
        }
        let handle = self.way.groups().get(group).ok_or_else(|| refuse(Code::NotFound))?;
        let page = match self.read_history(&handle, caller, query)? {
            Err(Code::Behind) => {
                applied(&handle, |handle| Ok(!matches!(self.read_history(handle, caller, query)?, Err(Code::Behind)))).await?;
                self.read_history(&handle, caller, query)?
            }
            other => other,
        };
        match page {
            Ok(page) => Ok(page),
            Err(Code::Behind) if query.replica.is_none() && self.serves(group) => {
                // Nobody knows more than a leader behind a barrier: what the device holds is of a history that is gone.
                handle.read_barrier().await.map_err(not_proposed)?;
                self.read_history(&handle, caller, query)?.map_err(gone)
            }
            // A replica that lags may not know the channel or the membership yet. One that was named is believed if nothing is known to
            // exist; whether it lags is not told, since that would tell strangers what there is.
            Err(Code::NotMember) if !self.serves(group) && (query.replica.is_none() || query.min_seq > Seq::ZERO) => {
                Err(refuse_for(Code::Behind, RETRY_MS))
            }
            // Nor does one that was deposed and has not heard of it.
            Err(Code::NotMember) if query.replica.is_none() => {
                handle.read_barrier().await.map_err(not_proposed)?;
                self.read_history(&handle, caller, query)?.map_err(refuse)
            }
            Err(Code::Behind) => Err(refuse_for(Code::Behind, RETRY_MS)),
            Err(code) => Err(refuse(code)),
        }
    }

    fn read_history(&self, handle: &GroupHandle, caller: &Caller, query: &HistoryQuery) -> Result<Result<HistoryPage, Code>, Refusal> {
        let reader = view(handle)?;
        let recent = handle.recent();
        let fetch = |range: std::ops::RangeInclusive<Seq>, reverse: bool, limit: usize| -> Result<Vec<Arc<Row>>, ViewError> {
            let most = u64::try_from(limit.saturating_sub(1)).unwrap_or(u64::MAX);
            let part = if reverse {
                Seq::new(range.end().get().saturating_sub(most).max(range.start().get()))..=*range.end()
            } else {
                *range.start()..=Seq::new(range.start().get().saturating_add(most).min(range.end().get()))
            };
            if let Some(records) = recent.range(&query.channel, part) {
                let rows = records.iter().map(|record| Arc::new(Row::Record(Arc::unwrap_or_clone(record.clone()))));
                return Ok(if reverse { rows.rev().collect() } else { rows.collect() });
            }
            let rows = reader.scan(&Scan::Records(query.channel, range), reverse, limit)?;
            Ok(rows.into_iter().map(|(_, row)| row).collect())
        };
        if handle.quirk().is(Mutant::ReadTwoSnapshots) {
            let patchwork = self.earlier.over(handle, view(handle)?, self.way.clock().instant())?;
            return read::history_from(&patchwork, caller.user, query, self.way.node(), fetch).map_err(|error| broken(&error));
        }
        read::history_from(&reader, caller.user, query, self.way.node(), fetch).map_err(|error| broken(&error))
    }

    /// A page of the caller's own index.
    ///
    /// # Errors
    /// `Behind`, `Resync`, or nobody could be asked.
    pub async fn index(&self, caller: &Caller, query: IndexQuery, deadline: Instant) -> Result<Page, Refusal> {
        if query.linearizable {
            return self.way.read(caller.clone(), caller.user.bucket(), Pull::Index(query), deadline).await;
        }
        let bucket = caller.user.bucket();
        loop {
            let route = self.way.locate(bucket)?;
            let mut last = refuse_for(Code::NoLeader, RETRY_MS);
            for node in self.places(&route) {
                match self.index_at(node, route.group, caller, &query, deadline).await {
                    Err(refusal) if is_local_to_replica(refusal.code) => last = refusal,
                    answer => return answer,
                }
                if self.way.clock().instant() >= deadline {
                    break;
                }
            }
            if !self.may_have_moved(&last, (route.group, bucket), deadline).await {
                return Err(unknown(last));
            }
        }
    }

    async fn index_at(&self, node: NodeId, group: GroupId, caller: &Caller, query: &IndexQuery, deadline: Instant) -> Result<Page, Refusal> {
        if node == self.way.node() {
            return self.index_here(group, caller, query, query.to).await;
        }
        let within = deadline.saturating_duration_since(self.way.clock().instant()).min(ASK_MAX);
        let ask = Ask::Index { group, caller: caller.clone(), query: query.clone(), min_rev: query.to };
        match self.way.ask(node, ask, within).await {
            Ok(Told::Page(page)) => Ok(page),
            Ok(_) => Err(refuse(Code::Internal)),
            Err(error) => Err(unreachable(error)),
        }
    }

    /// A page of an index from this node's replica, which must have applied `min_rev`; also what other nodes ask for.
    ///
    /// # Errors
    /// As [`Reads::index`]; `NotLeader` for a linearizable one, with a hint.
    pub async fn index_here(&self, group: GroupId, caller: &Caller, query: &IndexQuery, min_rev: UserRev) -> Result<Page, Refusal> {
        if query.linearizable {
            let handle = self.latest(group).await?;
            return index_page(&handle, caller, query);
        }
        let handle = self.way.groups().get(group).ok_or_else(|| refuse(Code::NotFound))?;
        let stands = |handle: &GroupHandle| Ok(rev_of(&view(handle)?, caller.user)? >= min_rev);
        if !stands(&handle)? {
            applied(&handle, stands).await?;
        }
        if !stands(&handle)? {
            if !self.serves(group) {
                return Err(refuse_for(Code::Behind, RETRY_MS));
            }
            handle.read_barrier().await.map_err(not_proposed)?;
            if !stands(&handle)? {
                return Err(refuse(Code::Resync));
            }
        }
        index_page(&handle, caller, query)
    }

    /// The group's replica here, with all that was committed before now: only a leader knows what that is, and only a majority that it leads.
    async fn latest(&self, group: GroupId) -> Result<GroupHandle, Refusal> {
        let handle = self.way.groups().get(group).ok_or_else(|| Refusal::not_leader(None))?;
        handle.read_barrier().await.map_err(not_proposed)?;
        Ok(handle)
    }

    fn serves(&self, group: GroupId) -> bool {
        self.way.groups().get(group).is_some_and(|handle| handle.leadership().serving)
    }

    /// Where to ask, best first: here, or at the nearest replica; then at the leader; then at the others that are alive. Of those that are as
    /// near the leader goes first.
    fn places(&self, route: &Route) -> Vec<NodeId> {
        let me = self.way.node();
        let mut places = Vec::with_capacity(route.replicas.len());
        if self.way.groups().get(route.group).is_some() {
            places.push(me);
        }
        let leader = self.way.leader(route.group).map(|(node, _)| node);
        let mut others: Vec<NodeId> = route.replicas.iter().copied().filter(|node| self.way.reachable(*node)).collect();
        let steps = |node: &NodeId| self.way.rtt(*node).map_or(0, |rtt| rtt.as_millis() / RTT_STEP_MS);
        others.sort_by_key(|node| (steps(node), Some(*node) != leader));
        let nearest = others.first().copied().filter(|_| places.is_empty());
        for node in nearest.into_iter().chain(leader).chain(others) {
            if !places.contains(&node) {
                places.push(node);
            }
        }
        places
    }
}

fn index_page(handle: &GroupHandle, caller: &Caller, query: &IndexQuery) -> Result<Page, Refusal> {
    let page = index::page(&view(handle)?, caller.user, query).map_err(|error| broken(&error))?;
    Ok(Page::Index { rows: page.rows, more: page.more, rev: page.rev })
}

/// What a leader behind a barrier refuses: nobody knows more, so what is `Behind` for it is of a history that is gone.
fn gone(code: Code) -> Refusal {
    refuse(if code == Code::Behind { Code::Resync } else { code })
}

fn rev_of(rows: &dyn StateView, user: UserId) -> Result<UserRev, Refusal> {
    let row = rows.get(&RowKey::User(user)).map_err(|error| broken(&error))?;
    Ok(match row.as_deref() {
        Some(Row::User(row)) => row.rev,
        _ => UserRev::ZERO,
    })
}

/// Waits until the replica has applied far enough, at most 50 ms.
async fn applied(handle: &GroupHandle, far_enough: impl Fn(&GroupHandle) -> Result<bool, Refusal>) -> Result<(), Refusal> {
    let mut feed = handle.feed();
    let wait = async {
        while !far_enough(handle)? {
            if let Err(FeedError::Closed) = feed.next().await {
                break;
            }
        }
        Ok(())
    };
    tokio::time::timeout(BEHIND_WAIT, wait).await.unwrap_or(Ok(()))
}

/// Refusals that another replica may not give.
fn is_local_to_replica(code: Code) -> bool {
    matches!(code, Code::Behind | Code::NotFound | Code::NoLeader | Code::NotLeader | Code::WrongGroup | Code::Busy | Code::Timeout | Code::Internal)
}

/// What a client is told when no place had an answer. That a node has no such replica (it is just starting) says nothing of the data: a
/// client that took it for final would give up what it is owed. Which group holds what is not its business.
fn unknown(last: Refusal) -> Refusal {
    if matches!(last.code, Code::NotFound | Code::WrongGroup) { refuse_for(Code::NoLeader, RETRY_MS) } else { last }
}

fn unreachable(error: TransportError) -> Refusal {
    match error {
        TransportError::Refused(_, refusal) => refusal,
        _ => refuse_for(Code::NoLeader, RETRY_MS),
    }
}

/// For this node's own replica to catch up.
const BEHIND_WAIT: Duration = Duration::from_millis(50);
/// For another replica's page.
const ASK_MAX: Duration = Duration::from_secs(5);
/// Replicas whose round trips differ by less are as near.
const RTT_STEP_MS: u128 = 5;
/// Before asking again.
const RETRY_MS: u32 = 200;
/// Before a bucket that is on its way is looked for again.
const MOVING_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_node_that_has_no_replica_yet_makes_a_read_final() {
        for code in [Code::NotFound, Code::Behind, Code::NoLeader, Code::NotLeader, Code::WrongGroup, Code::Busy, Code::Timeout, Code::Internal] {
            assert!(is_local_to_replica(code));
            assert!(!matches!(unknown(refuse(code)).code.number() / 1_000, 3 | 4), "{code} is final for a client");
        }
    }
}
