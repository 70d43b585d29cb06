//! Accounts: made on first use by an operator, found by name.
//!
//! In: a name as a person wrote it, the secret sign-up key. Out: the user that has the name. Nothing is atomic across groups: reserve the
//! name, make the user in its home (the only commit point), confirm the name. Each step is idempotent, so that a retry goes on where the
//! last one stopped; a reservation that is 60 s old is settled by asking the home to confirm the user or forbid it for ever.

use std::time::Duration;

use kith_wire::{
    client::{Answer, Refusal, UserView},
    code::Code,
    id::{self, Bucket, RegionId, UserId},
    limit,
    peer::{Inner, InnerAnswer},
};

use crate::{
    clock::{Instant, jitter},
    router::{Router, refuse, refuse_for},
};

/// A name as it is stored and compared: trimmed, lower case.
///
/// # Errors
/// `Invalid`: empty, or with blanks or control characters. `TooLarge`: over 64 bytes.
pub fn fold_name(name: &str) -> Result<String, Refusal> {
    let folded = name.trim().to_lowercase();
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '#' | '/' | ',' | '@');
    if folded.is_empty() || folded.chars().any(is_odd) {
        return Err(refuse(Code::Invalid).with_text("a name has no blanks, and none of # / , @"));
    }
    if folded.len() > limit::NAME_BYTES_MAX {
        return Err(refuse(Code::TooLarge).with_text("a name has at most 64 bytes"));
    }
    Ok(folded)
}

/// Finds or makes the account of a name. `key` is the secret of a new one: the same key is the same user.
///
/// # Errors
/// `IdTaken`: draw another key. `Busy`: another sign-up holds the name, for now.
pub async fn ensure(router: &Router, name: &str, key: &[u8; 32], deadline: Instant) -> Result<Answer, Refusal> {
    let name = fold_name(name)?;
    let user = UserId::from_sign_up_key(RegionId::FIRST, key);
    let mut wait = RETRY_MIN;
    loop {
        match find(router, &name, deadline).await? {
            Held::Confirmed(user) => return Ok(Answer::Account { user, name, created: false }),
            Held::Reserved { user: other, age_ms } if other != user && age_ms >= STALE_MS => {
                settle(router, &name, other, deadline).await?;
                continue;
            }
            Held::Reserved { user: other, .. } if other != user => {
                let pause = jitter(wait / 2, wait);
                wait = (wait * 2).min(RETRY_MAX);
                if router.clock().instant() + pause >= deadline {
                    return Err(refuse_for(Code::Busy, BUSY_MS));
                }
                tokio::time::sleep(pause).await;
                continue;
            }
            Held::Free | Held::Reserved { .. } => {}
        }
        match create(router, &name, user, key, deadline).await {
            Ok(()) => return Ok(Answer::Account { user, name, created: true }),
            // Someone was quicker: look again whose it is.
            Err(refusal) if matches!(refusal.code, Code::NameTaken | Code::Busy | Code::NotFound) => {
                if router.clock().instant() + RETRY_MIN >= deadline {
                    return Err(refusal);
                }
                tokio::time::sleep(jitter(RETRY_MIN / 2, RETRY_MIN)).await;
            }
            Err(refusal) => return Err(refusal),
        }
    }
}

async fn create(router: &Router, name: &str, user: UserId, key: &[u8; 32], deadline: Instant) -> Result<(), Refusal> {
    let of_name = Bucket::of_name(name);
    router.inner(of_name, Inner::ReserveName { name: name.to_owned(), user }, deadline).await?;
    let digest = id::digest(&[b"kith/sign-up/1", key]);
    let made = router.inner(user.bucket(), Inner::CreateUser { user, name: name.to_owned(), key: digest }, deadline).await;
    if let Err(refusal) = made {
        if matches!(refusal.code, Code::IdTaken | Code::Revoked | Code::NameTaken) {
            // This user will never have the name: do not hold it.
            router.inner(of_name, Inner::ReleaseName { name: name.to_owned(), user }, deadline).await?;
        }
        return Err(refusal);
    }
    router.inner(of_name, Inner::ConfirmName { name: name.to_owned(), user }, deadline).await?;
    Ok(())
}

async fn settle(router: &Router, name: &str, user: UserId, deadline: Instant) -> Result<(), Refusal> {
    let name = name.to_owned();
    let of_name = Bucket::of_name(&name);
    let next = match router.inner(user.bucket(), Inner::SettleUser { user }, deadline).await? {
        InnerAnswer::Truth(true) => Inner::ConfirmName { name, user },
        InnerAnswer::Truth(false) => Inner::ReleaseName { name, user },
        _ => return Err(refuse(Code::Internal)),
    };
    router.inner(of_name, next, deadline).await.map(|_| ())
}

enum Held {
    Free,
    Reserved { user: UserId, age_ms: u64 },
    Confirmed(UserId),
}

async fn find(router: &Router, name: &str, deadline: Instant) -> Result<Held, Refusal> {
    match router.inner(Bucket::of_name(name), Inner::FindName { name: name.to_owned() }, deadline).await? {
        InnerAnswer::NoName => Ok(Held::Free),
        InnerAnswer::Name { user, confirmed: true, .. } => Ok(Held::Confirmed(user)),
        InnerAnswer::Name { user, confirmed: false, age_ms } => Ok(Held::Reserved { user, age_ms }),
        _ => Err(refuse(Code::Internal)),
    }
}

/// The user of a name: none or one.
///
/// # Errors
/// The name is no name, or its group has no leader.
pub async fn find_user(router: &Router, name: &str, deadline: Instant) -> Result<Answer, Refusal> {
    let name = fold_name(name)?;
    Ok(Answer::Users(match find(router, &name, deadline).await? {
        Held::Confirmed(user) => vec![UserView { user, name }],
        Held::Free | Held::Reserved { .. } => Vec::new(),
    }))
}

/// Names of users; asked for by group, all groups at once.
///
/// # Errors
/// `TooLarge`, or a group has no leader.
pub async fn get_users(router: &Router, users: Vec<UserId>, deadline: Instant) -> Result<Answer, Refusal> {
    if users.len() > limit::USERS_PER_REQUEST {
        return Err(refuse(Code::TooLarge));
    }
    let mut by_group = std::collections::BTreeMap::<_, (Bucket, Vec<UserId>)>::new();
    for user in users {
        let bucket = user.bucket();
        by_group.entry(router.locate(bucket)?.group).or_insert_with(|| (bucket, Vec::new())).1.push(user);
    }
    let asked = by_group.into_values().map(|(bucket, users)| router.inner(bucket, Inner::GetUsers { users }, deadline));
    let mut found = Vec::new();
    for answer in futures_util::future::join_all(asked).await {
        if let InnerAnswer::Users(users) = answer? {
            found.extend(users.into_iter().map(|(user, name)| UserView { user, name }));
        }
    }
    Ok(Answer::Users(found))
}

/// A reservation that old is of a sign-up that died.
const STALE_MS: u64 = 60_000;
/// First wait for another sign-up of the same name.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// Longest wait.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// When the other one did not finish in time.
const BUSY_MS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_and_odd_ones_refused() {
        assert_eq!(fold_name(" Ann_O|Ubuntu ").unwrap(), "ann_o|ubuntu");
        assert_eq!(fold_name("ÄNNE").unwrap(), "änne");
        for odd in ["", "  ", "two words", "a\u{0}b", "#room", "a,b"] {
            assert_eq!(fold_name(odd).unwrap_err().code, Code::Invalid, "{odd:?}");
        }
        assert_eq!(fold_name(&"x".repeat(65)).unwrap_err().code, Code::TooLarge);
    }
}
