//! Accounts as any node serves them: what a name, a token or a code leads to, and what must be done where.
//!
//! In: people's requests, also of strangers at the door. Out: tokens, codes, lists. Invariants: nothing is atomic across groups, so each step is
//! idempotent and a retry goes on where the last one stopped; whether a name exists cannot be told from a log-in's answer nor from its time, nor from
//! that of who has lost a password. One who comes without a token and with a key is answered alike by each retry: what was drawn follows from the key,
//! and the key is noted in the home of who they have proven to be.
//! Bounds: attempts are counted (`auth::gate`). Not here: what the leader of a user's home does (`service::home`).

use std::{sync::Arc, time::Duration};

use kith_wire::{
    client::{Answer, Refusal, Request},
    code::Code,
    id::{self, Bucket, CallKey, DeviceId, RegionId, Timestamp, UserId},
    limit,
    log::{EnterDevice, UnderKey, UserChange},
    peer::{Caller, Inner, InnerAnswer},
    people::{LoggedIn, PeopleAnswer, PeopleRequest},
    secret::Secret,
};

use super::{account, bot, contact};
use crate::{
    auth::{
        gate::{Drawn, Entered, Gate, code_digest, draw_code, draw_refresh, read_refresh, recovery_of},
        issuer::Issuers,
        name::fold_name,
    },
    clock::{Instant, draw_bytes},
    router::{Router, refuse},
};

/// Accounts. Clones are of the same node.
#[derive(Clone, Debug)]
pub struct People {
    router: Router,
    gate: Gate,
    issuers: Arc<Issuers>,
    hands_on_codes: bool,
}

impl People {
    /// Over a router. `hands_on_codes`: there is a backend of the app that does.
    pub const fn new(router: Router, gate: Gate, issuers: Arc<Issuers>, hands_on_codes: bool) -> Self {
        Self { router, gate, issuers, hands_on_codes }
    }

    /// Does a request. What needs an authenticated caller has been checked to have one.
    ///
    /// # Errors
    /// A refusal with a stable code.
    pub async fn handle(&self, caller: &Caller, asked: PeopleRequest, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
        match asked {
            PeopleRequest::SignUp { name, password, key, nonce, title } => {
                let new = NewAccount { name, password, key, nonce, title };
                self.sign_up(new, caller.key, deadline).await.map(PeopleAnswer::LoggedIn)
            }
            PeopleRequest::LogIn { name, password, nonce, title } => {
                let wanted = Wanted { nonce, title, key: caller.key };
                self.log_in(&name, password, wanted, deadline).await.map(PeopleAnswer::LoggedIn)
            }
            PeopleRequest::LogInWith { token, nonce, title } => {
                self.log_in_with(&token, Wanted { nonce, title, key: caller.key }, deadline).await.map(PeopleAnswer::LoggedIn)
            }
            PeopleRequest::Refresh { token, nonce } => self.refresh(&token, &nonce, caller.key, deadline).await.map(PeopleAnswer::LoggedIn),
            PeopleRequest::ResetPassword { name, code, password } => self.reset_password(&name, &code, password, caller.key, deadline).await,
            PeopleRequest::AskReset { name } => self.ask_reset(&name, deadline).await,
            PeopleRequest::LogOut => self.end(caller, vec![caller.device], false, deadline).await,
            PeopleRequest::EndDevice { device } => self.end(caller, vec![device], false, deadline).await,
            PeopleRequest::EndOthers => self.end(caller, vec![caller.device], true, deadline).await,
            PeopleRequest::ResetLink { name } => self.reset_link(caller, &name, deadline).await,
            PeopleRequest::SetAdmin { name, admin } => self.set_admin(&name, admin, deadline).await,
            PeopleRequest::Prefer { channel, preference } => {
                contact::change(&self.router, caller, UserChange::Prefer { channel, preference }, deadline).await
            }
            PeopleRequest::SetProfile { display, about, avatar, searchable, fields } => {
                contact::check_profile([&display, &about, &avatar], &fields)?;
                contact::change(&self.router, caller, UserChange::SetProfile { display, about, avatar, searchable, fields }, deadline).await
            }
            PeopleRequest::GetProfiles { users } => {
                let profiles = contact::profiles(&self.router, users, deadline).await?;
                Ok(PeopleAnswer::Profiles(profiles.into_iter().map(|(profile, _)| profile).collect()))
            }
            PeopleRequest::AskContact { peer, asked } => contact::ask(&self.router, caller, peer, asked, deadline).await,
            PeopleRequest::Block { peer, blocked } => contact::change(&self.router, caller, UserChange::Block { peer, blocked }, deadline).await,
            PeopleRequest::Search { prefix } => {
                self.gate.search(caller.user)?;
                contact::search(&self.router, &prefix, deadline).await
            }
            PeopleRequest::MakeBot { name, key } => bot::make((&self.router, &self.gate), caller, &name, &key, deadline).await,
            PeopleRequest::BotToken { bot } => bot::token((&self.router, &self.gate), caller, bot, deadline).await,
            PeopleRequest::EndBotToken { bot } => bot::end_token(&self.router, caller, bot, deadline).await,
            PeopleRequest::DeleteBot { bot } => bot::delete(&self.router, caller, bot, deadline).await,
            PeopleRequest::Bots => bot::list(&self.router, caller, deadline).await,
            PeopleRequest::Contacts { .. } => match self.router.forward(caller, caller.user.bucket(), Request::People(asked), deadline).await? {
                Answer::People(page) => Ok(contact::named(&self.router, page, deadline).await),
                _ => Err(refuse(Code::Internal)),
            },
            PeopleRequest::Devices
            | PeopleRequest::ChangePassword { .. }
            | PeopleRequest::NewRecoveryCode { .. }
            | PeopleRequest::Rename { .. }
            | PeopleRequest::DeleteAccount { .. } => {
                match self.router.forward(caller, caller.user.bucket(), Request::People(asked), deadline).await? {
                    Answer::People(answer) => Ok(answer),
                    Answer::Done => Ok(PeopleAnswer::Done),
                    _ => Err(refuse(Code::Internal)),
                }
            }
        }
    }

    /// Reserve the name, make the user in its home (the only commit point), confirm the name. Under a key the key is the account: another name or
    /// password under it is `Conflict`.
    async fn sign_up(&self, new: NewAccount, key: Option<CallKey>, deadline: Instant) -> Result<LoggedIn, Refusal> {
        let NewAccount { name, password, key: secret, nonce, title } = new;
        let name = fold_name(&name)?;
        check_password(&password)?;
        let secret = key.map_or(secret, |key| self.gate.sign_up_under(key));
        let user = account::newcomer(&self.router, &name, &secret, deadline).await?;
        let device = DeviceId::from_nonce(user, &key.map_or(nonce, |key| self.gate.nonce_under(key)));
        let recovery = recovery_of(&secret);
        let reservation = account::claim(&self.router, &name, user, deadline).await?;
        let (password, call) = match key {
            Some(key) => {
                let password = self.gate.hash_under(key, password).await?;
                let call = under(key, &[b"sign-up", name.as_bytes(), title.as_bytes(), password.reveal().as_bytes()]);
                (password, Some(call))
            }
            None => (self.gate.hash(password).await?, None),
        };
        let refresh = self.refresh_for(user, device, call);
        let made = UserChange::SignUp {
            name: name.clone(),
            key: id::digest(&[b"kith/sign-up/1", &secret]),
            password: Some(password),
            recovery: Some(recovery.digest),
            enter: Some(EnterDevice { device, title, refresh: refresh.digest }),
        };
        let entered = match self.change(user, made.under(call), deadline).await {
            Ok(entered) => entered,
            Err(refusal) => return Err(account::give_up(&self.router, &reservation, refusal, deadline).await),
        };
        account::confirm(&self.router, &name, user, deadline).await?;
        let logged_in = self.gate.logged_in(user, device, entered, &refresh)?;
        Ok(LoggedIn { recovery: Some(recovery.text), ..logged_in })
    }

    async fn log_in(&self, name: &str, password: Secret, wanted: Wanted, deadline: Instant) -> Result<LoggedIn, Refusal> {
        let name = fold_name(name)?;
        let user = self.find_or_decoy(&name, deadline).await?;
        // The password is none of it: it is checked each time.
        let call = wanted.key.map(|key| under(key, &[b"log-in", name.as_bytes(), wanted.title.as_bytes()]));
        let (enter, refresh) = self.enter(user, wanted, call);
        let device = enter.device;
        let entered = self.entered(self.router.inner(user.bucket(), Inner::Enter { user, password, enter, call }, deadline).await?)?;
        self.gate.logged_in(user, device, entered, &refresh)
    }

    /// Somebody whom the app's own backend knows. Who they are here follows from who they are there, so that two first log-ins are one account;
    /// their name is the one that they would like, if it can be one and is free.
    async fn log_in_with(&self, token: &Secret, wanted: Wanted, deadline: Instant) -> Result<LoggedIn, Refusal> {
        let outsider = self.issuers.verify(token).await?;
        let key = self.gate.sign_up_key(&outsider.issuer, &outsider.subject);
        let user = UserId::from_sign_up_key(RegionId::FIRST, &key);
        let call = wanted.key.map(|key| under(key, &[b"log-in-with", token.reveal().as_bytes(), wanted.title.as_bytes()]));
        let (enter, refresh) = self.enter(user, wanted, call);
        let device = enter.device;
        let log_in = UserChange::LogIn { password_rev: None, enter: enter.clone() };
        let entered = match self.change(user, log_in.under(call), deadline).await {
            Err(refusal) if refusal.code == Code::BadLogin => self.first_log_in(user, &key, outsider.name, (enter, call), deadline).await?,
            entered => entered?,
        };
        self.gate.logged_in(user, device, entered, &refresh)
    }

    /// A device that is to be let in, and its first refresh token.
    fn enter(&self, user: UserId, wanted: Wanted, call: Option<UnderKey>) -> (EnterDevice, Drawn) {
        let device = DeviceId::from_nonce(user, &wanted.key.map_or(wanted.nonce, |key| self.gate.nonce_under(key)));
        let refresh = self.refresh_for(user, device, call);
        (EnterDevice { device, title: wanted.title, refresh: refresh.digest }, refresh)
    }

    fn refresh_for(&self, user: UserId, device: DeviceId, call: Option<UnderKey>) -> Drawn {
        call.map_or_else(|| draw_refresh(user, device), |call| self.gate.refresh_under(user, device, call))
    }

    async fn first_log_in(
        &self,
        user: UserId,
        key: &[u8; 32],
        wanted: Option<String>,
        (enter, call): (EnterDevice, Option<UnderKey>),
        deadline: Instant,
    ) -> Result<Entered, Refusal> {
        let wanted = wanted.and_then(|name| fold_name(&name).ok());
        for name in wanted.into_iter().chain([user.to_string()]) {
            let reservation = match account::claim(&self.router, &name, user, deadline).await {
                Err(refusal) if refusal.code == Code::NameTaken => continue,
                claimed => claimed?,
            };
            let key = id::digest(&[b"kith/sign-up/1", key]);
            let made = UserChange::SignUp { name: name.clone(), key, password: None, recovery: None, enter: Some(enter.clone()) };
            let entered = match self.change(user, made.under(call), deadline).await {
                Ok(entered) => entered,
                Err(refusal) => {
                    let refusal = account::give_up(&self.router, &reservation, refusal, deadline).await;
                    // Another first log-in was quicker, under another name.
                    let log_in = UserChange::LogIn { password_rev: None, enter: enter.clone() };
                    return if refusal.code == Code::IdTaken { self.change(user, log_in.under(call), deadline).await } else { Err(refusal) };
                }
            };
            account::confirm(&self.router, &name, user, deadline).await?;
            return Ok(entered);
        }
        Err(refuse(Code::NameTaken))
    }

    async fn refresh(&self, token: &Secret, nonce: &[u8; 16], key: Option<CallKey>, deadline: Instant) -> Result<LoggedIn, Refusal> {
        let shown = read_refresh(token).ok_or_else(|| refuse(Code::LoginNeeded))?;
        let next = self.gate.next_refresh(&shown, nonce);
        let change = UserChange::Refresh { device: shown.device, shown: shown.digest, next: next.digest };
        let call = key.map(|key| under(key, &[b"refresh", token.reveal().as_bytes()]));
        let entered = self.change(shown.user, change.under(call), deadline).await?;
        self.gate.logged_in(shown.user, shown.device, entered, &next)
    }

    /// The answer is the new recovery code: the old one is spent, or was never known to who resets by a link. The same code and password again are
    /// the same reset, whose answer was lost.
    async fn reset_password(
        &self,
        name: &str,
        code: &Secret,
        password: Secret,
        key: Option<CallKey>,
        deadline: Instant,
    ) -> Result<PeopleAnswer, Refusal> {
        check_password(&password)?;
        let user = self.find_or_decoy(&fold_name(name)?, deadline).await?;
        let shown = code_digest(code);
        let (password, recovery) = self.gate.reset(user, &shown, password).await?;
        let call = key.map(|key| under(key, &[b"reset", &shown, password.reveal().as_bytes()]));
        let change = UserChange::ResetPassword { shown, password, recovery: recovery.digest }.under(call);
        self.router.inner(user.bucket(), Inner::User { user, change }, deadline).await?;
        Ok(PeopleAnswer::Code { code: recovery.text, until: None })
    }

    /// The app's backend is told a code, if there is such a user and nobody asked a moment ago. All are answered alike.
    async fn ask_reset(&self, name: &str, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
        if !self.hands_on_codes {
            return Err(refuse(Code::Unsupported).with_text("no backend of the app hands on codes here: ask an operator for one"));
        }
        let user = self.find_or_decoy(&fold_name(name)?, deadline).await?;
        let nonce = draw_bytes();
        let until = Timestamp::new(self.gate.now().get() + limit::RESET_MAILED_MS);
        let change = UserChange::AskReset { nonce, code: self.gate.mailed_code(user, &nonce).digest, until };
        self.router.inner(user.bucket(), Inner::User { user, change }, deadline).await?;
        Ok(PeopleAnswer::Done)
    }

    async fn end(&self, caller: &Caller, devices: Vec<DeviceId>, all_others: bool, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
        let change = UserChange::EndDevices { devices, all_others };
        self.router.inner(caller.user.bucket(), Inner::User { user: caller.user, change }, deadline).await?;
        Ok(PeopleAnswer::Done)
    }

    async fn reset_link(&self, caller: &Caller, name: &str, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
        let user = self.find(&fold_name(name)?, deadline).await?;
        let code = caller.key.map_or_else(draw_code, |key| self.gate.code_under(caller.user, key));
        let until = Timestamp::new(self.gate.now().get() + RESET_LINK_MS);
        let change = UserChange::IssueReset { code: code.digest, until };
        self.router.inner(user.bucket(), Inner::User { user, change }, deadline).await?;
        Ok(PeopleAnswer::Code { code: code.text, until: Some(until) })
    }

    async fn set_admin(&self, name: &str, admin: bool, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
        let user = self.find(&fold_name(name)?, deadline).await?;
        self.router.inner(user.bucket(), Inner::User { user, change: UserChange::SetAdmin { admin } }, deadline).await?;
        Ok(PeopleAnswer::Done)
    }

    async fn find(&self, name: &str, deadline: Instant) -> Result<UserId, Refusal> {
        match account::find_user(&self.router, name, deadline).await? {
            Answer::Users(users) => users.first().map(|view| view.user).ok_or_else(|| refuse(Code::NoSuchUser)),
            _ => Err(refuse(Code::Internal)),
        }
    }

    /// Whom somebody who knows a secret means by a name. For a name that nobody has it is a user whom nobody is: all goes on as it would.
    async fn find_or_decoy(&self, name: &str, deadline: Instant) -> Result<UserId, Refusal> {
        match self.router.inner(Bucket::of_name(name), Inner::NameAttempt { name: name.to_owned() }, deadline).await? {
            // Reserved and not confirmed yet: whoever made it so may know the password already.
            InnerAnswer::Name { user, held: false, .. } => Ok(user),
            InnerAnswer::Name { .. } | InnerAnswer::NoName => {
                Ok(UserId::from_sign_up_key(RegionId::FIRST, &id::digest(&[b"kith/decoy/1", name.as_bytes()])))
            }
            _ => Err(refuse(Code::Internal)),
        }
    }

    async fn change(&self, user: UserId, change: UserChange, deadline: Instant) -> Result<Entered, Refusal> {
        self.entered(self.router.inner(user.bucket(), Inner::User { user, change }, deadline).await?)
    }

    fn entered(&self, answer: InnerAnswer) -> Result<Entered, Refusal> {
        match answer {
            InnerAnswer::Entered { name, login, admin, .. } => Ok(Entered { name, login, admin }),
            _ => Err(refuse(Code::Internal)),
        }
    }
}

struct NewAccount {
    name: String,
    password: Secret,
    key: [u8; 32],
    nonce: [u8; 16],
    title: String,
}

/// A device that wants in.
struct Wanted {
    nonce: [u8; 16],
    title: String,
    key: Option<CallKey>,
}

/// What was asked under a key. Nothing in it may be a secret that can be guessed.
fn under(key: CallKey, asked: &[&[u8]]) -> UnderKey {
    let digest = id::digest(asked);
    UnderKey { key, digest: id::hash(&[b"kith/keyed/1", &digest]) }
}

/// Whether a password may be one.
///
/// # Errors
/// `WeakPassword`, `TooLarge`.
pub fn check_password(password: &Secret) -> Result<(), Refusal> {
    if password.len() > limit::PASSWORD_BYTES_MAX {
        return Err(refuse(Code::TooLarge).with_text("a password has at most 1,024 bytes"));
    }
    if password.reveal().chars().count() < limit::PASSWORD_CHARS_MIN {
        return Err(refuse(Code::WeakPassword));
    }
    Ok(())
}

/// A link that an operator makes is of use for a day.
const RESET_LINK_MS: u64 = Duration::from_secs(24 * 3_600).as_millis() as u64;
