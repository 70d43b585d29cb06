//! The demo cluster, replay, verdict.
