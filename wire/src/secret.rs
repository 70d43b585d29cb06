//! Text that must never stand in a log, a metric or a trace: passwords, tokens, codes.
//!
//! In: text from a boundary. Out: the text, to whoever says [`Secret::reveal`]. Invariant: `Debug` shows none of it, and there is no `Display`.

use std::fmt;

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text itself: for checking, storing and sending it, never for showing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Its length in bytes.
    pub const fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?} {:#?}", Secret::new("canary"), Secret::new("canary")), "Secret(..) Secret(..)");
    }
}
