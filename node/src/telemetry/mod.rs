//! Logs, spans and metrics.
//!
//! In: the `[log]` settings; series of all modules. Out: lines on standard error, `/metrics` text. Spans are named `module.verb`; fields
//! `node group term index seq session peer request` are the same everywhere; bodies, tokens and addresses of users are never logged.

pub mod metrics;
mod recent;

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
};

pub use metrics::NodeMetrics;
pub use recent::Recent;
use thiserror::Error;

use tikv_jemalloc_ctl::{epoch, stats};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::config::{LogConfig, LogFormat};

/// Logging of this process: how much is written may be changed while it runs, and the last lines are kept. Clones are the same.
#[derive(Clone, Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    level: Arc<Mutex<String>>,
    recent: Recent,
}

/// A filter cannot be used.
#[derive(Debug, Error)]
pub enum LevelError {
    /// Not as `info` or `kith=debug,info`.
    #[error("{level:?} is no filter: one is written as info, or as kith=debug,info")]
    Malformed {
        /// What was given.
        level: String,
    },
    /// Lines are written by somebody else: a harness.
    #[error("this process does not log by its own settings")]
    NotOurs,
}

impl Log {
    /// The filter in use, as it was given.
    pub fn level(&self) -> String {
        self.level.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Writes by another filter from now on.
    ///
    /// # Errors
    /// It is none; the old one stays.
    pub fn set_level(&self, level: &str) -> Result<(), LevelError> {
        let filter = filter(level).ok_or_else(|| LevelError::Malformed { level: level.to_owned() })?;
        self.filter.reload(filter).map_err(|_| LevelError::NotOurs)?;
        level.clone_into(&mut self.level.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
    /// The last lines.
    pub const fn recent(&self) -> &Recent {
        &self.recent
    }
}

/// Starts logging for the whole process; called once, by `main`. A second call changes nothing.
pub fn start(log: &LogConfig) -> Log {
    let (filter, handle) = reload::Layer::new(filter(&log.level).unwrap_or_else(|| EnvFilter::new("info")));
    let recent = Recent::default();
    let lines = fmt::layer().with_writer(recent.clone()).with_ansi(std::io::stderr().is_terminal()).with_target(true);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    if let Err(error) = tracing_subscriber::registry().with(filter).with(lines).try_init() {
        tracing::debug!(cause = %error, "telemetry.start: logging was started before");
    }
    Log { filter: handle, level: Arc::new(Mutex::new(log.level.clone())), recent }
}

/// A filter as it is used; `None` if it is malformed.
fn filter(level: &str) -> Option<EnvFilter> {
    // A library's info is our debug: what changed in a group, we say ourselves. Directives of the setting come last, so they win.
    EnvFilter::try_new(format!("openraft=error,quinn_proto=error,tantivy=error,{level}")).ok()
}

/// Resident memory of this process in bytes; `None` where the system does not say.
pub fn rss_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

/// Bytes that the program's own code has allocated and not freed, as its allocator counts them: without RocksDB's, whose caches have limits of
/// their own, and without what the allocator keeps in stock. `None` if the allocator does not say.
pub fn live_bytes() -> Option<u64> {
    epoch::advance().ok()?;
    u64::try_from(stats::allocated::read().ok()?).ok()
}

/// Of the systems we run on.
const PAGE_BYTES: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_parsed_before_it_is_used() {
        assert!(filter("info").is_some() && filter("kith=debug,kith_raft=trace,info").is_some());
        assert!(filter("kith=loud").is_none());
        assert!(matches!(start(&LogConfig::default()).set_level("kith=loud"), Err(LevelError::Malformed { .. })));
    }
}
