//! Bots as any node serves them: made, given tokens, ended; and whose a token is that somebody shows.
//!
//! In: requests of owners and operators; tokens. Out: tokens, which are drawn here and shown once; claims. Invariants: nothing is atomic across
//! groups, so each step is idempotent and in an order that leaves nobody's bot behind: the owner's home knows of it before it is made, and
//! forgets it after it is gone. Not here: who may (kith-machine).

use kith_wire::{
    admin::AdminRole,
    client::{Answer, Refusal, UserView},
    code::Code,
    id::{self, RegionId, UserId},
    log::{EnterDevice, UserChange},
    peer::{Caller, Inner, InnerAnswer},
    people::PeopleAnswer,
};

use super::account;
use crate::{
    auth::{
        gate::{Drawn, Entered, Gate, Shown, draw_bot_token},
        name::fold_name,
    },
    clock::Instant,
    router::{Router, refuse},
};

/// Makes a bot of the caller, or of the cluster.
///
/// # Errors
/// `LimitReached`, `NameTaken`, `Invalid` for what cannot be a name.
pub(super) async fn make(
    (router, gate): (&Router, &Gate),
    caller: &Caller,
    name: &str,
    key: &[u8; 32],
    deadline: Instant,
) -> Result<PeopleAnswer, Refusal> {
    let name = fold_name(name)?;
    // Whoever knows another's key is not that other: each owner's bots have ids of their own.
    let secret = id::digest(&[b"kith/bot-key/1", &caller.user.get().to_be_bytes(), key]);
    let bot = UserId::from_sign_up_key(RegionId::FIRST, &secret);
    own(router, caller, bot, true, deadline).await?;
    match sign_up((router, gate), caller, bot, &name, &secret, deadline).await {
        Ok(token) => {
            // An owner who went meanwhile has left a debt, which may have been paid before there was a bot.
            if let Err(refusal) = own(router, caller, bot, true, deadline).await {
                if refusal.code == Code::NoSuchUser {
                    let erase = UserChange::EraseBot { by: caller.user };
                    router.inner(bot.bucket(), Inner::User { user: bot, change: erase }, deadline).await?;
                }
                return Err(refusal);
            }
            Ok(PeopleAnswer::Bot { user: bot, name, token: token.text })
        }
        Err(refusal) => {
            if matches!(refusal.code, Code::IdTaken | Code::NameTaken | Code::Invalid | Code::TooLarge) {
                own(router, caller, bot, false, deadline).await?;
            }
            Err(refusal)
        }
    }
}

/// Reserve the name, make the bot in its home (the only commit point), confirm the name.
async fn sign_up(
    (router, gate): (&Router, &Gate),
    caller: &Caller,
    bot: UserId,
    name: &str,
    secret: &[u8; 32],
    deadline: Instant,
) -> Result<Drawn, Refusal> {
    let reservation = account::claim(router, name, bot, deadline).await?;
    let (enter, token) = enter(gate, caller, bot);
    let key = id::digest(&[b"kith/sign-up/1", secret]);
    let made = UserChange::SignUpBot { name: name.to_owned(), key, owner: caller.user, enter };
    if let Err(refusal) = router.inner(bot.bucket(), Inner::User { user: bot, change: made }, deadline).await {
        return Err(account::give_up(router, &reservation, refusal, deadline).await);
    }
    account::confirm(router, name, bot, deadline).await?;
    Ok(token)
}

/// Another token for a bot; the one before is of no use any more.
///
/// # Errors
/// `NoSuchUser`; `NotAllowed`: it is none of the caller's bots.
pub(super) async fn token((router, gate): (&Router, &Gate), caller: &Caller, bot: UserId, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
    let (enter, token) = enter(gate, caller, bot);
    let change = UserChange::BotToken { by: by(caller), enter: Some(enter) };
    match router.inner(bot.bucket(), Inner::User { user: bot, change }, deadline).await? {
        InnerAnswer::Entered { name, .. } => Ok(PeopleAnswer::Bot { user: bot, name, token: token.text }),
        _ => Err(refuse(Code::Internal)),
    }
}

/// Ends the token of a bot.
///
/// # Errors
/// As [`token`].
pub(super) async fn end_token(router: &Router, caller: &Caller, bot: UserId, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
    let change = UserChange::BotToken { by: by(caller), enter: None };
    router.inner(bot.bucket(), Inner::User { user: bot, change }, deadline).await.map(|_| PeopleAnswer::Done)
}

/// Ends a bot for ever. One that is gone is only forgotten.
///
/// # Errors
/// `NotAllowed`: it is none of the caller's bots.
pub(super) async fn delete(router: &Router, caller: &Caller, bot: UserId, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
    let erase = UserChange::EraseBot { by: by(caller) };
    match router.inner(bot.bucket(), Inner::User { user: bot, change: erase }, deadline).await {
        Err(refusal) if refusal.code != Code::NoSuchUser => return Err(refusal),
        _ => {}
    }
    own(router, caller, bot, false, deadline).await?;
    Ok(PeopleAnswer::Done)
}

/// The caller's bots.
///
/// # Errors
/// A group has no leader.
pub(super) async fn list(router: &Router, caller: &Caller, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
    let InnerAnswer::Users(bots) = router.inner(caller.user.bucket(), Inner::OwnBots { user: caller.user }, deadline).await? else {
        return Err(refuse(Code::Internal));
    };
    let bots: Vec<UserId> = bots.into_iter().map(|(bot, _)| bot).collect();
    let Answer::Users(found) = account::get_users(router, bots.clone(), deadline).await? else { return Err(refuse(Code::Internal)) };
    let name = |bot: UserId| found.iter().find(|view| view.user == bot).map(|view| view.name.clone()).unwrap_or_default();
    Ok(PeopleAnswer::Bots(bots.into_iter().map(|bot| UserView { user: bot, name: name(bot) }).collect()))
}

/// Whose token this is, by the bot's home.
///
/// # Errors
/// `BadToken`; or the home has no leader.
pub async fn show(router: &Router, shown: &Shown, deadline: Instant) -> Result<Entered, Refusal> {
    let ask = Inner::ShowBot { user: shown.user, device: shown.device, shown: shown.digest };
    match router.inner(shown.user.bucket(), ask, deadline).await? {
        InnerAnswer::Entered { name, login, admin, .. } => Ok(Entered { name, login, admin }),
        _ => Err(refuse(Code::Internal)),
    }
}

/// Of a call under a key the token follows from the key: a retry shows the same.
fn enter(gate: &Gate, caller: &Caller, bot: UserId) -> (EnterDevice, Drawn) {
    let (device, drawn) = caller.key.map_or_else(|| draw_bot_token(bot), |key| gate.bot_token_under(caller.user, key, bot));
    (EnterDevice { device, title: "bot".to_owned(), refresh: drawn.digest }, drawn)
}

/// Who asks, as a bot's home knows them.
fn by(caller: &Caller) -> UserId {
    if caller.may(AdminRole::Operator) { UserId::new(0) } else { caller.user }
}

async fn own(router: &Router, caller: &Caller, bot: UserId, owned: bool, deadline: Instant) -> Result<(), Refusal> {
    if caller.user == UserId::new(0) {
        return Ok(());
    }
    let change = UserChange::OwnBot { bot, owned };
    router.inner(caller.user.bucket(), Inner::User { user: caller.user, change }, deadline).await.map(|_| ())
}
