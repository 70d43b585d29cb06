//! `kith config`: what a node would start with, and whether it could.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    failure::{Exit, Failure},
    start::parse_override,
};
use crate::{
    auth::{jwks::KeysAt, reset::Backend},
    cluster::ClusterFiles,
    config::{Config, Setting, as_toml},
};

/// Check a node's settings, or print them as they are used
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
    /// Say whether a node could start with them: keys, values, and the files that they name
    Check(Which),
    /// Print all of them, defaults included
    Print {
        #[command(flatten)]
        which: Which,
        /// Say beside each whether it is from the file, the environment, a flag or the defaults
        #[arg(long)]
        origin: bool,
    },
}

#[derive(clap::Args, Debug)]
struct Which {
    /// The node's settings
    #[arg(long, value_name = "FILE", default_value = "node.toml")]
    config: PathBuf,
    /// A setting that wins over the file and the environment
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    overrides: Vec<String>,
}

impl Which {
    fn explain(&self) -> Result<(Config, Vec<Setting>), Failure> {
        let overrides = self.overrides.iter().map(|text| parse_override(text)).collect::<Result<Vec<_>, _>>()?;
        Config::explain(&self.config, &overrides)
            .map_err(|error| Failure::local("reading the settings", &error, "correct the file; the message names the keys there are"))
    }
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.act {
        Act::Print { which, origin } => {
            let (_, settings) = which.explain()?;
            if args.json {
                settings.iter().for_each(|setting| println!("{}", json!(setting)));
            } else {
                print!("{}", as_toml(&settings, *origin));
            }
            Ok(Exit::Done)
        }
        Act::Check(which) => {
            let (config, _) = which.explain()?;
            let faults = faults(&config);
            if args.json {
                println!("{}", json!({ "ok": faults.is_empty(), "faults": faults }));
            } else if faults.is_empty() {
                println!("{}: node {} could start", which.config.display(), config.node.id);
            } else {
                faults.iter().for_each(|fault| println!("{fault}"));
            }
            Ok(if faults.is_empty() { Exit::Done } else { Exit::Bad })
        }
    }
}

/// What the settings name and is not as it must be.
pub(super) fn faults(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    let mut note = |key: &str, path: &Path, why: io::Error| faults.push(format!("{key}: {}: {why}", path.display()));
    for (key, path) in [("node.cert", &config.node.cert), ("node.key", &config.node.key)] {
        fs::File::open(path).map_or_else(|why| note(key, path, why), drop);
    }
    for issuer in &config.auth.issuers {
        if let KeysAt::File(path) = &issuer.jwks {
            fs::File::open(path).map_or_else(|why| note("auth.issuers.jwks", path, why), drop);
        }
        if let Some(path) = &issuer.ca_file {
            fs::File::open(path).map_or_else(|why| note("auth.issuers.ca_file", path, why), drop);
        }
    }
    // The data directory is made at the first start, in a folder that is there.
    let data = &config.node.data;
    match fs::metadata(data) {
        Ok(found) if !found.is_dir() => note("node.data", data, io::ErrorKind::NotADirectory.into()),
        Err(_) if !data.parent().is_some_and(Path::is_dir) => note("node.data", data, io::ErrorKind::NotFound.into()),
        _ => {}
    }
    if let Some(reset) = &config.auth.reset
        && let Err(error) = Backend::new(reset, config.hooks.allow_private)
    {
        faults.push(format!("auth.reset: {error}"));
    }
    let push = &config.push;
    let named = [
        ("push.apns.key_file", push.apns.as_ref().and_then(|apns| apns.key_file.as_ref())),
        ("push.fcm.account_file", push.fcm.as_ref().and_then(|fcm| fcm.account_file.as_ref())),
        ("push.web_push.key_file", push.web_push.as_ref().and_then(|web| web.key_file.as_ref())),
        ("push.ca_file", push.ca_file.as_ref()),
    ];
    for (key, path) in named {
        if let Some(path) = path
            && let Err(why) = fs::File::open(path)
        {
            faults.push(format!("{key}: {}: {why}", path.display()));
        }
    }
    if let Err(error) = ClusterFiles::load(&config.cluster.folder) {
        faults.push(format!("cluster.folder: {error}"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ClusterSpec, NodeSpec, bootstrap};

    #[test]
    fn what_a_node_could_not_start_with_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeSpec { id: 1, address: "127.0.0.1:7600".into(), http: String::new(), region: 0, zone: "a".into(), host: String::new() };
        bootstrap(dir.path(), &ClusterSpec { groups: 1, nodes: vec![node] }).unwrap();
        let mut config = Config::load(&dir.path().join("node-1/node.toml")).unwrap();
        assert_eq!(faults(&config), Vec::<String>::new());
        fs::remove_file(&config.node.key).unwrap();
        fs::remove_file(config.cluster.folder.join("token.key")).unwrap();
        config.node.data = dir.path().join("nowhere/data");
        let faults = faults(&config);
        let keys: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        assert_eq!(keys, ["node.key", "node.data", "cluster.folder"], "{faults:?}");
    }
}
