//! What came of one attempt.
//!
//! In: what providers answer, or that they do not. Out: [`Outcome`]: what to do about it. Invariant: no text of anybody else's is in it (reasons are known words),
//! so it can be logged and kept. Not here: when the next attempt is ([`crate::retry`]).

use std::{fmt, time::Duration};

use kith_wire::id::Timestamp;

/// What came of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The provider has it. Whether the device gets it is between the two.
    Delivered,
    /// The provider does not know the device any more: its registration is to be removed.
    DeadToken {
        /// It was known before then. A registration of after that is another one.
        since: Option<Timestamp>,
    },
    /// Not before so long.
    RetryAfter(Duration),
    /// It may work the next time.
    Transient(Fault),
    /// It is not taken.
    Refused {
        /// Why.
        reason: Reason,
        /// The same will be refused again.
        is_permanent: bool,
    },
    /// Nothing is taken from us until the operator does something.
    Misconfigured(Reason),
}

/// Why there was no answer that says more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Its name is not known, or has no address.
    Unresolved,
    /// No connection.
    Unreachable,
    /// Not who it says it is.
    Certificate,
    /// It does not speak what was agreed.
    Protocol,
    /// No answer in time.
    TimedOut,
    /// The connection ended in the middle.
    Reset,
    /// An answer that asks for another attempt.
    Status(u16),
}

/// Why something is not taken: a word of the provider's documentation, or ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Reason(pub &'static str);

impl Outcome {
    /// Refused, now and ever.
    pub(crate) const fn never(reason: &'static str) -> Self {
        Self::Refused { reason: Reason(reason), is_permanent: true }
    }
    /// Wait if we were told how long, else try again.
    pub(crate) fn later(after: Option<Duration>, status: u16) -> Self {
        after.map_or(Self::Transient(Fault::Status(status)), Self::RetryAfter)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved => f.write_str("its name is not known"),
            Self::Unreachable => f.write_str("it cannot be reached"),
            Self::Certificate => f.write_str("its certificate is not good"),
            Self::Protocol => f.write_str("it does not speak HTTP"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Reset => f.write_str("the connection ended in the middle"),
            Self::Status(status) => write!(f, "it answered {status}"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::DeadToken { .. } => f.write_str("the device is gone"),
            Self::RetryAfter(wait) => write!(f, "again after {} s", wait.as_secs()),
            Self::Transient(fault) => write!(f, "{fault}"),
            Self::Refused { reason, .. } => write!(f, "refused: {reason}"),
            Self::Misconfigured(reason) => write!(f, "misconfigured: {reason}"),
        }
    }
}
