//! The app: all state, and what an event makes of it.
//!
//! In: an event and the time. Out: actions. Invariants: no event, in whatever order, makes it panic (a property test holds it); the stack of
//! screens is never empty; what a key does stands in `keys`. Bounds: `TALKS_MAX` conversations are held with their records, `TOASTS_MAX`
//! messages are shown. Not here: drawing (`view`), IO (`shell`), what each deed does (`deed`), what each answer changes (`answer`).

use std::collections::{BTreeMap, VecDeque};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use kith_client::{
    ChannelSummary, Event as SdkEvent,
    wire::{
        act::Act,
        id::{ChannelId, Seq, Timestamp, UserId},
        limit,
        log::{Content, Record, SavedDraft},
        people::ContactView,
    },
};

use crate::{
    action::{Action, Ask, Event, Link, Server, Want, Wish, Write},
    field::Field,
    keys::{self, Chord, Edit, Table},
    screen::Screen,
    state::{
        people::People,
        presence::{self, Presence},
        talk::Talk,
    },
    time::Zone,
    view,
};

/// Conversations that are held with their records.
const TALKS_MAX: usize = 24;
/// Messages at the bottom at once.
const TOASTS_MAX: usize = 3;
/// How long one stays, and how long one that something is wrong stays.
const TOAST_MS: u64 = 5_000;
const WRONG_MS: u64 = 12_000;
/// Lines beyond the screen at which older messages are asked for.
const AHEAD_LINES: usize = 30;

/// A message that goes by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Toast {
    pub(crate) text: String,
    pub(crate) is_wrong: bool,
    until: Timestamp,
}

/// A write whose end is to be told.
#[derive(Clone, Debug)]
pub(crate) struct Doing {
    pub(crate) channel: ChannelId,
    pub(crate) write: Write,
    /// What to say when it is done; empty: nothing.
    pub(crate) said: &'static str,
}

/// All state.
#[derive(Debug)]
pub struct App {
    pub(crate) now: Timestamp,
    pub(crate) zone: Zone,
    pub(crate) size: (u16, u16),
    /// Whether the terminal is to show colours; what a colour says is said otherwise, too.
    pub(crate) has_colors: bool,
    pub(crate) screens: Vec<Screen>,
    /// Lines that help is scrolled; `None`: it is not open.
    pub(crate) help: Option<usize>,
    pub(crate) server: Server,
    pub(crate) saved: Vec<String>,
    pub(crate) me: UserId,
    pub(crate) name: String,
    pub(crate) link: Link,
    pub(crate) is_entering: bool,
    pub(crate) list: Vec<ChannelSummary>,
    pub(crate) archived: Vec<ChannelSummary>,
    pub(crate) is_listed: bool,
    pub(crate) people: People,
    pub(crate) talks: BTreeMap<ChannelId, Talk>,
    /// Those of `talks` that were opened, the last one last.
    pub(crate) opened: VecDeque<ChannelId>,
    /// Who types where, and until when that is believed.
    pub(crate) typing: BTreeMap<ChannelId, BTreeMap<UserId, Timestamp>>,
    pub(crate) presence: Presence,
    pub(crate) contacts: Option<Vec<ContactView>>,
    pub(crate) toasts: VecDeque<Toast>,
    pub(crate) doing: BTreeMap<u64, Doing>,
    /// A link was made, and is to be shown when it is in the list.
    pub(crate) awaits_link: Option<ChannelId>,
    /// The user asked to be logged out: the client's end is what was wanted.
    pub(crate) is_leaving: bool,
    next_ticket: u64,
    is_quitting: bool,
    actions: Vec<Action>,
}

impl App {
    /// At the welcome, with what is saved on this machine.
    pub fn new(server: Server, saved: Vec<String>, zone: Zone) -> Self {
        Self {
            now: Timestamp::default(),
            zone,
            size: (80, 24),
            has_colors: true,
            screens: vec![Screen::Welcome { at: 0 }],
            help: None,
            server,
            saved,
            me: UserId::default(),
            name: String::new(),
            link: Link::None,
            is_entering: false,
            list: Vec::new(),
            archived: Vec::new(),
            is_listed: false,
            people: People::default(),
            talks: BTreeMap::new(),
            opened: VecDeque::new(),
            typing: BTreeMap::new(),
            presence: Presence::default(),
            contacts: None,
            toasts: VecDeque::new(),
            doing: BTreeMap::new(),
            awaits_link: None,
            is_leaving: false,
            next_ticket: 1,
            is_quitting: false,
            actions: Vec::new(),
        }
    }

    /// With colours or without.
    #[must_use]
    pub fn colors(self, has_colors: bool) -> Self {
        Self { has_colors, ..self }
    }
    /// Nobody is in; what belongs to the terminal and the machine stays.
    pub(crate) fn begin_anew(&mut self) {
        let new = Self::new(std::mem::take(&mut self.server), std::mem::take(&mut self.saved), self.zone.clone()).colors(self.has_colors);
        let toasts = std::mem::take(&mut self.toasts);
        *self = Self { now: self.now, size: self.size, toasts, actions: std::mem::take(&mut self.actions), ..new };
    }

    /// What an event makes of it, and what is to be done then, in this order.
    pub fn update(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        self.now = now;
        match event {
            Event::Key(key) => self.key(key),
            Event::Paste(text) => self.paste(&text),
            Event::Size(columns, rows) => self.size = (columns, rows),
            Event::Tick => self.tick(),
            Event::Entered { user, name, recovery } => self.entered(user, name, recovery),
            Event::Refused(entry, error) => self.refused(&entry, &error),
            Event::PasswordReset(code) => self.password_reset(&code),
            Event::Left(error) => self.left(error.as_ref()),
            Event::Link(link) => self.linked(link),
            Event::Sdk(event) => self.told(event),
            Event::Presence(map) => self.presence.take(map),
            Event::Listed(list, archived) => self.listed(list, archived),
            Event::Answered(ask, result) => self.answered(*ask, result),
            Event::Wrote(ticket, progress) => self.wrote(ticket, &progress),
        }
        self.settle();
        std::mem::take(&mut self.actions)
    }
    /// Whether a key has ended the program.
    pub const fn is_quitting(&self) -> bool {
        self.is_quitting
    }

    // Keys.

    pub(crate) fn screen(&self) -> &Screen {
        self.screens.last().unwrap_or(&Screen::Welcome { at: 0 })
    }
    pub(crate) fn screen_mut(&mut self) -> &mut Screen {
        if self.screens.is_empty() {
            self.screens.push(Screen::Welcome { at: 0 });
        }
        let last = self.screens.len() - 1;
        &mut self.screens[last]
    }
    /// The last screen that is not drawn over another one.
    pub(crate) fn ground(&self) -> &Screen {
        self.screens.iter().rev().find(|screen| !screen.is_over()).unwrap_or(&Screen::Welcome { at: 0 })
    }
    /// The conversation on top.
    pub(crate) fn open_channel(&self) -> Option<ChannelId> {
        match self.screen() {
            Screen::Talk { channel } => Some(*channel),
            _ => None,
        }
    }
    pub(crate) fn open_talk(&mut self) -> Option<&mut Talk> {
        let channel = self.open_channel()?;
        self.talks.get_mut(&channel)
    }
    /// The text field that has the keys.
    fn field(&mut self) -> Option<&mut Field> {
        match self.screen() {
            Screen::Talk { .. } => self.open_talk().filter(|talk| talk.chosen.is_none()).map(|talk| &mut talk.composer),
            _ => self.screen_mut().field(),
        }
    }
    /// As [`App::field`], to look at.
    fn field_ref(&self) -> Option<&Field> {
        match self.screen() {
            Screen::Talk { channel } => self.talks.get(channel).filter(|talk| talk.chosen.is_none()).map(|talk| &talk.composer),
            screen => screen.field_ref(),
        }
    }
    /// The keys that are in force now. The first that fits counts.
    pub(crate) fn tables(&self) -> Vec<Table> {
        if self.help.is_some() { vec![keys::HELP, keys::ALWAYS] } else { self.tables_of_screen() }
    }
    /// Those of the screen on top, as if help were not open.
    pub(crate) fn tables_of_screen(&self) -> Vec<Table> {
        let chooses = self.open_channel().and_then(|channel| self.talks.get(&channel)).is_some_and(|talk| talk.chosen.is_some());
        let mut tables = self.screen().tables(chooses);
        if self.field_ref().is_some_and(|field| field.is_empty() && !field.is_secret()) {
            tables.push(keys::EMPTY);
        }
        tables.push(keys::ALWAYS);
        tables
    }
    fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        // Upper case says it already, and terminals differ in whether they say it twice.
        let chord = Chord { code: key.code, mods: key.modifiers - KeyModifiers::SHIFT };
        let bound = self.tables().iter().flat_map(|table| table.binds).find(|bind| bind.chords.contains(&chord)).map(|bind| bind.deed);
        match (bound, chord.code) {
            (Some(deed), _) => self.deed(deed),
            (None, KeyCode::Char(c)) if chord.mods.is_empty() && self.help.is_none() => self.typed(&c.to_string()),
            _ => {}
        }
    }
    fn paste(&mut self, text: &str) {
        if self.help.is_none() {
            self.typed(text);
        }
    }
    /// Something was typed into the field that has the keys, if one has.
    pub(crate) fn typed(&mut self, text: &str) {
        let Some(field) = self.field() else { return };
        if !field.insert(text) {
            self.wrong("this is as long as it may be; the rest was not taken in".to_owned());
        }
        self.typed_in();
    }
    /// A text field has changed.
    pub(crate) fn typed_in(&mut self) {
        let now = self.now;
        match self.screen_mut() {
            Screen::Form(form) => form.wrong = None,
            Screen::Pick(pick) => pick.at = 0,
            Screen::Talk { channel } => {
                let channel = *channel;
                let Some(talk) = self.talks.get_mut(&channel) else { return };
                let is_due = now.get() >= talk.typed_at.get() + limit::TYPING_EVERY_MS;
                if is_due && !talk.composer.is_empty() && talk.editing.is_none() {
                    talk.typed_at = now;
                    self.ask(Ask::Typing(channel));
                }
            }
            _ => {}
        }
    }
    pub(crate) fn edit(&mut self, edit: Edit) {
        let width = view::composer_width(self);
        if let Some(field) = self.field() {
            field.edit(edit, width);
            if !matches!(edit, Edit::Left | Edit::Right | Edit::Up | Edit::Down | Edit::Start | Edit::End) {
                self.typed_in();
            }
        }
    }

    // Doing.

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }
    pub(crate) fn ask(&mut self, ask: Ask) {
        self.is_leaving |= matches!(ask, Ask::LogOut | Ask::Delete(_));
        self.actions.push(Action::Ask(ask));
    }
    /// Does something numbered; gives its ticket.
    pub(crate) fn write(&mut self, channel: ChannelId, write: Write, said: &'static str) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.doing.insert(ticket, Doing { channel, write: write.clone(), said });
        self.act(Action::Write { ticket, channel, write });
        ticket
    }
    pub(crate) fn quit(&mut self) {
        self.keep_draft();
        self.is_quitting = true;
        self.act(Action::Quit);
    }
    pub(crate) fn say(&mut self, text: impl Into<String>) {
        self.toast(text.into(), false, TOAST_MS);
    }
    pub(crate) fn wrong(&mut self, text: String) {
        self.toast(text, true, WRONG_MS);
    }
    fn toast(&mut self, text: String, is_wrong: bool, for_ms: u64) {
        self.toasts.retain(|toast| toast.text != text);
        while self.toasts.len() >= TOASTS_MAX {
            self.toasts.pop_front();
        }
        self.toasts.push_back(Toast { text, is_wrong, until: Timestamp::new(self.now.get() + for_ms) });
    }
    fn tick(&mut self) {
        let now = self.now;
        self.toasts.retain(|toast| toast.until > now);
        self.typing.retain(|_, users| {
            users.retain(|_, until| *until > now);
            !users.is_empty()
        });
    }

    // Conversations.

    /// Opens one on top of the list.
    pub(crate) fn open(&mut self, channel: ChannelId) {
        self.keep_draft();
        self.screens.retain(|screen| matches!(screen, Screen::List { .. }));
        let row = self.row(channel).map(|summary| (summary.unread, summary.row.read.seq, summary.row.preferences.draft.clone()));
        match self.screens.first_mut() {
            Some(Screen::List { at, .. }) => *at = Some(channel),
            _ => self.screens = vec![Screen::List { at: Some(channel), archived: false }],
        }
        self.screens.push(Screen::Talk { channel });
        self.opened.retain(|other| *other != channel);
        self.opened.push_back(channel);
        while self.opened.len() > TALKS_MAX {
            if let Some(old) = self.opened.pop_front()
                && self.talks.get(&old).is_some_and(|talk| talk.pending.is_empty() && talk.composer.is_empty())
            {
                self.talks.remove(&old);
            }
        }
        let me = self.me;
        let talk = self.talks.entry(channel).or_insert_with(|| Talk::new(channel));
        (talk.chosen, talk.is_halted) = (None, false);
        if let Some((unread, read, draft)) = row {
            talk.divider = (unread > 0).then_some(read);
            if let Some(draft) = draft
                && talk.composer.is_empty()
            {
                talk.composer.set(&draft.text);
                talk.saved_draft = talk.composer.text().to_owned();
                talk.reply_to = draft.reply_to;
            }
        }
        if talk.has_newer {
            (talk.is_loaded, talk.up) = (false, 0);
        }
        self.ask(Ask::Members(channel));
        match channel.peer_of(me) {
            Some(peer) => self.people.want([peer]),
            None => self.ask(Ask::Group(channel)),
        }
    }
    /// What is written and not sent is kept for all devices.
    pub(crate) fn keep_draft(&mut self) {
        let now = self.now;
        let Some(Screen::Talk { channel }) = self.screens.iter().find(|screen| matches!(screen, Screen::Talk { .. })) else { return };
        let channel = *channel;
        let Some(talk) = self.talks.get_mut(&channel) else { return };
        let text = if talk.editing.is_some() { String::new() } else { talk.composer.text().to_owned() };
        if text == talk.saved_draft || text.chars().count() > limit::DRAFT_CHARS_MAX {
            return;
        }
        talk.saved_draft.clone_from(&text);
        let draft = SavedDraft { text, reply_to: talk.reply_to, at: now };
        if self.row(channel).is_some() {
            self.ask(Ask::Prefer(channel, Wish::Draft(draft)));
        }
    }
    pub(crate) fn row(&self, channel: ChannelId) -> Option<&ChannelSummary> {
        self.list.iter().chain(&self.archived).find(|summary| summary.channel == channel)
    }
    /// What a conversation is called.
    pub(crate) fn title(&self, channel: ChannelId) -> String {
        if let Some(peer) = channel.peer_of(self.me) {
            return if peer == self.me { "Notes to yourself".to_owned() } else { self.people.shown(peer) };
        }
        let held = self.talks.get(&channel).and_then(|talk| talk.group.as_ref()).map(|group| &group.title);
        let title =
            held.or_else(|| self.row(channel).map(|summary| &summary.row.news.title)).map_or_else(String::new, |title| crate::text::line(title));
        if title.trim().is_empty() { "(a group without a title)".to_owned() } else { title }
    }
    fn told(&mut self, event: SdkEvent) {
        match event {
            SdkEvent::Record { channel, record } => self.record(channel, &record),
            SdkEvent::Channel(_) => self.act(Action::List),
            SdkEvent::Receipt { channel, user, read, delivered } => {
                if let Some(talk) = self.talks.get_mut(&channel) {
                    talk.take_receipt(user, read, delivered);
                }
            }
            SdkEvent::Typing { channel, user } => {
                let now = self.now;
                self.people.want([user]);
                let until = Timestamp::new(now.get() + limit::TYPING_LASTS_MS);
                self.typing.entry(channel).or_default().insert(user, until);
            }
            SdkEvent::StoreReplaced => self.wrong("this device's file is an old copy: log out here, and log in again".to_owned()),
            _ => {}
        }
    }
    fn record(&mut self, channel: ChannelId, record: &std::sync::Arc<Record>) {
        let (me, is_group) = (self.me, channel.peer_of(self.me).is_none());
        if let Some(users) = self.typing.get_mut(&channel) {
            users.remove(&record.sender);
        }
        let Some(talk) = self.talks.get(&channel) else { return };
        let is_scrolled = talk.up > 0 || talk.chosen.is_some();
        let newest = talk.newest();
        self.people.want(record.users());
        if let Some(talk) = self.talks.get_mut(&channel) {
            talk.take_live(me, record);
            if record.sender == me && record.content.is_text() {
                talk.divider = None;
            }
        }
        // One goes on reading where one was.
        if is_scrolled && self.talks.get(&channel).is_some_and(|talk| talk.newest() != newest) {
            let lines = view::talk::lines_of_newest(self, channel);
            if let Some(talk) = self.talks.get_mut(&channel)
                && talk.up > 0
            {
                talk.up += lines;
            }
        }
        let changes_group = matches!(
            &record.content,
            Content::Members(_) | Content::Act(Act::Describe { .. } | Act::SetRules(_) | Act::Mute { .. } | Act::HandOver { .. } | Act::Pin { .. })
        );
        let is_shown =
            self.screens.iter().any(|screen| matches!(screen, Screen::Group { channel: of, .. } | Screen::Talk { channel: of } if *of == channel));
        if is_group && changes_group && is_shown {
            self.ask(Ask::Group(channel));
            self.ask(Ask::Members(channel));
        }
    }

    /// What follows from how things stand now: what is missing is asked for, what was seen is told.
    fn settle(&mut self) {
        self.name_everyone();
        if self.is_quitting || self.me == UserId::default() {
            return;
        }
        if let Screen::Talk { channel } = *self.ground() {
            self.fetch(channel);
            self.mark_read(channel);
        }
        let shown = presence::on_screen(self);
        if let Some(users) = self.presence.poll(shown) {
            self.act(Action::Look(users));
        }
        while let Some(users) = self.people.poll(self.now) {
            self.ask(Ask::Names(users));
        }
    }
    fn fetch(&mut self, channel: ChannelId) {
        let height = view::talk_height(self);
        let Some(talk) = self.talks.get(&channel) else { return };
        if talk.is_loading || talk.is_halted {
            return;
        }
        let is_offline = !matches!(self.link, Link::Online(_) | Link::Syncing(_));
        let want = if !talk.is_loaded {
            Some(talk.going_to.map_or(Want::Newest, Want::Around))
        } else if talk.is_stale {
            (!is_offline).then_some(Want::Newest)
        } else {
            let up = talk.up;
            let reached = talk.has_older.then(|| view::talk::measure(self, channel, up + height + AHEAD_LINES) < up + height + AHEAD_LINES);
            match (reached, talk.oldest(), talk.newest()) {
                (Some(true), Some(oldest), _) => Some(Want::Before(oldest)),
                (_, _, Some(newest)) if talk.has_newer && up < AHEAD_LINES => Some(Want::After(newest)),
                _ => None,
            }
        };
        let Some(talk) = self.talks.get_mut(&channel) else { return };
        let quoted = if is_offline { Vec::new() } else { talk.poll_quoted() };
        if let Some(want) = want {
            talk.is_loading = true;
            self.ask(Ask::Page(channel, want));
        }
        for seq in quoted {
            self.ask(Ask::Page(channel, Want::Quoted(seq)));
        }
    }
    fn mark_read(&mut self, channel: ChannelId) {
        let Some(row) = self.row(channel).map(|summary| (summary.row.read, summary.row.news.left)) else { return };
        let Some(talk) = self.talks.get_mut(&channel) else { return };
        let Some(head) = talk.head().filter(|head| head.seq > row.0.seq.max(talk.told_read.seq)) else { return };
        let is_seen = talk.up == 0 && talk.is_loaded && !talk.has_newer && row.1.is_none();
        if is_seen && matches!(self.link, Link::Online(_)) {
            talk.told_read = head;
            self.ask(Ask::MarkRead(channel, head));
        }
    }
    /// Whoever is on a screen gets a name.
    fn name_everyone(&mut self) {
        let me = self.me;
        let shown = self.list.iter().chain(&self.archived);
        self.people.want(shown.flat_map(|summary| [summary.channel.peer_of(me).unwrap_or_default(), summary.row.news.head_sender]));
    }
    /// The seq up to which an edit, a reply or the like may look.
    pub(crate) fn chosen_record(&mut self) -> Option<(ChannelId, Seq)> {
        let talk = self.open_talk()?;
        match talk.chosen? {
            crate::state::talk::Chosen::Record(seq) => Some((talk.channel, seq)),
            crate::state::talk::Chosen::Pending(_) => None,
        }
    }
}
