//! What is refused while the disk of a group's leader is full: what makes the data grow on a client's behalf.
//!
//! In: a client's request, or what other groups ask for one. Out: whether it grows. Invariants: whoever is logged in stays so; what takes away, what
//! protects somebody, what an operator asks and what one group owes another goes on, or a full disk could not be cleared; a refusal uses up no
//! number. Not here: how full the disk is (`disk`).

use kith_wire::{
    act::Act,
    client::Request,
    log::{MemberChange, PushChange, UserChange},
    peer::Inner,
};

/// Whether a request that a leader does adds rows.
pub(super) fn grows(request: &Request) -> bool {
    match request {
        Request::Send(_) | Request::Join { .. } | Request::CreateGroup { .. } => true,
        Request::ChangeMembers(change) => matches!(change.change, MemberChange::Add(_)),
        Request::Act(write) => act_grows(&write.act),
        // Positions take the place of earlier ones; the rest reads, or is an operator's.
        _ => false,
    }
}

fn act_grows(act: &Act) -> bool {
    match act {
        Act::Post(_) | Act::Forward { .. } | Act::Edit { .. } | Act::Schedule { .. } | Act::Describe { .. } | Act::Invite(_) => true,
        Act::React { on, .. } | Act::Pin { on, .. } => *on,
        Act::Delete { .. }
        | Act::Unschedule { .. }
        | Act::SetRules(_)
        | Act::HandOver { .. }
        | Act::Mute { .. }
        | Act::Revoke { .. }
        | Act::Reject { .. }
        | Act::Ban { .. } => false,
    }
}

/// As [`grows`], of what is asked at a user's home: a name for somebody new is the first step of every account.
pub(super) fn inner_grows(inner: &Inner) -> bool {
    match inner {
        Inner::ReserveName { .. } => true,
        Inner::User { change, .. } => user_grows(change),
        Inner::Move { leaving, change, .. } => super::moves::grows(leaving, change.as_ref()),
        _ => false,
    }
}

fn user_grows(change: &UserChange) -> bool {
    match change {
        UserChange::SetProfile { .. } | UserChange::AskContact { asked: true, .. } | UserChange::Push(PushChange::Register { .. }) => true,
        UserChange::Keyed { change, .. } => user_grows(change),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::{
        act::ActWrite,
        client::Send,
        id::{ChannelId, ClientSeq, Seq, UserId},
    };

    use super::*;

    fn channel() -> ChannelId {
        ChannelId::direct(UserId::new(1), UserId::new(2))
    }
    fn act(act: Act) -> Request {
        Request::Act(ActWrite { channel: channel(), client_seq: ClientSeq::new(1), settled: ClientSeq::new(1), act })
    }

    #[test]
    fn texts_wait_for_room_and_what_takes_away_does_not() {
        let (client_seq, settled) = (ClientSeq::new(1), ClientSeq::new(1));
        assert!(grows(&Request::Send(Send { channel: channel(), client_seq, settled, text: "hi".into(), reply_to: None, mentions: Vec::new() })));
        assert!(grows(&act(Act::React { target: Seq::new(1), emoji: "x".into(), on: true })));
        assert!(!grows(&act(Act::React { target: Seq::new(1), emoji: "x".into(), on: false })));
        assert!(!grows(&act(Act::Delete { target: Seq::new(1) })));
        assert!(!grows(&Request::GetChannel { channel: channel() }));
    }

    #[test]
    fn nobody_new_comes_and_nobody_is_logged_out() {
        let user = |change| Inner::User { user: UserId::new(1), change };
        assert!(inner_grows(&Inner::ReserveName { name: "ann".into(), user: UserId::new(1) }));
        assert!(inner_grows(&user(UserChange::AskContact { peer: UserId::new(2), asked: true })));
        assert!(!inner_grows(&user(UserChange::Block { peer: UserId::new(2), blocked: true })));
        assert!(!inner_grows(&user(UserChange::SetBanned { banned: true })));
    }
}
