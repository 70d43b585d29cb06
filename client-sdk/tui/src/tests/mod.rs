//! The app as a user meets it: keys in, screens out, and what is asked of the world in between.

mod golden;
mod keys;
mod property;
mod screens;
mod search;
mod talk;

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use kith_client::{
    ChannelSummary, Event as SdkEvent,
    wire::{
        act::{Act, Rules},
        client::{ChannelView, GroupView, HistoryPage, Marks, MemberView},
        id::{ChannelId, ClientSeq, DeviceId, Incarnation, NodeId, RegionId, Seq, Timestamp, UserId, UserRev},
        log::{Content, IndexRow, Position, Record, Ref, Role},
        people::ProfileView,
    },
};
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

use crate::{Action, Answer, App, Ask, Event, Link, Server, Want, Zone, view};

pub(super) const ANN: UserId = UserId::new(0xa);
pub(super) const BOB: UserId = UserId::new(0xb);
pub(super) const EVE: UserId = UserId::new(0xe);
/// Sunday, 22 November 2026, 11:00 UTC.
pub(super) const NOW: u64 = 1_795_345_200_000;

/// An app, and what it has asked for so far.
pub(super) struct User {
    pub(super) app: App,
    pub(super) did: Vec<Action>,
    /// Whom the app has looked at so far, the last ones last.
    pub(super) looks: Vec<Vec<UserId>>,
    pub(super) now: u64,
}

impl User {
    /// At the welcome.
    pub(super) fn new() -> Self {
        let server = Server { addresses: "127.0.0.1:7600".into(), certificate: "ca.pem".into() };
        let mut user = Self { app: App::new(server, Vec::new(), Zone::utc()), did: Vec::new(), looks: Vec::new(), now: NOW };
        user.tell(Event::Size(80, 24));
        user
    }
    /// Ann, who is in, with a group of two and a direct conversation.
    pub(super) fn ann() -> Self {
        let mut user = Self::new();
        user.tell(Event::Entered { user: ANN, name: "ann".into(), recovery: None });
        user.tell(Event::Link(Link::Online("127.0.0.1:7600".into())));
        let profile = |user, name: &str, display: &str| ProfileView { user, name: name.into(), display: display.into(), ..ProfileView::default() };
        let people = vec![profile(ANN, "ann", ""), profile(BOB, "bob", "Bob Builder"), profile(EVE, "eve", "")];
        user.tell(Event::Answered(Box::new(Ask::Names(vec![ANN, BOB, EVE])), Ok(Answer::People(people))));
        user.tell(Event::Listed(vec![summary(room(), "garden", 5, 2), summary(direct(), "", 1, 0)], Vec::new()));
        user.did.clear();
        user
    }
    /// Ann in the group, with these records there.
    pub(super) fn in_room(records: Vec<Record>, marks: Vec<Marks>) -> Self {
        let mut user = Self::ann();
        user.key(KeyCode::Enter);
        user.tell(Event::Answered(Box::new(Ask::Members(room())), Ok(Answer::Members(members()))));
        user.tell(Event::Answered(Box::new(Ask::Group(room())), Ok(Answer::Group(group()))));
        user.tell(Event::Answered(Box::new(Ask::Page(room(), Want::Newest)), Ok(Answer::Page(page(records, marks)))));
        user.did.clear();
        user
    }
    pub(super) fn tell(&mut self, event: Event) {
        let actions = self.app.update(event, Timestamp::new(self.now));
        for action in actions {
            match action {
                Action::Look(users) => self.looks.push(users),
                action => self.did.push(action),
            }
        }
    }
    pub(super) fn key(&mut self, code: KeyCode) {
        self.tell(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }
    pub(super) fn ctrl(&mut self, c: char) {
        self.tell(Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)));
    }
    pub(super) fn types(&mut self, text: &str) {
        text.chars().for_each(|c| self.key(KeyCode::Char(c)));
    }
    pub(super) fn live(&mut self, record: Record) {
        self.tell(Event::Sdk(SdkEvent::Record { channel: room(), record: Arc::new(record) }));
    }
    pub(super) fn buffer(&self) -> Buffer {
        draw(&self.app, self.app.size.0, self.app.size.1)
    }
    /// The screen as text, without spaces at the ends of lines.
    pub(super) fn screen(&self) -> String {
        shown(&self.buffer())
    }
    #[track_caller]
    pub(super) fn sees(&self, text: &str) {
        let screen = self.screen();
        assert!(screen.contains(text), "{text:?} is not on the screen:\n{screen}");
    }
    #[track_caller]
    pub(super) fn sees_not(&self, text: &str) {
        let screen = self.screen();
        assert!(!screen.contains(text), "{text:?} is on the screen:\n{screen}");
    }
}

pub(super) fn draw(app: &App, columns: u16, rows: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| view(app, frame)).unwrap();
    terminal.backend().buffer().clone()
}

pub(super) fn shown(buffer: &Buffer) -> String {
    let width = buffer.area.width as usize;
    let mut text = String::new();
    for row in buffer.content().chunks(width.max(1)) {
        let mut line = String::new();
        let mut skip = 0_usize;
        for cell in row {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            line.push_str(cell.symbol());
            skip = crate::text::width(cell.symbol()).saturating_sub(1);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn room() -> ChannelId {
    ChannelId::group(RegionId::FIRST, ANN, DeviceId::new(1), 7)
}
pub(super) fn direct() -> ChannelId {
    ChannelId::direct(ANN, BOB)
}
pub(super) fn at(seq: u64) -> Position {
    Position { seq: Seq::new(seq), cnt: seq }
}

pub(super) fn summary(channel: ChannelId, title: &str, head: u64, unread: u64) -> ChannelSummary {
    let news = Ref {
        channel,
        incarnation: Incarnation::default(),
        head: at(head),
        head_ts: Timestamp::new(NOW - 60_000),
        head_sender: BOB,
        member_seq: Seq::new(1),
        join: at(0),
        left: None,
        own: at(0),
        mentions: Vec::new(),
        title: title.into(),
        preview: "what was said last".into(),
    };
    IndexRow { rev: UserRev::new(1), news, read: at(head - unread), preferences: Default::default() }.into()
}

pub(super) fn record(seq: u64, sender: UserId, content: Content) -> Record {
    Record {
        at: at(seq),
        incarnation: Incarnation::default(),
        sender,
        device: DeviceId::new(1),
        client_seq: ClientSeq::new(seq),
        ts: Timestamp::new(NOW - 3_600_000 + seq * 1_000),
        content,
    }
}
pub(super) fn text(seq: u64, sender: UserId, text: &str) -> Record {
    record(seq, sender, Content::Text { text: text.into(), reply_to: None, mentions: Vec::new(), extra: None })
}
pub(super) fn act(seq: u64, sender: UserId, act: Act) -> Record {
    record(seq, sender, Content::Act(act))
}
pub(super) fn page(records: Vec<Record>, marks: Vec<Marks>) -> HistoryPage {
    let (first, last) = (records.first().map(|record| record.at.seq), records.last().map(|record| record.at));
    HistoryPage {
        node: NodeId::new(1),
        head: last.unwrap_or_default(),
        incarnation: Incarnation::default(),
        withheld: Vec::new(),
        covered: first.zip(last.map(|last| last.seq)),
        marks,
        records,
    }
}
pub(super) fn members() -> ChannelView {
    let member = |user, role| MemberView { user, role, read: at(1), delivered: at(1) };
    ChannelView { channel: room(), title: "garden".into(), head: at(5), members: vec![member(ANN, Role::Owner), member(BOB, Role::Member)] }
}
pub(super) fn group() -> GroupView {
    GroupView {
        channel: room(),
        title: "garden".into(),
        about: "what grows where".into(),
        role: Role::Owner,
        rules: Rules::default(),
        pins: Vec::new(),
        muted: Vec::new(),
        links: Vec::new(),
        asked: Vec::new(),
        banned: Vec::new(),
    }
}
