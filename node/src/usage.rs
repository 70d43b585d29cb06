//! What processes have used: processor time and memory, as Linux tells.
//!
//! Out: seconds, bytes; nothing for a process that is gone. Not here: whose they are.

use std::{fs, path::Path};

/// Ticks a second of the times in `/proc`: a constant of Linux's interface, whatever the kernel's own.
const TICKS_PER_S: f64 = 100.0;

/// Processor seconds, user and system, of all these processes since they began.
pub fn cpu_seconds(processes: &[u32]) -> f64 {
    processes.iter().filter_map(|process| cpu_ticks(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)).sum::<u64>() as f64 / TICKS_PER_S
}

/// Seconds that all processors of the machine together were busy since it began, whoever with; `None` where that is not told.
pub fn machine_busy_seconds() -> Option<f64> {
    busy_ticks(&fs::read_to_string("/proc/stat").ok()?).map(|ticks| ticks as f64 / TICKS_PER_S)
}

/// Bytes that a process has had read from storage, not from the page cache; `None` when it is gone or not ours.
pub fn read_bytes(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("read_bytes:"))?.trim().parse().ok()
}

/// Bytes of all files below a folder; those that vanish meanwhile are not counted.
pub fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => folder_bytes(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// Resident bytes of a process; `None` when it is gone.
pub fn resident_bytes(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// How often this thread has gone to sleep of its own accord, and so was woken up; `None` where that is not told.
pub fn thread_wakeups() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/status").ok()?;
    text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

/// Fields 14 and 15 of `stat`; the name before them may hold anything, and ends with the last parenthesis.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// All of the first line of `stat` but the times of idleness and of waiting for the disk, and the guests', which are in the others.
fn busy_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<u64> = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().take(8).flat_map(str::parse).collect();
    (fields.len() == 8).then(|| fields.iter().sum::<u64>() - fields[3] - fields[4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        assert_eq!(cpu_ticks("7 (a) b) R 1 7 7 0 -1 0 1 2 3 4 250 50 0 0 20 0 1 0 100 200 300"), Some(300));
        assert_eq!(cpu_ticks("7 nothing"), None);
    }

    #[test]
    fn idle_processors_are_not_busy() {
        assert_eq!(busy_ticks("cpu  10 1 20 1000 50 3 4 5 6 7\ncpu0 1 1 1 1"), Some(43));
        assert_eq!(busy_ticks("cpu 1 2"), None);
    }

    #[test]
    fn own_use_can_be_read() {
        let me = [std::process::id()];
        assert!(resident_bytes(me[0]).is_some_and(|bytes| bytes > 1 << 20) && cpu_seconds(&me) >= 0.0);
        assert_eq!((resident_bytes(u32::MAX), cpu_seconds(&[u32::MAX])), (None, 0.0));
        let before = thread_wakeups();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(thread_wakeups() > before && before.is_some());
    }
}
