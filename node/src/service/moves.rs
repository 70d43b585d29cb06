//! Moves of buckets as the leaders of their two groups serve them.
//!
//! In: what a move's driver (`cluster::mover`), an operator or a router asks of a group that this node leads. Out: commands of the group's log, and how
//! the move stands. Invariant: whether a step is taken is decided by apply; a group logs nothing of a move before every replica of it has
//! noted that the cluster is at the version that brings the commands (`upgrade`). Not here: what comes next (kith-machine's `moving::step`), who drives it.

use std::{collections::BTreeSet, time::Duration};

use kith_machine::{
    VERSION_MOVES, group_state,
    moving::{self, step},
    own::Owned,
    reply::Reply,
};
use kith_raft::{GroupHandle, Reader};
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{Bucket, GroupId, NodeId},
    log::{Command, RunRow},
    moving::{BucketRun, LeavingRow, MoveChange},
    peer::{Inner, InnerAnswer},
    upgrade::ClusterVersion,
};

use super::{
    local::{broken, not_proposed, propose, rejected},
    upgrade,
};
use crate::router::{Router, refuse, refuse_for};

/// Whether a step of a move fills the disk of its target. What has been handed over is let in: nobody serves it until it is.
pub(super) fn grows(leaving: &LeavingRow, change: Option<&MoveChange>) -> bool {
    let copies = leaving.phase == kith_wire::moving::LeavingPhase::Copying;
    copies && matches!(change, Some(MoveChange::Stage { .. } | MoveChange::Import { .. }))
}

/// In the target: does a step, if one is named, and says how the move stands then.
pub(super) async fn stands(
    handle: &GroupHandle,
    router: &Router,
    from: GroupId,
    leaving: LeavingRow,
    change: Option<MoveChange>,
) -> Result<InnerAnswer, Refusal> {
    match change {
        Some(change) if is_of(from, &change) => {
            if matches!(change, MoveChange::Stage { .. }) {
                raise(handle, router).await?;
            }
            if let Reply::Rejected(code) = propose(handle, Command::Move(change)).await? {
                tracing::debug!(group = %handle.id(), source = %from, %code, "service.moves: a step was not taken");
            }
        }
        Some(_) => return Err(refuse(Code::Invalid)),
        None => handle.read_barrier().await.map_err(not_proposed)?,
    }
    let target = step::stand(&rows(handle)?, from, &leaving).map_err(|error| broken(&error))?;
    Ok(InnerAnswer::MoveStands { staging: target.staging, reached: target.reached })
}

/// Steps of a target's, of this source.
fn is_of(source: GroupId, change: &MoveChange) -> bool {
    match change {
        MoveChange::Stage { from, .. } | MoveChange::Import { from, .. } | MoveChange::Take { from, .. } | MoveChange::Unstage { from, .. } => {
            *from == source
        }
        _ => false,
    }
}

/// In the source: the move out of it.
pub(super) async fn leaving(handle: &GroupHandle) -> Result<InnerAnswer, Refusal> {
    handle.read_barrier().await.map_err(not_proposed)?;
    let leaving = moving::leaving(&rows(handle)?).map_err(|error| broken(&error))?;
    Ok(InnerAnswer::Leaving { leaving })
}

/// To whom a bucket was given. Rows that are old by now say so at a lower epoch.
pub(super) fn given_to(handle: &GroupHandle, bucket: Bucket) -> Result<InnerAnswer, Refusal> {
    let owned = Owned::read(&rows(handle)?).map_err(|error| broken(&error))?;
    Ok(InnerAnswer::GivenTo { run: owned.given_run(bucket) })
}

/// In the meta group: runs that a group owns at higher epochs than the map says.
pub(super) async fn tell_runs(handle: &GroupHandle, runs: Vec<RunRow>) -> Result<InnerAnswer, Refusal> {
    for run in runs {
        match propose(handle, Command::PutRun { run }).await? {
            // Somebody took it at a higher epoch.
            Reply::Done | Reply::Rejected(Code::Conflict) => {}
            Reply::Rejected(code) => return Err(rejected(code)),
            _ => return Err(refuse(Code::Internal)),
        }
    }
    Ok(InnerAnswer::Done)
}

/// In the source: begins to move buckets of its own to another group of their region.
pub(super) async fn begin(handle: &GroupHandle, router: &Router, run: BucketRun, to: GroupId) -> Result<InnerAnswer, Refusal> {
    let map = router.maps().current();
    let not_so = |text: &str| Err(refuse(Code::Invalid).with_text(text));
    let (Some(source), Some(target)) = (map.groups.get(&handle.id()), map.groups.get(&to)) else {
        return Err(refuse(Code::NotFound).with_text("there is no such shard"));
    };
    if to == GroupId::META || to == handle.id() {
        return not_so("buckets move to another shard, never to shard 0, which holds the map");
    }
    if target.region != run.region || source.region != run.region {
        return not_so("buckets stay in their region");
    }
    upgrade::allows(router, [], ClusterVersion::MOVES, "buckets move")?;
    raise(handle, router).await?;
    match propose(handle, Command::Move(MoveChange::Begin { run, to })).await? {
        Reply::Kept { id } => Ok(InnerAnswer::Kept { id }),
        Reply::WrongGroup => not_so("the shard does not own all of these buckets: `kith shard list` shows who does"),
        Reply::Rejected(Code::Conflict) => {
            Err(refuse_for(Code::Busy, RETRY_MS).with_text("the shard is at another move, out of it or of these buckets into it"))
        }
        Reply::Rejected(code) => Err(rejected(code)),
        _ => Err(refuse(Code::Internal)),
    }
}

/// In the source: gives the move out of it up.
pub(super) async fn cancel(handle: &GroupHandle) -> Result<InnerAnswer, Refusal> {
    handle.read_barrier().await.map_err(not_proposed)?;
    let leaving = moving::leaving(&rows(handle)?).map_err(|error| broken(&error))?;
    let leaving = leaving.ok_or_else(|| refuse(Code::NotFound).with_text("no move leads out of this shard"))?;
    match propose(handle, Command::Move(MoveChange::Cancel { at: leaving.at })).await? {
        Reply::Done => Ok(InnerAnswer::Done),
        Reply::Rejected(Code::Conflict) => {
            Err(refuse(Code::NotAllowed).with_text("the buckets have been handed over: the move ends by itself, and they can be moved back then"))
        }
        Reply::Rejected(code) => Err(rejected(code)),
        _ => Err(refuse(Code::Internal)),
    }
}

/// From here on no replica of a build that does not know the commands opens the group: none is there, or may be started, when it is raised.
async fn raise(handle: &GroupHandle, router: &Router) -> Result<(), Refusal> {
    let state = group_state(&rows(handle)?).map_err(|error| broken(&error))?;
    if state.version < VERSION_MOVES {
        let map = router.maps().current();
        let placed = map.groups.get(&handle.id()).map(|row| row.replicas.clone()).unwrap_or_default();
        let members = handle.members();
        let nodes: BTreeSet<NodeId> = placed.into_iter().chain(members.voters).chain(members.learners).collect();
        // In the first moments of a version not every node has heard of it.
        let until = router.clock().instant() + NOTED_WITHIN;
        while let Err(refusal) = upgrade::allows(router, nodes.iter().copied(), ClusterVersion::MOVES, "buckets move") {
            if refusal.code != Code::Busy || router.clock().instant() >= until {
                return Err(refusal);
            }
            tokio::time::sleep(NOTED_LOOK).await;
        }
        propose(handle, Command::RaiseVersion { version: VERSION_MOVES }).await?;
    }
    Ok(())
}

/// Whether an ask is of a kind that builds before the moves of buckets do not know.
pub(super) const fn is_new(inner: &Inner) -> bool {
    matches!(
        inner,
        Inner::Move { .. } | Inner::Leaving | Inner::GivenTo { .. } | Inner::BeginMove { .. } | Inner::CancelMove | Inner::TellRuns { .. }
    )
}

/// All rows, whoever owns them.
fn rows(handle: &GroupHandle) -> Result<Reader, Refusal> {
    handle.rows().map_err(|error| {
        tracing::warn!(group = %handle.id(), cause = %error, "service.moves: rows cannot be read now");
        refuse_for(Code::Behind, RETRY_MS)
    })
}

/// Before asking again.
const RETRY_MS: u32 = 500;
/// For every node to note a new version.
const NOTED_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks whether they have.
const NOTED_LOOK: Duration = Duration::from_millis(50);
