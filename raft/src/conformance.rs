//! openraft's own suite for storages, over kith-storage.

use std::sync::Arc;

use kith_storage::{Options, Storage};
use kith_wire::{id::GroupId, id::Term};
use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{
    apply::{LogBelow, Machine},
    failpoint::FailPoints,
    feed::FeedSender,
    flusher::Durable,
    log_store::LogStore,
    metrics::RaftMetrics,
    recent::{Recent, RecentLimits},
    types::Types,
};

struct Builder;

impl StoreBuilder<Types, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<Types>> {
        let dir = TempDir::new().expect("a temporary directory");
        let storage = Storage::open(dir.path(), Options::default()).expect("opened");
        let group = GroupId::new(7);
        let metrics = Arc::new(RaftMetrics::default());
        let log = LogStore::new(storage.clone(), group, FailPoints::default());
        let machine = Machine {
            group,
            state: storage.state().group(group),
            storage,
            log: LogBelow::None,
            applied_term: watch::channel(Term::default()).0,
            recent: Arc::new(Recent::new(RecentLimits::default(), Arc::clone(&metrics))),
            ownership: Arc::default(),
            feed: FeedSender::new(4),
            durable: Durable::default(),
            failpoints: FailPoints::default(),
            metrics,
        };
        Ok((dir, log, machine))
    }
}

#[tokio::test]
async fn the_storage_passes_openrafts_suite() {
    Suite::test_all(Builder).await.expect("conforms");
}
