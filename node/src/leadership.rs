//! Leader-only duties: begun when this node serves a group, cancelled when it no longer does.
//!
//! In: the leadership watch of each group. Out: `begin` and `end` calls, always paired, in order, per group. A duty is idempotent: two
//! leaders may overlap for a moment, and what must happen is a row that the next one walks again.

use kith_wire::id::{GroupId, Term};

/// What a leader does besides serving proposals.
pub trait Duty: Send + Sync + 'static {
    /// This node leads the group and has applied the first entry of its term. Must not block: spawn.
    fn begin(&self, group: GroupId, term: Term);
    /// It no longer does. Must not block.
    fn end(&self, group: GroupId, term: Term);
}
