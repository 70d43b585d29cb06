//! `kith debug`: what somebody who supports a node needs, taken on its machine: how much it logs, and a bundle of what it knows of itself.
//!
//! In: the node's settings; it may run or not. Out: a filter that is in use, or a `.tar.gz`. Invariant: no name, text, token, key or address of a
//! user is in a bundle. What is in it by file: [`Bundle`].

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf};

use serde_json::json;

use super::{
    doctor,
    failure::{Exit, Failure},
    local::{Told, ask},
    tar,
};
use crate::{
    clock::{Clock as _, SystemClock},
    config::{Config, Setting},
};

/// Look into a node of this machine: how much it logs, a bundle for who supports it
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    act: Act,
    /// The node's settings
    #[arg(long, value_name = "FILE", default_value = "node.toml", global = true)]
    config: PathBuf,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(clap::Subcommand, Debug)]
enum Act {
    /// Show by which filter a running node logs, or set another one until it is started anew
    Log {
        /// The new filter, as debug or kith=debug,info
        #[arg(long, value_name = "FILTER")]
        set: Option<String>,
    },
    /// Pack what the node knows of itself into a file: health, metrics, replicas, settings, the last log lines
    ///
    /// No name, text, token or key is in it; settings are shown without what could be a secret. Look into it before you pass it on: tar -tzf FILE.
    /// A node that does not run gives its settings and what can be seen of its machine.
    Bundle {
        /// Where to write it
        #[arg(long, value_name = "FILE", default_value = "kith-bundle.tar.gz")]
        out: PathBuf,
    },
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    let (config, settings) = Config::explain(&args.config, &[])
        .map_err(|error| Failure::local("reading the settings", &error, "give those of the node: --config FILE"))?;
    match &args.act {
        Act::Log { set } => log(args, &config, set.as_deref()).await,
        Act::Bundle { out } => bundle(args, &config, &settings, out).await,
    }
}

async fn log(args: &Args, config: &Config, set: Option<&str>) -> Result<Exit, Failure> {
    let told = match set {
        Some(level) => ask(&config.node.data, "PUT", "/log", level).await?,
        None => ask(&config.node.data, "GET", "/log", "").await?,
    };
    let said: serde_json::Value = serde_json::from_str(&told.body).unwrap_or_default();
    if told.status != OK {
        let why = said["error"].as_str().unwrap_or("the node refused").to_owned();
        return Err(Failure::usage(why, "for example --set kith=debug,info"));
    }
    let level = said["level"].as_str().unwrap_or_default();
    println!("{}", if args.json { json!({ "level": level }).to_string() } else { level.to_owned() });
    Ok(Exit::Done)
}

async fn bundle(args: &Args, config: &Config, settings: &[Setting], out: &std::path::Path) -> Result<Exit, Failure> {
    let mut bundle = Bundle::default();
    for (name, path) in ASKED {
        match ask(&config.node.data, "GET", path, "").await {
            Ok(Told { body, .. }) => bundle.add(name, body.into_bytes()),
            Err(_) => bundle.missing.push(name),
        }
    }
    let shown: Vec<Setting> = settings.iter().map(Setting::redacted).collect();
    bundle.add("settings.json", serde_json::to_vec_pretty(&shown).unwrap_or_default());
    let findings = doctor::look(config).await;
    bundle.add("doctor.json", serde_json::to_vec_pretty(&findings).unwrap_or_default());
    for (name, path) in MACHINE {
        bundle.add(name, fs::read(path).unwrap_or_default());
    }
    let made = SystemClock.now().get() / 1_000;
    let about = json!({ "made_s": made, "program": env!("CARGO_PKG_VERSION"), "node": config.node.id, "without": bundle.missing });
    bundle.add("bundle.json", serde_json::to_vec_pretty(&about).unwrap_or_default());
    let hint = "give a file that can be written: --out FILE";
    let packed = tar::pack(&bundle.files, made).map_err(|error| Failure::local("packing the bundle", &error, hint))?;
    let written = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(out).and_then(|mut file| file.write_all(&packed));
    written.map_err(|error| Failure::local("writing the bundle", &error, hint))?;
    let names: Vec<&str> = bundle.files.iter().map(|(name, _)| name.as_str()).collect();
    if args.json {
        println!("{}", json!({ "file": out, "bytes": packed.len(), "files": names, "without": bundle.missing }));
    } else {
        println!("{}: {} bytes, {} files; look into it before you pass it on: tar -tzf {}", out.display(), packed.len(), names.len(), out.display());
        if !bundle.missing.is_empty() {
            println!("the node does not answer on this machine, so these are missing: {}", bundle.missing.join(", "));
        }
    }
    Ok(Exit::Done)
}

/// Files of a bundle, each below one folder.
#[derive(Default)]
struct Bundle {
    files: Vec<(String, Vec<u8>)>,
    missing: Vec<&'static str>,
}

impl Bundle {
    fn add(&mut self, name: &str, content: Vec<u8>) {
        self.files.push((format!("kith-bundle/{name}"), content));
    }
}

/// What a running node is asked, and the file it goes to.
const ASKED: &[(&str, &str)] = &[
    ("about.json", "/about"),
    ("livez.json", "/livez?verbose"),
    ("readyz.json", "/readyz?verbose"),
    ("replicas.json", "/replicas"),
    ("metrics.txt", "/metrics"),
    ("level.json", "/log"),
    ("log.txt", "/recent"),
];
/// What the machine says of itself: none of these names a user.
const MACHINE: &[(&str, &str)] = &[
    ("machine/version", "/proc/version"),
    ("machine/meminfo", "/proc/meminfo"),
    ("machine/loadavg", "/proc/loadavg"),
    ("machine/pressure-cpu", "/proc/pressure/cpu"),
    ("machine/pressure-io", "/proc/pressure/io"),
    ("machine/pressure-memory", "/proc/pressure/memory"),
    ("machine/net-snmp", "/proc/net/snmp"),
];
/// An answer that is no error.
const OK: u16 = 200;
