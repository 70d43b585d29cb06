//! What stands over a screen: forms, questions, notes, lists to choose from, help.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};

use super::{Style, cut_top, field, lines};
use crate::{
    app::App,
    screen::{Note, Screen},
    state::form::{Form, Pick},
    text,
};

/// Columns of a box, its frame among them.
const BOX_WIDTH: u16 = 76;

/// Draws a box in the middle; gives what is inside, a column from the frame.
fn boxed(style: Style, frame: &mut Frame<'_>, area: Rect, title: &str, rows: usize) -> Rect {
    let width = area.width.min(BOX_WIDTH);
    let inside = framed(style, frame, Rect { x: area.x + (area.width - width) / 2, width, ..area }, title, rows);
    Rect { x: inside.x + 1.min(inside.width), width: inside.width.saturating_sub(2), ..inside }
}
/// Draws a box over these columns; gives what is inside.
fn framed(style: Style, frame: &mut Frame<'_>, columns: Rect, title: &str, rows: usize) -> Rect {
    let Rect { width, .. } = columns;
    let height = u16::try_from(rows.saturating_add(2)).unwrap_or(u16::MAX).min(columns.height);
    let place = Rect { y: columns.y + (columns.height - height) / 3, height, ..columns };
    let title = text::cut(&text::line(title), (width as usize).saturating_sub(4));
    let block = Block::bordered().title(Span::styled(format!(" {title} "), style.title()));
    frame.render_widget(Clear, place);
    let inside = block.inner(place);
    frame.render_widget(block, place);
    inside
}
fn inner_width(area: Rect) -> usize {
    (area.width.min(BOX_WIDTH) as usize).saturating_sub(4)
}

pub(super) fn draw(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let is_top = std::ptr::eq(screen, app.screen()) && app.help.is_none();
    match screen {
        Screen::Form(form) => draw_form(style, frame, area, form, is_top),
        Screen::Pick(pick) => draw_pick(app, style, frame, area, pick, is_top),
        Screen::Question(question) => {
            let wrapped = text::wrap(&app.asked(question), inner_width(area));
            let inside = boxed(style, frame, area, "Sure?", wrapped.len() + 2);
            let mut drawn: Vec<Line<'static>> = wrapped.into_iter().map(Line::from).collect();
            drawn.push(Line::default());
            drawn.push(Line::from(vec![
                Span::styled("y", style.key()),
                Span::raw(" yes, do it    "),
                Span::styled("n", style.key()),
                Span::raw(" no"),
            ]));
            lines(frame, inside, drawn, None);
        }
        Screen::Note(note) => draw_note(style, frame, area, note),
        _ => {}
    }
}

/// Columns of a note: an invite link stands in one line of it, also where there are only 80, so that it can be copied whole.
const NOTE_WIDTH: u16 = 80;

fn draw_note(style: Style, frame: &mut Frame<'_>, area: Rect, note: &Note) {
    let width = area.width.min(NOTE_WIDTH);
    let place = Rect { x: area.x + (area.width - width) / 2, width, ..area };
    let cells = (width as usize).saturating_sub(2);
    let wrapped: Vec<String> = text::block(&note.text).lines().skip(note.down).flat_map(|line| text::wrap(line, cells)).collect();
    let inside = framed(style, frame, place, &note.title, wrapped.len() + 2);
    let mut drawn: Vec<Line<'static>> = wrapped.into_iter().map(Line::from).collect();
    drawn.push(Line::default());
    drawn.push(Line::from(vec![Span::styled("Enter", style.key()), Span::styled(" closes this", style.dim())]));
    lines(frame, inside, drawn, None);
}

fn draw_form(style: Style, frame: &mut Frame<'_>, area: Rect, form: &Form, is_top: bool) {
    let width = inner_width(area);
    let note = if form.note.is_empty() { Vec::new() } else { text::wrap(&form.note, width) };
    let wrong = match &form.wrong {
        Some(wrong) => text::wrap(&text::line(wrong), width),
        None if form.is_busy => vec!["working…".to_owned()],
        None => Vec::new(),
    };
    let rows = note.len() + usize::from(!note.is_empty()) + 2 * form.fields.len() + 1 + wrong.len();
    let mut rest = boxed(style, frame, area, &form.title, rows);
    let row = |rest: &mut Rect| {
        let (row, below) = cut_top(*rest, 1);
        *rest = below;
        row
    };
    // Where room is short the note goes first, then the fields before the one that is being filled in.
    if rest.height as usize >= rows {
        for part in &note {
            frame.render_widget(Paragraph::new(Line::from(Span::styled(part.clone(), style.dim()))), row(&mut rest));
        }
        if !note.is_empty() {
            row(&mut rest);
        }
    }
    let fit = (rest.height as usize).saturating_sub(wrong.len()) / 2;
    let skipped = (form.at + 1).saturating_sub(fit.max(1));
    for (at, one) in form.fields.iter().enumerate().skip(skipped) {
        let is_at = at == form.at;
        let hint = if one.hint.is_empty() { String::new() } else { format!("  {}", one.hint) };
        let label = if is_at { style.bold() } else { style.plain() };
        let cells = text::width(one.label);
        let line = Line::from(vec![
            Span::styled(text::cut(one.label, width), label),
            Span::styled(text::cut(&hint, width.saturating_sub(cells)), style.dim()),
        ]);
        frame.render_widget(Paragraph::new(line), row(&mut rest));
        let input = row(&mut rest);
        frame.render_widget(Paragraph::new(Line::from(Span::styled(if is_at { "▌" } else { "│" }, style.key()))), input);
        let inside = Rect { x: input.x + 2.min(input.width), width: input.width.saturating_sub(2), ..input };
        field(frame, inside, &one.field, style.plain(), is_at && is_top);
    }
    row(&mut rest);
    let said = if form.wrong.is_some() { style.wrong() } else { style.dim() };
    lines(frame, rest, wrong.into_iter().map(|part| Line::from(Span::styled(part, said))).collect(), None);
}

fn draw_pick(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, pick: &Pick, is_top: bool) {
    let choices = app.choices(pick);
    let inside = boxed(style, frame, area, &pick.title, choices.len().max(1) + 2);
    let (row, rest) = cut_top(inside, 1);
    frame.render_widget(Paragraph::new(Line::from(Span::styled("> ", style.key()))), row);
    let input = Rect { x: row.x + 2.min(row.width), width: row.width.saturating_sub(2), ..row };
    if pick.field.is_empty() {
        frame.render_widget(Paragraph::new(Line::from(Span::styled("type to narrow", style.dim()))), input);
    }
    field_over(frame, input, pick, style, is_top);
    let (_, rest) = cut_top(rest, 1);
    let width = rest.width as usize;
    let mut drawn: Vec<Line<'static>> = choices
        .into_iter()
        .enumerate()
        .map(|(at, (label, _))| {
            let is_chosen = at == pick.at;
            let shown = if is_chosen { style.bold() } else { style.plain() };
            let bar = if is_chosen { "▌ " } else { "  " };
            Line::from(vec![Span::styled(bar, style.key()), Span::styled(text::cut(&label, width.saturating_sub(2)), shown)])
        })
        .collect();
    if drawn.is_empty() {
        drawn.push(Line::from(Span::styled("nothing fits", style.dim())));
    }
    lines(frame, rest, drawn, Some(pick.at));
}
/// An empty field shows what lies under it.
fn field_over(frame: &mut Frame<'_>, area: Rect, pick: &Pick, style: Style, has_cursor: bool) {
    if !pick.field.is_empty() {
        return field(frame, area, &pick.field, style.plain(), has_cursor);
    }
    if has_cursor && area.width > 0 && area.height > 0 {
        frame.set_cursor_position(area.as_position());
    }
}

/// What the keys do here: from the tables that dispatch them.
pub(super) fn help_text(app: &App, style: Style, width: usize) -> Vec<Line<'static>> {
    const KEYS: usize = 20;
    let mut shown = Vec::new();
    for table in app.tables_of_screen() {
        if !table.title.is_empty() {
            if !shown.is_empty() {
                shown.push(Line::default());
            }
            shown.push(Line::from(Span::styled(table.title, style.title())));
        }
        for bind in table.binds {
            let names = bind.names();
            let pad = " ".repeat(KEYS.saturating_sub(text::width(&names)).max(2));
            for (number, part) in text::wrap(bind.says, width.saturating_sub(KEYS + 2).max(10)).into_iter().enumerate() {
                let lead = if number == 0 { format!("  {names}{pad}") } else { " ".repeat(KEYS + 2) };
                shown.push(Line::from(vec![Span::styled(lead, style.key()), Span::raw(part)]));
            }
        }
    }
    shown
}

pub(super) fn help(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, down: usize) {
    let shown = help_text(app, style, inner_width(area));
    let inside = boxed(style, frame, area, &format!("Help: {}", app.screen().name()), shown.len());
    let down = down.min(shown.len().saturating_sub(inside.height as usize));
    lines(frame, inside, shown.into_iter().skip(down).collect(), None);
}
