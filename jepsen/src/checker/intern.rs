//! Names as small numbers, exactly: texts live once, in one arena, and are compared.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A hasher for keys that are small numbers or hashes already.
#[derive(Default, Clone)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn write_u64(&mut self, n: u64) {
        let mixed = (self.0.rotate_left(23) ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 29);
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}

pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// A 64-bit hash of a text, the same in every run.
pub(crate) fn hash(text: &str) -> u64 {
    let mut state = Mix(text.len() as u64);
    let mut chunks = text.as_bytes().chunks_exact(8);
    for chunk in &mut chunks {
        state.write_u64(u64::from_le_bytes(chunk.try_into().expect("chunks of eight")));
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    state.write_u64(u64::from_le_bytes(last));
    state.write_u64(0x5bd1_e995);
    state.finish()
}

/// Texts to numbers from 0, dense, and back.
#[derive(Default)]
pub(crate) struct Interner {
    text: String,
    ends: Vec<usize>,
    known: Map<u64, u32>,
}

impl Interner {
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        let mut hash = hash(text);
        // Where two texts share a hash, the second lives at the next free one.
        while let Some(&number) = self.known.get(&hash) {
            if self.text(number) == text {
                return number;
            }
            hash = hash.wrapping_add(1);
        }
        let number = u32::try_from(self.ends.len()).expect("fewer than 2^32 names fit the memory");
        self.text.push_str(text);
        self.ends.push(self.text.len());
        self.known.insert(hash, number);
        number
    }

    pub(crate) fn text(&self, number: u32) -> &str {
        let at = number as usize;
        let from = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[from..self.ends[at]]
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_lead_back_to_their_texts() {
        let mut names = Interner::default();
        let texts: Vec<String> = (0..10_000).map(|n| format!("m{n}")).chain([String::new()]).collect();
        for (n, text) in texts.iter().enumerate() {
            assert_eq!(names.number(text), n as u32);
        }
        for (n, text) in texts.iter().enumerate() {
            assert_eq!((names.number(text), names.text(n as u32)), (n as u32, text.as_str()));
        }
        assert_eq!(names.len(), texts.len());
    }
}
