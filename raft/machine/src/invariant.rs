//! What must hold of a group's rows at any log position: one function per invariant, over any view.
//!
//! Used by tests, simulations and the offline checker, which list the channels and users themselves and call [`channel`], [`user`] and
//! [`group`]. In: a view and what to look at. Out: every violation found, or the row that could not be read. Reads in pages, so that a long
//! channel needs no memory of its length. A channel or user that is not there holds everything.

use std::{fmt, ops::RangeInclusive};

use kith_wire::{
    id::{ChannelId, ChannelKind, ClientSeq, DeviceId, Seq, Timestamp, UserId, UserRev},
    limit,
    log::{
        CallsRow, ChannelRow, ContactRow, DedupEntry, DedupRow, FormerRow, IndexRow, Member, Outcome, OwnedRow, Position, PositionsRow, Record, Role,
        RosterRow, RunRow, Stay, UserRow,
    },
};

pub mod beside;
pub mod moves;

use crate::view::{Held, Row, RowKey, Scan, StateView, ViewError, row};

/// An invariant does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The function's name.
    pub invariant: &'static str,
    /// Of what.
    pub of: String,
    /// What was found; values, no texts of users.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: {}", self.invariant, self.of, self.found)
    }
}

/// What a check gives: violations, none when all is well.
pub type Checked = Result<Vec<Violation>, ViewError>;

/// All invariants of a channel.
///
/// # Errors
/// A row cannot be read.
pub fn channel(view: &dyn StateView, id: ChannelId) -> Checked {
    let checks = [
        log_is_dense,
        counts_follow_texts,
        time_never_goes_back,
        dirty_exactly_while_news_are_out,
        roster_is_well_formed,
        group_has_an_owner,
        stays_are_rising,
        positions_are_of_visible_records,
        departing_are_former_members,
        beside::edits_are_what_is_said,
        beside::rules_are_bounded,
    ];
    all(checks.iter().map(|check| check(view, id)))
}

/// All invariants of a user.
///
/// # Errors
/// A row cannot be read.
pub fn user(view: &dyn StateView, id: UserId) -> Checked {
    let checks = [index_order_is_bijective, revs_are_below_the_users, mentions_are_bounded, devices_are_bounded, counts_of_a_user_are_counted];
    all(checks.iter().map(|check| check(view, id)))
}

/// All invariants of the group's own rows and, in the meta group, of the map.
///
/// # Errors
/// A row cannot be read.
pub fn group(view: &dyn StateView) -> Checked {
    let checks = [
        owned_runs_do_not_overlap,
        moves::what_moves_is_owned_in_one_place,
        moves::marks_are_of_a_move,
        map_runs_do_not_overlap,
        map_names_known_nodes,
    ];
    all(checks.iter().map(|check| check(view)))
}

/// Every invariant of the rows given; for stores that can list their rows. `view` must be over the same rows.
///
/// # Errors
/// A row cannot be read.
pub fn everything<'k>(view: &dyn StateView, keys: impl IntoIterator<Item = &'k RowKey>) -> Checked {
    let mut found = group(view)?;
    let partial = moves::partial(view)?;
    for key in keys.into_iter().filter(|key| !partial.iter().any(|run| key.bucket().is_some_and(|bucket| run.holds(bucket)))) {
        match key {
            RowKey::Channel(id) => found.extend(channel(view, *id)?),
            RowKey::User(id) => found.extend(user(view, *id)?),
            RowKey::Dedup(id, device) => found.extend(ring_is_dense(view, *id, *device)?),
            RowKey::Calls(id, user) => found.extend(calls_are_counted(view, *id, *user)?),
            RowKey::Index(user, id) => found.extend(index_row_is_found_by_rev(view, *user, *id)?),
            RowKey::Former(id, user) => found.extend(former_is_closed(view, *id, *user)?),
            RowKey::Marks(id, seq) => found.extend(beside::marks_are_bounded(view, *id, *seq)?),
            RowKey::Scheduled(id, user, key) => found.extend(beside::scheduled_has_a_timer(view, *id, *user, *key)?),
            RowKey::Timer(due, id, timer) => found.extend(beside::timer_is_of_something(view, *due, *id, *timer)?),
            _ => {}
        }
    }
    Ok(found)
}

fn all(checks: impl Iterator<Item = Checked>) -> Checked {
    let mut found = Vec::new();
    for check in checks {
        found.extend(check?);
    }
    Ok(found)
}

/// Collects what one invariant finds of one thing.
struct Finder {
    invariant: &'static str,
    of: String,
    found: Vec<Violation>,
}

impl Finder {
    fn new(invariant: &'static str, of: impl fmt::Display) -> Self {
        Self { invariant, of: of.to_string(), found: Vec::new() }
    }
    fn expect(&mut self, holds: bool, found: impl FnOnce() -> String) {
        if !holds {
            self.found.push(Violation { invariant: self.invariant, of: self.of.clone(), found: found() });
        }
    }
    fn done(self) -> Checked {
        Ok(self.found)
    }
}

// ---------------------------------------------------------------- channel

/// Records stand at 1, 2, 3, … up to the head, and nowhere else (`protocol.md` 1.2).
pub fn log_is_dense(view: &dyn StateView, id: ChannelId) -> Checked {
    let mut find = Finder::new("log_is_dense", id);
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(id))? else { return find.done() };
    let mut last = Seq::ZERO;
    each_record(view, id, Seq::ZERO..=Seq::new(u64::MAX), |key, record| {
        find.expect(*key == RowKey::Record(id, record.at.seq), || format!("{key:?} holds the record of seq {}", record.at.seq));
        find.expect(record.at.seq == last.next(), || format!("seq {} follows {last}", record.at.seq));
        last = record.at.seq;
    })?;
    find.expect(last == state.head.seq, || format!("the head is {}, the last record {last}", state.head.seq));
    find.expect(last > Seq::ZERO, || "no record at all".to_owned());
    find.done()
}

/// `cnt` is the number of texts up to each record, and that of the head is the last one's.
pub fn counts_follow_texts(view: &dyn StateView, id: ChannelId) -> Checked {
    let mut find = Finder::new("counts_follow_texts", id);
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(id))? else { return find.done() };
    let mut texts = 0;
    each_record(view, id, Seq::ZERO..=Seq::new(u64::MAX), |_, record| {
        texts += u64::from(record.content.is_text());
        find.expect(record.at.cnt == texts, || format!("cnt {} at seq {}, but {texts} texts", record.at.cnt, record.at.seq));
    })?;
    find.expect(state.head.cnt == texts, || format!("cnt {} at the head, but {texts} texts", state.head.cnt));
    find.done()
}

/// Server time never goes back within a channel.
pub fn time_never_goes_back(view: &dyn StateView, id: ChannelId) -> Checked {
    let mut find = Finder::new("time_never_goes_back", id);
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(id))? else { return find.done() };
    let mut last = Timestamp::new(0);
    each_record(view, id, Seq::ZERO..=Seq::new(u64::MAX), |_, record| {
        find.expect(record.ts >= last, || format!("{} at seq {} follows {last}", record.ts, record.at.seq));
        last = record.ts;
    })?;
    find.expect(state.last_ts == last, || format!("the head's time is {}, the last record's {last}", state.last_ts));
    find.done()
}

/// The `Dirty` row stands exactly while the head is above `fanned` (`protocol.md` 4.4).
pub fn dirty_exactly_while_news_are_out(view: &dyn StateView, id: ChannelId) -> Checked {
    let mut find = Finder::new("dirty_exactly_while_news_are_out", id);
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(id))? else { return find.done() };
    let is_dirty = view.get(&RowKey::Dirty(id))?.is_some();
    find.expect(state.fanned <= state.head.seq, || format!("fanned {} above the head {}", state.fanned, state.head.seq));
    find.expect(is_dirty == (state.fanned < state.head.seq), || format!("dirty {is_dirty}, fanned {}, head {}", state.fanned, state.head.seq));
    find.done()
}

/// Members and departing are sorted, bounded and apart; a direct channel has none but its two users.
pub fn roster_is_well_formed(view: &dyn StateView, id: ChannelId) -> Checked {
    let mut find = Finder::new("roster_is_well_formed", id);
    let Some((_, roster)) = state_and_roster(view, id)? else { return find.done() };
    let (members, departing) = (&roster.members, &roster.departing);
    find.expect(members.is_sorted_by(|a, b| a.user < b.user), || "members are not sorted".to_owned());
    find.expect(departing.is_sorted_by(|a, b| a.user < b.user), || "departing are not sorted".to_owned());
    find.expect(members.len() <= limit::MEMBERS_MAX, || format!("{} members", members.len()));
    find.expect(departing.len() <= limit::DEPARTING_MAX, || format!("{} departing", departing.len()));
    let is_both = departing.iter().any(|departing| members.iter().any(|member| member.user == departing.user));
    find.expect(!is_both, || "a departing member is a member".to_owned());
    if let ChannelKind::Direct(low, high) = id.kind() {
        let stranger = members.iter().map(|member| member.user).find(|user| *user != low && *user != high);
        find.expect(stranger.is_none(), || format!("stranger {stranger:?} in a direct channel"));
    }
    find.done()
}

/// A group that is not dissolved has an owner; a dissolved one has no members.
pub fn group_has_an_owner(view: &dyn StateView, id: ChannelId) -> Checked {
    let mut find = Finder::new("group_has_an_owner", id);
    let Some((state, roster)) = state_and_roster(view, id)? else { return find.done() };
    if matches!(id.kind(), ChannelKind::Group(_)) {
        let has_owner = roster.members.iter().any(|member| member.role == Role::Owner);
        find.expect(state.dissolved != has_owner, || format!("dissolved {}, owner {has_owner}", state.dissolved));
    }
    find.expect(!state.dissolved || roster.members.is_empty(), || format!("dissolved with {} members", roster.members.len()));
    find.done()
}

/// A member's stays are rising and apart, all but the last closed; the last is open and lies within the channel.
pub fn stays_are_rising(view: &dyn StateView, id: ChannelId) -> Checked {
    let mut find = Finder::new("stays_are_rising", id);
    let Some((state, roster)) = state_and_roster(view, id)? else { return find.done() };
    for Member { user, member_seq, stays, .. } in &roster.members {
        find.expect(are_rising(stays, state.head.seq), || format!("{user} has stays {stays:?}"));
        find.expect(stays.last().is_some_and(|stay| stay.left.is_none()), || format!("{user} is a member without an open stay"));
        find.expect(*member_seq <= state.head.seq, || format!("{user} has member_seq {member_seq} above the head"));
    }
    find.done()
}

/// Positions are those of records: never above the head, each count its record's own; mentions are rising and at most 100.
pub fn positions_are_of_visible_records(view: &dyn StateView, id: ChannelId) -> Checked {
    let mut find = Finder::new("positions_are_of_visible_records", id);
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(id))? else { return find.done() };
    for (key, held) in view.scan(&Scan::Positions(id), false, usize::MAX)? {
        let positions = Held::<PositionsRow>::new(&key, held)?;
        for (name, position) in [("own", positions.own), ("read", positions.read), ("delivered", positions.delivered)] {
            let actual = match position.seq {
                Seq::ZERO => Some(Position::default()),
                seq => row::<Record>(view, &RowKey::Record(id, seq))?.map(|record| record.at),
            };
            find.expect(actual == Some(position), || format!("{key:?} has {name} {position:?}, the record says {actual:?}"));
        }
        find.expect(positions.read.seq >= positions.own.seq, || format!("{key:?} has not read its own record"));
        find.expect(positions.delivered.seq >= positions.read.seq, || format!("{key:?} has read what was not delivered"));
        let mentions = &positions.mentions;
        let fits = mentions.is_sorted_by(|a, b| a < b) && mentions.len() <= limit::MENTIONS_KEPT;
        find.expect(fits && mentions.last().is_none_or(|last| *last <= state.head.seq), || format!("{key:?} has mentions {mentions:?}"));
    }
    find.done()
}

/// Who is departing has a row with the old ranges, of the removal that is in transit, and it is not fanned out yet.
pub fn departing_are_former_members(view: &dyn StateView, id: ChannelId) -> Checked {
    let mut find = Finder::new("departing_are_former_members", id);
    let Some((state, roster)) = state_and_roster(view, id)? else { return find.done() };
    for departing in &roster.departing {
        let former = row::<FormerRow>(view, &RowKey::Former(id, departing.user))?;
        let fits = former.is_some_and(|former| former.member_seq == departing.member_seq);
        find.expect(fits, || format!("{} departs at {} without a row", departing.user, departing.member_seq));
        find.expect(departing.member_seq > state.fanned, || {
            format!("{} departs at {}, fanned {}", departing.user, departing.member_seq, state.fanned)
        });
    }
    for member in &roster.members {
        let former = view.get(&RowKey::Former(id, member.user))?;
        find.expect(former.is_none(), || format!("{} is a member and a former one", member.user));
    }
    find.done()
}

/// A former member's stays are rising, apart and closed.
pub fn former_is_closed(view: &dyn StateView, id: ChannelId, user: UserId) -> Checked {
    let mut find = Finder::new("former_is_closed", format!("{id} {user}"));
    let Some(former) = row::<FormerRow>(view, &RowKey::Former(id, user))? else { return find.done() };
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(id))? else {
        find.expect(false, || "a former member of no channel".to_owned());
        return find.done();
    };
    let stays = &former.stays;
    find.expect(are_rising(stays, state.head.seq), || format!("stays {stays:?}"));
    find.expect(stays.last().is_some_and(|stay| stay.left == Some(former.member_seq)), || format!("left at {}, stays {stays:?}", former.member_seq));
    find.done()
}

/// A device's ring holds at most 32 numbers, dense, ending at `last`; each record in it is that device's, of that number.
pub fn ring_is_dense(view: &dyn StateView, id: ChannelId, device: DeviceId) -> Checked {
    let mut find = Finder::new("ring_is_dense", format!("{id} {device}"));
    let Some(dedup) = row::<DedupRow>(view, &RowKey::Dedup(id, device))? else { return find.done() };
    let ring = &dedup.ring;
    find.expect(ring.len() <= limit::DEDUP_RING, || format!("{} numbers", ring.len()));
    find.expect(ring.last().is_some_and(|entry| entry.client_seq == dedup.last), || format!("the ring does not end at {}", dedup.last));
    let is_dense = ring.windows(2).all(|pair| matches!(pair, [a, b] if a.client_seq.next() == b.client_seq));
    find.expect(is_dense, || format!("numbers {:?}", ring.iter().map(|entry| entry.client_seq.get()).collect::<Vec<_>>()));
    for entry in ring {
        let Outcome::Record { seq, ts } = entry.outcome else { continue };
        let record = row::<Record>(view, &RowKey::Record(id, seq))?;
        let fits =
            record.is_some_and(|record| (record.sender, record.device, record.client_seq, record.ts) == (dedup.user, device, entry.client_seq, ts));
        find.expect(fits, || format!("number {} is not of the record at {seq}", entry.client_seq));
    }
    find.done()
}

/// The count of a caller's calls is that of its rows; none is below the floor, and each record that one made is the caller's.
pub fn calls_are_counted(view: &dyn StateView, id: ChannelId, user: UserId) -> Checked {
    let mut find = Finder::new("calls_are_counted", format!("{id} {user}"));
    let Some(calls) = row::<CallsRow>(view, &RowKey::Calls(id, user))? else { return find.done() };
    let mut live = 0;
    for (key, row) in view.scan(&Scan::Keyed(id, user), false, usize::MAX)? {
        let entry = Held::<DedupEntry>::new(&key, row)?;
        let RowKey::Keyed(_, _, call) = key else { continue };
        live += u32::from(!call.is_of_node());
        find.expect(call.is_of_node() || call.time() >= calls.floor, || format!("{call} is below the floor"));
        if let Outcome::Record { seq, ts } = entry.outcome {
            let record = crate::view::row::<Record>(view, &RowKey::Record(id, seq))?;
            let fits = record.is_some_and(|record| (record.sender, record.client_seq, record.ts) == (user, ClientSeq::new(0), ts));
            find.expect(fits, || format!("{call} is not of the record at {seq}"));
        }
    }
    find.expect(live == calls.live, || format!("{live} rows, {} counted", calls.live));
    find.done()
}

fn are_rising(stays: &[Stay], head: Seq) -> bool {
    let is_within = |stay: &Stay| stay.join.seq > Seq::ZERO && stay.join.seq <= stay.left.unwrap_or(head) && stay.left.unwrap_or(head) <= head;
    stays.iter().all(is_within) && stays.windows(2).all(|pair| matches!(pair, [a, b] if a.left.is_some_and(|left| left < b.join.seq)))
}

fn state_and_roster(view: &dyn StateView, id: ChannelId) -> Result<Option<(ChannelRow, RosterRow)>, ViewError> {
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(id))? else { return Ok(None) };
    let roster = crate::view::required::<RosterRow>(view, &RowKey::Roster(id))?;
    Ok(Some((state.clone(), roster.clone())))
}

fn each_record(view: &dyn StateView, id: ChannelId, range: RangeInclusive<Seq>, mut look: impl FnMut(&RowKey, &Record)) -> Result<(), ViewError> {
    const ROWS_PER_READ: usize = 64;
    let (mut first, last) = range.into_inner();
    loop {
        let rows = view.scan(&Scan::Records(id, first..=last), false, ROWS_PER_READ)?;
        let Some((RowKey::Record(_, end), _)) = rows.last() else { return Ok(()) };
        first = end.next();
        for (key, held) in rows {
            look(&key, &*Held::<Record>::new(&key, held)?);
        }
    }
}

// ---------------------------------------------------------------- user

/// Each index row is found under its rev, each rev names the row that has it.
pub fn index_order_is_bijective(view: &dyn StateView, id: UserId) -> Checked {
    let mut find = Finder::new("index_order_is_bijective", id);
    let mut channels = Vec::new();
    each_by_rev(view, id, |rev, channel| {
        channels.push((rev, channel));
        Ok(())
    })?;
    for (rev, channel) in &channels {
        let named = row::<IndexRow>(view, &RowKey::Index(id, *channel))?.map(|row| (row.rev, row.news.channel));
        find.expect(named == Some((*rev, *channel)), || format!("rev {rev} names {channel}, whose row says {named:?}"));
    }
    channels.sort_by_key(|(_, channel)| *channel);
    find.expect(channels.windows(2).all(|pair| matches!(pair, [a, b] if a.1 < b.1)), || "a channel has two revs".to_owned());
    find.done()
}

/// An index row is named by the rev that it says.
pub fn index_row_is_found_by_rev(view: &dyn StateView, id: UserId, channel: ChannelId) -> Checked {
    let mut find = Finder::new("index_row_is_found_by_rev", format!("{id} {channel}"));
    let Some(index) = row::<IndexRow>(view, &RowKey::Index(id, channel))? else { return find.done() };
    let named = row::<ChannelId>(view, &RowKey::IndexByRev(id, index.rev))?.map(|channel| *channel);
    find.expect(named == Some(channel), || format!("its rev {} names {named:?}", index.rev));
    find.done()
}

/// No row is newer than the user's index.
pub fn revs_are_below_the_users(view: &dyn StateView, id: UserId) -> Checked {
    let mut find = Finder::new("revs_are_below_the_users", id);
    let Some(account) = row::<UserRow>(view, &RowKey::User(id))? else { return find.done() };
    let newest = view.scan(&Scan::IndexByRev(id, UserRev::ZERO..=UserRev::new(u64::MAX)), true, 1)?;
    if let Some((RowKey::IndexByRev(_, rev), _)) = newest.first() {
        find.expect(*rev <= account.rev, || format!("rev {rev} above the user's {}", account.rev));
    }
    find.done()
}

/// Mentions in the index are rising and at most 100; own records were read.
pub fn mentions_are_bounded(view: &dyn StateView, id: UserId) -> Checked {
    let mut find = Finder::new("mentions_are_bounded", id);
    each_by_rev(view, id, |_, channel| {
        if let Some(row) = row::<IndexRow>(view, &RowKey::Index(id, channel))? {
            let mentions = &row.news.mentions;
            let fits = mentions.is_sorted_by(|a, b| a < b) && mentions.len() <= limit::MENTIONS_KEPT;
            find.expect(fits, || format!("{channel} has mentions {mentions:?}"));
            find.expect(row.read.seq >= row.news.own.seq, || format!("own record {} of {channel} is unread", row.news.own.seq));
        }
        Ok(())
    })?;
    find.done()
}

/// A user has at most 32 devices.
pub fn devices_are_bounded(view: &dyn StateView, id: UserId) -> Checked {
    let mut find = Finder::new("devices_are_bounded", id);
    let devices = view.scan(&Scan::Devices(id), false, limit::DEVICES_MAX + 1)?.len();
    find.expect(devices <= limit::DEVICES_MAX, || format!("more than {} devices", limit::DEVICES_MAX));
    find.done()
}

/// What an account counts of its rows is what there is.
pub fn counts_of_a_user_are_counted(view: &dyn StateView, id: UserId) -> Checked {
    let mut find = Finder::new("counts_of_a_user_are_counted", id);
    let Some(account) = row::<UserRow>(view, &RowKey::User(id))? else { return find.done() };
    let (mut pins, mut drafts, mut groups, mut contacts, mut blocks) = (0, 0, 0, 0, 0);
    each_by_rev(view, id, |_, channel| {
        if let Some(row) = row::<IndexRow>(view, &RowKey::Index(id, channel))? {
            pins += u32::from(row.preferences.pinned.is_some());
            drafts += u32::from(row.preferences.draft.is_some());
            groups += u32::from(crate::user::index::is_in_group(&row));
        }
        Ok(())
    })?;
    for (key, held) in view.scan(&Scan::Contacts(id, UserId::new(0)), false, usize::MAX)? {
        let contact = Held::<ContactRow>::new(&key, held)?;
        contacts += 1;
        blocks += u32::from(contact.blocked);
        find.expect(contact.mine || contact.theirs || contact.blocked, || format!("{key:?} says nothing"));
        find.expect(!(contact.mine && contact.blocked), || format!("{key:?} wants whom it has blocked"));
    }
    let counted = (account.pins, account.drafts, account.groups, account.contacts, account.blocks);
    let found = (pins, drafts, groups, contacts, blocks);
    find.expect(counted == found, || format!("counted {counted:?}, there are {found:?}"));
    find.done()
}

fn each_by_rev(view: &dyn StateView, id: UserId, mut look: impl FnMut(UserRev, ChannelId) -> Result<(), ViewError>) -> Result<(), ViewError> {
    for (key, held) in view.scan(&Scan::IndexByRev(id, UserRev::ZERO..=UserRev::new(u64::MAX)), false, usize::MAX)? {
        let channel = *Held::<ChannelId>::new(&key, held)?;
        if let RowKey::IndexByRev(_, rev) = key {
            look(rev, channel)?;
        }
    }
    Ok(())
}

// ---------------------------------------------------------------- group and map

/// No bucket is owned twice in one group's rows.
pub fn owned_runs_do_not_overlap(view: &dyn StateView) -> Checked {
    let mut find = Finder::new("owned_runs_do_not_overlap", "the group");
    let mut before = None;
    for (key, held) in view.scan(&Scan::Owned, false, usize::MAX)? {
        let last = Held::<OwnedRow>::new(&key, held)?.last;
        if let RowKey::Owned(region, first) = key {
            find.expect(first <= last && before < Some((region, first)), || format!("run {region}/{first:04x}-{last:04x} after {before:?}"));
            before = Some((region, last));
        }
    }
    find.done()
}

/// No bucket has two groups in the map.
pub fn map_runs_do_not_overlap(view: &dyn StateView) -> Checked {
    let mut find = Finder::new("map_runs_do_not_overlap", "the map");
    let mut before = None;
    for (key, held) in view.scan(&Scan::Runs, false, usize::MAX)? {
        let run = *Held::<RunRow>::new(&key, held)?;
        let fits = run.first <= run.last && before < Some((run.region, run.first)) && key == RowKey::Run(run.region, run.first);
        find.expect(fits, || format!("{run:?} after {before:?}"));
        before = Some((run.region, run.last));
    }
    find.done()
}

/// Groups stand on nodes of the map, and runs belong to its groups.
pub fn map_names_known_nodes(view: &dyn StateView) -> Checked {
    let mut find = Finder::new("map_names_known_nodes", "the map");
    let map = crate::meta::map(view)?;
    for group in map.groups.values() {
        let unknown = group.replicas.iter().find(|node| !map.nodes.contains_key(node));
        find.expect(unknown.is_none(), || format!("group {} stands on unknown node {unknown:?}", group.group));
        find.expect(group.replicas.is_sorted_by(|a, b| a < b), || format!("replicas of group {} are not sorted", group.group));
    }
    for run in map.runs.values() {
        find.expect(map.groups.contains_key(&run.group), || format!("{run:?} belongs to no group"));
    }
    find.done()
}

/// The kind of a row is that of its key; for stores that read rows by raw keys.
pub fn kinds_agree(key: &RowKey, row: &Row) -> bool {
    matches!(
        (key, row),
        (RowKey::Channel(_), Row::Channel(_))
            | (RowKey::Roster(_), Row::Roster(_))
            | (RowKey::Former(..), Row::Former(_))
            | (RowKey::Positions(..), Row::Positions(_))
            | (RowKey::Record(..), Row::Record(_))
            | (RowKey::Dedup(..), Row::Dedup(_))
            | (RowKey::Dirty(_), Row::Dirty)
            | (RowKey::Rules(_), Row::Rules(_))
            | (RowKey::Marks(..), Row::Marks(_))
            | (RowKey::Reply(..), Row::Reply)
            | (RowKey::Scheduled(..), Row::Scheduled(_))
            | (RowKey::Timer(..), Row::Timer)
            | (RowKey::User(_), Row::User(_))
            | (RowKey::Device(..), Row::Device(_))
            | (RowKey::Index(..), Row::Index(_))
            | (RowKey::IndexByRev(..), Row::IndexByRev(_))
            | (RowKey::Credential(_), Row::Credential(_))
            | (RowKey::Owed(..), Row::Owed(_))
            | (RowKey::Profile(_), Row::Profile(_))
            | (RowKey::Contact(..), Row::Contact(_))
            | (RowKey::Word(..), Row::Word(_))
            | (RowKey::Pushes(_), Row::Pushes(_))
            | (RowKey::PushSent(..), Row::PushSent(_))
            | (RowKey::PushDue(..), Row::PushDue(_))
            | (RowKey::Name(_), Row::Name(_))
            | (RowKey::GroupState, Row::GroupState(_))
            | (RowKey::Owned(..), Row::Owned(_))
            | (RowKey::Leaving, Row::Leaving(_))
            | (RowKey::Staging(_), Row::Staging(_))
            | (RowKey::Changed(..), Row::Changed)
            | (RowKey::Cluster, Row::Cluster(_))
            | (RowKey::Trust, Row::Trust(_))
            | (RowKey::Node(_), Row::Node(_))
            | (RowKey::Group(_), Row::Group(_))
            | (RowKey::Run(..), Row::Run(_))
    )
}
