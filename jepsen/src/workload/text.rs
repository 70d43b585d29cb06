//! Texts of messages: each carries its unique name and a checksum of the rest, so that a reader knows what it has.

use std::borrow::Cow;

use kith_client::wire::limit::TEXT_CHARS_MAX;
use kith_client::wire::log::{Content, Record};

use crate::history::Item;
use crate::seed::Chance;

/// Longest payload, in bytes, that reads repeat in the history; longer ones are compared here, by their checksum.
const PAYLOAD_BYTES_KEPT: usize = 256;

/// A text for a message: mostly short, now and then up to the limit.
pub(crate) fn make(name: &str, chance: &mut Chance) -> String {
    let length = match chance.within(1, 400) {
        1 => TEXT_CHARS_MAX - name.len() - 10,
        2..=12 => chance.within(1_000, 8_000) as usize,
        _ => chance.within(1, 120) as usize,
    };
    with_length(name, length, chance)
}

/// A short text.
pub(crate) fn short(name: &str, chance: &mut Chance) -> String {
    with_length(name, 20, chance)
}

/// A text of one character more than may be.
pub(crate) fn oversize(name: &str, chance: &mut Chance) -> String {
    with_length(name, TEXT_CHARS_MAX + 1 - name.len() - 10, chance)
}

fn with_length(name: &str, length: usize, chance: &mut Chance) -> String {
    let filler: String = (0..length).map(|_| char::from(b'a' + chance.within(0, 25) as u8)).collect();
    format!("{name} {:08x} {filler}", crc32fast::hash(filler.as_bytes()))
}

/// What a record is in a history.
pub(crate) fn item(record: &Record) -> Item<'static> {
    let seq = record.at.seq.get();
    let Content::Text { text, .. } = &record.content else {
        return Item { seq, message: Cow::Owned(format!("sys:{}:{seq}", record.content.kind())), payload: None };
    };
    let mut parts = text.splitn(3, ' ');
    let (name, sum, filler) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_whole = u32::from_str_radix(sum, 16).is_ok_and(|sum| sum == crc32fast::hash(filler.as_bytes()));
    let keeps = text.len() <= PAYLOAD_BYTES_KEPT || !is_whole;
    Item { seq, message: Cow::Owned(name.to_owned()), payload: keeps.then(|| Cow::Owned(text.clone())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_texts_are_at_the_limit_and_one_over() {
        let mut chance = Chance::new(1);
        assert_eq!(with_length("a-1", TEXT_CHARS_MAX - 13, &mut chance).chars().count(), TEXT_CHARS_MAX);
        assert_eq!(oversize("a-1", &mut chance).chars().count(), TEXT_CHARS_MAX + 1);
    }
}
