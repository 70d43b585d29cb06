//! A group chat to write into, shared by the tests of what is said and done in one.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses some of it")]

use kith_machine::{
    channel::read,
    reply::Reply,
    testing::Script,
    view::{RowKey, Scan, StateView, row},
};
use kith_wire::{
    act::{Act, Extra, Gone, Invite, Timer},
    client::{HistoryPage, HistoryQuery, Place},
    id::{ChannelId, ClientSeq, NodeId, RegionId, Seq, Timestamp, UserId},
    log::{Author, Command, Content, DedupRow, MemberChange, PeerCheck},
};

pub const ANN: u8 = 0;
pub const BOB: u8 = 1;
pub const EVE: u8 = 2;

pub struct Chat {
    pub script: Script,
    pub group: ChannelId,
}

pub fn user(number: u8) -> UserId {
    Script::user(number)
}
pub fn seq(number: u64) -> Seq {
    Seq::new(number)
}

impl Chat {
    /// A group of Ann (owner) and Bob, with nothing said.
    pub fn new() -> Self {
        let mut script = Script::new();
        let device = Script::device(user(ANN), 0);
        let group = ChannelId::group(RegionId::FIRST, user(ANN), device, 5);
        let create = Command::CreateGroup { channel: group, creator: user(ANN), device, op: 5, title: "g".to_owned(), members: vec![user(BOB)] };
        script.propose(create);
        Self { script, group }
    }
    pub fn author(&self, who: u8) -> Author {
        let device = Script::device(user(who), 0);
        let last = row::<DedupRow>(&self.script.view, &RowKey::Dedup(self.group, device)).expect("readable").map_or(0, |row| row.last.get());
        let client_seq = ClientSeq::new(last + 1);
        Author { user: user(who), device, client_seq, settled: client_seq, digest: last, key: None }
    }
    pub fn propose(&mut self, command: Command) -> Reply {
        self.script.propose(command).replies[0].clone()
    }
    pub fn write(&mut self, who: u8, content: Content) -> Reply {
        let author = self.author(who);
        self.propose(Command::Append { channel: self.group, author, content, peer: PeerCheck::NotAsked })
    }
    pub fn say(&mut self, who: u8, text: &str) -> Seq {
        at(&self.write(who, Content::Text { text: text.to_owned(), reply_to: None, mentions: Vec::new(), extra: None }))
    }
    pub fn say_with(&mut self, who: u8, text: &str, extra: Extra) -> Reply {
        self.write(who, Content::Text { text: text.to_owned(), reply_to: None, mentions: Vec::new(), extra: Some(Box::new(extra)) })
    }
    pub fn act(&mut self, who: u8, act: Act) -> Reply {
        let author = self.author(who);
        self.propose(Command::Act { channel: self.group, author, act })
    }
    pub fn change(&mut self, who: u8, change: MemberChange) -> Reply {
        let author = self.author(who);
        self.propose(Command::ChangeMembers { channel: self.group, author, change })
    }
    pub fn join(&mut self, who: u8, secret: [u8; 16]) -> Reply {
        self.propose(Command::Join { channel: self.group, user: user(who), secret })
    }
    pub fn page(&self, who: u8, place: Option<Place>, limit: u32) -> HistoryPage {
        let (first, last) = (seq(1), seq(u64::MAX));
        let query = HistoryQuery {
            channel: self.group,
            first,
            last,
            newest_first: false,
            limit,
            min_seq: Seq::ZERO,
            replica: None,
            linearizable: false,
            place,
        };
        read::history(&self.script.view, user(who), &query, NodeId::new(1)).expect("readable").expect("a member")
    }
    /// What this user reads at a seq: its text, or why there is none.
    pub fn reads(&self, who: u8, at: Seq) -> Result<String, Option<Gone>> {
        let page = self.page(who, None, 1_000);
        match page.records.iter().find(|record| record.at.seq == at).map(|record| &record.content) {
            Some(Content::Text { text, .. }) => Ok(text.clone()),
            Some(Content::Gone { why, .. }) => Err(Some(*why)),
            _ => Err(None),
        }
    }
    /// Whether any row of the store holds this text.
    pub fn holds(&self, text: &str) -> bool {
        self.script.view.rows.values().any(|row| format!("{row:?}").contains(text))
    }
    pub fn timers(&self) -> Vec<(Timestamp, Timer)> {
        let rows = self.script.view.scan(&Scan::Timers(None), false, 100).expect("readable");
        rows.into_iter().filter_map(|(key, _)| if let RowKey::Timer(due, _, timer) = key { Some((due, timer)) } else { None }).collect()
    }
    /// Lets time pass by what is said meanwhile, and fires all that is due then.
    pub fn fire_all(&mut self) -> Vec<Reply> {
        let all = self.timers();
        all.into_iter().map(|(due, timer)| self.fire(due, timer)).collect()
    }
    pub fn fire(&mut self, due: Timestamp, timer: Timer) -> Reply {
        let items = vec![kith_machine::item(Command::Fire { channel: self.group, due, timer, refused: None })];
        let (group, index) = (self.script.group(), self.script.index() + 1);
        let batch = kith_wire::log::Batch { now: due, items };
        self.script.log.push(batch.clone());
        self.script.view.apply(group, index, batch).expect("applies").replies[0].clone()
    }
}

pub fn at(reply: &Reply) -> Seq {
    match reply {
        Reply::Sent { seq, .. } => *seq,
        other => panic!("{other:?}"),
    }
}
pub fn edit(target: Seq, text: &str) -> Act {
    Act::Edit { target, text: text.to_owned(), mentions: Vec::new() }
}
pub fn forever(secret: u8, uses: u32) -> Act {
    Act::Invite(Invite { secret: [secret; 16], until: Timestamp::new(0), uses })
}
