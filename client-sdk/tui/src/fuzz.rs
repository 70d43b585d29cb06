//! What the fuzz targets need of what nobody else may call. No API.

use crate::{
    text,
    time::{self, Zone},
};

/// A text of others as it is shown in one line, in a block, and cut and wrapped to so many cells; and as it would be typed.
pub struct Shown {
    /// In one line.
    pub line: String,
    /// Its line ends kept.
    pub block: String,
    /// Pasted.
    pub typed: String,
    /// The line, cut.
    pub cut: String,
    /// The block, wrapped.
    pub wrapped: Vec<String>,
}

/// See there.
pub fn shown(of: &str, cells: usize) -> Shown {
    let (line, block) = (text::line(of), text::block(of));
    Shown { cut: text::cut(&line, cells), wrapped: text::wrap(&block, cells), typed: text::typed(of), line, block }
}

/// Cells that a text takes.
pub fn width(of: &str) -> usize {
    text::width(of)
}

/// A day and a span, as they are typed.
pub fn times(typed: &str) -> (Option<u64>, Option<u64>) {
    (Zone::utc().parse_day(typed).map(|at| at.get()), time::parse_span(typed))
}
