//! One node: a process of the built binary in its own namespace, with its own disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::disk::Disk;
use super::net::{self, Place};

/// Port of clients and peers.
pub(crate) const PORT: u16 = 7600;
/// Port of health and metrics.
pub(crate) const HTTP_PORT: u16 = 7680;
/// How long a node may take to stop by itself.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// Names what a build with fail points is to do at them.
const FAIL_POINTS: &str = "KITH_FAILPOINTS";
/// Has a build with fail points be the release before it.
const OLDER: &str = "KITH_OLDER";
/// Read of a log at most.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);

/// A node of the lab.
#[derive(Debug)]
pub struct Node {
    /// Its place in the lab, from 1.
    pub id: u64,
    /// Where it is.
    pub place: Place,
    /// Its disk.
    pub disk: Disk,
    pub(super) binary: PathBuf,
    /// Its id in the cluster and its settings: another one after it was replaced.
    pub(super) member: Mutex<(u64, PathBuf)>,
    pub(super) log: PathBuf,
    /// File that shifts its wall clock, where the run does that.
    pub(super) clock: Option<PathBuf>,
    /// What it is told to do at its fail points when it starts next.
    pub(super) orders: Mutex<Option<String>>,
    /// Whether it is of the release before the one under test when it starts next.
    pub(super) older: AtomicBool,
    /// `section.key=value`, besides what its file says.
    pub(super) settings: Vec<String>,
    pub(super) running: Mutex<Option<Running>>,
}

/// A process.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// The node ends when it closes.
    stdin: Option<ChildStdin>,
}

impl Node {
    /// Name in histories.
    pub fn name(&self) -> String {
        format!("n{}", self.id)
    }

    /// Its id in the cluster.
    pub fn member(&self) -> u64 {
        self.member.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// From the next start on it is another member, whose folder is in the cluster's.
    pub fn become_member(&self, id: u64, cluster: &std::path::Path) {
        *self.member.lock().unwrap_or_else(PoisonError::into_inner) = (id, cluster.join(format!("node-{id}/node.toml")));
    }

    /// Starts it if it does not run.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(&self) -> anyhow::Result<()> {
        let mut running = self.lock();
        if running.as_mut().is_some_and(|running| matches!(running.child.try_wait(), Ok(None))) {
            return Ok(());
        }
        let log: File = OpenOptions::new().create(true).append(true).open(&self.log).context("opening a node's log")?;
        let log_too = log.try_clone().context("opening a node's log")?;
        let previous = std::env::var_os(super::PREVIOUS).filter(|_| self.is_older()).map(PathBuf::from);
        let mut command = Command::new("nsenter");
        if self.is_older() && previous.is_none() {
            command.env(OLDER, "1");
        }
        command
            .arg(format!("--net={}", net::file(&self.place.namespace).display()))
            .arg(previous.as_ref().unwrap_or(&self.binary))
            .args(["start", "--until-stdin-closes", "--config"])
            .arg(&self.member.lock().unwrap_or_else(PoisonError::into_inner).1)
            .arg("--set")
            .arg(format!("node.data={}", self.disk.mount_point.join("data").display()));
        for setting in &self.settings {
            command.arg("--set").arg(setting);
        }
        if let Some(clock) = &self.clock {
            command
                .env("LD_PRELOAD", super::FAKETIME)
                .env("FAKETIME_TIMESTAMP_FILE", clock)
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        if let Some(orders) = self.orders.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            command.env(FAIL_POINTS, orders);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(log).stderr(log_too).spawn().context("starting a node")?;
        let stdin = child.stdin.take();
        *running = Some(Running { child, stdin });
        Ok(())
    }

    /// Whether it is of the release before the one under test when it starts next.
    pub fn is_older(&self) -> bool {
        self.older.load(Ordering::Relaxed)
    }

    /// From its next start on it is of the release before the one under test, or of that.
    pub fn set_older(&self, is_older: bool) {
        self.older.store(is_older, Ordering::Relaxed);
    }

    /// Sets what it is told to do at its fail points when it starts next.
    pub fn order(&self, orders: Option<String>) {
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = orders;
    }

    /// The fail points of its binary, each with its part, one a line.
    ///
    /// # Errors
    /// The binary has none.
    pub fn fail_points(&self) -> anyhow::Result<String> {
        let output = Command::new(&self.binary).env(FAIL_POINTS, "list").arg("--version").output().context("running the binary under test")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// How much it has written to its log.
    pub fn log_bytes(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |meta| meta.len())
    }

    /// What it has written to its log from there on; the last [`LOG_BYTES_MAX`] of it.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn log_since(&self, from: u64) -> anyhow::Result<String> {
        let mut file = File::open(&self.log).context("reading a node's log")?;
        let from = from.max(self.log_bytes().saturating_sub(LOG_BYTES_MAX));
        file.seek(SeekFrom::Start(from)).context("reading a node's log")?;
        let mut text = Vec::new();
        file.take(LOG_BYTES_MAX).read_to_end(&mut text).context("reading a node's log")?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Its process, if it runs.
    pub fn pid(&self) -> Option<i32> {
        let mut running = self.lock();
        let running = running.as_mut()?;
        matches!(running.child.try_wait(), Ok(None)).then(|| running.child.id() as i32)
    }

    /// How it ended, if it ended by itself.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.lock().as_mut().and_then(|running| running.child.try_wait().ok().flatten())
    }

    /// SIGKILL. Says whether that was its end: false if it had ended before.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn kill(&self) -> anyhow::Result<bool> {
        let Some(mut running) = self.lock().take() else { return Ok(false) };
        running.child.kill().ok();
        let status = running.child.wait().context("waiting for a killed node")?;
        Ok(status.signal() == Some(Signal::SIGKILL as i32))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.name()))?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("sending {signal} to {}", self.name()))
    }

    /// Whether the kernel holds its process stopped.
    pub fn is_stopped(&self) -> bool {
        let stat = self.pid().and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        stat.and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().starts_with('T'))).unwrap_or(false)
    }

    /// Stops all its threads, each at the end of what it asks of the kernel, and waits for that. SIGCONT lets it go on.
    ///
    /// # Errors
    /// It does not run, or a call to the kernel does not end.
    pub async fn hold(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let deadline = Instant::now() + STOP_WITHIN;
        while !self.are_threads_stopped() {
            if Instant::now() > deadline {
                self.signal(Signal::SIGCONT).ok();
                bail!("{} cannot be stopped in the middle", self.name());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn are_threads_stopped(&self) -> bool {
        let Some(tasks) = self.pid().and_then(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok()) else { return true };
        // A thread that is gone is as good as stopped.
        tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok()).all(|stat| {
            let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
            state.is_none_or(|state| state.starts_with(['T', 't']))
        })
    }

    /// Asks it to stop and waits; kills it if it takes too long. Says whether it stopped by itself.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub async fn stop(&self) -> anyhow::Result<bool> {
        if let Some(running) = self.lock().as_mut() {
            drop(running.stdin.take());
        }
        let deadline = Instant::now() + STOP_WITHIN;
        while self.pid().is_some() {
            if Instant::now() > deadline {
                self.kill()?;
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
        self.lock().take();
        Ok(true)
    }

    /// Waits until it is ready for clients.
    ///
    /// # Errors
    /// It ended, or takes too long.
    pub async fn ready(&self, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            if self.is_ready() {
                return Ok(());
            }
            if let Some(status) = self.ended() {
                bail!("{} ended by itself: {status}", self.name());
            }
            if Instant::now() > deadline {
                bail!("{} was not ready within {} s", self.name(), within.as_secs());
            }
            tokio::time::sleep(POLL * 3).await;
        }
    }

    fn is_ready(&self) -> bool {
        let ask = || -> io::Result<bool> {
            let address = SocketAddr::from((self.place.address, HTTP_PORT));
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
            let mut head = [0; 12];
            stream.read_exact(&mut head)?;
            Ok(head.ends_with(b" 200"))
        };
        ask().unwrap_or(false)
    }

    /// A counter or gauge of its metrics, by the whole name of its series; none if it does not answer or has none of that name.
    pub fn metric(&self, series: &str) -> Option<u64> {
        let address = SocketAddr::from((self.place.address, HTTP_PORT));
        let ask = || -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        let text = ask().ok()?;
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok())
    }

    /// Shifts its wall clock from the real one, where the run does that.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn shift_clock(&self, ms: i64) -> anyhow::Result<()> {
        let path = self.clock.as_ref().context("this run does not shift clocks")?;
        std::fs::write(path, format!("{:+}.{:03}\n", ms / 1_000, (ms % 1_000).abs())).context("shifting a clock")
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        // Each change is one assignment, so a panic elsewhere leaves it whole.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
