//! The duty of a leader in the simulation: the node's own fan-out, over a seat that a mutant may break.
//!
//! In: leadership begun and ended. Out: the same to fan-out. Not here: fan-out (`kith::fanout`).

use std::sync::{Arc, Weak};

use futures_util::future::BoxFuture;
use kith::{
    fanout::{Fanout, Seat, dispatch::News, lead::Events},
    leadership::Duty,
    supervise::Tasks,
};
use kith_machine::{
    reply::Reply,
    view::{StateView, ViewError},
};
use kith_raft::{GroupHandle, Groups, error::ProposeError};
use kith_wire::{
    id::{ChannelId, GroupId, Term},
    log::{Command, Item},
};

use crate::Mutant;

/// Leads fan-out of the groups that a node leads.
pub(crate) struct SimDuty {
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) groups: Weak<Groups>,
    pub(crate) tasks: Tasks,
    pub(crate) mutant: Option<Mutant>,
}

impl Duty for SimDuty {
    fn begin(&self, group: GroupId, term: Term) {
        let Some(handle) = self.groups.upgrade().and_then(|groups| groups.get(group)) else { return };
        let seat: Arc<dyn Seat> = match self.mutant {
            Some(Mutant::RefAckedEarly) => Arc::new(Hasty { handle, tasks: self.tasks.clone() }),
            _ => Arc::new(handle),
        };
        self.fanout.begin(seat, term, &self.tasks);
    }
    fn end(&self, group: GroupId, term: Term) {
        self.fanout.end(group, term);
    }
}

/// Says that refs are merged as soon as they are proposed.
struct Hasty {
    handle: GroupHandle,
    tasks: Tasks,
}

impl Seat for Hasty {
    fn group(&self) -> GroupId {
        Seat::group(&self.handle)
    }
    fn propose(&self, item: Item) -> BoxFuture<'static, Result<Reply, ProposeError>> {
        let is_merge = matches!(item.command, Command::MergeRefs { .. });
        let proposed = Seat::propose(&self.handle, item);
        if !is_merge {
            return proposed;
        }
        self.tasks.spawn("sim.hasty", async move { drop(proposed.await) });
        Box::pin(async { Ok(Reply::Done) })
    }
    fn view(&self) -> Result<Box<dyn StateView + '_>, ViewError> {
        Seat::view(&self.handle)
    }
    fn events(&self) -> Box<dyn Events> {
        Seat::events(&self.handle)
    }
    fn news(&self, view: &dyn StateView, channel: ChannelId) -> Result<Option<News>, ViewError> {
        Seat::news(&self.handle, view, channel)
    }
}
