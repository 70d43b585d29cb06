//! kith-raft
