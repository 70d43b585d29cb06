//! How far the index is: of each group, the last log entry that is in it, and what of an older state has been walked.
//!
//! Stored with what it speaks of, as the payload of a commit; in UTF-8, a line each:
//! ```text
//! kith-search/1 <store>
//! <group> <log index> <read> whole
//! <group> <log index> <read> walk [<channel> <next seq>]
//! ```
//! Another first line, or a line that cannot be read: an index of another version or store. It is built anew.

use std::collections::BTreeMap;

use kith_wire::id::{Bucket, ChannelId, GroupId, LogIndex, Seq, StoreId};

/// How far a group is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stand {
    /// All that entries up to this one did is in the index, of what has been walked.
    pub index: LogIndex,
    /// What entries up to this one did may be in it too: it was read from rows.
    pub read: LogIndex,
    /// What has been walked; `None`: everything.
    pub walk: Option<Walk>,
}

/// How much of a group's rows has been brought into the index: its channels in the order of the store, each from its first record on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Walk {
    /// All channels before this one are, and of it all records before this seq; `None`: nothing is.
    pub next: Option<(ChannelId, Seq)>,
}

impl Walk {
    /// Whether a record has been walked.
    pub fn has(&self, channel: ChannelId, seq: Seq) -> bool {
        let order = |channel: ChannelId| -> (Bucket, ChannelId) { (channel.bucket(), channel) };
        self.next.is_some_and(|(at, next)| if at == channel { seq < next } else { order(channel) < order(at) })
    }
}

impl Stand {
    /// Whether a record's place has been walked: changes of others are found there by the walk.
    pub fn covers(&self, channel: ChannelId, seq: Seq) -> bool {
        self.walk.is_none_or(|walk| walk.has(channel, seq))
    }
}

pub(crate) fn encode(store: StoreId, stands: &BTreeMap<GroupId, Stand>) -> String {
    let mut out = format!("{VERSION} {store}\n");
    for (group, stand) in stands {
        let walk = match stand.walk {
            None => "whole".to_owned(),
            Some(Walk { next: None }) => "walk".to_owned(),
            Some(Walk { next: Some((channel, seq)) }) => format!("walk {channel} {}", seq.get()),
        };
        out.push_str(&format!("{} {} {} {walk}\n", group.get(), stand.index.get(), stand.read.get()));
    }
    out
}

/// `None`: it is of another version or store.
pub(crate) fn decode(store: StoreId, payload: &str) -> Option<BTreeMap<GroupId, Stand>> {
    let mut lines = payload.lines();
    if lines.next()? != format!("{VERSION} {store}") {
        return None;
    }
    lines.map(line).collect()
}

fn line(line: &str) -> Option<(GroupId, Stand)> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [group, index, read, rest @ ..] = parts.as_slice() else { return None };
    let walk = match rest {
        ["whole"] => None,
        ["walk"] => Some(Walk::default()),
        ["walk", channel, seq] => Some(Walk { next: Some((channel.parse().ok()?, Seq::new(seq.parse().ok()?))) }),
        _ => return None,
    };
    let stand = Stand { index: LogIndex::new(index.parse().ok()?), read: LogIndex::new(read.parse().ok()?), walk };
    Some((GroupId::new(group.parse().ok()?), stand))
}

/// What another version of the index writes otherwise: raise it when fields or words change.
const VERSION: &str = "kith-search/1";

#[cfg(test)]
mod tests {
    use kith_wire::id::UserId;
    use proptest::prelude::*;

    use super::*;

    fn channel(user: u64) -> ChannelId {
        ChannelId::direct(UserId::new(user), UserId::new(user + 1))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            stands in proptest::collection::btree_map(any::<u32>(), (any::<u64>(), 0..3u8, any::<u32>(), any::<u64>()), 0..5), store in any::<[u8; 16]>(),
        ) {
            let stands: BTreeMap<_, _> = stands.into_iter().map(|(group, (index, kind, user, seq))| {
                let walk = match kind {
                    0 => None,
                    1 => Some(Walk::default()),
                    _ => Some(Walk { next: Some((channel(u64::from(user)), Seq::new(seq))) }),
                };
                (GroupId::new(group), Stand { index: LogIndex::new(index), read: LogIndex::new(index / 2), walk })
            }).collect();
            let payload = encode(StoreId::new(store), &stands);
            prop_assert_eq!(decode(StoreId::new(store), &payload), Some(stands));
            prop_assert_eq!(decode(StoreId::new([store[0] ^ 1; 16]), &payload), None);
        }

        #[test]
        fn any_payload_is_read_or_refused(payload in "\\PC{0,80}") {
            let _ = decode(StoreId::new([0; 16]), &payload);
            let _ = decode(StoreId::new([0; 16]), &format!("{}{payload}", encode(StoreId::new([0; 16]), &BTreeMap::new())));
        }
    }

    #[test]
    fn a_walk_has_what_lies_before_it_in_the_order_of_the_store() {
        let mut channels: Vec<ChannelId> = (1..20).map(channel).collect();
        channels.sort_by_key(|channel| (channel.bucket(), *channel));
        let walk = Walk { next: Some((channels[10], Seq::new(5))) };
        assert!(channels[..10].iter().all(|channel| walk.has(*channel, Seq::new(99))));
        assert!(channels[11..].iter().all(|channel| !walk.has(*channel, Seq::new(1))));
        assert!(walk.has(channels[10], Seq::new(4)) && !walk.has(channels[10], Seq::new(5)));
        assert!(!Walk::default().has(channels[0], Seq::new(1)));
    }
}
