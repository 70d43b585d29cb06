//! What processes have used: processor time and memory, as Linux tells.
//!
//! Out: seconds, bytes; nothing for a process that is gone. Not here: whose they are.

use std::fs;

/// Ticks a second of the times in `/proc`: a constant of Linux's interface, whatever the kernel's own.
const TICKS_PER_S: f64 = 100.0;

/// Processor seconds, user and system, of all these processes since they began.
pub fn cpu_seconds(processes: &[u32]) -> f64 {
    processes.iter().filter_map(|process| cpu_ticks(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)).sum::<u64>() as f64 / TICKS_PER_S
}

/// Resident bytes of a process; `None` when it is gone.
pub fn resident_bytes(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Fields 14 and 15 of `stat`; the name before them may hold anything, and ends with the last parenthesis.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
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
    fn own_use_can_be_read() {
        let me = [std::process::id()];
        assert!(resident_bytes(me[0]).is_some_and(|bytes| bytes > 1 << 20) && cpu_seconds(&me) >= 0.0);
        assert_eq!((resident_bytes(u32::MAX), cpu_seconds(&[u32::MAX])), (None, 0.0));
    }
}
