//! The index of one node: tantivy behind one type.
//!
//! In: changes ([`Index::put`]), a commit now and then ([`Index::commit`], blocks). Out: places that may match ([`Index::candidates`], blocks). What is
//! put is found at once: what waits for its commit is looked through as it is. Invariants: a commit writes changes together with how far they
//! bring each group ([`Stand`]), so that what is replayed after a crash is what is missing; no text is stored, only its words. An index that
//! is damaged, of another version or of another store is emptied: whoever feeds it begins anew. Bounds: [`Bounds`]; one writing thread, one that
//! merges. Every error means: open it again.

mod collect;
mod write;

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use kith_wire::{
    id::{ChannelId, GroupId, Seq, StoreId, Timestamp, UserId},
    search::Spot,
};
use tantivy::{
    IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TantivyError,
    query::{BooleanQuery, InvertedIndexRangeQuery, PhraseQuery, Query as EngineQuery, TermQuery, TermSetQuery},
    schema::{Field, IndexRecordOption, NumericOptions, Schema, Term, TextFieldIndexing, TextOptions},
    store::Compressor,
};
use thiserror::Error;

use self::collect::{LastSeq, Newest};
use crate::{
    pending::{Change, Pending},
    query::{Clause, Query},
    stand::{self, Stand},
    tokens::WordTokenizer,
};

/// What the index may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Memory of the writing thread, in bytes; tantivy wants 15 MB.
    pub writer_bytes: usize,
    /// Changes that wait for a commit. Whoever feeds the index waits then.
    pub pending_records_max: usize,
    /// Their texts, in bytes. As above.
    pub pending_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { writer_bytes: 16 << 20, pending_records_max: 32_768, pending_bytes_max: 16 << 20 }
    }
}

/// The index cannot be used any more; it may be after it was opened again.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The engine says so.
    #[error("cannot {doing} the search index")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: Box<TantivyError>,
    },
    /// Its folder cannot be used.
    #[error("cannot use the folder of the search index")]
    Folder(#[source] io::Error),
    /// It was closed.
    #[error("the search index is closed")]
    Closed,
}

fn engine(doing: &'static str) -> impl FnOnce(TantivyError) -> IndexError {
    move |source| IndexError::Engine { doing, source: Box::new(source) }
}

/// What an opened index was like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opened {
    /// There was none.
    New,
    /// As it was left.
    AsLeft,
    /// It was emptied: it could not be read, or is of another version or store.
    Emptied,
}

/// What is looked for besides words.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// Only in these; sorted.
    pub channels: &'a [ChannelId],
    /// Only of this user.
    pub sender: Option<UserId>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
    /// Only what is older.
    pub below: Option<Spot>,
    /// At most so many.
    pub limit: usize,
}

impl Filter<'_> {
    fn takes(&self, spot: &Spot) -> bool {
        self.takes_time(spot.ts) && self.below.is_none_or(|below| *spot < below)
    }
    fn takes_time(&self, ts: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= ts) && self.until.is_none_or(|until| ts < until)
    }
}

/// Places that may match.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Candidates {
    /// Newest first.
    pub spots: Vec<Spot>,
    /// There may be older ones.
    pub more: bool,
}

/// What the index holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Texts.
    pub documents: u64,
    /// Parts that a search looks through.
    pub segments: u64,
    /// Changes that wait for a commit.
    pub pending: u64,
}

/// The fields of a document, in the order in which they were made.
#[derive(Clone, Copy, Debug)]
struct Fields {
    group: Field,
    channel: Field,
    sender: Field,
    seq: Field,
    ts: Field,
    text: Field,
}

/// The index of one node.
pub struct Index {
    fields: Fields,
    store: StoreId,
    bounds: Bounds,
    reader: IndexReader,
    /// `None`: closed.
    writer: Mutex<Option<IndexWriter>>,
    overlay: RwLock<Overlay>,
}

/// What is not in the engine yet.
#[derive(Default)]
struct Overlay {
    /// Being written.
    committing: Option<Arc<Pending>>,
    pending: Pending,
    /// As committed.
    stands: BTreeMap<GroupId, Stand>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index of a store in its folder, or makes it. Reads all of it once, to see that it is whole. Blocks.
    ///
    /// # Errors
    /// The folder cannot be used, or somebody else writes into it.
    pub fn open(folder: &Path, store: StoreId, bounds: Bounds) -> Result<(Self, Opened), IndexError> {
        fs::create_dir_all(folder).map_err(IndexError::Folder)?;
        let is_new = fs::read_dir(folder).map_err(IndexError::Folder)?.next().is_none();
        if !is_new {
            match Self::reopen(folder, store, bounds) {
                Ok(Some(index)) => return Ok((index, Opened::AsLeft)),
                // Nothing is wrong with it: whoever had it is still about to let go.
                Err(error @ IndexError::Engine { .. }) if is_locked(&error) => return Err(error),
                Ok(None) | Err(_) => {
                    fs::remove_dir_all(folder).map_err(IndexError::Folder)?;
                    fs::create_dir_all(folder).map_err(IndexError::Folder)?;
                }
            }
        }
        let (schema, fields) = schema();
        let settings =
            IndexSettings { docstore_compression: Compressor::None, docstore_compress_dedicated_thread: false, ..IndexSettings::default() };
        let index = tantivy::Index::builder().schema(schema).settings(settings).create_in_dir(folder).map_err(engine("make"))?;
        Ok((Self::over(index, fields, store, bounds, BTreeMap::new())?, if is_new { Opened::New } else { Opened::Emptied }))
    }

    /// `None`: it is of another version or store, or damaged.
    fn reopen(folder: &Path, store: StoreId, bounds: Bounds) -> Result<Option<Self>, IndexError> {
        let index = tantivy::Index::open_in_dir(folder).map_err(engine("open"))?;
        let (schema, fields) = schema();
        let payload = index.load_metas().map_err(engine("open"))?.payload;
        // One that was made and never written to holds nothing.
        let stands = payload.map_or_else(|| Some(BTreeMap::new()), |payload| stand::decode(store, &payload));
        let Some(stands) = stands.filter(|_| index.schema() == schema) else { return Ok(None) };
        if !index.validate_checksum().map_err(engine("check"))?.is_empty() {
            return Ok(None);
        }
        Self::over(index, fields, store, bounds, stands).map(Some)
    }

    fn over(index: tantivy::Index, fields: Fields, store: StoreId, bounds: Bounds, stands: BTreeMap<GroupId, Stand>) -> Result<Self, IndexError> {
        index.tokenizers().register(TOKENIZER, WordTokenizer);
        let writer = write::writer(&index, bounds).map_err(engine("write"))?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(engine("read"))?;
        let overlay = RwLock::new(Overlay { stands, ..Overlay::default() });
        Ok(Self { fields, store, bounds, reader, writer: Mutex::new(Some(writer)), overlay })
    }

    /// How far a group is, with what waits for a commit; `None`: nothing of it is here.
    pub fn stand(&self, group: GroupId) -> Option<Stand> {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        for pending in [Some(&overlay.pending), overlay.committing.as_deref()].into_iter().flatten() {
            match pending.stands.get(&group) {
                Some(stand) => return Some(*stand),
                None if pending.dropped.contains(&group) => return None,
                None => {}
            }
        }
        overlay.stands.get(&group).copied()
    }

    /// Groups that the index has something of.
    pub fn groups(&self) -> Vec<GroupId> {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        let pending = overlay.committing.iter().flat_map(|pending| pending.stands.keys()).chain(overlay.pending.stands.keys());
        let mut groups: Vec<GroupId> = overlay.stands.keys().chain(pending).copied().collect();
        groups.sort();
        groups.dedup();
        drop(overlay);
        groups.retain(|group| self.stand(*group).is_some());
        groups
    }

    /// Takes changes of a group, which bring it so far. Whoever has more than a few waits for [`Index::has_room`] before.
    pub fn put(&self, group: GroupId, changes: impl IntoIterator<Item = Change>, stand: Stand) {
        let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
        let pending = &mut overlay.pending;
        changes.into_iter().for_each(|change| pending.apply(group, change));
        pending.stands.insert(group, stand);
    }

    /// Whether more may be put: if not, it is to be committed first.
    pub fn has_room(&self) -> bool {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        let pending = &overlay.pending;
        pending.slots.len() < self.bounds.pending_records_max && pending.bytes < self.bounds.pending_bytes_max
    }

    /// Takes all of a group out.
    pub fn drop_group(&self, group: GroupId) {
        self.overlay.write().unwrap_or_else(PoisonError::into_inner).pending.drop_group(group);
    }

    /// Whether so much waits that a commit should not be put off.
    pub fn is_pressing(&self) -> bool {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        let pending = &overlay.pending;
        2 * pending.slots.len() >= self.bounds.pending_records_max || 2 * pending.bytes >= self.bounds.pending_bytes_max
    }

    /// Places that may match, newest first: a text that has all that is wanted is among them, or older than the last of them. Blocks.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn candidates(&self, query: &Query, filter: &Filter<'_>) -> Result<Candidates, IndexError> {
        let mut spots = Vec::new();
        // Before the engine is asked: what is committed meanwhile is in one of the two.
        let (committing, waiting) = {
            let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
            (overlay.committing.clone(), find_waiting(&overlay.pending, query, filter))
        };
        spots.extend(waiting);
        spots.extend(committing.iter().flat_map(|pending| find_waiting(pending, query, filter)));
        if !filter.channels.is_empty() {
            let wanted = self.engine_query(query, filter);
            spots.extend(self.reader.searcher().search(&wanted, &Newest { filter: filter.into() }).map_err(engine("search"))?);
        }
        spots.sort_by_key(|spot| std::cmp::Reverse(*spot));
        spots.dedup();
        // The engine gives no more than the limit, so that what was cut off is older than the last one given.
        let more = spots.len() >= filter.limit;
        spots.truncate(filter.limit);
        Ok(Candidates { spots, more })
    }

    /// The last text of a channel that the index has; `None`: it has none. Blocks.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn last_seq(&self, channel: ChannelId) -> Result<Option<Seq>, IndexError> {
        let all = (channel, Seq::ZERO)..=(channel, Seq::new(u64::MAX));
        let waiting = {
            let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
            let pending = overlay.committing.as_deref().into_iter().chain([&overlay.pending]);
            pending
                .filter_map(|pending| pending.slots.range(all.clone()).rev().find(|(_, slot)| slot.record.is_some()))
                .map(|((_, seq), _)| *seq)
                .max()
        };
        let held = self.reader.searcher().search(&self.of_channel(channel), &LastSeq).map_err(engine("search"))?;
        Ok(waiting.max(held))
    }

    /// What it holds.
    pub fn stats(&self) -> Stats {
        let searcher = self.reader.searcher();
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        let pending = overlay.committing.iter().map(|pending| pending.slots.len()).sum::<usize>() + overlay.pending.slots.len();
        Stats { documents: searcher.num_docs(), segments: searcher.segment_readers().len() as u64, pending: pending as u64 }
    }

    fn lock_writer(&self) -> MutexGuard<'_, Option<IndexWriter>> {
        // A commit that panicked has left the writer to be closed.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_channel(&self, channel: ChannelId) -> TermQuery {
        TermQuery::new(Term::from_field_bytes(self.fields.channel, channel.as_bytes()), IndexRecordOption::Basic)
    }

    /// Finds at least what the query does.
    fn engine_query(&self, query: &Query, filter: &Filter<'_>) -> BooleanQuery {
        let of_channels: Box<dyn EngineQuery> = match filter.channels {
            [one] => Box::new(self.of_channel(*one)),
            many => Box::new(TermSetQuery::new(many.iter().map(|channel| Term::from_field_bytes(self.fields.channel, channel.as_bytes())))),
        };
        let mut wanted = vec![of_channels];
        if let Some(sender) = filter.sender {
            wanted.push(Box::new(TermQuery::new(Term::from_field_u64(self.fields.sender, sender.get()), IndexRecordOption::Basic)));
        }
        query.clauses.iter().filter(|clause| !clause.is_unwanted).for_each(|clause| self.clause(clause, &mut wanted));
        BooleanQuery::intersection(wanted)
    }

    fn clause(&self, clause: &Clause, wanted: &mut Vec<Box<dyn EngineQuery>>) {
        let term = |word: &str| Term::from_field_text(self.fields.text, word);
        let closed = clause.words.len() - usize::from(clause.is_open);
        match &clause.words[..closed] {
            [] => {}
            [(_, word)] => wanted.push(Box::new(TermQuery::new(term(word), IndexRecordOption::Basic))),
            phrase => {
                let terms = phrase.iter().map(|(offset, word)| (*offset, term(word))).collect();
                wanted.push(Box::new(PhraseQuery::new_with_offset(terms)));
            }
        }
        if let Some((_, beginning)) = clause.words.last().filter(|_| clause.is_open) {
            // Up to the first word after all that begin so: no word has the largest character.
            let range = (term(beginning), term(&format!("{beginning}{}", char::MAX)));
            let mut open = InvertedIndexRangeQuery::new(std::ops::Bound::Included(range.0), std::ops::Bound::Excluded(range.1));
            open.limit(OPEN_WORDS_MAX);
            wanted.push(Box::new(open));
        }
    }
}

/// What matches of what waits for a commit.
fn find_waiting(pending: &Pending, query: &Query, filter: &Filter<'_>) -> Vec<Spot> {
    let found = pending.slots.iter().filter_map(|((channel, seq), slot)| {
        let record = slot.record.as_ref()?;
        let spot = Spot { ts: record.ts, seq: *seq, channel: *channel };
        let is_asked = filter.channels.binary_search(channel).is_ok() && filter.takes(&spot);
        let is_theirs = filter.sender.is_none_or(|sender| record.sender == sender);
        (is_asked && is_theirs && query.matches(record.content.text()?)).then_some(spot)
    });
    found.collect()
}

fn is_locked(error: &IndexError) -> bool {
    matches!(error, IndexError::Engine { source, .. } if matches!(**source, TantivyError::LockFailure(..)))
}

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let indexed = || NumericOptions::default().set_indexed();
    let words =
        TextFieldIndexing::default().set_tokenizer(TOKENIZER).set_index_option(IndexRecordOption::WithFreqsAndPositions).set_fieldnorms(false);
    let fields = Fields {
        group: schema.add_u64_field("group", indexed()),
        channel: schema.add_bytes_field("channel", tantivy::schema::BytesOptions::default().set_indexed().set_fast()),
        sender: schema.add_u64_field("sender", indexed()),
        seq: schema.add_u64_field("seq", indexed().set_fast()),
        ts: schema.add_u64_field("ts", NumericOptions::default().set_fast()),
        text: schema.add_text_field("text", TextOptions::default().set_indexing_options(words)),
    };
    (schema.build(), fields)
}

/// Our words' name in the schema.
const TOKENIZER: &str = "kith";
/// Words that `beginn*` may stand for.
const OPEN_WORDS_MAX: u64 = 65_536;

#[cfg(test)]
mod tests;
