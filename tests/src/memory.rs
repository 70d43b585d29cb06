//! How much memory this process keeps: a test runs in a process of its own, with all nodes of its cluster and their clients.
//!
//! Out: live bytes, as the allocator counts them: what is given back at once does not show, nor what the system's own allocator or the
//! kernel keeps in stock, which resident memory has in it and which differs between machines. Not here: what holds them; RocksDB's share
//! (memtables, block cache), which is C++'s and has limits of its own.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Bytes that this process has allocated and not freed.
///
/// # Panics
/// The allocator does not say.
pub fn live_bytes() -> u64 {
    kith::telemetry::live_bytes().expect("the allocator's figure of live bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_shows_and_what_is_freed_does_not() {
        const MIB: u64 = 1 << 20;
        let before = live_bytes();
        let kept = (0..64).map(|_| vec![1_u8; 1 << 20]).collect::<Vec<_>>();
        let with = live_bytes();
        drop(kept);
        let after = live_bytes();
        // The test's own thread frees and takes a little meanwhile.
        assert!(with > before + 63 * MIB && after < before + MIB, "live bytes: {before}, {with} with 64 MiB more, {after} after");
    }
}
