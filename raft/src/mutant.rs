//! What a leader of a mutant does with a batch before it is committed; see `kith_machine::mutant`.
//!
//! In: batches on their way to the log. Out: seqs in them, or answers to their senders, both too early. Without the feature `mutants` nothing of it is called.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use kith_machine::{
    Meta,
    mutant::{Mutant, give_seq},
    reply::Reply,
    view::{Row, RowKey},
};
use kith_wire::{
    id::{ChannelId, LogIndex, Seq, Term},
    log::{Batch, Command, LogId},
};
use tokio::sync::watch;

use crate::{disk::Rows, group::Leadership};

/// A leader that does not wait.
pub(crate) struct Hasty {
    state: Arc<dyn Rows>,
    /// The seqs given in this term, by channel.
    given: Mutex<(Term, BTreeMap<ChannelId, Seq>)>,
}

impl Hasty {
    pub(crate) fn new(state: Arc<dyn Rows>) -> Self {
        Self { state, given: Mutex::default() }
    }

    /// Gives seqs to the records of a batch.
    pub(crate) fn number(&self, batch: &mut Batch, leadership: &watch::Receiver<Leadership>) {
        if !self.state.quirk().is(Mutant::SeqBeforeCommit) {
            return;
        }
        let term = leadership.borrow().term;
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.0 != term {
            *given = (term, BTreeMap::new());
        }
        for item in &mut batch.items {
            let Command::Append { channel, author, .. } = &mut item.command else { continue };
            let head = match self.state.get(&RowKey::Channel(*channel)).ok().flatten().as_deref() {
                Some(Row::Channel(row)) => row.head.seq,
                _ => Seq::ZERO,
            };
            let last = given.1.entry(*channel).or_default();
            *last = head.max(*last).next();
            author.settled = give_seq(author.settled, *last);
        }
    }

    /// What a batch will be answered, if it is committed.
    pub(crate) fn answers(&self, batch: &Bytes, leadership: &watch::Receiver<Leadership>) -> Option<Vec<Reply>> {
        if !self.state.quirk().is(Mutant::AckBeforeMajority) {
            return None;
        }
        let index = LogIndex::new(self.state.applied().last.map_or(0, |last| last.index.get()) + 1);
        let id = LogId { term: leadership.borrow().term, index };
        kith_machine::apply(&*self.state, batch, Meta { group: self.state.id(), id }).ok().map(|applied| applied.replies)
    }
}
