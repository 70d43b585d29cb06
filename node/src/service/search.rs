//! Search for messages, as any node serves it.
//!
//! In: what an authenticated caller looks for. Out: a page of what they may read, the newest first. Their home says which conversations those
//! are; each is searched by one node that holds it, the nearest first, and the next one where a node does not answer or its index is being
//! built. Invariants: a node that was asked in vain is named; what nobody answered for is counted; pages one after the other give everything
//! once ([`kith_search::merge`]). Bounds: [`RATE`] for each user; `limit::SEARCHED_CHANNELS_MAX` conversations. Not here: looking (`crate::search`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use kith_machine::{
    user,
    view::{StateView, ViewError},
};
use kith_search::{Part, Query, merge};
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{ChannelId, GroupId, NodeId, UserId},
    limit,
    peer::{Ask, Caller, Told},
    search::{SearchPage, SearchPart, SearchQuery, SearchScope, SearchTold},
};

use super::local::{broken, view};
use crate::{
    clock::Instant,
    rate::{Rate, Rates},
    router::{Router, refuse, refuse_for},
    search::{
        Search, SearchMetrics, SearchReject,
        answer::{Look, page_limit, refused},
    },
};

/// Searches of messages for clients.
#[derive(Clone)]
pub(crate) struct Searches {
    router: Router,
    here: Search,
    rates: Arc<Rates>,
    metrics: Arc<SearchMetrics>,
}

impl std::fmt::Debug for Searches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Searches({})", self.router.node())
    }
}

/// One search under way.
struct Hunt {
    caller: Caller,
    query: SearchQuery,
    hidden: Vec<UserId>,
    /// Groups that nobody has answered for, with their conversations.
    open: BTreeMap<GroupId, Vec<ChannelId>>,
    tried: BTreeMap<GroupId, BTreeSet<NodeId>>,
    missing: BTreeSet<NodeId>,
    unsearched: usize,
    told: Vec<SearchTold>,
}

impl Searches {
    pub(crate) fn new(router: Router, here: Search, metrics: Arc<SearchMetrics>) -> Self {
        Self { router, here, rates: Arc::new(Rates::new(RATE)), metrics }
    }

    /// Looks through the conversations of the caller.
    ///
    /// # Errors
    /// `Invalid`, `TooLarge`: what cannot be looked for. `RateLimited` with a delay. `NoLeader`: their home cannot be asked.
    pub(crate) async fn search(&self, caller: &Caller, query: SearchQuery, deadline: Instant) -> Result<SearchPage, Refusal> {
        let now = self.router.clock().instant();
        let wanted = Query::parse(&query.words).map_err(refused)?;
        let is_narrowed = query.sender.is_some() || query.channel.is_some() || query.since.is_some() || query.until.is_some();
        if wanted.wants_nothing() && !is_narrowed {
            return Err(refuse(Code::Invalid).with_text("give a word to look for, or a sender, a conversation or a time"));
        }
        if let Err(wait) = self.rates.take(u128::from(caller.user.get()), now) {
            self.metrics.reject(SearchReject::Rate);
            return Err(refuse_for(Code::RateLimited, u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1)));
        }
        let page = self.hunt(caller, query, deadline).await;
        self.metrics.query.observe(self.router.clock().instant().saturating_duration_since(now).as_secs_f64());
        page
    }

    async fn hunt(&self, caller: &Caller, query: SearchQuery, deadline: Instant) -> Result<SearchPage, Refusal> {
        let is_first = query.below.is_none() && query.channel.is_none() && query.sender.is_none();
        let scope = self.scope(caller, if is_first { &query.words } else { "" }, deadline).await?;
        let (channels, more) = match query.channel {
            // Whether it is theirs is said by its own rows.
            Some(channel) => (vec![channel], 0),
            None => (scope.channels, scope.more),
        };
        let mut hunt = Hunt {
            caller: caller.clone(),
            hidden: scope.hidden,
            open: BTreeMap::new(),
            tried: BTreeMap::new(),
            missing: BTreeSet::new(),
            unsearched: usize::try_from(more).unwrap_or(usize::MAX),
            told: Vec::new(),
            query,
        };
        for channel in channels {
            match self.router.locate(channel.bucket()) {
                Ok(route) => hunt.open.entry(route.group).or_default().push(channel),
                Err(_) => hunt.unsearched += 1,
            }
        }
        while !hunt.open.is_empty() {
            hunt.open.values_mut().for_each(|channels| channels.sort());
            self.ask_round(&mut hunt, deadline).await?;
        }
        let parts = hunt.told.into_iter().map(|told| Part { hits: told.hits, reached: told.reached }).collect();
        let (hits, next) = merge(parts, page_limit(hunt.query.limit));
        Ok(SearchPage {
            hits,
            channels: scope.titled,
            missing: hunt.missing.into_iter().collect(),
            unsearched: u32::try_from(hunt.unsearched).unwrap_or(u32::MAX),
            next,
        })
    }

    /// Asks the next node for each group that nobody has answered for.
    async fn ask_round(&self, hunt: &mut Hunt, deadline: Instant) -> Result<(), Refusal> {
        let mut by_node = BTreeMap::<NodeId, Vec<SearchPart>>::new();
        for (group, channels) in std::mem::take(&mut hunt.open) {
            let tried = hunt.tried.entry(group).or_default();
            let left = self.router.clock().instant() < deadline;
            match self.places(group).into_iter().find(|node| left && !tried.contains(node)) {
                Some(node) => {
                    tried.insert(node);
                    by_node.entry(node).or_default().push(SearchPart { group, channels });
                }
                None => {
                    hunt.unsearched += channels.len();
                    hunt.missing.extend(self.unheard(group));
                }
            }
        }
        let asked = by_node.into_iter().map(|(node, parts)| {
            let look = Look { user: hunt.caller.user, query: hunt.query.clone(), parts, hidden: hunt.hidden.clone() };
            self.ask(node, hunt.caller.clone(), look, deadline)
        });
        for (node, parts, told) in join_all(asked).await {
            let mut again: BTreeSet<GroupId> = BTreeSet::new();
            match told {
                Ok(told) => {
                    again.extend(&told.behind);
                    hunt.told.push(told);
                }
                // What it cannot look for nobody can.
                Err(refusal) if matches!(refusal.code, Code::Invalid | Code::TooLarge) => return Err(refusal),
                Err(_) => {
                    again.extend(parts.iter().map(|part| part.group));
                    hunt.missing.insert(node);
                }
            }
            for part in parts.into_iter().filter(|part| again.contains(&part.group)) {
                for channel in part.channels {
                    // It may be another group's by now, which nobody was asked about yet.
                    let group = self.router.locate(channel.bucket()).map_or(part.group, |route| route.group);
                    hunt.open.entry(group).or_default().push(channel);
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, node: NodeId, caller: Caller, look: Look, deadline: Instant) -> (NodeId, Vec<SearchPart>, Result<SearchTold, Refusal>) {
        let parts = look.parts.clone();
        if node == self.router.node() {
            return (node, parts, self.here.answer(look, deadline).await);
        }
        let Look { query, parts: asked, hidden, .. } = look;
        let within = deadline.saturating_duration_since(self.router.clock().instant()).min(ASK_MAX);
        let told = match self.router.peers().ask(node, Ask::Search { caller, query, parts: asked, hidden }, within).await {
            Ok(Told::Searched(told)) => Ok(told),
            Ok(_) => Err(refuse(Code::Internal)),
            Err(kith_raft::TransportError::Refused(_, refusal)) => Err(refusal),
            Err(_) => Err(refuse(Code::Timeout)),
        };
        (node, parts, told)
    }

    /// What the caller may search, from the nearest replica of their home.
    async fn scope(&self, caller: &Caller, words: &str, deadline: Instant) -> Result<SearchScope, Refusal> {
        let bucket = caller.user.bucket();
        let group = self.router.locate(bucket)?.group;
        let mut last = refuse_for(Code::NoLeader, RETRY_MS);
        for node in self.places(group) {
            let told = if node == self.router.node() {
                scope_here(&self.router, group, caller, words.to_owned()).await
            } else {
                let within = deadline.saturating_duration_since(self.router.clock().instant()).min(ASK_MAX);
                let ask = Ask::SearchScope { group, caller: caller.clone(), words: words.to_owned() };
                match self.router.peers().ask(node, ask, within).await {
                    Ok(Told::SearchScope(scope)) => Ok(scope),
                    Ok(_) => Err(refuse(Code::Internal)),
                    Err(kith_raft::TransportError::Refused(_, refusal)) => Err(refusal),
                    Err(_) => Err(refuse_for(Code::NoLeader, RETRY_MS)),
                }
            };
            match told {
                Ok(scope) => return Ok(scope),
                Err(refusal) => last = refusal,
            }
            if self.router.clock().instant() >= deadline {
                break;
            }
        }
        if last.code == Code::WrongGroup {
            // Who asks again is asked for at the new home.
            self.router.learn(group, bucket, None, deadline).await;
        }
        // That one node has no replica says nothing of the user.
        Err(if matches!(last.code, Code::NotFound | Code::WrongGroup) { refuse_for(Code::NoLeader, RETRY_MS) } else { last })
    }

    /// Where to ask about a group, best first: here, the leader, the other replicas that are heard.
    fn places(&self, group: GroupId) -> Vec<NodeId> {
        let (me, peers) = (self.router.node(), self.router.peers());
        let mut places = Vec::new();
        if self.router.groups().get(group).is_some() {
            places.push(me);
        }
        let leader = self.router.leader(group).map(|(node, _)| node).filter(|node| peers.reachable(*node));
        let others = self.replicas(group).into_iter().filter(|node| *node != me && peers.reachable(*node));
        for node in leader.into_iter().chain(others) {
            if !places.contains(&node) {
                places.push(node);
            }
        }
        places
    }

    /// Replicas of a group that are not heard: they may hold what nobody answered for.
    fn unheard(&self, group: GroupId) -> Vec<NodeId> {
        let is_unheard = |node: &NodeId| *node != self.router.node() && !self.router.peers().reachable(*node);
        self.replicas(group).into_iter().filter(is_unheard).collect()
    }

    fn replicas(&self, group: GroupId) -> Vec<NodeId> {
        self.router.maps().current().groups.get(&group).map(|row| row.replicas.clone()).unwrap_or_default()
    }
}

/// What a user may search, from this node's replica of their home; also what other nodes ask for.
///
/// # Errors
/// `NotFound`: no replica is here; or its rows cannot be read now.
pub(crate) async fn scope_here(router: &Router, group: GroupId, caller: &Caller, words: String) -> Result<SearchScope, Refusal> {
    let handle = router.groups().get(group).ok_or_else(|| refuse(Code::NotFound))?;
    let user = caller.user;
    // A row for each of their conversations.
    let read = tokio::task::spawn_blocking(move || scope_of(&view(&handle)?, user, &words));
    read.await.map_err(|_| refuse(Code::Internal))?
}

fn scope_of(rows: &dyn StateView, user: UserId, words: &str) -> Result<SearchScope, Refusal> {
    let query = Query::parse(words).map_err(refused)?;
    let (listed, more) = user::index::titles(rows, user, limit::SEARCHED_CHANNELS_MAX).map_err(|error| broken(&error))?;
    let is_titled = |title: &str| !query.wants_nothing() && !title.is_empty() && query.matches(title);
    let titled = listed.iter().filter(|(_, title)| is_titled(title)).map(|(channel, _)| *channel);
    Ok(SearchScope {
        titled: titled.take(limit::QUERY_CHANNELS_MAX).collect(),
        channels: listed.iter().map(|(channel, _)| *channel).collect(),
        more: u32::try_from(more).unwrap_or(u32::MAX),
        hidden: hidden(rows, user)?,
    })
}

/// Whom a user hears nothing of.
fn hidden(rows: &dyn StateView, user: UserId) -> Result<Vec<UserId>, Refusal> {
    let read = || -> Result<Vec<UserId>, ViewError> {
        if user::account(rows, user)?.is_none_or(|account| account.blocks == 0) {
            return Ok(Vec::new());
        }
        let contacts = user::contacts(rows, user, UserId::new(0), usize::MAX)?;
        Ok(contacts.into_iter().filter(|(_, row)| row.blocked).map(|(peer, _)| peer).collect())
    };
    read().map_err(|error| broken(&error))
}

/// Of one user, on one node.
const RATE: Rate = Rate { burst: 20, per_second: 5.0 };
/// For another node's part: a replica that is slow is not waited for as long as there is another.
const ASK_MAX: Duration = Duration::from_millis(2_500);
/// Before asking again.
const RETRY_MS: u32 = 200;
