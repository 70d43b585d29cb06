//! Bodies of rows: as they are stored, hashed, and sent to another group.
//!
//! In: typed rows. Out: their bytes, and back by the key that they belong to. Invariants: equal rows have equal bytes; any bytes are a row or an
//! error. Not here: the layout (kith-wire's log messages), checksums (kith-storage), keys ([`crate::key`]).

use std::{error::Error, sync::Arc};

use kith_wire::desk::{AuditRow, DeskRow, ReportIdRow, ReportRow};
use kith_wire::hook::{HookCursorRow, HooksRow};
use kith_wire::log::{ContactRow, ProfileRow, WordRow};
use kith_wire::moving::{LeavingRow, StagingRow};
use kith_wire::trust::TrustRow;
use kith_wire::{
    act::{MarksRow, RulesRow, ScheduledRow},
    id::ChannelId,
    log::{
        CallRow, CallsRow, ChannelRow, ClusterRow, CredentialRow, DedupEntry, DedupRow, DeviceRow, FormerRow, GroupRow, GroupStateRow, IndexRow,
        NameRow, NodeRow, OwedRow, OwnedRow, PositionsRow, PushDueRow, PushSentRow, PushesRow, Record, RosterRow, RunRow, UserRow,
    },
};
use thiserror::Error;

use crate::view::{Row, RowKey};

/// The bytes are not a row of that kind.
#[derive(Clone, Debug, Error)]
pub enum BodyError {
    /// They are no message of that kind.
    #[error("body is not a row of its kind")]
    Body(#[source] Arc<dyn Error + Send + Sync>),
    /// A mark says nothing.
    #[error("a mark without content has {0} bytes")]
    Mark(usize),
}

/// Appends the body of a row.
pub fn encode(row: &Row, out: &mut Vec<u8>) {
    match row {
        Row::Channel(row) => row.encode_into(out),
        Row::Roster(row) => row.encode_into(out),
        Row::Former(row) => row.encode_into(out),
        Row::Positions(row) => row.encode_into(out),
        Row::Record(row) => row.encode_into(out),
        Row::Dedup(row) => row.encode_into(out),
        Row::Calls(row) => row.encode_into(out),
        Row::Keyed(row) => row.encode_into(out),
        Row::HomeCall(row) => row.encode_into(out),
        Row::Dirty | Row::Reply | Row::Timer | Row::HookDue | Row::Changed => {}
        Row::Rules(row) => row.encode_into(out),
        Row::Marks(row) => row.encode_into(out),
        Row::Scheduled(row) => row.encode_into(out),
        Row::User(row) => row.encode_into(out),
        Row::Device(row) => row.encode_into(out),
        Row::Index(row) => row.encode_into(out),
        Row::IndexByRev(channel) => out.extend_from_slice(channel.as_bytes()),
        Row::Credential(row) => row.encode_into(out),
        Row::Owed(row) => row.encode_into(out),
        Row::Profile(row) => row.encode_into(out),
        Row::Contact(row) => row.encode_into(out),
        Row::Word(row) => row.encode_into(out),
        Row::Desk(row) => row.encode_into(out),
        Row::Report(row) => row.encode_into(out),
        Row::ReportId(row) => row.encode_into(out),
        Row::Audit(row) => row.encode_into(out),
        Row::Hooks(row) => row.encode_into(out),
        Row::HookCursor(row) => row.encode_into(out),
        Row::Name(row) => row.encode_into(out),
        Row::GroupState(row) => row.encode_into(out),
        Row::Owned(row) => row.encode_into(out),
        Row::Leaving(row) => row.encode_into(out),
        Row::Staging(row) => row.encode_into(out),
        Row::Cluster(row) => row.encode_into(out),
        Row::Trust(row) => row.encode_into(out),
        Row::Node(row) => row.encode_into(out),
        Row::Group(row) => row.encode_into(out),
        Row::Run(row) => row.encode_into(out),
        Row::Pushes(row) => row.encode_into(out),
        Row::PushSent(row) => row.encode_into(out),
        Row::PushDue(row) => row.encode_into(out),
    }
}

/// The row of a key, from its body.
///
/// # Errors
/// It is no row of that kind.
pub fn decode(key: &RowKey, bytes: &[u8]) -> Result<Row, BodyError> {
    fn body<E: Error + Send + Sync + 'static>(error: E) -> BodyError {
        BodyError::Body(Arc::new(error))
    }
    Ok(match key {
        RowKey::Channel(_) => Row::Channel(ChannelRow::decode(bytes).map_err(body)?),
        RowKey::Roster(_) => Row::Roster(RosterRow::decode(bytes).map_err(body)?),
        RowKey::Former(..) => Row::Former(FormerRow::decode(bytes).map_err(body)?),
        RowKey::Positions(..) => Row::Positions(PositionsRow::decode(bytes).map_err(body)?),
        RowKey::Record(..) => Row::Record(Record::decode(bytes).map_err(body)?),
        RowKey::Dedup(..) => Row::Dedup(DedupRow::decode(bytes).map_err(body)?),
        RowKey::Calls(..) | RowKey::HomeCalls(_) => Row::Calls(CallsRow::decode(bytes).map_err(body)?),
        RowKey::Keyed(..) => Row::Keyed(DedupEntry::decode(bytes).map_err(body)?),
        RowKey::HomeCall(..) => Row::HomeCall(CallRow::decode(bytes).map_err(body)?),
        RowKey::Dirty(_) if bytes.is_empty() => Row::Dirty,
        RowKey::Reply(..) if bytes.is_empty() => Row::Reply,
        RowKey::Timer(..) if bytes.is_empty() => Row::Timer,
        RowKey::HookDue(_) if bytes.is_empty() => Row::HookDue,
        RowKey::Changed(..) if bytes.is_empty() => Row::Changed,
        RowKey::Dirty(_) | RowKey::Reply(..) | RowKey::Timer(..) | RowKey::HookDue(_) | RowKey::Changed(..) => {
            return Err(BodyError::Mark(bytes.len()));
        }
        RowKey::Rules(_) => RulesRow::decode(bytes).map_err(body)?.into(),
        RowKey::Marks(..) => Row::Marks(MarksRow::decode(bytes).map_err(body)?),
        RowKey::Scheduled(..) => Row::Scheduled(ScheduledRow::decode(bytes).map_err(body)?),
        RowKey::User(_) => Row::User(UserRow::decode(bytes).map_err(body)?),
        RowKey::Device(..) => Row::Device(DeviceRow::decode(bytes).map_err(body)?),
        RowKey::Index(..) => Row::from(IndexRow::decode(bytes).map_err(body)?),
        RowKey::IndexByRev(..) => Row::IndexByRev(ChannelId::from_bytes(bytes).map_err(body)?),
        RowKey::Credential(_) => CredentialRow::decode(bytes).map_err(body)?.into(),
        RowKey::Profile(_) => Row::Profile(ProfileRow::decode(bytes).map_err(body)?),
        RowKey::Contact(..) => Row::Contact(ContactRow::decode(bytes).map_err(body)?),
        RowKey::Word(..) => Row::Word(WordRow::decode(bytes).map_err(body)?),
        RowKey::Owed(..) => Row::Owed(OwedRow::decode(bytes).map_err(body)?),
        RowKey::Pushes(_) => Row::Pushes(PushesRow::decode(bytes).map_err(body)?),
        RowKey::PushSent(..) => Row::PushSent(PushSentRow::decode(bytes).map_err(body)?),
        RowKey::PushDue(..) => Row::PushDue(PushDueRow::decode(bytes).map_err(body)?),
        RowKey::Desk => Row::Desk(DeskRow::decode(bytes).map_err(body)?),
        RowKey::Report(_) => Row::Report(ReportRow::decode(bytes).map_err(body)?),
        RowKey::ReportId(..) => Row::ReportId(ReportIdRow::decode(bytes).map_err(body)?),
        RowKey::DeskHooks | RowKey::ChannelHooks(_) | RowKey::GroupHooks => Row::Hooks(HooksRow::decode(bytes).map_err(body)?),
        RowKey::HookCursor(..) => Row::HookCursor(HookCursorRow::decode(bytes).map_err(body)?),
        RowKey::Audit(_) => Row::Audit(AuditRow::decode(bytes).map_err(body)?),
        RowKey::Name(_) => Row::Name(NameRow::decode(bytes).map_err(body)?),
        RowKey::GroupState => Row::GroupState(GroupStateRow::decode(bytes).map_err(body)?),
        RowKey::Leaving => Row::Leaving(LeavingRow::decode(bytes).map_err(body)?),
        RowKey::Staging(_) => Row::Staging(StagingRow::decode(bytes).map_err(body)?),
        RowKey::Owned(..) => Row::Owned(OwnedRow::decode(bytes).map_err(body)?),
        RowKey::Cluster => Row::Cluster(ClusterRow::decode(bytes).map_err(body)?),
        RowKey::Trust => Row::Trust(TrustRow::decode(bytes).map_err(body)?),
        RowKey::Node(_) => Row::Node(NodeRow::decode(bytes).map_err(body)?),
        RowKey::Group(_) => Row::Group(GroupRow::decode(bytes).map_err(body)?),
        RowKey::Run(..) => Row::Run(RunRow::decode(bytes).map_err(body)?),
    })
}
