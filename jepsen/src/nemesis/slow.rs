//! Slow or failing fsync of a live process, by strace.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::name::Nemesis;
use crate::plan::Fault;

/// A tracer at work.
#[derive(Debug)]
pub(super) struct Trace {
    child: Child,
    log: PathBuf,
}

impl Trace {
    /// Attaches to a process and all its threads.
    pub(super) fn attach(pid: i32, fault: &Fault) -> anyhow::Result<Self> {
        let what = match fault.nemesis {
            Nemesis::FsyncEio => "error=EIO".to_owned(),
            _ => format!("delay_enter={}", fault.shape.delay_ms * 1_000),
        };
        let log = std::env::temp_dir().join(format!("kith-jepsen-strace-{pid}"));
        let child = Command::new("strace")
            .args(["-f", "-qq", "-p", &pid.to_string(), "-e", "trace=fsync,fdatasync", "-e", &format!("inject=fsync,fdatasync:{what}"), "-o"])
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting strace (package strace)")?;
        Ok(Self { child, log })
    }

    /// Lets go; gives how many calls were touched.
    pub(super) async fn detach(mut self) -> anyhow::Result<u64> {
        if let Some(pid) = self.child.id() {
            // It has ended by itself where its process has.
            kill(Pid::from_raw(pid as i32), Signal::SIGTERM).ok();
        }
        if tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await.is_err() {
            bail!("strace does not end");
        }
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        // Not there is as good.
        let _ = fs::remove_file(&self.log);
        Ok(text.lines().filter(|line| line.contains("INJECTED") || line.contains("DELAYED")).count() as u64)
    }
}
