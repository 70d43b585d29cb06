//! What others must hear of an applied command. Produced on every replica, executed by the leader; an effect is only a wake-up.

use std::sync::Arc;

use kith_wire::{
    act::Timer,
    id::{ChannelId, DeviceId, MapEpoch, Seq, Timestamp, UserId, UserRev},
    log::{IndexRow, Position, Record},
};

/// News of an applied command.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// A conversation grew. `recipients`: who may see it, each with the seq before it that they may see; sorted by user.
    Appended { channel: ChannelId, record: Arc<Record>, recipients: Arc<[(UserId, Seq)]> },
    /// An older record reads otherwise now.
    Amended { channel: ChannelId, record: Arc<Record> },
    /// Something is to happen then: a `Timer` row.
    Timed { due: Timestamp, channel: ChannelId, timer: Timer },
    /// A user's index moved; the rows that changed.
    IndexMoved { user: UserId, from: UserRev, to: UserRev, rows: Vec<Arc<IndexRow>> },
    /// Devices of a user were ended: their sessions are to be. `all`: all but these.
    DevicesEnded { user: UserId, devices: Vec<DeviceId>, all_but: bool },
    /// Whom a user hears of changed by one: `blocked` or not any more.
    Blocked { user: UserId, peer: UserId, blocked: bool },
    /// Whether a peer may know how a user is changed: contacts may.
    MayLook { user: UserId, peer: UserId, allowed: bool },
    /// Whether a user is to be seen offline by all others changed.
    Hides { user: UserId, private: bool },
    /// A channel with webhooks grew: a `HookDue` row.
    Hooked { channel: ChannelId },
    /// Some device of a user may have to be pushed to: a `PushDue` row.
    Pushable { user: UserId, channel: ChannelId },
    /// Users of the group owe something elsewhere.
    Owes,
    /// A member's read or delivered position moved.
    Receipt { channel: ChannelId, user: UserId, read: Position, delivered: Position, others: Arc<[UserId]> },
    /// Meta group: the map changed.
    MapChanged { epoch: MapEpoch },
    /// The group's owned buckets changed.
    OwnershipChanged,
}
