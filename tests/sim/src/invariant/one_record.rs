//! A retry never makes a second record: what a device numbered once stands at one seq of its channel.

use std::collections::BTreeMap;

use kith_machine::view::{Row, RowKey};
use kith_wire::id::{ChannelId, ClientSeq, DeviceId, Seq};

use super::{Invariant, Step, World};

#[derive(Default)]
pub(super) struct OneRecord(BTreeMap<(ChannelId, DeviceId, ClientSeq), Seq>);

impl Invariant for OneRecord {
    fn name(&self) -> &'static str {
        "one record a number"
    }
    fn check(&mut self, step: &Step<'_>, _: &World) -> Result<(), String> {
        let Step::Applied { writes, .. } = step else { return Ok(()) };
        for (key, row) in &writes.rows {
            let (RowKey::Record(channel, seq), Some(row)) = (key, row) else { continue };
            let Row::Record(record) = &**row else { continue };
            if record.client_seq == ClientSeq::default() {
                continue;
            }
            let known = self.0.entry((*channel, record.device, record.client_seq)).or_insert(*seq);
            if known != seq {
                return Err(format!("number {} of device {} stands at {known} and at {seq} of {channel}", record.client_seq, record.device));
            }
        }
        Ok(())
    }
}
