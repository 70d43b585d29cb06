//! Errors as apps catch them: by class, with the code that the docs explain.

use kith_client::{Error, wire::code::Code};

/// What kind of trouble it is: the thousands of its code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum ErrorClass {
    /// 1xxx: connections.
    Transport,
    /// 2xxx: tokens and log-ins.
    Auth,
    /// 3xxx: not allowed.
    Denied,
    /// 4xxx: it can never be taken.
    Invalid,
    /// 5xxx: too much, for now.
    Limited,
    /// 6xxx: the cluster cannot, for now; or this device's store.
    Unavailable,
    /// 9xxx: a fault of ours.
    Internal,
}

/// Why something did not work. The number is the same in all languages and in the docs.
#[derive(Clone, Debug, thiserror::Error, uniffi::Error)]
pub enum ChatError {
    /// The only one, so that apps tell errors apart by class and code.
    #[error("{name} ({code}): {text}")]
    Failed {
        /// Stable number: see docs/sdk/errors.md.
        code: u16,
        /// Its name.
        name: String,
        /// Its class.
        kind: ErrorClass,
        /// How long to wait before a retry, when the server said so.
        retry_after_ms: Option<u64>,
        /// For a developer.
        text: String,
    },
}

impl ChatError {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Error::new(Code::Invalid, text).into()
    }
}

impl From<Error> for ChatError {
    fn from(error: Error) -> Self {
        let kind = match error.code.number() / 1_000 {
            1 => ErrorClass::Transport,
            2 => ErrorClass::Auth,
            3 => ErrorClass::Denied,
            4 => ErrorClass::Invalid,
            5 => ErrorClass::Limited,
            6 => ErrorClass::Unavailable,
            _ => ErrorClass::Internal,
        };
        let retry_after_ms = error.retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        Self::Failed { code: error.code.number(), name: error.code.name().to_owned(), kind, retry_after_ms, text: error.text }
    }
}

/// What an app's own code failed with is told as a lost connection: it is asked again.
impl From<ChatError> for Error {
    fn from(ChatError::Failed { code, text, .. }: ChatError) -> Self {
        Self::new(Code::from_number(code), text)
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for ChatError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Error::new(Code::Disconnected, format!("the app's code failed: {}", error.reason)).into()
    }
}
