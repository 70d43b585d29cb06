//! `word`: the search index, by word, then by user. No word has a zero in it, so that shorter words come before longer ones.

use kith_wire::{
    id::{GroupId, UserId},
    log::bucket_of_word,
};

use super::{Cursor, Family, KeyError, after_prefix, prefix};
use crate::view::RowKey;

pub(super) fn encode(out: &mut Vec<u8>, word: &str, user: UserId) {
    out.extend_from_slice(word.as_bytes());
    out.push(0);
    out.extend_from_slice(&user.get().to_be_bytes());
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    let (head, user) = cursor.rest().split_last_chunk::<8>().ok_or(KeyError::Short)?;
    let (zero, word) = head.split_last().ok_or(KeyError::Short)?;
    let word = std::str::from_utf8(word).map_err(|_| KeyError::Name)?;
    if *zero != 0 || word.contains('\0') {
        return Err(KeyError::Word);
    }
    Ok(RowKey::Word(word.to_owned(), UserId::new(u64::from_be_bytes(*user))))
}

pub(super) fn range(group: GroupId, begin: &str) -> (Family, Vec<u8>, Vec<u8>) {
    let mut from = prefix(group, bucket_of_word(begin));
    from.extend_from_slice(begin.as_bytes());
    let to = after_prefix(&from);
    (Family::Word, from, to)
}
