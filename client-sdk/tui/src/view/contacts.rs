//! The screen of contacts.

use kith_client::wire::people::ContactState;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{Style, both_ends, lines};
use crate::{app::App, deed::ContactRow, screen::ContactsScreen, state::people::shown, text};

pub(super) fn draw(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, screen: &ContactsScreen) {
    let width = area.width as usize;
    let mut drawn = vec![Line::from(Span::styled(" Contacts", style.title()))];
    let rows = app.contact_rows();
    let at = screen.at.min(rows.len().saturating_sub(1));
    let mut looked_at = None;
    let mut heading = String::new();
    for (number, row) in rows.iter().enumerate() {
        let of = match row {
            ContactRow::Found(_) => screen.found.as_ref().map_or_else(String::new, |(prefix, _)| format!("Found by {:?}", text::line(prefix))),
            ContactRow::Contact(contact) => state_heading(contact.state).to_owned(),
        };
        if of != heading {
            heading = of;
            drawn.push(Line::default());
            drawn.push(Line::from(Span::styled(format!(" {}", text::cut(&heading, width.saturating_sub(1))), style.bold())));
        }
        let is_chosen = number == at;
        if is_chosen {
            looked_at = Some(drawn.len());
        }
        let bar = Span::styled(if is_chosen { " ▌ " } else { "   " }, style.key());
        let dot = app.presence.dot(row.user());
        let (name, right) = match row {
            ContactRow::Found(profile) => {
                let stands = app.stands(profile.user).map_or("", state_name);
                let about = text::line(&profile.about);
                (shown(&profile.name, &profile.display), if stands.is_empty() { text::cut(&about, width / 2) } else { stands.to_owned() })
            }
            ContactRow::Contact(contact) if contact.name.is_empty() => ("(an account that is gone)".to_owned(), String::new()),
            ContactRow::Contact(contact) => (shown(&contact.name, &contact.display), format!("since {}", app.zone.short(contact.since, app.now))),
        };
        let name_style = if is_chosen { style.bold() } else { style.plain() };
        drawn.push(both_ends(
            vec![bar, Span::styled(name, name_style), Span::styled(dot, style.good())],
            vec![Span::styled(format!("{right} "), style.dim())],
            width,
        ));
    }
    if rows.is_empty() {
        let says = if app.contacts.is_none() { "   fetching your contacts…" } else { "   Nobody yet: f finds people, a asks somebody by name." };
        drawn.extend([Line::default(), Line::from(Span::styled(text::cut(says, width), style.dim()))]);
    }
    lines(frame, area, drawn, looked_at);
}

fn state_heading(state: ContactState) -> &'static str {
    match state {
        ContactState::Asking => "Ask to be your contact: y accepts, d declines",
        ContactState::Mutual => "Contacts",
        ContactState::Asked => "You have asked",
        ContactState::Blocked => "Blocked: b unblocks",
    }
}
fn state_name(state: ContactState) -> &'static str {
    match state {
        ContactState::Asking => "asks you",
        ContactState::Mutual => "contact",
        ContactState::Asked => "asked",
        ContactState::Blocked => "blocked",
    }
}
