//! How a conversation stands in the own list, on all devices: pinned, muted, archived, cleared, with a draft.

use axum::{extract::State, http::StatusCode, response::Response};
use kith_wire::{
    client::Request,
    id::{Seq, Timestamp},
    log::{Preference, SavedDraft},
    people::PeopleRequest,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    super::{
        Api,
        extract::{Body, Key, Params, Who},
        model::Position,
        number,
        once::once,
        problem::Problem,
    },
    channels::done,
    write::{Done, channel},
};

/// How a conversation is to stand in the list; what is not there stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewPreferences {
    /// On top of the list; at most 100 are.
    #[serde(default)]
    pinned: Option<bool>,
    /// No push until then, in milliseconds since 1970; 0: push.
    #[serde(default, deserialize_with = "number::maybe")]
    #[schema(maximum = 9_007_199_254_740_991u64)]
    muted_until_ms: Option<u64>,
    /// Out of the list until something is said after this record, the last one that the caller has seen, or for as long as it is muted; 0: back
    /// into it.
    #[serde(default, deserialize_with = "number::maybe")]
    #[schema(maximum = 9_007_199_254_740_991u64)]
    archived: Option<u64>,
    /// What was written and not sent yet.
    #[serde(default)]
    draft: Option<NewDraft>,
    /// What is here up to this record is read, and not shown in this list any more.
    #[serde(default)]
    cleared: Option<Position>,
}

/// A text that was not sent yet.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDraft {
    /// So far; empty: there is none any more.
    #[schema(max_length = 2_000)]
    text: String,
    /// Seq of the record that it will answer.
    #[serde(default, deserialize_with = "number::maybe_from_one")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    reply_to: Option<u64>,
}

impl NewPreferences {
    fn all(self, now: Timestamp) -> Vec<Preference> {
        let Self { pinned, muted_until_ms, archived, draft, cleared } = self;
        let mute = |ms: u64| Preference::Mute { until: Some(Timestamp::new(ms)).filter(|_| ms > 0) };
        let save = |draft: NewDraft| Preference::Draft(SavedDraft { text: draft.text, reply_to: draft.reply_to.map(Seq::new), at: now });
        let clear = |at: Position| Preference::Clear { seq: Seq::new(at.seq), cnt: at.cnt };
        let archive = |seq: u64| Preference::Archive { seen: Some(Seq::new(seq)).filter(|_| seq > 0) };
        let pinned = pinned.map(Preference::Pin);
        let all = [pinned, muted_until_ms.map(mute), archived.map(archive), draft.map(save), cleared.map(clear)];
        all.into_iter().flatten().collect()
    }
}

/// Change how a conversation stands in the own list
///
/// On all devices; nobody else sees it.
#[utoipa::path(
    put, path = "/v1/channels/{channel}/preferences", tag = "channels", operation_id = "setPreferences",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob")),
    request_body = NewPreferences,
    responses((status = 200, description = "Changed", body = Done)),
)]
pub(in super::super) async fn set(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<NewPreferences>,
) -> Result<Response, Problem> {
    let channel = channel(&api, &who, &params).await?;
    let preferences = body.value.all(api.clock.now());
    once(&api, who.caller.user, key, body.digest, async {
        // Each of them is as good done twice; a refusal in the middle leaves those before it done.
        for preference in preferences {
            done(&api, &who, Request::People(PeopleRequest::Prefer { channel, preference })).await?;
        }
        Ok((StatusCode::OK, Done {}))
    })
    .await
}
