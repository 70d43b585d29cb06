//! Writing: one commit for all that waits, with how far it brings each group.
//!
//! Indexing costs more than replicating what is indexed, and may come later: all of it runs on threads that give way to those of the log and of the edge.

use std::{
    panic,
    sync::{Arc, PoisonError},
    thread,
};

use kith_wire::id::{ChannelId, GroupId, Seq};
use tantivy::{
    IndexWriter, TantivyDocument, TantivyError, Term,
    indexer::{IndexWriterOptions, LogMergePolicy},
    query::{BooleanQuery, TermQuery},
    schema::IndexRecordOption,
};

use super::{Bounds, Index, IndexError, engine};
use crate::{
    pending::{Pending, Slot},
    stand,
};

pub(super) fn writer(index: &tantivy::Index, bounds: Bounds) -> tantivy::Result<IndexWriter> {
    let options = IndexWriterOptions::builder().num_worker_threads(1).num_merge_threads(1).memory_budget_per_thread(bounds.writer_bytes).build();
    let writer = giving_way(|| index.writer_with_options(options))?;
    let mut policy = LogMergePolicy::default();
    // Words of what was deleted go with the next merge: it is not put off for long.
    policy.set_del_docs_ratio_before_merge(DELETED_RATIO_MAX);
    writer.set_merge_policy(Box::new(policy));
    Ok(writer)
}

impl Index {
    /// Writes all that waits; says how many changes that were. Found before and after. Blocks, and syncs files.
    ///
    /// # Errors
    /// It could not be written: nothing of it is, and the index must be opened again.
    pub fn commit(&self) -> Result<usize, IndexError> {
        let mut held = self.lock_writer();
        let writer = held.as_mut().ok_or(IndexError::Closed)?;
        let (pending, payload, stands) = {
            let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
            if overlay.pending.is_empty() {
                return Ok(0);
            }
            let pending = Arc::new(std::mem::take(&mut overlay.pending));
            overlay.committing = Some(pending.clone());
            let mut stands = overlay.stands.clone();
            stands.retain(|group, _| !pending.dropped.contains(group));
            stands.extend(&pending.stands);
            (pending, stand::encode(self.store, &stands), stands)
        };
        giving_way(|| self.write(writer, &pending, &payload)).map_err(engine("write"))?;
        self.reader.reload().map_err(engine("read"))?;
        let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
        (overlay.committing, overlay.stands) = (None, stands);
        Ok(pending.slots.len())
    }

    /// Writes the parts anew that still hold words of texts that are gone; says how many those were. Blocks for as long as that takes; the index is
    /// used and written meanwhile. Merging does so too, but leaves a part alone as long as few of its texts are gone.
    ///
    /// # Errors
    /// A part could not be read or written.
    pub fn purge(&self) -> Result<usize, IndexError> {
        let searcher = self.reader.searcher();
        let worn: Vec<_> = searcher.segment_readers().iter().filter(|part| part.has_deletes()).map(|part| part.segment_id()).collect();
        // It holds files that are to go.
        drop(searcher);
        let mut purged = 0;
        for part in worn {
            // A commit waits for no more than the beginning of it.
            let merge = self.lock_writer().as_mut().ok_or(IndexError::Closed)?.merge(&[part]);
            match merge.wait() {
                Ok(_) => purged += 1,
                // It has been merged with others since.
                Err(TantivyError::InvalidArgument(_)) => {}
                Err(error) => return Err(engine("purge")(error)),
            }
        }
        self.reader.reload().map_err(engine("read"))?;
        Ok(purged)
    }

    /// Lets go of the folder; what waits is not written.
    pub fn close(&self) {
        drop(self.lock_writer().take());
    }

    fn write(&self, writer: &mut IndexWriter, pending: &Pending, payload: &str) -> tantivy::Result<()> {
        for group in &pending.dropped {
            writer.delete_term(Term::from_field_u64(self.fields.group, group_number(*group)));
        }
        for channel in &pending.forgotten {
            writer.delete_term(Term::from_field_bytes(self.fields.channel, channel.as_bytes()));
        }
        for ((channel, seq), slot) in &pending.slots {
            if !slot.fresh {
                writer.delete_query(Box::new(self.of_record(*channel, *seq)))?;
            }
            if let Some(document) = self.document(*channel, slot) {
                writer.add_document(document)?;
            }
        }
        let mut prepared = writer.prepare_commit()?;
        prepared.set_payload(payload);
        prepared.commit()?;
        Ok(())
    }

    fn of_record(&self, channel: ChannelId, seq: Seq) -> BooleanQuery {
        let seq = TermQuery::new(Term::from_field_u64(self.fields.seq, seq.get()), IndexRecordOption::Basic);
        BooleanQuery::intersection(vec![Box::new(self.of_channel(channel)), Box::new(seq)])
    }

    fn document(&self, channel: ChannelId, slot: &Slot) -> Option<TantivyDocument> {
        let record = slot.record.as_ref()?;
        let fields = &self.fields;
        let mut document = TantivyDocument::new();
        document.add_u64(fields.group, group_number(slot.group));
        document.add_bytes(fields.channel, channel.as_bytes());
        document.add_u64(fields.sender, record.sender.get());
        document.add_u64(fields.seq, record.at.seq.get());
        document.add_u64(fields.ts, record.ts.get());
        document.add_text(fields.text, record.content.text()?);
        Some(document)
    }
}

/// Does it on a thread of lower priority, which the threads that it starts inherit: the engine starts one that indexes with each commit.
fn giving_way<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let done = thread::scope(|scope| {
        let there = move || {
            // On Linux a thread's own, elsewhere the whole process's: not touched there. Without leave it is only not as kind.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::setpriority_process(None, NICE);
            work()
        };
        scope.spawn(there).join()
    });
    done.unwrap_or_else(|panicked| panic::resume_unwind(panicked))
}

fn group_number(group: GroupId) -> u64 {
    u64::from(group.get())
}

/// A part of the index with more deleted texts than that is written anew.
const DELETED_RATIO_MAX: f32 = 0.2;

/// A tenth of the processor time that a thread of the log gets, where both want it: never none.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;
