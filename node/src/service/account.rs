//! Accounts: made on first use by an operator, found by name.
//!
//! In: a name as a person wrote it, the secret sign-up key. Out: the user that has the name. Nothing is atomic across groups: reserve the
//! name, make the user in its home (the only commit point), confirm the name. Each step is idempotent, so that a retry goes on where the
//! last one stopped; a reservation that is 60 s old is settled by asking the home to confirm the user or forbid it for ever.

use std::time::Duration;

use kith_wire::{
    client::{Answer, Refusal, UserView},
    code::Code,
    id::{self, Bucket, GroupId, RegionId, Timestamp, UserId},
    limit,
    peer::{Inner, InnerAnswer},
};

use crate::{
    auth::name::fold_name,
    clock::{Instant, jitter},
    router::{Router, refuse, refuse_for},
};

/// Finds or makes the account of a name. `key` is the secret of a new one: the same key is the same user.
///
/// # Errors
/// `IdTaken`: draw another key. `Busy`: another sign-up holds the name, for now.
pub async fn ensure(router: &Router, name: &str, key: &[u8; 32], deadline: Instant) -> Result<Answer, Refusal> {
    let name = fold_name(name)?;
    let user = newcomer(router, &name, key, deadline).await?;
    loop {
        if let Held::Confirmed(user) = find(router, &name, deadline).await? {
            return Ok(Answer::Account { user, name, created: false });
        }
        let made = async {
            let reservation = claim(router, &name, user, deadline).await?;
            let digest = id::digest(&[b"kith/sign-up/1", key]);
            let create = Inner::CreateUser { user, name: name.clone(), key: digest };
            if let Err(refusal) = router.inner(user.bucket(), create, deadline).await {
                return Err(give_up(router, &reservation, refusal, deadline).await);
            }
            confirm(router, &name, user, deadline).await
        };
        match made.await {
            Ok(()) => return Ok(Answer::Account { user, name, created: true }),
            // Someone was quicker: look again whose it is.
            Err(refusal) if matches!(refusal.code, Code::NameTaken | Code::Busy | Code::NotFound) => {
                if router.clock().instant() + RETRY_MIN >= deadline || find(router, &name, deadline).await?.is_held_back() {
                    return Err(refusal);
                }
                tokio::time::sleep(jitter(RETRY_MIN / 2, RETRY_MIN)).await;
            }
            Err(refusal) => return Err(refusal),
        }
    }
}

/// Who somebody with this sign-up key is: at home in the region where they came in. One who came in elsewhere before, and was not answered, is who they
/// were there.
///
/// # Errors
/// The name's bucket cannot be asked.
pub(super) async fn newcomer(router: &Router, name: &str, key: &[u8; 32], deadline: Instant) -> Result<UserId, Refusal> {
    let regions = router.home_regions();
    if regions.len() > 1
        && let Held::Confirmed(user) | Held::Reserved { user, .. } = find(router, name, deadline).await?
        && user == UserId::from_sign_up_key(user.region(), key)
    {
        return Ok(user);
    }
    Ok(UserId::from_sign_up_key(regions.first().copied().unwrap_or(RegionId::FIRST), key))
}

/// A name that is held for a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reservation {
    name: String,
    user: UserId,
    /// Which one: a name may be reserved anew meanwhile.
    since: Timestamp,
}

/// Reserves a folded name for a user, or finds it theirs. Waits for another's reservation to come to an end, and settles one that is stale.
///
/// # Errors
/// `NameTaken`: it is another's, or was not long ago. `Busy`: another holds it, for now.
pub(super) async fn claim(router: &Router, name: &str, user: UserId, deadline: Instant) -> Result<Reservation, Refusal> {
    let reservation = |since| Reservation { name: name.to_owned(), user, since };
    let mut wait = RETRY_MIN;
    loop {
        match find(router, name, deadline).await? {
            Held::Confirmed(other) if other == user => return Ok(reservation(Timestamp::default())),
            Held::Confirmed(_) => return Err(refuse(Code::NameTaken)),
            Held::Back(other) if other != user => return Err(refuse(Code::NameTaken).with_text("this name was another user's not long ago")),
            Held::Reserved { user: other, since, age_ms } if other != user && age_ms >= STALE_MS => {
                settle(router, Reservation { name: name.to_owned(), user: other, since }, deadline).await?;
            }
            Held::Free | Held::Back(_) | Held::Reserved { .. } => {
                match router.inner(Bucket::of_name(name), Inner::ReserveName { name: name.to_owned(), user }, deadline).await {
                    Ok(InnerAnswer::Reserved { since }) => return Ok(reservation(since)),
                    Ok(_) => return Err(refuse(Code::Internal)),
                    Err(refusal) if refusal.code != Code::Busy => return Err(refusal),
                    Err(_) => {}
                }
                let pause = jitter(wait / 2, wait);
                wait = (wait * 2).min(RETRY_MAX);
                if router.clock().instant() + pause >= deadline {
                    return Err(refuse_for(Code::Busy, BUSY_MS));
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// The user exists and has the name.
///
/// # Errors
/// As [`Router::inner`]; the user's home owes it then.
pub(super) async fn confirm(router: &Router, name: &str, user: UserId, deadline: Instant) -> Result<(), Refusal> {
    router.inner(Bucket::of_name(name), Inner::ConfirmName { name: name.to_owned(), user }, deadline).await.map(|_| ())
}

/// What follows a refusal by the home: a name that this user will never have by this attempt is not held any longer by it. Gives the refusal to
/// tell.
pub(super) async fn give_up(router: &Router, reservation: &Reservation, refusal: Refusal, deadline: Instant) -> Refusal {
    let is_final = matches!(
        refusal.code,
        Code::IdTaken | Code::Revoked | Code::NameTaken | Code::TooMany | Code::Invalid | Code::TooLarge | Code::TooOld | Code::Conflict
    );
    let Reservation { name, user, since } = reservation.clone();
    if is_final && let Err(error) = router.inner(Bucket::of_name(&name), Inner::ReleaseName { name, user, since }, deadline).await {
        // It is settled when it is a minute old and somebody else wants it.
        tracing::debug!(code = %error.code, "service.account: a reservation was not released");
    }
    refusal
}

async fn settle(router: &Router, reservation: Reservation, deadline: Instant) -> Result<(), Refusal> {
    let Reservation { name, user, since } = reservation;
    let of_name = Bucket::of_name(&name);
    let next = match router.inner(user.bucket(), Inner::SettleUser { user, name: name.clone() }, deadline).await? {
        InnerAnswer::Truth(true) => Inner::ConfirmName { name, user },
        InnerAnswer::Truth(false) => Inner::ReleaseName { name, user, since },
        _ => return Err(refuse(Code::Internal)),
    };
    router.inner(of_name, next, deadline).await.map(|_| ())
}

enum Held {
    Free,
    Reserved {
        user: UserId,
        since: Timestamp,
        age_ms: u64,
    },
    Confirmed(UserId),
    /// Was the user's not long ago.
    Back(UserId),
}

impl Held {
    const fn is_held_back(&self) -> bool {
        matches!(self, Self::Back(_))
    }
}

async fn find(router: &Router, name: &str, deadline: Instant) -> Result<Held, Refusal> {
    match router.inner(Bucket::of_name(name), Inner::FindName { name: name.to_owned() }, deadline).await? {
        InnerAnswer::NoName => Ok(Held::Free),
        InnerAnswer::Name { user, confirmed: true, .. } => Ok(Held::Confirmed(user)),
        InnerAnswer::Name { user, held: true, .. } => Ok(Held::Back(user)),
        InnerAnswer::Name { user, confirmed: false, since, age_ms, .. } => Ok(Held::Reserved { user, since, age_ms }),
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
        Held::Free | Held::Reserved { .. } | Held::Back(_) => Vec::new(),
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
    let mut found = Vec::new();
    for answer in ask_homes(router, users, |users| Inner::GetUsers { users }, deadline).await? {
        if let InnerAnswer::Users(users) = answer {
            found.extend(users.into_iter().map(|(user, name)| UserView { user, name }));
        }
    }
    Ok(Answer::Users(found))
}

/// Whether each of these may be in one more group chat; asked for by group, all groups at once.
///
/// # Errors
/// A group has no leader.
pub(super) async fn have_room(router: &Router, users: Vec<UserId>, deadline: Instant) -> Result<bool, Refusal> {
    let answers = ask_homes(router, users, |users| Inner::HasRoom { users }, deadline).await?;
    Ok(!answers.contains(&InnerAnswer::Truth(false)))
}

/// Asks the homes of users about them: by group, all groups at once. Of a group whose users have moved meanwhile, the new homes are asked.
///
/// # Errors
/// A group has no leader, or refuses.
pub(super) async fn ask_homes(
    router: &Router,
    mut users: Vec<UserId>,
    of: impl Fn(Vec<UserId>) -> Inner,
    deadline: Instant,
) -> Result<Vec<InnerAnswer>, Refusal> {
    let mut answers = Vec::new();
    loop {
        let mut by_group = std::collections::BTreeMap::<GroupId, Vec<UserId>>::new();
        for user in std::mem::take(&mut users) {
            by_group.entry(router.locate(user.bucket())?.group).or_default().push(user);
        }
        let asked = by_group.into_iter().map(|(group, users)| {
            let asked = router.inner_to(group, of(users.clone()), deadline);
            async move { (group, users, asked.await) }
        });
        for (group, asked, answer) in futures_util::future::join_all(asked).await {
            match answer {
                Err(refusal) if refusal.code == Code::WrongGroup => {
                    for user in &asked {
                        router.learn(group, user.bucket(), None, deadline).await;
                    }
                    users.extend(asked);
                }
                answer => answers.push(answer?),
            }
        }
        if users.is_empty() {
            return Ok(answers);
        }
        if router.clock().instant() + MOVING_PAUSE >= deadline {
            return Err(refuse_for(Code::NoLeader, MOVING_MS));
        }
        tokio::time::sleep(MOVING_PAUSE).await;
    }
}

/// Before users who are on their way are asked for again.
const MOVING_PAUSE: Duration = Duration::from_millis(20);
/// When somebody may ask for them again.
const MOVING_MS: u32 = 200;

/// A reservation that old is of a sign-up that died.
const STALE_MS: u64 = 60_000;
/// First wait for another sign-up of the same name.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// Longest wait.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// When the other one did not finish in time.
const BUSY_MS: u32 = 1_000;
