//! The own account: profile, devices, password, the way out.

use crate::{
    action::Ask,
    app::App,
    keys::Deed,
    screen::Screen,
    state::form::{Form, FormKind, Question},
};

impl App {
    pub(super) fn in_account(&mut self, deed: Deed) {
        let Screen::Account { at, devices } = self.screen() else { return };
        let (at, devices) = (*at, devices.clone().unwrap_or_default());
        if let Some(to) = self.moved(deed, at, devices.len()) {
            if let Screen::Account { at, .. } = self.screen_mut() {
                *at = to;
            }
            return;
        }
        let (display, about) = self.people.get(self.me).map(|person| (person.display.clone(), person.about.clone())).unwrap_or_default();
        match deed {
            Deed::Back => self.back(),
            Deed::Profile => self.show_form(
                Form::new(FormKind::Profile, "Profile", "What others see of you. An empty field takes it away.")
                    .line("Display name", "shown beside your name", &display)
                    .line("About you", "a few words", &about)
                    .line("Found by search", "yes or no", "yes"),
            ),
            Deed::EndDevice => match devices.get(at) {
                Some(device) if device.current => self.question(Question::LogOut),
                Some(device) => self.question(Question::EndDevice(device.device)),
                None => self.say("your devices are not here yet"),
            },
            Deed::EndOthers => self.question(Question::EndOthers),
            Deed::Password => self.show_form(
                Form::new(FormKind::Password, "Password", "All your other devices are logged out.")
                    .secret("Password so far", "")
                    .secret("New password", "at least 8 characters")
                    .secret("New password again", ""),
            ),
            Deed::Recovery => {
                self.show_form(Form::new(FormKind::Recovery, "Recovery code", "A new one; the old one is of no use then.").secret("Password", ""));
            }
            Deed::Rename => {
                let name = self.name.clone();
                let form =
                    Form::new(FormKind::Rename, "Name", "Once a day at most. The old name is nobody else's for 30 days.").line("New name", "", &name);
                self.show_form(form);
            }
            Deed::LogOut => self.question(Question::LogOut),
            Deed::DeleteAccount => self.show_form(
                Form::new(FormKind::DeleteAccount, "Delete the account", "For ever: you leave everything, and nobody can bring it back.")
                    .secret("Password", "")
                    .line("Write \"delete\"", "", ""),
            ),
            Deed::Refresh => self.ask(Ask::Devices),
            _ => {}
        }
    }
}
