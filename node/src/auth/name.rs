//! Names of users: what is stored and compared, and what cannot be a name.
//!
//! In: a name as a person wrote it. Out: its folded form (NFKC, lower case, trimmed). Invariants: what folds alike is one name; a folded name
//! folds to itself; nothing in it is invisible, turns the direction of writing, or separates. Bounds: `limit::NAME_BYTES_MAX`.

use kith_search::fold;
use kith_wire::{client::Refusal, code::Code, limit};

use crate::router::refuse;

/// A name as it is stored and compared.
///
/// # Errors
/// `Invalid`: empty, or with blanks, control, invisible or direction characters, or one of `# / , @`. `TooLarge`: over 64 bytes.
pub fn fold_name(name: &str) -> Result<String, Refusal> {
    if name.len() > 4 * limit::NAME_BYTES_MAX {
        return Err(too_large());
    }
    let folded = fold(name.trim());
    if folded.is_empty() || folded.chars().any(is_odd) {
        return Err(refuse(Code::Invalid).with_text("a name has no blanks, no invisible characters, and none of # / , @"));
    }
    if folded.len() > limit::NAME_BYTES_MAX {
        return Err(too_large());
    }
    Ok(folded)
}

/// Whether a text may be shown as somebody's name: nothing in it is a control character, invisible, or turns the direction of writing.
pub fn is_showable(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || is_invisible(c))
}

/// What search knows a user by: the name, and the words of what is shown in its place. Rising, none twice.
pub fn words(name: &str, display: &str) -> Vec<String> {
    let folded = fold(display);
    let parts = folded.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).take(limit::SEARCH_WORDS_MAX);
    let mut words: Vec<String> = std::iter::once(name).chain(parts).map(cut).collect();
    words.sort();
    words.dedup();
    words
}

/// What is looked for when somebody types this; `None` when there is nothing to look for.
pub fn search_prefix(typed: &str) -> Option<String> {
    let prefix = cut(fold(typed.trim()).trim_start_matches('@'));
    (!prefix.is_empty() && is_showable(&prefix)).then_some(prefix)
}

fn cut(word: &str) -> String {
    word.chars().take(limit::SEARCH_WORD_CHARS_MAX).collect()
}

fn is_odd(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_invisible(c) || matches!(c, '#' | '/' | ',' | '@')
}

/// Format characters (general category Cf, Unicode 16), fillers and variation selectors: not seen, or seen as something else. Private use and
/// non-characters: not the same anywhere.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

fn too_large() -> Refusal {
    refuse(Code::TooLarge).with_text("a name has at most 64 bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_folded_and_odd_ones_refused() {
        assert_eq!(fold_name(" Ann_O|Ubuntu ").unwrap(), "ann_o|ubuntu");
        assert_eq!(fold_name("ÄNNE").unwrap(), "änne");
        for odd in
            ["", "  ", "two words", "a\u{0}b", "#room", "a,b", "a@b", "a\u{202e}b", "a\u{200b}b", "\u{feff}ann", "a\u{ad}b", "a\u{2066}b", "\u{3164}"]
        {
            assert_eq!(fold_name(odd).unwrap_err().code, Code::Invalid, "{odd:?}");
        }
        assert_eq!(fold_name(&"x".repeat(65)).unwrap_err().code, Code::TooLarge);
        assert_eq!(fold_name(&"x".repeat(1_000)).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn what_looks_the_same_is_the_same_name() {
        for (one, other) in
            [("ann", "ＡＮＮ"), ("änne", "a\u{308}nne"), ("file", "ﬁle"), ("Ⅷ", "viii"), ("ΣΑΣ", "σας"), ("STRASSE", "straße"), ("5", "⑤")]
        {
            assert_eq!(fold_name(one).unwrap(), fold_name(other).unwrap(), "{one} {other}");
        }
    }

    #[test]
    fn search_knows_the_name_and_the_words_of_the_display_name() {
        assert_eq!(words("ann42", "Ann-Marie  Ｏ'Neil 山田 太郎"), ["ann", "ann42", "marie", "neil", "o", "太郎", "山田"]);
        assert_eq!(words("ann", ""), ["ann"]);
        assert_eq!(words("x", &"w ".repeat(50)).len(), 2);
        assert_eq!(search_prefix(" @ANN "), Some("ann".into()));
        assert_eq!(search_prefix("  "), None);
        assert_eq!(search_prefix("a\u{202e}"), None);
    }

    proptest! {
        #[test]
        fn a_folded_name_folds_to_itself(name in "\\PC{1,16}") {
            if let Ok(folded) = fold_name(&name) {
                prop_assert_eq!(fold_name(&folded).unwrap(), folded);
            }
        }
    }
}
