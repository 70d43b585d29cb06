//! Webhooks as any node serves them: who may register one, and where it is kept.
//!
//! In: requests of group owners and operators. Out: changes at the channel's group or at the desk, lists without keys, one post to try. Invariants: a
//! channel's webhook is its owner's or an operator's, any other an operator's, and that is logged; a URL that may not be posted to is refused at once.
//! Not here: telling them (`hook`).

use kith_machine::{channel::read, hook as rows};
use kith_raft::GroupHandle;
use kith_wire::{
    admin::AdminRole,
    client::{Answer, Refusal, Request},
    code::Code,
    desk::{self, AuditAct, AuditEntry, DeskChange},
    hook::{Hook, HookAnswer, HookChange, HookRequest, HookScope, HookView, HooksRow},
    id::{ChannelId, HookId, Timestamp, UserId, hash},
    log::{Command, Role},
    peer::{Caller, Inner, InnerAnswer},
};

use super::{
    desk::Desk,
    local::{Local, broken, not_proposed, propose, rejected, view},
};
use crate::{
    clock::Instant,
    hook::{
        event,
        post::{Posted, Poster},
    },
    router::{Router, refuse},
};

/// Webhooks. Clones are of the same node.
#[derive(Clone)]
pub(super) struct Hooks {
    router: Router,
    desk: Desk,
    poster: Poster,
}

impl Hooks {
    /// Over a router.
    pub(super) const fn new(router: Router, desk: Desk, poster: Poster) -> Self {
        Self { router, desk, poster }
    }

    /// Does a request. Whether the caller may was checked, but for a channel's: there its group says.
    ///
    /// # Errors
    /// A refusal with a stable code.
    pub(super) async fn handle(&self, caller: &Caller, asked: HookRequest, deadline: Instant) -> Result<HookAnswer, Refusal> {
        if let HookRequest::Add { url, .. } = &asked {
            self.poster.check(url).map_err(|error| refuse(Code::Invalid).with_text(error.to_string()))?;
        }
        if let HookScope::Channel(channel) = asked.scope() {
            return match self.router.forward(caller, channel.bucket(), Request::Hook(asked), deadline).await? {
                Answer::Hook(answer) => Ok(answer),
                _ => Err(refuse(Code::Internal)),
            };
        }
        match asked {
            HookRequest::Add { .. } => {
                let hook = hook_of(caller, asked)?;
                let (id, user) = (hook.id, bot_of(hook.scope));
                let change = DeskChange::Hook(HookChange::Put(hook));
                self.logged(caller, AuditAct::AddWebhook, (id, user), change, deadline).await?;
                Ok(HookAnswer::Added { id })
            }
            HookRequest::Remove { scope, id } => {
                let change = DeskChange::Hook(HookChange::Remove(id));
                self.logged(caller, AuditAct::RemoveWebhook, (id, bot_of(scope)), change, deadline).await?;
                Ok(HookAnswer::Done)
            }
            HookRequest::List(_) => {
                let row = self.of_desk(deadline).await?;
                Ok(HookAnswer::Hooks(row.hooks.iter().map(|hook| view_of(hook, Timestamp::default())).collect()))
            }
            HookRequest::Test { id, .. } => {
                let row = self.of_desk(deadline).await?;
                let hook = row.get(id).ok_or_else(|| refuse(Code::NotFound))?;
                tried(&self.poster, hook, self.router.clock().now()).await
            }
        }
    }

    async fn logged(
        &self,
        caller: &Caller,
        act: AuditAct,
        (id, user): (HookId, Option<UserId>),
        change: DeskChange,
        deadline: Instant,
    ) -> Result<InnerAnswer, Refusal> {
        let entry = AuditEntry { by: caller.user, token: caller.token, act, user, channel: None, number: id.get(), note: String::new() };
        self.desk.audited(entry, deadline, self.router.inner(desk::bucket(), Inner::Desk(change), deadline)).await
    }

    async fn of_desk(&self, deadline: Instant) -> Result<HooksRow, Refusal> {
        match self.router.inner(desk::bucket(), Inner::HooksSince { version: 0 }, deadline).await? {
            InnerAnswer::Hooks { hooks } => Ok(hooks.unwrap_or_default()),
            _ => Err(refuse(Code::Internal)),
        }
    }
}

impl Local {
    /// A channel's webhooks, at its group's leader.
    pub(super) async fn hook(&self, handle: &GroupHandle, caller: &Caller, asked: HookRequest) -> Result<Answer, Refusal> {
        let HookScope::Channel(channel) = asked.scope() else { return Err(refuse(Code::Unsupported)) };
        // What an operator does needs no owner.
        let by = if caller.may(AdminRole::Operator) { UserId::new(0) } else { caller.user };
        let changed = |change| propose(handle, Command::ChannelHook { channel, by, change });
        let answer = match asked {
            HookRequest::Add { .. } => {
                let hook = hook_of(caller, asked)?;
                let id = hook.id;
                done(changed(HookChange::Put(hook)).await?)?;
                HookAnswer::Added { id }
            }
            HookRequest::Remove { id, .. } => {
                done(changed(HookChange::Remove(id)).await?)?;
                HookAnswer::Done
            }
            HookRequest::List(_) => {
                let mut views = Vec::new();
                let row = self.owned(handle, caller, channel).await?;
                let view = view(handle)?;
                for hook in &row.hooks {
                    let cursor = rows::cursor(&view, channel, hook.id).map_err(|error| broken(&error))?;
                    views.push(view_of(hook, cursor.map_or_else(Timestamp::default, |cursor| cursor.failing)));
                }
                HookAnswer::Hooks(views)
            }
            HookRequest::Test { id, .. } => {
                let row = self.owned(handle, caller, channel).await?;
                let hook = row.get(id).ok_or_else(|| refuse(Code::NotFound))?;
                tried(self.poster(), hook, self.router().clock().now()).await?
            }
        };
        Ok(Answer::Hook(answer))
    }

    /// The desk's webhooks, if they are newer than this.
    pub(super) async fn hooks_since(&self, handle: &GroupHandle, version: u64) -> Result<InnerAnswer, Refusal> {
        let row = rows::of_desk(&view(handle)?).map_err(|error| broken(&error))?;
        Ok(InnerAnswer::Hooks { hooks: (row.version > version).then_some(row) })
    }

    /// A channel's webhooks, for its owner or an operator.
    async fn owned(&self, handle: &GroupHandle, caller: &Caller, channel: ChannelId) -> Result<HooksRow, Refusal> {
        handle.read_barrier().await.map_err(not_proposed)?;
        let view = view(handle)?;
        if !caller.may(AdminRole::Operator) {
            let beside = read::beside(&view, channel, caller.user).map_err(|error| broken(&error))?.ok_or_else(|| refuse(Code::NotMember))?;
            if beside.role < Role::Owner {
                return Err(refuse(Code::NotAllowed));
            }
        }
        rows::of_channel(&view, channel).map_err(|error| broken(&error))
    }
}

/// What is asked for, under the id that follows from it.
fn hook_of(caller: &Caller, asked: HookRequest) -> Result<Hook, Refusal> {
    let HookRequest::Add { scope, url, secret, events, key } = asked else { return Err(refuse(Code::Internal)) };
    let of: Vec<u8> = match scope {
        HookScope::Channel(channel) => channel.as_bytes().to_vec(),
        HookScope::User(user) => user.get().to_be_bytes().to_vec(),
        HookScope::All => Vec::new(),
    };
    let id = HookId::new(hash(&[b"kith/hook/1", &of, &key.to_be_bytes()]).max(1));
    let never = Timestamp::default();
    let hook = Hook { id, scope, url, secret, events, by: caller.user, made: never, disabled: never };
    match hook.refused() {
        Some(code) => Err(refuse(code).with_text("a webhook has a URL of at most 1,024 bytes, a key of 24 to 64 bytes, and some events")),
        None => Ok(hook),
    }
}

fn bot_of(scope: HookScope) -> Option<UserId> {
    if let HookScope::User(user) = scope { Some(user) } else { None }
}

fn view_of(hook: &Hook, failing: Timestamp) -> HookView {
    HookView { id: hook.id, url: hook.url.clone(), events: hook.events, by: hook.by, made: hook.made, disabled: hook.disabled, failing }
}

async fn tried(poster: &Poster, hook: &Hook, now: Timestamp) -> Result<HookAnswer, Refusal> {
    let id = format!("msg_test_{:016x}", hash(&[b"kith/hook-test/1", &hook.id.get().to_be_bytes(), &now.get().to_be_bytes()]));
    match poster.post(&hook.url, hook.secret.reveal(), &id, now, &event::test(now)).await {
        Posted::Status(status) => Ok(HookAnswer::Tested(u32::from(status))),
        Posted::Forbidden => Err(refuse(Code::NotAllowed).with_text("its address is not one that may be posted to")),
        Posted::Failed(why) => Err(refuse(Code::Invalid).with_text(why.to_string())),
    }
}

fn done(reply: kith_machine::reply::Reply) -> Result<(), Refusal> {
    match reply {
        kith_machine::reply::Reply::Rejected(code) => Err(rejected(code)),
        kith_machine::reply::Reply::WrongGroup => Err(refuse(Code::WrongGroup)),
        _ => Ok(()),
    }
}
