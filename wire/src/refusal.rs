//! Making and showing refusals.

use std::fmt;

use crate::{
    client::Refusal,
    code::Code,
    error::DecodeError,
    frame::FrameError,
    hello::NoCommonVersion,
    id::{ClientSeq, NodeId},
};

impl Refusal {
    /// A refusal without hints, with the code's own text.
    pub fn new(code: Code) -> Self {
        Self { code, retry_after_ms: None, expected: None, leader: None, text: code.text().to_owned(), alternates: Vec::new() }
    }
    /// Too busy: come again after so many milliseconds.
    pub fn busy(retry_after_ms: u32) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(Code::Busy) }
    }
    /// This node does not lead the group; perhaps that one does.
    pub fn not_leader(leader: Option<NodeId>) -> Self {
        Self { leader, ..Self::new(Code::NotLeader) }
    }
    /// A gap in the device's numbers: resend from this one.
    pub fn out_of_sequence(expected: ClientSeq) -> Self {
        Self { expected: Some(expected), ..Self::new(Code::OutOfSequence) }
    }
    /// The same with another text for a person; no user data.
    #[must_use]
    pub fn with_text(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }
    /// The same with places to go to instead.
    #[must_use]
    pub fn or_at(self, alternates: Vec<String>) -> Self {
        Self { alternates, ..self }
    }
    /// The same with a delay.
    #[must_use]
    pub fn after(self, retry_after_ms: u32) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..self }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::new(error.code()).with_text(error.to_string())
    }
}

impl From<NoCommonVersion> for Refusal {
    fn from(error: NoCommonVersion) -> Self {
        Self::new(Code::VersionMismatch).with_text(error.to_string())
    }
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        Self::new(Code::BadFrame).with_text(error.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)?;
        match self.retry_after_ms {
            Some(ms) => write!(f, " (retry after {ms} ms)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}
