//! Who is here, asked for once: each user's home says what the asker may see.
//!
//! In: an authenticated caller and users. Out: one view of each, in the order that was asked. Invariant: whoever may not know gets the same as of
//! nobody at all; a home that does not answer makes its users unknown, never offline. Bounds: `limit::WATCHES_MAX` users. Not here: who
//! looks on (`fanout::presence`), who may know (kith-machine).

use std::collections::BTreeMap;

use kith_wire::{
    client::{Answer, Refusal},
    code::Code,
    id::{GroupId, UserId},
    limit,
    log::UserChange,
    peer::{Caller, Inner, InnerAnswer},
    presence::{PresenceRequest, PresenceView},
};

use crate::{
    clock::Instant,
    router::{Router, refuse},
};

/// Does a request.
///
/// # Errors
/// `Unsupported`: only a session can look on or say whether somebody sits before it. Else what a home says.
pub(super) async fn handle(router: &Router, caller: &Caller, asked: PresenceRequest, deadline: Instant) -> Result<Answer, Refusal> {
    match asked {
        PresenceRequest::Get { users } => look(router, caller.user, users, deadline).await.map(Answer::Presence),
        PresenceRequest::SetPrivate { private } => {
            let change = Inner::User { user: caller.user, change: UserChange::SetPrivate { private } };
            router.inner(caller.user.bucket(), change, deadline).await.map(|_| Answer::Done)
        }
        PresenceRequest::Watch { .. } | PresenceRequest::SetActivity { .. } => {
            Err(refuse(Code::Unsupported).with_text("only a session can watch, or say that somebody is there: over HTTP listen to /v1/events"))
        }
    }
}

async fn look(router: &Router, asker: UserId, users: Vec<UserId>, deadline: Instant) -> Result<Vec<PresenceView>, Refusal> {
    if users.len() > limit::WATCHES_MAX {
        return Err(refuse(Code::TooLarge).with_text("of at most 200 users at once"));
    }
    let mut by_group = BTreeMap::<GroupId, Vec<UserId>>::new();
    for user in &users {
        // One that has no home here is nobody.
        let Ok(place) = router.locate(user.bucket()) else { continue };
        by_group.entry(place.group).or_default().push(*user);
    }
    let asked = by_group.into_iter().map(|(group, users)| async move {
        let answer = router.inner_to(group, Inner::Presence { asker, users: users.clone() }, deadline).await;
        if answer.as_ref().is_err_and(|refusal| refusal.code == Code::WrongGroup) {
            // Some have moved: the next look is at their new home.
            for user in &users {
                router.learn(group, user.bucket(), None, deadline).await;
            }
        }
        match answer {
            Ok(InnerAnswer::Presence(views)) => views,
            _ => users.into_iter().map(PresenceView::unknown).collect(),
        }
    });
    let found = futures_util::future::join_all(asked).await;
    let views: BTreeMap<UserId, PresenceView> = found.into_iter().flatten().map(|view| (view.user, view)).collect();
    Ok(users.into_iter().map(|user| views.get(&user).copied().unwrap_or_else(|| PresenceView::hidden(user))).collect())
}
