//! Refs: a channel's news for one user, as latest values. What the channel's leader sends to a user's home.

use kith_wire::{
    act::RulesRow,
    id::{ChannelId, Seq, UserId},
    log::{ChannelRow, FormerRow, PositionsRow, Record, Ref, RosterRow, Stay},
};

use super::append::member;
use crate::view::{Held, RowKey, Scan, StateView, ViewError, required, row};

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
    let tip = Tip::read(view, channel, &state, state.head.seq)?;
    let mut users: Vec<UserId> = roster.members.iter().map(|member| member.user).chain(roster.departing.iter().map(|gone| gone.user)).collect();
    users.sort();
    users.dedup();
    let mut refs = Vec::with_capacity(users.len());
    for user in users {
        if let Some(of_user) = ref_of(view, channel, &state, &roster, &tip, user)? {
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
    let tip = Tip::read(view, channel, &state, state.head.seq)?;
    ref_of(view, channel, &state, &roster, &tip, user)
}

fn ref_of(
    view: &dyn StateView,
    channel: ChannelId,
    state: &ChannelRow,
    roster: &RosterRow,
    last: &Tip,
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
    let tip = match stay.left {
        Some(left) if left != last.head.at.seq => {
            earlier = Tip::read(view, channel, state, left)?;
            &earlier
        }
        _ => last,
    };
    let (head, face) = (&tip.head, tip.face(stay.join.seq));
    // Whoever has left hears of no later edit or deletion, so nothing is told that could be changed; nor is a text that ends.
    let is_told = stay.left.is_none() && !tip.forgets(face) && face.content.extra().is_none_or(|extra| extra.ttl_ms.is_none());
    let positions = row::<PositionsRow>(view, &RowKey::Positions(channel, user))?.map_or_else(PositionsRow::default, |row| row.clone());
    Ok(Some(Ref {
        channel,
        incarnation: state.incarnation,
        head: head.at,
        head_ts: face.ts,
        member_seq,
        join: stay.join,
        left: stay.left,
        own: positions.own,
        mentions: positions.mentions,
        title: roster.title.clone(),
        preview: if is_told { face.preview() } else { String::new() },
        head_sender: face.sender,
    }))
}

/// The last record of a channel that somebody may see, and the last text near it.
struct Tip {
    head: Held<Record>,
    /// When the head is none.
    text: Option<Held<Record>>,
    rules: Option<Held<RulesRow>>,
}

impl Tip {
    fn read(view: &dyn StateView, channel: ChannelId, state: &ChannelRow, head: Seq) -> Result<Self, ViewError> {
        const NEAR: u64 = 32;
        let last = required::<Record>(view, &RowKey::Record(channel, head))?;
        let mut text = None;
        if !last.content.is_text() {
            let from = Seq::new(head.get().saturating_sub(NEAR));
            for (key, held) in view.scan(&Scan::Records(channel, from..=head), true, NEAR as usize + 1)? {
                let record = Held::<Record>::new(&key, held)?;
                if record.content.is_text() {
                    text = Some(record);
                    break;
                }
            }
        }
        let rules = if state.ruled { row::<RulesRow>(view, &RowKey::Rules(channel))? } else { None };
        Ok(Self { head: last, text, rules })
    }
    /// The channel keeps texts for a while only, and no list may keep them longer; or it is about to forget this one.
    fn forgets(&self, face: &Record) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.rules.retention_ms > 0 || rules.is_erasing(face))
    }
    /// The record that stands for the channel in a list, to somebody who joined at `join`.
    fn face(&self, join: Seq) -> &Record {
        self.text.as_deref().filter(|text| text.at.seq >= join).unwrap_or(&self.head)
    }
}
