//! For those who search: records that an index has proposed, as somebody may read them now, and which of a channel's records an entry may
//! have changed.

use kith_wire::{
    act::{Act, Timer},
    client::HistoryPage,
    id::{ChannelId, NodeId, Seq, UserId},
    log::{Command, Content, Record},
};

use super::read::{as_seen, visibility};
use crate::view::{RowKey, StateView, ViewError, row};

/// Those of these records (rising) that the user may read, each as they may read it; none when they are not a member, now or before.
/// Membership, ranges and records are read from one view, as for history.
///
/// # Errors
/// A row cannot be read.
pub fn pick(view: &dyn StateView, channel: ChannelId, user: UserId, seqs: &[Seq]) -> Result<Vec<Record>, ViewError> {
    let Some(visible) = visibility(view, channel, user)? else { return Ok(Vec::new()) };
    let mut records = Vec::with_capacity(seqs.len());
    // What is proposed may be newer than this view.
    for seq in seqs.iter().filter(|seq| visible.shows(**seq) && **seq <= visible.state.head.seq) {
        if let Some(record) = row::<Record>(view, &RowKey::Record(channel, *seq))? {
            records.push(record.clone());
        }
    }
    let (head, incarnation) = (visible.state.head, visible.state.incarnation);
    let mut page = HistoryPage { node: NodeId::new(0), head, incarnation, records, withheld: Vec::new(), covered: None, marks: Vec::new() };
    as_seen(view, channel, user, &visible, &mut page)?;
    Ok(page.records)
}

/// What a logged command may have changed of a channel's texts: what has to be looked at by whoever did not hear of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Touched {
    /// New records, and those that these name ([`aim`]).
    Tail,
    /// This record.
    Record(Seq),
    /// Any record.
    Whole,
}

/// The channel whose texts a command may have changed.
pub fn touched(command: &Command) -> Option<(ChannelId, Touched)> {
    match command {
        Command::Append { channel, .. }
        | Command::CreateGroup { channel, .. }
        | Command::ChangeMembers { channel, .. }
        | Command::Act { channel, .. }
        | Command::Join { channel, .. }
        | Command::Gone { channel, .. }
        | Command::Fire { channel, timer: Timer::Send { .. }, .. } => Some((*channel, Touched::Tail)),
        Command::Fire { channel, timer: Timer::Expire(seq), .. } => Some((*channel, Touched::Record(*seq))),
        Command::Fire { channel, timer: Timer::Sweep | Timer::Erase(_), .. } => Some((*channel, Touched::Whole)),
        Command::Refuse { .. } | Command::Void { .. } | Command::Fanned { .. } | Command::Receipt { .. } => None,
        Command::CreateUser { .. }
        | Command::ForbidUser { .. }
        | Command::RegisterDevice { .. }
        | Command::MergeRefs { .. }
        | Command::User { .. }
        | Command::MarkRead { .. }
        | Command::ReserveName { .. }
        | Command::ConfirmName { .. }
        | Command::ReleaseName { .. }
        | Command::HoldName { .. }
        | Command::IndexWord { .. }
        | Command::Desk(_)
        | Command::ChannelHook { .. }
        | Command::SetHooks { .. }
        | Command::Hooked { .. }
        | Command::BeginCall { .. }
        | Command::EndCall { .. }
        | Command::Move(_)
        | Command::OwnBuckets { .. }
        | Command::RaiseVersion { .. }
        | Command::InitCluster { .. }
        | Command::PutNode { .. }
        | Command::PutGroup { .. }
        | Command::PutRun { .. }
        | Command::ChangeMap { .. }
        | Command::RaiseCluster { .. }
        | Command::Trust(_) => None,
    }
}

/// The older record whose text this one changed.
pub fn aim(record: &Record) -> Option<Seq> {
    match record.content {
        Content::Act(Act::Edit { target, .. } | Act::Delete { target }) => Some(target),
        _ => None,
    }
}
