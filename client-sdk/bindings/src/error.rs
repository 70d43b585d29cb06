//! Errors as apps catch them: by class, with the code that the docs explain.

use kith_client::{
    Error, StoreFailed,
    wire::{
        code::{Code, Retry},
        id::RequestId,
    },
};

use crate::value::millis;

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

/// What to do about it. The SDK has already retried what can be retried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum RetryAdvice {
    /// The same again gets the same answer.
    Never,
    /// At once.
    Now,
    /// After `retry_after_ms`, else with backoff.
    After,
    /// After a new token.
    AfterAuth,
}

/// What is wrong with the local store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum StoreTrouble {
    /// There is no room on the disk. What was stored before stands.
    Full,
    /// What is in its files is not what was written. Opening the store anew heals it.
    Corrupt,
    /// Another client uses it, perhaps in another process.
    InUse,
    /// A newer version of the SDK has written it.
    Newer,
    /// Somebody else used it while this client was in the background: make a new client.
    Changed,
    /// It was made with another key, or with none, or has one and none was given. Nothing was read or written.
    WrongKey,
    /// The system refused to read or write.
    Io,
}

impl From<kith_client::StoreTrouble> for StoreTrouble {
    fn from(trouble: kith_client::StoreTrouble) -> Self {
        match trouble {
            kith_client::StoreTrouble::Full => Self::Full,
            kith_client::StoreTrouble::Corrupt => Self::Corrupt,
            kith_client::StoreTrouble::InUse => Self::InUse,
            kith_client::StoreTrouble::Newer => Self::Newer,
            kith_client::StoreTrouble::Changed => Self::Changed,
            kith_client::StoreTrouble::WrongKey => Self::WrongKey,
            _ => Self::Io,
        }
    }
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
        /// What to do about it.
        retry: RetryAdvice,
        /// How long to wait before a retry, when the server said so.
        retry_after_ms: Option<u64>,
        /// What is wrong with the local store, if that is why.
        store_trouble: Option<StoreTrouble>,
        /// The request that failed, as the server's log names it; `None`: it failed on this side.
        request: Option<u64>,
        /// Where the docs say more: a file of the repository, and a heading in it.
        section: String,
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
        let retry = match error.retry() {
            Retry::Never => RetryAdvice::Never,
            Retry::Now => RetryAdvice::Now,
            Retry::After => RetryAdvice::After,
            Retry::AfterAuth => RetryAdvice::AfterAuth,
        };
        Self::Failed {
            code: error.code.number(),
            name: error.code.name().to_owned(),
            kind,
            retry,
            retry_after_ms: error.retry_after.map(millis),
            store_trouble: error.store_trouble().map(Into::into),
            request: error.request.map(RequestId::get),
            section: error.section(),
            text: error.text,
        }
    }
}

/// Of a store that did not open.
impl From<StoreFailed> for ChatError {
    fn from(failed: StoreFailed) -> Self {
        let trouble = failed.trouble.into();
        let Self::Failed { code, name, kind, retry, retry_after_ms, request, section, .. } = Error::new(Code::Internal, "").into();
        Self::Failed { code, name, kind, retry, retry_after_ms, store_trouble: Some(trouble), request, section, text: failed.to_string() }
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
