//! What answers and the ends of writes change.
//!
//! In: events of the shell. Out: changed state. Invariant: a form goes when what it asked for is done, and says why when it is not.

use kith_client::{
    ChannelSummary, Error,
    wire::{
        code::Code,
        id::{ChannelId, Seq, UserId},
        secret::Secret,
    },
};

use crate::{
    action::{Action, Answer, Ask, Entry, Link, Progress, Stand, Want, Wish, Write},
    app::App,
    screen::Screen,
    state::{
        form::Form,
        talk::{Chosen, Talk},
        trouble::in_words,
    },
    text,
};

impl App {
    // The way in and out.

    pub(crate) fn entered(&mut self, user: UserId, name: String, recovery: Option<Secret>) {
        self.begin_anew();
        if !self.saved.contains(&name) {
            self.saved.push(name.clone());
            self.saved.sort();
        }
        (self.me, self.name, self.link) = (user, name, Link::Connecting);
        self.screens = vec![Screen::List { at: None, archived: false }];
        self.people.want([user]);
        self.act(Action::List);
        if let Some(code) = recovery {
            let code = code.reveal();
            self.note(
                "Welcome! Your recovery code",
                format!("{code}\n\nWrite it down and keep it: it is shown this once, and it is the way\nback in if you forget your password.\n\nThen: n makes a group, d writes to somebody, ? shows all keys."),
            );
        }
    }
    pub(crate) fn refused(&mut self, entry: &Entry, error: &Error) {
        self.is_entering = false;
        let words = in_words(error);
        match entry {
            Entry::Resume { name, .. } => {
                self.wrong(words);
                if matches!(error.code, Code::LoginNeeded | Code::Revoked | Code::BadToken) {
                    self.form_log_in(name);
                }
            }
            _ => self.in_form_wrong(words),
        }
    }
    pub(crate) fn password_reset(&mut self, code: &Secret) {
        self.is_entering = false;
        let name = match self.screen() {
            Screen::Form(form) => form.text(0),
            _ => String::new(),
        };
        self.back();
        self.form_log_in(&name);
        self.note("The password is set. Your new recovery code", format!("{}\n\nWrite it down: it is shown this once. Then log in.", code.reveal()));
    }
    pub(crate) fn left(&mut self, error: Option<&Error>) {
        let (name, is_leaving) = (self.name.clone(), self.is_leaving);
        self.begin_anew();
        if is_leaving {
            self.saved.retain(|saved| *saved != name);
            self.act(Action::Forget(name));
            self.say("logged out");
        } else if let Some(error) = error {
            self.wrong(in_words(error));
        }
    }
    pub(crate) fn linked(&mut self, link: Link) {
        let is_new = matches!(link, Link::Online(_)) && !matches!(self.link, Link::Online(_));
        self.link = link;
        if !is_new {
            return;
        }
        for talk in self.talks.values_mut() {
            (talk.is_halted, talk.told_read) = (false, Default::default());
        }
        self.act(Action::List);
        // Hints may have been missed.
        if let Screen::Talk { channel } | Screen::Group { channel, .. } = *self.ground() {
            self.ask(Ask::Members(channel));
        }
    }

    // What came.

    pub(crate) fn listed(&mut self, list: Vec<ChannelSummary>, archived: Vec<ChannelSummary>) {
        (self.list, self.archived, self.is_listed) = (list, archived, true);
        let (rows, at) = self.list_shown();
        let chosen = rows.get(at).map(|summary| summary.channel);
        if let Some(Screen::List { at, .. }) = self.screens.first_mut()
            && at.is_none_or(|at| !self.list.iter().chain(&self.archived).any(|summary| summary.channel == at))
        {
            *at = chosen;
        }
    }
    pub(crate) fn wrote(&mut self, ticket: u64, progress: &Progress) {
        let Some(doing) = self.doing.get(&ticket).cloned() else { return };
        let channel = doing.channel;
        if let Some(talk) = self.talks.get_mut(&channel) {
            talk.progress(ticket, progress);
        }
        match progress {
            Progress::Queued(_) => return,
            Progress::Recorded(..) | Progress::Done => {
                if !doing.said.is_empty() {
                    self.say(doing.said);
                }
                if !matches!(doing.write, Write::Send(_) | Write::Edit(..) | Write::React(..)) {
                    self.ask_of_group(channel);
                }
                // It is in the list when the answer says so, or a moment later.
                if matches!(doing.write, Write::Pin(..)) {
                    self.act(Action::List);
                }
            }
            Progress::Failed(error) => {
                let words = in_words(error);
                if matches!(doing.write, Write::Invite(..)) {
                    self.awaits_link = None;
                }
                self.wrong(match doing.write {
                    Write::Send(_) => format!("not sent: {words} (Tab, then y to send again or x to throw away)"),
                    _ => words,
                });
            }
        }
        self.doing.remove(&ticket);
    }
    fn ask_of_group(&mut self, channel: ChannelId) {
        let is_shown = self.screens.iter().any(|screen| matches!(screen, Screen::Group { channel: of, .. } if *of == channel));
        if is_shown || self.awaits_link == Some(channel) {
            self.ask(Ask::Group(channel));
            self.ask(Ask::Members(channel));
        }
    }

    pub(crate) fn answered(&mut self, ask: Ask, result: Result<Answer, Error>) {
        match result {
            Ok(answer) => self.answer(ask, answer),
            Err(error) => self.failed(ask, &error),
        }
    }
    fn failed(&mut self, ask: Ask, error: &Error) {
        let words = in_words(error);
        self.is_leaving &= !matches!(ask, Ask::LogOut | Ask::Delete(_));
        match ask {
            Ask::Names(users) => self.people.failed(&users, self.now),
            // Told again when there is news; nobody waits for them.
            Ask::MarkRead(..) | Ask::Typing(_) | Ask::Prefer(_, Wish::Draft(_)) | Ask::Page(_, Want::Quoted(_)) => {}
            Ask::Page(channel, _) => {
                if let Some(talk) = self.talks.get_mut(&channel) {
                    (talk.is_loading, talk.is_halted, talk.going_to) = (false, true, None);
                    // A new conversation has no history yet, and whoever has left reads none that is new.
                    if matches!(error.code, Code::NotMember | Code::NotFound) {
                        talk.is_loaded = true;
                        return;
                    }
                }
                self.wrong(words);
            }
            Ask::Members(channel) | Ask::Group(channel) => {
                let is_expected = matches!(error.code, Code::NotMember | Code::NotFound) || !matches!(self.link, Link::Online(_));
                if !is_expected && self.talks.contains_key(&channel) {
                    self.wrong(words);
                }
            }
            Ask::Direct(_)
            | Ask::NewGroup(..)
            | Ask::Join(_)
            | Ask::Add(..)
            | Ask::Find(_)
            | Ask::AskByName(_)
            | Ask::Password(..)
            | Ask::Recovery(_)
            | Ask::Rename(_)
            | Ask::SetProfile(_)
            | Ask::Delete(_) => self.in_form_wrong(words),
            Ask::Search(looked) => self.not_found(&looked, words),
            _ => self.wrong(words),
        }
    }
    fn answer(&mut self, ask: Ask, answer: Answer) {
        match (ask, answer) {
            (Ask::Names(users), Answer::People(profiles)) => {
                self.people.learn(profiles);
                self.people.missing(&users);
            }
            (Ask::Page(channel, want), answer) => self.page(channel, want, answer),
            (Ask::Members(channel), Answer::Members(view)) => {
                self.people.want(view.members.iter().map(|member| member.user));
                self.talk_of(channel).members = view.members;
            }
            (Ask::Group(channel), Answer::Group(view)) => self.group(channel, view),
            (Ask::Seen(channel, seq), Answer::Seen { read, delivered, reactions }) => {
                let everyone = delivered.iter().chain(reactions.iter().flat_map(|one| &one.users));
                self.people.want(everyone.copied());
                let text = self.seen_text(channel, seq, &read, &delivered, &reactions);
                self.note("Message", text);
            }
            (Ask::Direct(_) | Ask::NewGroup(..) | Ask::Join(_), Answer::Channel(channel)) => {
                self.close_form();
                self.open(channel);
                self.act(Action::List);
            }
            (Ask::Join(_), Answer::Pending) => {
                self.close_form();
                self.say("asked: an admin of the group has to let you in");
            }
            (Ask::Add(channel, _), Answer::User(user)) => {
                self.close_form();
                self.write(channel, Write::Add(user), "added");
            }
            (Ask::Contacts, Answer::Contacts(contacts)) => self.contacts = Some(contacts),
            (Ask::Find(prefix), Answer::People(profiles)) => {
                self.close_form();
                if profiles.is_empty() {
                    self.say(format!("nobody is found by {:?}", text::line(&prefix)));
                }
                if let Screen::Contacts(screen) = self.screen_mut() {
                    (screen.found, screen.at) = (Some((prefix, profiles)), 0);
                }
            }
            (Ask::Contact(_, stand), Answer::Done) => {
                self.say(match stand {
                    Stand::Contact => "asked, or accepted",
                    Stand::Stranger => "done",
                    Stand::Blocked => "blocked",
                    Stand::Unblocked => "unblocked",
                });
                self.ask(Ask::Contacts);
            }
            (Ask::AskByName(_), Answer::Done) => {
                self.close_form();
                self.say("asked");
                self.ask(Ask::Contacts);
            }
            (Ask::Profile(user), Answer::People(profiles)) => {
                self.people.learn(profiles);
                let text = self.profile_text(user);
                self.note("Profile", text);
            }
            (Ask::Devices, Answer::Devices(shown)) => {
                if let Some(Screen::Account { devices, .. }) = self.screens.iter_mut().find(|screen| matches!(screen, Screen::Account { .. })) {
                    *devices = Some(shown);
                }
            }
            (Ask::EndDevice(_) | Ask::EndOthers, Answer::Done) => {
                self.say("logged out there");
                self.ask(Ask::Devices);
            }
            (Ask::Password(..), Answer::Done) => {
                self.close_form();
                self.say("the password is changed");
                self.ask(Ask::Devices);
            }
            (Ask::Recovery(_), Answer::Code(code)) => {
                self.close_form();
                self.note("Your new recovery code", format!("{}\n\nWrite it down: it is shown this once.", code.reveal()));
            }
            (Ask::Rename(name), Answer::Done) => {
                self.close_form();
                let me = self.me;
                self.name = name.to_lowercase();
                self.people.forget(me);
                self.people.want([me]);
                self.say("renamed");
            }
            (Ask::SetProfile(_), Answer::Done) => {
                self.close_form();
                let me = self.me;
                self.people.forget(me);
                self.people.want([me]);
                self.say("your profile is changed");
            }
            (Ask::LogOut | Ask::Delete(_), Answer::Done) => {
                let name = self.name.clone();
                self.saved.retain(|saved| *saved != name);
                self.is_leaving = false;
                self.say("logged out");
                self.act(Action::Leave);
                self.act(Action::Forget(name));
            }
            (Ask::Prefer(_, wish), Answer::Done) => {
                match wish {
                    Wish::Mute(Some(_)) => self.say("muted"),
                    Wish::Mute(None) => self.say("heard again"),
                    Wish::Archive(true) => self.say("archived: v shows what is"),
                    _ => {}
                }
                self.act(Action::List);
            }
            (Ask::Search(looked), Answer::Found(page)) => self.found(looked, page),
            (Ask::MarkRead(..), Answer::Done) => self.act(Action::List),
            _ => {}
        }
    }
    fn close_form(&mut self) {
        if matches!(self.screen(), Screen::Form(Form { is_busy: true, .. })) {
            self.screens.pop();
        }
    }
    fn talk_of(&mut self, channel: ChannelId) -> &mut Talk {
        if !self.opened.contains(&channel) {
            self.opened.push_front(channel);
        }
        self.talks.entry(channel).or_insert_with(|| Talk::new(channel))
    }
    fn page(&mut self, channel: ChannelId, want: Want, answer: Answer) {
        let Some(talk) = self.talks.get_mut(&channel) else { return };
        let mut users = Vec::new();
        match (want, answer) {
            (Want::Quoted(seq), Answer::Page(page)) => {
                let found = page.records.into_iter().find(|record| record.at.seq == seq).map(std::sync::Arc::new);
                users.extend(found.iter().flat_map(|record| record.users()));
                talk.quoted.insert(seq, found);
            }
            (want, Answer::Page(page)) => {
                talk.is_loading = false;
                users.extend(page.records.iter().flat_map(|record| record.users()));
                talk.take_page(page, matches!(want, Want::Newest | Want::Around(_)));
            }
            (_, Answer::Held(records, has_older)) => {
                talk.is_loading = false;
                users.extend(records.iter().flat_map(|record| record.users()));
                talk.take_held(records, has_older);
            }
            _ => talk.is_loading = false,
        }
        if let Some(seq) = talk.going_to.take_if(|_| matches!(want, Want::Around(_))) {
            // The record itself may be of a kind that is not chosen: then the nearest before it.
            let nearest = talk.choices().rfind(|one| matches!(one, Chosen::Record(at) if *at <= seq));
            talk.chosen = nearest;
        }
        self.people.want(users);
        if matches!(want, Want::Around(_)) {
            self.show_chosen(channel);
        }
    }
    fn group(&mut self, channel: ChannelId, view: kith_client::wire::client::GroupView) {
        let people = view.asked.iter().map(|asked| asked.user).chain(view.links.iter().map(|link| link.by)).chain(view.pins.iter().map(|pin| pin.by));
        self.people.want(people.collect::<Vec<_>>());
        let newest = view.links.last().map(|link| kith_client::Link { channel, secret: link.invite.secret });
        let had: Vec<[u8; 16]> = self
            .talks
            .get(&channel)
            .and_then(|talk| talk.group.as_ref())
            .map(|group| group.links.iter().map(|link| link.invite.secret).collect())
            .unwrap_or_default();
        self.talk_of(channel).group = Some(view);
        if self.awaits_link == Some(channel)
            && let Some(link) = newest.filter(|link| !had.contains(&link.secret))
        {
            self.awaits_link = None;
            self.show_link(link);
        }
    }

    // Texts that are shown over a screen.

    fn seen_text(
        &self,
        channel: ChannelId,
        seq: Seq,
        read: &[UserId],
        delivered: &[UserId],
        reactions: &[kith_client::wire::act::Reaction],
    ) -> String {
        let names = |users: &[UserId]| {
            if users.is_empty() { "nobody yet".to_owned() } else { users.iter().map(|user| self.people.shown(*user)).collect::<Vec<_>>().join(", ") }
        };
        let mut lines = Vec::new();
        if let Some(item) = self.talks.get(&channel).and_then(|talk| talk.items.get(&seq)) {
            lines.push(format!("{} wrote it on {}", self.people.shown(item.record.sender), self.zone.full(item.record.ts)));
            if item.is_edited {
                lines.push("It was edited since.".to_owned());
            }
        }
        lines.push(format!("Read by: {}", names(read)));
        let only: Vec<UserId> = delivered.iter().filter(|user| !read.contains(user)).copied().collect();
        if !only.is_empty() {
            lines.push(format!("Delivered, not read yet: {}", names(&only)));
        }
        lines.extend(reactions.iter().map(|one| format!("{} by {}", text::line(&one.emoji), names(&one.users))));
        lines.join("\n")
    }
    fn profile_text(&self, user: UserId) -> String {
        let Some(person) = self.people.get(user) else { return "This account is gone.".to_owned() };
        let mut lines = vec![format!("Name: {}", person.name)];
        if !person.display.is_empty() {
            lines.push(format!("Display name: {}", person.display));
        }
        if !person.about.is_empty() {
            lines.push(format!("About: {}", person.about));
        }
        lines.push(String::new());
        lines.push("Contacts (c in the list) has requests and blocks.".to_owned());
        lines.join("\n")
    }
}
