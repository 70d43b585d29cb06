//! Forms: moving in them, and what comes of a filled one.

use kith_client::{ProfileChange, wire::act::Rules};

use crate::{
    action::{Action, Ask, Entry, Server, Write},
    app::App,
    keys::Deed,
    screen::Screen,
    state::form::{Form, FormKind},
    time,
};

impl App {
    pub(super) fn in_form(&mut self, deed: Deed) {
        let Screen::Form(form) = self.screen_mut() else { return };
        match deed {
            Deed::NextField => form.step(1),
            Deed::PreviousField => form.step(-1),
            Deed::Enter if form.at + 1 < form.fields.len() => form.step(1),
            Deed::Enter if form.is_busy => {}
            Deed::Enter => {
                let form = form.clone();
                if let Err(wrong) = self.submit(&form) {
                    self.in_form_wrong(wrong);
                }
            }
            Deed::Back => self.back(),
            _ => {}
        }
    }
    /// What is wrong stands in the form, if it is still there.
    pub(crate) fn in_form_wrong(&mut self, wrong: String) {
        match self.screen_mut() {
            Screen::Form(form) => (form.wrong, form.is_busy) = (Some(wrong), false),
            _ => self.wrong(wrong),
        }
    }
    fn submit(&mut self, form: &Form) -> Result<(), String> {
        let name = |at: usize| match form.text(at) {
            name if name.is_empty() => Err("this needs a name".to_owned()),
            name => Ok(name),
        };
        let secret = |at: usize| form.fields.get(at).map(|field| field.field.reveal()).unwrap_or_default();
        let twice = |at: usize| match secret(at) {
            one if one != secret(at + 1) => Err("the two passwords are not the same".to_owned()),
            one if one.reveal().chars().count() < kith_client::wire::limit::PASSWORD_CHARS_MIN => {
                Err("a password has at least 8 characters".to_owned())
            }
            one => Ok(one),
        };
        let span = |at: usize| time::parse_span(&form.text(at)).ok_or_else(|| "write a time as 30s, 10m, 2h or 7d".to_owned());
        let server = self.server.clone();
        match form.kind {
            FormKind::Server => {
                self.server = Server { addresses: form.text(0), certificate: form.text(1) };
                self.back();
            }
            FormKind::SignUp => self.enter(Entry::SignUp { server, name: name(0)?, password: twice(1)? }),
            FormKind::LogIn => self.enter(Entry::LogIn { server, name: name(0)?, password: secret(1) }),
            FormKind::Reset => {
                let code = kith_client::wire::secret::Secret::new(form.text(1));
                self.enter(Entry::Reset { server, name: name(0)?, code, password: twice(2)? });
            }
            FormKind::NewGroup => {
                if form.text(0).is_empty() {
                    return Err("a group needs a title".to_owned());
                }
                self.ask_of_form(Ask::NewGroup(form.text(0), names(&form.text(1))));
            }
            FormKind::Direct => self.ask_of_form(Ask::Direct(name(0)?)),
            FormKind::Join => self.ask_of_form(Ask::Join(form.text(0))),
            FormKind::Add(channel) => self.ask_of_form(Ask::Add(channel, name(0)?)),
            FormKind::Title(channel) => self.write_of_form(channel, Write::Describe(Some(form.text(0)), None), "renamed"),
            FormKind::About(channel) => self.write_of_form(channel, Write::Describe(None, Some(form.text(0))), "described"),
            FormKind::SlowMode(channel) => {
                let slow_ms = span(0)?;
                let rules = self.talks.get(&channel).and_then(|talk| talk.group.as_ref()).map(|group| group.rules).unwrap_or_default();
                self.write_of_form(channel, Write::Rules(Rules { slow_ms, ..rules }), "rules changed");
            }
            FormKind::MuteMember(channel, user) => {
                let until = self.after(span(0)?);
                self.write_of_form(channel, Write::Mute(user, until), "muted");
            }
            FormKind::Invite(channel) => {
                let until = match span(0)? {
                    0 => kith_client::wire::id::Timestamp::new(0),
                    ms => self.after(ms),
                };
                let uses = form.text(1).parse().map_err(|_| "for how many: a number, 0 for any".to_owned())?;
                self.awaits_link = Some(channel);
                self.write_of_form(channel, Write::Invite(until, uses), "");
            }
            FormKind::Find => self.ask_of_form(Ask::Find(name(0)?)),
            FormKind::AskContact => self.ask_of_form(Ask::AskByName(name(0)?)),
            FormKind::Profile => {
                let searchable = match form.text(2).to_lowercase().as_str() {
                    "yes" | "y" => true,
                    "no" | "n" => false,
                    _ => return Err("found by search: yes or no".to_owned()),
                };
                let change = ProfileChange {
                    display: Some(form.text(0)),
                    about: Some(form.text(1)),
                    searchable: Some(searchable),
                    ..ProfileChange::default()
                };
                self.ask_of_form(Ask::SetProfile(change));
            }
            FormKind::Rename => self.ask_of_form(Ask::Rename(name(0)?)),
            FormKind::Password => self.ask_of_form(Ask::Password(secret(0), twice(1)?)),
            FormKind::Recovery => self.ask_of_form(Ask::Recovery(secret(0))),
            FormKind::DeleteAccount => {
                if form.text(1) != "delete" {
                    return Err("write the word delete, if you mean it".to_owned());
                }
                self.ask_of_form(Ask::Delete(secret(0)));
            }
        }
        Ok(())
    }
    fn busy(&mut self) {
        if let Screen::Form(form) = self.screen_mut() {
            form.is_busy = true;
        }
    }
    fn enter(&mut self, entry: Entry) {
        self.busy();
        self.is_entering = true;
        self.act(Action::Enter(entry));
    }
    /// The form stays until it is answered.
    fn ask_of_form(&mut self, ask: Ask) {
        self.busy();
        self.ask(ask);
    }
    /// A write is certain to be done or refused, whenever that is: the form goes.
    fn write_of_form(&mut self, channel: kith_client::wire::id::ChannelId, write: Write, said: &'static str) {
        self.back();
        self.write(channel, write, said);
    }
}

/// Names between commas or spaces.
fn names(text: &str) -> Vec<String> {
    text.split([',', ' ', ';']).map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
