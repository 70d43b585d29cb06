//! What must hold of what stands beside a channel's log: edits, marks, rules, timers.

use kith_wire::{
    act::{Act, MarksRow, RulesRow, ScheduledRow, Timer},
    id::{ChannelId, Seq, Timestamp, UserId},
    limit,
    log::{ChannelRow, Content, Record},
};

use super::{Checked, Finder, each_record};
use crate::view::{RowKey, StateView, ViewError, row};

/// The record of an edit holds a text only while that is what the edited record says: what was replaced or deleted is nowhere.
pub fn edits_are_what_is_said(view: &dyn StateView, id: ChannelId) -> Checked {
    let mut find = Finder::new("edits_are_what_is_said", id);
    let mut edits: Vec<(Seq, Seq, String)> = Vec::new();
    each_record(view, id, Seq::ZERO..=Seq::new(u64::MAX), |_, record| {
        if let Content::Act(Act::Edit { target, text, .. }) = &record.content
            && !text.is_empty()
        {
            edits.push((record.at.seq, *target, text.clone()));
        }
    })?;
    for (seq, target, said) in edits {
        let record = row::<Record>(view, &RowKey::Record(id, target))?;
        let says = record.as_ref().and_then(|record| record.content.text());
        let last = row::<MarksRow>(view, &RowKey::Marks(id, target))?.map(|marks| marks.edited);
        find.expect(says == Some(&said) && last == Some(seq), || format!("the edit at {seq} of {target} is not its last one ({last:?})"));
    }
    find.done()
}

/// Lists beside the log are bounded and sorted; there is a row exactly when the channel says so.
pub fn rules_are_bounded(view: &dyn StateView, id: ChannelId) -> Checked {
    let mut find = Finder::new("rules_are_bounded", id);
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(id))? else { return find.done() };
    let rules = row::<RulesRow>(view, &RowKey::Rules(id))?;
    find.expect(state.ruled == rules.is_some(), || format!("ruled {}, a row {}", state.ruled, rules.is_some()));
    find.expect(state.kept <= state.head.seq, || format!("kept from {} above the head", state.kept));
    let Some(rules) = rules else { return find.done() };
    let counts = (rules.pins.len(), rules.links.len(), rules.asked.len(), rules.muted.len());
    let fits =
        counts.0 <= limit::PINS_MAX && counts.1 <= limit::INVITES_MAX && counts.2 <= limit::JOIN_REQUESTS_MAX && counts.3 <= limit::MEMBERS_MAX;
    find.expect(rules.banned.len() <= limit::GROUP_BANS_MAX && rules.banned.is_sorted_by(|a, b| a < b), || "banned are not sorted".to_owned());
    find.expect(fits, || format!("{counts:?} pins, links, requests, muted"));
    let is_sorted = rules.pins.is_sorted_by(|a, b| a.seq < b.seq) && rules.muted.is_sorted_by(|a, b| a.user < b.user);
    find.expect(is_sorted, || "pins or muted are not sorted".to_owned());
    for pin in &rules.pins {
        let says = row::<Record>(view, &RowKey::Record(id, pin.seq))?.is_some_and(|record| record.content.text().is_some());
        find.expect(says, || format!("the pin at {} is on no text", pin.seq));
    }
    let timer = view.get(&RowKey::Timer(rules.sweep, id, Timer::Sweep))?;
    find.expect(timer.is_some() == (rules.sweep > Timestamp::new(0)), || format!("sweep at {}", rules.sweep));
    find.expect(rules.erasing.is_sorted_by(|a, b| a.user < b.user), || "erased users are not sorted".to_owned());
    for one in &rules.erasing {
        let is_timed = view.get(&RowKey::Timer(one.due, id, Timer::Erase(one.user)))?.is_some();
        find.expect(is_timed && one.next <= one.upto && one.upto <= state.head.seq, || format!("erasing {one:?}, a timer {is_timed}"));
    }
    find.done()
}

/// Reactions are sorted, bounded, each by somebody; only a text has any.
pub fn marks_are_bounded(view: &dyn StateView, id: ChannelId, seq: Seq) -> Checked {
    let mut find = Finder::new("marks_are_bounded", format!("{id} {seq}"));
    let Some(marks) = row::<MarksRow>(view, &RowKey::Marks(id, seq))? else { return find.done() };
    let reactions = &marks.reactions;
    let is_sorted = reactions.is_sorted_by(|a, b| a.emoji < b.emoji) && reactions.iter().all(|one| one.users.is_sorted_by(|a, b| a < b));
    let fits =
        reactions.len() <= limit::REACTIONS_MAX && reactions.iter().all(|one| !one.users.is_empty() && one.users.len() <= limit::REACTION_USERS_MAX);
    find.expect(is_sorted && fits, || format!("{} reactions", reactions.len()));
    let content = row::<Record>(view, &RowKey::Record(id, seq))?.map(|record| record.content.clone());
    let is_text = matches!(content, Some(Content::Text { .. }));
    find.expect(is_text || reactions.is_empty(), || "reactions on what is no text".to_owned());
    find.done()
}

/// A scheduled text that was not refused has its timer.
pub fn scheduled_has_a_timer(view: &dyn StateView, id: ChannelId, user: UserId, key: u64) -> Checked {
    let mut find = Finder::new("scheduled_has_a_timer", format!("{id} {user} {key:016x}"));
    let Some(scheduled) = row::<ScheduledRow>(view, &RowKey::Scheduled(id, user, key))? else { return find.done() };
    let timer = view.get(&RowKey::Timer(scheduled.due, id, Timer::Send { user, id: key }))?;
    find.expect(timer.is_some() == scheduled.refused.is_none(), || format!("a timer {}, refused {:?}", timer.is_some(), scheduled.refused));
    find.done()
}

/// A timer is of something that is there.
pub fn timer_is_of_something(view: &dyn StateView, due: Timestamp, id: ChannelId, timer: Timer) -> Result<Vec<super::Violation>, ViewError> {
    let mut find = Finder::new("timer_is_of_something", format!("{id} {timer:?}"));
    let is_there = match timer {
        Timer::Send { user, id: key } => row::<ScheduledRow>(view, &RowKey::Scheduled(id, user, key))?.is_some_and(|row| row.due == due),
        Timer::Expire(seq) => view.get(&RowKey::Record(id, seq))?.is_some(),
        Timer::Sweep => row::<RulesRow>(view, &RowKey::Rules(id))?.is_some_and(|rules| rules.sweep == due),
        Timer::Erase(user) => {
            row::<RulesRow>(view, &RowKey::Rules(id))?.is_some_and(|rules| rules.erasing.iter().any(|one| (one.user, one.due) == (user, due)))
        }
    };
    find.expect(is_there, || format!("nothing to do at {due}"));
    find.done()
}
