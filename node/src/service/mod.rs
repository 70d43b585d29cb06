//! Entry-agnostic operations: the only home of request rules.
//!
//! In: an authenticated [`Caller`], a request or pull, a deadline. Out: an answer, a page, or a typed refusal.

use kith_wire::{
    client::{Answer, Page, Pull, Refusal, Request},
    code::Code,
    peer::Caller,
};

use crate::{clock::Instant, router::refuse};

/// The operations of a node.
#[derive(Debug)]
pub struct Service {}

impl Service {
    /// Does a request, wherever it belongs. Cancel safe as a retry is: what was proposed may still happen.
    ///
    /// # Errors
    /// A refusal with a stable code; `OutcomeUnknown` when the deadline passed after it may have been proposed.
    pub async fn handle(&self, _caller: &Caller, _request: Request, _deadline: Instant) -> Result<Answer, Refusal> {
        Err(refuse(Code::Unsupported))
    }
    /// Answers one bulk stream.
    pub async fn pull(&self, _caller: &Caller, _pull: Pull, _deadline: Instant) -> Page {
        Page::Refused(refuse(Code::Unsupported))
    }
}
