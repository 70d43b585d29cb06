//! Refs: a channel's news for one user, as latest values. What the channel's leader sends to a user's home.

use kith_wire::{
    id::{ChannelId, Seq, UserId},
    log::{ChannelRow, FormerRow, PositionsRow, Record, Ref, RosterRow, Stay},
};

use super::append::member;
use crate::view::{RowKey, StateView, ViewError, required, row};

/// All that a channel's homes are to know, from one view.
#[derive(Clone, PartialEq, Debug)]
pub struct ChannelNews {
    /// The refs are complete up to here.
    pub head: Seq,
    /// Up to here every home has committed.
    pub fanned: Seq,
    /// One ref per present member and per removed one whose home may not know; sorted by user.
    pub refs: Vec<(UserId, Ref)>,
}

/// The refs of all fan-out targets of a channel; `None` when there is no such channel.
///
/// # Errors
/// A row cannot be read.
pub fn news(view: &dyn StateView, channel: ChannelId) -> Result<Option<ChannelNews>, ViewError> {
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(channel))? else { return Ok(None) };
    let roster = required::<RosterRow>(view, &RowKey::Roster(channel))?;
    let head = required::<Record>(view, &RowKey::Record(channel, state.head.seq))?;
    let mut users: Vec<UserId> = roster.members.iter().map(|member| member.user).chain(roster.departing.iter().map(|gone| gone.user)).collect();
    users.sort();
    users.dedup();
    let mut refs = Vec::with_capacity(users.len());
    for user in users {
        if let Some(of_user) = ref_of(view, channel, &state, &roster, &head, user)? {
            refs.push((user, of_user));
        }
    }
    Ok(Some(ChannelNews { head: state.head.seq, fanned: state.fanned, refs }))
}

/// The ref of a channel for a present or former member; `None` for everyone else.
///
/// # Errors
/// A row cannot be read.
pub fn ref_for(view: &dyn StateView, channel: ChannelId, user: UserId) -> Result<Option<Ref>, ViewError> {
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(channel))? else { return Ok(None) };
    let roster = required::<RosterRow>(view, &RowKey::Roster(channel))?;
    let head = required::<Record>(view, &RowKey::Record(channel, state.head.seq))?;
    ref_of(view, channel, &state, &roster, &head, user)
}

fn ref_of(
    view: &dyn StateView,
    channel: ChannelId,
    state: &ChannelRow,
    roster: &RosterRow,
    last: &Record,
    user: UserId,
) -> Result<Option<Ref>, ViewError> {
    let (member_seq, stay): (Seq, Option<Stay>) = match member(roster, user) {
        Some(member) => (member.member_seq, member.stays.last().copied()),
        None => match row::<FormerRow>(view, &RowKey::Former(channel, user))? {
            Some(former) => (former.member_seq, former.stays.last().copied()),
            None => return Ok(None),
        },
    };
    let Some(stay) = stay else { return Ok(None) };
    let earlier;
    let head: &Record = match stay.left {
        Some(left) if left != last.at.seq => {
            earlier = required::<Record>(view, &RowKey::Record(channel, left))?;
            &earlier
        }
        _ => last,
    };
    let positions = row::<PositionsRow>(view, &RowKey::Positions(channel, user))?.map_or_else(PositionsRow::default, |row| row.clone());
    Ok(Some(Ref {
        channel,
        incarnation: state.incarnation,
        head: head.at,
        head_ts: head.ts,
        member_seq,
        join: stay.join,
        left: stay.left,
        own: positions.own,
        mentions: positions.mentions,
        title: roster.title.clone(),
        preview: head.preview(),
        head_sender: head.sender,
    }))
}
