//! `kith start`: runs a node until it is told to stop.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use kith_raft::storage::OpenError;
use kith_wire::limit;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use super::{
    Faults,
    failure::{Exit, Failure},
    join::{Joining, Token, joined},
    notify::Manager,
};
use crate::{
    Node, NodeOptions, StartError,
    cluster::{ClusterSpec, NodeSpec, bootstrap},
    config::Config,
    peer::Fenced,
    service::Service,
    telemetry::{self, Log},
};

/// Groups of a single node: they spread over others as it grows.
const SINGLE_NODE_GROUPS: u32 = 4;

/// Run a node until Ctrl-C or SIGTERM
///
/// With --config: a node of a cluster, from its own folder. With --single-node: a cluster of one, made on the first start and kept in --data. With --join or
/// --join-file: a node that joins a cluster by a token of `kith node token create`, on the first start; later ones go on with what is in --data, and use no
/// token.
#[derive(clap::Args, Debug)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["config", "single_node", "join", "join_file"])))]
#[command(group(clap::ArgGroup::new("joining").args(["join", "join_file"])))]
#[command(group(clap::ArgGroup::new("made_here").args(["single_node", "join", "join_file"])))]
pub(super) struct Args {
    /// The node's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A cluster of this node alone
    #[arg(long)]
    single_node: bool,
    /// Join by this token. Others on this machine can see it: rather use --join-file
    #[arg(long, value_name = "TOKEN")]
    join: Option<String>,
    /// Join by the token in this file
    #[arg(long, value_name = "FILE")]
    join_file: Option<PathBuf>,
    /// Join, and end: where a service starts the node, with the settings that are printed
    #[arg(long, requires = "joining")]
    join_only: bool,
    /// Folder of the single node's cluster, or of the node that joins
    #[arg(long, value_name = "DIR", default_value = "kith-data", requires = "made_here")]
    data: PathBuf,
    /// Address for clients and other nodes (UDP); used on the first start
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7600", requires = "made_here")]
    listen: SocketAddr,
    /// Address for health and metrics (TCP); used on the first start
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7680", requires = "made_here")]
    http: SocketAddr,
    #[command(flatten)]
    joining: Joining,
    /// Also serve the HTTP API in the clear at this address of this machine: for development
    #[arg(long, value_name = "ADDRESS")]
    api_plain: Option<SocketAddr>,
    /// A setting that wins over the file and the environment
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    overrides: Vec<String>,
    /// Stop when standard input closes: for a parent that must not leave this process behind
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn run(args: Args, stop: CancellationToken, faults: Faults) -> Result<Exit, Failure> {
    let told = args.join.as_deref().map(Token::Said).or_else(|| args.join_file.as_ref().map(Token::File));
    let file = match (&args.config, told) {
        (Some(file), _) => file.clone(),
        (None, Some(token)) => Box::pin(joined(&args.joining, &token, (&args.data, args.listen, args.http), faults.quirk.build())).await?,
        (None, None) => single_node(&args.data, args.listen, args.http)?,
    };
    if args.join_only {
        println!("{}", if args.json { serde_json::json!({ "config": file }).to_string() } else { file.display().to_string() });
        return Ok(Exit::Done);
    }
    let mut overrides = args.overrides.iter().map(|text| parse_override(text)).collect::<Result<Vec<_>, _>>()?;
    overrides.extend(args.api_plain.map(|address| ("api.plain".to_owned(), address.to_string())));
    let (config, settings) = Config::explain(&file, &overrides)
        .map_err(|error| Failure::local("reading the settings", &error, "correct the file; the message names the keys there are"))?;
    let log = telemetry::start(&config.log);
    let Faults { quirk, failpoints } = faults;
    let options = NodeOptions { quirk, failpoints, log: Some(log.clone()), settings, ..NodeOptions::new(config) };
    let node = Node::start(options).await.map_err(|error| match &error {
        StartError::Storage { source: OpenError::Version(unfit), .. } => Failure::misfit(&unfit.to_string()),
        _ => Failure::local("starting the node", &error, "see that no other process uses its data or its addresses, and that its folder is whole"),
    })?;
    tell(&args, &node);
    let manager = Manager::of_environment();
    manager.started();
    let first = node.service().clone();
    let first = Box::pin(show_first(first, args.json));
    let (mut failed, mut fenced) = (node.failed(), node.fenced());
    let end = tokio::select! {
        () = stop.cancelled() => Ok(Exit::Done),
        () = stdin_closed(), if args.until_stdin_closes => Ok(Exit::Done),
        never = first => never,
        error = reload_on_hangup(&file, &overrides, (&log, &node)) => Err(error),
        () = manager.watch(&node) => Ok(Exit::Done),
        Ok(why) = fenced.wait_for(Option::is_some) => Err(match &*why {
            Some(Fenced::Build(text)) => Failure::misfit(text),
            Some(Fenced::Directory(text)) => Failure::fenced(text),
            None => Failure::fenced(""),
        }),
        Ok(reason) = failed.wait_for(Option::is_some) => {
            let reason = std::io::Error::other(reason.clone().unwrap_or_default());
            Err(Failure::local("the node's disk failed, so it stopped", &reason, "see to the disk; the other replicas have taken over; then start it again"))
        }
    };
    manager.ending();
    node.shutdown().await;
    end
}

/// Reads the settings anew at each SIGHUP, and uses those that can change while a node runs: the filter of the log, the certificate. Ends only if it
/// cannot listen.
async fn reload_on_hangup(file: &Path, overrides: &[(String, String)], (log, node): (&Log, &Node)) -> Failure {
    let mut hangups = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return Failure::local("listening for signals", &error, "this should not happen; please report it"),
    };
    loop {
        if hangups.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        node.renew_certificate();
        let read = Config::load_with(file, overrides);
        match read.map_err(anyhow::Error::from).and_then(|config| Ok(log.set_level(&config.log.level)?)) {
            Ok(()) => tracing::info!(level = log.level(), "start.reload: the settings were read again"),
            Err(error) => tracing::warn!(cause = format!("{error:#}"), "start.reload: the settings cannot be used; those before stay"),
        }
    }
}

/// Shows the cluster's first admin token, if it had none yet: on the one node that the meta group gave it to, once. Never ends.
async fn show_first(service: Service, is_json: bool) -> Result<Exit, Failure> {
    if let Some((token, until)) = service.first_admin().await {
        let hours = limit::ADMIN_FIRST_TTL_S / 3_600;
        if is_json {
            eprintln!("{}", serde_json::json!({ "first_admin_token": token.reveal(), "until_ms": until.get() }));
        } else {
            eprintln!(
                "the cluster's first admin token, shown this once, good for {hours} h, to be turned into another (kith admin claim, or /console):\n{}",
                token.reveal()
            );
        }
    }
    std::future::pending().await
}

fn tell(args: &Args, node: &Node) {
    if args.json {
        let text = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        let (http, api, plain) = (text(node.http_addr()), text(node.api_addr()), text(node.api_plain_addr()));
        let address = node.client_addr().to_string();
        println!("{}", serde_json::json!({ "node": node.id().get(), "address": address, "http": http, "api": api, "api_plain": plain }));
    } else if args.single_node {
        println!("node {} listens on {}", node.id(), node.client_addr());
        if let Some(http) = node.http_addr() {
            println!("health and metrics: http://{http}/readyz http://{http}/metrics");
        }
        if let Some(api) = node.api_addr() {
            println!("http api: https://{api}/v1 (curl --cacert {}/cluster/ca.pem)", args.data.display());
        }
        if let Some(plain) = node.api_plain_addr() {
            println!("web chat on this machine: http://{plain}/");
            println!("http api in the clear, for development: http://{plain}/v1");
        }
        println!("to talk: kith chat --cluster {} --as ann --to bob", args.data.display());
    }
}

/// Makes the cluster of one if it is not there; gives the file of its node.
fn single_node(data: &Path, listen: SocketAddr, http: SocketAddr) -> Result<PathBuf, Failure> {
    if !data.join("cluster/cluster.toml").exists() {
        let node = NodeSpec { id: 1, address: listen.to_string(), http: http.to_string(), region: 0, zone: "a".to_owned(), host: String::new() };
        bootstrap(data, &ClusterSpec { groups: SINGLE_NODE_GROUPS, nodes: vec![node] })
            .map_err(|error| Failure::local("making the cluster", &error, "give a folder that can be written: --data DIR"))?;
    }
    Ok(data.join("node-1/node.toml"))
}

/// `SECTION.KEY=VALUE`.
pub(super) fn parse_override(text: &str) -> Result<(String, String), Failure> {
    let parts = text.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
    parts.ok_or_else(|| Failure::usage(format!("{text:?} is not SECTION.KEY=VALUE"), "for example --set log.level=debug"))
}

async fn stdin_closed() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    while let Ok(1..) = stdin.read(&mut ignored).await {}
}
