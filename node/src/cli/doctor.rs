//! `kith doctor`: whether a machine suits its node: settings and files, room, what a sync costs, bounds of the system, whether the node is well.
//!
//! In: the node's settings; it may run or not. Out: findings, each with what to do. Changes nothing but a file of 4 kB in the data directory, which it
//! removes. Bound: each look takes at most [`LOOK_WITHIN`]. Not here: the cluster as a whole (`kith status`, `kith layout show`).

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use serde_json::json;

use super::{
    config::faults,
    failure::{Exit, Failure},
    local::ask,
};
use crate::{
    clock::{Clock as _, Stopwatch, SystemClock},
    cluster::ClusterFiles,
    config::Config,
    disk::{Bounds, Level, probe},
    peer::tls::Identity,
};

/// Look at this machine as a node's: files, disk, limits, and whether the node is well
///
/// Exits with 1 if something is wrong; a warning is no error.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The node's settings
    #[arg(long, value_name = "FILE", default_value = "node.toml")]
    config: PathBuf,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(super) json: bool,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Finding {
    /// What.
    name: &'static str,
    /// How it stands.
    state: State,
    /// For a person.
    text: String,
    /// What to do; empty if nothing.
    #[serde(skip_serializing_if = "str::is_empty")]
    advice: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Good,
    Warning,
    Wrong,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    let config =
        Config::load(&args.config).map_err(|error| Failure::local("reading the settings", &error, "give those of the node: --config FILE"))?;
    let findings = look(&config).await;
    for finding in &findings {
        if args.json {
            println!("{}", json!(finding));
            continue;
        }
        let mark = match finding.state {
            State::Good => "good   ",
            State::Warning => "warning",
            State::Wrong => "WRONG  ",
        };
        println!("{mark}  {:<12} {}", finding.name, finding.text);
        if !finding.advice.is_empty() {
            println!("         {:<12} what to do: {}", "", finding.advice);
        }
    }
    let is_wrong = findings.iter().any(|finding| finding.state == State::Wrong);
    Ok(if is_wrong { Exit::Bad } else { Exit::Done })
}

/// Looks at everything, one after the other.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let (owned, now_s) = (config.clone(), SystemClock.now().get() / 1_000);
    let looked = tokio::task::spawn_blocking(move || {
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let mut found = vec![settings(&owned), secrets(&owned), certificate(&owned, now_s), room(&owned), sync_cost(&owned.node.data)];
        found.push(open_files(&limits, owned.limits.sessions_max));
        found.extend(["rmem_max", "wmem_max"].map(socket_buffer));
        found.push(memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()));
        found
    });
    let mut found = looked.await.unwrap_or_default();
    found.push(names(config).await);
    found.push(node(config).await);
    found
}

impl Finding {
    fn good(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, state: State::Good, text: text.into(), advice: "" }
    }
    fn warning(name: &'static str, text: impl Into<String>, advice: &'static str) -> Self {
        Self { name, state: State::Warning, text: text.into(), advice }
    }
    fn wrong(name: &'static str, text: impl Into<String>, advice: &'static str) -> Self {
        Self { name, state: State::Wrong, text: text.into(), advice }
    }
}

fn settings(config: &Config) -> Finding {
    match &faults(config)[..] {
        [] => Finding::good("settings", "a node could start with them"),
        faults => Finding::wrong("settings", faults.join("; "), "correct what is named: kith config check --config FILE says when it is right"),
    }
}

/// Whoever reads these may be anyone, or the node.
fn secrets(config: &Config) -> Finding {
    let files = [config.node.key.clone(), config.cluster.folder.join("token.key"), config.cluster.folder.join("ca.key")];
    let is_open = |path: &&PathBuf| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & OTHERS != 0);
    let open: Vec<String> = files.iter().filter(is_open).map(|path| path.display().to_string()).collect();
    if open.is_empty() {
        return Finding::good("secrets", "keys are readable by their owner alone");
    }
    Finding::wrong("secrets", format!("others on this machine may read {}", open.join(", ")), "chmod 600 these files, and think of who has read them")
}

fn certificate(config: &Config, now_s: u64) -> Finding {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let files = || Some((ClusterFiles::load(&config.cluster.folder).ok()?.ca_pem, read(&config.node.cert)?, read(&config.node.key)?));
    let Some(identity) = files().and_then(|(ca, cert, key)| Identity::from_pem(&ca, &cert, &key).ok()) else {
        return Finding::wrong("certificate", "it cannot be read", "see node.cert and node.key of the settings, and ca.pem of the cluster's folder");
    };
    judge_certificate(identity.end_s(), i64::try_from(now_s).unwrap_or(i64::MAX))
}

fn judge_certificate(end_s: i64, now_s: i64) -> Finding {
    let days = (end_s - now_s) / DAY_S;
    let advice = "where ca.key is: kith cert create-node --config node.toml, or see docs/runbooks/certificates.md";
    match days {
        _ if end_s <= now_s => Finding::wrong("certificate", "it has ended: no peer and no client takes it", advice),
        days if days < CERTIFICATE_DAYS_MIN => Finding::warning("certificate", format!("it ends in {days} days"), advice),
        days => Finding::good("certificate", format!("it ends in {days} days")),
    }
}

fn room(config: &Config) -> Finding {
    let at = config.node.data.ancestors().find(|path| path.exists()).unwrap_or(&config.node.data);
    let Some(room) = probe()(at) else {
        return Finding::wrong("disk", format!("the file system of {} does not say how much room it has", at.display()), "see whether it is mounted");
    };
    let text = format!("{} MB of {} MB are free", room.free >> 20, room.total >> 20);
    match Level::default().next(room.free, Bounds::of(&config.disk, room.total)) {
        Level::Enough => Finding::good("disk", text),
        Level::Low => Finding::warning("disk", text, "make room, or add a node: docs/runbooks/disk.md"),
        Level::Full => {
            Finding::wrong("disk", format!("{text}: what clients write is refused"), "kith node free-ballast, then make room: docs/runbooks/disk.md")
        }
    }
}

/// An ack waits for a sync on two disks.
fn sync_cost(data: &Path) -> Finding {
    match measure_syncs(data) {
        Ok(mut took) => {
            took.sort();
            judge_syncs(took[took.len() / 2], took[took.len() - 1])
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::warning("sync", "there is no data directory yet", "it is made at the first start")
        }
        Err(error) => {
            Finding::wrong("sync", format!("a file in the data directory cannot be written: {error}"), "run this as the node's user; see the disk")
        }
    }
}

fn measure_syncs(data: &Path) -> io::Result<[Duration; SYNCS]> {
    let path = data.join("doctor.probe");
    let mut file = File::create(&path)?;
    let mut took = [Duration::ZERO; SYNCS];
    let mut write = || {
        for one in &mut took {
            let watch = Stopwatch::start();
            file.write_all(&[0; SYNC_BYTES])?;
            file.sync_data()?;
            *one = watch.elapsed();
        }
        Ok(took)
    };
    let measured = write();
    fs::remove_file(&path)?;
    measured
}

fn judge_syncs(middle: Duration, worst: Duration) -> Finding {
    let text = format!("a sync takes {:.1} ms, the slowest of {SYNCS} {:.1} ms", ms(middle), ms(worst));
    match middle {
        middle if middle > SYNC_WRONG => {
            Finding::wrong("sync", text, "every message waits for one: use a disk of its own, with power-loss protection")
        }
        middle if middle > SYNC_SLOW => {
            Finding::warning("sync", text, "every message waits for one: a disk with power-loss protection takes less than 1 ms")
        }
        _ => Finding::good("sync", text),
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn open_files(limits: &str, sessions_max: usize) -> Finding {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_ascii_whitespace().next()).map(|soft| soft.parse().unwrap_or(u64::MAX));
    // Clients share a socket; files are those of the databases and connections of HTTP.
    match soft {
        None => Finding::warning("files", "the system does not say how many files may be open", "see ulimit -n: 65536 is plenty"),
        Some(soft) if soft < FILES_MIN => Finding::warning(
            "files",
            format!("{soft} files may be open, for {sessions_max} sessions"),
            "LimitNOFILE=65536 in the service, or ulimit -n 65536",
        ),
        Some(soft) => Finding::good("files", format!("{soft} files may be open")),
    }
}

fn socket_buffer(which: &'static str) -> Finding {
    let name = if which == "rmem_max" { "udp-in" } else { "udp-out" };
    let found = fs::read_to_string(format!("/proc/sys/net/core/{which}")).ok().and_then(|text| text.trim().parse().ok());
    judge_buffer(name, found)
}

fn judge_buffer(name: &'static str, bytes: Option<u64>) -> Finding {
    match bytes {
        None => Finding::warning(name, "the system does not say how large a socket's buffer may be", ""),
        Some(bytes) if bytes < BUFFER_BYTES_MIN => Finding::warning(
            name,
            format!("a socket's buffer has at most {} kB: bursts of datagrams are lost", bytes >> 10),
            "sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304, and the same in /etc/sysctl.d",
        ),
        Some(bytes) => Finding::good(name, format!("a socket's buffer may have {} kB", bytes >> 10)),
    }
}

fn memory(meminfo: &str) -> Finding {
    let of = |key: &str| -> Option<u64> {
        let line = meminfo.lines().find(|line| line.starts_with(key))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    match (of("MemAvailable:"), of("SwapTotal:")) {
        (Some(free), _) if free < MEMORY_KB_MIN => {
            Finding::warning("memory", format!("{} MB are available", free >> 10), "a node wants 1 GB, and 40 kB more for each session")
        }
        (Some(free), swap) => Finding::good("memory", format!("{} MB are available, swap has {} MB", free >> 10, swap.unwrap_or_default() >> 10)),
        (None, _) => Finding::warning("memory", "the system does not say how much there is", ""),
    }
}

/// Whether names in the cluster's addresses can be looked up from here.
async fn names(config: &Config) -> Finding {
    let Ok(files) = ClusterFiles::load(&config.cluster.folder) else {
        return Finding::wrong("names", "the cluster's folder cannot be used", "kith config check --config FILE says why");
    };
    let mut lost = Vec::new();
    for node in &files.spec.nodes {
        let found = tokio::time::timeout(LOOK_WITHIN, tokio::net::lookup_host(node.address.as_str())).await;
        if !found.is_ok_and(|found| found.is_ok_and(|mut all| all.next().is_some())) {
            lost.push(node.address.clone());
        }
    }
    match &lost[..] {
        [] => Finding::good("names", format!("addresses of {} nodes are found", files.spec.nodes.len())),
        lost => Finding::wrong("names", format!("no address is found for {}", lost.join(", ")), "see the name server of this machine, or /etc/hosts"),
    }
}

async fn node(config: &Config) -> Finding {
    match ask(&config.node.data, "GET", "/readyz", "").await {
        Ok(told) if told.status == 200 => Finding::good("node", "it runs and is ready for clients"),
        Ok(told) => Finding::wrong("node", told.body.trim().replace('\n', "; "), "docs/runbooks/not-ready.md says what each of these means"),
        Err(_) => Finding::warning("node", "it does not run here, or belongs to another user", "kith start --config FILE"),
    }
}

/// For each look that could wait.
const LOOK_WITHIN: Duration = Duration::from_secs(3);
/// Rights of anybody but the owner.
const OTHERS: u32 = 0o077;
const DAY_S: i64 = 24 * 3_600;
const CERTIFICATE_DAYS_MIN: i64 = 30;
/// Syncs that are measured, and what each writes.
const SYNCS: usize = 16;
const SYNC_BYTES: usize = 4_096;
/// What a sync may take at most, of a disk that suits, and of one that can be used.
const SYNC_SLOW: Duration = Duration::from_millis(10);
const SYNC_WRONG: Duration = Duration::from_millis(200);
/// Databases keep some thousands open.
const FILES_MIN: u64 = 16_384;
/// What the node asks for, is 4 MiB.
const BUFFER_BYTES_MIN: u64 = 1 << 20;
/// A quiet node.
const MEMORY_KB_MIN: u64 = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_says_what_to_do() {
        let of = |finding: Finding| (finding.state, finding.advice.is_empty());
        let day = |days: i64| judge_certificate(days * DAY_S, 0);
        assert_eq!([of(day(-1)), of(day(5)), of(day(300))], [(State::Wrong, false), (State::Warning, false), (State::Good, true)]);
        let sync = |ms| judge_syncs(Duration::from_millis(ms), Duration::from_millis(ms));
        assert_eq!([of(sync(1)), of(sync(50)), of(sync(500))], [(State::Good, true), (State::Warning, false), (State::Wrong, false)]);
        let files = |count: &str| open_files(&format!("Limit  Soft  Hard  Units\nMax open files   {count}   1048576   files\n"), 20_000);
        assert_eq!(
            [of(files("1024")), of(files("65536")), of(files("unlimited"))],
            [(State::Warning, false), (State::Good, true), (State::Good, true)]
        );
        assert_eq!(
            [of(judge_buffer("udp-in", Some(212_992))), of(judge_buffer("udp-in", Some(4 << 20)))],
            [(State::Warning, false), (State::Good, true)]
        );
        let memory = |kb: u64| memory(&format!("MemTotal: 9 kB\nMemAvailable:   {kb} kB\nSwapTotal: 0 kB\n"));
        assert_eq!([of(memory(100_000)), of(memory(4_000_000))], [(State::Warning, false), (State::Good, true)]);
    }
}
