//! The screen of the own account.

use kith_client::wire::people::DeviceView;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{Style, both_ends, lines};
use crate::{app::App, text};

pub(super) fn draw(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, at: usize, devices: Option<&[DeviceView]>) {
    let width = area.width as usize;
    let person = app.people.get(app.me);
    let mut drawn = vec![Line::from(Span::styled(" Your account", style.title())), Line::default()];
    let mut fact = |label: &str, value: &str| {
        let value = if value.is_empty() { "(none)".to_owned() } else { text::line(value) };
        drawn.push(Line::from(vec![Span::styled(format!("   {label:<14}"), style.dim()), Span::raw(text::cut(&value, width.saturating_sub(18)))]));
    };
    fact("Name", &app.name);
    fact("Display name", person.map_or("", |person| &person.display));
    fact("About you", person.map_or("", |person| &person.about));
    drawn.push(Line::default());
    drawn.push(Line::from(Span::styled(" Devices that are logged in: d logs the chosen one out", style.bold())));
    let mut looked_at = None;
    for (number, device) in devices.unwrap_or_default().iter().enumerate() {
        let is_chosen = number == at;
        if is_chosen {
            looked_at = Some(drawn.len());
        }
        let bar = Span::styled(if is_chosen { " ▌ " } else { "   " }, style.key());
        let title = if device.title.is_empty() { "(by a token)".to_owned() } else { text::line(&device.title) };
        let this = if device.current { "  this one" } else { "" };
        let shown = if is_chosen { style.bold() } else { style.plain() };
        let seen = format!("last seen {} ", app.zone.full(device.seen));
        drawn.push(both_ends(vec![bar, Span::styled(title, shown), Span::styled(this, style.good())], vec![Span::styled(seen, style.dim())], width));
    }
    if devices.is_none() {
        drawn.push(Line::from(Span::styled("   fetching your devices…", style.dim())));
    }
    drawn.push(Line::default());
    for (key, says) in [
        ("e", "edit the profile"),
        ("p", "change the password"),
        ("c", "a new recovery code"),
        ("n", "take another name"),
        ("l", "log out"),
        ("x", "delete the account"),
    ] {
        drawn.push(Line::from(vec![Span::styled(format!("   {key}  "), style.key()), Span::raw(says)]));
    }
    lines(frame, area, drawn, looked_at);
}
