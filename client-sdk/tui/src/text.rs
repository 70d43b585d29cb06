//! Text for a terminal: what others wrote is made harmless, then measured, cut and wrapped by the cells that it takes.
//!
//! In: any text. Out: text without anything that moves the cursor, changes colours or turns the reading direction of what stands beside it.
//! Invariant: no line that comes out of [`wrap`] or [`cut`] is wider than asked. Not here: styles and places (`view`).

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Stands where something was that must not reach a terminal.
const HIDDEN: char = '\u{fffd}';

/// Whether a character may do more than show itself: controls, what turns the direction of what follows, and what is there without being seen.
/// Marks of one place, which scripts from right to left need, and what joins emoji stay.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{180e}' | '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text of others in one line: line ends and tabs become spaces.
pub(crate) fn line(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            '\r' => ' ',
            c if is_harmful(c) => HIDDEN,
            c => c,
        })
        .collect()
}

/// A text of others, its line ends kept.
pub(crate) fn block(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' => out.push('\n'),
            '\t' => out.push_str("    "),
            c if is_harmful(c) => out.push(HIDDEN),
            c => out.push(c),
        }
    }
    out
}

/// What somebody types or pastes: as [`block`], but nothing is put in the place of what is left out.
pub(crate) fn typed(text: &str) -> String {
    block(text).chars().filter(|c| *c != HIDDEN).collect()
}

/// Cells that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text, or as much of its beginning as fits, with a sign that there is more.
pub(crate) fn cut(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    if cells == 0 {
        return String::new();
    }
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let wide = width(grapheme);
        if used + wide > cells - 1 {
            break;
        }
        out.push_str(grapheme);
        used += wide;
    }
    out.push('…');
    out
}

/// The text in lines of at most so many cells: broken between words where that is possible, else anywhere. At least one line.
pub(crate) fn wrap(text: &str, cells: usize) -> Vec<String> {
    ranges(text, cells).into_iter().map(|(from, to)| text[from..to].trim_end_matches('\n').to_owned()).collect()
}

/// Where the lines of [`wrap`] begin and end, in bytes. A line end belongs to the line that it ends. Together they are the whole text.
pub(crate) fn ranges(text: &str, cells: usize) -> Vec<(usize, usize)> {
    // A character of two cells must fit.
    let cells = cells.max(2);
    let mut lines = Vec::new();
    let (mut start, mut used) = (0, 0);
    // The last place in this line where it may be broken, and what is used up to there.
    let mut space: Option<(usize, usize)> = None;
    for (at, grapheme) in text.grapheme_indices(true).flat_map(|(at, grapheme)| parts(at, grapheme, cells)) {
        if grapheme == "\n" || grapheme == "\r\n" {
            lines.push((start, at + grapheme.len()));
            (start, used, space) = (at + grapheme.len(), 0, None);
            continue;
        }
        let wide = width(grapheme);
        if grapheme == " " && used >= cells {
            // At the end of a full line it stands out, where it is not seen.
            lines.push((start, at + 1));
            (start, used, space) = (at + 1, 0, None);
            continue;
        }
        if used + wide > cells {
            let (to, kept) = space.take().unwrap_or((at, used));
            lines.push((start, to));
            (start, used) = (to, used - kept);
            // What stood behind the space may have no room for it either.
            if used + wide > cells {
                lines.push((start, at));
                (start, used) = (at, 0);
            }
        }
        used += wide;
        if grapheme == " " {
            space = Some((at + 1, used));
        }
    }
    lines.push((start, text.len()));
    lines
}

/// A grapheme that is wider than a line (an Arabic sign that goes over what follows, before a wide character) by its characters.
fn parts(at: usize, grapheme: &str, cells: usize) -> impl Iterator<Item = (usize, &str)> {
    let is_whole = width(grapheme) <= cells;
    let whole = is_whole.then_some((at, grapheme));
    let parts = if is_whole { "" } else { grapheme };
    whole.into_iter().chain(parts.char_indices().map(move |(from, c)| (at + from, &parts[from..from + c.len_utf8()])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_moves_a_cursor_or_turns_text_round_is_not_shown() {
        assert_eq!(line("a\u{1b}[2Jb\u{202e}c\nd"), "a\u{fffd}[2Jb\u{fffd}c d");
        assert_eq!(block("a\r\nb\tc\u{9b}d"), "a\nb    c\u{fffd}d");
        assert_eq!(typed("a\u{7}b\nc"), "ab\nc");
        assert_eq!(line("Grüße, 世界 👩‍👩‍👧 שלום"), "Grüße, 世界 👩‍👩‍👧 שלום", "what is text stays, also what joins emoji");
    }

    #[test]
    fn wide_characters_take_two_cells() {
        assert_eq!(cut("世界世界", 5), "世界…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(wrap("世界 hello there", 6), ["世界 ", "hello ", "there"]);
        assert_eq!(wrap("hello world", 5), ["hello ", "world"]);
        assert_eq!(wrap(" é世", 2), [" ", "é", "世"]);
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(wrap("a\n\nb\n", 10), ["a", "", "b", ""]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
    }

    proptest! {
        #[test]
        fn wrapped_text_is_the_text_and_fits(text in "[ab \\n世👍é\u{6dd}]{0,60}", cells in 0_usize..20) {
            let ranges = ranges(&text, cells);
            prop_assert_eq!(ranges.iter().map(|(from, to)| &text[*from..*to]).collect::<String>(), text.as_str());
            for part in wrap(&text, cells) {
                prop_assert!(width(part.trim_end()) <= cells.max(2), "{:?} in {}", part, cells);
            }
            prop_assert!(width(&cut(&line(&text), cells)) <= cells);
        }
    }
}
