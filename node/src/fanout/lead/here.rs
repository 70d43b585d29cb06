//! Who is here, in the duty of a home's leader: what rows say goes to the machine, what it has to be written down goes to the log.
//!
//! In: messages of edges, effects. Out: answers, proposals. Not here: what follows from it (kith-machine's `presence`), frames (`registry`).

use kith_machine::{
    presence::{Rows as _, home::Seen},
    view::{StateView, ViewError},
};
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{BootEpoch, NodeId, UserId},
    presence::{PresenceTold, PresenceView, PresenceWatch},
};

use super::{
    Lead, Seat,
    proposal::{PROPOSALS_AT_ONCE, write_seen},
    unread,
};
use crate::{clock::Instant, cluster::files::PresenceFanout, router::refuse};

impl Lead {
    pub(super) fn watch(&mut self, from: NodeId, boot: BootEpoch, watches: &[PresenceWatch], now: Instant) -> Result<PresenceTold, Refusal> {
        self.home.handle_edge(from, boot).map_err(refuse)?;
        self.home.poll_presence(self.fanout.clock.now(), now);
        let seat = self.seat.clone();
        let told = seat.view().and_then(|view| self.home.here().handle_watches(from, watches, &*view, now));
        told.map_err(|error| unreadable(&*seat, &error))
    }
    /// What rows say of a user who is here: whether they hide, and whether there still is such a user.
    pub(super) fn note_user(&mut self, user: UserId) {
        let seat = self.seat.clone();
        match seat.view().and_then(|view| {
            let rows: &dyn StateView = &*view;
            rows.facts(user)
        }) {
            Ok(facts) => {
                let now = self.fanout.clock.instant();
                let at = self.home.here().at(now);
                self.home.here().home.handle_facts(user, facts, at);
                self.home.here().touch(user);
                // At once: of whom nobody looks at, and whose sessions it does not know, the machine would forget the facts.
                self.home.poll_presence(self.fanout.clock.now(), now);
            }
            Err(error) => unread(&*seat, &error, "whether a user is to be seen"),
        }
    }
    /// Where every contact is shown: whom a user's sessions look at.
    pub(super) fn note_circle(&mut self, user: UserId) {
        if self.fanout.options.presence.fanout != PresenceFanout::All {
            return;
        }
        let contacts = self.seat.view().and_then(|view| kith_machine::user::contacts(&*view, user, UserId::new(0), usize::MAX));
        match contacts {
            Ok(contacts) => {
                let mutual: Vec<UserId> = contacts.into_iter().filter(|(_, row)| row.is_mutual()).map(|(peer, _)| peer).collect();
                self.home.handle_circle(user, &mutual);
            }
            Err(error) => unread(&*self.seat, &error, "a user's contacts"),
        }
    }
    /// How users are now, as somebody may see it.
    pub(super) fn look(&mut self, asker: UserId, users: &[UserId], now: Instant) -> Result<Vec<PresenceView>, Refusal> {
        self.home.poll_presence(self.fanout.clock.now(), now);
        let seat = self.seat.clone();
        let views = seat.view().and_then(|view| self.home.here().read(asker, users, &*view, now));
        views.map_err(|error| unreadable(&*seat, &error))
    }
    /// What was pushed to an edge may be lost: it tells anew what it looks at.
    pub(super) fn edge_unsure(&mut self, edge: NodeId) {
        let at = self.home.here().at(self.fanout.clock.instant());
        self.home.here().home.handle_unsure(edge, at);
    }
    /// Changes of contacts may have been missed.
    pub(super) fn contacts_lagged(&mut self) {
        let at = self.home.here().at(self.fanout.clock.instant());
        self.home.here().home.handle_lagged(at);
    }
    /// Whether a user is to be seen offline has changed.
    pub(super) fn hides(&mut self, user: UserId, private: bool) {
        let at = self.home.here().at(self.fanout.clock.instant());
        self.home.here().home.handle_private(user, private, at);
    }
    /// Says which nodes are heard.
    pub(super) fn note_heard(&mut self, now: Instant) {
        let homes = &self.fanout.homes;
        let heard: Vec<NodeId> = homes.nodes().into_iter().filter(|node| homes.alive(*node)).collect();
        let at = self.home.here().at(now);
        self.home.here().home.handle_heard(&heard, at);
    }
    /// Brings who is here up to date, and begins to write down what is to be.
    pub(super) fn poll_here(&mut self, now: Instant) {
        self.home.poll_presence(self.fanout.clock.now(), now);
        if self.is_writing {
            return;
        }
        let seen: Vec<(UserId, Seen)> = self.home.here().poll_writes(PROPOSALS_AT_ONCE);
        if !seen.is_empty() {
            self.is_writing = true;
            self.work.push(Box::pin(write_seen(self.seat.clone(), seen)));
        }
    }
}

fn unreadable(seat: &dyn Seat, error: &ViewError) -> Refusal {
    unread(seat, error, "who may look at whom");
    refuse(if error.is_not_owned() { Code::WrongGroup } else { Code::Internal })
}
