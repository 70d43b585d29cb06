//! Append sessions as a leader: one openraft replication stream each, over the one multiplexed stream of a peer.
//!
//! In: openraft's requests, and answers from the peer in the order of the requests. Out: `Tell::Append`, and openraft's answer stream.
//! Invariants, each learnt from a group that hung: the answer stream ends once the requests have ended and all answers are in; it owns
//! the request stream, so that dropping one drops the other; a session is found by (group, session), so that a late one never takes
//! the live one's answers. Bounds: [`WINDOW_REQUESTS`] and [`WINDOW_BYTES`] on their way; with any on their way, an answer within the
//! deadline, else the session fails (openraft itself sets none). Not here: the follower's side (`inbound`), heartbeats (`beat`).

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use kith_wire::{
    id::{GroupId, NodeId},
    log,
    peer::{Append, AppendAnswer, AppendResult, Tell},
};
use openraft::{
    errors::{RPCError, Unreachable},
    raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult},
};
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep},
};

use crate::{
    metrics::RaftMetrics,
    transport::PeerTransport,
    types::{RaftLogId, Types, entry_out, log_id_in, log_id_out, vote_in, vote_out},
};

/// Requests of one session that are on their way.
pub(crate) const WINDOW_REQUESTS: usize = 64;
/// Bytes of entries of one session that are on their way; one request always may be.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

type Answer = Result<StreamAppendResult<Types>, RPCError<Types>>;

#[derive(Debug)]
struct Live {
    peer: NodeId,
    answers: mpsc::Sender<AppendResult>,
}

/// The live sessions of a node.
#[derive(Debug)]
pub(crate) struct Sessions {
    next: AtomicU64,
    live: Mutex<BTreeMap<(GroupId, u64), Live>>,
    metrics: Arc<RaftMetrics>,
}

impl Sessions {
    /// `boot` makes session numbers of this start higher than those of all before.
    pub(crate) fn new(boot: u64, metrics: Arc<RaftMetrics>) -> Self {
        Self { next: AtomicU64::new((boot << 32) + 1), live: Mutex::default(), metrics }
    }

    /// Hands an answer to its session; one that is over or never was is ignored.
    pub(crate) fn handle_appended(&self, from: NodeId, answer: AppendAnswer) {
        let key = (answer.group, answer.session);
        let mut live = self.live();
        let Some(session) = live.get(&key).filter(|session| session.peer == from) else { return };
        // More answers than requests: the peer is not to be trusted, and the session ends.
        if session.answers.try_send(answer.result).is_err() {
            live.remove(&key);
        }
    }

    /// The link to a peer is gone: its sessions fail now, not at their deadline.
    pub(crate) fn handle_link_down(&self, peer: NodeId) {
        self.live().retain(|_, session| session.peer != peer);
    }

    fn open(&self, group: GroupId, peer: NodeId) -> (u64, mpsc::Receiver<AppendResult>) {
        let session = self.next.fetch_add(1, Ordering::Relaxed);
        let (answers, received) = mpsc::channel(WINDOW_REQUESTS);
        self.live().insert((group, session), Live { peer, answers });
        self.metrics.sessions_open.inc();
        (session, received)
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<(GroupId, u64), Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct OnItsWay {
    prev: Option<RaftLogId>,
    bytes: usize,
}

/// openraft's answer stream of one session. Drives both directions; nothing is spawned.
pub(crate) struct AppendStream<S> {
    group: GroupId,
    session: u64,
    peer: NodeId,
    sessions: Arc<Sessions>,
    transport: Arc<dyn PeerTransport>,
    /// `None` once the requests have ended.
    requests: Option<S>,
    answers: mpsc::Receiver<AppendResult>,
    on_their_way: VecDeque<OnItsWay>,
    bytes_on_their_way: usize,
    deadline: Duration,
    overdue: Pin<Box<Sleep>>,
    done: bool,
}

impl<S> AppendStream<S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    pub(crate) fn new(
        group: GroupId,
        peer: NodeId,
        sessions: Arc<Sessions>,
        transport: Arc<dyn PeerTransport>,
        deadline: Duration,
        requests: S,
    ) -> Self {
        let (session, answers) = sessions.open(group, peer);
        Self {
            group,
            session,
            peer,
            sessions,
            transport,
            requests: Some(requests),
            answers,
            on_their_way: VecDeque::new(),
            bytes_on_their_way: 0,
            deadline,
            overdue: Box::pin(sleep(deadline)),
            done: false,
        }
    }

    fn fail(&mut self, why: &str) -> Answer {
        self.done = true;
        self.sessions.metrics.sessions_failed.inc();
        Err(RPCError::Unreachable(Unreachable::from_string(format!("{why}: group {}, node {}", self.group, self.peer))))
    }

    fn handle_answer(&mut self, result: AppendResult) -> Answer {
        let Some(answered) = self.on_their_way.pop_front() else { return self.fail("an answer to nothing") };
        self.bytes_on_their_way -= answered.bytes;
        self.overdue.set(sleep(self.deadline));
        match result {
            AppendResult::Flushed(id) => Ok(Ok(id.map(log_id_in))),
            AppendResult::Conflict(id) => match id.map(log_id_in).or(answered.prev) {
                Some(id) => {
                    self.done = true;
                    Ok(Err(StreamAppendError::Conflict(id)))
                }
                None => self.fail("a conflict before the first entry"),
            },
            AppendResult::HigherVote(vote) => {
                self.done = true;
                Ok(Err(StreamAppendError::HigherVote(vote_in(vote))))
            }
            AppendResult::Closed => self.fail("the peer closed the append session"),
        }
    }

    fn send(&mut self, request: AppendEntriesRequest<Types>) -> Result<(), Answer> {
        let bytes = request.entries.iter().map(entry_bytes).sum();
        let append = Append {
            group: self.group,
            session: self.session,
            vote: vote_out(&request.vote),
            prev: request.prev_log_id.as_ref().map(log_id_out),
            entries: request.entries.into_iter().map(entry_out).collect::<Vec<log::Entry>>(),
            committed: request.leader_commit.as_ref().map(log_id_out),
        };
        self.sessions.metrics.appends.inc();
        self.sessions.metrics.append_entries.inc_by(append.entries.len() as u64);
        if self.on_their_way.is_empty() {
            self.overdue.set(sleep(self.deadline));
        }
        self.on_their_way.push_back(OnItsWay { prev: request.prev_log_id, bytes });
        self.bytes_on_their_way += bytes;
        self.transport.tell(self.peer, Tell::Append(append)).map_err(|error| self.fail(&error.to_string()))
    }

    fn may_send(&self) -> bool {
        self.on_their_way.len() < WINDOW_REQUESTS && (self.on_their_way.is_empty() || self.bytes_on_their_way < WINDOW_BYTES)
    }
}

impl<S> Stream for AppendStream<S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let this = &mut *self;
        while !this.done {
            match this.answers.poll_recv(cx) {
                Poll::Ready(Some(result)) => return Poll::Ready(Some(this.handle_answer(result))),
                Poll::Ready(None) => return Poll::Ready(Some(this.fail("the link was lost"))),
                Poll::Pending => {}
            }
            if !this.on_their_way.is_empty() && this.overdue.as_mut().poll(cx).is_ready() {
                this.sessions.metrics.sessions_overdue.inc();
                return Poll::Ready(Some(this.fail("no answer in time")));
            }
            if !this.may_send() {
                return Poll::Pending;
            }
            let Some(requests) = &mut this.requests else {
                // The requests have ended; so does this stream, with the last answer.
                this.done = this.on_their_way.is_empty();
                if this.done { break } else { return Poll::Pending }
            };
            match Pin::new(requests).poll_next(cx) {
                Poll::Ready(Some(request)) => {
                    if let Err(failed) = this.send(request) {
                        return Poll::Ready(Some(failed));
                    }
                }
                Poll::Ready(None) => this.requests = None,
                Poll::Pending => return Poll::Pending,
            }
        }
        // The request stream holds a lock that openraft's next session waits for.
        this.requests = None;
        Poll::Ready(None)
    }
}

impl<S> Drop for AppendStream<S> {
    fn drop(&mut self) {
        self.sessions.live().remove(&(self.group, self.session));
        self.sessions.metrics.sessions_open.dec();
        // Without it the follower keeps an idle session until the next one or the end of the link.
        let _ = self.transport.tell(self.peer, Tell::AppendEnd { group: self.group, session: self.session });
    }
}

fn entry_bytes(entry: &crate::types::RaftLogEntry) -> usize {
    const FLAT: usize = 32;
    FLAT + match &entry.payload {
        openraft::EntryPayload::Normal(proposal) => proposal.0.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
    use kith_wire::{
        id::{LogIndex, Term},
        peer::{Ask, SnapshotHead, Told},
    };
    use openraft::entry::RaftEntry;

    use super::*;
    use crate::{
        transport::{SnapshotSource, TransportError},
        types::{RaftLogEntry, RaftVote},
    };

    /// Keeps what it is told.
    #[derive(Default)]
    struct Recorder {
        tells: Mutex<Vec<Tell>>,
    }

    impl PeerTransport for Recorder {
        fn ask(&self, to: NodeId, _: Ask, _: Duration) -> BoxFuture<'static, Result<Told, TransportError>> {
            async move { Err(TransportError::Unreachable(to)) }.boxed()
        }
        fn tell(&self, _: NodeId, tell: Tell) -> Result<(), TransportError> {
            self.tells.lock().expect("not poisoned").push(tell);
            Ok(())
        }
        fn send_snapshot(&self, to: NodeId, _: SnapshotHead, _: Box<dyn SnapshotSource>) -> BoxFuture<'static, Result<AppendResult, TransportError>> {
            async move { Err(TransportError::Unreachable(to)) }.boxed()
        }
    }

    const GROUP: GroupId = GroupId::new(3);
    const PEER: NodeId = NodeId::new(2);

    fn id(index: u64) -> log::LogId {
        log::LogId { term: Term::new(1), index: LogIndex::new(index) }
    }

    fn request(index: u64) -> AppendEntriesRequest<Types> {
        AppendEntriesRequest {
            vote: RaftVote::new_committed(1, 1),
            prev_log_id: Some(log_id_in(id(index - 1))),
            entries: vec![RaftLogEntry::new_blank(log_id_in(id(index)))],
            leader_commit: None,
        }
    }

    fn answer(session: u64, index: u64) -> AppendAnswer {
        AppendAnswer { group: GROUP, session, result: AppendResult::Flushed(Some(id(index))) }
    }

    fn open<S>(sessions: &Arc<Sessions>, transport: &Arc<Recorder>, requests: S) -> AppendStream<S>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
    {
        let transport: Arc<dyn PeerTransport> = Arc::clone(transport) as _;
        AppendStream::new(GROUP, PEER, Arc::clone(sessions), transport, Duration::from_secs(30), requests)
    }

    fn sessions() -> Arc<Sessions> {
        Arc::new(Sessions::new(0, Arc::default()))
    }

    fn flushed(answer: Option<Answer>) -> Option<u64> {
        answer.and_then(Result::ok).and_then(Result::ok).flatten().map(|id| id.index)
    }

    #[tokio::test]
    async fn it_ends_once_the_requests_have_ended_and_all_answers_are_in() {
        let (sessions, transport) = (sessions(), Arc::new(Recorder::default()));
        let mut session = open(&sessions, &transport, stream::iter([request(1), request(2)]));
        assert!(session.next().now_or_never().is_none(), "both are on their way");
        assert_eq!(transport.tells.lock().expect("not poisoned").len(), 2);
        sessions.handle_appended(PEER, answer(session.session, 1));
        sessions.handle_appended(PEER, answer(session.session, 2));
        assert_eq!(flushed(session.next().await), Some(1));
        assert_eq!(flushed(session.next().await), Some(2));
        assert!(session.next().await.is_none());
    }

    #[tokio::test]
    async fn answers_of_another_session_or_peer_are_not_taken() {
        let (sessions, transport) = (sessions(), Arc::new(Recorder::default()));
        let mut old = open(&sessions, &transport, stream::iter([request(1)]));
        let mut live = open(&sessions, &transport, stream::iter([request(1)]));
        assert!(old.next().now_or_never().is_none() && live.next().now_or_never().is_none());
        sessions.handle_appended(PEER, answer(old.session, 1));
        sessions.handle_appended(NodeId::new(9), answer(live.session, 1));
        assert!(live.next().now_or_never().is_none(), "nothing of that was for it");
        assert_eq!(flushed(old.next().await), Some(1));
        sessions.handle_appended(PEER, answer(live.session, 1));
        assert_eq!(flushed(live.next().await), Some(1));
    }

    #[tokio::test]
    async fn dropping_the_answers_drops_the_requests_and_ends_the_session() {
        let (sessions, transport) = (sessions(), Arc::new(Recorder::default()));
        let lock = Arc::new(());
        let held = Arc::clone(&lock);
        let requests = Box::pin(stream::iter([request(1)]).chain(stream::pending()).inspect(move |_| drop(Arc::clone(&held))));
        let mut session = open(&sessions, &transport, requests);
        assert!(session.next().now_or_never().is_none());
        let number = session.session;
        drop(session);
        assert_eq!(Arc::strong_count(&lock), 1, "the requests are still held");
        let tells = transport.tells.lock().expect("not poisoned");
        assert_eq!(tells.last(), Some(&Tell::AppendEnd { group: GROUP, session: number }));
        assert!(sessions.live().is_empty());
    }

    #[tokio::test]
    async fn a_lost_link_fails_it_at_once() {
        let (sessions, transport) = (sessions(), Arc::new(Recorder::default()));
        let mut session = open(&sessions, &transport, stream::iter([request(1)]).chain(stream::pending()));
        assert!(session.next().now_or_never().is_none());
        sessions.handle_link_down(PEER);
        assert!(matches!(session.next().await, Some(Err(RPCError::Unreachable(_)))));
        assert!(session.next().await.is_none());
    }

    #[tokio::test]
    async fn the_window_bounds_what_is_on_its_way() {
        let (sessions, transport) = (sessions(), Arc::new(Recorder::default()));
        let mut session = open(&sessions, &transport, stream::iter((1..=WINDOW_REQUESTS as u64 + 9).map(request)));
        assert!(session.next().now_or_never().is_none());
        assert_eq!(transport.tells.lock().expect("not poisoned").len(), WINDOW_REQUESTS);
        sessions.handle_appended(PEER, answer(session.session, 1));
        assert_eq!(flushed(session.next().await), Some(1));
        assert!(session.next().now_or_never().is_none());
        assert_eq!(transport.tells.lock().expect("not poisoned").len(), WINDOW_REQUESTS + 1);
    }
}
