//! Who may join: operators' requests about tokens, and whether a node that comes with one is let in, at the meta group's leader.
//!
//! In: [`TrustRequest`]s of operators (those about admin tokens are done in [`admin`]), nodes that come (`edge::join`). Out: tokens, each said once; a
//! node's row, with the id that it gets. Invariants: of a token the cluster keeps a digest; its use and the node's row are one entry of the log. Not here:
//! certificates and dialling back (`edge::join`), the rows' rules (kith-machine's `meta::trust`).

use kith_machine::{
    meta::trust::{Offer, joins, offer},
    reply::Reply,
};
use kith_raft::GroupHandle;
use kith_wire::{
    client::{Answer, Refusal, Request},
    code::Code,
    desk::AuditAct,
    id::{BootEpoch, GroupId, NodeId, Timestamp},
    limit,
    log::{ClusterMap, GroupRow, NodeRow, NodeState},
    peer::{Caller, Inner, InnerAnswer},
    trust::{JoinSecret, JoinTicket, JoinToken, JoinView, TokenId, TrustAnswer, TrustChange, TrustRequest},
    upgrade::fits,
};

use super::{admin, layout, local, replace};
use crate::{
    clock::{Instant, draw_bytes},
    router::{Router, refuse, refuse_for},
};

/// Times that a place is looked for anew because somebody else has changed the map meanwhile.
const TRIES: usize = 8;
/// For others to be done with the map.
const AGAIN_MS: u32 = 500;

/// What of it is logged as an operator's act, and about which token.
pub(super) fn act_of(asked: &TrustRequest) -> Option<(AuditAct, u64, String)> {
    match asked {
        TrustRequest::Joins | TrustRequest::Admins | TrustRequest::ClaimFirst { .. } | TrustRequest::MakeFirst => None,
        TrustRequest::MakeJoin { .. } => Some((AuditAct::MakeJoin, 0, String::new())),
        TrustRequest::RevokeJoin { id } => Some((AuditAct::RevokeJoin, id.get(), String::new())),
        TrustRequest::MakeAdmin { name, role, .. } => Some((AuditAct::MakeAdminToken, 0, format!("{role}: {name}"))),
        TrustRequest::RevokeAdmin { id } => Some((AuditAct::RevokeAdminToken, id.get(), String::new())),
    }
}

/// At the node that was asked.
///
/// # Errors
/// Those of the meta group's leader.
pub(super) async fn ask(router: &Router, caller: &Caller, asked: TrustRequest, deadline: Instant) -> Result<TrustAnswer, Refusal> {
    match router.forward_to(caller, GroupId::META, Request::Trust(asked), deadline).await? {
        Answer::Trust(answer) => Ok(answer),
        _ => Err(refuse(Code::Internal)),
    }
}

/// May the node that holds this key join by this token, and where would it stand? Or, unless it is a dry run: it joins.
///
/// # Errors
/// See [`refused`]; or the node's address or place is another's.
pub(super) async fn admit(
    router: &Router,
    (token, key): ([u8; 32], [u8; 32]),
    node: NodeRow,
    dry_run: bool,
    deadline: Instant,
) -> Result<NodeRow, Refusal> {
    match router.inner_to(GroupId::META, Inner::Admit { token, key, node, dry_run }, deadline).await? {
        InnerAnswer::Admitted(row) => Ok(row),
        _ => Err(refuse(Code::Internal)),
    }
}

/// At the meta group's leader. `authority`: the digest of the cluster's.
///
/// # Errors
/// There are too many tokens, or no such one.
pub(super) async fn run(
    meta: &GroupHandle,
    router: &Router,
    (caller, authority): (&Caller, [u8; 32]),
    asked: TrustRequest,
) -> Result<TrustAnswer, Refusal> {
    let now = router.clock().now();
    match asked {
        TrustRequest::Admins => admin::list(meta),
        TrustRequest::MakeAdmin { name, role, ttl_s } => admin::make(meta, caller, (name, role, ttl_s), now).await,
        TrustRequest::RevokeAdmin { id } => admin::revoke(meta, id).await,
        TrustRequest::ClaimFirst { token, name } => admin::claim(meta, &token, name, now).await,
        TrustRequest::MakeFirst => admin::make_first(meta, now).await,
        TrustRequest::Joins => {
            let kept = joins(&local::view(meta)?).map_err(|error| local::broken(&error))?;
            Ok(TrustAnswer::Joins(kept.iter().rev().map(JoinView::from).collect()))
        }
        TrustRequest::RevokeJoin { id } => match local::propose(meta, TrustChange::RevokeJoin { id }.command()).await? {
            Reply::Done => Ok(TrustAnswer::Done),
            Reply::Rejected(Code::TokenSpent) => {
                Err(refuse(Code::TokenSpent).with_text("a node has joined by this token: decommission that instead"))
            }
            Reply::Rejected(Code::NotFound) => Err(refuse(Code::NotFound).with_text(format!("there is no token {id}"))),
            other => local::sent(other).map(|_| TrustAnswer::Done),
        },
        TrustRequest::MakeJoin { ttl_s, region, zone, host, replaces } => {
            let map = layout::current(meta)?;
            if let Some(dead) = replaces {
                may_be_replaced(&map, dead, router.peers().alive(dead))?;
            }
            let secret = JoinSecret::new(draw_bytes());
            let token = secret.digest();
            let until = Timestamp::new(router.clock().now().get() + 1_000 * u64::from(ttl_s));
            let row = JoinToken { token, by: caller.user, until, region, zone, host, replaces, ..JoinToken::default() };
            match local::propose(meta, TrustChange::AddJoin(row).command()).await? {
                Reply::Done => {}
                Reply::Rejected(Code::LimitReached) => {
                    return Err(refuse(Code::LimitReached).with_text(format!("{} tokens are good already: revoke one", limit::JOIN_TOKENS_MAX)));
                }
                other => return Err(local::sent(other).err().unwrap_or_else(|| refuse(Code::Internal))),
            }
            let addresses = to_ask(&map, router.node(), |node| router.peers().reachable(node));
            let ticket = JoinTicket { cluster: map.cluster, authority, secret, addresses };
            Ok(TrustAnswer::Made { token: ticket.text(), id: TokenId::of(&token), until })
        }
    }
}

/// At the meta group's leader: a node comes with a token.
///
/// # Errors
/// As [`admit`].
pub(super) async fn admit_here(
    meta: &GroupHandle,
    router: &Router,
    (token, key): ([u8; 32], [u8; 32]),
    node: &NodeRow,
    dry_run: bool,
) -> Result<NodeRow, Refusal> {
    for _ in 0..TRIES {
        let map = layout::current(meta)?;
        let kept = joins(&local::view(meta)?).map_err(|error| local::broken(&error))?;
        let join = match offer(&kept, &token, &key, router.clock().now()).map_err(refused)? {
            Offer::Again(id) => return here_again(&map, id),
            Offer::Place(join) => join,
        };
        // One that does not tell is of the first builds.
        fits(node.version.or_first(), map.version).map_err(|error| refuse(Code::VersionMismatch).with_text(error.to_string()))?;
        let (row, nodes, groups) = place(&map, join, node, |dead| router.peers().alive(dead))?;
        if dry_run {
            return Ok(NodeRow { node: NodeId::default(), ..row });
        }
        let change = TrustChange::UseJoin { token, key, node: row.node, at: map.epoch, nodes, groups };
        match local::propose(meta, change.command()).await? {
            Reply::Kept { id } => return here_again(&layout::current(meta)?, NodeId::new(id)),
            // Somebody else has changed the map, or has joined: it is looked at anew.
            Reply::Rejected(Code::Conflict) => {}
            Reply::Rejected(code) => return Err(refused(code)),
            _ => return Err(refuse(Code::Internal)),
        }
    }
    Err(refuse_for(Code::Busy, AGAIN_MS))
}

fn here_again(map: &ClusterMap, id: NodeId) -> Result<NodeRow, Refusal> {
    let row = map.nodes.get(&id).filter(|row| row.state != NodeState::Left);
    row.cloned().ok_or_else(|| refuse(Code::TokenSpent).with_text(format!("the node that joined by this token, {id}, has left: ask for a new token")))
}

/// In the words of who starts a node.
fn refused(code: Code) -> Refusal {
    refuse(code).with_text(match code {
        Code::BadToken => "the cluster does not know this join token: it was made longer ago than a week, or for another cluster",
        Code::TokenSpent => "another node has joined by this token: each lets one node in; ask for a new one",
        Code::Revoked => "this join token was revoked",
        Code::TokenExpired => "this join token's time is over: ask for a new one",
        other => other.text(),
    })
}

/// The row of a node that comes, with its id, and all rows that are changed for it.
fn place(
    map: &ClusterMap,
    join: &JoinToken,
    asked: &NodeRow,
    is_alive: impl Fn(NodeId) -> bool,
) -> Result<(NodeRow, Vec<NodeRow>, Vec<GroupRow>), Refusal> {
    let node = NodeId::new(map.nodes.keys().last().map_or(0, |node| node.get()) + 1);
    let given = |own: &str, given: &str| if given.is_empty() { own.to_owned() } else { given.to_owned() };
    let zone = given(&asked.zone, &join.zone);
    let row = NodeRow {
        node,
        store: None,
        boot: BootEpoch::default(),
        address: asked.address.clone(),
        http: asked.http.clone(),
        region: join.region.unwrap_or(asked.region),
        zone: if zone.is_empty() && join.replaces.is_none() { format!("zone-{node}") } else { zone },
        host: given(&asked.host, &join.host),
        capacity: asked.capacity.max(1),
        state: NodeState::Joining,
        version: asked.version,
    };
    if let Some(other) =
        map.nodes.values().find(|other| other.address == row.address && other.state != NodeState::Left && Some(other.node) != join.replaces)
    {
        return Err(refuse(Code::Invalid).with_text(format!("node {} has the address {} already", other.node, row.address)));
    }
    let Some(dead) = join.replaces else { return Ok((row.clone(), vec![row], Vec::new())) };
    may_be_replaced(map, dead, is_alive(dead))?;
    let NodeRow { address, http, zone, host, .. } = row;
    let (mut nodes, groups) = replace::rows(map, &Request::ReplaceNode { dead, node, address, http, zone, host, force: false })?;
    // It stands where the dead one stood, in its region and with its weight.
    for new in nodes.iter_mut().filter(|new| new.node == node) {
        new.state = NodeState::Joining;
        new.version = asked.version;
    }
    let row = nodes.iter().find(|new| new.node == node).cloned().ok_or_else(|| refuse(Code::Internal))?;
    Ok((row, nodes, groups))
}

fn may_be_replaced(map: &ClusterMap, dead: NodeId, is_alive: bool) -> Result<(), Refusal> {
    match map.nodes.get(&dead).map(|row| row.state) {
        None => Err(refuse(Code::NotFound).with_text(format!("there is no node {dead}"))),
        Some(NodeState::Left) => Err(refuse(Code::Invalid).with_text(format!("node {dead} has left: nothing of it is to be replaced"))),
        Some(_) if is_alive => Err(refuse(Code::NotAllowed).with_text(format!("node {dead} is alive: stop it first"))),
        Some(_) => Ok(()),
    }
}

/// Nodes that a token names: this one first, then those that are heard.
fn to_ask(map: &ClusterMap, own: NodeId, is_heard: impl Fn(NodeId) -> bool) -> Vec<String> {
    let up = map.nodes.values().filter(|row| row.state == NodeState::Up);
    let (mut first, mut heard, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for row in up {
        let list = if row.node == own {
            &mut first
        } else if is_heard(row.node) {
            &mut heard
        } else {
            &mut others
        };
        list.push(row.address.clone());
    }
    first.into_iter().chain(heard).chain(others).take(limit::JOIN_ADDRESSES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use kith_wire::id::RegionId;

    use super::*;

    fn map() -> ClusterMap {
        let mut map = ClusterMap::default();
        for id in 1..=3 {
            let node = NodeId::new(id);
            let row = NodeRow { node, address: format!("h{id}:1"), zone: format!("z{id}"), capacity: 4, ..NodeRow::default() };
            map.nodes.insert(node, row);
        }
        let replicas: Vec<NodeId> = [1, 2, 3].map(NodeId::new).to_vec();
        let group = GroupRow { group: GroupId::new(1), preference: replicas.clone(), replicas, conf_epoch: 1, ..GroupRow::default() };
        map.groups.insert(group.group, group);
        map
    }

    fn asked(address: &str, zone: &str) -> NodeRow {
        NodeRow { address: address.into(), zone: zone.into(), ..NodeRow::default() }
    }

    #[test]
    fn a_node_gets_the_next_id_and_stands_where_its_token_says() {
        let plain = JoinToken::default();
        let (row, nodes, groups) = place(&map(), &plain, &asked("h4:1", ""), |_| true).unwrap();
        assert_eq!((row.node, row.zone.as_str(), row.state, row.capacity), (NodeId::new(4), "zone-4", NodeState::Joining, 1));
        assert_eq!((nodes, groups.len()), (vec![row], 0));
        assert_eq!(place(&map(), &plain, &asked("h4:1", "b"), |_| true).unwrap().0.zone, "b");
        let fixed = JoinToken { zone: "c".into(), region: Some(RegionId::new(2)), ..JoinToken::default() };
        let (row, ..) = place(&map(), &fixed, &asked("h4:1", "b"), |_| true).unwrap();
        assert_eq!((row.zone.as_str(), row.region), ("c", RegionId::new(2)));
        assert_eq!(place(&map(), &plain, &asked("h2:1", "b"), |_| true).unwrap_err().code, Code::Invalid, "an address that is taken");
    }

    #[test]
    fn a_replacement_takes_the_place_of_the_dead_one() {
        let join = JoinToken { replaces: Some(NodeId::new(2)), ..JoinToken::default() };
        assert_eq!(place(&map(), &join, &asked("h2:1", ""), |_| true).unwrap_err().code, Code::NotAllowed, "it is alive");
        let (row, nodes, groups) = place(&map(), &join, &asked("h2:1", ""), |_| false).unwrap();
        assert_eq!((row.node, row.zone.as_str(), row.capacity, row.state), (NodeId::new(4), "z2", 4, NodeState::Joining));
        assert!(nodes.iter().any(|row| row.node == NodeId::new(2) && row.state == NodeState::Left));
        assert_eq!(groups[0].replicas, [1, 4, 3].map(NodeId::new));
        let gone = JoinToken { replaces: Some(NodeId::new(9)), ..JoinToken::default() };
        assert_eq!(place(&map(), &gone, &asked("h9:1", ""), |_| false).unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn a_token_names_nodes_that_are_up_and_those_first_that_are_heard() {
        let mut map = map();
        map.nodes.get_mut(&NodeId::new(1)).unwrap().state = NodeState::Left;
        let named = |own: u64, heard: u64| to_ask(&map, NodeId::new(own), |node| node.get() == heard);
        assert_eq!(named(3, 2), ["h3:1", "h2:1"]);
        assert_eq!(named(9, 3), ["h3:1", "h2:1"]);
    }
}
