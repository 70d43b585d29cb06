//! Fan-out's seat in a real group, and the duty that takes it.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use kith_machine::{
    channel::refs,
    reply::Reply,
    view::{StateView, ViewError},
};
use kith_raft::{
    Groups,
    error::ProposeError,
    feed::{AppliedEvent, Feed, FeedError},
    group::GroupHandle,
};
use kith_wire::{
    id::{ChannelId, GroupId, Term},
    log::Item,
};

use super::{
    Fanout,
    dispatch::News,
    lead::{Events, Seat},
};
use crate::{leadership::Duty, supervise::Tasks};

impl Seat for GroupHandle {
    fn group(&self) -> GroupId {
        self.id()
    }
    fn propose(&self, item: Item) -> BoxFuture<'static, Result<Reply, ProposeError>> {
        let group = self.clone();
        Box::pin(async move { group.propose(item).await })
    }
    fn propose_many(&self, items: Vec<Item>) -> BoxFuture<'static, Vec<Result<Reply, ProposeError>>> {
        let group = self.clone();
        Box::pin(async move { group.propose_many(items).await })
    }
    fn view(&self) -> Result<Box<dyn StateView + '_>, ViewError> {
        Ok(Box::new(self.reader()?))
    }
    fn events(&self) -> Box<dyn Events> {
        Box::new(self.feed())
    }
    fn news(&self, view: &dyn StateView, channel: ChannelId) -> Result<Option<News>, ViewError> {
        let news = refs::news(view, channel)?;
        Ok(news.map(|news| News { head: news.head, fanned: news.fanned, refs: news.refs }))
    }
}

impl Events for Feed {
    fn next(&mut self) -> BoxFuture<'_, Result<Arc<AppliedEvent>, FeedError>> {
        Box::pin(Feed::next(self))
    }
    fn try_next(&mut self) -> Result<Option<Arc<AppliedEvent>>, FeedError> {
        Feed::try_next(self)
    }
}

/// Leads fan-out of every group that this node leads.
pub struct FanoutDuty {
    /// Whose duty.
    pub fanout: Arc<Fanout>,
    /// The groups of this node.
    pub groups: Arc<Groups>,
    /// Where it runs.
    pub tasks: Tasks,
}

impl Duty for FanoutDuty {
    fn begin(&self, group: GroupId, term: Term) {
        if group == GroupId::META {
            return;
        }
        if let Some(handle) = self.groups.get(group) {
            self.fanout.begin(Arc::new(handle), term, &self.tasks);
        }
    }
    fn end(&self, group: GroupId, term: Term) {
        self.fanout.end(group, term);
    }
}

impl fmt::Debug for FanoutDuty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FanoutDuty({:?})", self.fanout)
    }
}
