//! Getting in: sign up, log in, a saved login, another server.

use crate::{
    action::{Action, Entry, Server},
    app::App,
    keys::Deed,
    screen::Screen,
    state::form::{Form, FormKind, Question},
};

/// A row of the welcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum WelcomeRow {
    Resume(String),
    SignUp,
    LogIn,
    Reset,
    Server,
    Quit,
}

impl App {
    pub(crate) fn welcome_rows(&self) -> Vec<WelcomeRow> {
        let saved = self.saved.iter().cloned().map(WelcomeRow::Resume);
        saved.chain([WelcomeRow::SignUp, WelcomeRow::LogIn, WelcomeRow::Reset, WelcomeRow::Server, WelcomeRow::Quit]).collect()
    }
    pub(super) fn at_welcome(&mut self, deed: Deed) {
        let rows = self.welcome_rows();
        let Screen::Welcome { at } = *self.screen() else { return };
        if let Some(to) = self.moved(deed, at, rows.len()) {
            *self.screen_mut() = Screen::Welcome { at: to };
            return;
        }
        let chosen = rows.get(at).cloned().unwrap_or(WelcomeRow::SignUp);
        match (deed, chosen) {
            (Deed::SetServer, _) | (Deed::Enter, WelcomeRow::Server) => self.form_server(),
            (Deed::Forget, WelcomeRow::Resume(name)) => self.question(Question::Forget(name)),
            (Deed::Enter, WelcomeRow::Quit) => self.quit(),
            // Without a server there is nobody to ask.
            (Deed::Enter, _) if self.server.addresses.trim().is_empty() => {
                self.form_server();
                self.say("first say where the server is");
            }
            (Deed::Enter, WelcomeRow::Resume(name)) => {
                let server = self.server.clone();
                if !self.is_entering
                    && let Some(action) = self.resume(server, name)
                {
                    self.act(action);
                }
            }
            (Deed::Enter, WelcomeRow::SignUp) => self.show_form(
                Form::new(FormKind::SignUp, "Sign up", "A new account. Others find you by the name. You will be shown a recovery code: keep it.")
                    .line("Name", "letters and digits, as others will write it", "")
                    .secret("Password", "at least 8 characters")
                    .secret("Password again", ""),
            ),
            (Deed::Enter, WelcomeRow::LogIn) => self.form_log_in(""),
            (Deed::Enter, WelcomeRow::Reset) => self.show_form(
                Form::new(
                    FormKind::Reset,
                    "Forgot the password",
                    "Sets another password by your recovery code, or by a code that an operator gave you.",
                )
                .line("Name", "", "")
                .line("Code", "", "")
                .secret("New password", "at least 8 characters")
                .secret("New password again", ""),
            ),
            _ => {}
        }
    }
    /// Goes on with a saved login; where there is none, the password is asked for.
    pub(crate) fn resume(&mut self, server: Server, name: String) -> Option<Action> {
        if !self.saved.contains(&name) {
            self.form_log_in(&name);
            return None;
        }
        self.is_entering = true;
        Some(Action::Enter(Entry::Resume { server, name }))
    }
    pub(crate) fn form_log_in(&mut self, name: &str) {
        let mut form =
            Form::new(FormKind::LogIn, "Log in", "With the name and the password of your account.").line("Name", "", name).secret("Password", "");
        form.at = usize::from(!name.is_empty());
        self.show_form(form);
    }
    fn form_server(&mut self) {
        let server = self.server.clone();
        self.show_form(
            Form::new(
                FormKind::Server,
                "Server",
                "Any nodes of the cluster, and whose certificates to believe. Who runs the cluster gives you both.",
            )
            .line("Addresses", "host:port, several between commas", &server.addresses)
            .line("Certificate file", "the cluster's ca.pem", &server.certificate),
        );
    }
}
