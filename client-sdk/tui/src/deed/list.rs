//! The list of conversations.

use kith_client::wire::id::{ChannelId, Timestamp};

use crate::{
    action::{Ask, Wish},
    app::App,
    keys::Deed,
    screen::{ContactsScreen, Screen},
    state::form::{Form, FormKind, Pick, PickKind},
};

impl App {
    /// The rows that are shown, and where the chosen one is among them.
    pub(crate) fn list_shown(&self) -> (&[kith_client::ChannelSummary], usize) {
        let Some(Screen::List { at, archived }) = self.screens.first() else { return (&[], 0) };
        let rows = if *archived { &self.archived } else { &self.list };
        (rows, rows.iter().position(|summary| Some(summary.channel) == *at).unwrap_or(0))
    }
    pub(super) fn in_list(&mut self, deed: Deed) {
        let (rows, at) = self.list_shown();
        let (count, chosen) = (rows.len(), rows.get(at).map(|summary| summary.channel));
        if let Some(to) = self.moved(deed, at, count) {
            let moved = self.list_shown().0.get(to).map(|summary| summary.channel);
            if let Some(Screen::List { at, .. }) = self.screens.first_mut() {
                *at = moved;
            }
            return;
        }
        match deed {
            Deed::NewGroup => self.show_form(
                Form::new(FormKind::NewGroup, "New group", "You will be its owner. Others can be added later, too, or join by a link.")
                    .line("Title", "what the group is called", "")
                    .line("Members", "names, between commas; may be empty", ""),
            ),
            Deed::NewDirect => {
                self.show_form(
                    Form::new(FormKind::Direct, "Write to somebody", "Opens the conversation of the two of you; your own name: notes to yourself.")
                        .line("Name", "the name that they signed up with", ""),
                )
            }
            Deed::JoinByLink => {
                self.show_form(Form::new(FormKind::Join, "Join a group", "By a link that a member gave you.").line("Link", "kith-join:…", ""))
            }
            Deed::Contacts => {
                self.screens.push(Screen::Contacts(ContactsScreen::default()));
                self.ask(Ask::Contacts);
            }
            Deed::Account => {
                self.screens.push(Screen::Account { at: 0, devices: None });
                let me = self.me;
                self.ask(Ask::Devices);
                self.people.forget(me);
                self.people.want([me]);
            }
            Deed::ShowArchived => {
                if let Some(Screen::List { at, archived }) = self.screens.first_mut() {
                    (*at, *archived) = (None, !*archived);
                }
            }
            _ => {
                if let Some(channel) = chosen {
                    self.on_row(channel, deed);
                }
            }
        }
    }
    fn on_row(&mut self, channel: ChannelId, deed: Deed) {
        let now = self.now;
        let Some(summary) = self.row(channel) else { return };
        let (row, unread) = (summary.row.clone(), summary.unread);
        match deed {
            Deed::Enter => self.open(channel),
            Deed::Details => self.show_details(channel),
            Deed::Pin => self.ask(Ask::Prefer(channel, Wish::Pin(row.preferences.pinned.is_none()))),
            Deed::Archive => self.ask(Ask::Prefer(channel, Wish::Archive(!row.is_archived(now)))),
            Deed::Mute if row.is_muted(now) => self.ask(Ask::Prefer(channel, Wish::Mute(None))),
            Deed::Mute => self.screens.push(Screen::Pick(Pick {
                kind: PickKind::Mute(channel),
                title: format!("Mute {}", self.title(channel)),
                field: crate::field::Field::line(""),
                at: 0,
            })),
            Deed::MarkRead if unread > 0 => self.ask(Ask::MarkRead(channel, row.news.head)),
            _ => {}
        }
    }
    /// The group's screen, or who the other is.
    pub(crate) fn show_details(&mut self, channel: ChannelId) {
        match channel.peer_of(self.me) {
            Some(peer) => self.ask(Ask::Profile(peer)),
            None => {
                self.talks.entry(channel).or_insert_with(|| crate::state::talk::Talk::new(channel));
                if !self.opened.contains(&channel) {
                    self.opened.push_front(channel);
                }
                self.screens.push(Screen::Group { channel, at: 0 });
                self.ask(Ask::Members(channel));
                self.ask(Ask::Group(channel));
            }
        }
    }
    /// For how long one can mute.
    pub(crate) fn mutes(&self) -> Vec<(String, Wish)> {
        let until = |hours: u64| Wish::Mute(Some(Timestamp::new(self.now.get() + hours * 3_600_000)));
        vec![
            ("for one hour".to_owned(), until(1)),
            ("for 8 hours".to_owned(), until(8)),
            ("for a week".to_owned(), until(7 * 24)),
            ("until you say otherwise".to_owned(), Wish::Mute(Some(Timestamp::new(u64::MAX)))),
        ]
    }
}
