//! Versions of the cluster as operators ask for them, and what a version brings, where it is begun.
//!
//! In: requests at the meta group's leader; the nodes that hold a group. Out: how far an upgrade is; the next version; a refusal in words. Invariant: a group
//! is written in a newer version only when the cluster is at the version that brings it and every node that holds the group has noted that on its disk: an
//! older build then never meets what it does not know. Not here: whether nodes are ready (`cluster::upgrade`), the group's own version (kith-machine).

use kith_machine::{meta::version, reply::Reply};
use kith_raft::GroupHandle;
use kith_wire::{
    client::Refusal,
    code::Code,
    id::NodeId,
    layout::LayoutAnswer,
    log::ClusterMap,
    upgrade::{ClusterVersion, UpgradeView},
};

use super::{layout::current, local::not_proposed};
use crate::{
    cluster::{survey::Survey, upgrade},
    router::{Router, refuse, refuse_for},
};

/// How far it is.
pub(super) fn show(meta: &GroupHandle, survey: &Survey) -> Result<LayoutAnswer, Refusal> {
    Ok(LayoutAnswer::Upgrading(upgrade::view(&current(meta)?, survey)))
}

/// For whoever looks at the cluster: that an upgrade was begun.
pub(super) fn note(map: &ClusterMap) -> Option<String> {
    let next = map.version.or_first().next();
    version::ahead(map).map(|node| format!("node {node} knows cluster version {next}, which is not finalized: kith upgrade status"))
}

/// Goes to this version. Again is no change.
///
/// # Errors
/// It is not the next one, or some node is in the way.
pub(super) async fn finalize(meta: &GroupHandle, survey: &Survey, to: ClusterVersion) -> Result<LayoutAnswer, Refusal> {
    let UpgradeView { version, next, blockers, .. } = upgrade::view(&current(meta)?, survey);
    if to <= version {
        return show(meta, survey);
    }
    if next != Some(to) {
        let text = match next {
            Some(next) => format!("the cluster is at version {version}: the next one is {next}, not {to}"),
            None => format!("the cluster is at version {version}, and no node's build knows a newer one"),
        };
        return Err(refuse(Code::Invalid).with_text(text));
    }
    if !blockers.is_empty() {
        return Err(refuse(Code::NotAllowed).with_text(blockers.join("; ")));
    }
    match upgrade::raise(meta, to).await.map_err(not_proposed)? {
        Reply::Done => show(meta, survey),
        // A node came back with an older build meanwhile.
        Reply::Rejected(Code::NotAllowed) => {
            Err(refuse_for(Code::Busy, AGAIN_MS).with_text("some node's build is older again: look at kith upgrade check"))
        }
        Reply::Rejected(code) => Err(refuse(code)),
        _ => Err(refuse(Code::Internal)),
    }
}

/// Whether a group that these nodes hold may be written as the cluster's version `needed` brings it; `what`: for a person.
///
/// # Errors
/// `Unsupported` until the cluster is at it, `Busy` while some node has not noted that.
pub(super) fn allows(router: &Router, nodes: impl IntoIterator<Item = NodeId>, needed: ClusterVersion, what: &str) -> Result<(), Refusal> {
    let version = router.maps().current().version.or_first();
    if version < needed {
        let text = format!("{what} in a cluster of version {needed}, and this one is at {version}: upgrade every node, then kith upgrade finalize");
        return Err(refuse(Code::Unsupported).with_text(text));
    }
    for node in nodes {
        match router.peers().noted(node) {
            Some(noted) if noted >= needed => {}
            Some(_) => {
                return Err(
                    refuse_for(Code::Busy, AGAIN_MS).with_text(format!("node {node} has not heard yet that the cluster is at version {version}"))
                );
            }
            None => return Err(refuse_for(Code::Busy, AGAIN_MS).with_text(format!("node {node} holds a replica and does not answer now"))),
        }
    }
    Ok(())
}

/// Before asking again.
const AGAIN_MS: u32 = 500;
