//! Kills nodes in mid-run, and measures how long sends waited.
//!
//! In: whom to kill, how often, a seed. Out: [`Kill`]s. Invariants: at most one node is down at a time; a killed node is running again when
//! [`Chaos::run`] returns; the same seed makes the same choices from the same leaders.

use std::time::Duration;

use clap::ValueEnum;
use kith_client::Client;
use kith_wire::{
    client::ClusterStatus,
    id::{GroupId, NodeId},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    nodes::{Nodes, NodesError},
    verdict::Sent,
};
use crate::operator;

/// How long a killed node stays down, in milliseconds: drawn from this range, so that the others must elect.
const DOWN_MS: std::ops::Range<u64> = 3_000..6_000;
/// Without a period, the one kill comes when this part of all messages has its ack, in per mille: drawn from this range.
const MOMENT_PERMILLE: std::ops::Range<u64> = 250..450;
/// Time between two looks at the state of the cluster.
const POLL: Duration = Duration::from_millis(20);

/// Which node is killed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum Whom {
    /// One that leads a group of conversations.
    Leader,
    /// One that follows in a group of conversations, and leads none if there is such a one.
    Follower,
    /// Any.
    Any,
}

/// A node that was killed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kill {
    /// Which.
    pub node: NodeId,
    /// Groups of conversations that it led.
    pub led: Vec<GroupId>,
    /// When, since the start of the run.
    pub at: Duration,
}

/// What is to be killed, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chaos {
    /// Whom.
    pub whom: Whom,
    /// Time between two kills; `None`: one kill, when part of the run is done.
    pub every: Option<Duration>,
    /// Decides who, when, and for how long.
    pub seed: u64,
}

impl Chaos {
    /// Kills until cancelled. `permille` tells how much of the run is done.
    ///
    /// # Errors
    /// A node ends by itself or does not come back.
    pub async fn run(
        self,
        nodes: &Nodes,
        admin: &Client,
        start: Instant,
        permille: impl Fn() -> u64,
        done: CancellationToken,
        say: &dyn Fn(String),
    ) -> Result<Vec<Kill>, NodesError> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut kills = Vec::new();
        let moment = rng.random_range(MOMENT_PERMILLE);
        loop {
            let due = async {
                match self.every {
                    Some(every) => sleep(every).await,
                    None => {
                        while permille() < moment {
                            sleep(POLL).await;
                        }
                    }
                }
            };
            tokio::select! {
                biased;
                () = done.cancelled() => return Ok(kills),
                () = due => {}
            }
            // From here on not cancelled: the node must be up again at the end.
            let Some((node, led)) = self.choose(nodes, admin, &mut rng).await else { continue };
            let at = start.elapsed();
            nodes.kill(node).await;
            say(format!("killed node {node} (it led {} of the groups)", led.len()));
            kills.push(Kill { node, led, at });
            sleep(Duration::from_millis(rng.random_range(DOWN_MS))).await;
            nodes.start(node)?;
            nodes.wait_ready(node).await?;
            say(format!("node {node} is back"));
            if self.every.is_none() {
                return Ok(kills);
            }
        }
    }

    async fn choose(&self, nodes: &Nodes, admin: &Client, rng: &mut StdRng) -> Option<(NodeId, Vec<GroupId>)> {
        let status = operator::status(admin).await.ok()?;
        let candidates = candidates(self.whom, &status, &nodes.ids());
        let node = *candidates.get(rng.random_range(0..candidates.len().max(1)))?;
        let led = data_groups(&status).filter(|group| group.leader == Some(node)).map(|group| GroupId::new(group.group)).collect();
        Some((node, led))
    }
}

fn data_groups(status: &ClusterStatus) -> impl Iterator<Item = &kith_wire::client::GroupStatus> {
    status.groups.iter().filter(|group| group.group != GroupId::META.get())
}

/// Nodes that may be killed, by rising id.
fn candidates(whom: Whom, status: &ClusterStatus, nodes: &[NodeId]) -> Vec<NodeId> {
    let leads = |node: &NodeId| data_groups(status).any(|group| group.leader == Some(*node));
    let follows =
        |node: &NodeId| data_groups(status).any(|group| group.leader != Some(*node) && group.replicas.iter().any(|replica| replica.node == *node));
    let all = || nodes.iter().copied();
    match whom {
        Whom::Any => all().collect(),
        Whom::Leader => all().filter(leads).collect(),
        Whom::Follower => {
            let pure: Vec<NodeId> = all().filter(|node| follows(node) && !leads(node)).collect();
            if pure.is_empty() { all().filter(follows).collect() } else { pure }
        }
    }
}

/// The longest time that sends of a group waited after a kill of its leader: from when the first of them waited to the first ack of a
/// message sent after the kill. `messages` are all of the run, each with its group. A group that nobody sent to has no time.
pub fn resume_max<'a>(kills: &[Kill], messages: impl Iterator<Item = (GroupId, &'a Sent)> + Clone) -> Option<Duration> {
    let of_kill = |kill: &Kill, group: GroupId| {
        let later = || messages.clone().filter(move |(of, _)| *of == group).map(|(_, sent)| sent);
        let waited = later().filter(|sent| sent.ack.is_none_or(|ack| ack.at > kill.at)).map(|sent| sent.at.max(kill.at)).min()?;
        let resumed = later().filter(|sent| sent.at >= kill.at).filter_map(|sent| sent.ack).map(|ack| ack.at).min();
        // Nobody sent anew: then what was under way must have its ack, and the last one tells the most.
        let resumed = resumed.or_else(|| later().filter_map(|sent| sent.ack).map(|ack| ack.at).filter(|at| *at > kill.at).max())?;
        Some(resumed.saturating_sub(waited))
    };
    kills.iter().flat_map(|kill| kill.led.iter().filter_map(move |&group| of_kill(kill, group))).max()
}

#[cfg(test)]
mod tests {
    use kith_wire::{
        client::{GroupStatus, ReplicaStatus},
        id::{ClusterId, Seq, UserId},
    };

    use super::{super::verdict::Ack, *};

    fn group(number: u32, leader: Option<u64>) -> GroupStatus {
        let replicas =
            (1..=3).map(|node| ReplicaStatus { node: NodeId::new(node), last: 0, applied: 0, digest: 0, condition: Default::default() }).collect();
        GroupStatus { group: number, leader: leader.map(NodeId::new), term: 1, replicas }
    }
    fn status(groups: Vec<GroupStatus>) -> ClusterStatus {
        ClusterStatus { cluster: ClusterId::default(), map_epoch: 0, nodes: Vec::new(), groups }
    }
    fn sent(at_ms: u64, ack_ms: Option<u64>) -> Sent {
        let ack = ack_ms.map(|at| Ack { seq: Seq::new(1), at: Duration::from_millis(at) });
        Sent { sender: UserId::default(), text: 0, at: Duration::from_millis(at_ms), ack }
    }
    fn resumed(messages: &[Sent]) -> Option<u128> {
        let kill = Kill { node: NodeId::new(1), led: vec![GroupId::new(1)], at: Duration::from_millis(1_000) };
        let other = sent(1_001, Some(1_002));
        let all = messages.iter().map(|sent| (GroupId::new(1), sent)).chain([(GroupId::new(2), &other)]);
        resume_max(&[kill], all.collect::<Vec<_>>().into_iter()).map(|time| time.as_millis())
    }

    #[test]
    fn leaders_and_followers_are_told_apart() {
        let nodes: Vec<NodeId> = (1..=3).map(NodeId::new).collect();
        let raw = |whom, status: &ClusterStatus| candidates(whom, status, &nodes).into_iter().map(NodeId::get).collect::<Vec<_>>();
        let two_lead = status(vec![group(0, Some(3)), group(1, Some(1)), group(2, Some(2))]);
        assert_eq!(raw(Whom::Leader, &two_lead), [1, 2]);
        assert_eq!(raw(Whom::Follower, &two_lead), [3], "the meta group does not count");
        assert_eq!(raw(Whom::Any, &two_lead), [1, 2, 3]);
        let all_lead = status(vec![group(1, Some(1)), group(2, Some(2)), group(3, Some(3))]);
        assert_eq!(raw(Whom::Follower, &all_lead), [1, 2, 3]);
    }

    #[test]
    fn sends_resume_with_the_first_ack_of_one_sent_after_the_kill() {
        assert_eq!(resumed(&[sent(900, Some(950)), sent(990, Some(1_010)), sent(1_100, Some(2_500)), sent(1_200, Some(2_400))]), Some(1_400));
    }

    #[test]
    fn time_that_nobody_waited_does_not_count() {
        assert_eq!(resumed(&[sent(900, Some(950)), sent(9_000, Some(9_030))]), Some(30));
        assert_eq!(resumed(&[sent(900, Some(950))]), None);
    }

    #[test]
    fn what_was_under_way_counts_when_nobody_sent_anew() {
        assert_eq!(resumed(&[sent(900, Some(1_001)), sent(950, Some(1_900))]), Some(900));
    }
}
