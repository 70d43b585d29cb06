//! Search for messages: here, and by the cluster. And pages of a history.

use kith_client::{
    History,
    wire::{
        client::Place,
        id::{ChannelId, Seq, Timestamp},
        search::{SearchHit, SearchPage, SearchQuery as WireQuery, Spot},
    },
};

use crate::{
    client::ChatClient,
    error::ChatError,
    message::Message,
    value::{channel_of, user_of},
};

/// What is looked for. At least one of words, sender, channel and time is given.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct SearchQuery {
    /// As it was typed: words in any order, `"a phrase"`, `beginn*`, `-unwanted`.
    #[uniffi(default = "")]
    pub words: String,
    /// Only of this user, by id.
    #[uniffi(default = None)]
    pub sender: Option<String>,
    /// Only in this conversation.
    #[uniffi(default = None)]
    pub channel: Option<String>,
    /// Only from then on.
    #[uniffi(default = None)]
    pub since_ms: Option<u64>,
    /// Only before then.
    #[uniffi(default = None)]
    pub until_ms: Option<u64>,
    /// At most so many; 0: as many as a page has.
    #[uniffi(default = 0)]
    pub limit: u32,
    /// Only what is older than this place: `next` of the page before.
    #[uniffi(default = None)]
    pub below: Option<String>,
}

impl TryFrom<SearchQuery> for WireQuery {
    type Error = ChatError;

    fn try_from(query: SearchQuery) -> Result<Self, ChatError> {
        let SearchQuery { words, sender, channel, since_ms, until_ms, limit, below } = query;
        let below = below.map(|below| below.parse::<Spot>().map_err(|_| ChatError::invalid("this is no place in a search")));
        Ok(Self {
            words,
            sender: sender.map(|user| user_of(&user)).transpose()?,
            channel: channel.map(|channel| channel_of(&channel)).transpose()?,
            since: since_ms.map(Timestamp::new),
            until: until_ms.map(Timestamp::new),
            limit,
            below: below.transpose()?,
        })
    }
}

/// A part of an excerpt that was looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Mark {
    /// Its first character, in Unicode scalar values.
    pub first: u32,
    /// So many of them.
    pub count: u32,
}

/// A message that was found.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Hit {
    /// Which conversation.
    pub channel: String,
    /// Its place.
    pub seq: u64,
    /// Server time.
    pub ts_ms: u64,
    /// Who wrote it.
    pub sender: String,
    /// Some of its text.
    pub excerpt: String,
    /// What was looked for in it: rising, apart.
    pub marks: Vec<Mark>,
}

impl From<SearchHit> for Hit {
    fn from(hit: SearchHit) -> Self {
        let SearchHit { spot, sender, excerpt, marks } = hit;
        let marks = marks.into_iter().map(|(first, count)| Mark { first, count }).collect();
        Self { channel: spot.channel.to_string(), seq: spot.seq.get(), ts_ms: spot.ts.get(), sender: sender.to_string(), excerpt, marks }
    }
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Found {
    /// Newest first, each once.
    pub hits: Vec<Hit>,
    /// Groups whose title has what is looked for.
    pub channels: Vec<String>,
    /// Where the next page begins: `below` of its query; `None`: there is nothing older.
    pub next: Option<String>,
    /// Whether the cluster answered; if not, only what this device holds was searched.
    pub has_cluster_answered: bool,
    /// Conversations that nobody of the cluster answered for.
    pub unsearched: u32,
}

impl From<kith_client::Found> for Found {
    fn from(found: kith_client::Found) -> Self {
        let kith_client::Found { hits, channels, next, unanswered, unsearched } = found;
        Self::new(hits, &channels, next, unanswered.is_none(), unsearched)
    }
}

impl From<SearchPage> for Found {
    fn from(page: SearchPage) -> Self {
        let SearchPage { hits, channels, next, unsearched, .. } = page;
        Self::new(hits, &channels, next, true, unsearched)
    }
}

impl Found {
    fn new(hits: Vec<SearchHit>, channels: &[ChannelId], next: Option<Spot>, has_cluster_answered: bool, unsearched: u32) -> Self {
        let (hits, channels) = (hits.into_iter().map(Into::into).collect(), channels.iter().map(ToString::to_string).collect());
        Self { hits, channels, next: next.map(|next| next.to_string()), has_cluster_answered, unsearched }
    }
}

/// Which part of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Record)]
pub struct HistoryRange {
    /// First place, inclusive.
    #[uniffi(default = 1)]
    pub first: u64,
    /// Last place, inclusive; `None`: the newest.
    #[uniffi(default = None)]
    pub last: Option<u64>,
    /// From the end backwards; the records of a page are rising either way.
    #[uniffi(default = true)]
    pub newest_first: bool,
    /// At most so many records.
    #[uniffi(default = 100)]
    pub limit: u32,
    /// Around this place, instead of from first or last on.
    #[uniffi(default = None)]
    pub around: Option<u64>,
    /// From this time on, instead of from first or last on.
    #[uniffi(default = None)]
    pub at_ms: Option<u64>,
    /// With all that anybody was told to be sent before this read began.
    #[uniffi(default = false)]
    pub linearizable: bool,
}

/// A page of a history.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct HistoryPage {
    /// Rising.
    pub messages: Vec<Message>,
    /// Last record of the conversation.
    pub head: u64,
    /// The page answers for all places from this one; `None`: for none.
    pub first: Option<u64>,
    /// To this one.
    pub last: Option<u64>,
}

#[uniffi::export(async_runtime = "tokio")]
impl ChatClient {
    /// Messages that have these words, here and by the cluster.
    pub async fn find(&self, words: String) -> Result<Found, ChatError> {
        Ok(self.client.find(words.as_str()).await?.into())
    }
    /// Messages that have what is looked for, here and by the cluster.
    pub async fn find_by(&self, query: SearchQuery) -> Result<Found, ChatError> {
        Ok(self.client.find(WireQuery::try_from(query)?).await?.into())
    }
    /// Only in what this device holds: at once, and offline. Words need only begin so, as somebody types them.
    pub async fn find_here(&self, query: SearchQuery) -> Result<Vec<Hit>, ChatError> {
        Ok(self.client.find_here(WireQuery::try_from(query)?).await?.into_iter().map(Into::into).collect())
    }
    /// By the cluster alone.
    pub async fn search(&self, query: SearchQuery) -> Result<Found, ChatError> {
        Ok(self.client.search(WireQuery::try_from(query)?).await?.into())
    }
    /// The newest records up to `last`, from the server, rising.
    pub async fn history(&self, channel: String, last: u64, limit: u32) -> Result<Vec<Message>, ChatError> {
        let range = HistoryRange { first: 1, last: Some(last), newest_first: true, limit, around: None, at_ms: None, linearizable: false };
        Ok(self.history_page(channel, range).await?.messages)
    }
    /// One page of history, from the server. Go on from its `first` or `last`.
    pub async fn history_page(&self, channel: String, range: HistoryRange) -> Result<HistoryPage, ChatError> {
        let id = channel_of(&channel)?;
        let HistoryRange { first, last, newest_first, limit, around, at_ms, linearizable } = range;
        let place = around.map(|seq| Place::Around(Seq::new(seq))).or(at_ms.map(|at| Place::At(Timestamp::new(at))));
        let (first, last) = (Seq::new(first), last.map_or(History::default().last, Seq::new));
        let page = self.client.channel(id).history(History { first, last, newest_first, limit, place, linearizable, ..History::default() }).await?;
        let (first, last) = page.covered.unzip();
        Ok(HistoryPage {
            messages: page.records.iter().map(|record| Message::new(id, record)).collect(),
            head: page.head.seq.get(),
            first: first.map(Seq::get),
            last: last.map(Seq::get),
        })
    }
}
