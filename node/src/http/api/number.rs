//! Numbers as callers give them: at most 2^53 - 1, so that every reader of JSON takes each as it is.
//!
//! In: a field of a body or a query. Out: the number, or why it is none. For `#[serde(deserialize_with)]`; seqs begin at 1.

use serde::{Deserialize, Deserializer, de::Error};

/// A number.
pub(super) fn any<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    check(u64::deserialize(from)?, 0)
}

/// A number from 1 on.
pub(super) fn from_one<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    check(u64::deserialize(from)?, 1)
}

/// A number, or none.
pub(super) fn maybe<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Option::<u64>::deserialize(from)?.map(|number| check(number, 0)).transpose()
}

/// A number from 1 on, or none.
pub(super) fn maybe_from_one<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Option::<u64>::deserialize(from)?.map(|number| check(number, 1)).transpose()
}

fn check<E: Error>(number: u64, least: u64) -> Result<u64, E> {
    match number {
        number if number < least => Err(E::custom("it begins at 1")),
        number if number > MAX => Err(E::custom("numbers end at 2^53")),
        number => Ok(number),
    }
}

/// The largest number that every reader of JSON takes as it is; times that never come end here.
pub(super) const MAX: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Asked {
        #[serde(default, deserialize_with = "maybe_from_one")]
        seq: Option<u64>,
        #[serde(default, deserialize_with = "any")]
        at: u64,
    }

    #[test]
    fn numbers_end_where_some_reader_would_round_them() {
        let read = |text: &str| serde_json::from_str::<Asked>(text).map(|asked| (asked.seq, asked.at)).ok();
        assert_eq!(read("{}"), Some((None, 0)));
        assert_eq!(read(r#"{ "seq": null, "at": 0 }"#), Some((None, 0)));
        assert_eq!(read(r#"{ "seq": 1, "at": 9007199254740991 }"#), Some((Some(1), MAX)));
        for wrong in [r#"{ "seq": 0 }"#, r#"{ "seq": 9007199254740992 }"#, r#"{ "at": 9007199254740992 }"#, r#"{ "at": -1 }"#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        // As a query has them: the same functions, over text.
        let query = |text: &str| axum::extract::Query::<Asked>::try_from_uri(&text.parse().unwrap()).map(|asked| asked.seq).ok();
        assert_eq!((query("/?seq=7"), query("/?seq=0"), query("/")), (Some(Some(7)), None, Some(None)));
    }
}
