//! Rows as stored bytes: the body of each kind in its envelope.
//!
//! In: typed rows. Out: sealed values, and back. Not here: key bytes (`key`), the layout of the bodies (kith-wire's log messages).

use std::{error::Error, sync::Arc};

use kith_machine::{
    mutant::Quirk,
    view::{Row, RowKey, ViewError},
};
use kith_wire::desk::{AuditRow, DeskRow, ReportIdRow, ReportRow};
use kith_wire::hook::{HookCursorRow, HooksRow};
use kith_wire::log::{ContactRow, ProfileRow, WordRow};
use kith_wire::{
    act::{MarksRow, RulesRow, ScheduledRow},
    id::ChannelId,
    log::{
        CallRow, CallsRow, ChannelRow, ClusterRow, CredentialRow, DedupEntry, DedupRow, DeviceRow, FormerRow, GroupRow, GroupStateRow, IndexRow,
        NameRow, NodeRow, OwedRow, OwnedRow, PositionsRow, PushDueRow, PushSentRow, PushesRow, Record, RosterRow, RunRow, UserRow,
    },
};
use thiserror::Error;

use crate::codec::{self, EnvelopeError};

/// A stored row cannot be read.
#[derive(Debug, Error)]
pub(crate) enum RowError {
    #[error("value is damaged")]
    Envelope(#[from] EnvelopeError),
    #[error("body is not a row of its kind")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    #[error("a mark without content has {0} bytes")]
    Mark(usize),
}

/// Appends the value of a row, in its envelope.
pub(crate) fn encode(row: &Row, out: &mut Vec<u8>) {
    match row {
        Row::Channel(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Roster(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Former(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Positions(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Record(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Dedup(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Calls(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Keyed(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::HomeCall(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Dirty | Row::Reply | Row::Timer | Row::HookDue => codec::seal_into(&[], out),
        Row::Rules(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Marks(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Scheduled(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::User(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Device(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Index(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::IndexByRev(channel) => codec::seal_into(channel.as_bytes(), out),
        Row::Credential(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Owed(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Profile(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Contact(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Word(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Name(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Desk(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Report(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::ReportId(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Audit(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Hooks(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::HookCursor(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::GroupState(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Owned(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Cluster(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Node(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Group(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Run(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::Pushes(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::PushSent(row) => codec::seal_with(out, |out| row.encode_into(out)),
        Row::PushDue(row) => codec::seal_with(out, |out| row.encode_into(out)),
    }
}

/// The row of a key, from its value.
///
/// # Errors
/// The value is damaged or of another kind.
pub(crate) fn decode(key: &RowKey, value: &[u8]) -> Result<Row, RowError> {
    decode_as(Quirk::default(), key, value)
}

/// As [`decode`], for whoever may be a mutant.
pub(crate) fn decode_as(quirk: Quirk, key: &RowKey, value: &[u8]) -> Result<Row, RowError> {
    fn body<E: Error + Send + Sync + 'static>(error: E) -> RowError {
        RowError::Body(Box::new(error))
    }
    let bytes = codec::open_as(quirk, value)?;
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
        RowKey::Dirty(_) | RowKey::Reply(..) | RowKey::Timer(..) | RowKey::HookDue(_) => return Err(RowError::Mark(bytes.len())),
        RowKey::Rules(_) => Row::Rules(RulesRow::decode(bytes).map_err(body)?),
        RowKey::Marks(..) => Row::Marks(MarksRow::decode(bytes).map_err(body)?),
        RowKey::Scheduled(..) => Row::Scheduled(ScheduledRow::decode(bytes).map_err(body)?),
        RowKey::User(_) => Row::User(UserRow::decode(bytes).map_err(body)?),
        RowKey::Device(..) => Row::Device(DeviceRow::decode(bytes).map_err(body)?),
        RowKey::Index(..) => Row::from(IndexRow::decode(bytes).map_err(body)?),
        RowKey::IndexByRev(..) => Row::IndexByRev(ChannelId::from_bytes(bytes).map_err(body)?),
        RowKey::Credential(_) => Row::Credential(CredentialRow::decode(bytes).map_err(body)?),
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
        RowKey::Owned(..) => Row::Owned(OwnedRow::decode(bytes).map_err(body)?),
        RowKey::Cluster => Row::Cluster(ClusterRow::decode(bytes).map_err(body)?),
        RowKey::Node(_) => Row::Node(NodeRow::decode(bytes).map_err(body)?),
        RowKey::Group(_) => Row::Group(GroupRow::decode(bytes).map_err(body)?),
        RowKey::Run(..) => Row::Run(RunRow::decode(bytes).map_err(body)?),
    })
}

/// A row, or that there is none, with its [`weight`]: to ask an old row would bring it back into the processor's cache just to let it go.
#[derive(Clone)]
pub(crate) struct Weighed {
    pub(crate) row: Option<Arc<Row>>,
    pub(crate) bytes: usize,
    /// The database never had its key: once deleted it need not be written.
    pub(crate) is_new: bool,
}

impl Weighed {
    pub(crate) fn new(row: Option<Arc<Row>>) -> Self {
        let bytes = weight(row.as_deref());
        Self { row, bytes, is_new: false }
    }
}

/// About how many bytes a row takes in memory, its key included. Only for bounds: off by the allocator's overhead.
fn weight(row: Option<&Row>) -> usize {
    const BASE: usize = size_of::<RowKey>() + size_of::<Row>() + 64;
    BASE + row.map_or(0, |row| match row {
        Row::Record(record) => record.content.bytes(),
        Row::Rules(rules) => {
            rules.about.len()
                + (rules.pins.len() + rules.muted.len() + rules.asked.len() + 2 * rules.erasing.len()) * 16
                + rules.banned.len() * 8
                + rules.links.len() * 48
        }
        Row::Marks(marks) => marks.reactions.iter().map(|reaction| 48 + reaction.emoji.len() + reaction.users.len() * 8).sum(),
        Row::Scheduled(scheduled) => scheduled.draft.text.len() + scheduled.draft.mentions.len() * 8,
        Row::Roster(roster) => {
            roster.title.len() + roster.members.iter().map(|member| 48 + member.stays.len() * 32).sum::<usize>() + roster.departing.len() * 16
        }
        Row::Former(former) => former.stays.len() * 32,
        Row::Positions(positions) => positions.mentions.len() * 8,
        Row::Dedup(dedup) => dedup.ring.len() * 40,
        Row::User(user) => user.name.len(),
        Row::Credential(row) => row.password.as_ref().map_or(0, kith_wire::secret::Secret::len),
        Row::Device(row) => row.title.len() + 32 * row.spent.len(),
        Row::Profile(row) => {
            let fields = row.fields.iter().map(|field| 48 + field.key.len() + field.value.len()).sum::<usize>();
            row.display.len() + row.about.len() + row.avatar.len() + fields + row.words.iter().map(|word| 24 + word.len()).sum::<usize>()
        }
        Row::Index(index) => {
            index.preferences.draft.as_ref().map_or(0, |draft| draft.text.len())
                + index.news.mentions.len() * 8
                + index.news.title.len()
                + index.news.preview.len()
        }
        Row::Cluster(row) => row.moves.iter().map(|one| 64 + one.what.len() + one.why.len()).sum(),
        Row::Node(node) => node.address.len() + node.http.len() + node.zone.len() + node.host.len(),
        Row::Pushes(row) => row.devices.iter().map(|device| 96 + device.target.bytes()).sum(),
        Row::PushSent(row) => row.sent.len() * 24,
        Row::Report(report) => report.reasons.iter().map(|reason| 48 + reason.reason.len()).sum(),
        Row::Audit(audit) => audit.entry.note.len(),
        Row::Hooks(row) => row.hooks.iter().map(|hook| 96 + hook.url.len() + hook.secret.len()).sum(),
        Row::Group(group) => (group.replicas.len() + group.preference.len()) * 8,
        Row::HomeCall(call) => call.answer.as_ref().map_or(0, |answer| answer.len()),
        Row::Channel(_)
        | Row::Calls(_)
        | Row::Keyed(_)
        | Row::Dirty
        | Row::Reply
        | Row::Timer
        | Row::Owed(_)
        | Row::Contact(_)
        | Row::Word(_)
        | Row::IndexByRev(_)
        | Row::Name(_)
        | Row::Desk(_)
        | Row::HookCursor(_)
        | Row::HookDue
        | Row::PushDue(_)
        | Row::ReportId(_)
        | Row::GroupState(_)
        | Row::Owned(_)
        | Row::Run(_) => 0,
    })
}

/// A read that failed, as the machine knows it.
pub(crate) fn view_error(what: &impl std::fmt::Debug, cause: impl Error + Send + Sync + 'static) -> ViewError {
    ViewError { key: format!("{what:?}"), cause: Arc::new(cause) }
}
