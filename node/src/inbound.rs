//! What comes from other nodes, handed to whoever it is for: part of the composition root.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use kith_raft::{Groups, SnapshotPart};
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{GroupId, NodeId},
    peer::{Append, AppendAnswer, AppendResult, Ask, Beat, SnapshotHead, Tell, Told},
};
use tokio::sync::mpsc;

use crate::{
    clock::Instant,
    cluster::load::OwnLoad,
    fanout::Fanout,
    peer::inbound::{AppendAnswers, Inbound},
    router::{LocalOps, refuse},
    search::{Search, answer::Look},
    service::{Service, local::Local, search::scope_here, status, vitals},
    supervise::Tasks,
};

/// The parts that take what comes in.
pub(crate) struct Dispatch {
    pub(crate) groups: Arc<Groups>,
    pub(crate) service: Service,
    pub(crate) local: Local,
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) search: Search,
    pub(crate) load: OwnLoad,
    pub(crate) tasks: Tasks,
}

impl Inbound for Dispatch {
    fn ask(&self, from: NodeId, ask: Ask, deadline: Instant) -> BoxFuture<'static, Result<Told, Refusal>> {
        let reads = self.service.reads().clone();
        match ask {
            Ask::Forward { group, caller, request, .. } => {
                let answer = self.local.at_leader(group, caller, request, deadline);
                async move { answer.await.map(Told::Answer) }.boxed()
            }
            Ask::Inner { group, inner, .. } => {
                let answer = self.local.inner(group, inner, deadline);
                async move { answer.await.map(Told::Inner) }.boxed()
            }
            Ask::History { group, caller, query } => async move { reads.history_here(group, &caller, &query).await.map(Told::History) }.boxed(),
            Ask::Index { group, caller, query, min_rev } => {
                async move { reads.index_here(group, &caller, &query, min_rev).await.map(Told::Page) }.boxed()
            }
            Ask::Search { caller, query, parts, hidden } => {
                let search = self.search.clone();
                let look = Look { user: caller.user, query, parts, hidden };
                async move { search.answer(look, deadline).await.map(Told::Searched) }.boxed()
            }
            Ask::SearchScope { group, caller, words } => {
                let router = self.service.router().clone();
                async move { scope_here(&router, group, &caller, words).await.map(Told::SearchScope) }.boxed()
            }
            Ask::Map { newer_than } => {
                let map = self.service.router().maps().current();
                let newer = (map.epoch > newer_than).then(|| (**map).clone());
                async move { Ok(Told::Map(newer)) }.boxed()
            }
            Ask::Vitals => {
                let text = vitals::own(self.service.registry());
                async move { Ok(Told::Vitals { text }) }.boxed()
            }
            Ask::NodeStatus => {
                let service = self.service.clone();
                async move { Ok(Told::NodeStatus(status::own(service.router(), service.sessions()))) }.boxed()
            }
            Ask::Register { group, boot, sessions } => {
                let fanout = self.fanout.clone();
                async move { fanout.handle_register(from, group, boot, sessions).await }.boxed()
            }
            Ask::Watch { group, boot, watches } => {
                let fanout = self.fanout.clone();
                async move { fanout.handle_watch(from, group, boot, watches).await }.boxed()
            }
            Ask::Load => {
                let load = self.load.clone();
                // Sizes are asked of the database, room of the file system.
                async move {
                    let told = tokio::task::spawn_blocking(move || load.now()).await;
                    told.map(Told::Load).map_err(|_| refuse(Code::Internal))
                }
                .boxed()
            }
            Ask::Drain { on } => {
                self.load.drain.ask(on);
                async move { Ok(Told::Done) }.boxed()
            }
            ask @ (Ask::Vote { .. } | Ask::TransferLeader { .. } | Ask::Heartbeats(_) | Ask::Withdraw { .. } | Ask::IsOut { .. }) => {
                let groups = self.groups.clone();
                async move { groups.handle_ask(from, ask).await }.boxed()
            }
        }
    }

    fn tell(&self, from: NodeId, tell: Tell) {
        self.fanout.handle_tell(from, tell);
    }

    fn append(&self, from: NodeId, link: u64, append: Append, answers: AppendAnswers) {
        self.groups.handle_append(from, link, append, &answers);
    }

    fn append_end(&self, from: NodeId, link: u64, group: GroupId, session: u64) {
        self.groups.handle_append_end(from, link, group, session);
    }

    fn append_link_closed(&self, from: NodeId, link: u64) {
        self.groups.handle_append_link_closed(from, link);
        // What it was pushing may be lost.
        self.fanout.handle_link_down(from);
    }

    fn appended(&self, from: NodeId, answer: AppendAnswer) {
        self.groups.handle_appended(from, answer);
    }

    fn snapshot(&self, _from: NodeId, head: SnapshotHead, parts: mpsc::Receiver<SnapshotPart>) -> BoxFuture<'static, AppendResult> {
        let groups = self.groups.clone();
        async move { groups.handle_snapshot(head, parts).await }.boxed()
    }

    fn beat(&self) -> Beat {
        let leads = self.groups.all().into_iter().filter_map(|handle| {
            let lead = handle.leadership();
            lead.serving.then(|| (handle.id(), lead.term))
        });
        Beat {
            map_epoch: self.service.router().maps().current().epoch,
            leads: leads.collect(),
            synced_batches: self.service.router().peers().synced(),
            sessions: self.load.sessions(),
            sessions_max: self.load.sessions_max,
            drains: self.load.drain.is_on(),
            noted: self.service.router().peers().release().noted(),
        }
    }

    fn heard(&self, _from: NodeId, _beat: &Beat) {}

    fn link_up(&self, to: NodeId) {
        let groups = self.groups.clone();
        self.tasks.spawn("raft.link_up", async move { groups.handle_link_up(to).await });
    }

    fn link_down(&self, to: NodeId) {
        self.groups.handle_link_down(to);
        self.fanout.handle_link_down(to);
    }
}
