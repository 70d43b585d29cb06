//! Keys of calls: what those give who number nothing, so that a retry never does a thing twice.
//!
//! In: a key, the time of the batch, what is remembered of the caller. Out: whether the key can be taken for a new one, and which remembered
//! ones are over. Invariant: what was forgotten is never "new" again: the floor rises over it. Bounds: `limit::CALL*`. Time decides only
//! how long a key is remembered, never whether a call is done twice. Not here: the rows ([`crate::channel::keyed`], [`crate::user::call`]).

use kith_wire::{
    code::Code,
    id::{CallKey, Timestamp},
    limit,
    log::CallsRow,
};

/// Why a key that is not remembered cannot be taken for a new one.
pub(crate) fn refused(calls: &CallsRow, key: CallKey, now: Timestamp, live_max: u32) -> Option<Code> {
    if key.is_of_node() {
        return None;
    }
    match () {
        () if key.time() <= calls.floor => Some(Code::TooOld),
        () if key.time().get() > now.get().saturating_add(limit::CALL_AHEAD_MS) => Some(Code::Invalid),
        () if calls.live >= live_max => Some(Code::Busy),
        () => None,
    }
}

/// Whether a remembered key need not be remembered any longer.
pub(crate) fn is_over(key: CallKey, now: Timestamp) -> bool {
    let kept_ms = if key.is_of_node() { limit::CALL_OF_NODE_KEPT_MS } else { limit::CALL_KEPT_MS };
    key.time().get().saturating_add(kept_ms) < now.get()
}

/// Counts a key that is remembered from now on.
pub(crate) fn note(calls: &mut CallsRow, key: CallKey) {
    if !key.is_of_node() {
        calls.live = calls.live.saturating_add(1);
    }
}

/// Counts a key that is forgotten.
pub(crate) fn forget(calls: &mut CallsRow, key: CallKey) {
    if !key.is_of_node() {
        calls.floor = calls.floor.max(key.time());
        calls.live = calls.live.saturating_sub(1);
    }
}

/// Keys that are forgotten with each new one: more than one, so that a backlog shrinks.
pub(crate) const FORGET_AT_ONCE: usize = 3;
