//! Ranges of a channel's records.
//!
//! In: a view of the group and a range of seqs. Out: a dense run of records from one end of it, bounded in number and in bytes.
//! Not here: who may see which range (`kith_machine::channel::read`), the cache of recent records (kith-raft).

use std::{ops::RangeInclusive, sync::Arc};

use kith_machine::view::{Row, Scan, StateView, ViewError};
use kith_wire::{
    id::{ChannelId, Seq},
    log::Record,
};

/// Records read per step: most pages need one.
const STEP: usize = 128;

/// Records of a channel in a range, rising: the first ones, or the last ones when `from_end`. Stops at `records_max`, or before the record
/// that would pass `bytes_max` of content; gives at least one if there is one.
///
/// # Errors
/// A record cannot be read.
pub fn records(
    view: &dyn StateView,
    channel: ChannelId,
    seqs: RangeInclusive<Seq>,
    from_end: bool,
    records_max: usize,
    bytes_max: usize,
) -> Result<Vec<Record>, ViewError> {
    let (mut first, mut last) = (*seqs.start(), *seqs.end());
    let (mut found, mut bytes) = (Vec::new(), 0);
    'pages: while first <= last && found.len() < records_max {
        let wanted = STEP.min(records_max - found.len());
        let rows = view.scan(&Scan::Records(channel, first..=last), from_end, wanted)?;
        let is_last_page = rows.len() < wanted;
        for (_, row) in rows {
            let Row::Record(record) = Arc::unwrap_or_clone(row) else { continue };
            let size = record.content.bytes();
            if !found.is_empty() && bytes + size > bytes_max {
                break 'pages;
            }
            bytes += size;
            if from_end {
                last = record.at.seq.prev();
            } else {
                first = record.at.seq.next();
            }
            found.push(record);
        }
        if is_last_page || last == Seq::ZERO {
            break;
        }
    }
    if from_end {
        found.reverse();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use kith_machine::{testing::MemoryView, view::RowKey};
    use kith_wire::{
        id::{ClientSeq, DeviceId, Incarnation, Timestamp, UserId},
        log::{Content, Position},
    };
    use proptest::prelude::*;

    use super::*;

    fn channel() -> ChannelId {
        ChannelId::direct(UserId::new(1), UserId::new(2))
    }

    /// A channel whose record at each seq has a text of that many bytes, up to ten.
    fn view(head: u64) -> MemoryView {
        let mut view = MemoryView::default();
        for seq in 1..=head {
            let record = Record {
                at: Position { seq: Seq::new(seq), cnt: seq },
                incarnation: Incarnation::new(0),
                sender: UserId::new(1),
                device: DeviceId::new(1),
                client_seq: ClientSeq::new(seq),
                ts: Timestamp::new(seq),
                content: Content::Text { text: "x".repeat(seq as usize % 10), reply_to: None, mentions: Vec::new(), extra: None },
            };
            view.rows.insert(RowKey::Record(channel(), Seq::new(seq)), Arc::new(Row::Record(record)));
        }
        view
    }

    proptest! {
        #[test]
        fn a_page_is_dense_from_its_end_and_within_its_bounds(
            head in 0..400u64, from in 0..400u64, to in 0..400u64, from_end: bool, records_max in 1..300usize, bytes_max in 0..2_000usize,
        ) {
            let view = view(head);
            let page = records(&view, channel(), Seq::new(from)..=Seq::new(to), from_end, records_max, bytes_max).unwrap();
            let all: Vec<_> = (from.max(1)..=to.min(head)).collect();
            let seqs: Vec<_> = page.iter().map(|record| record.at.seq.get()).collect();
            let expected = if from_end { &all[all.len() - seqs.len()..] } else { &all[..seqs.len()] };
            prop_assert_eq!(&seqs, expected);
            let bytes = |seqs: &[u64]| seqs.iter().map(|seq| *seq as usize % 10).sum::<usize>();
            prop_assert!(seqs.len() <= records_max && (seqs.len() <= 1 || bytes(&seqs) <= bytes_max));
            // It stops early only at a bound.
            if seqs.len() < all.len() && seqs.len() < records_max {
                let next = if from_end { all[all.len() - seqs.len() - 1] } else { all[seqs.len()] };
                prop_assert!(bytes(&seqs) + next as usize % 10 > bytes_max);
            }
        }
    }
}
