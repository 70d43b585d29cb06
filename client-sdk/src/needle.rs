//! Whether a text has what is looked for, without an index: as somebody types it, in any script.
//!
//! In: a query as it is typed, texts. Out: an excerpt with marks. Rules: texts are compared folded (NFKC, lower case); a word is found where a word begins,
//! in scripts without blanks anywhere; `-unwanted` is a whole word. Bounds: those of a query of the cluster. Not here: the cluster's index, which knows more
//! (stems, whole words).

use kith_wire::limit::{EXCERPT_CHARS_MAX, EXCERPT_MARKS_MAX, QUERY_WORDS_MAX};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// What is looked for; one without words finds every text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Needle {
    wanted: Vec<Vec<char>>,
    unwanted: Vec<Vec<char>>,
}

/// Characters of the excerpt before the first mark.
const BEFORE: usize = 40;

impl Needle {
    pub(crate) fn new(query: &str) -> Self {
        let mut needle = Self::default();
        let mut rest = query;
        while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
            rest = &rest[start..];
            let is_unwanted = rest.starts_with('-');
            rest = rest.trim_start_matches('-');
            let (part, after) = match rest.strip_prefix('"') {
                Some(phrase) => phrase.split_once('"').unwrap_or((phrase, "")),
                None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
            };
            rest = after;
            let folded: Vec<char> = Folded::new(part).chars.into_iter().map(|(c, _)| c).collect();
            let word = trim(&folded);
            let list = if is_unwanted { &mut needle.unwanted } else { &mut needle.wanted };
            if !word.is_empty() && list.len() < QUERY_WORDS_MAX {
                list.push(word.to_vec());
            }
        }
        needle
    }
    /// An excerpt of a text that has it, and where, in Unicode scalar values of the excerpt: (first, how many), rising, apart.
    pub(crate) fn find(&self, text: &str) -> Option<(String, Vec<(u32, u32)>)> {
        let folded = Folded::new(text);
        let mut marks = Vec::new();
        for word in &self.wanted {
            let before = marks.len();
            marks.extend(folded.places(word).map(|at| folded.original(at, word.len())));
            if marks.len() == before {
                return None;
            }
        }
        if self.unwanted.iter().any(|word| folded.places(word).any(|at| folded.is_end(at + word.len()))) {
            return None;
        }
        marks.sort_unstable();
        let from = marks.first().map_or(0, |(first, _)| first.saturating_sub(BEFORE));
        let excerpt: String = text.chars().skip(from).take(EXCERPT_CHARS_MAX).collect();
        let length = excerpt.chars().count();
        let mut told: Vec<(u32, u32)> = Vec::new();
        let mut end = 0;
        for (first, last) in marks.into_iter().map(|(first, last)| (first - from, last - from)) {
            if first >= end && last <= length && told.len() < EXCERPT_MARKS_MAX {
                told.push((u32::try_from(first).unwrap_or(u32::MAX), u32::try_from(last - first).unwrap_or(u32::MAX)));
                end = last;
            }
        }
        Some((excerpt, told))
    }
}

/// A text as it is compared: each character with the place of what it came from. All that is no letter, digit or sign of its own is one blank.
struct Folded {
    chars: Vec<(char, usize)>,
    /// Characters of the text.
    length: usize,
}

impl Folded {
    fn new(text: &str) -> Self {
        let original: Vec<char> = text.chars().collect();
        let mut chars: Vec<(char, usize)> = Vec::with_capacity(original.len());
        let mut at = 0;
        while at < original.len() {
            let marks = original[at + 1..].iter().take_while(|c| is_combining_mark(**c)).count();
            let unit = &original[at..=at + marks];
            for c in unit.iter().copied().nfkc().flat_map(char::to_lowercase).flat_map(alike) {
                match is_of_word(c) {
                    true => chars.push((c, at)),
                    false if chars.last().is_some_and(|(last, _)| *last != ' ') => chars.push((' ', at)),
                    false => {}
                }
            }
            at += unit.len();
        }
        Self { chars, length: original.len() }
    }
    /// Where this word begins.
    fn places<'a>(&'a self, word: &'a [char]) -> impl Iterator<Item = usize> + 'a {
        let is_at = move |at: usize| self.chars[at..].iter().map(|(c, _)| c).take(word.len()).eq(word.iter());
        (0..(self.chars.len() + 1).saturating_sub(word.len())).filter(move |at| self.is_begin(*at) && is_at(*at))
    }
    fn is_begin(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.chars.get(before));
        before.is_none_or(|(c, _)| *c == ' ') || self.chars.get(at).is_some_and(|(c, _)| has_no_blanks(*c))
    }
    fn is_end(&self, at: usize) -> bool {
        self.chars.get(at).is_none_or(|(c, _)| *c == ' ' || has_no_blanks(*c))
    }
    /// First and end of it in the text.
    fn original(&self, at: usize, length: usize) -> (usize, usize) {
        let first = self.chars.get(at).map_or(self.length, |(_, from)| *from);
        // To where the next character begins that came from another one.
        let last = self.chars.get(at + length - 1).map_or(first, |(_, from)| *from);
        let end = self.chars[(at + length).min(self.chars.len())..].iter().map(|(_, from)| *from).find(|from| *from > last);
        (first, end.unwrap_or(self.length).min(last + self.unit_length(last)))
    }
    /// Characters that made this one: it and its marks, of which at most so many are shown.
    fn unit_length(&self, at: usize) -> usize {
        self.chars.iter().map(|(_, from)| *from).find(|from| *from > at).unwrap_or(self.length) - at
    }
}

/// Whether it stands for itself: letters, digits, and what comes after the signs of scripts with blanks (pictures, say).
fn is_of_word(c: char) -> bool {
    c.is_alphanumeric()
        || is_combining_mark(c)
        || (c >= '\u{203c}' && !matches!(c, '\u{3000}'..='\u{3004}' | '\u{3008}'..='\u{3020}' | '\u{fe00}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff0f}'))
}
/// Scripts from Thai on: where most put no blanks between words, a word is found anywhere.
const fn has_no_blanks(c: char) -> bool {
    c >= '\u{e00}'
}

/// What differs from another letter by its place or its writing only, as the cluster's index has it.
fn alike(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        'ς' => ('σ', None),
        'ß' => ('s', Some('s')),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
}

fn trim(mut chars: &[char]) -> &[char] {
    while let [' ', rest @ ..] | [rest @ .., ' '] = chars {
        chars = rest;
    }
    chars
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finds(query: &str, text: &str) -> bool {
        Needle::new(query).find(text).is_some()
    }
    fn marked(query: &str, text: &str) -> Vec<String> {
        let (excerpt, marks) = Needle::new(query).find(text).expect("it is there");
        marks.iter().map(|(first, count)| excerpt.chars().skip(*first as usize).take(*count as usize).collect()).collect()
    }

    #[test]
    fn words_are_found_in_any_order_case_and_script() {
        for (query, text) in [
            ("harbour night", "A NIGHT at the Harbour"),
            ("STRASSE", "Die Straße"),
            ("οδος", "ΟΔΟΣ"),
            ("é", "E\u{301}tude"),
            ("東京", "明日は東京へ"),
            ("京", "明日は東京へ"),
            ("привет", "ПРИВЕТ, мир"),
            ("مرحبا", "قال مرحبا"),
            ("🦀", "a crab 🦀!"),
            ("beginn*", "Beginning"),
            ("har", "harbour"),
            ("\"old town\"", "the OLD, town"),
            ("example", "at www.example.com"),
            ("", "anything"),
            ("harbour -fog", "harbour, foggy"),
        ] {
            assert!(finds(query, text), "{query:?} in {text:?}");
        }
        for (query, text) in [
            ("bour", "harbour"),
            ("\"town old\"", "the old town"),
            ("harbour -fog", "fog in the harbour"),
            ("harbour lights", "harbour"),
            ("e", "étude"),
        ] {
            assert!(!finds(query, text), "{query:?} in {text:?}");
        }
    }

    #[test]
    fn marks_show_what_was_found() {
        assert_eq!(marked("har nig", "A NIGHT at the Harbour"), ["NIG", "Har"]);
        assert_eq!(marked("strasse", "Die Straße."), ["Straße"]);
        assert_eq!(marked("etude e\u{301}", "etude E\u{301}!"), ["etude", "E\u{301}"]);
        let long = format!("{} needle {}", "x ".repeat(300), "y".repeat(300));
        let (excerpt, marks) = Needle::new("needle").find(&long).expect("it is there");
        assert_eq!((excerpt.chars().count(), marks), (EXCERPT_CHARS_MAX, vec![(BEFORE as u32, 6)]));
    }

    proptest! {
        #[test]
        fn any_text_gives_marks_within_its_excerpt(query in "\\PC{0,12}", text in "\\PC{0,40}") {
            if let Some((excerpt, marks)) = Needle::new(&query).find(&text) {
                let length = excerpt.chars().count();
                let mut end = 0;
                for (first, count) in marks {
                    prop_assert!(first as usize >= end && count > 0);
                    end = (first + count) as usize;
                    prop_assert!(end <= length);
                }
            }
        }

        #[test]
        fn every_word_of_a_text_is_found_in_it(text in "[a-zA-Zßéü東京ก ]{1,30}") {
            for word in text.split_whitespace() {
                prop_assert!(finds(word, &text), "{word:?}");
            }
        }
    }
}
