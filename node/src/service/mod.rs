//! Entry-agnostic operations: the only home of request rules.
//!
//! In: an authenticated [`Caller`], a request or pull, a deadline. Out: an answer, a page, or a typed refusal. What a request needs is
//! checked here, then it goes to the leader of its bucket ([`Router`]); [`local`] is what that leader does. Invariants: a request reaches
//! the proposer's queue (or the peer's) in its first poll, so that a device's requests keep their order; final refusals of numbered
//! writes come from apply alone. Not here: sessions, who is told of an outcome.

pub mod account;
pub mod admin;
#[cfg(test)]
mod authority;
pub mod bot;
pub mod call;
mod chat;
mod contact;
pub mod desk;
pub mod history;
mod home;
mod hook;
mod layout;
pub mod local;
mod moves;
mod mutant;
pub mod nearest;
pub mod people;
mod presence;
mod push;
pub mod receipt;
pub mod replace;
mod room;
pub(crate) mod search;
pub mod status;
mod trust;
pub mod typing;
mod upgrade;
pub mod vitals;

use std::{fmt, sync::Arc, time::Duration};

use kith_wire::{
    admin::AdminRole,
    client::{Answer, Page, Pull, Refusal, Request, Send},
    code::{Code, Retry},
    desk::{AuditAct, AuditEntry, DeskRequest},
    hook::HookScope,
    id::{DeviceId, Timestamp, UserId},
    layout::{LayoutAnswer, LayoutRequest},
    limit,
    log::NodeRow,
    peer::{Caller, Inner, InnerAnswer},
    people::{PeopleAnswer, PeopleRequest},
    secret::Secret,
    trust::{TrustAnswer, TrustRequest},
};
use prometheus_client::registry::Registry;
use tracing::Instrument;

use self::{
    admin::AdminTokens,
    desk::Desk,
    history::Reads,
    hook::Hooks,
    nearest::{Nearest, NearestMetrics},
    people::People,
    receipt::Receipts,
    search::Searches,
    typing::Typists,
};
use crate::{
    auth::{gate::Gate, issuer::Issuers},
    clock::Instant,
    cluster::survey::Survey,
    hook::post::Poster,
    router::{Router, refuse},
};

/// The operations of a node. Clones are the same node.
#[derive(Clone)]
pub struct Service {
    router: Router,
    reads: Reads,
    receipts: Receipts,
    people: People,
    desk: Desk,
    hooks: Hooks,
    typists: Typists,
    searches: Searches,
    survey: Survey,
    nearest: Nearest,
    admins: AdminTokens,
    registry: Arc<Registry>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({:?})", self.router)
    }
}

impl Service {
    /// Over a router. `hands_on_codes`: a backend of the app does so for who has lost a password; `survey` knows what this node tells of itself.
    pub(crate) fn new(
        router: Router,
        gate: Gate,
        (issuers, hands_on_codes): (Arc<Issuers>, bool),
        poster: Poster,
        searches: Searches,
        (survey, answers): (Survey, Arc<NearestMetrics>),
        registry: Arc<Registry>,
    ) -> Self {
        let (people, reads) = (People::new(router.clone(), gate.clone(), issuers, hands_on_codes), Reads::new(router.clone()));
        let desk = Desk::new(router.clone(), gate);
        Self {
            hooks: Hooks::new(router.clone(), desk.clone(), poster),
            desk,
            people,
            reads,
            receipts: Receipts::default(),
            typists: Typists::default(),
            searches,
            nearest: Nearest::new(router.clone(), survey.own().clone(), answers),
            admins: AdminTokens::new(router.clone()),
            registry,
            router,
            survey,
        }
    }
    /// The way to leaders.
    pub fn router(&self) -> &Router {
        &self.router
    }
    /// Reads, also for other nodes.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }
    /// Where sessions are held best.
    pub fn nearest(&self) -> &Nearest {
        &self.nearest
    }
    /// Admin tokens, as this node knows them.
    pub fn admins(&self) -> &AdminTokens {
        &self.admins
    }
    /// The cluster's first admin token, if it had none: to be shown to whoever started it. Asks until the meta group has said so.
    pub async fn first_admin(&self) -> Option<(Secret, Timestamp)> {
        let caller = Caller { user: UserId::new(0), device: DeviceId::new(0), admin: Some(AdminRole::Admin), trace: 0, key: None, token: None };
        // The audit log is in another group, which begins a moment later, or has no leader now: it is waited for, but not for ever.
        for _ in 0..FIRST_TRIES {
            let group = self.router.maps().current().group_of(kith_wire::desk::bucket());
            if group.is_some_and(|group| self.router.leader(group).is_some()) {
                break;
            }
            tokio::time::sleep(FIRST_AGAIN).await;
        }
        loop {
            let deadline = self.router.clock().instant() + FIRST_WITHIN;
            match self.handle(&caller, Request::Trust(TrustRequest::MakeFirst), deadline).await {
                Ok(Answer::Trust(TrustAnswer::Made { token, until, .. })) => return Some((token, until)),
                Ok(_) => return None,
                Err(refusal) if refusal.code.retry() == Retry::Never => return None,
                // The meta group has no leader yet.
                Err(_) => tokio::time::sleep(FIRST_AGAIN).await,
            }
        }
    }
    /// Some of the metrics of every node.
    pub(crate) async fn vitals(&self) -> Vec<vitals::Vitals> {
        vitals::all(&self.router, &self.registry).await
    }
    /// This node's metrics.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
    /// Sessions that this node holds.
    pub fn sessions(&self) -> u64 {
        self.survey.own().sessions()
    }
    /// Whether this node gives up its sessions and leaderships.
    pub fn drains(&self) -> bool {
        self.survey.own().drain.is_on()
    }
    /// Sends coalesced receipts until dropped.
    pub async fn run_receipts(self) {
        self.receipts.run(self.router).await;
    }

    /// Does a request, wherever it belongs. Cancel safe as a retry is: what was proposed may still happen.
    ///
    /// # Errors
    /// A refusal with a stable code; `OutcomeUnknown` when the deadline passed after it may have been proposed.
    pub async fn handle(&self, caller: &Caller, request: Request, deadline: Instant) -> Result<Answer, Refusal> {
        let span = tracing::debug_span!("service.request", node = %self.router.node(), request = caller.trace);
        self.dispatch(caller, request, deadline).instrument(span).await
    }

    async fn dispatch(&self, caller: &Caller, request: Request, deadline: Instant) -> Result<Answer, Refusal> {
        check(caller, &request)?;
        if let Some(token) = caller.token {
            // The session may be older than the end of its token.
            self.admins.stands(token).await?;
        }
        let router = &self.router;
        match request {
            Request::Send(Send { channel, .. }) => router.forward(caller, channel.bucket(), request, deadline).await,
            Request::ChangeMembers(ref change) => router.forward(caller, change.channel.bucket(), request, deadline).await,
            Request::Act(ref write) => router.forward(caller, write.channel.bucket(), request, deadline).await,
            Request::Join { channel, .. } => {
                self.check_room(vec![caller.user], deadline).await?;
                router.forward(caller, channel.bucket(), request, deadline).await
            }
            Request::GetGroup { channel }
            | Request::GetScheduled { channel }
            | Request::GetSeen { channel, .. }
            | Request::GetReactions { channel, .. } => router.forward(caller, channel.bucket(), request, deadline).await,
            Request::Typing { channel } if self.typists.may_tell(channel, caller.user, router.clock().instant()) => {
                router.forward(caller, channel.bucket(), request, deadline).await
            }
            Request::Typing { .. } => Ok(Answer::Done),
            Request::GetChannel { channel } => router.forward(caller, channel.bucket(), request, deadline).await,
            Request::Void { channel, device, .. } => {
                self.check_device(caller, device, deadline).await?;
                router.forward(caller, channel.bucket(), request, deadline).await
            }
            Request::CreateGroup { op, ref members, .. } => {
                self.check_members(members, deadline).await?;
                self.check_room(members.iter().copied().chain([caller.user]).collect(), deadline).await?;
                let channel = kith_wire::id::ChannelId::group(caller.user.region(), caller.user, caller.device, op);
                router.forward(caller, channel.bucket(), request, deadline).await
            }
            Request::MarkRead { channel, read } => {
                let answer = router.forward(caller, caller.user.bucket(), request, deadline).await?;
                self.receipts.read(caller, channel, read);
                Ok(answer)
            }
            Request::Delivered { channel, delivered } => {
                self.receipts.delivered(caller, channel, delivered);
                Ok(Answer::Done)
            }
            Request::FindUser { name } => account::find_user(router, &name, deadline).await,
            Request::GetUsers { users } => account::get_users(router, users, deadline).await,
            Request::Discover { measured, region } => Ok(Answer::Edges(self.nearest.edges(caller, measured, region))),
            Request::Status => Ok(status::cluster(router, self.sessions()).await),
            Request::ReplaceNode { dead, .. } => {
                let entry = AuditEntry { number: dead.get(), ..entry(caller, AuditAct::ReplaceNode, None) };
                self.desk.audited_if_possible(entry, deadline, replace::ask(router, caller, request, deadline)).await
            }
            Request::Layout(asked) => self.layout(caller, asked, deadline).await.map(Answer::Layout),
            Request::Trust(asked) => self.trust(caller, asked, deadline).await.map(Answer::Trust),
            Request::People(asked) => self.people(caller, asked, deadline).await.map(Answer::People),
            Request::Desk(asked) => self.desk.handle(caller, asked, deadline).await.map(Answer::Desk),
            Request::Hook(asked) => self.hooks.handle(caller, asked, deadline).await.map(Answer::Hook),
            Request::Search(query) => self.searches.search(caller, query, deadline).await.map(Answer::Found),
            Request::Presence(asked) => presence::handle(router, caller, asked, deadline).await,
            Request::Push(asked) => push::handle(router, caller, asked, deadline).await,
            Request::EnsureAccount { name, key } => account::ensure(router, &name, &key, deadline).await,
        }
    }

    /// What operators ask about nodes and groups; what changes something is logged.
    async fn layout(&self, caller: &Caller, asked: LayoutRequest, deadline: Instant) -> Result<LayoutAnswer, Refusal> {
        let work = layout::ask(&self.router, &self.survey, caller, asked.clone(), deadline);
        match layout::act_of(&asked) {
            Some((act, number)) => self.desk.audited_if_possible(AuditEntry { number, ..entry(caller, act, None) }, deadline, work).await,
            None => work.await,
        }
    }

    /// What operators ask about who may join; what changes something is logged.
    async fn trust(&self, caller: &Caller, asked: TrustRequest, deadline: Instant) -> Result<TrustAnswer, Refusal> {
        let work = trust::ask(&self.router, caller, asked.clone(), deadline);
        let act = match asked {
            // Anybody may try: what was refused is no act.
            TrustRequest::ClaimFirst { .. } => AuditAct::ClaimAdminToken,
            TrustRequest::MakeFirst => AuditAct::FirstAdminToken,
            _ => {
                let Some((act, number, note)) = trust::act_of(&asked) else { return work.await };
                return self.desk.audited_if_possible(AuditEntry { number, note, ..entry(caller, act, None) }, deadline, work).await;
            }
        };
        let answer = work.await?;
        if let TrustAnswer::Made { id, .. } = &answer {
            let entry = AuditEntry { number: id.get(), ..entry(caller, act, None) };
            self.desk.audited_if_possible(entry, deadline, std::future::ready(Ok(()))).await?;
        }
        Ok(answer)
    }

    /// Whether a node that comes with a token and a key (by their digests) may join, and where it would stand; nothing is changed.
    ///
    /// # Errors
    /// The token is none, or no longer; or the node's address is another's.
    pub(crate) async fn may_join(&self, proof: ([u8; 32], [u8; 32]), node: NodeRow, deadline: Instant) -> Result<NodeRow, Refusal> {
        trust::admit(&self.router, proof, node, true, deadline).await
    }

    /// Lets it in; gives its row, with its id. Again with the same token and key: the same.
    ///
    /// # Errors
    /// As [`Service::may_join`].
    pub(crate) async fn join(&self, proof: ([u8; 32], [u8; 32]), node: NodeRow, deadline: Instant) -> Result<NodeRow, Refusal> {
        let row = trust::admit(&self.router, proof, node, false, deadline).await?;
        let entry = AuditEntry {
            by: UserId::default(),
            token: None,
            act: AuditAct::Join,
            user: None,
            channel: None,
            number: row.node.get(),
            note: row.address.clone(),
        };
        self.desk.audited_if_possible(entry, deadline, std::future::ready(Ok(()))).await?;
        Ok(row)
    }

    /// What people ask; what operators ask about people is logged.
    async fn people(&self, caller: &Caller, asked: PeopleRequest, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
        let (name, act) = match &asked {
            PeopleRequest::ResetLink { name } => (name, AuditAct::ResetLink),
            PeopleRequest::SetAdmin { name, admin: true } => (name, AuditAct::MakeAdmin),
            PeopleRequest::SetAdmin { name, admin: false } => (name, AuditAct::EndAdmin),
            _ => return self.people.handle(caller, asked, deadline).await,
        };
        let entry = entry(caller, act, Some(self.desk.user(name, deadline).await?));
        self.desk.audited(entry, deadline, self.people.handle(caller, asked, deadline)).await
    }

    /// Answers one bulk stream.
    pub async fn pull(&self, caller: &Caller, pull: Pull, deadline: Instant) -> Page {
        let span = tracing::debug_span!("service.pull", node = %self.router.node(), request = caller.trace);
        let page = async {
            match pull {
                Pull::History(query) => self.reads.history(caller, query, deadline).await.map(Page::History),
                Pull::Index(query) => self.reads.index(caller, query, deadline).await,
            }
        };
        page.instrument(span).await.unwrap_or_else(Page::Refused)
    }

    /// A number may be given up for the caller's own device, or for another that their home has met: for one of nobody's, every call
    /// would leave a row behind.
    async fn check_device(&self, caller: &Caller, device: DeviceId, deadline: Instant) -> Result<(), Refusal> {
        if device == caller.device {
            return Ok(());
        }
        match self.router.inner(caller.user.bucket(), Inner::HasDevice { user: caller.user, device }, deadline).await? {
            InnerAnswer::Truth(true) => Ok(()),
            InnerAnswer::Truth(false) => Err(refuse(Code::NotAllowed).with_text("this is none of the user's devices")),
            _ => Err(refuse(Code::Internal)),
        }
    }

    /// Nobody is in more groups than there is room for.
    async fn check_room(&self, users: Vec<kith_wire::id::UserId>, deadline: Instant) -> Result<(), Refusal> {
        if account::have_room(&self.router, users, deadline).await? { Ok(()) } else { Err(refuse(Code::TooManyGroups)) }
    }

    /// A group is made of users that exist; one that is erased later is told to the channel by its home.
    async fn check_members(&self, members: &[kith_wire::id::UserId], deadline: Instant) -> Result<(), Refusal> {
        let mut wanted = members.to_vec();
        wanted.sort();
        wanted.dedup();
        let count = wanted.len();
        match account::get_users(&self.router, wanted, deadline).await? {
            Answer::Users(found) if found.len() == count => Ok(()),
            _ => Err(refuse(Code::NoSuchUser)),
        }
    }
}

/// An entry of the audit log about a user, or about nobody.
fn entry(caller: &Caller, act: AuditAct, user: Option<kith_wire::id::UserId>) -> AuditEntry {
    AuditEntry { by: caller.user, token: caller.token, act, user, channel: None, number: 0, note: String::new() }
}

/// What can be said of a request without looking anything up. Numbered writes that the machine would refuse are left to it, so that
/// their number is used up; here only what no honest client sends, and what is too large to be carried.
fn check(caller: &Caller, request: &Request) -> Result<(), Refusal> {
    let needs_user = !matches!(
        request,
        Request::Discover { .. }
            | Request::Status
            | Request::EnsureAccount { .. }
            | Request::FindUser { .. }
            | Request::ReplaceNode { .. }
            | Request::Layout(_)
            | Request::Trust(_)
    );
    let needs_user = match request {
        Request::People(PeopleRequest::ResetLink { .. } | PeopleRequest::SetAdmin { .. }) => false,
        Request::People(
            PeopleRequest::MakeBot { .. } | PeopleRequest::BotToken { .. } | PeopleRequest::EndBotToken { .. } | PeopleRequest::DeleteBot { .. },
        ) => !caller.may(AdminRole::Operator),
        Request::People(asked) => !asked.is_at_door(),
        Request::Desk(asked) => !asked.is_operators(),
        Request::Hook(_) => !caller.may(AdminRole::Operator),
        _ => needs_user,
    };
    if needs_user && caller.user.get() == 0 {
        return Err(refuse(Code::NotAllowed).with_text("this needs a user's token"));
    }
    match request {
        Request::Send(send) => check_send(send),
        Request::CreateGroup { title, members, .. } => {
            if title.chars().count() > limit::TITLE_CHARS_MAX {
                return Err(refuse(Code::TooLarge).with_text("a title has at most 200 characters"));
            }
            // The creator is a member too, named or not.
            let others = members.iter().filter(|member| **member != caller.user).collect::<std::collections::BTreeSet<_>>();
            if others.len() >= limit::MEMBERS_MAX {
                return Err(refuse(Code::GroupFull));
            }
            Ok(())
        }
        // The first operator, and one who was locked out, come from a node's own machine: only its files sign a token of nobody.
        Request::People(PeopleRequest::SetAdmin { .. }) | Request::Trust(TrustRequest::MakeFirst)
            if !caller.may(AdminRole::Admin) || caller.user.get() != 0 || caller.token.is_some() =>
        {
            Err(refuse(Code::NotAdmin).with_text("this needs a token made on a node's own machine"))
        }
        _ => match role_of(request) {
            Some(role) if !caller.may(role) => Err(too_low(caller, role)),
            _ => Ok(()),
        },
    }
}

fn too_low(caller: &Caller, needed: AdminRole) -> Refusal {
    match caller.admin {
        None => refuse(Code::NotAdmin),
        Some(held) => refuse(Code::NotAdmin).with_text(format!("this needs the role {needed}: the token that was shown has the role {held}")),
    }
}

/// The role that a request needs; `None`: none, a user asks for it, or a stranger.
fn role_of(request: &Request) -> Option<AdminRole> {
    use AdminRole::{Admin, Operator, Viewer};
    match request {
        Request::Status => Some(Viewer),
        Request::EnsureAccount { .. } => Some(Operator),
        // Who names a node, or lets one in, hands it all that the cluster holds.
        Request::ReplaceNode { .. } => Some(Admin),
        Request::Layout(asked) => Some(match asked {
            LayoutRequest::Show | LayoutRequest::Plan | LayoutRequest::Upgrade | LayoutRequest::Decommission { dry_run: true, .. } => Viewer,
            LayoutRequest::Apply { .. }
            | LayoutRequest::Finalize { .. }
            | LayoutRequest::Decommission { dry_run: false, .. }
            | LayoutRequest::Recommission { .. }
            | LayoutRequest::Drain { .. }
            | LayoutRequest::MoveBuckets { .. }
            | LayoutRequest::CancelMove { .. } => Operator,
            LayoutRequest::AddNode { .. } => Admin,
        }),
        Request::Trust(asked) => match asked {
            TrustRequest::Joins | TrustRequest::Admins => Some(Viewer),
            TrustRequest::RevokeJoin { .. } => Some(Operator),
            TrustRequest::MakeJoin { .. } | TrustRequest::MakeAdmin { .. } | TrustRequest::RevokeAdmin { .. } | TrustRequest::MakeFirst => {
                Some(Admin)
            }
            TrustRequest::ClaimFirst { .. } => None,
        },
        // It opens an account.
        Request::People(PeopleRequest::ResetLink { .. } | PeopleRequest::SetAdmin { .. }) => Some(Admin),
        Request::Desk(asked) => match asked {
            DeskRequest::Report { .. } => None,
            DeskRequest::Audit { .. } => Some(Viewer),
            // What people wrote is in them.
            DeskRequest::Reports { .. } | DeskRequest::CloseReport { .. } | DeskRequest::Ban { .. } => Some(Operator),
        },
        Request::Hook(asked) if !matches!(asked.scope(), HookScope::Channel(_)) => Some(Operator),
        _ => None,
    }
}

fn check_send(send: &Send) -> Result<(), Refusal> {
    let too_large = send.text.len() > limit::TEXT_BYTES_MAX
        || (send.text.len() > limit::TEXT_CHARS_MAX && send.text.chars().count() > limit::TEXT_CHARS_MAX)
        || send.mentions.len() > limit::MENTIONS_MAX;
    // The machine logs this refusal when the channel is there. A text that cannot be carried is refused here: the client must not send it.
    if too_large { Err(refuse(Code::TooLarge)) } else { Ok(()) }
}

/// For the first admin token to be made, each time that it is asked for.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// Between two asks.
const FIRST_AGAIN: Duration = Duration::from_millis(200);
/// Looks for a leader of the audit log's group.
const FIRST_TRIES: usize = 50;

#[cfg(test)]
mod tests {
    use kith_wire::id::{ChannelId, ClientSeq, DeviceId, UserId};

    use super::*;

    fn caller(user: u64, admin: bool) -> Caller {
        let admin = admin.then_some(AdminRole::Admin);
        Caller { user: UserId::new(user), device: DeviceId::new(1), admin, trace: 0, key: None, token: None }
    }
    fn send(text: String) -> Request {
        let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
        let (client_seq, settled) = (ClientSeq::new(1), ClientSeq::new(1));
        Request::Send(Send { channel, client_seq, settled, text, reply_to: None, mentions: Vec::new() })
    }

    #[test]
    fn longest_text_passes_and_one_more_is_too_large() {
        assert_eq!(check(&caller(1, false), &send("🦀".repeat(limit::TEXT_CHARS_MAX))), Ok(()));
        let refused = check(&caller(1, false), &send("🦀".repeat(limit::TEXT_CHARS_MAX + 1)));
        assert_eq!(refused.unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn strangers_may_ask_what_is_asked_at_the_door_and_nothing_else() {
        let stranger = caller(0, false);
        let code = |caller: &Caller, asked| check(caller, &Request::People(asked)).err().map(|refusal| refusal.code);
        let name = || "ann".to_owned();
        assert_eq!(code(&stranger, PeopleRequest::Refresh { token: "x".into(), nonce: [0; 16] }), None);
        assert_eq!(code(&stranger, PeopleRequest::Devices), Some(Code::NotAllowed));
        assert_eq!(code(&stranger, PeopleRequest::EndOthers), Some(Code::NotAllowed));
        assert_eq!(code(&stranger, PeopleRequest::ResetLink { name: name() }), Some(Code::NotAdmin));
        assert_eq!(code(&caller(1, true), PeopleRequest::ResetLink { name: name() }), None);
        assert_eq!(
            code(&caller(1, true), PeopleRequest::SetAdmin { name: name(), admin: true }),
            Some(Code::NotAdmin),
            "an operator makes no operator"
        );
        assert_eq!(code(&caller(0, true), PeopleRequest::SetAdmin { name: name(), admin: true }), None);
    }

    #[test]
    fn operators_and_users_are_told_apart() {
        assert_eq!(check(&caller(1, false), &Request::Status).unwrap_err().code, Code::NotAdmin);
        assert_eq!(check(&caller(0, true), &Request::Status), Ok(()));
        assert_eq!(check(&caller(0, true), &send("hi".into())).unwrap_err().code, Code::NotAllowed);
    }
}
