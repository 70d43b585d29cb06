//! Refusals as HTTP answers: problems of RFC 9457, with Kith's code and retry class.
//!
//! In: a [`Refusal`] of the service, or what HTTP itself refuses. Out: a status, `Retry-After`, and a body that [`super::observe`] writes once
//! the request's id is known. Invariant: one table of statuses; a code that this version does not know gets that of its class.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kith_wire::{
    client::Refusal,
    code::{Code, Retry},
};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Of the answer.
    pub status: StatusCode,
    /// Kith's own.
    pub code: Code,
    /// For a person; no user data.
    pub detail: String,
    /// How long to wait, where waiting helps.
    pub retry_after_ms: Option<u32>,
}

/// A problem, as RFC 9457 has it, and what Kith adds: its stable code, what to do about it, and the request's name in the logs.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(example = "/v1/problems/3001")]
    kind: String,
    /// The code in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What was wrong with this request.
    detail: String,
    /// Kith's stable number.
    #[schema(example = 3001)]
    code: u16,
    /// Its name.
    #[schema(example = "NotMember")]
    name: &'static str,
    /// What to do.
    retry: RetryClass,
    /// For `after`: how long to wait, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u32>,
    /// Names the request in the nodes' logs.
    request_id: String,
}

/// What to do about a problem.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum RetryClass {
    /// The same request gets the same answer.
    Never,
    /// Ask again at once, over any node, with the same `Idempotency-Key`.
    Now,
    /// Ask again after the delay.
    After,
    /// Ask again with a new token.
    AfterAuth,
}

impl RetryClass {
    pub(super) const fn of(code: Code) -> Self {
        match code.retry() {
            Retry::Never => Self::Never,
            Retry::Now => Self::Now,
            Retry::After => Self::After,
            Retry::AfterAuth => Self::AfterAuth,
        }
    }
}

impl Problem {
    /// A code with a text of its own.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..Self::from(Refusal::new(code)) }
    }
    /// The same with another status: where HTTP has one that says more.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
    /// What is written of it.
    pub(super) fn body(&self, request_id: String) -> ProblemBody {
        ProblemBody {
            kind: format!("/v1/problems/{}", self.code.number()),
            title: self.code.text(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            code: self.code.number(),
            name: self.code.name(),
            retry: RetryClass::of(self.code),
            retry_after_ms: self.retry_after_ms,
            request_id,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let waits = refusal.code.retry() == Retry::After;
        let retry_after_ms = refusal.retry_after_ms.or_else(|| waits.then_some(RETRY_AFTER_MS));
        Self { status: status(refusal.code), code: refusal.code, detail: refusal.text, retry_after_ms }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::from(Refusal::new(code))
    }
}

impl IntoResponse for Problem {
    /// Without a body yet: the layer that knows the request's id writes it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(ms) = self.retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(u64::from(ms).div_ceil(1000).max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The status of a code.
pub(super) const fn status(code: Code) -> StatusCode {
    match code {
        Code::Timeout | Code::OutcomeUnknown => StatusCode::GATEWAY_TIMEOUT,
        Code::NotAdmin => StatusCode::FORBIDDEN,
        Code::NoSuchUser | Code::NotFound => StatusCode::NOT_FOUND,
        Code::Dissolved | Code::Resync => StatusCode::GONE,
        Code::NameTaken
        | Code::IdTaken
        | Code::GroupFull
        | Code::LimitReached
        | Code::LastOwner
        | Code::TooOld
        | Code::Voided
        | Code::Outdated
        | Code::TokenSpent
        | Code::OutOfSequence => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Conflict => StatusCode::UNPROCESSABLE_ENTITY,
        Code::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        other => match other.number() / 1000 {
            1 | 6 => StatusCode::SERVICE_UNAVAILABLE,
            2 => StatusCode::UNAUTHORIZED,
            3 => StatusCode::FORBIDDEN,
            4 => StatusCode::BAD_REQUEST,
            5 => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// Where waiting helps and nobody said how long.
const RETRY_AFTER_MS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_of_its_class() {
        for code in Code::ALL {
            let (status, class) = (status(*code), code.number() / 1000);
            let fits = match class {
                1 | 6 => status.is_server_error() || status == StatusCode::GONE,
                2..=5 => status.is_client_error(),
                _ => status == StatusCode::INTERNAL_SERVER_ERROR,
            };
            assert!(fits || *code == Code::DiskFull, "{code} is {status}");
        }
        assert_eq!(status(Code::Unknown(3_999)), StatusCode::FORBIDDEN);
        assert_eq!(status(Code::Unknown(7_000)), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn who_is_to_wait_is_told_how_long() {
        let problem = Problem::from(Refusal::busy(1_200));
        assert_eq!(problem.clone().into_response().headers()[header::RETRY_AFTER], "2");
        assert_eq!(serde_json::to_value(problem.body("7".into())).unwrap()["retry"], "after");
        assert_eq!(Problem::from(Code::NoLeader).retry_after_ms, Some(RETRY_AFTER_MS));
        assert_eq!(Problem::from(Code::NotMember).retry_after_ms, None);
    }
}
