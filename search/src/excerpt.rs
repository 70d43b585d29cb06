//! A short part of a text, around the first of what was found in it.

use std::ops::Range;

use kith_wire::limit;

/// Some of a text, and what of it is to be marked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Excerpt {
    /// At most `limit::EXCERPT_CHARS_MAX` Unicode scalar values; begins or ends with `…` where the text goes on.
    pub text: String,
    /// (first, how many), in Unicode scalar values of the excerpt: rising, apart.
    pub marks: Vec<(u32, u32)>,
}

/// The part of a text around the first of these spans (bytes, rising, apart), or its beginning.
pub fn excerpt(text: &str, spans: &[Range<usize>]) -> Excerpt {
    let first = spans.first().map_or(0, |span| text[..span.start].chars().count());
    let total = text.chars().count();
    let (from, to) = window(first, total);
    let mut out = Excerpt::default();
    if from > 0 {
        out.text.push('…');
    }
    let lead = u32::from(from > 0);
    let byte_of = |number: usize| text.char_indices().nth(number).map_or(text.len(), |(at, _)| at);
    let (start, end) = (byte_of(from), byte_of(to));
    out.text.push_str(&text[start..end]);
    if to < total {
        out.text.push('…');
    }
    let count = |part: Range<usize>| u32::try_from(text[part].chars().count()).unwrap_or(u32::MAX);
    for span in spans {
        let part = span.start.max(start)..span.end.min(end);
        if part.start < part.end {
            out.marks.push((lead + count(start..part.start), count(part)));
        }
    }
    out
}

/// First and last (exclusive) character, so that with the dots nothing is over the bound.
fn window(first: usize, total: usize) -> (usize, usize) {
    let max = limit::EXCERPT_CHARS_MAX;
    if total <= max {
        return (0, total);
    }
    let before = first.saturating_sub(LEAD_CHARS);
    // Whoever sees the end sees as much of the text as fits.
    let from = before.min(total - (max - 1));
    let from = if from <= 1 { 0 } else { from };
    let room = max - usize::from(from > 0);
    let to = if total - from <= room { total } else { from + room - 1 };
    (from, to)
}

/// Shown before what was found.
const LEAD_CHARS: usize = 40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::query::Query;

    #[test]
    fn a_short_text_is_shown_as_it_is() {
        let text = "the blue boat";
        assert_eq!(excerpt(text, std::slice::from_ref(&(4..8))), Excerpt { text: text.to_owned(), marks: vec![(4, 4)] });
    }

    #[test]
    fn of_a_long_one_what_is_around_is_shown() {
        let text = format!("{}needle{}", "山 ".repeat(300), " x".repeat(300));
        let query = Query::parse("needle").unwrap();
        let Excerpt { text, marks } = excerpt(&text, &query.spans(&text));
        assert_eq!(text.chars().count(), limit::EXCERPT_CHARS_MAX);
        assert!(text.starts_with('…') && text.ends_with('…'));
        let (first, count) = marks[0];
        assert_eq!(text.chars().skip(first as usize).take(count as usize).collect::<String>(), "needle");
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_what_is_marked_was_found(before in "[a山 ]{0,300}", after in "[b山 ]{0,300}") {
            let text = format!("{before} NEEDLE {after}");
            let Excerpt { text, marks } = excerpt(&text, &Query::parse("needle").unwrap().spans(&text));
            prop_assert!(text.chars().count() <= limit::EXCERPT_CHARS_MAX);
            prop_assert_eq!(marks.len(), 1);
            let marked: String = text.chars().skip(marks[0].0 as usize).take(marks[0].1 as usize).collect();
            prop_assert_eq!(marked, "NEEDLE");
        }
    }
}
