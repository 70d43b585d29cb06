//! What is to be written into the index, and is found without it meanwhile.
//!
//! In: changes of records, each with how far its group is then. Out: what one commit writes. Invariant: of each record the last change alone is
//! kept. Bounds: [`Bounds::pending_records_max`](crate::Bounds), `pending_bytes_max`: then whoever feeds it waits until it is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kith_wire::{
    id::{ChannelId, GroupId, Seq},
    log::Record,
};

use crate::stand::Stand;

/// A change of what can be found.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A text as it stands now. `fresh`: it was never in the index.
    Put {
        /// Where.
        channel: ChannelId,
        /// The text.
        record: Arc<Record>,
        /// Nothing is to be taken out for it.
        fresh: bool,
    },
    /// A text is gone.
    Remove {
        /// Where.
        channel: ChannelId,
        /// Which.
        seq: Seq,
    },
    /// All texts of a channel are taken out: they will be put anew.
    Forget {
        /// Which.
        channel: ChannelId,
    },
}

/// The last change of a record.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) group: GroupId,
    /// `None`: it is taken out.
    pub(crate) record: Option<Arc<Record>>,
    pub(crate) fresh: bool,
}

/// Changes that one commit writes: groups and channels are taken out first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    pub(crate) slots: BTreeMap<(ChannelId, Seq), Slot>,
    pub(crate) forgotten: BTreeSet<ChannelId>,
    pub(crate) dropped: BTreeSet<GroupId>,
    /// How far groups are, those that moved.
    pub(crate) stands: BTreeMap<GroupId, Stand>,
    pub(crate) bytes: usize,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.forgotten.is_empty() && self.dropped.is_empty() && self.stands.is_empty()
    }

    pub(crate) fn apply(&mut self, group: GroupId, change: Change) {
        match change {
            Change::Put { channel, record, fresh } => {
                let key = (channel, record.at.seq);
                self.bytes += weight(Some(&record));
                let before = self.slots.insert(key, Slot { group, record: Some(record), fresh });
                if let (Some(before), Some(slot)) = (before, self.slots.get_mut(&key)) {
                    self.bytes -= weight(before.record.as_ref());
                    slot.fresh = before.fresh;
                }
            }
            Change::Remove { channel, seq } => {
                let key = (channel, seq);
                if let Some(before) = self.slots.remove(&key) {
                    self.bytes -= weight(before.record.as_ref());
                    if before.fresh {
                        return;
                    }
                }
                self.bytes += weight(None);
                self.slots.insert(key, Slot { group, record: None, fresh: false });
            }
            Change::Forget { channel } => {
                let held: Vec<_> = self.slots.range((channel, Seq::ZERO)..=(channel, Seq::new(u64::MAX))).map(|(key, _)| *key).collect();
                held.into_iter().for_each(|key| self.release(key));
                self.forgotten.insert(channel);
            }
        }
    }

    /// All of a group is taken out.
    pub(crate) fn drop_group(&mut self, group: GroupId) {
        let held: Vec<_> = self.slots.iter().filter(|(_, slot)| slot.group == group).map(|(key, _)| *key).collect();
        held.into_iter().for_each(|key| self.release(key));
        self.stands.remove(&group);
        self.dropped.insert(group);
    }

    fn release(&mut self, key: (ChannelId, Seq)) {
        if let Some(slot) = self.slots.remove(&key) {
            self.bytes -= weight(slot.record.as_ref());
        }
    }
}

/// What a slot weighs: its text, and a generous guess of the rest.
fn weight(record: Option<&Arc<Record>>) -> usize {
    128 + record.map_or(0, |record| record.content.bytes())
}
