//! The node's settings: one typed tree; defaults < file < environment < flags; unknown keys are errors.
//!
//! In: `node.toml`, variables `KITH_<SECTION>__<KEY>`, overrides `section.key=value` of the command line. Out: [`Config`]. Paths in the
//! file are relative to it. Where each value is from: `origin`. Not here: what the cluster agrees on (`cluster.toml`, then the meta group).

mod origin;

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Environment, File, FileFormat};
use kith_raft::Retention;
use kith_search::Bounds;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use origin::toml as as_toml;
pub use origin::{Origin, Setting};

use crate::{
    auth::{issuer::IssuerConfig, reset::ResetConfig},
    cluster::NodeSpec,
    peer::delay::Distances,
};

/// All settings of a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who and where it is.
    pub node: NodeConfig,
    /// Which cluster it belongs to.
    pub cluster: ClusterConfig,
    /// The HTTP API.
    #[serde(default)]
    pub api: ApiConfig,
    /// Bounds.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Raft logs.
    #[serde(default)]
    pub raft: RaftConfig,
    /// Who else may say who somebody is.
    #[serde(default)]
    pub auth: AuthConfig,
    /// Search for messages.
    #[serde(default)]
    pub search: SearchConfig,
    /// Room on the disk.
    #[serde(default)]
    pub disk: DiskConfig,
    /// What the node writes of itself.
    #[serde(default)]
    pub log: LogConfig,
    /// Outgoing webhooks.
    #[serde(default)]
    pub hooks: HooksConfig,
    /// Pushes to devices that are away.
    #[serde(default)]
    pub push: kith_push::Settings,
    /// For demonstrations.
    #[serde(default)]
    pub demo: DemoConfig,
}

/// `[demo]`: for demonstrations on one machine only.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DemoConfig {
    /// How far regions are made to be from this node: milliseconds there and back, by number of the region. The third part of a loopback address is
    /// its region: nodes are at 127.0.R.*, clients at 127.1.R.*. Default: nobody is far.
    pub regions_ms: Vec<u64>,
}

impl DemoConfig {
    /// As the node's socket takes it.
    pub fn distances(&self) -> Distances {
        Distances(self.regions_ms.iter().copied().map(Duration::from_millis).collect())
    }
}

/// `[node]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Its id in the cluster, from 1.
    pub id: u64,
    /// Its data directory; the id is bound to it.
    pub data: PathBuf,
    /// Address of the one UDP socket, for clients and peers.
    pub listen: SocketAddr,
    /// `host:port` that others dial; the listen address if not given.
    #[serde(default)]
    pub advertise: Option<String>,
    /// Address of health and metrics (TCP); none if not given.
    #[serde(default)]
    pub http: Option<SocketAddr>,
    /// Certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Lanes of the hot path; cores minus one, at least one, if not given.
    #[serde(default)]
    pub lanes: Option<usize>,
}

/// `[cluster]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Folder of `cluster.toml`, `ca.pem` and `token.key`.
    pub folder: PathBuf,
}

/// `[api]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Address of the HTTP API (TCP), with TLS by the node's certificate; no API if not given.
    pub listen: Option<SocketAddr>,
    /// A second address of it, in the clear: of this machine alone, for development.
    pub plain: Option<SocketAddr>,
    /// Web pages of these origins may use it, as `https://chat.example`; of no other.
    pub origins: Vec<String>,
    /// Requests a second of one user, over a longer time; four times as many may come at once.
    pub user_per_s: NonZeroU32,
    /// As above, of one device.
    pub device_per_s: NonZeroU32,
    /// As above, from one address (of IPv6: its first 64 bits).
    pub address_per_s: NonZeroU32,
    /// Connections at once; further ones wait. About 20 kB each.
    pub connections_max: usize,
    /// Long polls and event streams at once; the next is `Busy`.
    pub streams_max: usize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        const fn rate(per_s: u32) -> NonZeroU32 {
            NonZeroU32::new(per_s).expect("it is not 0")
        }
        Self {
            listen: None,
            plain: None,
            origins: Vec::new(),
            user_per_s: rate(50),
            device_per_s: rate(25),
            address_per_s: rate(200),
            connections_max: 4_096,
            streams_max: 2_048,
        }
    }
}

/// `[limits]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Sessions of this node; the next is `Busy`. About 40 kB each.
    pub sessions_max: usize,
    /// Handshakes under way; the next is refused.
    pub handshakes_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { sessions_max: 20_000, handshakes_max: 512 }
    }
}

/// `[raft]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftConfig {
    /// Milliseconds between two flushes of the state to disk, at least 100. What is not flushed is applied again from the log after a crash; each
    /// flush writes and syncs all that was applied since the last one.
    pub flush_interval_ms: u64,
    /// Entries that each group's log keeps behind the flushed state. A replica that was away for longer is sent a snapshot of the whole group.
    pub keep_entries: u64,
    /// Bytes of them that each group's log keeps in its files, about: many long texts leave fewer entries.
    pub keep_bytes: u64,
    /// Fewest entries that are dropped from a log at once; dropping costs a synced write.
    pub purge_entries_min: u64,
}

impl Default for RaftConfig {
    fn default() -> Self {
        let retention = Retention::default();
        let flush_interval_ms = u64::try_from(retention.flush_interval.as_millis()).unwrap_or(u64::MAX);
        Self {
            flush_interval_ms,
            keep_entries: retention.keep_entries,
            keep_bytes: retention.keep_bytes,
            purge_entries_min: retention.purge_entries_min,
        }
    }
}

impl RaftConfig {
    /// When state is flushed and logs are purged.
    pub fn retention(&self) -> Retention {
        Retention {
            flush_interval: Duration::from_millis(self.flush_interval_ms.max(FLUSH_INTERVAL_MIN_MS)),
            keep_entries: self.keep_entries,
            keep_bytes: self.keep_bytes,
            purge_entries_min: self.purge_entries_min,
        }
    }
}

/// More often, a node would do little else.
const FLUSH_INTERVAL_MIN_MS: u64 = 100;

/// `[hooks]`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HooksConfig {
    /// Webhooks may be posted to private addresses and without encryption: for receivers in the own network. With it, whoever registers one can
    /// reach what this node can.
    pub allow_private: bool,
    /// Certificates of further authorities that receivers are known by, PEM; the system's if not given.
    pub ca_file: Option<PathBuf>,
}

/// `[auth]`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// The app's own backends, `[[auth.issuers]]`: whoever shows a token of theirs is let in as who it says. None if not given.
    pub issuers: Vec<IssuerConfig>,
    /// The app's backend that hands on codes to who has lost a password, `[auth.reset]`. None if not given: operators do.
    pub reset: Option<ResetConfig>,
}

/// `[search]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// Whether this node has an index of the texts that it holds. Without, other nodes are asked, and it costs nothing here.
    pub enabled: bool,
    /// Megabytes of memory that writing the index may take, at least 15.
    pub writer_mb: usize,
    /// Milliseconds between two commits, at least 100. What is not committed is found all the same, and read again after a crash; each commit
    /// syncs some ten small files.
    pub commit_interval_ms: u64,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self { enabled: true, writer_mb: 16, commit_interval_ms: 5_000 }
    }
}

impl SearchConfig {
    /// What the index may use.
    pub fn bounds(&self) -> Bounds {
        Bounds { writer_bytes: self.writer_mb.clamp(WRITER_MB_MIN, WRITER_MB_MAX) << 20, ..Bounds::default() }
    }
    /// How long changes wait for a commit.
    pub fn commit_every(&self) -> Duration {
        Duration::from_millis(self.commit_interval_ms.max(COMMIT_INTERVAL_MIN_MS))
    }
}

/// What tantivy works with.
const WRITER_MB_MIN: usize = 15;
const WRITER_MB_MAX: usize = 2_048;
/// More often, a node would write little else.
const COMMIT_INTERVAL_MIN_MS: u64 = 100;

/// `[disk]`: of the file system that holds the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskConfig {
    /// With fewer megabytes free, or less than a tenth of a small disk, the node says that room is low.
    pub warn_free_mb: u64,
    /// With fewer megabytes free, or less than a twenty-fifth of a small disk, writes of clients are refused with `DiskFull` until there is a quarter
    /// more. Reads, log-ins, deletions, operators and the replication of other nodes' writes go on, so some must be left.
    pub refuse_free_mb: u64,
    /// Megabytes that are set aside, at most a fiftieth of the disk, to be given up by `kith node free-ballast` when nothing else can be; 0: none.
    pub ballast_mb: u64,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self { warn_free_mb: 4_096, refuse_free_mb: 1_024, ballast_mb: 64 }
    }
}

/// `[log]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Filter, as `info` or `kith=debug,info`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// The settings cannot be used.
#[derive(Debug, Error)]
#[error("cannot use the settings in {path}{}", hint.as_ref().map(|key| format!(" (did you mean `{key}`?)")).unwrap_or_default())]
pub struct ConfigError {
    path: PathBuf,
    /// The key that may be meant by one that there is not.
    hint: Option<String>,
    source: Box<config::ConfigError>,
}

impl ConfigError {
    fn new(path: &Path, source: config::ConfigError) -> Self {
        Self { path: path.to_owned(), hint: origin::suggestion(&source.to_string()), source: Box::new(source) }
    }
}

/// File, environment and overrides, one over the other.
fn layers(path: &Path, overrides: &[(String, String)]) -> Result<config::Config, ConfigError> {
    let fail = |source| ConfigError::new(path, source);
    let mut layers = config::Config::builder()
        .add_source(File::from(path).format(FileFormat::Toml))
        .add_source(Environment::with_prefix("KITH").prefix_separator("_").separator("__").try_parsing(true).source(Some(sectioned())));
    for (key, value) in overrides {
        layers = layers.set_override(key, value.as_str()).map_err(fail)?;
    }
    layers.build().map_err(fail)
}

impl Config {
    /// Reads a file, then the environment.
    ///
    /// # Errors
    /// The file is missing, a value is malformed, or a key is unknown; the text names the keys there are, and the one that may be meant.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, &[])
    }

    /// As [`Config::load`], then overrides of the command line, as (`section.key`, value).
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(path: &Path, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let layers = layers(path, overrides)?;
        Self::from_layers(path, layers)
    }

    /// As [`Config::load_with`], and every setting with where it is from, sorted by its key.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn explain(path: &Path, overrides: &[(String, String)]) -> Result<(Self, Vec<Setting>), ConfigError> {
        let layers = layers(path, overrides)?;
        let config = Self::from_layers(path, layers.clone())?;
        let settings = origin::settings(&config, &layers).map_err(|why| ConfigError::new(path, config::ConfigError::Message(why)))?;
        Ok((config, settings))
    }

    fn from_layers(path: &Path, layers: config::Config) -> Result<Self, ConfigError> {
        let mut config: Self = layers.try_deserialize().map_err(|error| ConfigError::new(path, error))?;
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        for path in [&mut config.node.data, &mut config.node.cert, &mut config.node.key, &mut config.cluster.folder] {
            *path = base.join(&*path);
        }
        if let Some(plain) = config.api.plain.filter(|plain| !plain.ip().is_loopback()) {
            let why = format!("api.plain is {plain}, and would send passwords in the clear: only an address of this machine, as 127.0.0.1:7681");
            return Err(ConfigError::new(path, config::ConfigError::Message(why)));
        }
        for issuer in &mut config.auth.issuers {
            issuer.jwks = issuer.jwks.seen_from(base);
        }
        let of_issuers = config.auth.issuers.iter_mut().map(|issuer| &mut issuer.ca_file);
        for path in of_issuers.chain(config.auth.reset.iter_mut().map(|reset| &mut reset.ca_file)).flatten() {
            *path = base.join(&*path);
        }
        let push = &mut config.push;
        let keys = [
            push.apns.as_mut().and_then(|apns| apns.key_file.as_mut()),
            push.fcm.as_mut().and_then(|fcm| fcm.account_file.as_mut()),
            push.web_push.as_mut().and_then(|web| web.key_file.as_mut()),
            push.ca_file.as_mut(),
        ];
        for path in keys.into_iter().flatten() {
            *path = base.join(&*path);
        }
        if let Some(reset) = &mut config.auth.reset {
            reset.key = base.join(&reset.key);
        }
        Ok(config)
    }

    /// `host:port` that others dial.
    pub fn advertise(&self) -> String {
        self.node.advertise.clone().unwrap_or_else(|| self.node.listen.to_string())
    }
}

/// Variables that name a section: others that begin with `KITH_` are the command line's.
fn sectioned() -> std::collections::HashMap<String, String> {
    std::env::vars().filter(|(name, _)| name.starts_with("KITH_") && name.contains("__")).collect()
}

/// The `node.toml` that bootstrap writes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NodeFile {
    node: NodeConfig,
    cluster: ClusterConfig,
    api: ApiFile,
}

/// The part of `[api]` that is no default.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct ApiFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
}

impl NodeFile {
    /// For a node of a new cluster: listens where it is dialled, or on all addresses if that is a name.
    pub fn of(spec: &NodeSpec) -> Self {
        let port = spec.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
        let listen = spec.address.parse().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], port)));
        Self {
            node: NodeConfig {
                id: spec.id,
                data: "data".into(),
                listen,
                advertise: Some(spec.address.clone()),
                http: spec.http.parse().ok(),
                cert: "cert.pem".into(),
                key: "key.pem".into(),
                lanes: None,
            },
            cluster: ClusterConfig { folder: "../cluster".into() },
            // The same number, of TCP: a client needs one address.
            api: ApiFile { listen: (!spec.http.is_empty()).then_some(listen) },
        }
    }
    /// The same, which listens here, wherever it is dialled.
    #[must_use]
    pub fn listening(mut self, listen: SocketAddr) -> Self {
        self.node.listen = listen;
        self.api.listen = self.api.listen.map(|_| listen);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        Config::load_with(&path, &[("log.level".into(), "debug".into())]).map_err(|error| error.source.to_string())
    }

    const WHOLE: &str = "[node]\nid = 2\ndata = 'data'\nlisten = '127.0.0.1:7002'\ncert = 'c'\nkey = 'k'\n[cluster]\nfolder = '../cluster'\n";

    #[test]
    fn defaults_file_and_overrides_are_layered() {
        let config = load(WHOLE).unwrap();
        assert_eq!((config.node.id, config.limits.sessions_max, config.log.level.as_str()), (2, 20_000, "debug"));
        assert!(config.node.data.is_absolute());
        assert_eq!(config.advertise(), "127.0.0.1:7002");
    }

    #[test]
    fn thresholds_of_logs_are_those_of_the_groups_unless_set() {
        assert_eq!(load(WHOLE).unwrap().raft.retention(), Retention::default());
        let set = load(&format!("{WHOLE}[raft]\nkeep_entries = 50\nflush_interval_ms = 1\n")).unwrap().raft.retention();
        assert_eq!((set.keep_entries, set.flush_interval), (50, Duration::from_millis(100)));
    }

    #[test]
    fn in_the_clear_is_on_this_machine_only() {
        assert!(load(&format!("{WHOLE}[api]\nplain = '127.0.0.1:7681'\n")).is_ok());
        let error = load(&format!("{WHOLE}[api]\nplain = '0.0.0.0:7681'\n")).unwrap_err();
        assert!(error.contains("api.plain"), "{error}");
    }

    #[test]
    fn search_is_on_unless_it_is_turned_off_and_held_to_what_its_engine_takes() {
        let search = load(WHOLE).unwrap().search;
        assert!(search.enabled && search.bounds().writer_bytes >= 15_000_000);
        let search = load(&format!("{WHOLE}[search]\nenabled = false\nwriter_mb = 1\ncommit_interval_ms = 0\n")).unwrap().search;
        assert_eq!((search.enabled, search.bounds().writer_bytes, search.commit_every()), (false, 15 << 20, Duration::from_millis(100)));
    }

    #[test]
    fn unknown_key_is_an_error_that_names_the_known_ones() {
        let error = load(&format!("{WHOLE}[limits]\nsession_max = 5\n")).unwrap_err();
        assert!(error.contains("session_max") && error.contains("sessions_max"), "{error}");
    }

    #[test]
    fn each_setting_says_where_it_is_from() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, WHOLE).unwrap();
        let (config, settings) = Config::explain(&path, &[("log.level".into(), "debug".into())]).unwrap();
        let of = |key: &str| settings.iter().find(|setting| setting.key == key).map(|setting| (setting.value.to_string(), setting.origin));
        assert_eq!(of("node.id"), Some(("2".into(), Origin::File)));
        assert_eq!(of("log.level"), Some(("\"debug\"".into(), Origin::Flag)));
        assert_eq!(of("limits.sessions_max"), Some((config.limits.sessions_max.to_string(), Origin::Default)));
        assert!(settings.is_sorted_by(|a, b| a.key < b.key));
        // What is printed is read again as the same.
        let again: String = as_toml(&settings, false);
        std::fs::write(&path, again).unwrap();
        assert_eq!(Config::load(&path).unwrap(), config);
    }

    #[test]
    fn a_key_that_is_nearly_right_is_suggested() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, format!("{WHOLE}[limits]\nsession_max = 5\n")).unwrap();
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.ends_with("(did you mean `sessions_max`?)"), "{error}");
        std::fs::write(&path, format!("{WHOLE}[limits]\nzzz = 5\n")).unwrap();
        assert!(!Config::load(&path).unwrap_err().to_string().contains("did you mean"));
    }
}
