//! What the fuzz targets need of parsers that nobody else may call. No API.

use kith_wire::id::StoreId;

use crate::stand;

/// Where an index of this store stands, as it is found on a disk, and written again.
pub fn stands(store: StoreId, payload: &str) -> Option<String> {
    stand::decode(store, payload).map(|stands| stand::encode(store, &stands))
}
