//! Which groups' replicas cannot be relied on, and how far each is on its way back.
//!
//! ```text
//! local value rebuild/<group>   stage u8: 1 quarantined, 2 rebuilding, 3 sound again | out u64 | cause, UTF-8
//! local value lost              cause, UTF-8: the log of this store was lost; every group without a stage is quarantined
//! ```
//! `out`, big endian, 0 but while rebuilding: the entry with which the others took the replica out. One that has applied less does not know of it.
//! In: damage that was met, at the start or later; the steps of a rebuild. Out: the condition of a group; the news of damage, once a group.
//! Invariants: a stage is synced before anything that relies on it; a quarantined replica keeps what it has until the others have taken it out of
//! the group (it must not vote, acknowledge or serve: whoever opens groups asks here first); it then begins as one that was never there.
//! Not here: taking it out and in again (kith-raft).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, RwLock, mpsc},
};

use kith_wire::{
    id::{GroupId, LogIndex},
    log::Vote,
};

use crate::{
    Storage,
    group::{NotServing, Phase},
    install::{self, InstallError},
    local::{Local, LocalError},
    log::WriteFailed,
    loss::{Damaged, EVERY_GROUP},
    sync::{lock, read, write},
};

const STAGE: &str = "rebuild/";
pub(crate) const LOST: &str = "lost";

/// Whether a group's replica can be relied on. The number is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// 3, or nothing stored: it can.
    Sound,
    /// 1: something of it is damaged or lost.
    Quarantined,
    /// 2: it began anew and is not a voter yet.
    Rebuilding,
}

/// Told of damage in a group that was sound, on the thread that met it: must not block.
pub type DamageHook = Box<dyn Fn(GroupId) + Send + Sync>;

/// Where damage is reported, once a group.
#[derive(Default)]
pub(crate) struct Damage {
    met: Mutex<BTreeSet<GroupId>>,
    hook: Mutex<Option<Arc<DamageHook>>>,
}

impl Damage {
    pub(crate) fn report(&self, group: GroupId, cause: &dyn std::error::Error) {
        if !lock(&self.met).insert(group) {
            return;
        }
        let source = cause.source().map(ToString::to_string);
        tracing::error!(%group, %cause, source, "storage: damage was met; the group's replica is taken out of service");
        let hook = lock(&self.hook).clone();
        if let Some(hook) = hook {
            hook(group);
        }
    }
}

/// The stages, as they are on the disk.
pub(crate) struct Stages {
    local: Arc<Local>,
    lost: Option<String>,
    known: RwLock<BTreeMap<GroupId, Stage>>,
}

#[derive(Clone)]
struct Stage {
    condition: Condition,
    out: LogIndex,
    cause: String,
}

impl Stages {
    pub(crate) fn load(local: Arc<Local>) -> Result<Self, LocalError> {
        let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
        let lost = local.get(LOST)?.map(|raw| text(&raw));
        let mut known = BTreeMap::new();
        for (group, value) in local.with_prefix(STAGE)? {
            let Ok(group) = group.parse().map(GroupId::new) else { continue };
            let [stage, rest @ ..] = &value[..] else { continue };
            let (out, cause) = rest.split_first_chunk().map_or((0, &[][..]), |(out, cause)| (u64::from_be_bytes(*out), cause));
            let condition = match stage {
                2 => Condition::Rebuilding,
                3 => Condition::Sound,
                _ => Condition::Quarantined,
            };
            known.insert(group, Stage { condition, out: LogIndex::new(out), cause: text(cause) });
        }
        Ok(Self { local, lost, known: RwLock::new(known) })
    }

    fn set(&self, group: GroupId, condition: Condition, out: LogIndex, cause: &str) -> Result<(), WriteFailed> {
        let now = Stage { condition, out, cause: cause.to_owned() };
        let stage = match condition {
            Condition::Quarantined => 1,
            Condition::Rebuilding => 2,
            Condition::Sound => 3,
        };
        if condition == Condition::Quarantined {
            // From this moment on, whatever becomes of the write.
            write(&self.known).insert(group, now.clone());
        }
        self.local.set(&format!("{STAGE}{group}"), Some(&[&[stage], &out.get().to_be_bytes()[..], cause.as_bytes()].concat()))?;
        write(&self.known).insert(group, now);
        Ok(())
    }
}

/// Names of stored stages: what a new loss of the log makes void.
pub(crate) fn is_stage(name: &[u8]) -> bool {
    name.starts_with(STAGE.as_bytes())
}

impl Storage {
    /// Whether the group's replica can be relied on; if not, why.
    pub fn condition(&self, group: GroupId) -> (Condition, Option<String>) {
        match (read(&self.stages.known).get(&group), &self.stages.lost) {
            (Some(Stage { condition: Condition::Sound, .. }), _) | (None, None) => (Condition::Sound, None),
            (Some(stage), _) => (stage.condition, Some(stage.cause.clone())),
            (None, Some(cause)) => (Condition::Quarantined, Some(cause.clone())),
        }
    }

    /// The entry with which the others took a replica out that is being rebuilt.
    pub fn taken_out(&self, group: GroupId) -> Option<LogIndex> {
        read(&self.stages.known).get(&group).filter(|stage| stage.condition == Condition::Rebuilding).map(|stage| stage.out)
    }

    /// Sets who is told when damage is met in a group that serves.
    pub fn on_damage(&self, hook: DamageHook) {
        *lock(&self.damage.hook) = Some(Arc::new(hook));
    }

    /// Notes that a group's replica cannot be relied on. Close the group first. Blocks until it is synced.
    ///
    /// # Errors
    /// The store has failed; the group is in quarantine for as long as this process runs.
    pub fn quarantine(&self, group: GroupId, cause: &str) -> Result<(), WriteFailed> {
        tracing::error!(%group, cause, "storage: a replica is in quarantine");
        self.stages.set(group, Condition::Quarantined, LogIndex::new(0), cause)
    }

    /// Forgets all of a replica that its group took out with the entry at `out`, and begins anew with what the leader said its vote is: nothing
    /// older is heard.
    /// Blocks; after a crash in between the group is in quarantine still.
    ///
    /// # Errors
    /// The store has failed.
    pub fn begin_anew(&self, group: GroupId, vote: Vote, out: LogIndex) -> Result<(), InstallError> {
        let (_, cause) = self.condition(group);
        self.destroy(group)?;
        let (done, is_done) = mpsc::sync_channel(1);
        self.log().save_vote(group, vote, Box::new(move |result| drop(done.send(result))));
        is_done.recv().unwrap_or(Err(WriteFailed::Closed))?;
        lock(&self.damage.met).remove(&group);
        Ok(self.stages.set(group, Condition::Rebuilding, out, &cause.unwrap_or_default())?)
    }

    /// The group has made this replica a voter again.
    ///
    /// # Errors
    /// The store has failed.
    pub fn rebuilt(&self, group: GroupId) -> Result<(), WriteFailed> {
        tracing::info!(%group, "storage: a replica is whole again");
        self.stages.set(group, Condition::Sound, LogIndex::new(0), "")
    }

    /// Judges every group when the store was opened: those whose log is whole and begins at the beginning are replayed from it.
    pub(crate) fn judge(&self, log: &Damaged, state: &Damaged) -> Result<(), InstallError> {
        let of = |damaged: &Damaged, group| damaged.get(&group).or_else(|| damaged.get(&EVERY_GROUP)).cloned();
        let mut groups: BTreeSet<GroupId> = self.log.groups().into_iter().chain(self.state.groups()).collect();
        groups.extend(log.keys().chain(state.keys()).filter(|group| **group != EVERY_GROUP));
        for group in groups {
            let (bounds, rows) = (self.log.bounds(group), self.state.group(group));
            let (applied, purged) = (rows.applied().last.map(|id| id.index), bounds.purged.map(|id| id.index));
            let last = bounds.last.map(|id| id.index);
            let mut log_damage = of(log, group).or_else(|| self.log.damage(group));
            if log_damage.is_none() && applied > last {
                log_damage = Some(format!("the log ends before what is applied: {} entries", last.map_or(0, |last| last.get() + 1)));
            }
            let mut state_damage = of(state, group);
            if rows.refusal() == Some(NotServing::NeedsSnapshot) {
                state_damage = Some("its rows are damaged or incomplete".to_owned());
            } else if applied < purged {
                state_damage = Some("its rows are lost, and its log does not reach back to the beginning".to_owned());
            }
            let is_known = self.condition(group).0 == Condition::Quarantined;
            match (log_damage, state_damage) {
                (None, None) => {}
                _ if is_known => {}
                (None, Some(cause)) if purged.is_none() && self.log.first(group) == Some(0) => {
                    tracing::warn!(%group, cause, "storage: the rows of a group are damaged; they are made again from its log");
                    self.state.shared.local.set(&install::mark(group), None)?;
                    install::wipe(&self.state.shared, group)?;
                    self.state.shared.flush_database()?;
                    self.state.shared.forget_durable(group);
                    self.state.shared.freed(rows.reset(Phase::Serving, kith_wire::log::Applied::default()));
                }
                (log, state) => self.quarantine(group, &log.or(state).unwrap_or_default())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
