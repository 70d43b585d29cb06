//! Lists to choose from, and questions.

use kith_client::wire::id::Timestamp;

use crate::{
    action::{Action, Ask, Stand, Write},
    app::App,
    keys::Deed,
    screen::Screen,
    state::form::{Choice, EMOJI, Pick, PickKind, Question},
    text,
};

impl App {
    /// What can be chosen now, with what is typed taken into account.
    pub(crate) fn choices(&self, pick: &Pick) -> Vec<(String, Choice)> {
        let typed = pick.field.text().trim();
        let fits = |label: &str| typed.is_empty() || label.to_lowercase().contains(&typed.to_lowercase());
        match &pick.kind {
            PickKind::React(..) => {
                let emoji = EMOJI.iter().map(|(emoji, says)| (format!("{emoji}  {says}"), Choice::Emoji((*emoji).to_owned())));
                let mut choices: Vec<_> = emoji.filter(|(label, _)| fits(label)).collect();
                if choices.is_empty() && !typed.contains(char::is_whitespace) {
                    choices.push((format!("{typed}  (as you typed it)"), Choice::Emoji(typed.to_owned())));
                }
                choices
            }
            PickKind::Forward(..) => {
                let rows = self.list.iter().filter(|summary| summary.row.news.left.is_none());
                rows.map(|summary| (self.title(summary.channel), Choice::Talk(summary.channel))).filter(|(label, _)| fits(label)).collect()
            }
            PickKind::Mute(_) => self.mutes().into_iter().map(|(label, wish)| (label, Choice::Wish(wish))).filter(|(label, _)| fits(label)).collect(),
        }
    }
    pub(super) fn in_pick(&mut self, deed: Deed) {
        let Screen::Pick(pick) = self.screen() else { return };
        let choices = self.choices(pick);
        let (at, kind) = (pick.at, pick.kind.clone());
        if let Some(to) = self.moved(deed, at, choices.len()) {
            if let Screen::Pick(pick) = self.screen_mut() {
                pick.at = to;
            }
            return;
        }
        match deed {
            Deed::Back => self.back(),
            Deed::Enter => {
                let Some((_, choice)) = choices.into_iter().nth(at) else { return };
                self.back();
                match (kind, choice) {
                    (PickKind::React(channel, seq), Choice::Emoji(emoji)) => {
                        let item = self.talks.get(&channel).and_then(|talk| talk.items.get(&seq));
                        let mine = item.is_some_and(|item| item.reactions.iter().any(|total| total.mine && total.emoji == emoji));
                        self.write(channel, Write::React(seq, emoji, !mine), "");
                    }
                    (PickKind::Forward(from, seq), Choice::Talk(to)) => {
                        self.write(to, Write::Forward(from, seq), "forwarded");
                    }
                    (PickKind::Mute(channel), Choice::Wish(wish)) => self.ask(Ask::Prefer(channel, wish)),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// What is asked, in words.
    pub(crate) fn asked(&self, question: &Question) -> String {
        match question {
            Question::DeleteMessage(channel, seq) => {
                let text = self.talks.get(channel).and_then(|talk| talk.items.get(seq)).and_then(|item| item.record.content.text());
                format!("Delete this message for everyone?\n\n\"{}\"", text::cut(&text::line(text.unwrap_or_default()), 120))
            }
            Question::RemoveMember(channel, user) => format!("Remove {} from {}?", self.people.shown(*user), self.title(*channel)),
            Question::Leave(channel) => format!("Leave {}? You read nothing that is written there after.", self.title(*channel)),
            Question::HandOver(channel, user) => {
                format!("Make {} the owner of {}? You will be an admin.", self.people.shown(*user), self.title(*channel))
            }
            Question::Revoke(..) => "Revoke this link? Nobody can join by it then.".to_owned(),
            Question::Block(user) => format!("Block {}? You hear nothing of them, and they cannot tell.", self.people.shown(*user)),
            Question::EndDevice(device) => {
                let devices = match self.ground() {
                    Screen::Account { devices, .. } => devices.as_deref().unwrap_or_default(),
                    _ => &[],
                };
                let title = devices.iter().find(|one| one.device == *device).map_or_else(String::new, |one| text::line(&one.title));
                format!("Log this device out? {title}")
            }
            Question::EndOthers => "Log all your other devices out?".to_owned(),
            Question::LogOut => "Log out on this device? You will need your password to come back.".to_owned(),
            Question::Forget(name) => format!("Forget the saved login of {} on this machine?", text::line(name)),
            Question::Quit => {
                let unsent: usize = self.talks.values().map(crate::state::talk::Talk::unsent).sum();
                if unsent == 0 {
                    "End the program?".to_owned()
                } else {
                    format!("End the program? {unsent} not sent yet: they are sent when you come back.")
                }
            }
        }
    }
    pub(super) fn in_question(&mut self, deed: Deed) {
        let Screen::Question(question) = self.screen().clone() else { return };
        match deed {
            Deed::Back => self.back(),
            Deed::Yes => {
                self.back();
                self.agreed(question);
            }
            _ => {}
        }
    }
    fn agreed(&mut self, question: Question) {
        match question {
            Question::DeleteMessage(channel, seq) => {
                self.write(channel, Write::Delete(seq), "deleted");
            }
            Question::RemoveMember(channel, user) => {
                self.write(channel, Write::Remove(user), "removed");
            }
            Question::Leave(channel) => {
                self.write(channel, Write::Leave, "you have left");
                // Nothing that is said there is theirs any more.
                self.screens.truncate(1);
            }
            Question::HandOver(channel, user) => {
                self.write(channel, Write::HandOver(user), "handed over");
            }
            Question::Revoke(channel, secret) => {
                self.write(channel, Write::Revoke(secret), "revoked");
            }
            Question::Block(user) => self.ask(Ask::Contact(user, Stand::Blocked)),
            Question::EndDevice(device) => self.ask(Ask::EndDevice(device)),
            Question::EndOthers => self.ask(Ask::EndOthers),
            Question::LogOut => self.ask(Ask::LogOut),
            Question::Forget(name) => {
                self.saved.retain(|saved| *saved != name);
                self.act(Action::Forget(name));
            }
            Question::Quit => self.quit(),
        }
    }
    /// A day's worth of time from now on, as the server counts.
    pub(crate) fn after(&self, ms: u64) -> Timestamp {
        Timestamp::new(self.now.get().saturating_add(ms))
    }
}
