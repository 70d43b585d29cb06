//! What a device has shown, and what it must show.
//!
//! In: records as they are shown, the rows of replicas. Out: what is wrong. Invariants: of a channel no record is shown twice or out of
//! order, none is jumped that its user may see; at rest all of it is shown, byte for byte, from where the device began, and the index is
//! held as it is.

use std::{collections::BTreeMap, sync::Arc};

use kith_client::testing::Device;
use kith_machine::{
    channel::read::visibility,
    view::{Row, RowKey, Scan, StateView, ViewError},
};
use kith_wire::{
    id::{ChannelId, Seq, UserId},
    log::Record,
};

/// Records shown since the device began with nothing.
#[derive(Default)]
pub(crate) struct Screen {
    shown: BTreeMap<ChannelId, Vec<Arc<Record>>>,
}

impl Screen {
    /// The device shows these. `rows` are some replica's, perhaps older: what it says that the user may see stays so.
    ///
    /// # Errors
    /// It must not.
    pub(crate) fn show(
        &mut self,
        device: &Device,
        user: UserId,
        channel: ChannelId,
        records: Vec<Arc<Record>>,
        rows: Option<&dyn StateView>,
    ) -> Result<(), String> {
        let seen = rows.and_then(|rows| visibility(rows, channel, user).ok().flatten());
        let shown = self.shown.entry(channel).or_default();
        let from = device.cursor(channel).map_or(Seq::new(1), |cursor| cursor.from);
        for record in records {
            let seq = record.at.seq;
            let last = shown.last().map_or_else(|| from.prev(), |last| last.at.seq);
            if seq <= last {
                return Err(format!("{seq} of {channel} is shown after {last}"));
            }
            if let Some(seen) = &seen
                && let Some(jumped) = (last.get() + 1..seq.get()).find(|jumped| seen.shows(Seq::new(*jumped)))
            {
                return Err(format!("{seq} of {channel} is shown after {last}, and {jumped} is not"));
            }
            shown.push(record);
        }
        Ok(())
    }
    /// Whether the device has shown all of a channel that its user may see. `None`: the rows cannot be read.
    ///
    /// # Errors
    /// It has not (yet), or more.
    pub(crate) fn is_whole(&self, device: &Device, user: UserId, channel: ChannelId, rows: &dyn StateView) -> Result<(), String> {
        let read = |error: ViewError| error.to_string();
        let from = device.cursor(channel).map_or(Seq::new(1), |cursor| cursor.from);
        let seen = visibility(rows, channel, user).map_err(read)?;
        let log = rows.scan(&Scan::Records(channel, from..=Seq::new(u64::MAX)), false, usize::MAX).map_err(read)?;
        let must = log.iter().filter_map(|(_, row)| match &**row {
            Row::Record(record) if seen.as_ref().is_some_and(|seen| seen.shows(record.at.seq)) => Some(record),
            _ => None,
        });
        let mut shown = self.shown.get(&channel).into_iter().flatten();
        for record in must {
            match shown.next() {
                Some(found) if **found == *record => {}
                Some(found) => return Err(format!("{} of {channel} stands where {} must be, or is another", found.at.seq, record.at.seq)),
                None => return Err(format!("{} of {channel} is not shown; it knows of {:?}", record.at.seq, device.cursor(channel))),
            }
        }
        shown.next().map_or(Ok(()), |more| Err(format!("{} of {channel} is not theirs to see", more.at.seq)))
    }
    /// Whether the device holds the row of the channel as its home does.
    ///
    /// # Errors
    /// It does not (yet).
    pub(crate) fn knows(device: &Device, user: UserId, channel: ChannelId, rows: &dyn StateView) -> Result<(), String> {
        let row = rows.get(&RowKey::Index(user, channel)).map_err(|error| error.to_string())?;
        let must = match row.as_deref() {
            Some(Row::Index(row)) => Some(row.rev),
            _ => None,
        };
        let held = device.rows().iter().find(|row| row.news.channel == channel).map(|row| row.rev);
        if held == must { Ok(()) } else { Err(format!("the row of {channel} is held at {held:?} and stands at {must:?}")) }
    }
}
