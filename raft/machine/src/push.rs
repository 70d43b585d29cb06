//! Whether a device is pushed to: pure, for one device and one conversation that is due.
//!
//! In: rows (what is new, what was read, what was sent, what the user wants), whether the device is near, the time. Out: a [`Verdict`]. Invariants: nothing is sent to a
//! device that is connected, nor within [`limit::PUSH_EVERY_MS`] of the last push about the same conversation, nor about what was read or confirmed; what
//! cannot be known yet is waited for; who mentions somebody is heard in spite of mute and quiet hours; what a device shows of what was read on another is taken back,
//! once, by the same rules. Bounds: a verdict costs one pass over 100 mentions. Not
//! here: the rows ([`crate::user::push`]), who is near (the node's registry), the push itself (kith-push).

use std::time::Duration;

use kith_wire::{
    id::{Seq, Timestamp},
    limit,
    log::{PushDevice, QuietHours},
};

use crate::user::push::Due;

/// A device that stays connected for so long after something was said has it: its session would have ended by then, were nobody there.
pub const STEADY: Duration = Duration::from_secs(90);
/// Who cannot be known to be near is asked for again after so long.
pub const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Whether somebody who is connected still is, and has confirmed, is asked for again after so long: rarely, since all who are connected and do not confirm cost it.
pub const HERE_AGAIN: Duration = Duration::from_secs(10);

/// How near a device is, as far as its home's leader knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Near {
    /// Not known: not all edges have told their sessions.
    Unknown,
    /// It has a session, for so long.
    Here(Duration),
    /// It has none, for so long: its last one ended in order, or it never had one since it could have been known.
    Gone(Duration),
    /// It has none, for so long, because its edge was lost or the leader is new: it may be on its way to another edge.
    Lost(Duration),
}

/// What the leader knows of a device and a conversation beside the rows. In memory: what is lost of it delays a push, or repeats it once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beside {
    /// How near it is.
    pub near: Near,
    /// It has said that it has everything up to there.
    pub confirmed: Option<Seq>,
    /// A push failed: not before then.
    pub not_before: Option<Timestamp>,
    /// The conversation has stood where it stands for so long.
    pub steady: Duration,
    /// How long a device that was lost may take to come back.
    pub grace: Duration,
}

/// What to do about a device and a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing, as it stands.
    Settled,
    /// Look again, not before then.
    Wait(Timestamp),
    /// Push, now.
    Send {
        /// Something that was not pushed yet mentions the user.
        is_mention: bool,
    },
    /// Push, now, that everything is read: the device shows something that is not new any more.
    TakeBack,
    /// The device has not registered for so long that it is gone.
    Expired,
}

/// Decides.
pub fn decide(due: &Due, device: &PushDevice, quiet: Option<QuietHours>, beside: &Beside, now: Timestamp) -> Verdict {
    let (row, head) = (&due.index, due.index.news.head.seq);
    if now >= after(device.registered, limit::PUSH_REGISTERED_MS) {
        return Verdict::Expired;
    }
    let sent = due.sent.sent.iter().find(|sent| sent.device == device.device);
    if due.is_read() {
        return take_back(due, device, beside, now);
    }
    let has_it = beside.confirmed.is_some_and(|seq| seq >= head) || sent.is_some_and(|sent| sent.seq >= head);
    if has_it || now >= after(due.since, limit::PUSH_KEPT_MS) {
        return Verdict::Settled;
    }
    let known = sent.map_or(row.read.seq, |sent| sent.seq.max(row.read.seq)).max(beside.confirmed.unwrap_or(Seq::ZERO));
    let is_mention = row.news.mentions.iter().any(|seq| *seq > known);
    if row.is_muted(now) && !is_mention {
        return Verdict::Settled;
    }
    let quiet_until = quiet.filter(|_| !is_mention).and_then(|quiet| quiet.until(now));
    let pushed_again = sent.map(|sent| after(sent.at, limit::PUSH_EVERY_MS));
    let near = match beside.near {
        Near::Here(lasted) if lasted.min(beside.steady).min(since(due.since, now)) < STEADY => Some(plus(now, HERE_AGAIN)),
        Near::Here(_) => return Verdict::Settled,
        near => away(near, beside.grace, now),
    };
    let waits = [Some(after(due.since, limit::PUSH_WAIT_MS)), quiet_until, pushed_again, beside.not_before, near];
    once(waits, now, Verdict::Send { is_mention })
}

/// Decides of a conversation all of which is read. A device that is here sees that by itself; nobody hears it, so that quiet hours do not count.
fn take_back(due: &Due, device: &PushDevice, beside: &Beside, now: Timestamp) -> Verdict {
    let shown = due.sent.sent.iter().find(|sent| sent.device == device.device && !sent.is_read);
    let Some(shown) = shown.filter(|_| device.target.takes_back()) else { return Verdict::Settled };
    if matches!(beside.near, Near::Here(_)) || now >= after(due.since, limit::PUSH_KEPT_MS) {
        return Verdict::Settled;
    }
    let waits = [
        Some(after(due.since, limit::PUSH_WAIT_MS)),
        Some(after(shown.at, limit::PUSH_EVERY_MS)),
        beside.not_before,
        away(beside.near, beside.grace, now),
    ];
    once(waits, now, Verdict::TakeBack)
}

/// Until when a device that has no session may still come back.
fn away(near: Near, grace: Duration, now: Timestamp) -> Option<Timestamp> {
    let wait = Duration::from_millis(limit::PUSH_WAIT_MS);
    let gone = |absent: Duration, least: Duration| (absent < least).then(|| plus(now, least.saturating_sub(absent)));
    match near {
        Near::Unknown => Some(plus(now, LOOK_AGAIN)),
        Near::Here(_) => None,
        Near::Gone(absent) => gone(absent, wait),
        Near::Lost(absent) => gone(absent, wait.max(grace)),
    }
}

/// That verdict, once nothing has to be waited for.
fn once<const N: usize>(waits: [Option<Timestamp>; N], now: Timestamp, verdict: Verdict) -> Verdict {
    let until = waits.into_iter().flatten().max().filter(|until| *until > now);
    until.map_or(verdict, Verdict::Wait)
}

fn after(at: Timestamp, ms: u64) -> Timestamp {
    Timestamp::new(at.get().saturating_add(ms))
}
fn plus(at: Timestamp, wait: Duration) -> Timestamp {
    after(at, u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1))
}
fn since(at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(now.get().saturating_sub(at.get()))
}
