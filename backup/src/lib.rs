//! kith-backup: what a backup of a cluster is made of, and the place where backups lie.
//!
//! In: rows as bytes (a packed key and a body), group by group, in the order of their keys. Out: objects at a place (a folder), a
//! manifest that is written last, and all of it back, checked.
//!
//! ```text
//! backups/<id>.json     manifest of one backup: groups, indexes, owned buckets, and the lists of their chunks; its own checksum. Written last
//! objects/<ab>/<sha256> chunks (rows) and lists (of chunks), named by the SHA-256 of what is in them; shared by all backups of the place
//! erased/<id>           users that were erased when the backup was taken; stays when the backup goes
//! lock                  there while a backup is made or one is deleted
//! ```
//! **Why so.** Chunks end at rows that their keys choose ([`chunk`]), so that the same rows make the same chunks, whatever was added elsewhere: a
//! backup into a place that has one writes only chunks that are new there, and each backup is whole by itself: none hangs on another, any may go.
//! No log is kept, no chain to replay, and the same check finds what is missing or damaged in any of them. The price: each backup reads all rows.
//!
//! Invariants: a manifest names only objects that were written before it; what is read is compared with its name; any bytes are a manifest, a list,
//! a chunk, or a typed error. Bounds: one chunk in memory per reader and writer, and 32 bytes for each chunk of the backup before.
//! Not here: what a row means, groups, cuts, nodes (whoever makes one).

pub mod chunk;
pub mod depot;
pub mod manifest;
pub mod object;
pub mod place;
pub mod plan;
pub mod verify;

pub use chunk::{Chunk, ChunkError, Cutter, RowBytes};
pub use depot::{Depot, DepotError, Sealed, Summary};
pub use manifest::{Group, Manifest, ManifestError, Run};
pub use object::{Digest, ObjectError};
pub use place::{Place, PlaceError};
