//! Ranges of a channel's records.
//!
//! In: a view of the group and a range of seqs. Out: a dense run of records from one end of it, bounded in number and in bytes.
//! Not here: who may see which range (`kith_machine::channel::read`), the cache of recent records (kith-raft).

use std::{ops::RangeInclusive, sync::Arc};

use kith_machine::view::{Row, Scan, StateView, ViewError};
use kith_wire::{
    id::{ChannelId, Seq},
    log::{Content, Record},
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
            let size = content_bytes(&record.content);
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

fn content_bytes(content: &Content) -> usize {
    match content {
        Content::Text { text, .. } => text.len(),
        Content::Created { title, members } => title.len() + members.len() * 8,
        Content::Members(_) => 0,
        Content::Unknown { bytes, .. } => bytes.len(),
    }
}
