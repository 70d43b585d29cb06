//! A channel's seqs are 1, 2, 3, …: an entry adds records right behind the head, and never changes one.

use kith_machine::view::{Row, RowKey, StateView as _};
use kith_wire::id::ChannelId;

use super::{Invariant, Step, World};

pub(super) struct SeqDense;

impl Invariant for SeqDense {
    fn name(&self) -> &'static str {
        "seqs are dense"
    }
    fn check(&mut self, step: &Step<'_>, _: &World) -> Result<(), String> {
        let Step::Applied { writes, before, .. } = step else { return Ok(()) };
        let mut next: Option<(ChannelId, u64)> = None;
        for (key, row) in &writes.rows {
            let (RowKey::Record(channel, seq), Some(_)) = (key, row) else { continue };
            let expected = match next {
                Some((of, expected)) if of == *channel => expected,
                _ => head(before, *channel) + 1,
            };
            if seq.get() != expected {
                return Err(format!("record {seq} of {channel} comes where {expected} is next"));
            }
            next = Some((*channel, expected + 1));
        }
        Ok(())
    }
}

fn head(rows: &kith_machine::testing::MemoryView, channel: ChannelId) -> u64 {
    match rows.get(&RowKey::Channel(channel)) {
        Ok(Some(row)) => match &*row {
            Row::Channel(row) => row.head.seq.get(),
            _ => 0,
        },
        _ => 0,
    }
}
