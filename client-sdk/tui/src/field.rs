//! A text that is being typed: one line or several, with a cursor.
//!
//! In: characters, pastes, edits. Out: the text, and where the cursor is at a width. Invariants: the cursor stands between two graphemes; there
//! is no character in it that a terminal would act on. Bound: `chars_max`; what is over it is not taken in, and that is said.

use kith_client::wire::{limit, secret::Secret};
use unicode_segmentation::UnicodeSegmentation;

use crate::{keys::Edit, text};

/// A text that is being typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    text: String,
    /// In bytes.
    cursor: usize,
    has_lines: bool,
    is_secret: bool,
    chars_max: usize,
}

/// Characters of a field of a form.
const LINE_CHARS_MAX: usize = 2_000;

impl Field {
    /// For one line.
    pub(crate) fn line(text: &str) -> Self {
        let text = text::line(text);
        Self { cursor: text.len(), text, has_lines: false, is_secret: false, chars_max: LINE_CHARS_MAX }
    }
    /// For one line that nobody is to see.
    pub(crate) fn secret() -> Self {
        Self { is_secret: true, ..Self::line("") }
    }
    /// For a message.
    pub(crate) fn lines() -> Self {
        Self { has_lines: true, chars_max: limit::TEXT_CHARS_MAX, ..Self::line("") }
    }
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
    pub(crate) fn is_secret(&self) -> bool {
        self.is_secret
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
    /// The text as something that is not shown.
    pub(crate) fn reveal(&self) -> Secret {
        Secret::new(self.text.as_str())
    }
    /// Puts another text in its place, with the cursor at its end.
    pub(crate) fn set(&mut self, text: &str) {
        self.text = if self.has_lines { text::typed(text) } else { text::line(&text::typed(text)) };
        self.cursor = self.text.len();
    }
    /// Takes the text out.
    pub(crate) fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }
    /// Adds at the cursor; says whether all of it found room.
    pub(crate) fn insert(&mut self, text: &str) -> bool {
        let text = text::typed(text);
        let text = if self.has_lines { text } else { text::line(&text) };
        let room = self.chars_max.saturating_sub(self.text.chars().count());
        let end = text.char_indices().nth(room).map_or(text.len(), |(at, _)| at);
        self.text.insert_str(self.cursor, &text[..end]);
        self.cursor += end;
        // What was added may have joined what stood behind it.
        self.cursor = self.boundary_at_or_after(self.cursor);
        end == text.len()
    }
    pub(crate) fn edit(&mut self, edit: Edit, width: usize) {
        match edit {
            Edit::Left => self.cursor = self.before(),
            Edit::Right => self.cursor = self.after(),
            Edit::WordLeft => self.cursor = self.word_before(),
            Edit::WordRight => self.cursor = self.word_after(),
            Edit::Start => self.cursor = self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1),
            Edit::End => self.cursor = self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at),
            Edit::Up => self.vertical(width, -1),
            Edit::Down => self.vertical(width, 1),
            Edit::Backspace => self.remove(self.before(), self.cursor),
            Edit::Delete => self.remove(self.cursor, self.after()),
            Edit::DeleteWord => self.remove(self.word_before(), self.cursor),
            Edit::DeleteToStart => self.remove(self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1), self.cursor),
            Edit::NewLine => {
                if self.has_lines {
                    self.insert("\n");
                }
            }
        }
    }
    /// Its lines at a width, as they are shown, and where in them the cursor is.
    pub(crate) fn layout(&self, width: usize) -> (Vec<String>, usize, usize) {
        if self.is_secret {
            let dots = "•".repeat(self.text.graphemes(true).count());
            let before = self.text[..self.cursor].graphemes(true).count();
            return (vec![dots], 0, before);
        }
        if !self.has_lines {
            return (vec![self.text.clone()], 0, text::width(&self.text[..self.cursor]));
        }
        let ranges = text::ranges(&self.text, width);
        let row = self.row_of_cursor(&ranges);
        let column = text::width(&self.text[ranges[row].0..self.cursor]);
        let lines = ranges.iter().map(|(from, to)| self.text[*from..*to].trim_end_matches('\n').to_owned()).collect();
        (lines, row, column.min(width.saturating_sub(1)))
    }
    /// Whether the cursor is in the first, and in the last line at a width.
    pub(crate) fn is_at_edge(&self, width: usize) -> (bool, bool) {
        let ranges = text::ranges(&self.text, width);
        let row = self.row_of_cursor(&ranges);
        (row == 0, row + 1 == ranges.len())
    }

    fn row_of_cursor(&self, ranges: &[(usize, usize)]) -> usize {
        // At the end of a broken line it stands in the next one.
        ranges.iter().rposition(|(from, _)| *from <= self.cursor).unwrap_or(0)
    }
    fn vertical(&mut self, width: usize, by: isize) {
        let ranges = text::ranges(&self.text, width);
        let row = self.row_of_cursor(&ranges);
        let column = text::width(&self.text[ranges[row].0..self.cursor]);
        let Some(&(from, to)) = row.checked_add_signed(by).and_then(|row| ranges.get(row)) else {
            self.cursor = if by < 0 { 0 } else { self.text.len() };
            return;
        };
        let line = self.text[from..to].trim_end_matches('\n');
        let mut used = 0;
        let mut at = from;
        for grapheme in line.graphemes(true) {
            let wide = text::width(grapheme);
            if used + wide > column {
                break;
            }
            used += wide;
            at += grapheme.len();
        }
        self.cursor = at;
    }
    fn remove(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = self.boundary_at_or_after(from);
    }
    fn before(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }
    fn after(&self) -> usize {
        self.text[self.cursor..].graphemes(true).next().map_or(self.cursor, |grapheme| self.cursor + grapheme.len())
    }
    fn word_before(&self) -> usize {
        let words = self.text[..self.cursor].split_word_bound_indices().rev();
        words.skip_while(|(_, word)| word.trim().is_empty()).map(|(at, _)| at).next().unwrap_or(0)
    }
    fn word_after(&self) -> usize {
        let mut words = self.text[self.cursor..].split_word_bound_indices().skip_while(|(_, word)| word.trim().is_empty());
        words.next().map_or(self.text.len(), |(at, word)| self.cursor + at + word.len())
    }
    fn boundary_at_or_after(&self, at: usize) -> usize {
        self.text.grapheme_indices(true).map(|(start, _)| start).find(|start| *start >= at).unwrap_or(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_typed_and_mended() {
        let mut field = Field::lines();
        field.insert("hello wrld");
        for _ in 0..3 {
            field.edit(Edit::Left, 80);
        }
        field.insert("o");
        assert_eq!(field.text(), "hello world");
        field.edit(Edit::End, 80);
        field.edit(Edit::DeleteWord, 80);
        assert_eq!(field.text(), "hello ");
        field.edit(Edit::NewLine, 80);
        field.insert("👩‍👩‍👧");
        field.edit(Edit::Backspace, 80);
        assert_eq!(field.text(), "hello \n", "a family is one step");
        field.edit(Edit::Up, 80);
        assert_eq!(field.layout(80), (vec!["hello ".to_owned(), String::new()], 0, 0));
    }

    #[test]
    fn a_password_is_never_in_what_is_shown() {
        let mut field = Field::secret();
        field.insert("correct horse");
        assert_eq!(field.layout(80).0, ["•".repeat(13)]);
        assert_eq!(field.reveal().reveal(), "correct horse");
    }

    #[test]
    fn one_line_stays_one_line_and_nothing_harmful_gets_in() {
        let mut field = Field::line("");
        field.insert("a\nb\u{1b}[2J\u{202e}c");
        field.edit(Edit::NewLine, 80);
        assert_eq!(field.text(), "a b[2Jc");
    }

    #[test]
    fn what_is_over_the_bound_is_not_taken_in() {
        let mut field = Field::line("");
        assert!(field.insert(&"x".repeat(LINE_CHARS_MAX)));
        assert!(!field.insert("y"));
        assert_eq!(field.text().len(), LINE_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn no_edit_breaks_it(steps in proptest::collection::vec((0_usize..16, "[a世\u{301}👩\u{200d}\\n ]{0,3}"), 0..60), width in 1_usize..12) {
            let mut field = Field::lines();
            for (step, text) in steps {
                match Edit::ALL.get(step) {
                    Some(edit) => field.edit(*edit, width),
                    None => { field.insert(&text); }
                }
                prop_assert!(field.text.is_char_boundary(field.cursor));
                let (lines, row, _) = field.layout(width);
                prop_assert!(row < lines.len());
            }
        }
    }
}
