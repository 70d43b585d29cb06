//! Limits of a process by control groups of version 1: a share of a CPU, an amount of memory.
//!
//! In: a process. Out: the same process in a group of its own with a limit, and how often the limit bit. Invariants: a group holds only processes that
//! were put there; removing it puts them back where they were; its folder is noted first, so that a crash's groups are found. Not here: which limit, when.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Length of a period of CPU time, in microseconds.
const PERIOD_US: u64 = 100_000;
/// File that names the groups of a run.
const NOTES: &str = "control-groups";

/// A group with a limit.
#[derive(Debug)]
pub struct Limit {
    group: PathBuf,
    home: PathBuf,
}

impl Limit {
    /// A group that gets this many percent of one CPU.
    ///
    /// # Errors
    /// This machine has no such groups.
    pub fn cpu(run_folder: &Path, name: &str, percent: u64) -> anyhow::Result<Self> {
        let limit = Self::make(run_folder, "cpu", name)?;
        limit.set("cpu.cfs_period_us", PERIOD_US)?;
        limit.set("cpu.cfs_quota_us", PERIOD_US * percent / 100)?;
        Ok(limit)
    }

    /// A group whose memory can be bounded by [`Limit::bound_memory`].
    ///
    /// # Errors
    /// This machine has no such groups.
    pub fn memory(run_folder: &Path, name: &str) -> anyhow::Result<Self> {
        Self::make(run_folder, "memory", name)
    }

    fn make(run_folder: &Path, controller: &str, name: &str) -> anyhow::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("reading the mounts")?;
        let own = fs::read_to_string("/proc/self/cgroup").context("reading this process's groups")?;
        let home = home(&mounts, &own, controller).with_context(|| format!("this machine has no control groups (version 1) for {controller}"))?;
        let home = if home.is_dir() { home } else { bail!("{} is not there", home.display()) };
        let group = home.join(format!("kithj-{}-{name}", std::process::id()));
        let mut notes = OpenOptions::new().create(true).append(true).open(run_folder.join(NOTES)).context("noting a control group")?;
        writeln!(notes, "{}", group.display()).context("noting a control group")?;
        fs::create_dir_all(&group).with_context(|| format!("making {}", group.display()))?;
        Ok(Self { group, home })
    }

    /// Puts a process into it.
    ///
    /// # Errors
    /// It is gone.
    pub fn add(&self, process: i32) -> anyhow::Result<()> {
        self.set("cgroup.procs", process as u64)
    }

    /// Periods in which the CPU share was used up.
    pub fn throttled(&self) -> u64 {
        self.field("cpu.stat", "nr_throttled")
    }

    /// Processes that the kernel killed for want of memory.
    pub fn killed(&self) -> u64 {
        self.field("memory.oom_control", "oom_kill")
    }

    /// Bytes that its processes use and no file backs.
    pub fn memory_held(&self) -> u64 {
        self.field("memory.stat", "rss ")
    }

    /// Bytes that its processes use.
    pub fn memory_used(&self) -> u64 {
        fs::read_to_string(self.group.join("memory.usage_in_bytes")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Bounds its memory. Less than what cannot be freed is refused by the kernel.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn bound_memory(&self, bytes: u64) -> anyhow::Result<()> {
        self.set("memory.limit_in_bytes", bytes)
    }

    /// Puts its processes back and removes it.
    pub fn remove(self) {
        remove(&self.group, &self.home);
    }

    fn set(&self, file: &str, value: u64) -> anyhow::Result<()> {
        let path = self.group.join(file);
        fs::write(&path, value.to_string()).with_context(|| format!("writing {value} to {}", path.display()))
    }

    fn field(&self, file: &str, name: &str) -> u64 {
        let text = fs::read_to_string(self.group.join(file)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
    }
}

/// Where a controller's groups of this process are.
fn home(mounts: &str, own: &str, controller: &str) -> Option<PathBuf> {
    let has = |list: &str| list.split(',').any(|one| one == controller);
    let point = mounts.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, point, "cgroup", options, ..] = words[..] else { return None };
        has(options).then_some(point)
    })?;
    let path = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        has(parts.next()?).then(|| parts.next())?
    })?;
    Some(Path::new(point).join(path.trim_start_matches('/')))
}

fn remove(group: &Path, home: &Path) {
    for process in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().split_whitespace() {
        // Gone already is as good.
        let _ = fs::write(home.join("cgroup.procs"), process);
    }
    // A killed process leaves its group a moment after it was waited for.
    for _ in 0..20 {
        if !group.is_dir() || fs::remove_dir(group).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    eprintln!("warning: {} cannot be removed", group.display());
}

/// Removes the groups that a run left.
pub(super) fn sweep(run_folder: &Path) {
    let notes = run_folder.join(NOTES);
    for group in fs::read_to_string(&notes).unwrap_or_default().lines().map(Path::new) {
        if let Some(home) = group.parent().filter(|_| group.is_dir()) {
            remove(group, home);
        }
    }
    // Not there is as good.
    let _ = fs::remove_file(notes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_a_controller_is_its_mount_and_the_own_path() {
        let mounts = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let own = "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/";
        assert_eq!(home(mounts, own, "cpu"), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(home(mounts, own, "memory"), Some(PathBuf::from("/sys/fs/cgroup/memory/a/b")));
        assert_eq!(home(mounts, own, "io"), None);
        assert_eq!(home("cgroup2 /sys/fs/cgroup cgroup2 rw,cpu 0 0", own, "cpu"), None, "version 2 has other files");
    }
}
