//! Links between nodes.
//!
//! In: asks, tells and raft frames for another node. Out: the same from it, to [`Inbound`]. One connection and one multiplexed stream per
//! ordered pair; what A asks and tells goes over the stream that A opened.

pub mod inbound;
pub use inbound::Inbound;
