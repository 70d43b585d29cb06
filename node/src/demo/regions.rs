//! People all over the world, each let in where it is nearest: what `kith demo --regions N` shows.
//!
//! In: running nodes in several regions, far from each other by `[demo]` of their settings. Out: for each person the edge that holds their session,
//! how far it is, who leads their home and how many hops that is. Everybody begins at some node, as one who knows nothing does.
//! Bounds: [`PEOPLE`] in each region, [`SETTLED_WITHIN`] for all of them. Not here: the choice itself (the SDK and `service::nearest`).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use comfy_table::{Table, presets};
use futures_util::future::try_join_all;
use kith_client::{Backfill, Client, Endpoint, Error};
use kith_wire::id::{NodeId, RegionId, UserId};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::nodes::Nodes;
use crate::operator::{Operator, ensure_account, missing, status};

/// People of each region.
const PEOPLE: usize = 6;
/// What they are called.
const NAMES: [&str; PEOPLE] = ["ann", "bob", "cay", "dov", "eve", "fay"];
/// Until everybody is where they stay.
const SETTLED_WITHIN: Duration = Duration::from_secs(40);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Within a region, there and back, in milliseconds.
const NEAR_MS: u64 = 4;
/// To the next region and back, in milliseconds, and this much more for each one beyond it.
const FAR_MS: (u64, u64) = (70, 45);
/// So many of a hundred are at the nearest region, or it is a fault.
const NEAREST_PERCENT: f64 = 95.0;
/// What a node leads against the mean of its region, at most.
const LEADS_OVER_MEAN: f64 = 1.15;

/// How far all regions are from one, in milliseconds there and back.
pub fn distances(from: u8, regions: u8) -> Vec<u64> {
    let far = |to: u8| match u64::from(from.abs_diff(to)) {
        0 => NEAR_MS,
        steps => FAR_MS.0 + (steps - 1) * FAR_MS.1,
    };
    (0..regions).map(far).collect()
}

/// Where node number `at` of a region listens, from 1.
pub fn node_address(region: u8, at: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, region, at).into()
}

/// Where people of a region dial from.
pub fn client_address(region: u8) -> IpAddr {
    Ipv4Addr::new(127, 1, region, 1).into()
}

/// Where one person is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Person {
    /// What they are called.
    pub name: String,
    /// Where they are.
    pub region: u8,
    /// The node that they began at.
    pub began_at: u64,
    /// The node that holds their session.
    pub edge: u64,
    /// Where it stands.
    pub edge_region: u8,
    /// How far it is, there and back.
    pub rtt_ms: Option<f64>,
    /// Who leads the group of their home.
    pub home_leader: Option<u64>,
    /// From their edge to that.
    pub hops: Option<u8>,
}

/// Where everybody is.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct WorldReport {
    /// By region and name.
    pub people: Vec<Person>,
    /// Of all, those whose edge stands in their region.
    pub nearest_percent: f64,
    /// The most that a node leads, against the mean of its region.
    pub leads_over_mean: f64,
    /// Until nobody moved any more.
    pub seconds: f64,
}

impl WorldReport {
    /// Whether all is within bounds.
    pub fn is_good(&self) -> bool {
        !self.people.is_empty() && self.nearest_percent >= NEAREST_PERCENT && self.leads_over_mean <= LEADS_OVER_MEAN
    }
    /// For a person.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        let header = ["who", "region", "began at", "edge", "its region", "there and back (ms)", "home's leader", "hops"];
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
        let known = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
        for one in &self.people {
            table.add_row([
                one.name.clone(),
                one.region.to_string(),
                format!("node {}", one.began_at),
                format!("node {}", one.edge),
                one.edge_region.to_string(),
                known(one.rtt_ms.map(|ms| format!("{ms:.1}"))),
                known(one.home_leader.map(|node| format!("node {node}"))),
                known(one.hops.map(|hops| hops.to_string())),
            ]);
        }
        format!(
            "{table}\n{:.1} % are at the nearest region (at least {NEAREST_PERCENT} %), after {:.1} s; the most that a node leads is {:.2} of the mean of its region (at most {LEADS_OVER_MEAN})",
            self.nearest_percent, self.seconds, self.leads_over_mean
        )
    }
}

struct Dialler {
    name: String,
    user: UserId,
    region: u8,
    began_at: u64,
    endpoint: Endpoint,
    client: Client,
}

/// Lets people of all regions in, waits until they stay where they are, and says where that is.
///
/// # Errors
/// The cluster cannot be asked, or nobody is let in.
pub async fn play(operator: &Operator, nodes: &Nodes) -> Result<WorldReport, Error> {
    let began = Instant::now();
    let spec = &nodes.spec().nodes;
    let mut regions: Vec<u8> = spec.iter().map(|node| node.region).collect();
    regions.dedup();
    let mut people = Vec::new();
    for region in regions {
        people.extend(arrive(operator, nodes, region).await?);
    }
    try_join_all(people.iter().map(|one| one.client.connect())).await?;
    let edge_of = |one: &Dialler| {
        let address = one.client.connection().get().edge;
        spec.iter().find(|node| node.address == address)
    };
    let is_near = |one: &&Dialler| one.client.status().get().is_online() && edge_of(one).is_some_and(|edge| edge.region == one.region);
    while people.iter().filter(is_near).count() < people.len() && began.elapsed() < SETTLED_WITHIN {
        sleep(LOOK).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let admin = operator.admin().await?;
    admin.connect().await?;
    let now = status(&admin).await?;
    admin.close().await;
    // Nothing was moved since the cluster was made.
    let map = operator.files().first_map();
    let leaders: BTreeMap<u32, u64> = now.groups.iter().filter_map(|group| Some((group.group, group.leader?.get()))).collect();
    let mut report = WorldReport { seconds, leads_over_mean: leads_over_mean(nodes, &map, &leaders), ..WorldReport::default() };
    for one in &people {
        let Some(edge) = edge_of(one) else { return Err(missing("the node of an edge")) };
        let home_leader = map.group_of(one.user.bucket()).and_then(|group| leaders.get(&group.get()).copied());
        let rtt = one.endpoint.measure(std::slice::from_ref(&edge.address), SETTLED_WITHIN).await;
        report.people.push(Person {
            name: one.name.clone(),
            region: one.region,
            began_at: one.began_at,
            edge: edge.id,
            edge_region: edge.region,
            rtt_ms: rtt.first().copied().flatten().map(|rtt| rtt.as_secs_f64() * 1_000.0),
            home_leader,
            hops: home_leader.map(|leader| u8::from(leader != edge.id)),
        });
    }
    let near = report.people.iter().filter(|one| one.edge_region == one.region).count();
    report.nearest_percent = near as f64 * 100.0 / report.people.len().max(1) as f64;
    for one in people {
        one.client.close().await;
    }
    Ok(report)
}

/// Makes the accounts of a region's people, at home where they are, and their clients, each of which knows one node somewhere.
async fn arrive(operator: &Operator, nodes: &Nodes, region: u8) -> Result<Vec<Dialler>, Error> {
    let spec = &nodes.spec().nodes;
    let first = spec.iter().position(|node| node.region == region).ok_or_else(|| missing("a node of the region"))?;
    let admin = operator.admin_at(&spec[first].address).await?;
    admin.connect().await?;
    let endpoint = Endpoint::bind_at(client_address(region))?;
    let mut people = Vec::new();
    for (at, name) in NAMES.iter().enumerate() {
        let name = format!("{name}{region}");
        let (user, _) = ensure_account(&admin, &name).await?;
        let began = &spec[(at * 5 + usize::from(region)) % spec.len()];
        let client = operator.client_at(user, &name, &began.address)?.endpoint(endpoint.clone()).backfill(Backfill::Off).build().await?;
        people.push(Dialler { name, user, region, began_at: began.id, endpoint: endpoint.clone(), client });
    }
    admin.close().await;
    Ok(people)
}

fn leads_over_mean(nodes: &Nodes, map: &kith_wire::log::ClusterMap, leaders: &BTreeMap<u32, u64>) -> f64 {
    let mut leads: BTreeMap<(RegionId, NodeId), f64> =
        nodes.spec().nodes.iter().map(|node| ((RegionId::new(node.region), NodeId::new(node.id)), 0.0)).collect();
    for row in map.groups.values().filter(|row| row.group.get() > 0) {
        let leader = leaders.get(&row.group.get()).map(|node| (row.region, NodeId::new(*node)));
        if let Some(count) = leader.and_then(|key| leads.get_mut(&key)) {
            *count += 1.0;
        }
    }
    let mut worst: f64 = 0.0;
    for (region, _) in leads.keys() {
        let here: Vec<f64> = leads.iter().filter(|((of, _), _)| of == region).map(|(_, count)| *count).collect();
        let mean = here.iter().sum::<f64>() / here.len().max(1) as f64;
        worst = here.iter().fold(worst, |worst, count| worst.max(count / mean.max(1.0)));
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_as_far_from_each_other_both_ways() {
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            assert_eq!(distances(a, 3)[usize::from(b)], distances(b, 3)[usize::from(a)]);
        }
        assert_eq!(distances(1, 3), [70, 4, 70]);
    }

    #[test]
    fn report_is_good_within_its_bounds() {
        let person =
            Person { name: "ann0".into(), region: 0, began_at: 2, edge: 1, edge_region: 0, rtt_ms: Some(4.25), home_leader: Some(2), hops: Some(1) };
        let good = WorldReport { people: vec![person], nearest_percent: 100.0, leads_over_mean: 1.0, seconds: 2.0 };
        assert!(good.is_good() && good.table().contains("4.2") && good.table().contains("node 2"), "{}", good.table());
        assert!(!WorldReport { nearest_percent: 94.0, ..good.clone() }.is_good());
        assert!(!WorldReport { leads_over_mean: 1.2, ..good }.is_good());
    }
}
