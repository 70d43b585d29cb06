//! A conversation: writing, choosing a message and what can be done with it, scrolling.

use kith_client::{
    Draft,
    wire::{
        id::{ChannelId, Seq, UserId},
        limit,
    },
};

use crate::{
    action::{Ask, Write},
    app::App,
    field::Field,
    keys::{Deed, Edit},
    screen::Screen,
    state::{
        form::{Pick, PickKind, Question},
        talk::{Chosen, Pending, Sending},
    },
    view,
};

impl App {
    pub(super) fn in_talk(&mut self, channel: ChannelId, deed: Deed) {
        let (page, width) = (view::page(self), view::composer_width(self));
        if let Some(talk) = self.talks.get_mut(&channel) {
            talk.is_halted = false;
        }
        match deed {
            Deed::Enter if self.is_choosing(channel) => self.go_to_quoted(channel),
            Deed::Enter => self.send(channel),
            Deed::Back => self.give_up_or_leave(channel),
            Deed::EditLast => {
                let Some(talk) = self.talks.get(&channel) else { return };
                let last = talk.last_own(self.me).map(|item| item.record.at.seq);
                match last {
                    Some(seq) if talk.composer.is_empty() && talk.editing.is_none() => self.amend(channel, seq),
                    _ if talk.composer.is_at_edge(width).0 => self.edit(Edit::Start),
                    _ => self.edit(Edit::Up),
                }
            }
            Deed::Choose => {
                self.keep_draft();
                if let Some(talk) = self.talks.get_mut(&channel) {
                    talk.chosen = None;
                    talk.choose(0);
                    if talk.chosen.is_none() {
                        self.say("there is no message yet");
                    }
                }
                self.show_chosen(channel);
            }
            Deed::Write => self.with(channel, |talk| talk.chosen = None),
            Deed::Up => self.choose(channel, -1),
            Deed::Down => self.choose(channel, 1),
            Deed::PageUp if self.is_choosing(channel) => self.choose(channel, -5),
            Deed::PageDown if self.is_choosing(channel) => self.choose(channel, 5),
            Deed::PageUp => self.scroll(channel, page as isize),
            Deed::PageDown => self.scroll(channel, -(page as isize)),
            Deed::Newest => self.newest(channel),
            Deed::NextTalk => self.step_talk(channel, 1),
            Deed::PreviousTalk => self.step_talk(channel, -1),
            Deed::Details => {
                self.keep_draft();
                self.show_details(channel);
            }
            deed => match self.talks.get(&channel).and_then(|talk| talk.chosen) {
                Some(Chosen::Record(seq)) => self.on_record(channel, seq, deed),
                Some(Chosen::Pending(ticket)) => self.on_pending(channel, ticket, deed),
                None => {}
            },
        }
    }
    fn with(&mut self, channel: ChannelId, change: impl FnOnce(&mut crate::state::talk::Talk)) {
        if let Some(talk) = self.talks.get_mut(&channel) {
            change(talk);
        }
    }
    fn is_choosing(&self, channel: ChannelId) -> bool {
        self.talks.get(&channel).is_some_and(|talk| talk.chosen.is_some())
    }

    /// Sends, or hands an edit in.
    fn send(&mut self, channel: ChannelId) {
        let (me, now) = (self.me, self.now);
        let Some(talk) = self.talks.get_mut(&channel) else { return };
        if talk.composer.text().trim().is_empty() {
            return;
        }
        let text = talk.composer.take();
        let (reply_to, editing) = (talk.reply_to.take(), talk.editing.take());
        let has_draft = !talk.saved_draft.is_empty();
        let among: Vec<UserId> = talk.members.iter().map(|member| member.user).filter(|user| *user != me).collect();
        let mentions = self.mentions(&text, among);
        if let Some(seq) = editing {
            self.write(channel, Write::Edit(seq, text, mentions), "");
            return;
        }
        let mut draft = Draft::text(text.clone()).mentions(mentions);
        if let Some(seq) = reply_to {
            draft = draft.reply_to(seq);
        }
        let ticket = self.write(channel, Write::Send(draft), "");
        self.with(channel, |talk| {
            talk.pending.push(Pending { ticket, text, reply_to, at: now, client_seq: None, state: Sending::Queued });
            talk.divider = None;
        });
        self.newest(channel);
        if has_draft {
            self.keep_draft();
        }
    }
    /// Members whom a text names by `@name`.
    fn mentions(&self, text: &str, among: Vec<UserId>) -> Vec<UserId> {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let named = text.match_indices('@').filter(|(at, _)| !text[..*at].chars().next_back().is_some_and(is_part)).filter_map(|(at, _)| {
            let rest = &text[at + 1..];
            let name = &rest[..rest.find(|c: char| !is_part(c)).unwrap_or(rest.len())];
            let by_name = |name: &str| self.people.by_name(name, among.iter().copied());
            by_name(name).or_else(|| by_name(name.trim_end_matches(['.', '-'])))
        });
        let mut users: Vec<UserId> = named.collect();
        users.sort_unstable();
        users.dedup();
        users.truncate(limit::MENTIONS_MAX);
        users
    }
    fn give_up_or_leave(&mut self, channel: ChannelId) {
        let Some(talk) = self.talks.get_mut(&channel) else { return self.back() };
        if talk.editing.take().is_some() {
            talk.composer.take();
        } else if talk.reply_to.take().is_none() {
            talk.up = 0;
            self.back();
        }
    }
    fn amend(&mut self, channel: ChannelId, seq: Seq) {
        let me = self.me;
        let Some(talk) = self.talks.get_mut(&channel) else { return };
        let own = talk.items.get(&seq).filter(|item| item.record.sender == me).and_then(|item| item.record.content.text());
        let Some(text) = own.map(str::to_owned) else { return self.say("only your own messages can be edited") };
        if !talk.composer.is_empty() && talk.editing.is_none() {
            return self.say("first send what you have written, or take it out");
        }
        talk.composer.set(&text);
        (talk.editing, talk.chosen, talk.reply_to) = (Some(seq), None, None);
    }
    fn on_record(&mut self, channel: ChannelId, seq: Seq, deed: Deed) {
        let me = self.me;
        let Some(item) = self.talks.get(&channel).and_then(|talk| talk.items.get(&seq)) else { return };
        let (is_own, is_text, is_pinned) = (item.record.sender == me, item.record.content.text().is_some(), item.is_pinned);
        if !is_text && deed != Deed::Inspect {
            return self.say("this message is gone");
        }
        match deed {
            Deed::Reply => self.with(channel, |talk| (talk.reply_to, talk.editing, talk.chosen) = (Some(seq), None, None)),
            Deed::Amend => self.amend(channel, seq),
            Deed::Delete if is_own || channel.peer_of(me).is_none() => self.question(Question::DeleteMessage(channel, seq)),
            Deed::Delete => self.say("only your own messages can be deleted here"),
            Deed::React => self.pick(PickKind::React(channel, seq), "React with"),
            Deed::Forward => self.pick(PickKind::Forward(channel, seq), "Forward to"),
            Deed::Pin => {
                self.write(channel, Write::Pin(seq, !is_pinned), if is_pinned { "unpinned" } else { "pinned" });
            }
            Deed::Inspect => self.ask(Ask::Seen(channel, seq)),
            Deed::Retry | Deed::Discard => self.say("this message was sent"),
            _ => {}
        }
    }
    fn on_pending(&mut self, channel: ChannelId, ticket: u64, deed: Deed) {
        let Some(talk) = self.talks.get_mut(&channel) else { return };
        let Some(at) = talk.pending.iter().position(|pending| pending.ticket == ticket) else { return };
        if !matches!(talk.pending[at].state, Sending::Failed(_)) {
            return self.say("this message is on its way");
        }
        match deed {
            Deed::Discard => {
                talk.pending.remove(at);
                talk.chosen = None;
            }
            Deed::Retry => {
                let failed = talk.pending.remove(at);
                let kept = talk.composer.take();
                (talk.chosen, talk.reply_to) = (None, failed.reply_to);
                talk.composer.set(&failed.text);
                self.send(channel);
                self.with(channel, |talk| talk.composer.set(&kept));
            }
            _ => self.say("this message has failed: y sends it again, x throws it away"),
        }
    }
    pub(crate) fn pick(&mut self, kind: PickKind, title: &str) {
        self.screens.push(Screen::Pick(Pick { kind, title: title.to_owned(), field: Field::line(""), at: 0 }));
    }

    // Where one looks.

    fn choose(&mut self, channel: ChannelId, by: isize) {
        let Some(talk) = self.talks.get_mut(&channel) else { return };
        let moved = talk.choose(by);
        if !moved && by > 0 {
            talk.up = 0;
        }
        self.show_chosen(channel);
    }
    /// Scrolls so that the chosen message is on the screen.
    pub(crate) fn show_chosen(&mut self, channel: ChannelId) {
        let height = view::talk_height(self);
        let Some((below, lines)) = view::talk::place_of_chosen(self, channel) else { return };
        self.with(channel, |talk| {
            let top = (below + lines).saturating_sub(height);
            talk.up = talk.up.min(below).max(top);
        });
    }
    fn scroll(&mut self, channel: ChannelId, by: isize) {
        let height = view::talk_height(self);
        let Some(wanted) = self.talks.get(&channel).map(|talk| talk.up.saturating_add_signed(by)) else { return };
        let all = view::talk::measure(self, channel, wanted + height);
        self.with(channel, |talk| talk.up = wanted.min(all.saturating_sub(height)));
    }
    fn newest(&mut self, channel: ChannelId) {
        self.with(channel, |talk| {
            (talk.up, talk.chosen, talk.going_to) = (0, None, None);
            if talk.has_newer {
                talk.is_loaded = false;
            }
        });
    }
    /// To a message, wherever it is: to one that is not held by way of the page around it.
    pub(crate) fn go_to(&mut self, channel: ChannelId, seq: Seq) {
        if self.open_channel() != Some(channel) {
            self.open(channel);
        }
        self.with(channel, |talk| {
            if talk.items.contains_key(&seq) {
                (talk.chosen, talk.going_to) = (Some(Chosen::Record(seq)), None);
            } else {
                (talk.going_to, talk.is_loaded, talk.is_loading) = (Some(seq), false, false);
            }
        });
        self.show_chosen(channel);
    }
    fn go_to_quoted(&mut self, channel: ChannelId) {
        let Some((_, seq)) = self.chosen_record() else { return };
        let answered = self.talks.get(&channel).and_then(|talk| talk.items.get(&seq)).and_then(|item| match &item.record.content {
            kith_client::wire::log::Content::Text { reply_to, .. } => *reply_to,
            _ => None,
        });
        match answered {
            Some(seq) => self.go_to(channel, seq),
            None => self.say("this message answers no other"),
        }
    }
    fn step_talk(&mut self, channel: ChannelId, by: isize) {
        let (rows, _) = self.list_shown();
        let Some(at) = rows.iter().position(|summary| summary.channel == channel) else { return };
        let to = at.checked_add_signed(by).and_then(|to| rows.get(to)).map(|summary| summary.channel);
        if let Some(to) = to {
            self.open(to);
        }
    }
}
