//! Places to go on from, as callers hold them: opaque, short, and safe in a URL.
//!
//! In: a place. Out: its text; and back, from any text. Not signed: a cursor says nothing that its holder could not ask for by numbers.
//!
//! ```text
//! kind, one letter | the numbers of the place, hexadecimal, joined by '-'
//! s from                   a user's index, held up to here
//! p from to below          in the middle of a page: rows from < rev < below, pinned at `to`
//! h first last head d t    records first..=last; head: the channel is known to reach that far; d: 0 rising, 1 newest first; t: of this thread; 0: all
//! ```

use std::{fmt, str::FromStr};

use kith_wire::{
    code::Code,
    id::{Seq, UserRev},
};

use super::problem::Problem;

/// Where a caller stands in their index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IndexCursor {
    /// Everything up to here is held.
    At(UserRev),
    /// In the middle of what lies between.
    Within { from: UserRev, to: UserRev, below: UserRev },
}

/// Where a caller stands in a channel: what is still to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HistoryCursor {
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) head: Seq,
    pub(super) newest_first: bool,
    pub(super) thread: Option<Seq>,
}

impl fmt::Display for IndexCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(rev) => write!(f, "s{:x}", rev.get()),
            Self::Within { from, to, below } => write!(f, "p{:x}-{:x}-{:x}", from.get(), to.get(), below.get()),
        }
    }
}

impl fmt::Display for HistoryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, head, newest_first, thread } = self;
        let (direction, thread) = (u8::from(*newest_first), thread.map_or(0, Seq::get));
        write!(f, "h{:x}-{:x}-{:x}-{direction:x}-{thread:x}", first.get(), last.get(), head.get())
    }
}

impl FromStr for IndexCursor {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        match numbers(text) {
            Some(('s', numbers)) if numbers.len() == 1 => Ok(Self::At(UserRev::new(numbers[0]))),
            Some(('p', numbers)) if numbers.len() == 3 => {
                let (from, to, below) = (UserRev::new(numbers[0]), UserRev::new(numbers[1]), UserRev::new(numbers[2]));
                Ok(Self::Within { from, to, below })
            }
            _ => Err(no_cursor()),
        }
    }
}

impl FromStr for HistoryCursor {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        match numbers(text) {
            Some(('h', numbers)) if numbers.len() == 5 && numbers[3] <= 1 => {
                let (first, last, head) = (Seq::new(numbers[0]), Seq::new(numbers[1]), Seq::new(numbers[2]));
                let thread = Some(Seq::new(numbers[4])).filter(|root| *root > Seq::ZERO);
                Ok(Self { first, last, head, newest_first: numbers[3] == 1, thread })
            }
            _ => Err(no_cursor()),
        }
    }
}

fn numbers(text: &str) -> Option<(char, Vec<u64>)> {
    let kind = text.chars().next().filter(char::is_ascii_lowercase)?;
    let number = |part: &str| (!part.starts_with('+')).then(|| u64::from_str_radix(part, 16).ok()).flatten();
    let numbers = text[1..].splitn(6, '-').map(number).collect::<Option<Vec<_>>>()?;
    Some((kind, numbers))
}

fn no_cursor() -> Problem {
    Problem::new(Code::Invalid, "the cursor is none that this was given: begin without one")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_back(a in any::<u64>(), b in any::<u64>(), c in any::<u64>(), newest_first in any::<bool>()) {
            let (from, to, below) = (UserRev::new(a), UserRev::new(b), UserRev::new(c));
            for cursor in [IndexCursor::At(from), IndexCursor::Within { from, to, below }] {
                prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
            let thread = newest_first.then(|| Seq::new(b.max(1)));
            let cursor = HistoryCursor { first: Seq::new(a), last: Seq::new(b), head: Seq::new(c), newest_first, thread };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            prop_assert!(cursor.to_string().parse::<IndexCursor>().is_err());
        }

        #[test]
        fn any_text_is_a_cursor_or_a_problem(text in ".{0,40}") {
            if let Ok(cursor) = text.parse::<IndexCursor>() {
                prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
            let _ = text.parse::<HistoryCursor>();
        }
    }
}
