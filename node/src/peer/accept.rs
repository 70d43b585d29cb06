//! The links that other nodes open to this one: who they are, what they ask and tell, what they are answered.
//!
//! In: accepted connections of ALPN `kith-peer/1`. Out: calls of [`Inbound`], answers on the same stream. Bounds: asks of one link that
//! run at once, raft's and others' apart; beyond it `Busy`. Not here: accepting and admission (`edge::listener`).

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use kith_wire::{
    client::Refusal,
    code::Code,
    frame::{Decoder, Framing, Kind, encode},
    hello,
    id::{NodeId, RequestId},
    limit,
    peer::{Ask, FromPeer, PeerHello, Tell, ToPeer},
};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{runtime::Handle, sync::Semaphore};
use tracing::Instrument;

use super::{
    Inbound, Shared,
    link::{chain, close_code},
    metrics::ClassLabel,
    queue::{Class, FrameQueue},
    snapshot,
    stream::{StreamError, drain, read_frame},
    tls,
};
use crate::{
    peer::inbound::AppendAnswers,
    router::{refuse, refuse_for},
    supervise::Tasks,
};

/// Serves an accepted connection until it ends.
pub(super) async fn serve(shared: Arc<Shared>, connection: quinn::Connection) {
    let tasks = shared.tasks.child().on(&Handle::current());
    match greet(&shared, &connection).await {
        Ok((from, send, recv, decoder)) => {
            let link = shared.replace_accepted(from, &connection);
            let ended = run(&shared, &tasks, from, link, &connection, send, recv, decoder).await;
            tracing::debug!(node = %shared.me.node, peer = %from, cause = %chain(&ended), "peer.accepted link ended");
            shared.forget_accepted(from, link);
            if let Some(inbound) = shared.inbound() {
                inbound.append_link_closed(from, link);
            }
        }
        Err(error) => {
            tracing::warn!(node = %shared.me.node, cause = %chain(&error), "peer.hello: not taken");
        }
    }
    connection.close(quinn::VarInt::from_u32(0), b"");
    tasks.close(Duration::from_secs(1)).await;
}

async fn greet(shared: &Arc<Shared>, connection: &quinn::Connection) -> Result<(NodeId, quinn::SendStream, quinn::RecvStream, Decoder), StreamError> {
    let Some((node, cluster)) = tls::proven_node(connection) else {
        connection.close(close_code(&refuse(Code::BadToken)), b"a node's certificate is needed");
        return Err(StreamError::Content("no certificate of a node"));
    };
    let first = async {
        let (send, mut recv) = connection.accept_bi().await?;
        let mut decoder = Decoder::new(Framing::Checked, limit::PEER_FRAME_BYTES_MAX);
        let frame = read_frame(&mut recv, &mut decoder).await?.ok_or(StreamError::Ended)?;
        match (frame.kind, ToPeer::decode(&frame.body)?) {
            (Kind::ToPeer, ToPeer::Hello(hello)) => Ok((send, recv, decoder, hello)),
            _ => Err(StreamError::Content("the peer did not begin with its hello")),
        }
    };
    let (mut send, recv, decoder, hello) = tokio::time::timeout(HELLO_MAX, first).await.map_err(|_| StreamError::Timeout)??;
    let mut out = BytesMut::new();
    if let Err(refusal) = check(shared, &hello, node, &cluster) {
        let code = close_code(&refusal);
        tracing::warn!(node = %shared.me.node, peer = %hello.node, code = %refusal.code, text = %refusal.text, "peer.hello: refused");
        encode(Framing::Checked, Kind::FromPeer, &FromPeer::Bye(refusal.clone()).encode(), &mut out);
        send.write_chunk(out.freeze()).await?;
        let _ = send.finish();
        // The peer closes once it has read the reason; one that does not is closed here.
        let _ = tokio::time::timeout(BYE_MAX, connection.closed()).await;
        connection.close(code, refusal.text.as_bytes());
        return Err(StreamError::Content("the peer was refused"));
    }
    tls::widen(connection);
    encode(Framing::Checked, Kind::FromPeer, &FromPeer::Hello(shared.hello()).encode(), &mut out);
    send.write_chunk(out.freeze()).await?;
    shared.dial_heard(&hello, connection.remote_address());
    Ok((hello.node, send, recv, decoder))
}

fn check(shared: &Shared, theirs: &PeerHello, proven: NodeId, proven_cluster: &str) -> Result<(), Refusal> {
    if theirs.version < hello::OLDEST {
        return Err(refuse(Code::VersionMismatch));
    }
    if theirs.cluster != shared.me.cluster || proven_cluster != shared.me.cluster.to_string() {
        return Err(refuse(Code::WrongCluster));
    }
    if theirs.node != proven || theirs.node == shared.me.node {
        return Err(Refusal { text: "the certificate names another node".into(), ..refuse(Code::BadToken) });
    }
    shared.release.check(theirs)?;
    shared.known.check(theirs)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one connection, taken apart here and nowhere else")]
async fn run(
    shared: &Arc<Shared>,
    tasks: &Tasks,
    from: NodeId,
    link: u64,
    connection: &quinn::Connection,
    mut send: quinn::SendStream,
    mut recv: quinn::RecvStream,
    mut decoder: Decoder,
) -> StreamError {
    let queue = Arc::new(FrameQueue::new(shared.metrics.clone()));
    let accepted = Accepted {
        shared: shared.clone(),
        tasks: tasks.clone(),
        from,
        link,
        answers: answers(shared, from, &queue),
        queue: queue.clone(),
        raft: Arc::new(Semaphore::new(RAFT_ASKS_MAX)),
        asks: Arc::new(Semaphore::new(ASKS_MAX)),
    };
    let reads = async {
        loop {
            match read_frame(&mut recv, &mut decoder).await {
                Ok(Some(frame)) if frame.kind == Kind::ToPeer => match ToPeer::decode(&frame.body) {
                    Ok(frame) => accepted.handle(frame),
                    Err(error) => return StreamError::from(error),
                },
                Ok(Some(_)) => return StreamError::Content("a frame of another kind"),
                Ok(None) => return StreamError::Ended,
                Err(error) => return error,
            }
        }
    };
    let writes = async { drain(&mut send, &queue).await.err().unwrap_or(StreamError::Ended) };
    let snapshots = async {
        loop {
            match connection.accept_bi().await {
                Ok((send, recv)) => tasks.spawn("peer.snapshot", snapshot::receive(shared.clone(), from, send, recv)),
                Err(error) => return StreamError::from(error),
            }
        }
    };
    let ended = tokio::select! {
        error = reads => error,
        error = writes => error,
        error = snapshots => error,
    };
    queue.close();
    ended
}

fn answers(shared: &Arc<Shared>, from: NodeId, queue: &Arc<FrameQueue>) -> AppendAnswers {
    let (shared, queue) = (shared.clone(), queue.clone());
    Arc::new(move |answer| {
        if shared.allowed(from)
            && let Err(error) = queue.push(Class::Raft, Kind::FromPeer, FromPeer::Appended(answer).encode())
        {
            tracing::debug!(peer = %from, cause = %error, "peer.append answer not sent");
        }
    })
}

struct Accepted {
    shared: Arc<Shared>,
    tasks: Tasks,
    from: NodeId,
    link: u64,
    queue: Arc<FrameQueue>,
    answers: AppendAnswers,
    raft: Arc<Semaphore>,
    asks: Arc<Semaphore>,
}

impl Accepted {
    fn handle(&self, frame: ToPeer) {
        if !self.shared.allowed(self.from) {
            return;
        }
        let Some(inbound) = self.shared.inbound() else { return };
        match frame {
            ToPeer::Ask { id, deadline_ms, ask } => self.ask(inbound.as_ref(), id, deadline_ms, ask),
            ToPeer::Tell(Tell::Append(append)) => inbound.append(self.from, self.link, append, self.answers.clone()),
            ToPeer::Tell(Tell::AppendEnd { group, session }) => inbound.append_end(self.from, self.link, group, session),
            ToPeer::Tell(Tell::Beat(beat)) => {
                self.shared.known.note(self.from, beat.synced_batches);
                inbound.heard(self.from, &beat);
                self.shared.table.note(self.from, beat, self.shared.clock.instant());
            }
            ToPeer::Tell(tell) => inbound.tell(self.from, tell),
            ToPeer::Unreadable { id, refusal } => {
                // A full queue means that the asker is told by its own deadline.
                let _ = self.queue.push(Class::Ask, Kind::FromPeer, FromPeer::Told { id, told: Err(refusal) }.encode());
            }
            ToPeer::Hello(_) => {}
        }
    }

    fn ask(&self, inbound: &dyn Inbound, id: RequestId, deadline_ms: u32, ask: Ask) {
        let (class, permits) = match class_of(&ask) {
            Class::Raft => (Class::Raft, &self.raft),
            class => (class, &self.asks),
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            self.shared.metrics.ask_rejects.get_or_create(&ClassLabel { class }).inc();
            let told = Err(refuse_for(Code::Busy, BUSY_MS));
            // A full queue means that the asker is told by its own deadline.
            let _ = self.queue.push(class, Kind::FromPeer, FromPeer::Told { id, told }.encode());
            return;
        };
        let deadline = self.shared.clock.instant() + Duration::from_millis(u64::from(deadline_ms));
        let span = tracing::debug_span!("peer.ask", node = %self.shared.me.node, peer = %self.from, request = trace_of(&ask));
        let answer = inbound.ask(self.from, ask, deadline);
        let (shared, queue, from) = (self.shared.clone(), self.queue.clone(), self.from);
        let running = Running::new(self.shared.metrics.asks.get_or_create_owned(&ClassLabel { class }));
        let task = async move {
            let told = tokio::time::timeout_at(deadline, answer).await.unwrap_or_else(|_| Err(refuse(Code::Timeout)));
            if shared.allowed(from)
                && let Err(error) = queue.push(class, Kind::FromPeer, FromPeer::Told { id, told }.encode())
            {
                tracing::debug!(peer = %from, cause = %error, "peer.answer not sent");
            }
            drop((permit, running));
        };
        self.tasks.spawn("peer.ask", task.instrument(span));
    }
}

/// Counts an ask while it runs, however it ends.
struct Running(Gauge);
impl Running {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}
impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The request that an ask is part of.
fn trace_of(ask: &Ask) -> Option<u64> {
    match ask {
        Ask::Forward { caller, .. } | Ask::History { caller, .. } | Ask::Index { caller, .. } | Ask::Search { caller, .. } => Some(caller.trace),
        _ => None,
    }
}

/// Which queue an ask and its answer use.
pub(super) fn class_of(ask: &Ask) -> Class {
    match ask {
        Ask::Vote { .. } | Ask::TransferLeader { .. } | Ask::Heartbeats(_) | Ask::Withdraw { .. } | Ask::IsOut { .. } => Class::Raft,
        Ask::Register { .. } => Class::Fan,
        _ => Class::Ask,
    }
}

/// Until the first frame.
const HELLO_MAX: Duration = Duration::from_secs(5);
/// For the peer to read why it was refused.
const BYE_MAX: Duration = Duration::from_secs(1);
/// Raft asks of one link that run at once: votes and heartbeats of all groups.
const RAFT_ASKS_MAX: usize = 1_024;
/// Other asks of one link that run at once. The next is `Busy`.
const ASKS_MAX: usize = 8_192;
/// When a link is full of asks.
const BUSY_MS: u32 = 200;
