//! Why bytes were not taken as a value: which message, which field, what is wrong, and the code that an asker is told.

use thiserror::Error;

use crate::code::Code;

/// Bytes that are not a value of the asked type.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum DecodeError {
    /// The bytes are not protobuf of this message.
    #[error("malformed {message}")]
    Malformed {
        /// The message that was asked for.
        message: &'static str,
        /// What the parser says.
        #[source]
        source: prost::DecodeError,
    },
    /// They are, but a field is not valid.
    #[error("{message}.{field} {why}")]
    Field {
        /// The innermost message or variant.
        message: &'static str,
        /// Its field.
        field: &'static str,
        /// What is wrong with it.
        why: Why,
    },
}

/// What is wrong with a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Why {
    /// It is needed and not there, or empty.
    #[error("is missing")]
    Missing,
    /// It has the wrong form or is out of its range.
    #[error("is malformed")]
    Malformed,
    /// It is a kind or number that this version does not know.
    #[error("is of an unknown kind")]
    Unknown,
    /// It has more than so many bytes, characters or elements.
    #[error("is over {max}")]
    TooLarge {
        /// The bound, from `limit.rs`.
        max: usize,
    },
}

impl DecodeError {
    pub(crate) const fn field(field: &'static str, why: Why) -> Self {
        Self::Field { message: "", field, why }
    }

    /// Names the message, if an inner one has not named itself.
    #[must_use]
    pub(crate) fn within(mut self, name: &'static str) -> Self {
        if let Self::Field { message: message @ "", .. } = &mut self {
            *message = name;
        }
        self
    }

    /// What the asker is told.
    pub fn code(&self) -> Code {
        match self {
            Self::Malformed { .. } => Code::BadFrame,
            Self::Field { message: "Hello", field: "token", .. } => Code::BadToken,
            Self::Field { message: "CreateGroup", field: "members", why: Why::TooLarge { .. } } => Code::GroupFull,
            Self::Field { why: Why::Unknown, .. } => Code::Unsupported,
            Self::Field { why: Why::TooLarge { .. }, .. } => Code::TooLarge,
            Self::Field { why: Why::Missing | Why::Malformed, .. } => Code::Invalid,
        }
    }
}
