//! What somebody looks for: words, phrases, beginnings of words, and what must not be there.
//!
//! In: what they typed. `blue boat` finds texts with both words, in any order; `"blue boat"` with one right after the other; `boa*` with words
//! that begin so; `-boat` without it. What has signs inside (`e-mail`, `example.com`) is a phrase; so is a run of a script without blanks.
//! Out: a parsed [`Query`], which says whether a text matches, and where. Bounds: `limit::QUERY_CHARS_MAX`, `limit::QUERY_WORDS_MAX`.

use std::ops::Range;

use kith_wire::limit;
use thiserror::Error;

use crate::words::{Kind, Word, words};

/// What is looked for. Empty: every text matches.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    pub(crate) clauses: Vec<Clause>,
}

/// Some words in a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Clause {
    /// Each with its distance from the first; never empty.
    pub(crate) words: Vec<(usize, String)>,
    /// The last one is only the beginning of a word.
    pub(crate) is_open: bool,
    /// The last one is one character of a script without blanks: what it begins is a pair.
    ends_unit: bool,
    /// No text that has it is looked for.
    pub(crate) is_unwanted: bool,
}

/// Why nothing can be looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum QueryError {
    /// Too many characters.
    #[error("a search has at most {} characters", limit::QUERY_CHARS_MAX)]
    TooLong,
    /// Too many words.
    #[error("a search has at most {} words", limit::QUERY_WORDS_MAX)]
    TooManyWords,
    /// No letter, digit or emoji.
    #[error("a search needs a word: signs alone are not found")]
    NoWords,
    /// Too many words begin so.
    #[error("type at least two letters before *")]
    TooOpen,
}

impl Query {
    /// What was typed. An empty text is an empty query.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > limit::QUERY_CHARS_MAX && text.chars().count() > limit::QUERY_CHARS_MAX {
            return Err(QueryError::TooLong);
        }
        let clauses = chunks(text).into_iter().filter_map(|chunk| clause(chunk).transpose()).collect::<Result<Vec<_>, _>>()?;
        match () {
            () if clauses.iter().map(|clause| clause.words.len()).sum::<usize>() > limit::QUERY_WORDS_MAX => Err(QueryError::TooManyWords),
            () if clauses.is_empty() && !text.trim().is_empty() => Err(QueryError::NoWords),
            () => Ok(Self { clauses }),
        }
    }
    /// Whether it names no word that a text must have.
    pub fn wants_nothing(&self) -> bool {
        self.clauses.iter().all(|clause| clause.is_unwanted)
    }
    /// Whether a text has what is looked for.
    pub fn matches(&self, text: &str) -> bool {
        let words = words(text);
        self.clauses.iter().all(|clause| clause.find(&words).next().is_some() != clause.is_unwanted)
    }
    /// Where in a text it stands, in bytes: rising, apart, none empty.
    pub fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let words = words(text);
        let mut spans: Vec<_> = self.clauses.iter().filter(|clause| !clause.is_unwanted).flat_map(|clause| clause.find(&words)).collect();
        spans.sort_by_key(|span| (span.start, span.end));
        let mut apart: Vec<Range<usize>> = Vec::with_capacity(spans.len());
        for span in spans {
            match apart.last_mut() {
                Some(before) if span.start <= before.end => before.end = before.end.max(span.end),
                _ => apart.push(span),
            }
        }
        apart
    }
}

impl Clause {
    fn find<'a>(&'a self, words: &'a [Word]) -> impl Iterator<Item = Range<usize>> + 'a {
        (0..words.len()).filter_map(move |from| {
            let last = self.words.len() - 1;
            let mut end = words[from].at.end;
            for (number, (offset, wanted)) in self.words.iter().enumerate() {
                let word = words.get(from + offset)?;
                let fits = if self.is_open && number == last { word.text.starts_with(wanted.as_str()) } else { word.text == *wanted };
                if !fits {
                    return None;
                }
                end = if self.ends_unit && number == last { word.first_end } else { word.at.end };
            }
            Some(words[from].at.start..end)
        })
    }
}

/// A part of what was typed.
struct Chunk<'t> {
    text: &'t str,
    is_open: bool,
    is_unwanted: bool,
}

/// Parts between blanks, or between quotes. A quote that is not closed is closed by the end.
fn chunks(text: &str) -> Vec<Chunk<'_>> {
    const QUOTES: [char; 6] = ['"', '“', '”', '„', '«', '»'];
    let mut chunks = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (is_unwanted, wanted) = match rest.strip_prefix('-') {
            Some(after) if !after.starts_with(char::is_whitespace) => (true, after),
            _ => (false, rest),
        };
        let (text, after) = match wanted.strip_prefix(QUOTES) {
            Some(quoted) => quoted.split_once(QUOTES).unwrap_or((quoted, "")),
            None => {
                wanted.split_once(|c: char| c.is_whitespace() || QUOTES.contains(&c)).map_or((wanted, ""), |(text, _)| (text, &wanted[text.len()..]))
            }
        };
        let open = text.strip_suffix('*');
        chunks.push(Chunk { text: open.unwrap_or(text), is_open: open.is_some(), is_unwanted });
        rest = after.trim_start();
    }
    chunks
}

fn clause(chunk: Chunk<'_>) -> Result<Option<Clause>, QueryError> {
    let found = words(chunk.text);
    // A pair has its second character already.
    let wanted: Vec<(usize, &Word)> = found.iter().enumerate().filter(|(_, word)| word.kind != Kind::Last).collect();
    let Some((first, _)) = wanted.first().copied() else { return Ok(None) };
    let last = wanted.last().map(|(_, word)| *word);
    let ends_unit = last.is_some_and(|word| word.kind == Kind::Single);
    let ends_open = chunk.is_open && last.is_some_and(|word| word.kind == Kind::Whole);
    if ends_open && last.is_some_and(|word| word.text.chars().nth(1).is_none()) {
        return Err(QueryError::TooOpen);
    }
    let words = wanted.into_iter().map(|(at, word)| (at - first, word.text.clone())).collect();
    Ok(Some(Clause { words, is_open: ends_open || ends_unit, ends_unit, is_unwanted: chunk.is_unwanted }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(query: &str, text: &str) -> bool {
        Query::parse(query).unwrap().matches(text)
    }
    fn shown(query: &str, text: &str) -> Vec<String> {
        Query::parse(query).unwrap().spans(text).into_iter().map(|span| text[span].to_owned()).collect()
    }

    #[test]
    fn all_words_are_wanted_in_any_order_and_phrases_in_theirs() {
        assert!(matches("boat BLUE", "the blue, blue Boat"));
        assert!(!matches("boat red", "the blue boat"));
        assert!(matches("\"blue boat\"", "Blue boat!"));
        assert!(!matches("\"blue boat\"", "blue old boat"));
        assert!(matches("“blue boat” old", "blue boat, old"));
        assert!(matches("\"not closed", "it is not closed"));
        assert!(matches("e-mail", "an e-mail") && !matches("e-mail", "mail me, e"));
        assert!(matches("example.com", "see https://example.com/x"));
    }

    #[test]
    fn beginnings_and_what_is_unwanted() {
        assert!(matches("boa*", "boats") && !matches("boa", "boats"));
        assert!(matches("blue -boat", "blue sky") && !matches("blue -boat", "blue boat"));
        assert!(matches("-\"blue boat\" boat", "boat, blue") && !matches("-\"blue boat\" boat", "a blue boat"));
        assert!(matches("foo-ba*", "foo bar") && !matches("foo-ba*", "bar foo"));
        assert!(matches("- boat", "boat"), "a dash alone is a sign");
    }

    #[test]
    fn scripts_without_blanks_are_found_by_any_part() {
        for part in ["山", "田", "郎", "山田", "田太郎", "山田太郎", "太*"] {
            assert!(matches(part, "これは山田太郎です"), "{part}");
        }
        assert!(!matches("山太", "山田太郎"));
        assert!(matches("서울", "서울에서 왔어요"));
        assert!(matches("hello山", "hello山田") && matches("\"say 山\"", "say 山田"));
        assert!(matches("ประเทศ", "ฉันมาจากประเทศไทย"));
        assert_eq!(shown("田", "山田太郎"), ["田"]);
        assert_eq!(shown("田太郎", "山田太郎です"), ["田太郎"]);
    }

    #[test]
    fn what_cannot_be_looked_for_is_refused() {
        assert_eq!(Query::parse("!!! ..."), Err(QueryError::NoWords));
        assert_eq!(Query::parse("a*"), Err(QueryError::TooOpen));
        assert_eq!(Query::parse(&"word ".repeat(limit::QUERY_WORDS_MAX + 1)), Err(QueryError::TooManyWords));
        assert_eq!(Query::parse(&"x".repeat(limit::QUERY_CHARS_MAX + 1)), Err(QueryError::TooLong));
        assert!(Query::parse("  ").unwrap().wants_nothing());
    }

    #[test]
    fn spans_are_apart_and_rise() {
        assert_eq!(shown("blue boat \"blue boat\"", "a blue boat, Boat"), ["blue boat", "Boat"]);
    }

    /// Letters only, so that a word is what stands between blanks.
    fn naive(query: &[(String, bool)], text: &[String]) -> bool {
        query.iter().all(|(word, unwanted)| text.contains(word) != *unwanted)
    }

    proptest! {
        #[test]
        fn a_naive_search_agrees(
            query in proptest::collection::vec(("[ab]{1,2}", any::<bool>()), 1..4), text in proptest::collection::vec("[ab]{1,2}", 0..8),
        ) {
            let typed: Vec<String> = query.iter().map(|(word, unwanted)| format!("{}{word}", if *unwanted { "-" } else { "" })).collect();
            prop_assert_eq!(matches(&typed.join(" "), &text.join(", ").to_uppercase()), naive(&query, &text));
        }

        #[test]
        fn a_part_of_a_run_is_found(text in "[山田太郎は何]{1,12}", from in 0..12usize, length in 1..6usize) {
            let part: String = text.chars().skip(from % text.chars().count()).take(length).collect();
            let around = format!("前 {text}、後");
            prop_assert!(matches(&part, &around));
            let spans = Query::parse(&part).unwrap().spans(&text);
            prop_assert!(spans.iter().all(|span| text.get(span.clone()).is_some()) && !spans.is_empty());
        }

        #[test]
        fn any_text_is_parsed_or_refused(typed in "\\PC{0,60}", text in "\\PC{0,60}") {
            if let Ok(query) = Query::parse(&typed) {
                let spans = query.spans(&text);
                prop_assert!(spans.windows(2).all(|pair| pair[0].end < pair[1].start));
                prop_assert!(query.wants_nothing() || !query.matches(&text) || !spans.is_empty());
            }
        }
    }
}
