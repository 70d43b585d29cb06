//! The words of a text: what is indexed, what a query is made of, and what is compared.
//!
//! In: a text of any script. Out: its words, folded, each with its place. Words end where Unicode says so (UAX 29), and at every sign that is no
//! letter, digit or mark, so that `example.com` is two words and `l'eau` is found by `eau`. Scripts that put no blank between words give
//! pairs of neighbouring characters, and the last character of each run alone, so that every character begins a word. Emoji are words.
//! Bounds: [`WORD_CHARS_MAX`]. Invariant: positions are 0, 1, 2, …

use std::ops::Range;

use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

use crate::fold::fold;

/// Letters of a word that count.
pub(crate) const WORD_CHARS_MAX: usize = 64;
/// Letters of one character with all its marks that count.
const UNIT_CHARS_MAX: usize = 8;

/// A word of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// Folded.
    pub text: String,
    /// Where it stands in the text, in bytes.
    pub at: Range<usize>,
    /// Where its first character ends: before `at.end` for a pair only.
    pub first_end: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a word is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// As its script has it.
    Whole,
    /// Two neighbouring characters of a script without blanks.
    Pair,
    /// The last character of a run of pairs.
    Last,
    /// The only character of its run.
    Single,
}

/// All words of a text, in order.
pub fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::with_capacity(text.len() / 6 + 1);
    if text.is_ascii() {
        ascii(text, &mut found);
    } else {
        Splitter { text, run: 0..0, found: &mut found }.split();
    }
    found
}

/// The common case, ten times as fast; it gives what the general way gives.
fn ascii(text: &str, found: &mut Vec<Word>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let end = bytes[at..].iter().position(|byte| !byte.is_ascii_alphanumeric()).map_or(bytes.len(), |length| at + length);
        let cut = end.min(at + WORD_CHARS_MAX);
        found.push(Word { text: text[at..cut].to_ascii_lowercase(), at: at..end, first_end: end, kind: Kind::Whole });
        at = end;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    /// A letter or digit of a script that has blanks.
    Letter,
    /// Of a script that has none.
    Dense,
    Emoji,
    /// Belongs to what stands before it.
    Mark,
    /// Ends a word.
    Other,
}

struct Splitter<'a> {
    text: &'a str,
    /// Of a script without blanks, not given out yet.
    run: Range<usize>,
    found: &'a mut Vec<Word>,
}

impl Splitter<'_> {
    fn split(mut self) {
        for (start, segment) in self.text.split_word_bound_indices() {
            self.split_segment(start, segment);
        }
        self.end_run();
    }

    fn split_segment(&mut self, start: usize, segment: &str) {
        let mut part: Option<(Class, usize)> = None;
        for (offset, c) in segment.char_indices() {
            let at = start + offset;
            match (class(c), part) {
                (Class::Mark, _) => {}
                (class, Some((held, _))) if class == held => {}
                (class, held) => {
                    if let Some((class, from)) = held {
                        self.take(class, from..at);
                    }
                    part = (class != Class::Other).then_some((class, at));
                }
            }
        }
        if let Some((class, from)) = part {
            self.take(class, from..start + segment.len());
        }
    }

    fn take(&mut self, class: Class, at: Range<usize>) {
        if class == Class::Dense && !self.run.is_empty() && self.run.end == at.start {
            self.run.end = at.end;
            return;
        }
        self.end_run();
        if class == Class::Dense {
            self.run = at;
            return;
        }
        let text = clean(&self.text[at.clone()], WORD_CHARS_MAX, class == Class::Emoji);
        if !text.is_empty() {
            self.found.push(Word { text, first_end: at.end, at, kind: Kind::Whole });
        }
    }

    /// Gives out the pairs of a run.
    fn end_run(&mut self) {
        let run = std::mem::replace(&mut self.run, 0..0);
        let unit = |(offset, unit): (usize, &str)| {
            let from = run.start + offset;
            (from..from + unit.len(), clean(unit, UNIT_CHARS_MAX, false))
        };
        let mut units = self.text[run.clone()].grapheme_indices(true).map(unit).filter(|(_, text)| !text.is_empty());
        let Some(mut held) = units.next() else { return };
        let mut kind = Kind::Single;
        for next in units {
            let text = format!("{}{}", held.1, next.1);
            self.found.push(Word { text, at: held.0.start..next.0.end, first_end: held.0.end, kind: Kind::Pair });
            (held, kind) = (next, Kind::Last);
        }
        let (at, text) = held;
        self.found.push(Word { text, first_end: at.end, at, kind });
    }
}

/// Folded, without what is not seen, cut.
fn clean(text: &str, chars_max: usize, is_emoji: bool) -> String {
    let counts = |c: &char| c.is_alphanumeric() || (is_emoji && class(*c) == Class::Emoji) || (is_combining_mark(*c) && !is_selector(*c));
    fold(text).chars().filter(counts).take(chars_max).collect()
}

fn class(c: char) -> Class {
    match c {
        _ if c.is_ascii() => {
            if c.is_ascii_alphanumeric() {
                Class::Letter
            } else {
                Class::Other
            }
        }
        // Joiners and soft hyphens stand inside words; selectors and skin tones follow what they change.
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0020}'..='\u{e007f}' => Class::Mark,
        _ if is_combining_mark(c) => Class::Mark,
        _ if is_emoji(c) => Class::Emoji,
        _ if !c.is_alphanumeric() => Class::Other,
        _ if is_dense(c) => Class::Dense,
        _ => Class::Letter,
    }
}

const fn is_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}')
}

/// Pictures: miscellaneous symbols, dingbats, regional indicators, and the planes of emoji.
const fn is_emoji(c: char) -> bool {
    matches!(c, '\u{203c}' | '\u{2049}' | '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}' | '\u{25a0}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}

/// Scripts that put no blanks between words: Thai, Lao, Myanmar, Khmer and their kin, Hangul (which has blanks, but endings too), kana,
/// Bopomofo, Han.
const fn is_dense(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}' | '\u{1950}'..='\u{19ff}'
        | '\u{1a20}'..='\u{1aaf}' | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{a960}'..='\u{a97f}' | '\u{a9e0}'..='\u{a9ff}' | '\u{aa60}'..='\u{aa7f}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ffdc}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_end_at_blanks_and_signs_and_are_folded() {
        assert_eq!(
            of("Hello, WORLD! it's https://example.com/a_b?c=3.14"),
            ["hello", "world", "it", "s", "https", "example", "com", "a", "b", "c", "3", "14"]
        );
        assert_eq!(of("Grüße aus Ωδός, ЁЖ"), ["grüsse", "aus", "ωδόσ", "ёж"]);
        assert_eq!(of("שלום עולם مرحبا بالعالم नमस्ते दुनिया"), ["שלום", "עולם", "مرحبا", "بالعالم", "नमस्ते", "दुनिया"]);
        assert_eq!(of("می\u{200c}خواهم"), of("میخواهم"));
        assert_eq!(of(""), [""; 0]);
        assert_eq!(of("... !!! —"), [""; 0]);
    }

    #[test]
    fn scripts_without_blanks_give_pairs_and_the_last_character() {
        assert_eq!(of("山田太郎"), ["山田", "田太", "太郎", "郎"]);
        assert_eq!(of("山"), ["山"]);
        assert_eq!(of("hello世界ok"), ["hello", "世界", "界", "ok"]);
        assert_eq!(of("カメラ ｶﾒﾗ"), ["カメ", "メラ", "ラ", "カメ", "メラ", "ラ"]);
        assert_eq!(of("서울에"), ["서울", "울에", "에"]);
        assert_eq!(of("ไทย").len(), 3);
        let kinds: Vec<Kind> = words("山田 山 ok").into_iter().map(|word| word.kind).collect();
        assert_eq!(kinds, [Kind::Pair, Kind::Last, Kind::Single, Kind::Whole]);
    }

    #[test]
    fn emoji_are_words() {
        assert_eq!(of("nice 🦀🦀 ❤️"), ["nice", "🦀", "🦀", "❤"]);
        assert_eq!(of("👨‍👩‍👧").len(), 1);
    }

    proptest! {
        #[test]
        fn both_ways_give_the_same_for_ascii(text in "[ -~\n\t]{0,80}") {
            let (mut quick, mut general) = (Vec::new(), Vec::new());
            ascii(&text, &mut quick);
            Splitter { text: &text, run: 0..0, found: &mut general }.split();
            prop_assert_eq!(quick, general);
        }

        #[test]
        fn places_are_in_the_text_and_rise(text in "\\PC{0,60}") {
            let mut before = 0;
            for word in words(&text) {
                prop_assert!(text.get(word.at.clone()).is_some() && text.is_char_boundary(word.first_end));
                prop_assert!(word.at.start >= before && word.at.start < word.first_end && word.first_end <= word.at.end);
                prop_assert!(!word.text.is_empty() && word.text.chars().count() <= WORD_CHARS_MAX);
                before = word.at.start + 1;
            }
        }

        #[test]
        fn what_is_folded_has_the_same_words(text in "[ -~äöüßéΣςдё山田カが한국ไทย]{0,40}") {
            prop_assert_eq!(of(&text), of(&fold(&text)));
        }
    }
}
