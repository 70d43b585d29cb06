//! What clients know: what they sent, what was acked where; and what must therefore stand in the logs in the end.
//!
//! In: sends, acks, refusals; the final log of each channel. Out: what is wrong. Invariants are the promises of a chat log: acked means
//! kept, one record a number, real time, nothing that nobody sent. An answer that never came leaves a send open: it may stand or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kith_wire::{
    id::{ChannelId, ClientSeq, DeviceId, Seq},
    log::{Content, Record},
};

/// One numbered write of a device.
pub(crate) type Key = (ChannelId, DeviceId, ClientSeq);

#[derive(Clone, Debug)]
struct Sent {
    content: Content,
    /// The highest seq acked in the channel before the first attempt began.
    floor: Seq,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Open,
    Stands(Seq),
    Refused,
}

/// All that clients know.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sent: BTreeMap<Key, Sent>,
    acked: BTreeMap<ChannelId, Seq>,
    owners: BTreeMap<(ChannelId, Seq), Key>,
}

impl Oracle {
    /// A write's first attempt begins.
    pub(crate) fn begin(&self, key: Key, content: Content) {
        let mut inner = self.lock();
        let floor = inner.acked.get(&key.0).copied().unwrap_or(Seq::ZERO);
        inner.sent.entry(key).or_insert(Sent { content, floor, fate: Fate::Open });
    }

    /// An attempt was answered with a seq.
    ///
    /// # Errors
    /// That answer is wrong.
    pub(crate) fn acked(&self, key: Key, seq: Seq) -> Result<(), String> {
        let mut inner = self.lock();
        let (channel, device, number) = key;
        let name = format!("number {number} of device {device} in {channel}");
        let Some(sent) = inner.sent.get_mut(&key) else { return Err(format!("{name} was never sent")) };
        match sent.fate {
            Fate::Stands(known) if known != seq => return Err(format!("{name} was acked at {known} and at {seq}")),
            Fate::Refused => return Err(format!("{name} was refused, then acked at {seq}")),
            Fate::Open | Fate::Stands(_) => {}
        }
        let floor = sent.floor;
        if sent.fate == Fate::Open && seq <= floor {
            return Err(format!("{name} was sent after {floor} was acked, and stands at {seq}"));
        }
        sent.fate = Fate::Stands(seq);
        let acked = inner.acked.entry(channel).or_insert(Seq::ZERO);
        *acked = (*acked).max(seq);
        let owner = *inner.owners.entry((channel, seq)).or_insert(key);
        if owner == key { Ok(()) } else { Err(format!("{name} and number {} of device {} were both acked at {seq}", owner.2, owner.1)) }
    }

    /// An attempt was finally refused.
    ///
    /// # Errors
    /// That answer is wrong.
    pub(crate) fn refused(&self, key: Key) -> Result<(), String> {
        let mut inner = self.lock();
        let Some(sent) = inner.sent.get_mut(&key) else { return Err("a refusal of what was never sent".to_owned()) };
        if let Fate::Stands(seq) = sent.fate {
            return Err(format!("number {} of device {} in {} was acked at {seq}, then refused", key.2, key.1, key.0));
        }
        sent.fate = Fate::Refused;
        Ok(())
    }

    /// How many writes were acked.
    pub(crate) fn acks(&self) -> usize {
        self.lock().sent.values().filter(|sent| matches!(sent.fate, Fate::Stands(_))).count()
    }

    /// Looks at the final log of a channel.
    ///
    /// # Errors
    /// It is not what clients were told.
    pub(crate) fn check(&self, channel: ChannelId, log: &[Record]) -> Result<(), String> {
        let inner = self.lock();
        let mut seen = BTreeSet::new();
        for (record, expected) in log.iter().zip(1_u64..) {
            let seq = record.at.seq;
            if seq.get() != expected {
                return Err(format!("{channel} has {seq} where {expected} is next"));
            }
            if record.client_seq == ClientSeq::default() {
                continue;
            }
            let key = (channel, record.device, record.client_seq);
            let Some(sent) = inner.sent.get(&key) else { return Err(format!("nobody sent what stands at {seq} of {channel}")) };
            if sent.content != record.content {
                return Err(format!("what stands at {seq} of {channel} is not what was sent"));
            }
            if sent.fate == Fate::Refused {
                return Err(format!("what stands at {seq} of {channel} was refused"));
            }
            if !seen.insert(key) {
                return Err(format!("number {} of device {} stands twice in {channel}", key.2, key.1));
            }
        }
        for (key, sent) in inner.sent.iter().filter(|(key, _)| key.0 == channel) {
            let Fate::Stands(seq) = sent.fate else { continue };
            let found = usize::try_from(seq.get() - 1).ok().and_then(|at| log.get(at));
            if found.is_none_or(|record| (record.device, record.client_seq) != (key.1, key.2)) {
                return Err(format!("{channel}: number {} of device {} was acked at {seq}, and does not stand there", key.2, key.1));
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
