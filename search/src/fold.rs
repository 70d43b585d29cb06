//! How texts of any script are compared: NFKC, lower case.

use unicode_normalization::UnicodeNormalization;

/// The form in which texts of any script are compared. Folding twice changes nothing.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let once = |text: &str| -> String { text.nfkc().flat_map(char::to_lowercase).flat_map(folded).collect() };
    // Lower case may be what normalization joins or takes apart again, once.
    once(&once(text)).nfkc().collect()
}

/// What differs from another lower case letter by its place or its writing only.
fn folded(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        'ς' => ('σ', None),
        'ß' => ('s', Some('s')),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,20}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }

    #[test]
    fn what_is_written_differently_folds_alike() {
        for (one, other) in [("STRASSE", "straße"), ("ΟΔΟΣ", "οδος"), ("ＡＢＣ", "abc"), ("ｶﾞ", "ガ"), ("e\u{301}", "É")] {
            assert_eq!(fold(one), fold(other));
        }
    }
}
