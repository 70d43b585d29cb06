//! What fuzz targets need: answers of any server given to those who judge them. Calls parsers, has none.

use hyper::{HeaderMap, StatusCode, header::RETRY_AFTER};
use kith_wire::id::Timestamp;

use crate::{
    Outcome,
    outbound::Answer,
    provider::{apns, fcm, web_push, webhook},
};

/// What every provider makes of an answer with this status, `Retry-After` and body.
pub fn judge(status: u16, after: &[u8], body: &[u8], now: Timestamp) -> Option<[Outcome; 4]> {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, after.try_into().ok()?);
    let answer = Answer { status: StatusCode::from_u16(status).ok()?, headers, body: body.to_vec().into() };
    let _granted = fcm::judge_token(&answer, now);
    Some([apns::judge, fcm::judge, web_push::judge, webhook::judge].map(|judge| judge(&answer, now).outcome))
}
