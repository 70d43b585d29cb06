//! The one place that reads the clock.

use std::time::Instant;

use kith_client::wire::id::Timestamp;

/// What time it is, as people count it.
#[expect(clippy::disallowed_methods, reason = "this is the clock seam")]
pub(crate) fn wall() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// For spans.
#[expect(clippy::disallowed_methods, reason = "this is the clock seam")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}
