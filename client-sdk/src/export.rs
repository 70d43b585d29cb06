//! All that the service holds of a user, for themselves: profile, devices, contacts, how their conversations stand, and every text they sent in
//! channels that they may read.
//!
//! In: calls for the next item. Out: items, read from the server page by page, so that nothing of the whole is held but the list of
//! conversations. Invariants: texts come by channel and seq, so that where one ended another goes on; what is emptied on the way is not shown.
//! Conversations are those of the beginning. Not here: files (whoever asks).

use std::{collections::VecDeque, fmt, str::FromStr};

use kith_wire::{
    client::{IndexQuery, Page, Place, Pull},
    code::Code,
    id::{ChannelId, Seq, UserRev},
    limit::PAGE_ROWS_MAX,
    log::{IndexRow, Record},
    people::{ContactView, DeviceView, ProfileView},
};

use crate::{
    channel::History,
    client::{Client, unexpected},
    error::Error,
};

/// Reads all of it. Dropped at any time, it goes on from [`Export::cursor`].
pub struct Export {
    client: Client,
    stage: Stage,
    /// By rising id; those before the stage's are done.
    channels: Vec<ChannelId>,
    ready: VecDeque<ExportItem>,
    after: Option<ExportCursor>,
}

/// One thing that the service holds.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum ExportItem {
    /// What others see of the user.
    Profile(ProfileView),
    /// A device.
    Device(DeviceView),
    /// A contact, or who asked, was asked or is blocked.
    Contact(ContactView),
    /// A conversation, with pin, mute, archive and draft.
    Conversation(Box<IndexRow>),
    /// A text, as it reads now.
    Text {
        /// Where.
        channel: ChannelId,
        /// Which.
        record: Box<Record>,
    },
}

/// A text that was given: all up to it were. Prints as `<channel>:<seq>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ExportCursor {
    /// Where.
    pub channel: ChannelId,
    /// Which.
    pub seq: Seq,
}

#[derive(Clone, Copy)]
enum Stage {
    People,
    List,
    /// The next channel, and the next seq in it.
    Texts(usize, Seq),
}

impl fmt::Display for ExportCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.channel, self.seq)
    }
}

impl FromStr for ExportCursor {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || Error::new(Code::Invalid, "a cursor has the form <channel>:<seq>");
        let (channel, seq) = text.split_once(':').ok_or_else(malformed)?;
        let channel = ChannelId::from_hex(channel).map_err(|_| malformed())?;
        Ok(Self { channel, seq: Seq::new(seq.parse().map_err(|_| malformed())?) })
    }
}

impl Export {
    pub(crate) fn new(client: Client, after: Option<ExportCursor>) -> Self {
        let stage = if after.is_some() { Stage::List } else { Stage::People };
        Self { client, stage, channels: Vec::new(), ready: VecDeque::new(), after }
    }
    /// The last text that was given.
    pub const fn cursor(&self) -> Option<ExportCursor> {
        self.after
    }
    /// The next item; `None`: that was all.
    ///
    /// # Errors
    /// As [`Client::request`]; it may be called again.
    pub async fn next(&mut self) -> Result<Option<ExportItem>, Error> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                if let ExportItem::Text { channel, record } = &item {
                    self.after = Some(ExportCursor { channel: *channel, seq: record.at.seq });
                }
                return Ok(Some(item));
            }
            match self.stage {
                Stage::People => {
                    self.read_people().await?;
                    self.stage = Stage::List;
                }
                Stage::List => {
                    let first = self.read_list().await?;
                    self.stage = Stage::Texts(0, first);
                }
                Stage::Texts(at, first) => match self.channels.get(at).copied() {
                    Some(channel) => self.read_texts(channel, at, first).await?,
                    None => return Ok(None),
                },
            }
        }
    }

    async fn read_people(&mut self) -> Result<(), Error> {
        let me = self.client.me();
        let contacts = self.client.contacts();
        let profiles = contacts.profiles(vec![me]).await?;
        let devices = self.client.account().devices().await?;
        let contacts = contacts.list().await?;
        self.ready.extend(profiles.into_iter().map(ExportItem::Profile));
        self.ready.extend(devices.into_iter().map(ExportItem::Device));
        self.ready.extend(contacts.into_iter().map(ExportItem::Contact));
        Ok(())
    }

    /// Every conversation of the server's list. Gives the seq to begin with in the first one that is not done.
    async fn read_list(&mut self) -> Result<Seq, Error> {
        let (mut rows, mut below, mut to) = (Vec::new(), None, UserRev::new(u64::MAX));
        loop {
            let query = IndexQuery { from: UserRev::ZERO, to, below, limit: PAGE_ROWS_MAX as u32, linearizable: below.is_none() };
            let Page::Index { rows: page, more, rev } = self.client.pull(Pull::Index(query)).await? else { return Err(unexpected()) };
            if below.is_none() {
                to = rev;
            }
            below = page.last().map(|row: &IndexRow| row.rev);
            rows.extend(page);
            if !more || below.is_none() {
                break;
            }
        }
        rows.sort_by_key(|row| row.news.channel);
        rows.dedup_by_key(|row| row.news.channel);
        self.channels = rows.iter().map(|row| row.news.channel).collect();
        let Some(after) = self.after else {
            self.ready.extend(rows.into_iter().map(|row| ExportItem::Conversation(Box::new(row))));
            return Ok(Seq::new(1));
        };
        self.channels.retain(|channel| *channel >= after.channel);
        Ok(if self.channels.first() == Some(&after.channel) { after.seq.next() } else { Seq::new(1) })
    }

    async fn read_texts(&mut self, channel: ChannelId, at: usize, first: Seq) -> Result<(), Error> {
        let want = History { first, newest_first: false, place: Some(Place::Own), ..History::default() };
        let page = match self.client.channel(channel).history(want).await {
            Ok(page) => page,
            // Nothing of it is theirs to read any more.
            Err(error) if error.code == Code::NotMember => {
                self.stage = Stage::Texts(at + 1, Seq::new(1));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.ready.extend(page.records.into_iter().map(|record| ExportItem::Text { channel, record: Box::new(record) }));
        self.stage = match page.covered {
            Some((_, last)) if last < page.head.seq && last >= first => Stage::Texts(at, last.next()),
            _ => Stage::Texts(at + 1, Seq::new(1)),
        };
        Ok(())
    }
}
