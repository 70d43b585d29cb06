//! What the duty proposes, and what it reads for a registration: each as a future of its own.
//!
//! In: a seat, what to log. Out: what became of it. Invariant: what cannot be known to be committed is not said to be. Bound:
//! [`PROPOSALS_AT_ONCE`] of one call at once. Not here: when (`lead`).

use std::{collections::HashMap, sync::Arc};

use kith_machine::{
    presence::home::Seen,
    reply::Reply,
    user::may_register,
    view::{Row, RowKey, StateView, ViewError},
};
use kith_raft::{error::ProposeError, failpoint::point};
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{UserId, UserRev},
    log::{Command, Item, Ref, UserChange, UserState},
    peer::{RegisteredSession, Registration},
};

use super::{Done, Seat, unread};
use crate::{
    fanout::{
        Fanout,
        registry::{Merged, Token},
    },
    router::{refuse, refuse_for},
};

/// Users of a round whose proposals are under way at once: enough to share log entries, not enough to fill the group's queue.
pub(super) const PROPOSALS_AT_ONCE: usize = 512;
/// How often a proposal that met a full queue is tried in a round.
const TRIES: usize = 4;

/// One round of refs: each user's as one command.
pub(super) async fn round(seat: Arc<dyn Seat>, fanout: Arc<Fanout>, refs: Vec<(UserId, Vec<Ref>)>) -> Done {
    if fanout.fail_points.hit(point::BEFORE_REF_COMMIT).await.is_err() {
        return Done::Round(HashMap::new());
    }
    let (users, items): (Vec<_>, Vec<_>) =
        refs.into_iter().map(|(user, refs)| (user, Item { bucket: Some(user.bucket()), command: Command::MergeRefs { user, refs } })).unzip();
    let merged = propose_each(&*seat, items).await.into_iter().map(|answer| match answer {
        Ok(Reply::Merged { .. } | Reply::Done | Reply::Rev(_)) => Merged::Kept,
        // The user is on the way here.
        Ok(Reply::Rejected(Code::Frozen)) => Merged::Failed,
        Ok(Reply::Rejected(_)) => Merged::Gone,
        Ok(_) | Err(_) => Merged::Failed,
    });
    let outcome = users.into_iter().zip(merged).collect();
    if fanout.fail_points.hit(point::AFTER_REF_COMMIT).await.is_err() {
        return Done::Round(HashMap::new());
    }
    Done::Round(outcome)
}

/// Gives the commands that may not have been committed.
pub(super) async fn propose_all(seat: Arc<dyn Seat>, fanout: Arc<Fanout>, commands: Vec<Command>) -> Done {
    let _ = fanout.fail_points.hit(point::BEFORE_FORGET).await;
    let items = commands.iter().map(|command| {
        let bucket = match command {
            Command::Fanned { channel, .. } | Command::Gone { channel, .. } => Some(channel.bucket()),
            _ => None,
        };
        Item { bucket, command: command.clone() }
    });
    let answers = propose_each(&*seat, items.collect()).await;
    let failed = commands.into_iter().zip(answers).filter_map(|(command, answer)| answer.err().map(|_| command)).collect();
    let _ = fanout.fail_points.hit(point::AFTER_FORGET).await;
    Done::Proposed(failed)
}

/// Writes down when users were seen. What fails is written with their next change.
pub(super) async fn write_seen(seat: Arc<dyn Seat>, seen: Vec<(UserId, Seen)>) -> Done {
    let items =
        seen.into_iter().map(|(user, Seen { here, at })| Item { bucket: Some(user.bucket()), command: UserChange::Seen { here, at }.of(user) });
    propose_each(&*seat, items.collect()).await;
    Done::Seen
}

pub(super) async fn propose(seat: &dyn Seat, item: Item) -> Result<Reply, ProposeError> {
    let mut tries = 1;
    loop {
        match seat.propose(item.clone()).await {
            Err(ProposeError::Busy { retry_after }) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(retry_after).await;
            }
            other => return other,
        }
    }
}

/// Gives items in their order, so many at once; each one's answer, at its place. What met a full queue is tried again.
async fn propose_each(seat: &dyn Seat, items: Vec<Item>) -> Vec<Result<Reply, ProposeError>> {
    let mut answers = Vec::with_capacity(items.len());
    for chunk in items.chunks(PROPOSALS_AT_ONCE) {
        let first = answers.len();
        answers.extend(seat.propose_many(chunk.to_vec()).await);
        for _ in 1..TRIES {
            let busy = |(place, answer): (usize, &Result<Reply, ProposeError>)| match answer {
                Err(ProposeError::Busy { retry_after }) => Some((place, *retry_after)),
                _ => None,
            };
            let (places, waits): (Vec<_>, Vec<_>) = answers[first..].iter().enumerate().filter_map(busy).unzip();
            let Some(wait) = waits.into_iter().max() else { break };
            tokio::time::sleep(wait).await;
            let again = seat.propose_many(places.iter().map(|place| chunk[*place].clone()).collect()).await;
            places.into_iter().zip(again).for_each(|(place, answer)| answers[first + place] = answer);
        }
    }
    answers
}

/// Notes the device of a new session; then reads where the user's index stands.
pub(super) async fn note_device(seat: &dyn Seat, session: &Registration) -> Result<RegisteredSession, Refusal> {
    if session.new {
        let command = Command::RegisterDevice { user: session.user, device: session.device, login: session.login, issued: session.issued };
        match propose(seat, Item { bucket: Some(session.user.bucket()), command }).await {
            Ok(Reply::Rejected(code)) => return Err(refuse(code)),
            Ok(Reply::WrongGroup) => return Err(refuse(Code::WrongGroup)),
            Ok(_) => {}
            Err(ProposeError::NotLeader { leader, .. }) => return Err(Refusal { leader, ..refuse(Code::NotLeader) }),
            Err(ProposeError::Busy { retry_after }) => {
                return Err(refuse_for(Code::Busy, u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX)));
            }
            Err(ProposeError::Unknown | ProposeError::Stopped) => return Err(refuse_for(Code::NoLeader, 100)),
        }
    }
    let token = Token { device: session.device, login: session.login, issued: session.issued };
    match seat.view().and_then(|view| may_stay(&*view, session.user, &token)) {
        Ok(Some(Some(registered))) => Ok(registered),
        Ok(Some(None)) => Err(refuse(Code::Revoked)),
        Ok(None) => Err(refuse(Code::NoSuchUser)),
        Err(error) => {
            unread(seat, &error, "a user");
            Err(refuse(if error.is_not_owned() { Code::WrongGroup } else { Code::Internal }))
        }
    }
}

/// What a session learns; the inner `None`: its device was ended since its token was given. The outer: there is no such user.
pub(super) fn may_stay(view: &dyn StateView, user: UserId, token: &Token) -> Result<Option<Option<RegisteredSession>>, ViewError> {
    let Some(account) = kith_machine::user::account(view, user)? else { return Ok(None) };
    let device = kith_machine::user::device(view, user, token.device)?;
    let is_in = account.state == UserState::Active && may_register(&account, device.as_ref(), token.login, token.issued);
    let pushes = account.pushes > 0 && kith_machine::user::push::is_pushed_to(view, user, token.device)?;
    Ok(Some(is_in.then_some(RegisteredSession { user_rev: account.rev, name: account.name, pushes })))
}

pub(super) fn user_of(view: &dyn StateView, user: UserId) -> Result<Option<(String, UserRev)>, ViewError> {
    Ok(view.get(&RowKey::User(user))?.and_then(|row| match &*row {
        Row::User(row) if row.state == UserState::Active => Some((row.name.clone(), row.rev)),
        _ => None,
    }))
}
