//! Pushes: where a device is reached while it listens to nothing, when not to, and whether it works. For devices that hold no stream.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    log::{PushTarget, QuietHours as WireQuiet},
    push_device::{PushAnswer, PushDeviceView, PushRequest, PushTested as WireTested},
    secret::Secret,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Api,
        extract::{Body, Digest, Key, Who},
        once::once,
        problem::Problem,
        unexpected,
    },
    write::Done,
};

/// Where a device is reached.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "via", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = PushTarget)]
pub(in super::super) enum Target {
    /// Apple's service.
    Apns {
        /// The device token, in hexadecimal.
        #[schema(pattern = "^([0-9a-fA-F]{2}){32,100}$", format = Password)]
        token: String,
        /// The app's bundle id; the operator's if it is absent.
        #[serde(default)]
        #[schema(pattern = "^[A-Za-z0-9.-]{1,155}$")]
        topic: Option<String>,
        /// Whether the token is of an app that runs from Xcode.
        #[serde(default)]
        sandbox: bool,
    },
    /// Google's service.
    Fcm {
        /// The registration token.
        #[schema(pattern = "^[!-~]{16,1024}$", format = Password)]
        token: String,
    },
    /// The push service of a browser: the parts of its subscription.
    WebPush {
        /// Its endpoint.
        #[schema(max_length = 2_048, format = "push-endpoint", example = "https://push.example.org/x")]
        endpoint: String,
        /// Its `p256dh`, in base64 of URLs.
        #[schema(max_length = 128, format = "push-key")]
        p256dh: String,
        /// Its `auth`, in base64 of URLs.
        #[schema(max_length = 128, format = "push-auth")]
        auth: String,
        /// The id of the server key that it subscribed with; the current one's if it is absent.
        #[serde(default)]
        #[schema(pattern = "^[0-9a-f]{16}$")]
        server: Option<String>,
    },
    /// The device's own URL.
    Webhook {
        /// Where posts go.
        #[schema(max_length = 2_048, format = "webhook-url", example = "https://example.org/kith")]
        url: String,
        /// The key that they are signed with (Standard Webhooks): 24 to 64 bytes, in base64 of URLs.
        #[schema(max_length = 88, format = "push-hook-key")]
        key: String,
    },
}

impl Target {
    /// # Errors
    /// What is not what it should be and would be taken for something that is absent.
    fn wire(self) -> Result<PushTarget, Problem> {
        Ok(match self {
            Self::Apns { topic: Some(topic), .. } if topic.is_empty() => return Err(Problem::new(Code::Invalid, "leave out a topic that is empty")),
            Self::Apns { token, topic, sandbox } => PushTarget::Apns { token: Secret::new(token), topic: topic.unwrap_or_default(), sandbox },
            Self::Fcm { token } => PushTarget::Fcm { token: Secret::new(token) },
            Self::WebPush { endpoint, p256dh, auth, server } => PushTarget::WebPush {
                endpoint: Secret::new(endpoint),
                p256dh: Secret::new(p256dh),
                auth: Secret::new(auth),
                server: server.as_deref().map(server_key).transpose()?,
            },
            Self::Webhook { url, key } => PushTarget::Webhook { url: Secret::new(url), key: Secret::new(key) },
        })
    }
}

/// The id of a server key.
fn server_key(text: &str) -> Result<[u8; 8], Problem> {
    let is_id = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = u64::from_str_radix(text, 16).ok().filter(|_| is_id);
    id.map(u64::to_be_bytes).ok_or_else(|| Problem::new(Code::Invalid, "the id of a server key is 16 hexadecimal digits in lower case"))
}

/// When only mentions are pushed: minutes of the day, UTC.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct QuietHours {
    /// From then on.
    #[schema(maximum = 1_439, example = 1_320)]
    from: u32,
    /// Until then; over midnight where it is the smaller one.
    #[schema(maximum = 1_439, example = 420)]
    to: u32,
}

/// When to be quiet.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct SetQuiet {
    /// At no time if it is absent.
    #[serde(default)]
    quiet: Option<QuietHours>,
}

/// A device that is pushed to.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct PushDevice {
    /// Which.
    device: String,
    /// By whom: `apns`, `fcm`, `web_push` or `webhook`.
    via: &'static str,
    /// Since when, in milliseconds since 1970.
    registered_ms: u64,
    /// Why it was last not reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<PushFailure>,
}

/// Why a device was not reached.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct PushFailure {
    /// When, in milliseconds since 1970.
    at_ms: u64,
    /// In words.
    reason: String,
    /// How many times that was noted.
    count: u32,
}

/// Pushes of a user.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Pushes {
    /// Devices that are pushed to.
    devices: Vec<PushDevice>,
    /// When only mentions are.
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet: Option<QuietHours>,
    /// What browsers subscribe with (`applicationServerKey`); absent: they cannot.
    #[serde(skip_serializing_if = "String::is_empty")]
    server_key: String,
}

/// What came of a test.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct PushTests {
    /// One of each device.
    devices: Vec<PushTest>,
}

/// What came of one device's test.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct PushTest {
    /// Which.
    device: String,
    /// By whom.
    via: &'static str,
    /// Whether the provider has it.
    delivered: bool,
    /// In words.
    outcome: String,
}

impl From<PushDeviceView> for PushDevice {
    fn from(view: PushDeviceView) -> Self {
        let failure = view.failure.map(|failure| PushFailure { at_ms: failure.at.get(), reason: failure.reason, count: failure.count });
        Self { device: view.device.to_string(), via: view.via.name(), registered_ms: view.registered.get(), failure }
    }
}

impl From<WireTested> for PushTest {
    fn from(tested: WireTested) -> Self {
        Self { device: tested.device.to_string(), via: tested.via.name(), delivered: tested.delivered, outcome: tested.outcome }
    }
}

/// Be pushed to
///
/// The device of this token, in the place of what was registered for it. Nothing is said in a push but where there is something new.
#[utoipa::path(
    put, path = "/v1/me/push", tag = "people", operation_id = "registerPush", request_body = Target,
    responses((status = 200, description = "It is so", body = Done)),
)]
pub(in super::super) async fn register(State(api): State<Api>, who: Who, key: Option<Key>, body: Body<Target>) -> Result<Response, Problem> {
    let asked = PushRequest::Register { target: body.value.wire()? };
    done(&api, &who, key, body.digest, asked).await
}

/// Be pushed to no more
///
/// The device of this token.
#[utoipa::path(
    delete, path = "/v1/me/push", tag = "people", operation_id = "unregisterPush",
    responses((status = 200, description = "It is so", body = Done)),
)]
pub(in super::super) async fn unregister(State(api): State<Api>, who: Who, key: Option<Key>, digest: Digest) -> Result<Response, Problem> {
    done(&api, &who, key, digest.0, PushRequest::Unregister).await
}

/// Which devices are pushed to?
#[utoipa::path(
    get, path = "/v1/me/push", tag = "people", operation_id = "pushes",
    responses((status = 200, description = "All of the user's, and what last went wrong with each", body = Pushes)),
)]
pub(in super::super) async fn list(State(api): State<Api>, who: Who) -> Result<Json<Pushes>, Problem> {
    match api.ask(&who.caller, Request::Push(PushRequest::Get)).await? {
        Answer::Push(PushAnswer::State(state)) => Ok(Json(Pushes {
            devices: state.devices.into_iter().map(PushDevice::from).collect(),
            quiet: state.quiet.map(|quiet| QuietHours { from: quiet.from, to: quiet.to }),
            server_key: state.server_key,
        })),
        _ => Err(unexpected()),
    }
}

/// Try it
///
/// Sends each of the user's devices a push that says nothing. A few in a minute.
#[utoipa::path(
    post, path = "/v1/me/push/test", tag = "people", operation_id = "testPush",
    responses((status = 200, description = "What came of each", body = PushTests)),
)]
pub(in super::super) async fn test(State(api): State<Api>, who: Who, key: Option<Key>, digest: Digest) -> Result<Response, Problem> {
    once(&api, who.caller.user, key, digest.0, async {
        match api.ask(&who.caller, Request::Push(PushRequest::Test)).await? {
            Answer::Push(PushAnswer::Tested(tested)) => Ok((StatusCode::OK, PushTests { devices: tested.into_iter().map(PushTest::from).collect() })),
            _ => Err(unexpected()),
        }
    })
    .await
}

/// Set quiet hours
///
/// For all devices: within them only mentions are pushed, and all else when they are over.
#[utoipa::path(
    put, path = "/v1/me/push/quiet", tag = "people", operation_id = "setQuietHours", request_body = SetQuiet,
    responses((status = 200, description = "It is so", body = Done)),
)]
pub(in super::super) async fn quiet(State(api): State<Api>, who: Who, key: Option<Key>, body: Body<SetQuiet>) -> Result<Response, Problem> {
    let quiet = body.value.quiet.map(|quiet| WireQuiet { from: quiet.from, to: quiet.to });
    done(&api, &who, key, body.digest, PushRequest::SetQuiet { quiet }).await
}

async fn done(api: &Api, who: &Who, key: Option<Key>, digest: u64, asked: PushRequest) -> Result<Response, Problem> {
    let asked = Request::Push(asked);
    once(api, who.caller.user, key, digest, async { api.ask(&who.caller, asked).await.map(|_| (StatusCode::OK, Done {})) }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_wrong_is_not_taken_for_absent() {
        let of = |text: &str| serde_json::from_str::<Target>(text).unwrap().wire().map_err(|problem| problem.code);
        let browser = |server: &str| format!(r#"{{"via": "web_push", "endpoint": "https://x", "p256dh": "", "auth": "", "server": {server}}}"#);
        assert!(matches!(of(&browser("null")), Ok(PushTarget::WebPush { server: None, .. })));
        assert!(matches!(of(&browser("\"00000000000000fe\"")), Ok(PushTarget::WebPush { server: Some([0, 0, 0, 0, 0, 0, 0, 0xfe]), .. })));
        for server in ["\"\"", "\"fe\"", "\"00000000000000FE\"", "\"+0000000000000fe\"", "\"0000000000000000fe\""] {
            assert_eq!(of(&browser(server)), Err(Code::Invalid), "{server}");
        }
        assert_eq!(of(r#"{"via": "apns", "token": "ab", "topic": ""}"#), Err(Code::Invalid));
        assert!(of(r#"{"via": "apns", "token": "ab"}"#).is_ok());
    }
}
