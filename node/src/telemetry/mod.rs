//! Logs, spans and metrics.
//!
//! In: the `[log]` settings; series of all modules. Out: lines on standard error, `/metrics` text. Spans are named `module.verb`; fields
//! `node group term index seq session peer request` are the same everywhere; bodies, tokens and addresses of users are never logged.

pub mod metrics;

pub use metrics::NodeMetrics;
use std::io::IsTerminal;

use tikv_jemalloc_ctl::{epoch, stats};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging for the whole process; called once, by `main`. A second call changes nothing.
pub fn start(log: &LogConfig) {
    // A library's info is our debug: what changed in a group, we say ourselves. Directives of the setting come last, so they win.
    let directives = format!("openraft=error,quinn_proto=error,tantivy=error,{}", log.level);
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).with_target(true);
    let started = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(cause = %error, "telemetry.start: logging was started before");
    }
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
