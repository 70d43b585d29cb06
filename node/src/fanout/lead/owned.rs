//! What of a group is its leader's to tell, when buckets come and go.
//!
//! In: effects that what the group owns has changed. Out: a walk over the rows of what came, sessions that are forgotten of who went. Invariant: what is
//! another group's is no fault here. Not here: what a move is (kith-machine's `moving`).

use kith_machine::{own::Owned, view::ViewError};
use kith_wire::id::OwnerEpoch;

use super::{Lead, Seat};

impl Lead {
    /// Buckets came or went: their channels are walked or forgotten, and so are their users. Of those who came nobody knows here where they have
    /// sessions before the edges have said so.
    pub(super) fn follow_ownership(&mut self) {
        let seat = self.seat.clone();
        match seat.view().and_then(|view| Owned::read(&*view)) {
            Ok(owned) if owned == self.owned => self.is_stranger = false,
            Ok(owned) => {
                let now = self.fanout.clock.instant();
                // What nobody held before has nobody's users.
                let came = owned.runs().any(|(run, epoch)| epoch > OwnerEpoch::FIRST && self.owned.whole(run).is_none());
                tracing::info!(group = %seat.group(), term = %self.term, came, "fanout.lead: what the group owns has changed");
                self.home.handle_owned(|user| owned.holds(user.bucket()), came, now);
                self.dispatch.handle_lagged();
                self.owned = owned;
                self.is_stranger = false;
            }
            Err(error) => {
                tracing::error!(group = %seat.group(), %error, "cannot read what the group owns");
                self.is_stranger = true;
            }
        }
    }
}

/// What is another group's by now is no fault: its leader reads it.
pub(super) fn unread(seat: &dyn Seat, error: &ViewError, what: &'static str) {
    if error.is_not_owned() {
        tracing::debug!(group = %seat.group(), %error, what, "fanout.lead: not this group's any more");
    } else {
        tracing::error!(group = %seat.group(), %error, what, "fanout.lead: cannot be read");
    }
}
