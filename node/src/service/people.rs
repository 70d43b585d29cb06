//! Accounts as any node serves them: what a name, a token or a code leads to, and what must be done where.
//!
//! In: people's requests, also of strangers at the door. Out: tokens, codes, lists. Invariants: nothing is atomic across groups, so each step is
//! idempotent and a retry goes on where the last one stopped; whether a name exists cannot be told from a log-in's answer nor from its time.
//! Bounds: attempts are counted (`auth::gate`). Not here: what the leader of a user's home does (`service::home`).

use std::{sync::Arc, time::Duration};

use kith_wire::{
    client::{Answer, Refusal, Request},
    code::Code,
    id::{self, Bucket, DeviceId, RegionId, Timestamp, UserId},
    limit,
    log::{EnterDevice, UserChange},
    peer::{Caller, Inner, InnerAnswer},
    people::{LoggedIn, PeopleAnswer, PeopleRequest},
    secret::Secret,
};

use super::{account, bot, contact};
use crate::{
    auth::{
        gate::{Entered, Gate, code_digest, draw_code, draw_refresh, read_refresh, recovery_of},
        issuer::Issuers,
        name::fold_name,
    },
    clock::Instant,
    router::{Router, refuse},
};

/// Accounts. Clones are of the same node.
#[derive(Clone, Debug)]
pub struct People {
    router: Router,
    gate: Gate,
    issuers: Arc<Issuers>,
}

impl People {
    /// Over a router.
    pub const fn new(router: Router, gate: Gate, issuers: Arc<Issuers>) -> Self {
        Self { router, gate, issuers }
    }

    /// Does a request. What needs an authenticated caller has been checked to have one.
    ///
    /// # Errors
    /// A refusal with a stable code.
    pub async fn handle(&self, caller: &Caller, asked: PeopleRequest, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
        match asked {
            PeopleRequest::SignUp { name, password, key, nonce, title } => {
                let new = NewAccount { name, password, key };
                self.sign_up(new, &nonce, title, deadline).await.map(PeopleAnswer::LoggedIn)
            }
            PeopleRequest::LogIn { name, password, nonce, title } => {
                self.log_in(&name, password, &nonce, title, deadline).await.map(PeopleAnswer::LoggedIn)
            }
            PeopleRequest::LogInWith { token, nonce, title } => self.log_in_with(&token, &nonce, title, deadline).await.map(PeopleAnswer::LoggedIn),
            PeopleRequest::Refresh { token, nonce } => self.refresh(&token, &nonce, deadline).await.map(PeopleAnswer::LoggedIn),
            PeopleRequest::ResetPassword { name, code, password } => self.reset_password(&name, &code, password, deadline).await,
            PeopleRequest::LogOut => self.end(caller, vec![caller.device], false, deadline).await,
            PeopleRequest::EndDevice { device } => self.end(caller, vec![device], false, deadline).await,
            PeopleRequest::EndOthers => self.end(caller, vec![caller.device], true, deadline).await,
            PeopleRequest::ResetLink { name } => self.reset_link(&name, deadline).await,
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
            PeopleRequest::MakeBot { name, key } => bot::make(&self.router, caller, &name, &key, deadline).await,
            PeopleRequest::BotToken { bot } => bot::token(&self.router, caller, bot, deadline).await,
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

    /// Reserve the name, make the user in its home (the only commit point), confirm the name.
    async fn sign_up(&self, new: NewAccount, nonce: &[u8; 16], title: String, deadline: Instant) -> Result<LoggedIn, Refusal> {
        let name = fold_name(&new.name)?;
        check_password(&new.password)?;
        let user = UserId::from_sign_up_key(RegionId::FIRST, &new.key);
        let device = DeviceId::from_nonce(user, nonce);
        let (refresh, recovery) = (draw_refresh(user, device), recovery_of(&new.key));
        let reservation = account::claim(&self.router, &name, user, deadline).await?;
        let password = self.gate.hash(new.password).await?;
        let made = UserChange::SignUp {
            name: name.clone(),
            key: id::digest(&[b"kith/sign-up/1", &new.key]),
            password: Some(password),
            recovery: Some(recovery.digest),
            enter: Some(EnterDevice { device, title, refresh: refresh.digest }),
        };
        let entered = match self.change(user, made, deadline).await {
            Ok(entered) => entered,
            Err(refusal) => return Err(account::give_up(&self.router, &reservation, refusal, deadline).await),
        };
        account::confirm(&self.router, &name, user, deadline).await?;
        let logged_in = self.gate.logged_in(user, device, entered, &refresh)?;
        Ok(LoggedIn { recovery: Some(recovery.text), ..logged_in })
    }

    async fn log_in(&self, name: &str, password: Secret, nonce: &[u8; 16], title: String, deadline: Instant) -> Result<LoggedIn, Refusal> {
        let user = self.find_or_decoy(&fold_name(name)?, deadline).await?;
        let device = DeviceId::from_nonce(user, nonce);
        let refresh = draw_refresh(user, device);
        let enter = EnterDevice { device, title, refresh: refresh.digest };
        let entered = self.entered(self.router.inner(user.bucket(), Inner::Enter { user, password, enter }, deadline).await?)?;
        self.gate.logged_in(user, device, entered, &refresh)
    }

    /// Somebody whom the app's own backend knows. Who they are here follows from who they are there, so that two first log-ins are one account;
    /// their name is the one that they would like, if it can be one and is free.
    async fn log_in_with(&self, token: &Secret, nonce: &[u8; 16], title: String, deadline: Instant) -> Result<LoggedIn, Refusal> {
        let outsider = self.issuers.verify(token).await?;
        let key = self.gate.sign_up_key(&outsider.issuer, &outsider.subject);
        let user = UserId::from_sign_up_key(RegionId::FIRST, &key);
        let device = DeviceId::from_nonce(user, nonce);
        let refresh = draw_refresh(user, device);
        let enter = EnterDevice { device, title, refresh: refresh.digest };
        let log_in = UserChange::LogIn { password_rev: None, enter: enter.clone() };
        let entered = match self.change(user, log_in, deadline).await {
            Err(refusal) if refusal.code == Code::BadLogin => self.first_log_in(user, &key, outsider.name, enter, deadline).await?,
            entered => entered?,
        };
        self.gate.logged_in(user, device, entered, &refresh)
    }

    async fn first_log_in(
        &self,
        user: UserId,
        key: &[u8; 32],
        wanted: Option<String>,
        enter: EnterDevice,
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
            let entered = match self.change(user, made, deadline).await {
                Ok(entered) => entered,
                Err(refusal) => {
                    let refusal = account::give_up(&self.router, &reservation, refusal, deadline).await;
                    // Another first log-in was quicker, under another name.
                    let log_in = UserChange::LogIn { password_rev: None, enter: enter.clone() };
                    return if refusal.code == Code::IdTaken { self.change(user, log_in, deadline).await } else { Err(refusal) };
                }
            };
            account::confirm(&self.router, &name, user, deadline).await?;
            return Ok(entered);
        }
        Err(refuse(Code::NameTaken))
    }

    async fn refresh(&self, token: &Secret, nonce: &[u8; 16], deadline: Instant) -> Result<LoggedIn, Refusal> {
        let shown = read_refresh(token).ok_or_else(|| refuse(Code::LoginNeeded))?;
        let next = self.gate.next_refresh(&shown, nonce);
        let change = UserChange::Refresh { device: shown.device, shown: shown.digest, next: next.digest };
        let entered = self.change(shown.user, change, deadline).await?;
        self.gate.logged_in(shown.user, shown.device, entered, &next)
    }

    /// The answer is the new recovery code: the old one is spent, or was never known to who resets by a link. The same code and password again are
    /// the same reset, whose answer was lost.
    async fn reset_password(&self, name: &str, code: &Secret, password: Secret, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
        check_password(&password)?;
        let user = self.find_or_decoy(&fold_name(name)?, deadline).await?;
        let shown = code_digest(code);
        let (password, recovery) = self.gate.reset(user, &shown, password).await?;
        let change = UserChange::ResetPassword { shown, password, recovery: recovery.digest };
        self.router.inner(user.bucket(), Inner::User { user, change }, deadline).await?;
        Ok(PeopleAnswer::Code { code: recovery.text, until: None })
    }

    async fn end(&self, caller: &Caller, devices: Vec<DeviceId>, all_others: bool, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
        let change = UserChange::EndDevices { devices, all_others };
        self.router.inner(caller.user.bucket(), Inner::User { user: caller.user, change }, deadline).await?;
        Ok(PeopleAnswer::Done)
    }

    async fn reset_link(&self, name: &str, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
        let user = self.find(&fold_name(name)?, deadline).await?;
        let (code, until) = (draw_code(), Timestamp::new(self.gate.now().get() + RESET_LINK_MS));
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
