//! Drawing: the state as cells.
//!
//! In: the app and a frame of any size. Out: nothing else. Invariants: no size makes it panic, down to one cell; what others wrote is drawn
//! only after `text` has made it harmless; what a colour says is said by a sign or a word too. Not here: what changes (`app`).

mod account;
mod contacts;
mod group;
mod list;
mod over;
mod search;
mod style;
pub(crate) mod talk;
mod welcome;

use ratatui::{
    Frame,
    layout::{Position, Rect},
    text::{Line, Span},
    widgets::{Clear, Paragraph},
};

use self::style::Style;
use crate::{action::Link, app::App, field::Field, screen::Screen, text, time};

/// From so many columns on, the list stays beside the conversation.
const TWO_PANES_FROM: u16 = 100;

/// Draws everything.
pub fn view(app: &App, frame: &mut Frame<'_>) {
    let style = Style::new(app.has_colors);
    let area = frame.area();
    let (top, rest) = cut_top(area, 1);
    let (body, bottom) = cut_bottom(rest, 1);
    header(app, style, frame, top);
    ground(app, style, frame, body);
    for screen in app.screens.iter().skip_while(|screen| screen.is_over() || !std::ptr::eq(*screen, app.ground())).skip(1) {
        over::draw(app, style, frame, body, screen);
    }
    if let Some(down) = app.help {
        over::help(app, style, frame, body, down);
    }
    toasts(app, style, frame, body);
    footer(app, style, frame, bottom);
}

fn ground(app: &App, style: Style, frame: &mut Frame<'_>, body: Rect) {
    let (left, main) = panes(app, body);
    match app.ground() {
        Screen::Welcome { at } => welcome::draw(app, style, frame, body, *at),
        Screen::List { .. } if left.width > 0 => {
            list::draw(app, style, frame, left);
            list::beside(app, style, frame, main);
        }
        Screen::List { .. } => list::draw(app, style, frame, main),
        screen => {
            if left.width > 0 {
                list::draw(app, style, frame, left);
            }
            match screen {
                Screen::Talk { channel } => talk::draw(app, style, frame, main, *channel),
                Screen::Group { channel, at } => group::draw(app, style, frame, main, *channel, *at),
                Screen::Contacts(contacts) => contacts::draw(app, style, frame, main, contacts),
                Screen::Account { at, devices } => account::draw(app, style, frame, main, *at, devices.as_deref()),
                Screen::Search(search) => search::draw(app, style, frame, main, search),
                _ => {}
            }
        }
    }
}

fn header(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect) {
    let who = if app.name.is_empty() { String::new() } else { format!(" · {}", text::line(&app.name)) };
    let unread: u64 = app.list.iter().filter(|summary| !summary.row.is_muted(app.now)).map(|summary| summary.unread).sum();
    let unread = if unread > 0 { format!(" · {unread} unread") } else { String::new() };
    let left = format!(" Kith{who}{unread}");
    let (right, is_wrong) = link_text(app);
    let room = (area.width as usize).saturating_sub(text::width(&left) + 2);
    let right = text::cut(&right, room);
    let gap = (area.width as usize).saturating_sub(text::width(&left) + text::width(&right) + 1);
    let right_style = if is_wrong { style.bar_wrong() } else { style.bar() };
    let line = Line::from(vec![
        Span::styled(left, style.bar()),
        Span::styled(" ".repeat(gap), style.bar()),
        Span::styled(right, right_style),
        Span::styled(" ", style.bar()),
    ]);
    frame.render_widget(Paragraph::new(line).style(style.bar()), area);
}

/// How the connection stands, in words.
fn link_text(app: &App) -> (String, bool) {
    let unsent: usize = app.talks.values().map(crate::state::talk::Talk::unsent).sum();
    let unsent = if unsent == 0 { String::new() } else { format!(", {unsent} not sent yet") };
    match &app.link {
        Link::None if app.is_entering => ("connecting…".to_owned(), false),
        Link::None => (String::new(), false),
        Link::Online(node) => (format!("connected to {node}{unsent}"), false),
        Link::Syncing(node) => (format!("catching up at {node}{unsent}"), false),
        Link::Connecting => (format!("connecting…{unsent}"), true),
        Link::Offline(Some(ms)) if *ms > 0 => (format!("offline, next try in {}{unsent}", time::span((*ms).max(1_000))), true),
        Link::Offline(_) => (format!("offline, trying again{unsent}"), true),
    }
}

/// The keys that matter most here; help is always among them.
fn footer(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect) {
    let tables = app.tables();
    let binds = tables.iter().flat_map(|table| table.binds).filter(|bind| !bind.short.is_empty());
    let mut seen = Vec::new();
    let mut hints: Vec<(String, &str)> = Vec::new();
    // The last table has the one that is true everywhere: it is said once, by the shortest key that works here.
    for bind in binds {
        if seen.contains(&bind.short) {
            continue;
        }
        seen.push(bind.short);
        hints.push((bind.chords.first().map_or_else(String::new, crate::keys::Chord::name), bind.short));
    }
    let help = hints.iter().position(|(_, short)| *short == "help").map(|at| hints.remove(at));
    let width = area.width as usize;
    let cells = |hint: &(String, &str)| text::width(&hint.0) + text::width(hint.1) + 4;
    let mut room = width.saturating_sub(help.as_ref().map_or(0, cells) + 1);
    let mut shown: Vec<(String, &str)> = Vec::new();
    for hint in hints {
        if cells(&hint) > room {
            break;
        }
        room -= cells(&hint);
        shown.push(hint);
    }
    shown.extend(help);
    let spans =
        shown.into_iter().flat_map(|(key, short)| [Span::styled(format!(" {key}"), style.key()), Span::styled(format!(" {short}  "), style.dim())]);
    frame.render_widget(Paragraph::new(Line::from_iter(spans)), area);
}

fn toasts(app: &App, style: Style, frame: &mut Frame<'_>, body: Rect) {
    let mut lines = Vec::new();
    let width = (body.width as usize).saturating_sub(4);
    for toast in &app.toasts {
        let sign = if toast.is_wrong { "! " } else { "· " };
        for (number, part) in text::wrap(&text::line(&toast.text), width).into_iter().enumerate() {
            let sign = if number == 0 { sign } else { "  " };
            let shown = if toast.is_wrong { style.toast_wrong() } else { style.toast() };
            let pad = " ".repeat(width.saturating_sub(text::width(&part)) + 1);
            lines.push(Line::from(Span::styled(format!(" {sign}{part}{pad}"), shown)));
        }
    }
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(body.height);
    if rows == 0 {
        return;
    }
    // Where one types and reads stays free: they stand at the top.
    let area = Rect { height: rows, ..body };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines), area);
}

// Geometry. What moves in the state by pages and lines asks here, so that it is what is seen.

fn body_of(app: &App) -> Rect {
    let (_, rest) = cut_top(Rect::new(0, 0, app.size.0, app.size.1), 1);
    cut_bottom(rest, 1).0
}
/// The list, which may have no room of its own, and the rest.
fn panes(app: &App, body: Rect) -> (Rect, Rect) {
    // Where there is nothing in the list, what it says takes all the room.
    let has_list = match app.ground() {
        Screen::Welcome { .. } => false,
        Screen::List { .. } => !app.list.is_empty(),
        _ => true,
    };
    if !has_list || body.width < TWO_PANES_FROM {
        return (Rect { width: 0, ..body }, body);
    }
    let left = (body.width / 3).min(44);
    (Rect { width: left, ..body }, Rect { x: body.x + left + 1, width: body.width - left - 1, ..body })
}
pub(crate) fn main_of(app: &App) -> Rect {
    panes(app, body_of(app)).1
}
/// Rows of a page.
pub(crate) fn page(app: &App) -> usize {
    (body_of(app).height as usize).saturating_sub(6).max(1)
}
/// Columns of what is being written.
pub(crate) fn composer_width(app: &App) -> usize {
    (main_of(app).width as usize).saturating_sub(4).max(2)
}
/// Rows of the messages of the open conversation.
pub(crate) fn talk_height(app: &App) -> usize {
    match app.ground() {
        Screen::Talk { channel } => talk::areas(app, main_of(app), *channel).messages.height as usize,
        _ => page(app),
    }
}
/// Lines of help.
pub(crate) fn help_lines(app: &App) -> usize {
    over::help_text(app, Style::new(false), 60).len()
}

fn cut_top(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    (Rect { height: rows, ..area }, Rect { y: area.y + rows, height: area.height - rows, ..area })
}
fn cut_bottom(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    (Rect { height: area.height - rows, ..area }, Rect { y: area.y + area.height - rows, height: rows, ..area })
}

/// Draws lines from the top on, moved up so far that the one that is looked at is on the screen.
fn lines(frame: &mut Frame<'_>, area: Rect, mut lines: Vec<Line<'static>>, looked_at: Option<usize>) {
    let height = area.height as usize;
    let first = looked_at.map_or(0, |at| (at + 1 + height / 4).saturating_sub(height)).min(lines.len().saturating_sub(height));
    let shown: Vec<Line<'static>> = lines.drain(first..(first + height).min(lines.len())).collect();
    frame.render_widget(Paragraph::new(shown), area);
}

/// Draws a field of one line and, if it has the keys, the cursor; what is left of the screen is moved out.
fn field(frame: &mut Frame<'_>, area: Rect, field: &Field, style: ratatui::style::Style, has_cursor: bool) {
    use unicode_segmentation::UnicodeSegmentation;
    let (lines, _, column) = field.layout(usize::MAX);
    let text = lines.into_iter().next().unwrap_or_default();
    let width = area.width as usize;
    let mut skipped = 0;
    let mut from = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        from = at;
        if column - skipped.min(column) < width {
            break;
        }
        skipped += text::width(grapheme);
        from = at + grapheme.len();
    }
    frame.render_widget(Paragraph::new(Line::from(Span::styled(text[from..].to_owned(), style))), area);
    if has_cursor && area.width > 0 && area.height > 0 {
        let x = u16::try_from(column.saturating_sub(skipped)).unwrap_or(u16::MAX).min(area.width - 1);
        frame.set_cursor_position(Position { x: area.x + x, y: area.y });
    }
}

/// `left      right`, in so many columns; the left gives way.
fn both_ends(left: Vec<Span<'static>>, right: Vec<Span<'static>>, width: usize) -> Line<'static> {
    let cells = |spans: &[Span<'static>]| spans.iter().map(|span| text::width(&span.content)).sum::<usize>();
    let right_cells = cells(&right);
    let mut room = width.saturating_sub(right_cells + usize::from(right_cells > 0));
    let mut spans = Vec::new();
    for span in left {
        let part = text::cut(&span.content, room);
        room -= text::width(&part).min(room);
        spans.push(Span::styled(part, span.style));
    }
    let gap = width.saturating_sub(cells(&spans) + right_cells);
    spans.push(Span::raw(" ".repeat(gap)));
    spans.extend(right);
    Line::from(spans)
}
