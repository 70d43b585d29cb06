//! Search for messages: in what this device holds, and by the cluster's index in all conversations that the user may read.
//!
//! In: what is looked for. Out: hits, the newest first, each with a part of its text. Invariants: a record is found once; what the cluster could not
//! answer for is said. Bounds: [`SCANNED_MAX`] records of this device; a page of the cluster. Not here: which texts match (`needle`), the search for
//! users (`contact`), titles of conversations that the device has (`client`).

use std::{cmp::Reverse, collections::BTreeMap};

use kith_wire::{
    client::{Answer, Request},
    id::{ChannelId, Seq},
    limit::QUERY_HITS_MAX,
    log::Record,
    search::{SearchHit, SearchPage, SearchQuery, Spot},
};

use crate::{
    client::{Client, unexpected},
    error::Error,
    needle::Needle,
    store::Span,
};

/// Records of this device that one search looks at, those of the conversations that moved last first.
const SCANNED_MAX: usize = 50_000;
/// Of them at once: the store does other things between.
const SCANNED_AT_ONCE: u64 = 256;

/// What was found here and by the cluster.
#[derive(Clone, Debug)]
pub struct Found {
    /// Newest first, each once; at most `limit` of the query.
    pub hits: Vec<SearchHit>,
    /// Groups whose title has what is looked for, if the cluster answered.
    pub channels: Vec<ChannelId>,
    /// Where the next page begins; `None`: there is nothing older.
    pub next: Option<Spot>,
    /// Why the cluster did not answer: then only what this device holds was searched. `None`: it did.
    pub unanswered: Option<Error>,
    /// Conversations of the user that nobody of the cluster answered for.
    pub unsearched: u32,
}

impl Client {
    /// Messages that have what is looked for: words in any order, `"a phrase"`, `beginn*`, `-unwanted`; and more by the fields of
    /// [`SearchQuery`]. The next page is found with `below` set to `next` of this one; a page may have fewer than `limit` although there is one.
    /// By the cluster alone: see [`Client::find`].
    ///
    /// # Errors
    /// `Invalid`, `TooLarge`: what cannot be looked for; `RateLimited`; or as [`Client::request`].
    pub async fn search(&self, query: impl Into<SearchQuery>) -> Result<SearchPage, Error> {
        match self.request(Request::Search(query.into())).await? {
            Answer::Found(page) => Ok(page),
            _ => Err(unexpected()),
        }
    }
    /// As [`Client::search`], only in what this device holds: at once, and offline. Words need only begin so, as somebody types them.
    ///
    /// # Errors
    /// The store failed.
    pub async fn find_here(&self, query: impl Into<SearchQuery>) -> Result<Vec<SearchHit>, Error> {
        let query = query.into();
        let mut hits = self.scan(&query).await?;
        hits.truncate(limit_of(&query));
        Ok(hits)
    }
    /// As [`Client::search`], in what this device holds and by the cluster, merged. If the cluster does not answer, that is told beside what was found
    /// here.
    ///
    /// # Errors
    /// What cannot be looked for at all (`Invalid`, `TooLarge`); the store failed.
    pub async fn find(&self, query: impl Into<SearchQuery>) -> Result<Found, Error> {
        let query = query.into();
        let here = self.scan(&query).await?;
        match self.search(query.clone()).await {
            Ok(page) => Ok(merge(here, page, limit_of(&query))),
            Err(error) if error.code.number() / 1_000 == 4 && error.code != kith_wire::code::Code::Unsupported => Err(error),
            Err(error) => Ok(Found { unanswered: Some(error), ..merge(here, SearchPage::default(), limit_of(&query)) }),
        }
    }

    /// All hits of this device, newest first.
    async fn scan(&self, query: &SearchQuery) -> Result<Vec<SearchHit>, Error> {
        let failed = |error| Error::store("reading the local store", error);
        let needle = Needle::new(&query.words);
        let mut channels: Vec<ChannelId> = match query.channel {
            Some(channel) => vec![channel],
            None => self.channels().await?.iter().map(|summary| summary.channel).collect(),
        };
        channels.dedup();
        let mut hits = Vec::new();
        let mut left = SCANNED_MAX;
        'all: for channel in channels {
            for span in self.store().spans(channel).await.map_err(failed)?.into_iter().rev() {
                let mut last = Some(span.last);
                while let Some(part) = last.and_then(|last| part_of(span, last)) {
                    let records = self.store().records(channel, part.first, part.last, SCANNED_AT_ONCE as usize).await.map_err(failed)?;
                    left = left.saturating_sub(records.len());
                    hits.extend(records.iter().filter_map(|record| hit_of(channel, record, query, &needle)));
                    if left == 0 {
                        break 'all;
                    }
                    last = part.first.get().checked_sub(1).map(Seq::new);
                }
            }
        }
        hits.sort_unstable_by_key(|hit| Reverse(hit.spot));
        Ok(hits)
    }
}

/// The last part of a span up to this seq.
fn part_of(span: Span, last: Seq) -> Option<Span> {
    Span::new(span.first.max(Seq::new(last.get().saturating_sub(SCANNED_AT_ONCE - 1))), last)
}

fn limit_of(query: &SearchQuery) -> usize {
    match query.limit as usize {
        0 => QUERY_HITS_MAX,
        limit => limit.min(QUERY_HITS_MAX),
    }
}

fn hit_of(channel: ChannelId, record: &Record, query: &SearchQuery, needle: &Needle) -> Option<SearchHit> {
    let text = record.content.text().filter(|text| !text.is_empty())?;
    let spot = Spot { ts: record.ts, seq: record.at.seq, channel };
    let is_wanted = query.sender.is_none_or(|sender| sender == record.sender)
        && query.since.is_none_or(|since| since <= record.ts)
        && query.until.is_none_or(|until| record.ts < until)
        && query.below.is_none_or(|below| spot < below);
    let (excerpt, marks) = needle.find(text).filter(|_| is_wanted)?;
    Some(SearchHit { spot, sender: record.sender, excerpt, marks })
}

/// What both found, as one page: only so far back as the cluster's goes, since what is older comes with the next one.
fn merge(here: Vec<SearchHit>, page: SearchPage, limit: usize) -> Found {
    let reaches = |spot: &Spot| page.next.is_none_or(|next| *spot >= next);
    let mut all: BTreeMap<Reverse<Spot>, SearchHit> = here.into_iter().filter(|hit| reaches(&hit.spot)).map(|hit| (Reverse(hit.spot), hit)).collect();
    // The cluster's excerpt shows what its index has matched.
    all.extend(page.hits.into_iter().map(|hit| (Reverse(hit.spot), hit)));
    let mut hits: Vec<SearchHit> = all.into_values().collect();
    let mut next = page.next;
    if hits.len() > limit {
        hits.truncate(limit);
        next = hits.last().map(|hit| hit.spot);
    }
    Found { hits, channels: page.channels, next, unanswered: None, unsearched: page.unsearched }
}

#[cfg(test)]
mod tests {
    use kith_wire::id::{Timestamp, UserId};

    use super::*;

    fn hit(ts: u64, excerpt: &str) -> SearchHit {
        let spot = Spot { ts: Timestamp::new(ts), seq: Seq::new(ts), channel: ChannelId::direct(UserId::new(1), UserId::new(2)) };
        SearchHit { spot, sender: UserId::new(1), excerpt: excerpt.to_owned(), marks: Vec::new() }
    }
    fn times(found: &Found) -> Vec<u64> {
        found.hits.iter().map(|hit| hit.spot.ts.get()).collect()
    }

    #[test]
    fn a_record_that_both_found_stands_once_and_pages_do_not_overlap() {
        let here: Vec<_> = [9, 7, 5, 3, 1].into_iter().map(|ts| hit(ts, "here")).collect();
        let page = SearchPage { hits: vec![hit(8, "there"), hit(7, "there"), hit(4, "there")], next: Some(hit(4, "").spot), ..SearchPage::default() };
        let found = merge(here.clone(), page.clone(), 50);
        assert_eq!(times(&found), [9, 8, 7, 5, 4]);
        assert_eq!(found.hits[2].excerpt, "there");
        assert_eq!(found.next, Some(hit(4, "").spot), "3 and 1 come with the next page");
        let found = merge(here.clone(), page, 2);
        assert_eq!((times(&found), found.next), (vec![9, 8], Some(hit(8, "").spot)));
        let found = merge(here, SearchPage::default(), 50);
        assert_eq!((times(&found), found.next), (vec![9, 7, 5, 3, 1], None));
    }

    #[test]
    fn a_span_is_looked_through_from_its_end() {
        let span = Span::new(Seq::new(10), Seq::new(600)).expect("rising");
        assert_eq!(part_of(span, span.last), Span::new(Seq::new(345), Seq::new(600)));
        assert_eq!(part_of(span, Seq::new(344)), Span::new(Seq::new(89), Seq::new(344)));
        assert_eq!(part_of(span, Seq::new(88)), Span::new(Seq::new(10), Seq::new(88)));
        assert_eq!(part_of(span, Seq::new(9)), None);
    }
}
