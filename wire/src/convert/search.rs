//! `kith.client.v1` and `kith.peer.v1`: search for messages.

use super::{
    Field, at_most, message, nested,
    proto::{client::v1 as client, peer::v1 as peer},
    tuple, well_formed,
};
use crate::{
    error::{DecodeError, Why},
    limit,
    search::{SearchHit, SearchPage, SearchPart, SearchQuery, SearchScope, SearchTold, Spot},
};

message!(SearchQuery => client::SearchQuery { words, sender, channel, since, until, limit, below } check check_query);
message!(Spot => client::Spot { ts, seq, channel });
message!(SearchHit => client::SearchHit { spot, sender, excerpt, marks } check check_hit);
message!(SearchPage => client::SearchPage { hits, channels, missing, unsearched, next } check check_page);
tuple!((u32, u32) => client::SearchMark { first first, count count });
message!(SearchPart => peer::SearchPart { group, channels } check check_part);
message!(SearchScope => peer::SearchScope { channels, more, titled, hidden } check check_scope);
message!(SearchTold => peer::SearchTold { hits, reached, behind } check check_told);

fn check_query(query: &SearchQuery) -> Result<(), DecodeError> {
    // No text has more characters than bytes, so that most need no count.
    let chars = if query.words.len() > limit::QUERY_CHARS_MAX { query.words.chars().count() } else { 0 };
    at_most(chars, limit::QUERY_CHARS_MAX, "words")
}

fn check_hit(hit: &SearchHit) -> Result<(), DecodeError> {
    at_most(hit.excerpt.chars().count(), limit::EXCERPT_CHARS_MAX, "excerpt")?;
    at_most(hit.marks.len(), limit::EXCERPT_MARKS_MAX, "marks")
}

fn check_page(page: &SearchPage) -> Result<(), DecodeError> {
    check_hits(&page.hits)?;
    at_most(page.channels.len(), limit::QUERY_CHANNELS_MAX, "channels")
}

fn check_hits(hits: &[SearchHit]) -> Result<(), DecodeError> {
    at_most(hits.len(), limit::QUERY_HITS_MAX, "hits")?;
    well_formed(hits.is_sorted_by(|newer, older| newer.spot > older.spot), "hits")
}

fn check_told(told: &SearchTold) -> Result<(), DecodeError> {
    check_hits(&told.hits)
}

fn check_part(part: &SearchPart) -> Result<(), DecodeError> {
    at_most(part.channels.len(), limit::SEARCHED_CHANNELS_MAX, "channels")?;
    well_formed(part.channels.is_sorted(), "channels")
}

fn check_scope(scope: &SearchScope) -> Result<(), DecodeError> {
    at_most(scope.channels.len(), limit::SEARCHED_CHANNELS_MAX, "channels")?;
    at_most(scope.titled.len(), limit::QUERY_CHANNELS_MAX, "titled")?;
    at_most(scope.hidden.len(), limit::BLOCKS_MAX as usize, "hidden")?;
    well_formed(scope.hidden.is_sorted(), "hidden")
}
