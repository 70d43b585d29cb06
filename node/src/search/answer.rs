//! What this node finds of what somebody looks for: the index proposes, the rows decide.
//!
//! In: a query, the asker, conversations by group. Out: hits as the asker may read them now, and how far was looked. Invariant: a hit's text, and
//! the asker's right to it, come from one view of the replica; the query is compared with that text. Bounds: [`LOOKED_MAX`] proposals a
//! call, and the deadline: then it is said how far was looked.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
};

use kith_machine::{channel::pick::pick, own::Owned};
use kith_raft::Reader;
use kith_search::{Filter, Index, Query, QueryError, excerpt};
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{ChannelId, GroupId, Seq, UserId},
    limit,
    log::Record,
    search::{SearchHit, SearchPart, SearchQuery, SearchTold, Spot},
};

use super::{Search, WAITING_MAX, metrics::SearchReject};
use crate::{
    clock::Instant,
    router::{refuse, refuse_for},
};

/// What is asked of one node.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// Who asks.
    pub(crate) user: UserId,
    /// What is looked for.
    pub(crate) query: SearchQuery,
    /// In which conversations.
    pub(crate) parts: Vec<SearchPart>,
    /// Whom the asker hears nothing of, sorted.
    pub(crate) hidden: Vec<UserId>,
}

/// What cannot be looked for, as a client is told it.
pub(crate) fn refused(error: QueryError) -> Refusal {
    let code = match error {
        QueryError::TooLong | QueryError::TooManyWords => Code::TooLarge,
        QueryError::NoWords | QueryError::TooOpen => Code::Invalid,
    };
    refuse(code).with_text(error.to_string())
}

impl Search {
    /// Looks through what this node holds.
    ///
    /// # Errors
    /// `Busy`, `Internal`, or the query cannot be read here.
    pub(crate) async fn answer(&self, look: Look, deadline: Instant) -> Result<SearchTold, Refusal> {
        let inner = &self.0;
        if inner.waiting.fetch_add(1, Ordering::AcqRel) >= WAITING_MAX {
            inner.waiting.fetch_sub(1, Ordering::AcqRel);
            inner.metrics.reject(SearchReject::Busy);
            return Err(refuse_for(Code::Busy, BUSY_MS));
        }
        let permit = {
            let _waits = Waits(self);
            let left = deadline.saturating_duration_since(inner.clock.instant());
            tokio::time::timeout(left, inner.looks.acquire()).await.map_err(|_| refuse(Code::Timeout))?.map_err(|_| refuse(Code::Draining))?
        };
        let (search, begun) = (self.clone(), inner.clock.instant());
        let told = tokio::task::spawn_blocking(move || search.look(&look, deadline)).await;
        drop(permit);
        inner.metrics.look.observe(inner.clock.instant().saturating_duration_since(begun).as_secs_f64());
        // One that panicked met damage.
        told.map_err(|_| self.unsound())?
    }

    fn look(&self, look: &Look, deadline: Instant) -> Result<SearchTold, Refusal> {
        let query = Query::parse(&look.query.words).map_err(refused)?;
        let Some(index) = self.0.index.load_full() else { return Ok(all_behind(look)) };
        let mut told = SearchTold::default();
        let mut rows = Rows { look, query: &query, groups: HashMap::new(), readers: HashMap::new() };
        let mut channels = Vec::new();
        for part in &look.parts {
            let reader = self.0.groups.get(part.group).filter(|_| self.is_current(part.group)).and_then(|group| group.reader().ok());
            // What came a moment ago is not in the index yet, what went is another group's to find.
            let is_own = |owned: Owned| part.channels.iter().all(|channel| owned.holds(channel.bucket()));
            let reader = reader.filter(|reader| Owned::read(reader).is_ok_and(is_own));
            let Some(reader) = reader else {
                told.behind.push(part.group);
                continue;
            };
            rows.readers.insert(part.group, reader);
            rows.groups.extend(part.channels.iter().map(|channel| (*channel, part.group)));
            channels.extend_from_slice(&part.channels);
        }
        channels.sort();
        told.behind.sort();
        self.fill(&index, &mut rows, &channels, deadline, &mut told)?;
        Ok(told)
    }

    /// Fills a page from proposals, newest first.
    fn fill(&self, index: &Arc<Index>, rows: &mut Rows<'_>, channels: &[ChannelId], deadline: Instant, told: &mut SearchTold) -> Result<(), Refusal> {
        let (look, wanted) = (rows.look, page_limit(rows.look.query.limit));
        let mut below = look.query.below;
        let mut looked = 0;
        loop {
            let SearchQuery { sender, since, until, .. } = look.query;
            let filter = Filter { channels, sender, since, until, below, limit: wanted.max(LOOK_AT_ONCE) };
            let found = index.candidates(rows.query, &filter).map_err(|error| {
                self.broken(&error);
                self.unsound()
            })?;
            looked += found.spots.len();
            let hits = rows.hits(&found.spots).map_err(|error| self.broken(&error))?;
            let room = wanted - told.hits.len();
            if hits.len() > room {
                // The rest comes with the next page.
                told.reached = hits.get(room - 1).map(|hit| hit.spot);
                told.hits.extend(hits.into_iter().take(room));
                return Ok(());
            }
            told.hits.extend(hits);
            below = found.spots.last().copied().or(below);
            let is_full = told.hits.len() == wanted || looked >= LOOKED_MAX || self.0.clock.instant() >= deadline;
            if !found.more || is_full {
                told.reached = below.filter(|_| found.more);
                return Ok(());
            }
        }
    }

    /// The index is opened again before anybody is answered from it.
    fn unsound(&self) -> Refusal {
        self.0.unsound.store(true, Ordering::Release);
        self.0.pressing.notify_one();
        refuse_for(Code::Behind, BUSY_MS)
    }

    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> Refusal {
        tracing::error!(node = %self.0.node, cause = %error, "search.look: what was asked for cannot be read");
        refuse(Code::Internal)
    }
}

fn all_behind(look: &Look) -> SearchTold {
    let mut behind: Vec<GroupId> = look.parts.iter().map(|part| part.group).collect();
    behind.sort();
    SearchTold { behind, ..SearchTold::default() }
}

/// Hits of a page.
pub(crate) fn page_limit(asked: u32) -> usize {
    match usize::try_from(asked).unwrap_or(usize::MAX) {
        0 => limit::QUERY_HITS_MAX,
        asked => asked.min(limit::QUERY_HITS_MAX),
    }
}

/// One that waits for its turn, until it is dropped.
struct Waits<'a>(&'a Search);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The rows of one call: of each group at one moment.
struct Rows<'a> {
    look: &'a Look,
    query: &'a Query,
    groups: HashMap<ChannelId, GroupId>,
    readers: HashMap<GroupId, Reader>,
}

impl Rows<'_> {
    /// What the proposals are worth, in their order.
    fn hits(&self, spots: &[Spot]) -> Result<Vec<SearchHit>, kith_machine::view::ViewError> {
        let mut by_channel = BTreeMap::<ChannelId, Vec<Seq>>::new();
        for spot in spots {
            by_channel.entry(spot.channel).or_default().push(spot.seq);
        }
        let mut records = HashMap::<(ChannelId, Seq), Record>::new();
        for (channel, mut seqs) in by_channel {
            let Some(reader) = self.groups.get(&channel).and_then(|group| self.readers.get(group)) else { continue };
            seqs.sort();
            records.extend(pick(reader, channel, self.look.user, &seqs)?.into_iter().map(|record| ((channel, record.at.seq), record)));
        }
        Ok(spots.iter().filter_map(|spot| self.hit(*spot, records.remove(&(spot.channel, spot.seq))?)).collect())
    }

    fn hit(&self, spot: Spot, record: Record) -> Option<SearchHit> {
        let text = record.content.text()?;
        let is_wanted = self.look.query.sender.is_none_or(|sender| record.sender == sender) && record.ts == spot.ts;
        let is_hidden = self.look.hidden.binary_search(&record.sender).is_ok();
        if !is_wanted || is_hidden || !self.query.matches(text) {
            return None;
        }
        let mut shown = excerpt(text, &self.query.spans(text));
        shown.marks.truncate(limit::EXCERPT_MARKS_MAX);
        Some(SearchHit { spot, sender: record.sender, excerpt: shown.text, marks: shown.marks })
    }
}

/// Proposals that are looked at together.
const LOOK_AT_ONCE: usize = 64;
/// Proposals that one call looks at.
const LOOKED_MAX: usize = 1_024;
/// Until a look is over.
const BUSY_MS: u32 = 200;
