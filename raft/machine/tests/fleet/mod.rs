//! Groups between which buckets move, beside one group that has the same history without a move; and what can go wrong with the leaders of a move.
//!
//! Nothing here remembers a move between two messages: each is decided from the rows, as by a leader that has just been elected.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses some of it")]

use std::{collections::BTreeMap, fmt, sync::Arc};

use kith_machine::{
    group_state, invariant, item,
    moving::{self, step},
    own::Owned,
    reply::Reply,
    testing::{MemoryView, Script, Step},
    view::{Row, RowKey},
};
use kith_wire::{
    id::{GroupId, LogIndex, OwnerEpoch, RegionId},
    log::{Batch, Command, Item},
    moving::{BucketRun, LeavingPhase, LeavingRow, MoveChange},
};

/// What was wrong.
#[derive(Debug)]
pub struct Found(String);
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Found {}

/// Numbers from a seed (SplitMix64: Steele, Lea, Flood 2014).
pub struct Lot(u64);
impl Lot {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % n.max(1) as u64) as usize
    }
}

/// Smaller pieces and more rounds than there would be.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub rows: usize,
    pub rounds: u64,
}

struct Member {
    view: MemoryView,
    index: u64,
    log: Vec<Batch>,
}

pub struct Fleet {
    unmoved: Script,
    groups: BTreeMap<GroupId, Member>,
    /// Rows of groups as they were, which an old leader still believes.
    old: Vec<(GroupId, MemoryView)>,
    /// What was sent, and may come again.
    mail: Vec<(GroupId, MoveChange)>,
    cut: Cut,
    broken: Option<Fault>,
    found: Option<Found>,
}

impl Fleet {
    /// Group 1 owns everything.
    pub fn new(count: u32) -> Self {
        let unmoved = Script::new();
        let none = |number| (GroupId::new(number), Member { view: MemoryView::default(), index: 0, log: Vec::new() });
        let mut groups: BTreeMap<_, _> = (1..=count).map(none).collect();
        groups.insert(GroupId::new(1), Member { view: unmoved.view.clone(), index: unmoved.index(), log: unmoved.log.clone() });
        Self { unmoved, groups, old: Vec::new(), mail: Vec::new(), cut: Cut { rows: 40, rounds: 1 }, broken: None, found: None }
    }

    pub fn view(&self, group: GroupId) -> &MemoryView {
        &self.groups[&group].view
    }
    /// The rows of the group that has the same history without a move.
    pub fn unmoved(&self) -> &MemoryView {
        &self.unmoved.view
    }
    pub fn view_mut(&mut self, group: GroupId) -> &mut MemoryView {
        &mut self.groups.get_mut(&group).expect("is there").view
    }
    /// All that the group has logged.
    pub fn logged(&self, group: GroupId) -> &[Batch] {
        &self.groups[&group].log
    }
    pub fn leaving(&self, group: GroupId) -> Option<LeavingRow> {
        moving::leaving(self.view(group)).expect("readable")
    }
    pub fn owned(&self, group: GroupId) -> Owned {
        Owned::read(self.view(group)).expect("readable")
    }
    fn ids(&self) -> Vec<GroupId> {
        self.groups.keys().copied().collect()
    }

    fn apply(&mut self, group: GroupId, item: Item) -> Reply {
        let now = group_state(&self.unmoved.view).expect("readable").now;
        let member = self.groups.get_mut(&group).expect("is there");
        member.index += 1;
        let batch = Batch { now, items: vec![item] };
        member.log.push(batch.clone());
        let mut applied = member.view.apply(group, member.index, batch).expect("applies");
        let broken = invariant::group(self.view(group)).expect("readable");
        if let Some(violation) = broken.first() {
            self.note(format!("{violation} (group {group})"));
        }
        if let Err(found) = self.one_owner() {
            self.note(found.0);
        }
        applied.replies.remove(0)
    }
    fn note(&mut self, found: String) {
        self.found.get_or_insert(Found(found));
    }
    fn noted(&mut self) -> Result<(), Found> {
        self.found.take().map_or(Ok(()), Err)
    }

    /// No bucket is owned twice.
    pub fn one_owner(&self) -> Result<(), Found> {
        let mut runs: Vec<(BucketRun, GroupId)> = Vec::new();
        for group in self.ids() {
            for (run, epoch) in self.owned(group).runs() {
                if let Some((other, owner)) = runs.iter().find(|(other, owner)| *owner != group && other.overlaps(&run)) {
                    return Err(Found(format!("{run} is owned by group {group} at epoch {epoch}, and {other} by group {owner}")));
                }
                runs.push((run, group));
            }
        }
        Ok(())
    }

    /// A command of its own, as the unmoved group never sees it.
    pub fn ask(&mut self, group: GroupId, command: Command) -> Reply {
        self.apply(group, item(command))
    }
    pub fn log(&mut self, group: GroupId, change: MoveChange) -> Reply {
        let is_hand_over = matches!(change, MoveChange::HandOver { .. });
        let closed = if let MoveChange::NextRound { round, .. } = change { Some(round) } else { None };
        let owned = |view: &MemoryView| {
            view.rows.iter().filter(|(key, _)| matches!(key, RowKey::Owned(..))).map(|(k, r)| (k.clone(), r.clone())).collect::<Vec<_>>()
        };
        let before = owned(self.view(group));
        let reply = self.ask(group, Command::Move(change));
        if is_hand_over && self.broken == Some(Fault::NoFence) {
            let view = self.view_mut(group);
            view.rows.retain(|key, _| !matches!(key, RowKey::Owned(..)));
            view.rows.extend(before);
        }
        if let Some(round) = closed.filter(|_| self.broken == Some(Fault::MarksForgotten)) {
            self.view_mut(group).rows.retain(|key, _| !matches!(key, RowKey::Changed(of, _) if *of <= round));
        }
        reply
    }

    /// The next step of the history: answered as without any move.
    pub fn write(&mut self, step: Step) -> Result<(), Found> {
        let expected = self.unmoved.step(step).replies[0].clone();
        let item = self.unmoved.log.last().expect("was logged").items[0].clone();
        if matches!(item.command, Command::OwnBuckets { .. }) {
            return self.noted();
        }
        let Some(bucket) = item.bucket else {
            let reply = self.apply(GroupId::new(1), item);
            return if reply == expected { self.noted() } else { Err(Found(format!("{reply:?} instead of {expected:?}"))) };
        };
        for _ in 0..1_000 {
            if let Some(group) = self.ids().into_iter().find(|group| self.owned(*group).holds(bucket)) {
                let what = format!("{:?}", item.command);
                let reply = self.apply(group, item);
                return if reply == expected {
                    self.noted()
                } else {
                    Err(Found(format!("{reply:?} instead of {expected:?} of group {group} to {what}")))
                };
            }
            for group in self.ids() {
                self.drive(group);
            }
        }
        Err(Found(format!("nobody serves bucket {bucket} any more")))
    }

    pub fn begin(&mut self, from: GroupId, run: BucketRun, to: GroupId) -> Option<LogIndex> {
        match self.log(from, MoveChange::Begin { run, to }) {
            Reply::Kept { id } => Some(LogIndex::new(id)),
            _ => None,
        }
    }

    /// What a leader of the source with these rows sends next, and to whom.
    fn decide(&self, source: GroupId, rows: &MemoryView) -> Option<(GroupId, MoveChange)> {
        let leaving = moving::leaving(rows).expect("readable")?;
        let stand = step::stand(self.view(leaving.to), source, &leaving).expect("readable");
        let open = if leaving.round < self.cut.rounds { usize::MAX } else { step::open(rows, &leaving).expect("readable") };
        match step::next(source, &leaving, &stand, open) {
            step::Step::Here(change) => Some((source, change)),
            step::Step::There(change) => Some((leaving.to, change)),
            step::Step::Send { round, after } => {
                let mut change = step::piece(rows, source, &leaving, round, &after).expect("readable");
                self.shorten(&mut change, leaving.phase);
                Some((leaving.to, change))
            }
            step::Step::Sweep => {
                let mut change = step::sweep(rows, &leaving).expect("readable");
                self.shorten(&mut change, leaving.phase);
                Some((source, change))
            }
            step::Step::Wait => None,
        }
    }

    fn shorten(&self, change: &mut MoveChange, phase: LeavingPhase) {
        match change {
            MoveChange::Import { rows, upto, last, .. } => {
                if rows.len() > self.cut.rows {
                    rows.truncate(self.cut.rows);
                    *upto = rows[rows.len() - 1].key.clone();
                    *last = false;
                }
                if self.broken == Some(Fault::DedupStays) {
                    rows.retain(|row| !matches!(kith_machine::key::decode_packed(&row.key), Ok(RowKey::Dedup(..))));
                }
                if self.broken == Some(Fault::LastRoundSkipped) && phase == LeavingPhase::Handed {
                    rows.clear();
                    *last = true;
                }
            }
            MoveChange::Sweep { keys, .. } | MoveChange::Drop { keys, .. } => keys.truncate(self.cut.rows),
            _ => {}
        }
    }

    /// One message of the group's leader about the move out of it; says whether there was any.
    pub fn drive(&mut self, source: GroupId) -> bool {
        let Some((group, change)) = self.decide(source, self.view(source)) else { return self.tend_all() };
        self.log(group, change);
        true
    }

    /// One message of the group's leader about moves into it.
    pub fn tend(&mut self, group: GroupId) -> bool {
        let dead = moving::stagings(self.view(group)).expect("readable").into_iter().find(|(from, row)| {
            let source = self.groups.contains_key(from).then(|| self.leaving(*from)).flatten();
            !row.dropping && step::is_dead(row, source.as_ref())
        });
        let clear = step::clear(self.view(group)).expect("readable");
        let change = clear.or_else(|| dead.map(|(from, row)| MoveChange::Unstage { from, at: row.at }));
        let Some(mut change) = change else { return false };
        self.shorten(&mut change, LeavingPhase::Copying);
        self.log(group, change);
        true
    }
    fn tend_all(&mut self) -> bool {
        let tended: Vec<bool> = self.ids().into_iter().map(|group| self.tend(group)).collect();
        tended.contains(&true)
    }

    /// Until no move is under way.
    pub fn settle(&mut self) -> Result<(), Found> {
        for _ in 0..5_000 {
            let is_quiet = |group: &GroupId| self.leaving(*group).is_none() && moving::stagings(self.view(*group)).expect("readable").is_empty();
            if self.ids().iter().all(is_quiet) {
                return self.noted();
            }
            for group in self.ids() {
                self.drive(group);
                self.tend(group);
            }
        }
        Err(Found("a move does not come to its end".to_owned()))
    }

    /// Every row lies where its bucket is owned, and all of them are those of the group without a move.
    pub fn same_as_unmoved(&self) -> Result<(), Found> {
        let moves = |rows: &BTreeMap<RowKey, Arc<Row>>| -> BTreeMap<RowKey, Arc<Row>> {
            rows.iter().filter(|(key, _)| key.bucket().is_some()).map(|(key, row)| (key.clone(), row.clone())).collect()
        };
        let mut all = BTreeMap::new();
        for group in self.ids() {
            let owned = self.owned(group);
            for (key, row) in moves(&self.view(group).rows) {
                if !key.bucket().is_some_and(|bucket| owned.holds(bucket)) {
                    return Err(Found(format!("{key:?} was left behind in group {group}")));
                }
                all.insert(key, row);
            }
        }
        let expected = moves(&self.unmoved.view.rows);
        let differs = expected.iter().find(|(key, row)| all.get(*key) != Some(row)).map(|(key, row)| (key.clone(), Some(row.clone())));
        let differs = differs.or_else(|| all.keys().find(|key| !expected.contains_key(*key)).map(|key| (key.clone(), None)));
        differs.map_or(Ok(()), |(key, row)| Err(Found(format!("{key:?} is {:?} instead of {row:?}", all.get(&key)))))
    }

    /// Something happens to the moves: to one of them, to its leaders, or to what they sent.
    pub fn stir(&mut self, lot: &mut Lot) {
        let ids = self.ids();
        let group = ids[lot.below(ids.len())];
        match lot.below(16) {
            0 | 1 => {
                let runs: Vec<(BucketRun, OwnerEpoch)> = self.owned(group).runs().filter(|(run, _)| run.region == RegionId::FIRST).collect();
                let Some((run, _)) = (!runs.is_empty()).then(|| runs[lot.below(runs.len())]) else { return };
                let within = |lot: &mut Lot| run.first + lot.below(run.count() as usize) as u16;
                let (a, b) = (within(lot), within(lot));
                self.begin(group, BucketRun { first: a.min(b), last: a.max(b), ..run }, ids[lot.below(ids.len())]);
            }
            2..=8 => self.send(group, &self.view(group).clone(), lot),
            9 | 10 => {
                self.tend(group);
            }
            11 | 12 => {
                if !self.mail.is_empty() {
                    let (to, change) = self.mail[lot.below(self.mail.len())].clone();
                    self.log(to, change);
                }
            }
            13 => {
                if !self.old.is_empty() {
                    let (source, rows) = self.old[lot.below(self.old.len())].clone();
                    self.send(source, &rows, lot);
                }
            }
            14 if lot.below(3) == 0 => {
                if let Some(row) = self.leaving(group) {
                    let cancel = MoveChange::Cancel { at: row.at };
                    self.mail.push((group, cancel.clone()));
                    self.log(group, cancel);
                }
            }
            _ => {
                let view = self.view(group).clone();
                self.old.push((group, view));
                if self.old.len() > 12 {
                    self.old.remove(lot.below(12));
                }
            }
        }
    }

    /// What a leader with these rows sends: it arrives, or not, or twice, and perhaps again later.
    fn send(&mut self, source: GroupId, rows: &MemoryView, lot: &mut Lot) {
        let Some((to, change)) = self.decide(source, rows) else { return };
        self.mail.push((to, change.clone()));
        if self.mail.len() > 40 {
            self.mail.remove(lot.below(40));
        }
        for _ in 0..[0, 1, 1, 1, 1, 2][lot.below(6)] {
            self.log(to, change.clone());
        }
    }
}

/// What goes wrong with one message of a move, by its number; or a rule that all leaders break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Its leader dies with it.
    Lost {
        at: usize,
    },
    /// Its leader dies when it is logged and before that is known: the next one sends it again.
    Twice {
        at: usize,
    },
    /// It comes again after a later one.
    Late {
        at: usize,
        until: usize,
    },
    /// It comes only after a later one: the next leader has sent its own meanwhile.
    Delayed {
        at: usize,
        until: usize,
    },
    /// Every leader there was so far sends what it makes of its rows, beside it.
    Old {
        at: usize,
    },
    /// The source serves on after it has handed over.
    NoFence,
    /// What changed in a round is not sent.
    MarksForgotten,
    /// Devices' numbers stay behind.
    DedupStays,
    /// The target takes before the source has handed over.
    TakenEarly,
    /// The last round is said to be empty.
    LastRoundSkipped,
}

impl Fault {
    pub fn number(self) -> usize {
        match self {
            Self::Lost { .. } => 0,
            Self::Twice { .. } => 1,
            Self::Late { .. } => 2,
            Self::Delayed { .. } => 3,
            Self::Old { .. } => 4,
            _ => usize::MAX,
        }
    }
}

pub struct Outcome {
    /// Of the move, until nothing was left of it.
    pub messages: usize,
}

/// A history with one move of everything in the middle of it, and one thing that goes wrong.
pub fn run(steps: &[Step], cut: Cut, fault: Fault) -> Result<Outcome, Found> {
    let (one, two) = (GroupId::new(1), GroupId::new(2));
    let mut fleet = Fleet::new(2);
    fleet.cut = cut;
    fleet.broken = Some(fault);
    let (before, during) = steps.split_at(steps.len() / 2);
    before.iter().try_for_each(|step| fleet.write(*step))?;
    let mut during = during.iter();
    let all = BucketRun { region: RegionId::FIRST, first: 0, last: u16::MAX };
    fleet.begin(one, all, two).ok_or_else(|| Found("does not begin".to_owned()))?;
    let (mut messages, mut late, mut leaders) = (0, None, Vec::new());
    while fleet.leaving(one).is_some() {
        leaders.push(fleet.view(one).clone());
        // Three steps of the history between two messages: what changes must go over as well. None while nobody serves: it would have to wait.
        if fleet.leaving(one).is_some_and(|row| row.phase != LeavingPhase::Handed) {
            during.by_ref().take(3).try_for_each(|step| fleet.write(*step))?;
        }
        let Some((to, change)) = fleet.decide(one, fleet.view(one)) else {
            if !fleet.tend_all() {
                return Err(Found("the move stands still".to_owned()));
            }
            continue;
        };
        messages += 1;
        if messages > 2_000 {
            return Err(Found("the move does not come to its end".to_owned()));
        }
        let number = messages - 1;
        if let (Fault::TakenEarly, MoveChange::HandOver { at, round }) = (fault, &change) {
            fleet.log(two, MoveChange::Take { from: one, at: *at, round: round - 1 });
        }
        let times = match fault {
            Fault::Lost { at } if at == number => 0,
            Fault::Twice { at } if at == number => 2,
            Fault::Late { at, .. } | Fault::Delayed { at, .. } if at == number => {
                late = Some((to, change.clone()));
                usize::from(matches!(fault, Fault::Late { .. }))
            }
            _ => 1,
        };
        (0..times).for_each(|_| drop(fleet.log(to, change.clone())));
        if let (Fault::Late { until, .. } | Fault::Delayed { until, .. }, Some((to, change))) = (fault, &late)
            && until == messages
        {
            fleet.log(*to, change.clone());
        }
        if fault == (Fault::Old { at: number }) {
            for rows in &leaders {
                if let Some((to, change)) = fleet.decide(one, rows) {
                    fleet.log(to, change);
                }
            }
        }
        fleet.noted()?;
    }
    during.try_for_each(|step| fleet.write(*step))?;
    fleet.settle()?;
    fleet.same_as_unmoved()?;
    Ok(Outcome { messages })
}
