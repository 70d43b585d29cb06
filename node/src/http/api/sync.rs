//! The user's index, as pages: the conversation list, and what has changed since.
//!
//! In: a cursor, how long to wait. Out: rows, newest first, and the next cursor. The first page of a round is read at the leader of the user's
//! home behind a read barrier, or where the registration of a listener says that the index stands; the others from the nearest replica.

use std::time::Duration;

use kith_wire::{
    client::{Event, IndexQuery, Page, Pull},
    code::Code,
    id::UserRev,
    log::IndexRow,
    peer::Caller,
};

use super::{
    Api,
    cursor::IndexCursor,
    extract::Who,
    live::{Live, News},
    problem::Problem,
    unexpected,
};

/// Rows, and where to go on.
pub(super) struct Round {
    /// Newest first.
    pub(super) rows: Vec<IndexRow>,
    /// What follows.
    pub(super) next: IndexCursor,
}

impl Round {
    /// Whether there is more to be had at once.
    pub(super) fn more(&self) -> bool {
        matches!(self.next, IndexCursor::Within { .. })
    }
}

/// A page of what has changed since the cursor. None: nothing has.
pub(super) async fn page(api: &Api, caller: &Caller, cursor: IndexCursor, limit: u32) -> Result<Round, Problem> {
    match cursor {
        IndexCursor::At(from) => {
            let query = IndexQuery { from, to: UserRev::new(u64::MAX), below: None, limit, linearizable: true };
            let (rows, more, rev) = ask(api, caller, query).await?;
            if rev < from {
                return Err(Problem::new(Code::Resync, "the cursor is ahead of all that is known: begin without one"));
            }
            Ok(round(from, rev, rows, more))
        }
        IndexCursor::Within { from, to, below } => {
            let query = IndexQuery { from, to, below: Some(below), limit, linearizable: false };
            let (rows, more, _) = ask(api, caller, query).await?;
            Ok(round(from, to, rows, more))
        }
    }
}

/// As [`page`]; when nothing has changed, waits until something does, at most so long.
pub(super) async fn wait(api: &Api, who: &Who, cursor: IndexCursor, limit: u32, most: Duration) -> Result<Round, Problem> {
    let IndexCursor::At(from) = cursor else { return page(api, &who.caller, cursor, limit).await };
    if most.is_zero() {
        return page(api, &who.caller, cursor, limit).await;
    }
    let mut live = Live::open(api, &who.claims).await?;
    let _counted = api.metrics.listens();
    if live.user_rev == from {
        tokio::select! {
            () = moved(&mut live, from) => {}
            () = tokio::time::sleep(most) => return Ok(Round { rows: Vec::new(), next: cursor }),
            () = api.ending.cancelled() => return Ok(Round { rows: Vec::new(), next: cursor }),
        }
    }
    drop(live);
    page(api, &who.caller, cursor, limit).await
}

/// Ends when the index has moved, or when nothing more will be heard of it.
async fn moved(live: &mut Live, from: UserRev) {
    loop {
        match live.next().await {
            News::Event(Event::IndexMoved { to, .. }) | News::SyncNeeded(to) if to > from => return,
            News::GoAway | News::Bye(_) => return,
            News::Event(_) | News::SyncNeeded(_) => {}
        }
    }
}

async fn ask(api: &Api, caller: &Caller, query: IndexQuery) -> Result<(Vec<IndexRow>, bool, UserRev), Problem> {
    match api.pull(caller, Pull::Index(query)).await? {
        Page::Index { rows, more, rev } => Ok((rows, more, rev)),
        Page::History(_) | Page::Refused(_) => Err(unexpected()),
    }
}

fn round(from: UserRev, to: UserRev, rows: Vec<IndexRow>, more: bool) -> Round {
    let next = match rows.last() {
        Some(last) if more => IndexCursor::Within { from, to, below: last.rev },
        _ => IndexCursor::At(to),
    };
    Round { rows, next }
}
