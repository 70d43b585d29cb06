//! `kith cert`: the cluster's authority, another one in its place, and nodes' certificates. On files alone: no node is asked.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use crate::{
    clock::{Clock as _, SystemClock},
    cluster::rotation::{AuthorityView, Folder, NodeCertificate, RotationError},
    config::Config,
};

const DAY_S: i64 = 24 * 3_600;

/// Show who signs the cluster's certificates, put another authority in its place, and sign a node anew
///
/// docs/guide/certificates.md has the order of these steps. Each may be done again, and changes nothing then.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    act: Act,
    /// The folder with the cluster's `cluster/`
    #[arg(long, global = true, env = "KITH_CLUSTER", default_value = "kith-data", value_name = "DIR")]
    cluster: PathBuf,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(clap::Subcommand, Debug)]
enum Act {
    /// Show the authorities that are trusted, and who has signed nodes' certificates
    Show {
        /// A node's settings, again for each further node
        #[arg(long, value_name = "FILE")]
        config: Vec<PathBuf>,
    },
    /// Make the next authority: trusted from now on beside the one that signs
    ///
    /// Then bring `ca.pem` to all nodes and to whoever connects to them. The key is added to `ca.key`.
    CreateCa,
    /// Have an authority sign from now on: the one that `create-ca` made, or the one before it, to go back
    ///
    /// Nodes show what they have until `create-node` makes them another certificate.
    UseCa {
        /// Its id, as `show` prints it
        id: String,
    },
    /// Trust an authority no more, and forget its key: nothing brings it back
    ///
    /// A node whose own certificate it has signed keeps trusting it, and says so in its log.
    DropCa {
        /// Its id, as `show` prints it
        id: String,
    },
    /// Make a node a new key and certificate, for the names that it had
    ///
    /// A running node shows it within five seconds.
    CreateNode {
        /// The node's settings: they say where certificate and key are
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// A name or address that clients dial, instead of those before; again for each further one
        #[arg(long, value_name = "HOST")]
        host: Vec<String>,
    },
}

impl From<RotationError> for Failure {
    fn from(error: RotationError) -> Self {
        let hint = match &error {
            RotationError::Files(_) | RotationError::Io { .. } | RotationError::Malformed { .. } => {
                "give the folder that holds the cluster's: --cluster DIR"
            }
            RotationError::Sign(_) => "names are like chat.example.org, addresses like 10.0.0.1: --host HOST",
            RotationError::NoKey { .. } => "do this where ca.key is, or bring it here for as long as this takes",
            RotationError::Keyless { .. } => "do this where its key is; or drop it: kith cert drop-ca",
            RotationError::Unknown { .. } => "kith cert show lists those there are",
            RotationError::Signs { .. } => "have another one sign first: kith cert create-ca, then use-ca",
            RotationError::TooMany => "drop what is trusted for no reason any more: kith cert drop-ca",
            RotationError::NotANode { .. } => "give the settings of a node of this cluster: --config FILE",
        };
        Self::local("changing certificates", &error, hint)
    }
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut folder = Folder::open(&args.cluster.join("cluster"))?;
    let (value, text) = match &args.act {
        Act::Show { config } => {
            let nodes = config.iter().map(|file| Ok(folder.look(&settings(file)?.node.cert)?)).collect::<Result<Vec<_>, Failure>>()?;
            shown(&folder.authorities(), &nodes)
        }
        Act::CreateCa => {
            let (id, is_new) = folder.create_ca()?;
            let text = if is_new {
                format!("authority {id} is trusted, and does not sign yet: bring ca.pem to all nodes and clients, then kith cert use-ca {id}")
            } else {
                format!("authority {id} was made before, and does not sign yet: nothing was changed")
            };
            (json!({ "authority": id.to_string(), "made": is_new }), text)
        }
        Act::UseCa { id } => {
            let (id, is_change) = folder.use_ca(id)?;
            let text = if is_change {
                format!("authority {id} signs from now on: kith cert create-node for each node")
            } else {
                format!("authority {id} signs already: nothing was changed")
            };
            (json!({ "authority": id.to_string(), "changed": is_change }), text)
        }
        Act::DropCa { id } => {
            let is_change = folder.drop_ca(id)?;
            let text = if is_change {
                format!("authority {id} is trusted no more: bring ca.pem to all nodes")
            } else {
                format!("authority {id} is not trusted: nothing was changed")
            };
            (json!({ "authority": id, "changed": is_change }), text)
        }
        Act::CreateNode { config, host } => {
            let config = settings(config)?;
            let made = folder.renew_node((&config.node.cert, &config.node.key), host)?;
            (certificate(&made), format!("{}\nit is in {}", line(&made), config.node.cert.display()))
        }
    };
    println!("{}", if args.json { value.to_string() } else { text });
    Ok(Exit::Done)
}

fn settings(file: &std::path::Path) -> Result<Config, Failure> {
    Config::load(file).map_err(|error| Failure::local("reading the settings", &error, "give those of the node: --config FILE"))
}

fn shown(authorities: &[AuthorityView], nodes: &[NodeCertificate]) -> (Value, String) {
    let value = json!({
        "authorities": authorities.iter().map(|one| json!({ "id": one.id.to_string(), "signs": one.signs, "has_key": one.has_key })).collect::<Vec<_>>(),
        "nodes": nodes.iter().map(certificate).collect::<Vec<_>>(),
    });
    let of = |one: &AuthorityView| {
        let what = match (one.signs, one.has_key) {
            (true, _) => "trusted, signs",
            (false, true) => "trusted, its key is here",
            (false, false) => "trusted, its key is not here",
        };
        format!("authority {}: {what}", one.id)
    };
    let lines: Vec<String> = authorities.iter().map(of).chain(nodes.iter().map(line)).collect();
    (value, lines.join("\n"))
}

fn certificate(one: &NodeCertificate) -> Value {
    json!({ "node": one.node.get(), "authority": one.by.as_ref().map(ToString::to_string), "end_s": one.end_s, "hosts": one.hosts })
}

fn line(one: &NodeCertificate) -> String {
    let by = one.by.as_ref().map_or_else(|| "signed by nobody who is trusted".to_owned(), |by| format!("signed by {by}"));
    let now_s = i64::try_from(SystemClock.now().get() / 1_000).unwrap_or(i64::MAX);
    let NodeCertificate { node, end_s, hosts, .. } = one;
    format!("node {}: {by}, ends in {} days, for {}", node, (end_s - now_s) / DAY_S, hosts.join(", "))
}
