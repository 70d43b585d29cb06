//! One proposer per group: one entry in flight, which carries all that was queued when it left.
//!
//! In: items with a place for each one's reply. Out: encoded batches to openraft, replies to the callers. Invariants: items keep their
//! order; an item is answered exactly once; `NotLeader` and `Busy` mean that it was never logged. Bounds: [`ProposerLimits`], beyond
//! which `Busy`; a batch is within `limit::BATCH_*`. Measured: a proposal is the unit of cost, whatever it carries, so the queue that
//! builds up behind one entry is the batching; a linger helps only after a batch of more than one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use kith_wire::{
    id::{NodeId, Timestamp},
    limit::{BATCH_BYTES_MAX, BATCH_ITEMS_MAX},
    log::{Batch, Command, Item, NodeRow},
    moving::MoveChange,
    trust::TrustChange,
};
use openraft::{
    errors::{ClientWriteError, ForwardToLeader, RaftError},
    raft::ClientWriteResponse,
};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    asker::{Answer, Asker, Company},
    config::ProposerLimits,
    error::ProposeError,
    failpoint::{FailPoints, point},
    group::Leadership,
    metrics::{QueueReject, RaftMetrics, Stopwatch},
    mutant::Hasty,
    types::{Proposal, Raft, Replies, Types},
};

type Written = Result<ClientWriteResponse<Types>, RaftError<Types, ClientWriteError<Types>>>;

/// Where batches get their time from.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Debug)]
struct Waiting {
    item: Item,
    weight: usize,
    since: Stopwatch,
    asker: Asker,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Waiting>,
    bytes: usize,
    closed: bool,
    /// Of the last round, for telling how long the queue will take.
    last_items: usize,
    last_round: Duration,
}

/// The queue in front of a group's log.
#[derive(Debug)]
pub(crate) struct Proposer {
    queue: Mutex<Queue>,
    some: Notify,
    limits: ProposerLimits,
    leadership: watch::Receiver<Leadership>,
    metrics: Arc<RaftMetrics>,
    failpoints: FailPoints,
}

impl Proposer {
    pub(crate) fn new(limits: ProposerLimits, leadership: watch::Receiver<Leadership>, metrics: Arc<RaftMetrics>, failpoints: FailPoints) -> Self {
        Self { queue: Mutex::default(), some: Notify::new(), limits, leadership, metrics, failpoints }
    }

    /// Queues an item and waits for its reply. Dropping the future does not take it back.
    pub(crate) async fn propose(&self, me: NodeId, item: Item) -> Answer {
        let lead = *self.leadership.borrow();
        if lead.leader != Some(me) {
            self.metrics.reject(QueueReject::NotLeader);
            return Err(not_leader(lead));
        }
        let answered = self.enqueue(item)?;
        answered.await.unwrap_or(Err(ProposeError::Stopped))
    }

    /// Queues items, in their order, and waits for all their replies: one wake-up for all of them. Each may be refused for itself.
    pub(crate) async fn propose_many(&self, me: NodeId, items: Vec<Item>) -> Vec<Answer> {
        let count = items.len();
        let lead = *self.leadership.borrow();
        if lead.leader != Some(me) {
            items.iter().for_each(|_| self.metrics.reject(QueueReject::NotLeader));
            return vec![Err(not_leader(lead)); count];
        }
        self.enqueue_many(items).await.unwrap_or_else(|_| vec![Err(ProposeError::Stopped); count])
    }

    fn enqueue_many(&self, items: Vec<Item>) -> oneshot::Receiver<Vec<Answer>> {
        let (company, answered) = Company::of(items.len());
        let mut queue = self.queue();
        for (place, item) in items.into_iter().enumerate() {
            let weight = weight(&item);
            match self.admit(&queue, weight) {
                Ok(()) => queue.push(item, weight, company.asker(place)),
                Err(refused) => company.answer(place, Err(refused)),
            }
        }
        drop(queue);
        self.some.notify_one();
        answered
    }

    fn enqueue(&self, item: Item) -> Result<oneshot::Receiver<Answer>, ProposeError> {
        let weight = weight(&item);
        let (asker, answered) = Asker::alone();
        let mut queue = self.queue();
        self.admit(&queue, weight)?;
        queue.push(item, weight, asker);
        drop(queue);
        self.some.notify_one();
        Ok(answered)
    }

    /// Whether the queue takes one more of this weight; counts it, or why not.
    fn admit(&self, queue: &Queue, weight: usize) -> Result<(), ProposeError> {
        let refused = match () {
            () if queue.closed => Some((QueueReject::Stopped, ProposeError::Stopped)),
            () if queue.items.len() >= self.limits.queue_items_max => Some((QueueReject::Items, queue.busy())),
            () if queue.bytes + weight > self.limits.queue_bytes_max && !queue.items.is_empty() => Some((QueueReject::Bytes, queue.busy())),
            () => None,
        };
        let Some((reason, error)) = refused else {
            self.metrics.queue_items.inc();
            return Ok(());
        };
        self.metrics.reject(reason);
        Err(error)
    }

    /// The group's proposing task. Ends when told to stop or when openraft has; all who wait are told `Stopped`.
    pub(crate) async fn run(self: Arc<Self>, raft: Raft, now: Now, overdue: Duration, hasty: Hasty, stop: CancellationToken) {
        let end = stop.run_until_cancelled(self.propose_all(&raft, &now, overdue, &hasty)).await;
        if end.is_some() {
            tracing::warn!("the proposer ends because the group has stopped");
        }
        self.close();
    }

    fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        queue.bytes = 0;
        let left = std::mem::take(&mut queue.items);
        drop(queue);
        self.metrics.queue_items.dec_by(left.len() as i64);
        left.into_iter().for_each(|waiting| waiting.asker.answer(Err(ProposeError::Stopped)));
    }

    async fn propose_all(&self, raft: &Raft, now: &Now, overdue: Duration, hasty: &Hasty) {
        let mut in_company = false;
        loop {
            self.wait_for_some().await;
            if in_company && !self.limits.linger.is_zero() {
                sleep(self.limits.linger).await;
            }
            let batch = self.take_batch();
            in_company = batch.len() > 1;
            if self.propose_batch(raft, now, overdue, hasty, batch).await.is_err() {
                return;
            }
        }
    }

    async fn wait_for_some(&self) {
        while self.queue().items.is_empty() {
            self.some.notified().await;
        }
    }

    fn take_batch(&self) -> Vec<Waiting> {
        let mut queue = self.queue();
        let mut bytes = 0;
        let mut count = 0;
        while let Some(next) = queue.items.get(count) {
            if count == BATCH_ITEMS_MAX || (count > 0 && bytes + next.weight > BATCH_BYTES_MAX) {
                break;
            }
            bytes += next.weight;
            count += 1;
        }
        queue.bytes -= bytes;
        let batch = queue.items.drain(..count).collect::<Vec<_>>();
        drop(queue);
        self.metrics.queue_items.dec_by(batch.len() as i64);
        batch
    }

    async fn propose_batch(&self, raft: &Raft, now: &Now, overdue: Duration, hasty: &Hasty, waiting: Vec<Waiting>) -> Result<(), Stopped> {
        let round = Stopwatch::start();
        let mut askers = Vec::with_capacity(waiting.len());
        let weight = waiting.iter().map(|one| one.weight).sum();
        let mut batch = Batch { now: now(), items: Vec::with_capacity(waiting.len()) };
        if let Some(oldest) = waiting.first() {
            self.metrics.queue_wait_seconds.observe(oldest.since.elapsed().as_secs_f64());
        }
        for waiting in waiting {
            batch.items.push(waiting.item);
            askers.push(waiting.asker);
        }
        hasty.number(&mut batch, &self.leadership);
        // A buffer that grew by doubling would be copied as often, and up to half of it be kept empty.
        let mut bytes = Vec::with_capacity(weight);
        batch.encode_into(&mut bytes);
        drop(batch);
        let bytes = Bytes::from(bytes);
        self.metrics.batch_items.observe(askers.len() as f64);
        self.metrics.batch_bytes.observe(bytes.len() as f64);
        let count = askers.len();
        // A fault here is a sleep or the end of the process: there is nothing to refuse.
        let _ = self.failpoints.hit(point::BEFORE_PROPOSE).await;
        if let Some(replies) = hasty.answers(&bytes, &self.leadership) {
            std::mem::take(&mut askers).into_iter().zip(replies).for_each(|(asker, reply)| asker.answer(Ok(reply)));
        }
        let written = self.written(raft, bytes, overdue).await;
        let _ = self.failpoints.hit(point::AFTER_PROPOSE).await;
        let stopped = self.settle(askers, written);
        self.metrics.propose_seconds.observe(round.elapsed().as_secs_f64());
        let mut queue = self.queue();
        queue.last_items = count;
        queue.last_round = round.elapsed();
        stopped
    }

    /// `None`: it was proposed, and nobody will say what became of it.
    async fn written(&self, raft: &Raft, bytes: Bytes, overdue: Duration) -> Option<Written> {
        let mut leadership = self.leadership.clone();
        let term = leadership.borrow_and_update().term;
        // A leader cut off from its quorum keeps the entry until it hears of a newer term; its callers should not wait for that.
        tokio::select! {
            biased;
            written = timeout(overdue, raft.client_write(Proposal(bytes))) => written.ok(),
            () = async { drop(leadership.wait_for(|lead| lead.term > term).await) } => None,
        }
    }

    fn settle(&self, askers: Vec<Asker>, written: Option<Written>) -> Result<(), Stopped> {
        let all = |error: ProposeError, askers: Vec<Asker>| {
            if error == ProposeError::Unknown {
                self.metrics.unknown.inc_by(askers.len() as u64);
            }
            askers.into_iter().for_each(|asker| asker.answer(Err(error)));
        };
        match written {
            Some(Ok(ClientWriteResponse { log_id, data: Replies(replies), .. })) => {
                assert!(replies.len() == askers.len() || askers.is_empty(), "apply gives one reply per item");
                for (asker, reply) in askers.into_iter().zip(replies) {
                    tracing::debug!(parent: &asker.span, term = log_id.leader_id.term, index = log_id.index, "raft.applied");
                    asker.answer(Ok(reply));
                }
                Ok(())
            }
            Some(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader { leader_id, .. })))) => {
                let lead = *self.leadership.borrow();
                all(ProposeError::NotLeader { leader: leader_id.map(NodeId::new), term: lead.term }, askers);
                Ok(())
            }
            Some(Err(RaftError::APIError(_))) | None => {
                all(ProposeError::Unknown, askers);
                Ok(())
            }
            Some(Err(RaftError::Fatal(_))) => {
                all(ProposeError::Unknown, askers);
                Err(Stopped)
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// openraft has stopped.
#[derive(Debug)]
struct Stopped;

impl Queue {
    fn push(&mut self, item: Item, weight: usize, asker: Asker) {
        self.bytes += weight;
        self.items.push_back(Waiting { item, weight, since: Stopwatch::start(), asker });
    }

    fn busy(&self) -> ProposeError {
        ProposeError::Busy { retry_after: self.time_to_drain() }
    }

    fn time_to_drain(&self) -> Duration {
        let rounds = self.items.len() / self.last_items.max(1) + 1;
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
        self.last_round.saturating_mul(rounds).clamp(Duration::from_millis(20), Duration::from_secs(2))
    }
}

pub(crate) fn not_leader(lead: Leadership) -> ProposeError {
    ProposeError::NotLeader { leader: lead.leader, term: lead.term }
}

/// About what an item takes in the log: exact for what can be large.
fn weight(item: &Item) -> usize {
    const FLAT: usize = 96;
    FLAT + match &item.command {
        // Ids take up to ten bytes there, and eight in what is counted here.
        Command::Append { content, .. } => content.bytes() + content.bytes() / 4,
        Command::Act { act, .. } => act.bytes() + act.bytes() / 4,
        Command::CreateGroup { title, members, .. } => title.len() + 10 * members.len(),
        Command::MergeRefs { refs, .. } => refs.iter().map(|r| FLAT + r.title.len() + r.preview.len() + 10 * r.mentions.len()).sum(),
        Command::PutNode { node } => labels(node),
        Command::PutGroup { group } => 20 * group.replicas.len(),
        Command::ChangeMap { nodes, groups, moves, .. } => {
            let groups = groups.iter().map(|group| FLAT + 20 * group.replicas.len());
            let moves = moves.iter().map(|one| FLAT + one.what.len() + one.why.len());
            nodes.iter().map(|node| FLAT + labels(node)).chain(groups).chain(moves).sum()
        }
        Command::Move(change) => moved(change),
        Command::Trust(TrustChange::UseJoin { nodes, groups, .. }) => {
            let groups = groups.iter().map(|group| FLAT + 20 * group.replicas.len());
            nodes.iter().map(|node| FLAT + labels(node)).chain(groups).sum()
        }
        Command::Trust(TrustChange::AddJoin(join)) => join.zone.len() + join.host.len(),
        Command::CreateUser { name, .. }
        | Command::ReserveName { name, .. }
        | Command::ConfirmName { name, .. }
        | Command::ReleaseName { name, .. } => name.len(),
        _ => 0,
    }
}

fn moved(change: &MoveChange) -> usize {
    // Bytes of a row have a tag and a length before them, twice.
    const ROW: usize = 12;
    match change {
        MoveChange::Import { after, upto, rows, .. } => {
            let rows = rows.iter().map(|row| ROW + row.key.len() + row.body.as_ref().map_or(0, |body| body.len()));
            after.len() + upto.len() + rows.sum::<usize>()
        }
        MoveChange::Sweep { keys, .. } | MoveChange::Drop { keys, .. } => keys.iter().map(|key| ROW + key.len()).sum(),
        _ => 0,
    }
}

const fn labels(node: &NodeRow) -> usize {
    node.address.len() + node.http.len() + node.zone.len() + node.host.len()
}

#[cfg(test)]
mod tests {
    use kith_machine::reply::Reply;
    use kith_wire::id::Term;

    use super::*;

    fn item() -> Item {
        Item { bucket: None, command: Command::RaiseVersion { version: 1 } }
    }
    fn proposer(limits: ProposerLimits) -> Proposer {
        let lead = Leadership { leader: Some(NodeId::new(1)), term: Term::new(3), serving: true };
        let (_, leadership) = watch::channel(lead);
        Proposer::new(limits, leadership, Arc::default(), FailPoints::default())
    }

    #[test]
    fn a_full_queue_is_busy_with_a_delay_and_takes_again_once_drained() {
        let proposer = proposer(ProposerLimits { queue_items_max: 3, ..ProposerLimits::default() });
        let _waiting = (0..3).map(|_| proposer.enqueue(item()).expect("room")).collect::<Vec<_>>();
        let Err(ProposeError::Busy { retry_after }) = proposer.enqueue(item()) else { panic!("expected busy") };
        assert!(retry_after > Duration::ZERO);
        assert_eq!(proposer.metrics.rejected(QueueReject::Items), 1);
        assert_eq!(proposer.take_batch().len(), 3);
        assert_eq!(proposer.queue().bytes, 0);
        proposer.enqueue(item()).expect("room again");
    }

    #[test]
    fn a_batch_is_bounded_in_items_and_one_item_always_fits() {
        let proposer = proposer(ProposerLimits { queue_items_max: 10_000, queue_bytes_max: usize::MAX, ..ProposerLimits::default() });
        let _waiting = (0..BATCH_ITEMS_MAX + 5).map(|_| proposer.enqueue(item()).expect("room")).collect::<Vec<_>>();
        assert_eq!(proposer.take_batch().len(), BATCH_ITEMS_MAX);
        assert_eq!(proposer.take_batch().len(), 5);
        let huge = Item { bucket: None, command: Command::ReserveName { name: "x".repeat(BATCH_BYTES_MAX), user: kith_wire::id::UserId::new(1) } };
        let _also = [proposer.enqueue(huge.clone()), proposer.enqueue(huge)];
        assert_eq!(proposer.take_batch().len(), 1);
        assert_eq!(proposer.take_batch().len(), 1);
    }

    #[test]
    fn who_waits_when_it_closes_is_told() {
        let proposer = proposer(ProposerLimits::default());
        let mut waiting = proposer.enqueue(item()).expect("room");
        proposer.close();
        assert_eq!(waiting.try_recv(), Ok(Err(ProposeError::Stopped)));
        assert_eq!(proposer.enqueue(item()).err(), Some(ProposeError::Stopped));
    }

    #[tokio::test]
    async fn items_of_one_call_are_refused_one_by_one_and_answered_together() {
        let proposer = proposer(ProposerLimits { queue_items_max: 2, ..ProposerLimits::default() });
        let mut many = std::pin::pin!(proposer.propose_many(NodeId::new(1), vec![item(), item(), item()]));
        assert!(futures_util::poll!(many.as_mut()).is_pending(), "two wait");
        let batch = proposer.take_batch();
        assert_eq!((batch.len(), proposer.queue().bytes), (2, 0));
        let mut batch = batch.into_iter();
        batch.next().expect("the first").asker.answer(Ok(Reply::Done));
        drop(batch);
        let answers = many.await;
        assert!(matches!(answers[..], [Ok(Reply::Done), Err(ProposeError::Stopped), Err(ProposeError::Busy { .. })]), "{answers:?}");
        let elsewhere = proposer.propose_many(NodeId::new(2), vec![item()]).await;
        assert!(matches!(elsewhere[..], [Err(ProposeError::NotLeader { .. })]), "{elsewhere:?}");
    }
}
