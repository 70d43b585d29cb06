//! Per-session outbound queue.
