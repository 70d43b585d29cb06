//! The screen of the search.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{Style, both_ends, cut_top, field, lines};
use crate::{app::App, screen::Search, text};

pub(super) fn draw(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, search: &Search) {
    let width = area.width as usize;
    let (top, rest) = cut_top(area, 1);
    let place = search.within.map_or_else(|| "all conversations".to_owned(), |channel| app.title(channel));
    frame.render_widget(Paragraph::new(Line::from(Span::styled(text::cut(&format!(" Search in {place}"), width), style.title()))), top);
    let (row, rest) = cut_top(rest, 1);
    frame.render_widget(Paragraph::new(Line::from(Span::styled(" > ", style.key()))), row);
    let input = Rect { x: row.x + 3.min(row.width), width: row.width.saturating_sub(3), ..row };
    field(frame, input, &search.field, style.plain(), search.at.is_none() && app.help.is_none());
    let (row, rest) = cut_top(rest, 1);
    let says = match (&search.looked_for, search.hits.len()) {
        _ if search.waits_for.is_some() && search.hits.is_empty() => "searching…".to_owned(),
        (None, _) if !search.note.is_empty() => String::new(),
        (None, _) => "words, \"a phrase\", beginn*, -unwanted, from:name, since:2026-11-22, before:2026-11-30; then Enter".to_owned(),
        (Some(words), 0) => format!("nothing is found for {:?}", text::line(words)),
        (Some(_), 1) => "one message".to_owned(),
        (Some(_), count) => format!("{count} messages"),
    };
    let says = match (says.is_empty(), search.note.is_empty()) {
        (true, _) => text::line(&search.note),
        (false, true) => says,
        (false, false) => format!("{says}; {}", text::line(&search.note)),
    };
    frame.render_widget(Paragraph::new(Line::from(Span::styled(text::cut(&format!("   {says}"), width), style.dim()))), row);
    let mut drawn = Vec::new();
    let mut looked_at = None;
    for (number, hit) in search.hits.iter().enumerate() {
        let is_chosen = search.at == Some(number);
        if is_chosen {
            looked_at = Some(drawn.len() + 1);
        }
        let bar = if is_chosen { " ▌ " } else { "   " };
        let who = if hit.sender == app.me { "you".to_owned() } else { app.people.shown(hit.sender) };
        drawn.push(both_ends(
            vec![
                Span::styled(bar, style.key()),
                Span::styled(who, style.name(hit.sender)),
                Span::styled(format!(" in {}", app.title(hit.channel)), style.dim()),
            ],
            vec![Span::styled(format!("{} ", app.zone.full(hit.ts)), style.dim())],
            width,
        ));
        drawn.push(Line::from(vec![Span::styled(bar, style.key()), Span::raw(text::cut(&text::line(&hit.text), width.saturating_sub(4)))]));
    }
    lines(frame, rest, drawn, looked_at);
}
