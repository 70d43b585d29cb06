//! Moves buckets between groups: drives the move out of each group that this node leads, and clears what will not come into one.
//!
//! In: the rows of the group that is led, what the leader of the move's other group says. Out: one step after the other, each decided anew from both
//! groups' rows ([`kith_machine::moving::step`]). Invariants: nothing is remembered between two steps, so that whoever leads next goes on; a step that
//! fails is tried again, and one from old rows is refused by apply. While all is copied, once, as long is waited
//! after a piece as it took: what is served goes first. Bounds: `limit::MOVE_*`; one piece under way. Not here: what is begun and why (`service::moves`).

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use kith_machine::{
    moving::{self, step},
    own::Owned,
    reply::Reply,
    view::ViewError,
};
use kith_raft::{
    FailPoints, GroupHandle, Reader,
    failpoint::{FailPointError, point},
};
use kith_wire::{
    client::Refusal,
    code::Code,
    id::GroupId,
    log::{ClusterMap, Command, RunRow},
    moving::{LeavingPhase, LeavingRow, MoveChange},
    peer::{Inner, InnerAnswer},
};
use tokio::task::spawn_blocking;

use super::steward::LayoutMetrics;
use crate::{clock::Instant, router::Router};

/// Moves buckets. Clones are the same node's.
#[derive(Clone)]
pub(crate) struct Mover {
    pub(crate) router: Router,
    pub(crate) fail_points: FailPoints,
    pub(crate) metrics: Arc<LayoutMetrics>,
}

/// Why a move stands still for a moment.
#[derive(Debug, thiserror::Error)]
enum Halt {
    /// A row cannot be read now.
    #[error("rows cannot be read")]
    Rows(#[from] ViewError),
    /// The target did not take a step, or did not answer.
    #[error("the other group answers {}", .0.code)]
    There(Refusal),
    /// The source did not take a step.
    #[error("a step is not logged")]
    Here(#[from] kith_raft::ProposeError),
    /// The other group is at something else.
    #[error("the other group is not ready for it")]
    Waits,
    /// A thread that read has ended.
    #[error("a reading thread ended")]
    Ended(#[from] tokio::task::JoinError),
    /// Stopped as by a crash.
    #[error("stopped at a fail point")]
    Point(#[from] FailPointError),
}

impl Mover {
    /// Runs while this node leads a group of data; ends when the group is closed.
    pub(crate) async fn lead(self, group: GroupId) {
        let (mut clear_at, mut told_at) = (self.now(), self.now());
        loop {
            let Some(handle) = self.router.groups().get(group) else { return };
            if let Err(halt) = self.drive(&handle).await {
                tracing::debug!(%group, cause = %halt, "cluster.mover: not now");
            }
            let now = self.now();
            if now >= clear_at {
                clear_at = now + CLEAR_EVERY;
                if let Err(halt) = self.clear(&handle).await {
                    tracing::debug!(%group, cause = %halt, "cluster.mover: what will not come stays for now");
                }
            }
            if now >= told_at && self.tell_owned(&handle).await {
                told_at = self.now() + TELL_EVERY;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Goes on with the move out of the group until it is over.
    async fn drive(&self, handle: &GroupHandle) -> Result<(), Halt> {
        let Some(leaving) = moving::leaving(&handle.rows()?)? else { return Ok(()) };
        tracing::info!(group = %handle.id(), to = %leaving.to, run = %leaving.run, phase = leaving.phase.name(), "cluster.mover: a move goes on");
        let mut target = self.ask(handle, &leaving, None).await?;
        let mut handed: Option<Instant> = None;
        loop {
            let rows = handle.rows()?;
            let Some(leaving) = moving::leaving(&rows)? else { return Ok(()) };
            let begun = self.now();
            let step = step::next(handle.id(), &leaving, &target, step::open(&rows, &leaving)?);
            if let Some(point) = point_of(&step, leaving.phase) {
                self.fail_points.hit(point).await?;
            }
            match step {
                step::Step::Here(change) => {
                    drop(rows);
                    let (hands_over, ends) = (matches!(change, MoveChange::HandOver { .. }), matches!(change, MoveChange::Taken { .. }));
                    self.log(handle, change).await?;
                    if hands_over {
                        handed = Some(begun);
                    } else if ends {
                        self.metrics.buckets_moved.inc_by(u64::from(leaving.run.count()));
                        self.metrics.bucket_moves.inc();
                        tracing::info!(group = %handle.id(), to = %leaving.to, run = %leaving.run, "cluster.mover: buckets have moved");
                    }
                }
                step::Step::There(change) => {
                    drop(rows);
                    target = self.ask(handle, &leaving, Some(change)).await?;
                }
                step::Step::Send { round, after } => {
                    let source = handle.id();
                    let piece = spawn_blocking(move || step::piece(&rows, source, &leaving, round, &after)).await??;
                    self.metrics.bucket_bytes.inc_by(bytes_of(&piece));
                    target = self.ask(handle, &leaving, Some(piece)).await?;
                    // Rounds of what has changed since do not rest: they must be faster than what changes.
                    if round == 0 && leaving.phase == LeavingPhase::Copying {
                        tokio::time::sleep(self.now().saturating_duration_since(begun).min(PAUSE_MAX)).await;
                    }
                }
                step::Step::Sweep => {
                    let sweep = spawn_blocking(move || step::sweep(&rows, &leaving)).await??;
                    self.log(handle, sweep).await?;
                    tokio::time::sleep(self.now().saturating_duration_since(begun).min(PAUSE_MAX)).await;
                }
                step::Step::Wait => return Err(Halt::Waits),
            }
            if let Some(since) = handed.take_if(|_| target.reached) {
                self.metrics.bucket_freeze.observe(self.now().saturating_duration_since(since).as_secs_f64());
            }
        }
    }

    async fn log(&self, handle: &GroupHandle, change: MoveChange) -> Result<(), Halt> {
        match handle.propose(kith_machine::item(Command::Move(change))).await? {
            // The rows were old; or, of `Cancel`, newer than its sender's.
            Reply::Rejected(code) => {
                tracing::debug!(group = %handle.id(), %code, "cluster.mover: a step was not taken");
                Err(Halt::Waits)
            }
            _ => Ok(()),
        }
    }

    /// How the target stands, after a step of it if one is named.
    async fn ask(&self, handle: &GroupHandle, leaving: &LeavingRow, change: Option<MoveChange>) -> Result<step::Target, Halt> {
        let inner = Inner::Move { from: handle.id(), leaving: *leaving, change };
        match self.router.inner_to(leaving.to, inner, self.now() + ASK_WITHIN).boxed().await.map_err(Halt::There)? {
            InnerAnswer::MoveStands { staging, reached } => Ok(step::Target { staging, reached }),
            _ => Err(Halt::There(Refusal::new(Code::Internal))),
        }
    }

    /// Drops what was to come into the group and will not: its move was given up, or is over without it.
    async fn clear(&self, handle: &GroupHandle) -> Result<(), Halt> {
        for (from, staging) in moving::stagings(&handle.rows()?)? {
            if staging.dropping {
                continue;
            }
            // Its leader, which has asked its voters, says whether there still is such a move.
            let leaving = match self.router.inner_to(from, Inner::Leaving, self.now() + ASK_WITHIN).boxed().await.map_err(Halt::There)? {
                InnerAnswer::Leaving { leaving } => leaving,
                _ => return Err(Halt::There(Refusal::new(Code::Internal))),
            };
            if step::is_dead(&staging, leaving.as_ref()) {
                tracing::info!(group = %handle.id(), source = %from, run = %staging.run, "cluster.mover: nothing will come of a move: what came of it is dropped");
                self.log(handle, MoveChange::Unstage { from, at: staging.at }).await?;
            }
        }
        loop {
            let rows: Reader = handle.rows()?;
            let Some(change) = spawn_blocking(move || step::clear(&rows)).await?? else { return Ok(()) };
            self.log(handle, change).await?;
        }
    }

    /// Tells the meta group what the group owns and the map does not know. Says whether it did, or there is nothing to tell.
    async fn tell_owned(&self, handle: &GroupHandle) -> bool {
        let Ok(owned) = handle.rows().and_then(|rows| Owned::read(&rows)) else { return false };
        let map = self.router.maps().current();
        let runs: Vec<RunRow> = untold(&owned, handle.id(), &map);
        if runs.is_empty() {
            return false;
        }
        match self.router.inner_to(GroupId::META, Inner::TellRuns { runs }, self.now() + ASK_WITHIN).boxed().await {
            Ok(_) => true,
            Err(refusal) => {
                tracing::debug!(group = %handle.id(), code = %refusal.code, "cluster.mover: the map is not told now");
                false
            }
        }
    }

    fn now(&self) -> Instant {
        self.router.clock().instant()
    }
}

fn untold(owned: &Owned, group: GroupId, map: &ClusterMap) -> Vec<RunRow> {
    moving::untold(owned, group, map).into_iter().take(TELL_MAX).collect()
}

/// Where a driver is stopped before a step.
fn point_of(step: &step::Step, phase: LeavingPhase) -> Option<&'static str> {
    match (step, phase) {
        (step::Step::Send { .. }, LeavingPhase::Copying) => Some(point::MOVE_COPIES),
        (step::Step::Send { .. } | step::Step::There(MoveChange::Take { .. }), LeavingPhase::Handed) => Some(point::MOVE_HANDED),
        (step::Step::Here(MoveChange::Taken { .. }), _) => Some(point::MOVE_TAKEN),
        (step::Step::Sweep, LeavingPhase::Sweeping) => Some(point::MOVE_SWEEPS),
        _ => None,
    }
}

/// What a piece carries.
fn bytes_of(piece: &MoveChange) -> u64 {
    let MoveChange::Import { rows, .. } = piece else { return 0 };
    rows.iter().map(|row| (row.key.len() + row.body.as_ref().map_or(0, bytes::Bytes::len)) as u64).sum()
}

/// Between two looks for a move to go on with.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two looks for what will not come.
const CLEAR_EVERY: Duration = Duration::from_secs(2);
/// After the map was told something: it is on its way back by then.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// Runs of one telling.
const TELL_MAX: usize = 256;
/// The longest pause after a piece.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// For another group to take a step.
const ASK_WITHIN: Duration = Duration::from_secs(5);
