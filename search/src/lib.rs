//! kith-search: words of any script, what somebody looks for, and the index of one node.
//!
//! In: records of conversations and where a log stands ([`Index::put`]), what a user typed ([`Query`]). Out: places of records that may match,
//! newest first ([`Candidates`]), and whether and where a text does match. Invariants: the index only proposes: who may read what it finds, and
//! whether that still matches, is said by the rows; no text is stored in it, only its words; where it stands is written with what it holds.
//! Bounds: [`Bounds`]. Blocks: the caller keeps it off the paths of messages. Not here: tokio, rows, who holds which group (the node).

mod excerpt;
mod fold;
#[doc(hidden)]
pub mod fuzz;
mod index;
mod page;
mod pending;
mod query;
mod stand;
mod tokens;
mod words;

pub use excerpt::{Excerpt, excerpt};
pub use fold::fold;
pub use index::{Bounds, Candidates, Filter, Index, IndexError, Opened, Stats};
pub use page::{Keyed, Part, merge};
pub use pending::Change;
pub use query::{Query, QueryError};
pub use stand::{Stand, Walk};
pub use words::{Kind, Word, words};
