//! Append sessions as a follower: what a leader streams to us, fed to openraft in order, and its answers back.
//!
//! In: appends from a peer's link. Out: one answer per append, in order. Invariants: sessions are found by (peer, link, group,
//! session); one that is over stays over, so that what was still on its way for it is `Closed`, never fed to openraft as news; a newer
//! link of a peer ends all sessions of the older one. Bounds: the leader's window per session, [`SESSIONS_MAX`] per peer and group.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{StreamExt, stream};
use kith_wire::{
    id::{GroupId, NodeId},
    peer::{Append, AppendAnswer, AppendResult},
};
use openraft::raft::{AppendEntriesRequest, StreamAppendError};
use tokio::sync::mpsc;

use crate::{
    group::GroupHandle,
    session::WINDOW_REQUESTS,
    types::{Types, entry_in, log_id_in, log_id_out, vote_in, vote_out},
};

/// Where the answers of a link's sessions go. Must not wait.
pub type Answers = Arc<dyn Fn(AppendAnswer) + Send + Sync>;

/// Sessions of one peer and group that are open at once; a new one ends the oldest. A leader has one, and for a moment two.
const SESSIONS_MAX: usize = 4;

type Request = AppendEntriesRequest<Types>;

#[derive(Debug, Default)]
struct OfGroup {
    live: BTreeMap<u64, mpsc::Sender<Request>>,
    /// Sessions up to here are over unless they are live.
    over: u64,
}

#[derive(Debug, Default)]
struct OfPeer {
    link: u64,
    groups: BTreeMap<GroupId, OfGroup>,
}

/// The append sessions that peers have opened here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbound {
    peers: Arc<Mutex<BTreeMap<NodeId, OfPeer>>>,
}

/// Names one session.
#[derive(Clone, Copy, Debug)]
struct Key {
    from: NodeId,
    link: u64,
    group: GroupId,
    session: u64,
}

impl Inbound {
    /// Takes an append; `group` is the replica it is for, if there is one here.
    pub(crate) fn handle_append(&self, from: NodeId, link: u64, append: Append, group: Option<&GroupHandle>, answers: &Answers) {
        let key = Key { from, link, group: append.group, session: append.session };
        let taken = match group {
            Some(group) => self.session(key, group, answers).is_some_and(|session| session.try_send(request(append)).is_ok()),
            None => false,
        };
        if !taken {
            self.end(key);
            answers(AppendAnswer { group: key.group, session: key.session, result: AppendResult::Closed });
        }
    }

    /// The leader has ended a session: what is queued is still answered.
    pub(crate) fn handle_append_end(&self, from: NodeId, link: u64, group: GroupId, session: u64) {
        self.end(Key { from, link, group, session });
    }

    /// The link is gone, and its sessions with it.
    pub(crate) fn handle_link_closed(&self, from: NodeId, link: u64) {
        let mut peers = self.peers();
        if let Some(peer) = peers.get_mut(&from).filter(|peer| peer.link == link) {
            peer.groups.clear();
        }
    }

    /// The group is closed here.
    pub(crate) fn close_group(&self, group: GroupId) {
        self.peers().values_mut().for_each(|peer| drop(peer.groups.remove(&group)));
    }

    fn session(&self, key: Key, group: &GroupHandle, answers: &Answers) -> Option<mpsc::Sender<Request>> {
        let mut peers = self.peers();
        let peer = peers.entry(key.from).or_default();
        if key.link < peer.link {
            return None;
        }
        if key.link > peer.link {
            *peer = OfPeer { link: key.link, ..OfPeer::default() };
        }
        let of_group = peer.groups.entry(key.group).or_default();
        if let Some(session) = of_group.live.get(&key.session) {
            return Some(session.clone());
        }
        if key.session <= of_group.over {
            return None;
        }
        while of_group.live.len() >= SESSIONS_MAX {
            of_group.live.pop_first();
        }
        let (requests, received) = mpsc::channel(WINDOW_REQUESTS);
        of_group.live.insert(key.session, requests.clone());
        of_group.over = of_group.over.max(key.session);
        group.spawn(run(self.clone(), key, group.raft().clone(), received, Arc::clone(answers)));
        Some(requests)
    }

    fn end(&self, key: Key) {
        let mut peers = self.peers();
        let Some(peer) = peers.get_mut(&key.from).filter(|peer| peer.link == key.link) else { return };
        let of_group = peer.groups.entry(key.group).or_default();
        of_group.live.remove(&key.session);
        of_group.over = of_group.over.max(key.session);
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<NodeId, OfPeer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's task, on the group's lane: ends with the session, or with the group.
async fn run(inbound: Inbound, key: Key, raft: crate::types::Raft, received: mpsc::Receiver<Request>, answers: Answers) {
    let requests = stream::unfold(received, |mut received| async move { received.recv().await.map(|request| (request, received)) });
    let mut results = std::pin::pin!(raft.stream_append(requests));
    while let Some(result) = results.next().await {
        let result = match result {
            Ok(Ok(id)) => AppendResult::Flushed(id.as_ref().map(log_id_out)),
            Ok(Err(StreamAppendError::Conflict(id))) => AppendResult::Conflict(Some(log_id_out(&id))),
            Ok(Err(StreamAppendError::HigherVote(vote))) => AppendResult::HigherVote(vote_out(&vote)),
            Err(_) => AppendResult::Closed,
        };
        answers(AppendAnswer { group: key.group, session: key.session, result });
    }
    inbound.end(key);
}

fn request(append: Append) -> Request {
    AppendEntriesRequest {
        vote: vote_in(append.vote),
        prev_log_id: append.prev.map(log_id_in),
        entries: append.entries.into_iter().map(entry_in).collect(),
        leader_commit: append.committed.map(log_id_in),
    }
}
