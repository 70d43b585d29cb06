//! What the leader of a group does itself: a client's request becomes an item of the group's log, its reply the client's answer.
//!
//! In: requests that were routed here, by this node or by one hop. Out: answers; `NotLeader` with a hint when it is not so (any more).
//! Invariant: a request is proposed in the first poll, so that a device's requests keep their order; only a direct channel's first
//! record asks the other side's home before, and a forward the group of its source ([`super::chat`]). Final refusals come from apply.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use kith_machine::{
    channel::read,
    reply::Reply,
    view::{RowKey, StateView, ViewError},
};
use kith_raft::{GroupHandle, ProposeError, Reader};
use kith_wire::{
    client::{Answer, ChannelView, MemberView, Page, Pull, Refusal, Request, Send},
    code::Code,
    id::{ChannelId, ChannelKind, GroupId, UserId, UserRev},
    log::{Author, Command, Content, MemberChange, PeerCheck, UserChange},
    peer::{Caller, Inner, InnerAnswer},
    trust::TrustRequest,
    upgrade::ClusterVersion,
};

use super::{
    account,
    chat::{act_reply, content_of},
    history::Reads,
    home::{self, Home},
    room,
    typing::{Hinted, Hints},
};
use crate::{
    auth::gate::Gate,
    clock::Instant,
    cluster::{files::LayoutSettings, survey::Survey},
    disk::Disk,
    hook::post::Poster,
    peer::tls::Signer,
    push::sender::Sender,
    router::{LocalOps, Router, refuse, refuse_for},
};

/// The operations of this node as a leader.
#[derive(Clone, Debug)]
pub struct Local {
    router: Router,
    home: Home,
    /// Direct channels that are known to exist here: they never cease to.
    begun: Arc<Mutex<HashSet<ChannelId>>>,
    hinted: Hinted,
    poster: Poster,
    sender: Sender,
    survey: Survey,
    settings: LayoutSettings,
    authority: Signer,
    disk: Disk,
}

impl Local {
    /// Over a router, which is told of it ([`Router::attach`]) by the composition root.
    pub fn new(
        router: Router,
        gate: Gate,
        poster: Poster,
        sender: Sender,
        (survey, settings, authority): (Survey, LayoutSettings, Signer),
        disk: Disk,
    ) -> Self {
        Self {
            poster,
            sender,
            survey,
            settings,
            authority,
            disk,
            home: Home { router: router.clone(), gate },
            router,
            begun: Arc::default(),
            hinted: Hinted::default(),
        }
    }
    /// Says where live hints go. Once.
    pub fn attach(&self, hints: Arc<dyn Hints>) {
        self.hinted.attach(hints);
    }
    pub(super) const fn poster(&self) -> &Poster {
        &self.poster
    }
    pub(super) fn router(&self) -> &Router {
        &self.router
    }

    async fn request(self, group: GroupId, caller: Caller, request: Request, deadline: Instant) -> Result<Answer, Refusal> {
        let handle = self.group(group)?;
        if room::grows(&request) {
            self.disk.admit()?;
        }
        match request {
            Request::Send(send) => self.send(&handle, &caller, send, deadline).await,
            Request::ChangeMembers(change) => {
                let digest = change.digest();
                let author = author(&caller, change.client_seq, change.settled, digest);
                if let MemberChange::Add(user) = change.change
                    && !account::have_room(&self.router, vec![user], deadline).await?
                {
                    // Logged, so that it uses up its number.
                    return sent(propose(&handle, Command::Refuse { channel: change.channel, author, code: Code::TooManyGroups }).await?);
                }
                let reply = propose(&handle, Command::ChangeMembers { channel: change.channel, author, change: change.change }).await?;
                sent(reply)
            }
            Request::Act(write) => self.act(&handle, &caller, write, deadline).await,
            Request::Join { channel, secret } => self.join(&handle, &caller, channel, secret).await,
            Request::Typing { channel } => self.hinted.tell(&handle, channel, caller.user),
            Request::GetGroup { channel } => self.group_view(&handle, channel, caller.user).await,
            Request::GetScheduled { channel } => self.scheduled(&handle, channel, caller.user).await,
            Request::GetSeen { channel, seq } => self.seen(&handle, channel, caller.user, seq).await,
            Request::GetReactions { channel, seq } => self.reactions(&handle, channel, caller.user, seq).await,
            Request::Void { channel, device, client_seq, digest } => {
                let reply = propose(&handle, Command::Void { channel, user: caller.user, device, client_seq, digest }).await?;
                sent(reply)
            }
            Request::CreateGroup { op, title, members } => {
                let channel = ChannelId::group(caller.user.region(), caller.user, caller.device, op);
                let create = Command::CreateGroup { channel, creator: caller.user, device: caller.device, op, title, members };
                match propose(&handle, create).await? {
                    Reply::Sent { seq, .. } => Ok(Answer::Created { channel, seq }),
                    other => sent(other),
                }
            }
            // Their own position, in their home; what the others see is told to the channel's group apart (`service::receipt`).
            Request::MarkRead { channel, read } => sent(propose(&handle, Command::MarkRead { user: caller.user, channel, read }).await?),
            Request::Delivered { channel, delivered } => {
                let receipt = Command::Receipt { channel, user: caller.user, read: None, delivered: Some(delivered) };
                sent(propose(&handle, receipt).await?)
            }
            Request::GetChannel { channel } => {
                handle.read_barrier().await.map_err(not_proposed)?;
                channel_view(&view(&handle)?, channel, caller.user)
            }
            Request::ReplaceNode { .. } if caller.admin.is_some() && group == GroupId::META => super::replace::run(&handle, request).await,
            Request::Layout(asked) if caller.admin.is_some() && group == GroupId::META => {
                super::layout::run(&handle, &self.survey, self.settings, asked).await.map(Answer::Layout)
            }
            // Who claims by the cluster's first token shows no other.
            Request::Trust(asked) if group == GroupId::META && (caller.admin.is_some() || matches!(asked, TrustRequest::ClaimFirst { .. })) => {
                super::trust::run(&handle, &self.router, (&caller, self.authority.digest()), asked).await.map(Answer::Trust)
            }
            Request::People(asked) => self.home.request(&handle, &caller, asked, deadline).await,
            Request::Hook(asked) => self.hook(&handle, &caller, asked).await,
            Request::Desk(asked) => super::desk::page(&handle, &caller, asked).await,
            _ => Err(refuse(Code::Unsupported)),
        }
    }

    async fn send(&self, handle: &GroupHandle, caller: &Caller, send: Send, deadline: Instant) -> Result<Answer, Refusal> {
        let (channel, author) = (send.channel, author(caller, send.client_seq, send.settled, send.digest()));
        self.append(handle, caller, (channel, author, content_of(send)), deadline).await
    }

    /// Adds a text; the first one of a direct channel asks the other side's home before.
    pub(super) async fn append(
        &self,
        handle: &GroupHandle,
        caller: &Caller,
        (channel, author, content): (ChannelId, Author, Content),
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        let peer = match channel.peer_of(caller.user) {
            Some(peer) if peer != caller.user && !self.has_begun(handle, channel)? => self.check_peer(caller.user, peer, deadline).await?,
            _ => PeerCheck::NotAsked,
        };
        let reply = propose(handle, Command::Append { channel, author, content, peer }).await?;
        if matches!((&reply, channel.kind()), (Reply::Sent { .. }, ChannelKind::Direct(..))) {
            self.note_begun(channel);
        }
        sent(reply)
    }

    fn has_begun(&self, handle: &GroupHandle, channel: ChannelId) -> Result<bool, Refusal> {
        if self.begun.lock().unwrap_or_else(PoisonError::into_inner).contains(&channel) {
            return Ok(true);
        }
        let is_there = view(handle)?.get(&RowKey::Channel(channel)).map_err(|error| broken(&error))?.is_some();
        if is_there {
            self.note_begun(channel);
        }
        Ok(is_there)
    }

    fn note_begun(&self, channel: ChannelId) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.len() >= BEGUN_MAX {
            begun.clear();
        }
        begun.insert(channel);
    }

    /// Silence of the other side's home is `Busy`: nothing is used up, and the device tries again.
    async fn check_peer(&self, from: UserId, user: UserId, deadline: Instant) -> Result<PeerCheck, Refusal> {
        let soon = deadline.min(self.router.clock().instant() + CHECK_MAX);
        match self.router.inner(user.bucket(), Inner::CheckPeer { user, from }, soon).await {
            Ok(InnerAnswer::Truth(true)) => Ok(PeerCheck::Exists),
            Ok(InnerAnswer::Truth(false)) => Ok(PeerCheck::NotAsked),
            Ok(_) | Err(_) => Err(refuse_for(Code::Busy, CHECK_RETRY_MS)),
        }
    }

    async fn inner_op(self, group: GroupId, inner: Inner) -> Result<InnerAnswer, Refusal> {
        if super::moves::is_new(&inner) && self.router.peers().release().own().knows < ClusterVersion::MOVES {
            return Err(refuse(Code::Unsupported));
        }
        let handle = self.group(group)?;
        if room::inner_grows(&inner) {
            self.disk.admit()?;
        }
        match inner {
            Inner::Receipt { channel, user, read } => {
                done(propose(&handle, Command::Receipt { channel, user, read: Some(read), delivered: None }).await?)
            }
            Inner::CheckPeer { user, .. } => {
                handle.read_barrier().await.map_err(not_proposed)?;
                Ok(InnerAnswer::Truth(is_active(&view(&handle)?, user)?.is_some()))
            }
            Inner::HasDevice { user, device } => {
                handle.read_barrier().await.map_err(not_proposed)?;
                let row = view(&handle)?.get(&RowKey::Device(user, device)).map_err(|error| broken(&error))?;
                Ok(InnerAnswer::Truth(row.is_some()))
            }
            Inner::FindName { name } => {
                handle.read_barrier().await.map_err(not_proposed)?;
                let holding = kith_machine::name::find(&view(&handle)?, &name).map_err(|error| broken(&error))?;
                Ok(holding.map_or(InnerAnswer::NoName, |holding| InnerAnswer::Name {
                    user: holding.user,
                    confirmed: holding.confirmed,
                    age_ms: holding.age_ms,
                    held: holding.held_back,
                    since: holding.since,
                }))
            }
            Inner::HoldName { name, user, until } => done(propose(&handle, Command::HoldName { name, user, until }).await?),
            Inner::NameAttempt { name } => {
                self.home.gate.attempt_name(&name)?;
                Box::pin(self.inner_op(group, Inner::FindName { name })).await
            }
            Inner::Enter { user, password, enter, call } => self.home.enter(&handle, user, password, (enter, call)).await,
            Inner::User { user, change } => self.home.change(&handle, user, change).await,
            Inner::IndexWord { word, user, version, gone } => done(propose(&handle, Command::IndexWord { word, user, version, gone }).await?),
            Inner::FindWords { prefix } => {
                let found = kith_machine::name::word::find(&view(&handle)?, &prefix, FOUND_WORDS_MAX).map_err(|error| broken(&error))?;
                Ok(InnerAnswer::Words(found))
            }
            Inner::GetProfiles { users } => home::profiles(&handle, users),
            Inner::MayStay { user, device, login, issued } => home::may_stay(&handle, user, device, (login, issued)).await,
            Inner::Presence { asker, users } => self.hinted.look(group, asker, users).await,
            Inner::Pushes { user } => super::push::state(&handle, &self.sender, user).await,
            Inner::TestPush { user } => super::push::test(&handle, &self.sender, user, self.router.clock()).await,
            Inner::IsBanned { user } => {
                handle.read_barrier().await.map_err(not_proposed)?;
                let account = kith_machine::user::account(&view(&handle)?, user).map_err(|error| broken(&error))?;
                Ok(InnerAnswer::Truth(account.is_some_and(|row| row.is_banned())))
            }
            Inner::HasRoom { users } => {
                let reader = view(&handle)?;
                for user in users {
                    if !kith_machine::user::has_room(&reader, user).map_err(|error| broken(&error))? {
                        return Ok(InnerAnswer::Truth(false));
                    }
                }
                Ok(InnerAnswer::Truth(true))
            }
            Inner::HooksSince { version } => self.hooks_since(&handle, version).await,
            Inner::Desk(change) => match propose(&handle, change.command()).await? {
                Reply::Kept { id } => Ok(InnerAnswer::Kept { id }),
                other => done(other),
            },
            Inner::Gone { channel, user } => done(propose(&handle, Command::Gone { channel, user }).await?),
            Inner::GetUsers { users } => {
                let reader = view(&handle)?;
                let mut found = Vec::new();
                for user in users {
                    if let Some(name) = is_active(&reader, user)? {
                        found.push((user, name));
                    }
                }
                Ok(InnerAnswer::Users(found))
            }
            Inner::ReadRecord { channel, user, seq } => self.read_record(&handle, channel, user, seq).await,
            Inner::ReserveName { name, user } => match propose(&handle, Command::ReserveName { name, user }).await? {
                Reply::Reserved { since } => Ok(InnerAnswer::Reserved { since }),
                other => done(other),
            },
            Inner::ConfirmName { name, user } => done(propose(&handle, Command::ConfirmName { name, user }).await?),
            Inner::ReleaseName { name, user, since } => done(propose(&handle, Command::ReleaseName { name, user, since }).await?),
            Inner::CreateUser { user, name, key } => done(propose(&handle, Command::CreateUser { user, name, key }).await?),
            Inner::BeginCall { user, key, digest } => match propose(&handle, Command::BeginCall { user, key, digest }).await? {
                Reply::Call { answer } => Ok(InnerAnswer::Call { answer }),
                other => done(other),
            },
            Inner::ShowBot { user, device, shown } => home::show_bot(&handle, user, device, shown).await,
            Inner::OwnBots { user } => home::own_bots(&handle, user).await,
            Inner::Admit { token, key, node, dry_run } if group == GroupId::META => {
                super::trust::admit_here(&handle, &self.router, (token, key), &node, dry_run).await.map(InnerAnswer::Admitted)
            }
            Inner::ShowAdmin { id } if group == GroupId::META => super::admin::found(&handle, id).map(|token| InnerAnswer::Admin { token }),
            Inner::Admit { .. } | Inner::ShowAdmin { .. } => Err(refuse(Code::Unsupported)),
            Inner::TellRuns { runs } if group == GroupId::META => super::moves::tell_runs(&handle, runs).await,
            Inner::TellRuns { .. } => Err(refuse(Code::Unsupported)),
            Inner::Move { from, leaving, change } => super::moves::stands(&handle, &self.router, from, leaving, change).await,
            Inner::Leaving => super::moves::leaving(&handle).await,
            Inner::GivenTo { bucket } => super::moves::given_to(&handle, bucket),
            Inner::BeginMove { run, to } => super::moves::begin(&handle, &self.router, run, to).await,
            Inner::CancelMove => super::moves::cancel(&handle).await,
            Inner::EndCall { user, key, answer } => done(propose(&handle, Command::EndCall { user, key, answer }).await?),
            Inner::SettleUser { user, name } => {
                // The reply says whether the name is the user's; if not, nothing under way will make it so.
                match propose(&handle, UserChange::SettleName { name }.of(user)).await? {
                    Reply::Account { .. } => Ok(InnerAnswer::Truth(true)),
                    Reply::Done => Ok(InnerAnswer::Truth(false)),
                    other => done(other),
                }
            }
        }
    }

    fn group(&self, group: GroupId) -> Result<GroupHandle, Refusal> {
        let handle = self.router.groups().get(group).ok_or_else(|| Refusal::not_leader(None))?;
        let lead = handle.leadership();
        match lead.leader {
            Some(leader) if leader == self.router.node() && lead.serving => Ok(handle),
            Some(leader) if leader == self.router.node() => Err(refuse_for(Code::NoLeader, WARMING_MS)),
            other => Err(Refusal::not_leader(other)),
        }
    }
}

impl LocalOps for Local {
    fn at_leader(&self, group: GroupId, caller: Caller, request: Request, deadline: Instant) -> BoxFuture<'static, Result<Answer, Refusal>> {
        self.clone().request(group, caller, request, deadline).boxed()
    }
    fn read(&self, group: GroupId, caller: Caller, pull: Pull) -> BoxFuture<'static, Result<Page, Refusal>> {
        let reads = Reads::new(self.router.clone());
        async move {
            match pull {
                Pull::History(query) => reads.history_here(group, &caller, &query).await.map(Page::History),
                Pull::Index(query) => reads.index_here(group, &caller, &query, UserRev::ZERO).await,
            }
        }
        .boxed()
    }
    fn inner(&self, group: GroupId, inner: Inner, _deadline: Instant) -> BoxFuture<'static, Result<InnerAnswer, Refusal>> {
        self.clone().inner_op(group, inner).boxed()
    }
}

pub(super) fn author(caller: &Caller, client_seq: kith_wire::id::ClientSeq, settled: kith_wire::id::ClientSeq, digest: u64) -> Author {
    // A call under a key is numbered by nothing else.
    let (client_seq, settled) = if caller.key.is_some() { Default::default() } else { (client_seq, settled) };
    Author { user: caller.user, device: caller.device, client_seq, settled, digest, key: caller.key }
}

pub(super) async fn propose(handle: &GroupHandle, command: Command) -> Result<Reply, Refusal> {
    handle.propose(kith_machine::item(command)).await.map_err(not_proposed)
}

/// What a proposal's failure is to the asker.
pub(super) fn not_proposed(error: ProposeError) -> Refusal {
    match error {
        ProposeError::NotLeader { leader, .. } => Refusal::not_leader(leader),
        ProposeError::Busy { retry_after } => refuse_for(Code::Busy, u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX).max(1)),
        ProposeError::Unknown => refuse(Code::OutcomeUnknown),
        ProposeError::Stopped => refuse_for(Code::NoLeader, WARMING_MS),
    }
}

/// The replica's rows at this moment.
pub(super) fn view(handle: &GroupHandle) -> Result<Reader, Refusal> {
    handle.reader().map_err(|error| {
        tracing::warn!(group = %handle.id(), cause = %error, "service.read: not now");
        refuse_for(Code::Behind, WARMING_MS)
    })
}

/// A row that cannot be read is our fault; what exactly is in the log, not in the answer. One of a bucket that the group does not own, or not any
/// more, is another group's to show.
pub(super) fn broken(error: &ViewError) -> Refusal {
    if error.is_not_owned() {
        return refuse(Code::WrongGroup);
    }
    tracing::error!(cause = %error, "service.read: a row cannot be read");
    refuse(Code::Internal)
}

/// A reply as a client's answer.
pub(super) fn sent(reply: Reply) -> Result<Answer, Refusal> {
    match reply {
        Reply::Kept { .. } | Reply::Joined { .. } | Reply::Pending | Reply::Slow { .. } => act_reply(reply),
        Reply::Sent { seq, cnt, ts, duplicate } => Ok(Answer::Sent { seq, cnt, ts, duplicate }),
        Reply::Voided => Ok(Answer::Voided),
        Reply::Done
        | Reply::Rev(_)
        | Reply::Merged { .. }
        | Reply::Account { .. }
        | Reply::Reserved { .. }
        | Reply::Entered { .. }
        | Reply::Call { .. } => Ok(Answer::Done),
        Reply::OutOfSequence { expected } => Err(Refusal::out_of_sequence(expected)),
        Reply::Rejected(code) => Err(rejected(code)),
        Reply::WrongGroup => Err(refuse(Code::WrongGroup)),
    }
}

fn done(reply: Reply) -> Result<InnerAnswer, Refusal> {
    sent(reply).map(|_| InnerAnswer::Done)
}

pub(super) fn rejected(code: Code) -> Refusal {
    match code.retry() {
        kith_wire::code::Retry::After => refuse_for(code, REJECTED_RETRY_MS),
        _ => refuse(code),
    }
}

fn is_active(view: &dyn StateView, user: UserId) -> Result<Option<String>, Refusal> {
    let account = kith_machine::user::account(view, user).map_err(|error| broken(&error))?;
    Ok(account.filter(|row| row.state == kith_wire::log::UserState::Active).map(|row| row.name))
}

fn channel_view(view: &dyn StateView, channel: ChannelId, user: UserId) -> Result<Answer, Refusal> {
    let overview = read::overview(view, channel, user).map_err(|error| broken(&error))?.ok_or_else(|| refuse(Code::NotMember))?;
    let members = overview.roster.members.iter().zip(&overview.positions);
    let members = members.map(|(member, (read, delivered))| MemberView { user: member.user, role: member.role, read: *read, delivered: *delivered });
    let members = members.collect();
    Ok(Answer::Channel(ChannelView { channel, title: overview.roster.title, head: overview.state.head, members }))
}

/// Direct channels remembered; then all are forgotten and looked up again.
const BEGUN_MAX: usize = 65_536;
/// Words of one search: more than are shown, since some may not be.
const FOUND_WORDS_MAX: usize = 100;
/// For the other side's home to say whether it may be written to.
const CHECK_MAX: Duration = Duration::from_secs(3);
/// When it did not.
const CHECK_RETRY_MS: u32 = 500;
/// A leader that has not applied the first entry of its term.
const WARMING_MS: u32 = 200;
/// A logged refusal that may pass: the channel's first ref is still on its way, a name is being made.
const REJECTED_RETRY_MS: u32 = 500;
