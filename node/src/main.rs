//! The one binary.

use tikv_jemallocator::Jemalloc;

/// The futures of requests are blocks of a few KiB, which the C library takes from its slow path: a seventh of all CPU under load.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> std::process::ExitCode {
    kith::cli::main()
}
