//! `name`: user names, by folded name.

use super::{Cursor, KeyError};
use crate::view::RowKey;

pub(super) fn encode(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(name.as_bytes());
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    let name = std::str::from_utf8(cursor.rest()).map_err(|_| KeyError::Name)?;
    Ok(RowKey::Name(name.to_owned()))
}
