//! `kith discover`: where a session of this machine is held best, and how far nodes are.

use std::time::Duration;

use comfy_table::{Table, presets};
use kith_client::{
    Client, Endpoint,
    wire::{
        client::{Answer, Edge, Request},
        id::NodeId,
    },
};
use serde_json::{Value, json};

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
};
use crate::operator::missing;

/// Rankings that are asked for, each with what was measured of the one before.
const ROUNDS: usize = 4;

/// Show where a session of this machine is held best
///
/// Measures the nodes that the cluster names, from here, and asks again with what it found, as every client does.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let admin = args.cluster.admin().await?;
    let found = rank(&admin, &Endpoint::bind()?).await;
    admin.close().await;
    let found = found?;
    println!("{}", if args.cluster.json { as_json(&found).to_string() } else { as_text(&found) });
    Ok(Exit::Done)
}

/// Edges, best first, each with its distance from this endpoint.
pub(crate) async fn rank(client: &Client, endpoint: &Endpoint) -> Result<Vec<(Edge, Option<Duration>)>, kith_client::Error> {
    let mut measured: Vec<(NodeId, u32)> = Vec::new();
    let mut found = Vec::new();
    for _ in 0..ROUNDS {
        let Answer::Edges(edges) = client.request(Request::Discover { measured: measured.clone(), region: None }).await? else {
            return Err(missing("a list of nodes"));
        };
        let addresses: Vec<String> = edges.iter().map(|edge| edge.address.clone()).collect();
        let rtts = endpoint.measure(&addresses, Duration::from_secs(60)).await;
        let before = measured.len();
        for (edge, rtt) in edges.iter().zip(&rtts) {
            if let Some(rtt) = rtt.filter(|_| measured.iter().all(|(node, _)| *node != edge.node)) {
                measured.push((edge.node, u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX)));
            }
        }
        found = edges.into_iter().zip(rtts).collect();
        if measured.len() == before {
            break;
        }
    }
    Ok(found)
}

fn as_json(found: &[(Edge, Option<Duration>)]) -> Value {
    let edge = |(edge, rtt): &(Edge, Option<Duration>)| {
        json!({
            "node": edge.node.get(), "address": edge.address, "region": edge.region.get(), "zone": edge.zone,
            "rtt_ms": rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0)
        })
    };
    json!({ "edges": found.iter().map(edge).collect::<Vec<_>>() })
}

fn as_text(found: &[(Edge, Option<Duration>)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["node", "address", "region", "zone", "there and back (ms)"]);
    for (edge, rtt) in found {
        let rtt = rtt.map_or_else(|| "no answer".to_owned(), |rtt| format!("{:.1}", rtt.as_secs_f64() * 1_000.0));
        table.add_row([edge.node.to_string(), edge.address.clone(), edge.region.to_string(), edge.zone.clone(), rtt]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use kith_client::wire::id::RegionId;

    use super::*;

    #[test]
    fn shows_who_is_how_far_and_who_does_not_answer() {
        let edge = |node| Edge { node: NodeId::new(node), address: format!("h{node}:1"), region: RegionId::new(2), zone: "a".into() };
        let found = [(edge(1), Some(Duration::from_micros(12_340))), (edge(2), None)];
        let text = as_text(&found);
        assert!(text.contains("12.3") && text.contains("no answer") && text.contains("h2:1"), "{text}");
        let json = as_json(&found);
        assert_eq!((json["edges"][0]["region"].as_u64(), json["edges"][1]["rtt_ms"].is_null()), (Some(2), true));
    }
}
