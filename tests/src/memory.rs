//! How much memory this process holds: a test runs in a process of its own, with all nodes of its cluster.
//!
//! Out: bytes. Linux only, as the product. Not here: what holds them.

/// Bytes of this process that are in memory.
///
/// # Panics
/// The kernel does not say.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells about this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line with the resident memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number of KiB");
    kib << 10
}
