//! `kith cluster make`: the folder of a new cluster, whose nodes may run on any machines.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use kith_client::wire::id::ClusterId;
use serde_json::json;

use super::failure::{Exit, Failure};
use crate::cluster::{
    ClusterFiles, ClusterSpec, NodeSpec,
    bootstrap::{BootstrapError, bootstrap},
};

/// Make a new cluster: its keys, and a folder for each node
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    act: Act,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(clap::Subcommand, Debug)]
enum Act {
    /// Make the folder of a cluster
    ///
    /// Each node then needs `cluster/` (without `ca.key`) and its own `node-<id>/`, side by side, and is started with
    /// `kith start --config node-<id>/node.toml`. Each is in a zone of its own. May be run again: the same cluster in the same folder is left as it is.
    Make(Make),
}

#[derive(clap::Args, Debug)]
struct Make {
    /// The nodes and where they are dialled (UDP), ids from 1
    #[arg(long, value_name = "ID=HOST:PORT", value_delimiter = ',', required = true)]
    nodes: Vec<NodeArg>,
    /// Raft groups that hold data; one for each node if not given
    #[arg(long)]
    groups: Option<u32>,
    /// Port of health and metrics (TCP), on the same hosts
    #[arg(long, value_name = "PORT", default_value_t = 7680)]
    http_port: u16,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NodeArg {
    id: u64,
    host: String,
    address: String,
}

impl FromStr for NodeArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (id, address) = text.split_once('=')?;
            let (host, port) = address.rsplit_once(':')?;
            port.parse::<u16>().ok()?;
            Some(Self { id: id.parse().ok().filter(|id| *id > 0)?, host: host.to_owned(), address: address.to_owned() })
        };
        parse().ok_or_else(|| format!("{text:?} is not ID=HOST:PORT, for example 1=10.0.0.1:7600"))
    }
}

/// A node as it is given, for the fuzz targets: its id and address.
pub(super) fn node(text: &str) -> Option<(u64, String)> {
    text.parse::<NodeArg>().ok().map(|node| (node.id, node.address))
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let Act::Make(make) = &args.act;
    let mut nodes: Vec<NodeSpec> = make
        .nodes
        .iter()
        .map(|node| NodeSpec {
            id: node.id,
            address: node.address.clone(),
            http: format!("{}:{}", node.host, make.http_port),
            region: 0,
            zone: format!("zone-{}", node.id),
            host: String::new(),
        })
        .collect();
    nodes.sort_by_key(|node| node.id);
    let groups = make.groups.unwrap_or_else(|| u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    let count = nodes.len();
    let spec = ClusterSpec { groups, nodes };
    let (id, is_new) = match bootstrap(&make.out, &spec) {
        Ok(id) => (id, true),
        Err(error) => match made_before(&make.out, &spec, &error) {
            Some(id) => (id, false),
            None => return Err(Failure::local("making the cluster", &error, "give different ids from 1 and a folder that is new: --out DIR")),
        },
    };
    if args.json {
        println!("{}", json!({ "cluster": id.to_string(), "nodes": count, "groups": groups, "folder": make.out, "made": is_new }));
    } else if is_new {
        println!("made cluster {id} of {count} nodes in {}", make.out.display());
    } else {
        println!("cluster {id} of these {count} nodes is in {} already: nothing was changed", make.out.display());
    }
    Ok(Exit::Done)
}

/// The cluster that is in the folder, if it is the one that was asked for.
fn made_before(folder: &Path, spec: &ClusterSpec, error: &BootstrapError) -> Option<ClusterId> {
    let BootstrapError::Exists { .. } = error else { return None };
    let files = ClusterFiles::load(&folder.join("cluster")).ok()?;
    (files.spec == *spec).then_some(files.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cluster_again_is_no_error_and_another_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let args = |nodes: &[&str]| {
            let nodes = nodes.iter().map(|node| node.parse().unwrap()).collect();
            Args { act: Act::Make(Make { nodes, groups: None, http_port: 7680, out: dir.path().to_owned() }), json: false }
        };
        let id = || ClusterFiles::load(&dir.path().join("cluster")).unwrap().id;
        assert_eq!(run(&args(&["1=h:1", "2=h:2"])).unwrap(), Exit::Done);
        let first = id();
        assert_eq!(run(&args(&["2=h:2", "1=h:1"])).unwrap(), Exit::Done);
        assert!(run(&args(&["1=h:1"])).is_err());
        assert_eq!(id(), first);
    }

    #[test]
    fn nodes_are_named_with_their_address() {
        let node: NodeArg = "2=[::1]:7600".parse().unwrap();
        assert_eq!(node, NodeArg { id: 2, host: "[::1]".into(), address: "[::1]:7600".into() });
        for text in ["", "1", "0=h:1", "x=h:1", "1=h", "1=h:port"] {
            assert!(text.parse::<NodeArg>().is_err(), "{text}");
        }
    }
}
