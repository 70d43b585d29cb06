//! The welcome.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{Style, lines};
use crate::{app::App, deed::WelcomeRow, text};

pub(super) fn draw(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, at: usize) {
    let width = area.width as usize;
    let mut drawn = vec![
        Line::default(),
        Line::from(Span::styled("   Kith", style.title())),
        Line::from(Span::styled("   chat that keeps its order and loses nothing", style.dim())),
        Line::default(),
    ];
    let server = if app.server.addresses.is_empty() { "not set yet: choose \"Server\" below".to_owned() } else { text::line(&app.server.addresses) };
    drawn.push(Line::from(vec![Span::styled("   Server   ", style.dim()), Span::raw(text::cut(&server, width.saturating_sub(12)))]));
    drawn.push(Line::default());
    let mut looked_at = None;
    for (number, row) in app.welcome_rows().into_iter().enumerate() {
        let (label, says) = match &row {
            WelcomeRow::Resume(name) => (format!("Go on as {}", text::line(name)), "saved on this machine"),
            WelcomeRow::SignUp => ("Sign up".to_owned(), "make a new account"),
            WelcomeRow::LogIn => ("Log in".to_owned(), "you have an account"),
            WelcomeRow::Reset => ("Forgot the password".to_owned(), "you have a recovery code"),
            WelcomeRow::Server => ("Server".to_owned(), "another server or certificate"),
            WelcomeRow::Quit => ("Quit".to_owned(), ""),
        };
        let is_chosen = number == at;
        if is_chosen {
            looked_at = Some(drawn.len());
        }
        let lead = if is_chosen { " ▌ " } else { "   " };
        let shown = if is_chosen { style.bold() } else { style.plain() };
        let label = text::cut(&label, width.saturating_sub(4));
        let pad = " ".repeat(28_usize.saturating_sub(text::width(&label)));
        drawn.push(Line::from(vec![Span::styled(lead, style.key()), Span::styled(label, shown), Span::styled(format!("{pad}{says}"), style.dim())]));
    }
    drawn.push(Line::default());
    drawn.push(Line::from(Span::styled("   Up and Down choose, Enter takes it", style.dim())));
    lines(frame, area, drawn, looked_at);
}
