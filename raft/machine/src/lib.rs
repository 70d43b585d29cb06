//! kith-machine: the replicated state machine of a group, pure and deterministic.
//!
//! In: a read view of the group's rows, one encoded batch and its log position. Out: the rows to write, a reply per item, effects.
//! Invariants: apply is total (bad input is a reply, never a panic), reads no clock, no randomness, no map order; dedup comes before
//! membership; `seq = last + 1` is assigned in one line (`channel::append`); writes depend on nothing but view and batch.
//! Bounds: `kith_wire::limit`; a batch writes rows in proportion to its own size. Reads for the node are pure functions over a view:
//! [`channel::read`], [`channel::refs`], [`user`], [`name`], [`meta`], [`moving`].
//! Not here: disks (kith-storage), consensus (kith-raft), tokio, tracing.

use bytes::Bytes;
use kith_wire::{
    code::Code,
    error::DecodeError,
    hook::HooksRow,
    id::{Bucket, GroupId, Timestamp},
    log::{Batch, Command, GroupStateRow, Item, LogId, bucket_of_word},
    moving::BucketRun,
    upgrade::{BUILD, ClusterVersion},
};
use thiserror::Error;

use crate::{
    effect::Effect,
    mutant::Mutant,
    overlay::Overlay,
    own::Owned,
    reply::Reply,
    view::{RowKey, StateView, ViewError, WriteSet, row},
};

pub mod body;
mod call;
pub mod channel;
pub mod desk;
mod digest;
pub mod effect;
pub mod hook;
pub mod invariant;
pub mod key;
pub mod meta;
pub mod moving;
pub mod mutant;
pub mod name;
mod overlay;
pub mod own;
pub mod presence;
pub mod push;
pub mod reply;
mod run;
#[cfg(feature = "testing")]
pub mod testing;
pub mod user;
pub mod view;

/// The version of commands and rows that a new group is written in.
pub const VERSION_FIRST: u32 = 1;
/// From this version on a group's log may say that buckets move.
pub const VERSION_MOVES: u32 = 2;
/// The newest version of commands and rows that this build can apply.
pub const VERSION_LAST: u32 = VERSION_MOVES;

/// The newest version of groups in a cluster of this version: what a build can apply that knows no newer one.
pub const fn version_in(cluster: ClusterVersion) -> u32 {
    if cluster.get() < ClusterVersion::MOVES.get() { VERSION_FIRST } else { VERSION_LAST }
}

const _: () = assert!(version_in(BUILD) == VERSION_LAST, "a build knows what its cluster version brings");

/// Where a batch stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// The group whose log it is in.
    pub group: GroupId,
    /// Its place in that log.
    pub id: LogId,
}

/// What applying a batch gives.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Applied {
    /// The rows to write, the group's own row among them.
    pub writes: WriteSet,
    /// One per item, in the same order.
    pub replies: Vec<Reply>,
    /// In the order in which they came about.
    pub effects: Vec<Effect>,
}

/// This replica cannot go on with this group: its disk or its log is broken, or it is too old a build.
#[derive(Clone, Debug, Error)]
pub enum ApplyError {
    /// A row could not be read.
    #[error("cannot apply the entry at index {}: {}", .id.index, .cause)]
    View { id: LogId, cause: ViewError },
    /// The entry is not a batch that this version knows.
    #[error("cannot decode the entry at index {}", .id.index)]
    Decode {
        id: LogId,
        #[source]
        cause: DecodeError,
    },
    /// The group is written in a version that this build does not know.
    #[error("entry at index {}: the group's version {version} is newer than this build's {last}", .id.index)]
    UnknownVersion { id: LogId, version: u32, last: u32 },
}

/// Applies one encoded [`Batch`]. Blank and membership entries do not come here.
///
/// # Errors
/// Corruption, or a version that this build does not know: the replica must stop this group, and nothing of the batch may be written.
pub fn apply(view: &dyn StateView, batch: &Bytes, meta: Meta) -> Result<Applied, ApplyError> {
    let batch = Batch::decode_bytes(batch.clone()).map_err(|cause| ApplyError::Decode { id: meta.id, cause })?;
    apply_batch(view, batch, meta)
}

/// Applies one decoded batch: its items in order, each seeing what those before it wrote.
///
/// # Errors
/// As [`apply`].
pub fn apply_batch(view: &dyn StateView, batch: Batch, meta: Meta) -> Result<Applied, ApplyError> {
    let failed = |cause| ApplyError::View { id: meta.id, cause };
    let mut state = group_state(view).map_err(failed)?;
    let last = version_in(view.quirk().build());
    let known = |version| if version > last { Err(ApplyError::UnknownVersion { id: meta.id, version, last }) } else { Ok(()) };
    known(state.version)?;
    state.now = state.now.max(batch.now);
    let owned = Owned::read(view).map_err(failed)?;
    let leaving = moving::leaving(view).map_err(failed)?;
    let hooked = row::<HooksRow>(view, &RowKey::GroupHooks).map_err(failed)?.is_some_and(|row| !row.hooks.is_empty());
    let mut ctx = Context { rows: Overlay::new(view), effects: Vec::new(), meta, now: state.now, owned, map_changed: false, hooked };
    let mut replies = Vec::with_capacity(batch.items.len());
    for item in batch.items {
        if matches!(item.command, Command::Move(_)) {
            // A build from before there were any cannot even read it.
            known(if last < VERSION_MOVES { VERSION_MOVES } else { last })?;
        }
        if let Command::RaiseVersion { version } = item.command {
            known(version)?;
            state.version = state.version.max(version);
            replies.push(Reply::Done);
        } else {
            replies.push(apply_item(&mut ctx, item).map_err(failed)?);
        }
    }
    let Context { mut rows, mut effects, map_changed, .. } = ctx;
    moving::mark(&mut rows, leaving).map_err(failed)?;
    if map_changed {
        effects.push(Effect::MapChanged { epoch: meta::epoch_of(meta.id) });
    }
    state.digest = digest::chain(&state.digest, meta.id, rows.writes());
    rows.put(RowKey::GroupState, state);
    Ok(Applied { writes: rows.into_writes(), replies, effects })
}

/// The group's own row; that of a new group before its first entry.
///
/// # Errors
/// The row cannot be read.
pub fn group_state(view: &dyn StateView) -> Result<GroupStateRow, ViewError> {
    let row = row::<GroupStateRow>(view, &RowKey::GroupState)?;
    Ok(row.map_or_else(|| GroupStateRow { version: VERSION_FIRST, ..GroupStateRow::default() }, |row| row.clone()))
}

/// A command with the bucket that it is for.
pub fn item(command: Command) -> Item {
    Item { bucket: bucket_of(&command), command }
}

/// The bucket that a command is for; `None` for commands on the group itself and on the cluster.
pub fn bucket_of(command: &Command) -> Option<Bucket> {
    match command {
        Command::Append { channel, .. }
        | Command::CreateGroup { channel, .. }
        | Command::ChangeMembers { channel, .. }
        | Command::Act { channel, .. }
        | Command::Refuse { channel, .. }
        | Command::Join { channel, .. }
        | Command::Fire { channel, .. }
        | Command::Void { channel, .. }
        | Command::Fanned { channel, .. }
        | Command::Receipt { channel, .. }
        | Command::Gone { channel, .. } => Some(channel.bucket()),
        Command::CreateUser { user, .. }
        | Command::ForbidUser { user }
        | Command::RegisterDevice { user, .. }
        | Command::MergeRefs { user, .. }
        | Command::MarkRead { user, .. }
        | Command::BeginCall { user, .. }
        | Command::EndCall { user, .. }
        | Command::User { user, .. } => Some(user.bucket()),
        Command::ReserveName { name, .. }
        | Command::ConfirmName { name, .. }
        | Command::ReleaseName { name, .. }
        | Command::HoldName { name, .. } => Some(Bucket::of_name(name)),
        Command::IndexWord { word, .. } => Some(bucket_of_word(word)),
        Command::Desk(_) => Some(kith_wire::desk::bucket()),
        Command::ChannelHook { channel, .. } | Command::Hooked { channel, .. } => Some(channel.bucket()),
        Command::Move(_)
        | Command::OwnBuckets { .. }
        | Command::RaiseVersion { .. }
        | Command::SetHooks { .. }
        | Command::InitCluster { .. }
        | Command::PutNode { .. }
        | Command::PutGroup { .. }
        | Command::PutRun { .. }
        | Command::ChangeMap { .. }
        | Command::RaiseCluster { .. }
        | Command::Trust(_) => None,
    }
}

/// What the items of a batch share while they are applied.
struct Context<'a> {
    rows: Overlay<'a>,
    effects: Vec<Effect>,
    meta: Meta,
    now: Timestamp,
    owned: Owned,
    map_changed: bool,
    /// The group has a copy of webhooks that hear of more than one channel.
    hooked: bool,
}

impl Context<'_> {
    fn is(&self, mutant: Mutant) -> bool {
        self.rows.quirk().is(mutant)
    }
}

fn apply_item(ctx: &mut Context<'_>, item: Item) -> Result<Reply, ViewError> {
    let bucket = bucket_of(&item.command);
    if bucket != item.bucket {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    if let Some(bucket) = bucket.filter(|bucket| !ctx.owned.holds(*bucket)) {
        let run = BucketRun { region: bucket.region, first: bucket.index, last: bucket.index };
        return Ok(if moving::is_coming(&ctx.rows, run)? { Reply::Rejected(Code::Frozen) } else { Reply::WrongGroup });
    }
    match item.command {
        Command::Append { channel, author, content, peer } => channel::append::append(ctx, channel, &author, content, peer),
        Command::CreateGroup { channel, creator, device, op, title, members } => {
            channel::member::create(ctx, channel::member::Creation { channel, creator, device, op, title, members })
        }
        Command::ChangeMembers { channel, author, change } => channel::member::change(ctx, channel, &author, change),
        Command::Act { channel, author, act } => channel::act::act(ctx, channel, &author, act),
        Command::Refuse { channel, author, code } => channel::act::refuse(ctx, channel, &author, code),
        Command::Join { channel, user, secret } => channel::link::join(ctx, channel, user, secret),
        Command::Fire { channel, due, timer, refused } => channel::timer::fire(ctx, channel, due, timer, refused),
        Command::Void { channel, user, device, client_seq, digest } => channel::dedup::void(ctx, channel, user, device, client_seq, digest),
        Command::Fanned { channel, seq } => channel::outbox::fanned(ctx, channel, seq),
        Command::Receipt { channel, user, read, delivered } => channel::cursor::receipt(ctx, channel, user, read, delivered),
        Command::Gone { channel, user } => channel::erase::gone(ctx, channel, user),
        Command::CreateUser { user, name, key } => user::account::create(ctx, user, name, key),
        Command::ForbidUser { user } => user::account::forbid(ctx, user),
        Command::RegisterDevice { user, device, login, issued } => user::device::register(ctx, user, device, login, issued),
        Command::User { user, change } => user::change(ctx, user, change),
        Command::MergeRefs { user, refs } => user::index::merge_refs(ctx, user, refs),
        Command::MarkRead { user, channel, read } => user::index::mark_read(ctx, user, channel, read),
        Command::BeginCall { user, key, digest } => user::call::begin(ctx, user, key, digest),
        Command::EndCall { user, key, answer } => user::call::end(ctx, user, key, answer),
        Command::ReserveName { name, user } => name::reserve(ctx, name, user),
        Command::ConfirmName { name, user } => name::confirm(ctx, name, user),
        Command::ReleaseName { name, user, since } => name::release(ctx, name, user, since),
        Command::HoldName { name, user, until } => name::hold(ctx, name, user, until),
        Command::IndexWord { word, user, version, gone } => name::word::index(ctx, word, user, version, gone),
        Command::Desk(change) => desk::change(ctx, change),
        Command::ChannelHook { channel, by, change } => hook::change(ctx, channel, by, change),
        Command::Hooked { channel, acks } => hook::acked(ctx, channel, &acks),
        Command::SetHooks { hooks } => hook::copy(ctx, hooks),
        Command::Move(change) => moving::change(ctx, change),
        Command::OwnBuckets { region, first, last, epoch } => own::take(ctx, region, first, last, epoch),
        // The version belongs to the group's row, which the caller holds.
        Command::RaiseVersion { .. } => Ok(Reply::Done),
        Command::InitCluster { .. }
        | Command::PutNode { .. }
        | Command::PutGroup { .. }
        | Command::PutRun { .. }
        | Command::ChangeMap { .. }
        | Command::RaiseCluster { .. }
        | Command::Trust(_)
            if ctx.meta.group != GroupId::META =>
        {
            Ok(Reply::WrongGroup)
        }
        Command::InitCluster { cluster, version } => meta::map::init(ctx, cluster, version),
        Command::RaiseCluster { to } => meta::version::raise(ctx, to),
        Command::PutNode { node } => meta::map::put_node(ctx, node),
        Command::PutGroup { group } => meta::map::put_group(ctx, group),
        Command::PutRun { run } => meta::map::put_run(ctx, run),
        Command::ChangeMap { at, nodes, groups, moves } => meta::map::change(ctx, at, nodes, groups, moves),
        Command::Trust(change) => meta::trust::change(ctx, change),
    }
}
