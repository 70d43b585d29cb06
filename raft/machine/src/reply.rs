//! What the proposer of a command gets: a value for each expected outcome.

use bytes::Bytes;
use kith_wire::{
    code::Code,
    id::{ClientSeq, Seq, Timestamp, UserRev},
};

/// The outcome of one item of a batch.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// A record stands at this seq.
    Sent { seq: Seq, cnt: u64, ts: Timestamp, duplicate: bool },
    /// Done without a record, under this id (now or before).
    Kept { id: u64 },
    /// A member now, by the record at this seq, or one before.
    Joined { seq: Seq },
    /// Waits for an admin of the group.
    Pending,
    /// The next text of this member may follow after the delay. Nothing is used up.
    Slow { ms: u64 },
    /// The number was given up (now or before).
    Voided,
    /// The device must resend from this number.
    OutOfSequence { expected: ClientSeq },
    /// A refusal. A final one of a numbered write was logged and used up the number; a retryable one (by its code) used nothing.
    Rejected(Code),
    /// The group does not own the bucket.
    WrongGroup,
    /// An account is there; `false` when it was there before (also the answer to `ForbidUser` when it came too late).
    Account { created: bool },
    /// A user's index stands here (also the answer to `RegisterDevice`).
    Rev(UserRev),
    /// The refs were merged: the index moved from one version to the other.
    Merged { from: UserRev, to: UserRev },
    /// The name is the user's for now (or for good): which reservation it is.
    Reserved { since: Timestamp },
    /// The device is in, by this log-in; what its token may say.
    Entered { name: String, login: u64, admin: bool, created: bool },
    /// A call: what was answered to it before; none: it is the asker's to do.
    Call { answer: Option<Bytes> },
    /// Done, nothing to tell.
    Done,
}
