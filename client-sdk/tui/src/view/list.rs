//! The list of conversations.

use kith_client::ChannelSummary;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{Style, both_ends, cut_top, lines};
use crate::{action::Link, app::App, screen::Screen, text};

pub(super) fn draw(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect) {
    let (rows, at) = app.list_shown();
    let is_archive = matches!(app.screens.first(), Some(Screen::List { archived: true, .. }));
    let (top, rest) = cut_top(area, 1);
    let title = if is_archive { " Archived conversations" } else { " Conversations" };
    let count = if is_archive || app.archived.is_empty() { String::new() } else { format!("{} archived ", app.archived.len()) };
    let head = both_ends(vec![Span::styled(title, style.title())], vec![Span::styled(count, style.dim())], area.width as usize);
    frame.render_widget(Paragraph::new(head), top);
    if rows.is_empty() {
        frame.render_widget(Paragraph::new(empty(app, style, is_archive, rest.width as usize)), rest);
        return;
    }
    let width = rest.width as usize;
    let drawn: Vec<Line<'static>> = rows.iter().enumerate().flat_map(|(row, summary)| row_lines(app, style, summary, row == at, width)).collect();
    lines(frame, rest, drawn, Some(at * 2 + 1));
}

/// What to do when there is nothing yet.
fn empty(app: &App, style: Style, is_archive: bool, width: usize) -> Vec<Line<'static>> {
    let says: &[(&str, &str)] = match (is_archive, app.is_listed, &app.link) {
        (true, ..) => &[("v", "back to the conversations; nothing is archived")],
        (_, false, _) | (_, _, Link::Connecting | Link::Syncing(_)) => &[("", "fetching your conversations…")],
        _ => &[
            ("", "Nobody has written yet. Begin:"),
            ("d", "write to somebody: you need the name that they signed up with"),
            ("n", "make a group, and add others by name"),
            ("l", "join a group by a link that somebody gave you"),
            ("c", "find people, and ask them to be your contacts"),
        ],
    };
    let mut shown = vec![Line::default()];
    for (key, says) in says {
        let indent = if key.is_empty() { "  ".to_owned() } else { format!("   {key}  ") };
        for (number, part) in text::wrap(says, width.saturating_sub(text::width(&indent) + 1)).into_iter().enumerate() {
            let lead = if number == 0 { indent.clone() } else { " ".repeat(text::width(&indent)) };
            shown.push(Line::from(vec![Span::styled(lead, style.key()), Span::raw(part)]));
        }
    }
    shown
}

fn row_lines(app: &App, style: Style, summary: &ChannelSummary, is_chosen: bool, width: usize) -> [Line<'static>; 2] {
    let row = &summary.row;
    let bar = if is_chosen { "▌" } else { " " };
    let mut marks = Vec::new();
    if row.preferences.pinned.is_some() {
        marks.push("pinned");
    }
    if row.is_muted(app.now) {
        marks.push("muted");
    }
    if row.news.left.is_some() {
        marks.push("left");
    }
    let marks = if marks.is_empty() { String::new() } else { format!("  {}", marks.join(", ")) };
    let name = if summary.unread > 0 || is_chosen { style.bold() } else { style.plain() };
    let first = both_ends(
        vec![
            Span::styled(bar, style.key()),
            Span::styled(format!(" {}", app.title(summary.channel)), name),
            Span::styled(summary.channel.peer_of(app.me).map_or("", |peer| app.presence.dot(peer)), style.good()),
            Span::styled(marks, style.dim()),
        ],
        vec![Span::styled(format!("{} ", app.zone.short(row.news.head_ts, app.now)), style.dim())],
        width,
    );
    let mut counts = Vec::new();
    if summary.mentions > 0 {
        let shown = if summary.mentions >= 100 { "99+".to_owned() } else { summary.mentions.to_string() };
        counts.push(Span::styled(format!(" @{shown}"), style.unread()));
    }
    if summary.unread > 0 {
        counts.push(Span::styled(format!(" {} new ", summary.unread), style.unread()));
    }
    let second = both_ends(vec![Span::styled(bar, style.key()), Span::raw("   "), second_text(app, style, summary)], counts, width);
    [first, second]
}

/// Who types, else the draft, else what was said last.
fn second_text(app: &App, style: Style, summary: &ChannelSummary) -> Span<'static> {
    let news = &summary.row.news;
    if let Some((user, _)) = app.typing.get(&summary.channel).and_then(|users| users.first_key_value()) {
        return Span::styled(format!("{} is typing…", app.people.shown(*user)), style.good());
    }
    if let Some(draft) = summary.row.preferences.draft.as_ref().filter(|draft| !draft.text.is_empty()) {
        return Span::styled(format!("draft: {}", text::line(&draft.text)), style.unread());
    }
    let preview = text::line(&news.preview);
    if preview.is_empty() {
        return Span::styled("no messages", style.dim());
    }
    let who = match news.head_sender {
        sender if sender == app.me => "you: ".to_owned(),
        sender if summary.channel.peer_of(app.me).is_none() => format!("{}: ", app.people.shown(sender)),
        _ => String::new(),
    };
    Span::styled(format!("{who}{preview}"), style.dim())
}

/// Beside the list, while no conversation is open.
pub(super) fn beside(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect) {
    if app.list.is_empty() {
        return;
    }
    let (_, rest) = cut_top(area, area.height / 2);
    let says = text::cut("   Enter opens the chosen conversation", area.width as usize);
    frame.render_widget(Paragraph::new(Line::from(Span::styled(says, style.dim()))), rest);
}
