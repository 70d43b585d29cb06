//! Load: a device that goes on sending, many texts at a time, and notes every ack.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use kith_client::{Channel, Outgoing};
use tokio::{task::JoinHandle, time::timeout};

use crate::{book::Book, cluster::PATIENCE};

/// Texts of one talk that await their ack.
const WINDOW: usize = 32;

/// A device that is talking.
pub struct Talk {
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    is_over: AtomicBool,
    acked: AtomicU64,
}

impl Talk {
    pub(crate) fn start(name: &str, channel: Channel, book: Arc<Book>, count: u64, bytes: usize) -> Self {
        let state = Arc::<State>::default();
        #[expect(clippy::disallowed_methods, reason = "a talk owns its one task, and awaits it")]
        let task = tokio::spawn(talk(name.to_owned(), channel, book, count, bytes, state.clone()));
        Self { state, task }
    }

    /// Acks so far.
    pub fn acked(&self) -> u64 {
        self.state.acked.load(Ordering::Relaxed)
    }

    /// Sends no more, and waits until everything sent is acked. Gives the number of acks.
    pub async fn stop(self) -> u64 {
        self.state.is_over.store(true, Ordering::Relaxed);
        self.wait().await
    }

    /// Waits until everything is acked.
    ///
    /// # Panics
    /// Something was refused, or is not acked in time.
    pub async fn wait(self) -> u64 {
        if let Err(error) = self.task.await {
            std::panic::resume_unwind(error.into_panic());
        }
        self.state.acked.load(Ordering::Relaxed)
    }
}

async fn talk(name: String, channel: Channel, book: Arc<Book>, count: u64, bytes: usize, state: Arc<State>) {
    let mut under_way: VecDeque<(String, Outgoing)> = VecDeque::with_capacity(WINDOW);
    let (talk, mut number) = (book.next_talk(), 0);
    while number < count && !state.is_over.load(Ordering::Relaxed) {
        if under_way.len() == WINDOW {
            settle(&mut under_way, &book, &state).await;
        }
        number += 1;
        // A text is used once in a scenario, also when the same person talks again.
        let text = format!("{:.<bytes$}", format!("{name}, talk {talk}, text {number} "));
        let outgoing = channel.send(text.as_str()).await.unwrap_or_else(|error| panic!("{name} cannot talk: {error}"));
        under_way.push_back((text, outgoing));
    }
    while !under_way.is_empty() {
        settle(&mut under_way, &book, &state).await;
    }
}

async fn settle(under_way: &mut VecDeque<(String, Outgoing)>, book: &Book, state: &State) {
    let Some((text, outgoing)) = under_way.pop_front() else { return };
    let sent = timeout(PATIENCE, outgoing.sent()).await.unwrap_or_else(|_| panic!("{text:?} is not acked within {PATIENCE:?}"));
    let message = sent.unwrap_or_else(|error| panic!("{text:?} is refused: {error}"));
    book.acked(message.channel, message.seq(), &text);
    state.acked.fetch_add(1, Ordering::Relaxed);
}
