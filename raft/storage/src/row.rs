//! Rows as stored bytes: the body of each kind in its envelope.
//!
//! In: typed rows. Out: sealed values, and back. Not here: key bytes and bodies (kith-machine's `key`, `body`).

use std::{error::Error, sync::Arc};

use kith_machine::{
    body::{self, BodyError},
    mutant::Quirk,
    view::{Row, RowKey, ViewError},
};
use thiserror::Error;

use crate::codec::{self, EnvelopeError};

/// A stored row cannot be read.
#[derive(Debug, Error)]
pub(crate) enum RowError {
    #[error("value is damaged")]
    Envelope(#[from] EnvelopeError),
    #[error("cannot read the body")]
    Body(#[from] BodyError),
}

/// Appends the value of a row, in its envelope.
pub(crate) fn encode(row: &Row, out: &mut Vec<u8>) {
    codec::seal_with(out, |out| body::encode(row, out));
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
    Ok(body::decode(key, codec::open_as(quirk, value)?)?)
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
        Row::Trust(row) => row.joins.iter().map(|join| 160 + join.zone.len() + join.host.len()).sum(),
        Row::Node(node) => node.address.len() + node.http.len() + node.zone.len() + node.host.len(),
        Row::Pushes(row) => row.devices.iter().map(|device| 96 + device.target.bytes()).sum(),
        Row::PushSent(row) => row.sent.len() * 24,
        Row::Report(report) => report.reasons.iter().map(|reason| 48 + reason.reason.len()).sum(),
        Row::Audit(audit) => audit.entry.note.len(),
        Row::Hooks(row) => row.hooks.iter().map(|hook| 96 + hook.url.len() + hook.secret.len()).sum(),
        Row::Group(group) => (group.replicas.len() + group.preference.len()) * 8,
        Row::Staging(row) => row.after.len(),
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
        | Row::Leaving(_)
        | Row::Changed
        | Row::Run(_) => 0,
    })
}

/// A read that failed, as the machine knows it.
pub(crate) fn view_error(what: &impl std::fmt::Debug, cause: impl Error + Send + Sync + 'static) -> ViewError {
    ViewError { key: format!("{what:?}"), cause: Arc::new(cause) }
}
