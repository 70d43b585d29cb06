//! Lists that change, step by step: the conversations, one conversation, the outbox.
//!
//! In: live lists of the SDK. Out: steps. Invariants: the first step has all items of now; a list on which each step is done in its turn is the SDK's; a list ends with its
//! handle. Bound: one reader of a list; one that is slow gets all items anew. Not here: what is in a list (`kith-client`).

use std::sync::Arc;

use kith_client::{LiveList, More, Timeline, Vector, VectorDiff};
use tokio::sync::Mutex;

use crate::{
    client::ChatClient,
    error::ChatError,
    message::{Echo, Message},
    value::{Conversation, channel_of},
};

/// One change: in the place of `removed` items from `at` on there are `items` now.
struct Step<T> {
    at: usize,
    removed: usize,
    items: Vec<T>,
}

impl<T: Clone> Step<T> {
    /// `before`: so many items there were.
    fn of(change: VectorDiff<T>, before: usize) -> Self {
        let (at, removed, items) = match change {
            VectorDiff::Append { values } => (before, 0, all(&values)),
            VectorDiff::Clear => (0, before, Vec::new()),
            VectorDiff::PushFront { value } => (0, 0, vec![value]),
            VectorDiff::PushBack { value } => (before, 0, vec![value]),
            VectorDiff::PopFront => (0, 1, Vec::new()),
            VectorDiff::PopBack => (before.saturating_sub(1), 1, Vec::new()),
            VectorDiff::Insert { index, value } => (index, 0, vec![value]),
            VectorDiff::Set { index, value } => (index, 1, vec![value]),
            VectorDiff::Remove { index } => (index, 1, Vec::new()),
            VectorDiff::Truncate { length } => (length, before.saturating_sub(length), Vec::new()),
            VectorDiff::Reset { values } => (0, before, all(&values)),
        };
        Self { at, removed, items }
    }
}

fn all<T: Clone>(values: &Vector<T>) -> Vec<T> {
    values.iter().cloned().collect()
}

/// A list, and whether its items were told.
struct Steps<T> {
    list: LiveList<T>,
    has_begun: bool,
}

impl<T: Clone + Send + Sync + 'static> Steps<T> {
    const fn new(list: LiveList<T>) -> Mutex<Self> {
        Mutex::const_new(Self { list, has_begun: false })
    }
    /// Cancel safe.
    async fn next(&mut self) -> Option<Step<T>> {
        if !std::mem::replace(&mut self.has_begun, true) {
            return Some(Step { at: 0, removed: 0, items: all(self.list.items()) });
        }
        let before = self.list.items().len();
        Some(Step::of(self.list.next().await?, before))
    }
}

macro_rules! step {
    ($(#[$doc:meta])* $name:ident of $item:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug, uniffi::Record)]
        pub struct $name {
            /// From this item on.
            pub at: u32,
            /// So many items are taken away.
            pub removed: u32,
            /// These come in their place.
            pub items: Vec<$item>,
        }
        impl $name {
            fn new<T>(step: Step<T>, item: impl FnMut(T) -> $item) -> Self {
                let Step { at, removed, items } = step;
                Self { at: narrow(at), removed: narrow(removed), items: items.into_iter().map(item).collect() }
            }
        }
    };
}

/// No list of an app is longer.
fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

step!(
    /// A change of the list of conversations: in the place of `removed` items from `at` on there are `items` now. The first step has all of them.
    ConversationStep of Conversation
);
step!(
    /// A change of a timeline: in the place of `removed` items from `at` on there are `items` now. The first step has all of them.
    TimelineStep of TimelineItem
);
step!(
    /// A change of the outbox: in the place of `removed` items from `at` on there are `items` now. The first step has all of them.
    OutboxStep of Echo
);

/// Where a timeline begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum Anchor {
    /// The newest record.
    Latest,
    /// The first that this user has not read; without one, the newest.
    FirstUnread,
    /// This record.
    Seq {
        /// Its place.
        seq: u64,
    },
    /// The first record at or after this time. Needs a connection.
    At {
        /// By the server's clock.
        ts_ms: u64,
    },
}

impl From<Anchor> for kith_client::Anchor {
    fn from(anchor: Anchor) -> Self {
        match anchor {
            Anchor::Latest => Self::Latest,
            Anchor::FirstUnread => Self::FirstUnread,
            Anchor::Seq { seq } => Self::Seq(kith_client::wire::id::Seq::new(seq)),
            Anchor::At { ts_ms } => Self::At(kith_client::wire::id::Timestamp::new(ts_ms)),
        }
    }
}

/// One item of a timeline.
#[derive(Clone, PartialEq, Debug, uniffi::Enum)]
pub enum TimelineItem {
    /// A record, as it is now: with its last edit, or that it is gone.
    Record {
        /// Its key in every list of this device: an own text has the same before and after it became a record.
        id: String,
        /// The record.
        message: Message,
        /// An edit of it was seen by this list.
        is_edited: bool,
    },
    /// An own text on its way, or refused.
    Echo {
        /// Its key in every list of this device.
        id: String,
        /// The text.
        echo: Echo,
    },
}

/// The user's conversations, live: pinned ones first, then the newest.
#[derive(uniffi::Object)]
pub struct ConversationList {
    client: kith_client::Client,
    steps: Mutex<Steps<kith_client::ChannelSummary>>,
}

/// A conversation around a place, live: records and own texts on their way.
#[derive(uniffi::Object)]
pub struct ChatTimeline {
    channel: kith_client::wire::id::ChannelId,
    timeline: Timeline,
    steps: Mutex<Steps<kith_client::TimelineItem>>,
}

/// What is stored and has no final answer yet, over all conversations, in the order in which it was sent; live.
#[derive(uniffi::Object)]
pub struct Outbox(Mutex<Steps<kith_client::Echo>>);

#[uniffi::export(async_runtime = "tokio")]
impl ChatClient {
    /// The user's conversations, live. Archived and left ones are among them.
    pub async fn conversation_list(&self) -> Result<Arc<ConversationList>, ChatError> {
        let steps = Steps::new(self.client.live_channels().await?);
        Ok(Arc::new(ConversationList { client: self.client.clone(), steps }))
    }
    /// A conversation around a place, live. What this device holds is shown at once, offline too; what it does not hold is asked from the server.
    pub async fn timeline(&self, channel: String, around: Anchor) -> Result<Arc<ChatTimeline>, ChatError> {
        let channel = channel_of(&channel)?;
        let timeline = self.client.channel(channel).timeline(around.into()).await?;
        let steps = Steps::new(timeline.items());
        Ok(Arc::new(ChatTimeline { channel, timeline, steps }))
    }
    /// What is on its way, live.
    pub fn outbox(&self) -> Arc<Outbox> {
        Arc::new(Outbox(Steps::new(self.client.outbox())))
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl ConversationList {
    /// The next step, at first all there are; `None`: there will be none. One caller at a time.
    pub async fn next(&self) -> Option<ConversationStep> {
        let step = self.steps.lock().await.next().await?;
        Some(ConversationStep::new(step, |summary| Conversation::new(self.client.me(), summary)))
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl ChatTimeline {
    /// The next step, at first all that is shown; `None`: there will be none. One caller at a time.
    pub async fn next(&self) -> Option<TimelineStep> {
        let step = self.steps.lock().await.next().await?;
        Some(TimelineStep::new(step, |item| self.item(&item)))
    }
    /// Shows about `n` more records before those that are shown. Gives whether there may be more.
    pub async fn load_older(&self, n: u16) -> Result<bool, ChatError> {
        Ok(self.timeline.load_older(n).await? == More::Yes)
    }
    /// Shows about `n` more records after those that are shown, until what is new comes by itself. Gives whether there may be more.
    pub async fn load_newer(&self, n: u16) -> Result<bool, ChatError> {
        Ok(self.timeline.load_newer(n).await? == More::Yes)
    }
}

impl ChatTimeline {
    fn item(&self, item: &kith_client::TimelineItem) -> TimelineItem {
        let id = item.id().to_string();
        match item {
            kith_client::TimelineItem::Echo(echo) => TimelineItem::Echo { id, echo: echo.as_ref().into() },
            kith_client::TimelineItem::Record { record, is_edited, .. } => {
                TimelineItem::Record { id, message: Message::new(self.channel, record), is_edited: *is_edited }
            }
            _ => unreachable!("this crate is compiled with the SDK whose items these are"),
        }
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl Outbox {
    /// The next step, at first all that waits; `None`: there will be none. One caller at a time.
    pub async fn next(&self) -> Option<OutboxStep> {
        let step = self.0.lock().await.next().await?;
        Some(OutboxStep::new(step, |echo| (&echo).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_on_which_each_step_is_done_is_the_sdks() {
        let values = |values: &[u8]| values.iter().copied().collect::<Vector<u8>>();
        let changes = [
            VectorDiff::Append { values: values(&[1, 2, 3]) },
            VectorDiff::PushFront { value: 0 },
            VectorDiff::PushBack { value: 4 },
            VectorDiff::Insert { index: 2, value: 9 },
            VectorDiff::Set { index: 0, value: 7 },
            VectorDiff::Remove { index: 3 },
            VectorDiff::PopFront,
            VectorDiff::PopBack,
            VectorDiff::Truncate { length: 1 },
            VectorDiff::Reset { values: values(&[5, 6]) },
            VectorDiff::Clear,
        ];
        let (mut theirs, mut ours) = (Vector::new(), Vec::new());
        for change in changes {
            let step = Step::of(change.clone(), theirs.len());
            change.clone().apply(&mut theirs);
            ours.splice(step.at..step.at + step.removed, step.items);
            assert_eq!(ours, all(&theirs), "{change:?}");
        }
    }
}
