//! Accounts as the leader of a user's home serves them: what needs the user's own rows, or their password.
//!
//! In: requests that were routed here, of authenticated callers and (a log-in) of strangers; steps of the cluster's own. Out: commands on the
//! user; answers; for a rename, steps at the name's group. Invariants: a password is checked against the row that a read barrier shows, and what
//! follows names that row's revision, so that apply refuses it if the password changed meanwhile. Bounds: attempts are counted (`auth::gate`).
//! Not here: how names are reserved (`service::account`), tokens (`service::people`), the rules of the rows (kith-machine).

use kith_machine::{reply::Reply, user};
use kith_raft::GroupHandle;
use kith_wire::{
    client::{Answer, Refusal},
    code::Code,
    id::{DeviceId, Timestamp, UserId},
    limit,
    log::{CredentialRow, EnterDevice, ProfileRow, UnderKey, UserChange, UserState},
    peer::{Caller, InnerAnswer},
    people::{DeviceView, PeopleAnswer, PeopleRequest, ProfileView},
    secret::Secret,
};

use super::{
    account, contact,
    local::{broken, not_proposed, propose, rejected, view},
    people::check_password,
};
use crate::{
    auth::{
        gate::{Gate, draw_code},
        name::fold_name,
    },
    clock::Instant,
    router::{Router, refuse, refuse_for},
};

/// The leader's part of accounts.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) router: Router,
    pub(super) gate: Gate,
}

impl Home {
    /// A user's own request.
    pub(super) async fn request(&self, handle: &GroupHandle, caller: &Caller, asked: PeopleRequest, deadline: Instant) -> Result<Answer, Refusal> {
        match asked {
            PeopleRequest::Devices => devices(handle, caller).await,
            PeopleRequest::ChangePassword { old, new } => {
                check_password(&new)?;
                let credential = match self.proven(handle, caller.user, old).await {
                    // It may be changed already, by a request whose answer was lost.
                    Err(refusal) if refusal.code == Code::BadLogin && self.proven(handle, caller.user, new.clone()).await.is_ok() => {
                        return Ok(Answer::Done);
                    }
                    proven => proven?,
                };
                let password = self.gate.hash(new).await?;
                let change = UserChange::SetPassword { password_rev: credential.password_rev, password, keep: caller.device };
                self.done(handle, caller.user, change).await
            }
            PeopleRequest::NewRecoveryCode { password } => {
                let credential = self.proven(handle, caller.user, password).await?;
                let code = caller.key.map_or_else(draw_code, |key| self.gate.code_under(caller.user, key));
                let change = UserChange::SetRecovery { password_rev: credential.password_rev, recovery: code.digest };
                self.done(handle, caller.user, change).await?;
                Ok(Answer::People(PeopleAnswer::Code { code: code.text, until: None }))
            }
            PeopleRequest::DeleteAccount { password } => {
                let credential = self.proven(handle, caller.user, password).await?;
                self.done(handle, caller.user, UserChange::Erase { password_rev: credential.password_rev }).await
            }
            PeopleRequest::Contacts { after } => contacts(handle, caller.user, after).await,
            PeopleRequest::Rename { name } => self.rename(handle, caller.user, &name, deadline).await,
            PeopleRequest::SignUp { .. }
            | PeopleRequest::LogIn { .. }
            | PeopleRequest::LogInWith { .. }
            | PeopleRequest::Refresh { .. }
            | PeopleRequest::ResetPassword { .. }
            | PeopleRequest::AskReset { .. }
            | PeopleRequest::LogOut
            | PeopleRequest::EndDevice { .. }
            | PeopleRequest::EndOthers
            | PeopleRequest::ResetLink { .. }
            | PeopleRequest::SetAdmin { .. }
            | PeopleRequest::Prefer { .. }
            | PeopleRequest::SetProfile { .. }
            | PeopleRequest::GetProfiles { .. }
            | PeopleRequest::AskContact { .. }
            | PeopleRequest::Block { .. }
            | PeopleRequest::MakeBot { .. }
            | PeopleRequest::BotToken { .. }
            | PeopleRequest::EndBotToken { .. }
            | PeopleRequest::DeleteBot { .. }
            | PeopleRequest::Bots
            | PeopleRequest::Search { .. } => Err(refuse(Code::Unsupported)),
        }
    }

    /// Checks a password and lets the device in. Takes as long, and says the same, if there is no such user.
    pub(super) async fn enter(
        &self,
        handle: &GroupHandle,
        user: UserId,
        password: Secret,
        (enter, call): (EnterDevice, Option<UnderKey>),
    ) -> Result<InnerAnswer, Refusal> {
        handle.read_barrier().await.map_err(not_proposed)?;
        let credential = credential(handle, user)?;
        if !self.gate.verify(password, credential.password).await? {
            return Err(refuse(Code::BadLogin));
        }
        self.change(handle, user, UserChange::LogIn { password_rev: Some(credential.password_rev), enter }.under(call)).await
    }

    /// A change that was checked where it came in.
    pub(super) async fn change(&self, handle: &GroupHandle, user: UserId, change: UserChange) -> Result<InnerAnswer, Refusal> {
        match propose(handle, change.of(user)).await? {
            Reply::Entered { name, login, admin, created } => Ok(InnerAnswer::Entered { name, login, admin, created }),
            Reply::Rejected(code) => Err(rejected(code)),
            Reply::WrongGroup => Err(refuse(Code::WrongGroup)),
            _ => Ok(InnerAnswer::Done),
        }
    }

    async fn done(&self, handle: &GroupHandle, user: UserId, change: UserChange) -> Result<Answer, Refusal> {
        self.change(handle, user, change).await.map(|_| Answer::Done)
    }

    /// The user's credential, if this is the password. Who has none need not prove it: their token is all there is.
    async fn proven(&self, handle: &GroupHandle, user: UserId, password: Secret) -> Result<CredentialRow, Refusal> {
        self.gate.attempt(user)?;
        handle.read_barrier().await.map_err(not_proposed)?;
        let credential = credential(handle, user)?;
        // A token that was ended must leave nothing behind that lets its holder in again.
        if credential.owner.is_some() {
            return Err(refuse(Code::NotAllowed).with_text("this is for the bot's owner to do"));
        }
        let Some(hash) = credential.password.clone() else { return Ok(credential) };
        if self.gate.verify(password, Some(hash)).await? {
            Ok(credential)
        } else {
            Err(refuse(Code::BadLogin).with_text("the password is not right"))
        }
    }

    /// Reserve the new name, swap at home (the only commit point), confirm. The old name's hold is a debt that the commit leaves.
    async fn rename(&self, handle: &GroupHandle, user: UserId, name: &str, deadline: Instant) -> Result<Answer, Refusal> {
        let name = fold_name(name)?;
        handle.read_barrier().await.map_err(not_proposed)?;
        let account = user::account(&view(handle)?, user).map_err(|error| broken(&error))?.ok_or_else(|| refuse(Code::NoSuchUser))?;
        if account.name == name {
            return Ok(Answer::Done);
        }
        // Apply decides it; here it is said how long to wait.
        let next = account.renamed.get().saturating_add(limit::RENAME_EVERY_MS);
        if account.renamed.get() > 0 && self.gate.now().get() < next {
            let wait = u32::try_from(next - self.gate.now().get()).unwrap_or(u32::MAX);
            return Err(refuse_for(Code::TooMany, wait).with_text("a name is changed once a day at most"));
        }
        let reservation = account::claim(&self.router, &name, user, deadline).await?;
        let change = UserChange::Rename { name: name.clone(), renames: account.renames };
        if let Err(refusal) = self.change(handle, user, change).await {
            return Err(account::give_up(&self.router, &reservation, refusal, deadline).await);
        }
        account::confirm(&self.router, &name, user, deadline).await?;
        Ok(Answer::Done)
    }
}

async fn devices(handle: &GroupHandle, caller: &Caller) -> Result<Answer, Refusal> {
    handle.read_barrier().await.map_err(not_proposed)?;
    let rows = user::devices(&view(handle)?, caller.user).map_err(|error| broken(&error))?;
    let mut devices: Vec<_> = rows
        .into_iter()
        .filter(|(_, row)| row.ended.is_none())
        .map(|(device, row)| DeviceView {
            device,
            title: row.title,
            created: row.created,
            seen: row.seen.max(row.refreshed),
            current: device == caller.device,
        })
        .collect();
    devices.sort_by_key(|device| std::cmp::Reverse((device.seen, device.device)));
    Ok(Answer::People(PeopleAnswer::Devices(devices)))
}

/// Answers [`kith_wire::peer::Inner::ShowBot`].
pub(super) async fn show_bot(handle: &GroupHandle, user: UserId, device: DeviceId, shown: [u8; 32]) -> Result<InnerAnswer, Refusal> {
    handle.read_barrier().await.map_err(not_proposed)?;
    let view = view(handle)?;
    let account = user::account(&view, user).map_err(|error| broken(&error))?.filter(|row| row.state == UserState::Active);
    let is_bot = user::credential(&view, user).map_err(|error| broken(&error))?.owner.is_some();
    let held = user::device(&view, user, device).map_err(|error| broken(&error))?;
    match (account, held.filter(|row| is_bot && row.ended.is_none() && row.refresh == Some(shown))) {
        (Some(account), Some(held)) => Ok(InnerAnswer::Entered { name: account.name, login: held.login, admin: false, created: false }),
        _ => Err(refuse(Code::BadToken)),
    }
}

/// Answers [`kith_wire::peer::Inner::MayStay`], as a session is answered.
pub(super) async fn may_stay(handle: &GroupHandle, user: UserId, device: DeviceId, token: (u64, Timestamp)) -> Result<InnerAnswer, Refusal> {
    handle.read_barrier().await.map_err(not_proposed)?;
    let view = view(handle)?;
    let account = user::account(&view, user).map_err(|error| broken(&error))?.filter(|row| row.state == UserState::Active);
    let held = user::device(&view, user, device).map_err(|error| broken(&error))?;
    Ok(InnerAnswer::Truth(account.is_some_and(|account| user::may_register(&account, held.as_ref(), token.0, token.1))))
}

/// Answers [`kith_wire::peer::Inner::OwnBots`].
pub(super) async fn own_bots(handle: &GroupHandle, user: UserId) -> Result<InnerAnswer, Refusal> {
    handle.read_barrier().await.map_err(not_proposed)?;
    Ok(InnerAnswer::Users(credential(handle, user)?.bots.into_iter().map(|bot| (bot, String::new())).collect()))
}

/// A page of contacts; those that are not to be seen are passed over.
async fn contacts(handle: &GroupHandle, user: UserId, after: UserId) -> Result<Answer, Refusal> {
    handle.read_barrier().await.map_err(not_proposed)?;
    let view = view(handle)?;
    let mut from = if after == UserId::new(0) { after } else { UserId::new(after.get().saturating_add(1)) };
    let mut contacts = Vec::new();
    loop {
        let rows = user::contacts(&view, user, from, limit::CONTACTS_PER_PAGE + 1).map_err(|error| broken(&error))?;
        let is_last = rows.len() <= limit::CONTACTS_PER_PAGE;
        for (peer, row) in rows {
            if contacts.len() == limit::CONTACTS_PER_PAGE {
                return Ok(Answer::People(PeopleAnswer::Contacts { contacts, more: true }));
            }
            contacts.extend(contact::view_of(peer, &row));
            from = UserId::new(peer.get().saturating_add(1));
        }
        if is_last {
            return Ok(Answer::People(PeopleAnswer::Contacts { contacts, more: false }));
        }
    }
}

/// What is seen of users of this group, and whether search may show it. Who does not exist, or not any more, is left out.
pub(super) fn profiles(handle: &GroupHandle, users: Vec<UserId>) -> Result<InnerAnswer, Refusal> {
    let view = view(handle)?;
    let mut found = Vec::new();
    for user in users {
        let account = user::account(&view, user).map_err(|error| broken(&error))?;
        let Some(account) = account.filter(|row| row.state == UserState::Active) else { continue };
        let ProfileRow { display, about, avatar, fields, hidden, .. } = user::profile(&view, user).map_err(|error| broken(&error))?;
        found.push((ProfileView { user, name: account.name, display, about, avatar, fields }, !hidden));
    }
    Ok(InnerAnswer::Profiles(found))
}

fn credential(handle: &GroupHandle, user: UserId) -> Result<CredentialRow, Refusal> {
    user::credential(&view(handle)?, user).map_err(|error| broken(&error))
}
