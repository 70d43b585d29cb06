//! Who may ask a node for what, before anything is looked up: every request × every kind of caller → the answer. A request that is added without a
//! name does not compile, and one without a row fails. What a channel's members may do is the machine's table (`raft/machine/tests/authority.rs`).

use std::collections::BTreeSet;

use kith_wire::{
    act::{Act, ActWrite},
    admin::AdminRole,
    client::{ChangeMembers, Request, Send},
    code::Code,
    desk::DeskRequest,
    hook::{HookEvents, HookKey, HookRequest, HookScope},
    id::{ChannelId, ClientSeq, DeviceId, GroupId, HookId, MapEpoch, NodeId, RegionId, Seq, Timestamp, UserId},
    layout::LayoutRequest,
    log::{MemberChange, Position, Preference, PushTarget},
    peer::Caller,
    people::PeopleRequest,
    presence::PresenceRequest,
    push_device::PushRequest,
    secret::Secret,
    trust::{TokenId, TrustRequest},
    upgrade::ClusterVersion,
};

use super::check;

/// Who asks.
#[derive(Clone, Copy, Debug)]
enum Asker {
    /// Nobody yet: before Hello.
    Door,
    /// A user's token.
    User,
    /// A token made on a node's own machine, of nobody.
    Machine,
    /// The token of a user who has an operator's rights.
    Operator,
    /// An admin token of the lowest role.
    ViewerToken,
    /// Of the next.
    OperatorToken,
    /// Of the highest.
    AdminToken,
}

const ASKERS: [Asker; 7] = [Asker::Door, Asker::User, Asker::Machine, Asker::Operator, Asker::ViewerToken, Asker::OperatorToken, Asker::AdminToken];

impl Asker {
    fn caller(self) -> Caller {
        let (user, admin) = match self {
            Self::Door => (0, None),
            Self::User => (1, None),
            Self::Machine => (0, Some(AdminRole::Admin)),
            Self::Operator => (1, Some(AdminRole::Admin)),
            Self::ViewerToken => (0, Some(AdminRole::Viewer)),
            Self::OperatorToken => (0, Some(AdminRole::Operator)),
            Self::AdminToken => (0, Some(AdminRole::Admin)),
        };
        let token = matches!(self, Self::ViewerToken | Self::OperatorToken | Self::AdminToken).then_some(TokenId::new(1));
        Caller { user: UserId::new(user), device: DeviceId::new(1), admin, trace: 0, key: None, token }
    }
}

/// What each of them is told at once: nothing (it is looked at further on), or a refusal.
type Told = [Option<Code>; 7];

const NOT_USER: Option<Code> = Some(Code::NotAllowed);
const NOT_ADMIN: Option<Code> = Some(Code::NotAdmin);

/// Whoever asks.
const ANYBODY: Told = [None; 7];
/// Whoever is a user, operator or not; an admin token is nobody's.
const USERS: Told = [NOT_USER, None, NOT_USER, None, NOT_USER, NOT_USER, NOT_USER];
/// Whoever may look.
const VIEWERS: Told = [NOT_ADMIN, NOT_ADMIN, None, None, None, None, None];
/// Whoever has an operator's rights.
const OPERATORS: Told = [NOT_ADMIN, NOT_ADMIN, None, None, NOT_ADMIN, None, None];
/// Whoever has all rights.
const ADMINS: Told = [NOT_ADMIN, NOT_ADMIN, None, None, NOT_ADMIN, NOT_ADMIN, None];
/// A user, whom the group or the bot may belong to; an operator always.
const OWNERS: Told = [NOT_USER, None, None, None, NOT_USER, None, None];
/// An operator; who is nobody is told to come with a token first.
const OPERATORS_OF_USERS: Told = [NOT_USER, NOT_ADMIN, None, None, NOT_USER, None, None];
/// Only a token made on a node's own machine.
const MACHINE: Told = [NOT_ADMIN, NOT_ADMIN, None, NOT_ADMIN, NOT_ADMIN, NOT_ADMIN, NOT_ADMIN];

/// Names a request. One that is new has to be named here.
fn name(request: &Request) -> String {
    match request {
        Request::Send(_) => "Send",
        Request::ChangeMembers(_) => "ChangeMembers",
        Request::Act(_) => "Act",
        Request::Void { .. } => "Void",
        Request::CreateGroup { .. } => "CreateGroup",
        Request::MarkRead { .. } => "MarkRead",
        Request::Delivered { .. } => "Delivered",
        Request::GetChannel { .. } => "GetChannel",
        Request::FindUser { .. } => "FindUser",
        Request::GetUsers { .. } => "GetUsers",
        Request::Discover { .. } => "Discover",
        Request::Status => "Status",
        Request::EnsureAccount { .. } => "EnsureAccount",
        Request::ReplaceNode { .. } => "ReplaceNode",
        Request::Join { .. } => "Join",
        Request::Typing { .. } => "Typing",
        Request::GetGroup { .. } => "GetGroup",
        Request::GetScheduled { .. } => "GetScheduled",
        Request::GetSeen { .. } => "GetSeen",
        Request::GetReactions { .. } => "GetReactions",
        Request::Layout(asked) => return format!("Layout {}", layout(asked)),
        Request::Trust(TrustRequest::MakeJoin { .. }) => "Trust MakeJoin",
        Request::Trust(TrustRequest::Joins) => "Trust Joins",
        Request::Trust(TrustRequest::RevokeJoin { .. }) => "Trust RevokeJoin",
        Request::Trust(TrustRequest::MakeAdmin { .. }) => "Trust MakeAdmin",
        Request::Trust(TrustRequest::Admins) => "Trust Admins",
        Request::Trust(TrustRequest::RevokeAdmin { .. }) => "Trust RevokeAdmin",
        Request::Trust(TrustRequest::ClaimFirst { .. }) => "Trust ClaimFirst",
        Request::Trust(TrustRequest::MakeFirst) => "Trust MakeFirst",
        Request::People(asked) => return format!("People {}", people(asked)),
        Request::Desk(asked) => return format!("Desk {}", desk(asked)),
        Request::Hook(asked) => return format!("Hook {}", hook(asked)),
        Request::Search(_) => "Search",
        Request::Presence(PresenceRequest::Get { .. }) => "Presence Get",
        Request::Presence(PresenceRequest::Watch { .. }) => "Presence Watch",
        Request::Presence(PresenceRequest::SetActivity { .. }) => "Presence SetActivity",
        Request::Presence(PresenceRequest::SetPrivate { .. }) => "Presence SetPrivate",
        Request::Push(PushRequest::Register { .. }) => "Push Register",
        Request::Push(PushRequest::Unregister) => "Push Unregister",
        Request::Push(PushRequest::Get) => "Push Get",
        Request::Push(PushRequest::SetQuiet { .. }) => "Push SetQuiet",
        Request::Push(PushRequest::Test) => "Push Test",
    }
    .to_owned()
}

const fn people(asked: &PeopleRequest) -> &'static str {
    match asked {
        PeopleRequest::SignUp { .. } => "SignUp",
        PeopleRequest::LogIn { .. } => "LogIn",
        PeopleRequest::LogInWith { .. } => "LogInWith",
        PeopleRequest::Refresh { .. } => "Refresh",
        PeopleRequest::ResetPassword { .. } => "ResetPassword",
        PeopleRequest::LogOut => "LogOut",
        PeopleRequest::Devices => "Devices",
        PeopleRequest::EndDevice { .. } => "EndDevice",
        PeopleRequest::EndOthers => "EndOthers",
        PeopleRequest::ChangePassword { .. } => "ChangePassword",
        PeopleRequest::NewRecoveryCode { .. } => "NewRecoveryCode",
        PeopleRequest::Rename { .. } => "Rename",
        PeopleRequest::DeleteAccount { .. } => "DeleteAccount",
        PeopleRequest::ResetLink { .. } => "ResetLink",
        PeopleRequest::AskReset { .. } => "AskReset",
        PeopleRequest::SetAdmin { .. } => "SetAdmin",
        PeopleRequest::Prefer { .. } => "Prefer",
        PeopleRequest::SetProfile { .. } => "SetProfile",
        PeopleRequest::GetProfiles { .. } => "GetProfiles",
        PeopleRequest::AskContact { .. } => "AskContact",
        PeopleRequest::Block { .. } => "Block",
        PeopleRequest::Contacts { .. } => "Contacts",
        PeopleRequest::Search { .. } => "Search",
        PeopleRequest::MakeBot { .. } => "MakeBot",
        PeopleRequest::BotToken { .. } => "BotToken",
        PeopleRequest::EndBotToken { .. } => "EndBotToken",
        PeopleRequest::DeleteBot { .. } => "DeleteBot",
        PeopleRequest::Bots => "Bots",
    }
}

const fn layout(asked: &LayoutRequest) -> &'static str {
    match asked {
        LayoutRequest::Show => "Show",
        LayoutRequest::Plan => "Plan",
        LayoutRequest::Apply { .. } => "Apply",
        LayoutRequest::AddNode { .. } => "AddNode",
        LayoutRequest::Decommission { .. } => "Decommission",
        LayoutRequest::Recommission { .. } => "Recommission",
        LayoutRequest::Drain { .. } => "Drain",
        LayoutRequest::MoveBuckets { .. } => "MoveBuckets",
        LayoutRequest::CancelMove { .. } => "CancelMove",
        LayoutRequest::Upgrade => "Upgrade",
        LayoutRequest::Finalize { .. } => "Finalize",
    }
}

const fn desk(asked: &DeskRequest) -> &'static str {
    match asked {
        DeskRequest::Report { .. } => "Report",
        DeskRequest::Reports { .. } => "Reports",
        DeskRequest::CloseReport { .. } => "CloseReport",
        DeskRequest::Ban { .. } => "Ban",
        DeskRequest::Audit { .. } => "Audit",
    }
}

fn hook(asked: &HookRequest) -> String {
    let verb = match asked {
        HookRequest::Add { .. } => "Add",
        HookRequest::List(_) => "List",
        HookRequest::Remove { .. } => "Remove",
        HookRequest::Test { .. } => "Test",
    };
    let of = match asked.scope() {
        HookScope::Channel(_) => "of a channel",
        HookScope::User(_) => "of a bot",
        HookScope::All => "of all",
    };
    format!("{verb} {of}")
}

/// How many there are: raised with each that is named above.
const REQUESTS: usize = 21 + 28 + 5 + 4 * 3 + 4 + 11 + 5 + 8;

fn rows() -> Vec<(Request, Told)> {
    let (channel, number) = (ChannelId::direct(UserId::new(1), UserId::new(2)), ClientSeq::new(1));
    let (seq, peer, at) = (Seq::new(1), UserId::new(2), Position { seq: Seq::new(1), cnt: 1 });
    let (text, secret) = (|| "ann".to_owned(), || Secret::new("x"));
    let change = ChangeMembers { channel, client_seq: number, settled: number, change: MemberChange::Leave };
    let (key, nonce) = ([1; 32], [1; 16]);
    let people = Request::People;
    let mut rows = vec![
        (Request::Send(Send { channel, client_seq: number, settled: number, text: text(), reply_to: None, mentions: Vec::new() }), USERS),
        (Request::ChangeMembers(change), USERS),
        (Request::Act(ActWrite { channel, client_seq: number, settled: number, act: Act::Delete { target: seq } }), USERS),
        (Request::Void { channel, device: DeviceId::new(1), client_seq: number, digest: None }, USERS),
        (Request::CreateGroup { op: 1, title: text(), members: Vec::new() }, USERS),
        (Request::MarkRead { channel, read: at }, USERS),
        (Request::Delivered { channel, delivered: at }, USERS),
        (Request::GetChannel { channel }, USERS),
        (Request::GetUsers { users: vec![peer] }, USERS),
        (Request::Join { channel, secret: nonce }, USERS),
        (Request::Typing { channel }, USERS),
        (Request::GetGroup { channel }, USERS),
        (Request::GetScheduled { channel }, USERS),
        (Request::GetSeen { channel, seq }, USERS),
        (Request::GetReactions { channel, seq }, USERS),
        (Request::Search("ann".into()), USERS),
        (Request::Presence(PresenceRequest::Get { users: vec![peer] }), USERS),
        (Request::Presence(PresenceRequest::Watch { users: vec![peer] }), USERS),
        (Request::Presence(PresenceRequest::SetActivity { active: true }), USERS),
        (Request::Presence(PresenceRequest::SetPrivate { private: true }), USERS),
        (Request::Push(PushRequest::Register { target: PushTarget::Fcm { token: Secret::new("x") } }), USERS),
        (Request::Push(PushRequest::Unregister), USERS),
        (Request::Push(PushRequest::Get), USERS),
        (Request::Push(PushRequest::SetQuiet { quiet: None }), USERS),
        (Request::Push(PushRequest::Test), USERS),
        (Request::FindUser { name: text() }, ANYBODY),
        (Request::Discover { measured: Vec::new(), region: None }, ANYBODY),
        (Request::Status, VIEWERS),
        (Request::EnsureAccount { name: text(), key }, OPERATORS),
        (
            Request::ReplaceNode {
                dead: NodeId::new(1),
                node: NodeId::new(2),
                address: text(),
                http: String::new(),
                zone: String::new(),
                host: String::new(),
                force: false,
            },
            ADMINS,
        ),
        (people(PeopleRequest::SignUp { name: text(), password: secret(), key, nonce, title: text() }), ANYBODY),
        (people(PeopleRequest::LogIn { name: text(), password: secret(), nonce, title: text() }), ANYBODY),
        (people(PeopleRequest::LogInWith { token: secret(), nonce, title: text() }), ANYBODY),
        (people(PeopleRequest::Refresh { token: secret(), nonce }), ANYBODY),
        (people(PeopleRequest::ResetPassword { name: text(), code: secret(), password: secret() }), ANYBODY),
        (people(PeopleRequest::AskReset { name: text() }), ANYBODY),
        (people(PeopleRequest::LogOut), USERS),
        (people(PeopleRequest::Devices), USERS),
        (people(PeopleRequest::EndDevice { device: DeviceId::new(1) }), USERS),
        (people(PeopleRequest::EndOthers), USERS),
        (people(PeopleRequest::ChangePassword { old: secret(), new: secret() }), USERS),
        (people(PeopleRequest::NewRecoveryCode { password: secret() }), USERS),
        (people(PeopleRequest::Rename { name: text() }), USERS),
        (people(PeopleRequest::DeleteAccount { password: secret() }), USERS),
        (people(PeopleRequest::Prefer { channel, preference: Preference::Mute { until: Some(Timestamp::new(1)) } }), USERS),
        (people(PeopleRequest::SetProfile { display: None, about: None, avatar: None, searchable: None, fields: Vec::new() }), USERS),
        (people(PeopleRequest::GetProfiles { users: vec![peer] }), USERS),
        (people(PeopleRequest::AskContact { peer, asked: true }), USERS),
        (people(PeopleRequest::Block { peer, blocked: true }), USERS),
        (people(PeopleRequest::Contacts { after: peer }), USERS),
        (people(PeopleRequest::Search { prefix: text() }), USERS),
        (people(PeopleRequest::MakeBot { name: text(), key }), OWNERS),
        (people(PeopleRequest::BotToken { bot: peer }), OWNERS),
        (people(PeopleRequest::EndBotToken { bot: peer }), OWNERS),
        (people(PeopleRequest::DeleteBot { bot: peer }), OWNERS),
        (people(PeopleRequest::Bots), USERS),
        (people(PeopleRequest::ResetLink { name: text() }), ADMINS),
        (people(PeopleRequest::SetAdmin { name: text(), admin: true }), MACHINE),
        (Request::Desk(DeskRequest::Report { channel, seq, reason: text() }), USERS),
        (Request::Desk(DeskRequest::Reports { after: 0 }), OPERATORS),
        (Request::Desk(DeskRequest::CloseReport { id: 1, note: text() }), OPERATORS),
        (Request::Desk(DeskRequest::Ban { name: text(), banned: true, note: text() }), OPERATORS),
        (Request::Desk(DeskRequest::Audit { before: 0 }), VIEWERS),
    ];
    let node = NodeId::new(1);
    let added = LayoutRequest::AddNode { node, address: text(), http: text(), region: RegionId::FIRST, zone: text(), host: text(), capacity: 1 };
    let layout = [
        (LayoutRequest::Show, VIEWERS),
        (LayoutRequest::Plan, VIEWERS),
        (LayoutRequest::Apply { version: MapEpoch::new(1) }, OPERATORS),
        (added, ADMINS),
        (LayoutRequest::Decommission { node, dry_run: true }, VIEWERS),
        (LayoutRequest::Decommission { node, dry_run: false }, OPERATORS),
        (LayoutRequest::Recommission { node }, OPERATORS),
        (LayoutRequest::Drain { node, on: true }, OPERATORS),
        (LayoutRequest::MoveBuckets { from: GroupId::new(1), run: None, to: None }, OPERATORS),
        (LayoutRequest::CancelMove { from: GroupId::new(1) }, OPERATORS),
        (LayoutRequest::Upgrade, VIEWERS),
        (LayoutRequest::Finalize { to: ClusterVersion::new(2) }, OPERATORS),
    ];
    rows.extend(layout.into_iter().map(|(asked, told)| (Request::Layout(asked), told)));
    let id = TokenId::new(1);
    let trust = [
        (TrustRequest::MakeJoin { ttl_s: 1, region: None, zone: text(), host: text(), replaces: None }, ADMINS),
        (TrustRequest::Joins, VIEWERS),
        (TrustRequest::RevokeJoin { id }, OPERATORS),
        (TrustRequest::MakeAdmin { name: text(), role: AdminRole::Viewer, ttl_s: 1 }, ADMINS),
        (TrustRequest::Admins, VIEWERS),
        (TrustRequest::RevokeAdmin { id }, ADMINS),
        (TrustRequest::ClaimFirst { token: secret(), name: text() }, ANYBODY),
        (TrustRequest::MakeFirst, MACHINE),
    ];
    rows.extend(trust.into_iter().map(|(asked, told)| (Request::Trust(asked), told)));
    let id = HookId::new(1);
    for (scope, told) in [(HookScope::Channel(channel), OWNERS), (HookScope::User(peer), OPERATORS_OF_USERS), (HookScope::All, OPERATORS_OF_USERS)] {
        let secret = HookKey::new(bytes::Bytes::from_static(&[1; 32]));
        rows.extend([
            (Request::Hook(HookRequest::Add { scope, url: text(), secret, events: HookEvents::ALL, key: 1 }), told),
            (Request::Hook(HookRequest::List(scope)), told),
            (Request::Hook(HookRequest::Remove { scope, id }), told),
            (Request::Hook(HookRequest::Test { scope, id }), told),
        ]);
    }
    rows
}

#[test]
fn each_caller_is_told_what_the_table_says() {
    for (request, told) in rows() {
        for (asker, told) in ASKERS.into_iter().zip(told) {
            let answer = check(&asker.caller(), &request).err().map(|refusal| refusal.code);
            assert_eq!(answer, told, "{asker:?} asks for {}", name(&request));
        }
    }
}

#[test]
fn every_request_has_a_row() {
    let named: BTreeSet<String> = rows().iter().map(|(request, _)| name(request)).collect();
    assert_eq!(named.len(), REQUESTS, "{named:?}");
}
