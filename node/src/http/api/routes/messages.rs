//! Sending, and reading back.

use axum::{Json, extract::State};
use kith_wire::{
    act::{Act, Draft},
    client::{HistoryQuery, Page, Place as Where, Pull, Request, Send},
    code::Code,
    id::{ChannelId, Seq, Timestamp},
    limit,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        Api,
        cursor::HistoryCursor,
        extract::{Body, Key, Params, Query, Who, user},
        model::{History, UserIdText, Written},
        number,
        problem::Problem,
        unexpected,
    },
    write::{Did, UNNUMBERED, act_in, channel, write},
};

/// A text to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewMessage {
    /// 1 to 100,000 Unicode scalar values; white space is text.
    #[schema(min_length = 1, max_length = 100_000, example = "hello")]
    text: String,
    /// Seq of the record that this answers.
    #[serde(default, deserialize_with = "number::maybe_from_one")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    reply_to: Option<u64>,
    /// Ids of users that this mentions.
    #[serde(default)]
    #[schema(value_type = Vec<UserIdText>, max_items = 100)]
    mentions: Vec<String>,
    /// Seq of the text that its thread began with, or begins with by this.
    #[serde(default, deserialize_with = "number::maybe_from_one")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    thread: Option<u64>,
    /// It ends so many milliseconds after it was written: then its text is nowhere.
    #[serde(default)]
    #[schema(minimum = 1_000, maximum = 31_622_400_000u64)]
    ttl_ms: Option<u64>,
}

/// Send a text
///
/// To a group by its id, or to a user by `@name`: a direct channel begins with its first text. Answered once the text is on the disks of a quorum.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/messages", tag = "messages", operation_id = "send",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob")),
    request_body = NewMessage,
    responses((status = 201, description = "Written", body = Written)),
)]
pub(in super::super) async fn send(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<NewMessage>,
) -> Result<Did, Problem> {
    let channel = channel(&api, &who, &params).await?;
    let NewMessage { text, reply_to, mentions, thread, ttl_ms } = body.value;
    let mentions = mentions.iter().map(|text| user(text)).collect::<Result<_, _>>()?;
    let (reply_to, thread) = (reply_to.map(Seq::new), thread.map(Seq::new));
    if thread.is_none() && ttl_ms.is_none() {
        let send = Send { channel, client_seq: UNNUMBERED, settled: UNNUMBERED, text, reply_to, mentions };
        return write(&api, &who, key, channel, Request::Send(send)).await;
    }
    act_in(&api, &who, key, channel, Act::Post(Draft { text, reply_to, mentions, thread, ttl_ms })).await
}

/// Which records.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct HistoryParams {
    /// Records above this seq, rising. Without it and without `before`: the newest.
    #[serde(default, deserialize_with = "number::maybe")]
    #[param(maximum = 9_007_199_254_740_991u64)]
    after: Option<u64>,
    /// Records below this seq, from the newest of them backwards.
    #[serde(default, deserialize_with = "number::maybe_from_one")]
    #[param(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    before: Option<u64>,
    /// Records from this time on, in milliseconds since 1970, rising. Alone.
    #[serde(default, deserialize_with = "number::maybe")]
    #[param(maximum = 9_007_199_254_740_991u64)]
    at_ms: Option<u64>,
    /// Records on both sides of this one; there is no `next`: go on with `after` and `before`. Alone.
    #[serde(default, deserialize_with = "number::maybe_from_one")]
    #[param(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    around: Option<u64>,
    /// Only texts of the thread that this one began, itself among them.
    #[serde(default, deserialize_with = "number::maybe_from_one")]
    #[param(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    thread: Option<u64>,
    /// Where a page before this one ended: its `next`. Wins over all others but `limit`.
    #[param(pattern = "^h([0-9a-f]{1,16}-){3}[01]-[0-9a-f]{1,16}$")]
    cursor: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Read records
///
/// A page has them by rising seq. The first one holds all that was acknowledged before it was asked for, over any node.
#[utoipa::path(
    get, path = "/v1/channels/{channel}/messages", tag = "messages", operation_id = "history",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"), HistoryParams),
    responses((status = 200, description = "A page", body = History)),
)]
pub(in super::super) async fn history(
    State(api): State<Api>,
    who: Who,
    params: Params,
    Query(asked): Query<HistoryParams>,
) -> Result<Json<History>, Problem> {
    let channel = channel(&api, &who, &params).await?;
    let query = asked.query(channel)?;
    let (first, last, newest_first, place) = (query.first, query.last, query.newest_first, query.place);
    match api.pull(&who.caller, Pull::History(query)).await? {
        Page::History(page) => {
            let head = page.head.seq;
            let covered = page.covered.filter(|_| !matches!(place, Some(Where::Around(_))));
            let left = covered.and_then(|covered| rest(covered, first, last.min(head), newest_first));
            let thread = match place {
                Some(Where::Thread(root)) => Some(root),
                _ => None,
            };
            let next = left.map(|(first, last)| HistoryCursor { first, last, head, newest_first, thread }.to_string());
            Ok(Json(History::of(channel, &page, next)))
        }
        _ => Err(unexpected()),
    }
}

impl HistoryParams {
    fn query(&self, channel: ChannelId) -> Result<HistoryQuery, Problem> {
        let limit = page_limit(self.limit, limit::PAGE_RECORDS_MAX)?;
        let begin = |first, last, newest_first, place| HistoryQuery {
            channel,
            first,
            last,
            newest_first,
            limit,
            min_seq: Seq::ZERO,
            replica: None,
            linearizable: true,
            place,
        };
        if let Some(cursor) = &self.cursor {
            let HistoryCursor { first, last, head, newest_first, thread } = cursor.parse()?;
            let query = begin(first, last, newest_first, thread.map(Where::Thread));
            return Ok(HistoryQuery { min_seq: head, linearizable: false, ..query });
        }
        let (first, all) = (Seq::ZERO.next(), Seq::new(u64::MAX));
        let thread = self.thread.map(|root| Where::Thread(Seq::new(root)));
        let is_range = self.after.is_some() || self.before.is_some() || thread.is_some();
        match (self.at_ms, self.around) {
            (None, None) => {}
            (Some(at), None) if !is_range => return Ok(begin(first, all, false, Some(Where::At(Timestamp::new(at))))),
            (None, Some(around)) if !is_range => return Ok(begin(first, all, false, Some(Where::Around(Seq::new(around))))),
            _ => return Err(Problem::new(Code::Invalid, "at_ms and around stand alone")),
        }
        let last = self.before.map_or(all, |before| Seq::new(before).prev());
        Ok(match self.after {
            Some(after) => begin(Seq::new(after).next(), last, false, thread),
            None => begin(first, last, true, thread),
        })
    }
}

/// What is left of a range after the part that a page covered.
fn rest(covered: (Seq, Seq), first: Seq, last: Seq, newest_first: bool) -> Option<(Seq, Seq)> {
    let left = if newest_first { (first, covered.0.prev()) } else { (covered.1.next(), last) };
    (left.0 <= left.1).then_some(left)
}

/// How many a page may have.
pub(super) fn page_limit(asked: Option<u32>, most: usize) -> Result<u32, Problem> {
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    match asked {
        Some(0) => Err(Problem::new(Code::Invalid, "limit begins at 1")),
        Some(limit) if limit > most => Err(Problem::new(Code::Invalid, format!("limit ends at {most}"))),
        other => Ok(other.unwrap_or(PAGE_DEFAULT)),
    }
}

/// Items of a page, when nobody says.
const PAGE_DEFAULT: u32 = 100;

#[cfg(test)]
mod tests {
    use kith_wire::id::UserId;

    use super::*;

    fn seqs(first: u64, last: u64) -> (Seq, Seq) {
        (Seq::new(first), Seq::new(last))
    }

    #[test]
    fn pages_follow_one_another_without_a_hole_in_both_directions() {
        let (one, end) = (Seq::new(1), Seq::new(25));
        assert_eq!(rest(seqs(1, 10), one, end, false), Some(seqs(11, 25)));
        assert_eq!(rest(seqs(11, 25), Seq::new(11), end, false), None);
        assert_eq!(rest(seqs(16, 25), one, end, true), Some(seqs(1, 15)));
        assert_eq!(rest(seqs(1, 15), one, Seq::new(15), true), None);
    }

    #[test]
    fn a_time_and_a_middle_stand_alone() {
        let asked = |at_ms, around, after| HistoryParams { after, before: None, at_ms, around, thread: None, cursor: None, limit: None };
        let query = |asked: HistoryParams| asked.query(ChannelId::direct(UserId::new(1), UserId::new(2)));
        assert_eq!(query(asked(Some(5), None, None)).unwrap().place, Some(Where::At(Timestamp::new(5))));
        assert_eq!(query(asked(None, Some(5), None)).unwrap().place, Some(Where::Around(Seq::new(5))));
        assert!(query(asked(Some(5), Some(5), None)).is_err() && query(asked(Some(5), None, Some(1))).is_err());
    }

    #[test]
    fn a_page_has_a_bound() {
        assert_eq!(page_limit(None, 500), Ok(PAGE_DEFAULT));
        assert_eq!(page_limit(Some(500), 500), Ok(500));
        assert!(page_limit(Some(0), 500).is_err() && page_limit(Some(501), 500).is_err());
    }
}
