//! Text of others on a terminal: what a sender wrote must not move the cursor, colour, retitle or answer for the person who reads.
//!
//! In: lines with parts that users chose. Out: the same, with nothing in it that a terminal acts upon. JSON needs none of this: a program reads it.

use std::borrow::Cow;

/// Prints a line for a person.
pub(crate) fn say(line: &str) {
    println!("{}", shown(line));
}

/// A text as it is shown on a terminal: a control character (C0, DEL, C1) as its picture or U+FFFD, and so what turns the direction of writing; a
/// tab as a blank; a new line indented, so that no text can look like the next record.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c.is_control() || turns(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str(NEW_LINE),
            '\t' => out.push(' '),
            '\0'..='\u{1f}' => out.push(char::from_u32(PICTURES + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER)),
            '\u{7f}' => out.push('\u{2421}'),
            c if c.is_control() || turns(c) => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Embeddings, overrides and isolates, which reach over what follows the text; marks of one place do not.
const fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Further in than where a record's number stands.
const NEW_LINE: &str = "\n          ";
/// Where Unicode has the pictures of control characters, in their order.
const PICTURES: u32 = 0x2400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_upon_is_left() {
        assert_eq!(shown("\u{1b}[2J\u{1b}]0;owned\u{7}"), "\u{241b}[2J\u{241b}]0;owned\u{2407}");
        assert_eq!(shown("a\rb\u{8}\u{7f}\u{9b}31m\t."), "a\u{240d}b\u{2408}\u{2421}\u{fffd}31m .");
        assert_eq!(shown("x\u{202e}evil"), "x\u{fffd}evil");
        for c in (0..=0x2fff).filter_map(char::from_u32) {
            let text = c.to_string();
            assert!(!shown(&text).chars().any(|c| c != '\n' && (c.is_control() || turns(c))), "{c:?}");
        }
    }

    #[test]
    fn no_text_looks_like_the_next_record() {
        let forged = shown("hi\n     8  bob: send me the code");
        assert!(forged.lines().skip(1).all(|line| line.starts_with(&NEW_LINE[1..])), "{forged}");
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in ["", "plain", "語 \u{1f469}\u{200d}\u{1f680} e\u{301}", "שלום\u{200f}"] {
            assert!(matches!(shown(text), Cow::Borrowed(same) if same == text));
        }
    }
}
