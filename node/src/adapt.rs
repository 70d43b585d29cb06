//! Small adapters between modules that do not know each other: part of the composition root.

use std::{net::IpAddr, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use kith_wire::{
    admin::AdminSecret,
    client::{Answer, Page, Pull, Refusal, Request},
    code::Code,
    id::{ChannelId, ClusterId, GroupId, NodeId, Term, UserId, hash},
    peer::Caller,
    presence::PresenceView,
    push_device::PushRequest,
};

use crate::{
    auth::{self, Claims, TokenKey, gate::limited, name::fold_name},
    clock::{Instant, SharedClock},
    cluster::ClusterFiles,
    cluster::map::MapVersion,
    fanout::{Fanout, Homes},
    rate::{self, Rate, Rates},
    router::{Router, refuse},
    service::{Service, admin::AdminTokens, typing::Hints},
    session::{Door, Requests, Tokens},
};

/// Who is home where, as the router knows it.
pub(crate) struct RouterHomes(pub(crate) Router);

impl Homes for RouterHomes {
    fn home(&self, user: UserId) -> Option<GroupId> {
        self.0.maps().current().group_of(user.bucket())
    }
    fn leader(&self, group: GroupId) -> Option<(NodeId, Term)> {
        self.0.leader(group)
    }
    fn map_version(&self) -> MapVersion {
        self.0.maps().current().version()
    }
    fn alive(&self, node: NodeId) -> bool {
        self.0.peers().alive(node)
    }
    fn nodes(&self) -> Vec<NodeId> {
        self.0.maps().current().nodes.keys().copied().collect()
    }
    fn groups(&self) -> Vec<GroupId> {
        self.0.maps().current().groups.keys().copied().filter(|group| *group != GroupId::META).collect()
    }
}

/// Who types and who is here, told by fan-out.
pub(crate) struct TypingHints(pub(crate) Arc<Fanout>);

impl Hints for TypingHints {
    fn typing(&self, group: GroupId, channel: ChannelId, user: UserId, others: Arc<[UserId]>) {
        self.0.handle_typing(group, channel, user, others);
    }
    fn look(&self, group: GroupId, asker: UserId, users: Vec<UserId>) -> BoxFuture<'static, Result<Vec<PresenceView>, Refusal>> {
        let fanout = self.0.clone();
        async move { fanout.look(group, asker, users).await }.boxed()
    }
}

/// Requests of sessions, done by the service. What a device that is pushed to says that it has, its home hears.
pub(crate) struct ServiceRequests(pub(crate) Service, pub(crate) Arc<Fanout>);

impl Requests for ServiceRequests {
    fn handle(&self, caller: Caller, request: Request, deadline: Instant) -> BoxFuture<'static, Result<Answer, Refusal>> {
        let (service, fanout) = (self.0.clone(), self.1.clone());
        if let Request::Delivered { channel, delivered } = &request {
            fanout.confirm(caller.user, caller.device, *channel, delivered.seq);
        }
        let registers = match &request {
            Request::Push(PushRequest::Register { .. }) => Some(true),
            Request::Push(PushRequest::Unregister) => Some(false),
            _ => None,
        };
        async move {
            let answer = service.handle(&caller, request, deadline).await;
            if let Some(pushes) = registers.filter(|_| answer.is_ok()) {
                fanout.local().note_asked(caller.user, caller.device, pushes);
            }
            answer
        }
        .boxed()
    }
    fn pull(&self, caller: Caller, pull: Pull, deadline: Instant) -> BoxFuture<'static, Page> {
        let service = self.0.clone();
        async move { service.pull(&caller, pull, deadline).await }.boxed()
    }
}

/// Tokens of the cluster's key, and admin tokens, which its rows know.
pub(crate) struct ClusterTokens {
    key: TokenKey,
    cluster: ClusterId,
    clock: SharedClock,
    admins: AdminTokens,
}

impl ClusterTokens {
    pub(crate) fn new(files: &ClusterFiles, clock: SharedClock, service: &Service) -> Self {
        Self { key: files.token_key.clone(), cluster: files.id, clock, admins: service.admins().clone() }
    }
}

impl Tokens for ClusterTokens {
    fn show(&self, token: String, from: IpAddr) -> BoxFuture<'static, Result<Claims, Refusal>> {
        if !AdminSecret::is_meant(&token) {
            return std::future::ready(self.verify(&token).map_err(refuse)).boxed();
        }
        let admins = self.admins.clone();
        async move { admins.show(&token, from).await }.boxed()
    }
    fn verify(&self, token: &str) -> Result<Claims, Code> {
        auth::verify(&self.key, self.cluster, token, self.clock.now()).map_err(auth::TokenError::code)
    }
}

/// Strangers are counted by their address; this machine's own are not: demo, tests and proxies come from there. Guesses are, from wherever.
pub(crate) struct AddressDoor {
    rates: Rates,
    guesses: Rates,
    clock: SharedClock,
}

impl AddressDoor {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { rates: Rates::new(KNOCKS), guesses: Rates::new(GUESSES), clock }
    }
}

impl Door for AddressDoor {
    fn knock(&self, from: IpAddr) -> Result<(), Refusal> {
        if from.is_loopback() {
            return Ok(());
        }
        self.rates.take(rate::address(from), self.clock.instant()).map_err(limited)
    }
    fn guess(&self, from: IpAddr, name: &str) -> Result<(), Refusal> {
        // However it is written; what can be no name is refused later on.
        let name = fold_name(name).unwrap_or_default();
        let key = hash(&[b"kith/guess/1", &rate::address(from).to_be_bytes(), name.as_bytes()]);
        self.guesses.take(u128::from(key), self.clock.instant()).map_err(limited)
    }
}

/// Sign-ups, log-ins and refreshes of one address. Many people may share one.
const KNOCKS: Rate = Rate { burst: 120, per_second: 2.0 };
/// Passwords and codes that one address tries on one name, at one node. The bound of a name over all addresses is far above that, so that a stranger
/// who fails on purpose locks out nobody but those who share their address.
const GUESSES: Rate = Rate { burst: 10, per_second: 0.1 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_on_purpose_locks_out_nobody_elsewhere() {
        let door = AddressDoor::new(Arc::new(crate::clock::SystemClock));
        let (stranger, owner) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let refused = (0..50).filter(|_| door.guess(stranger, "Ann").is_err()).count();
        assert!(refused >= 39, "{refused}");
        assert!(door.guess(stranger, "\u{ff21}nn").is_err(), "the same name, written otherwise");
        assert!(door.guess(stranger, "bob").is_ok());
        assert!(door.guess(owner, "ann").is_ok());
    }
}
