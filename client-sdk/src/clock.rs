//! The one place of the SDK that reads a clock; the core is handed the time.

use std::time::Instant;

/// Monotonic time, for deadlines.
#[expect(clippy::disallowed_methods, reason = "this is the clock seam")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
