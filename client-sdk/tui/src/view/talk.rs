//! A conversation: messages from the newest up, who types, and what is being written.
//!
//! Messages are laid out from the newest on, and only as many as are on the screen or below it, so that a long history costs nothing.

use kith_client::wire::{
    act::{Act, Gone},
    id::{ChannelId, UserId},
    log::{Content, MemberChange, Record},
};
use ratatui::{
    Frame,
    layout::{Position, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{Style, both_ends, cut_bottom, cut_top, group::role_name};
use crate::{
    app::App,
    state::talk::{Chosen, Item, Pending, Sending, Talk},
    text, time,
};

/// Messages of one sender that are no further apart stand under one name.
const TOGETHER_MS: u64 = 5 * 60_000;
/// Lines of a message that is being written.
const COMPOSER_LINES_MAX: usize = 6;
/// Lines of one message beyond which it is cut, unless it is chosen.
const LINES_MAX: usize = 400;

/// Where its parts are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Areas {
    title: Rect,
    pub(crate) messages: Rect,
    status: Rect,
    composer: Rect,
}

pub(crate) fn areas(app: &App, area: Rect, channel: ChannelId) -> Areas {
    let width = (area.width as usize).saturating_sub(4).max(2);
    let written = app.talks.get(&channel).map_or(1, |talk| talk.composer.layout(width).0.len());
    let rows = written.clamp(1, COMPOSER_LINES_MAX.min((area.height as usize / 3).max(1)));
    let (title, rest) = cut_top(area, 1);
    let (rest, composer) = cut_bottom(rest, u16::try_from(rows).unwrap_or(1));
    let (messages, status) = cut_bottom(rest, 1);
    Areas { title, messages, status, composer }
}

pub(super) fn draw(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, channel: ChannelId) {
    let Some(talk) = app.talks.get(&channel) else { return };
    let areas = areas(app, area, channel);
    title(app, style, frame, areas.title, talk);
    messages(app, style, frame, areas.messages, talk);
    status(app, style, frame, areas.status, talk);
    composer(app, style, frame, areas.composer, talk);
}

fn title(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, talk: &Talk) {
    let about = match (talk.channel.peer_of(app.me), talk.members.len()) {
        (Some(peer), _) => app.presence.words(peer, &app.zone, app.now),
        (None, 0) => String::new(),
        (None, 1) => "only you: Ctrl-G, then a adds somebody".to_owned(),
        (None, count) => format!("{count} members"),
    };
    let left = app.row(talk.channel).is_some_and(|summary| summary.row.news.left.is_some());
    let about = if left { "you have left: nothing new comes".to_owned() } else { about };
    let line = both_ends(
        vec![Span::styled(format!(" {}", app.title(talk.channel)), style.title())],
        vec![Span::styled(format!("{} ", text::cut(&about, area.width as usize / 2)), style.dim())],
        area.width as usize,
    );
    frame.render_widget(Paragraph::new(line), area);
}

fn messages(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, talk: &Talk) {
    let (height, width) = (area.height as usize, area.width as usize);
    let mut shown: Vec<Line<'static>> = Vec::new();
    let mut skipped = 0;
    // From the bottom up.
    for block in Blocks::new(app, style, talk, width) {
        for line in block.lines.into_iter().rev() {
            if skipped < talk.up {
                skipped += 1;
            } else {
                shown.push(line);
            }
        }
        if shown.len() >= height {
            break;
        }
    }
    if shown.len() < height {
        let says = match (talk.is_loading || !talk.is_loaded, talk.has_older, talk.items.is_empty() && talk.pending.is_empty()) {
            (true, _, _) => "fetching messages…",
            (_, true, _) => "older messages: PgUp",
            (_, _, true) => "No message yet. Write one below; Enter sends it.",
            _ => "this is where it begins",
        };
        shown.push(Line::from(Span::styled(text::cut(&format!("   {says}"), width), style.dim())));
    }
    shown.truncate(height);
    let blank = height - shown.len();
    // A short conversation stands at the bottom, where one writes.
    shown.resize(shown.len() + blank, Line::default());
    shown.reverse();
    frame.render_widget(Paragraph::new(shown), area);
}

/// Who types, what is answered or edited, and how far one is from the newest.
fn status(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, talk: &Talk) {
    let width = area.width as usize;
    let right = if talk.up > 0 || talk.has_newer { " newer messages below: Ctrl-End ".to_owned() } else { String::new() };
    let left = match (talk.chosen, talk.editing, talk.reply_to) {
        (Some(_), ..) => Span::styled(" ── a message is chosen ", style.unread()),
        (_, Some(_), _) => Span::styled(" ── editing; Enter hands it in, Esc gives up ", style.unread()),
        (_, _, Some(seq)) => {
            let quoted = talk.find(seq).flatten().map_or_else(|| format!("message {seq}"), |record| quote(app, record));
            Span::styled(format!(" ── reply to {quoted}; Esc: no reply "), style.unread())
        }
        _ => match typing(app, talk) {
            typing if typing.is_empty() => Span::styled(String::new(), style.dim()),
            typing => Span::styled(format!(" ── {typing} "), style.good()),
        },
    };
    let used = text::width(&left.content) + text::width(&right);
    let rule = "─".repeat(width.saturating_sub(used));
    let line = both_ends(vec![left, Span::styled(rule, style.dim())], vec![Span::styled(right, style.unread())], width);
    frame.render_widget(Paragraph::new(line), area);
}

fn typing(app: &App, talk: &Talk) -> String {
    let users: Vec<String> = app.typing.get(&talk.channel).into_iter().flat_map(|users| users.keys()).map(|user| app.people.shown(*user)).collect();
    match &users[..] {
        [] => String::new(),
        [one] => format!("{one} is typing…"),
        [one, other] => format!("{one} and {other} are typing…"),
        more => format!("{} are typing…", more.len()),
    }
}

fn composer(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, talk: &Talk) {
    let has_cursor = app.open_channel() == Some(talk.channel) && talk.chosen.is_none() && app.help.is_none();
    let width = (area.width as usize).saturating_sub(4).max(2);
    let (written, row, column) = talk.composer.layout(width);
    let height = area.height as usize;
    let first = (row + 1).saturating_sub(height);
    let mut drawn: Vec<Line<'static>> = Vec::new();
    for (number, text) in written.into_iter().enumerate().skip(first).take(height) {
        let lead = if number == 0 { " > " } else { "   " };
        drawn.push(Line::from(vec![Span::styled(lead, style.key()), Span::raw(text)]));
    }
    if talk.composer.is_empty() && talk.editing.is_none() {
        let says = text::cut("write a message; @name mentions somebody", (area.width as usize).saturating_sub(3));
        drawn = vec![Line::from(vec![Span::styled(" > ", style.key()), Span::styled(says, style.dim())])];
    }
    frame.render_widget(Paragraph::new(drawn), area);
    if has_cursor && area.width > 0 && height > 0 {
        let x = u16::try_from(column + 3).unwrap_or(u16::MAX).min(area.width - 1);
        let y = u16::try_from(row - first).unwrap_or(0).min(area.height - 1);
        frame.set_cursor_position(Position { x: area.x + x, y: area.y + y });
    }
}

// Layout.

/// What belongs together: a message with the lines above it.
struct Shown {
    what: Option<Chosen>,
    lines: Vec<Line<'static>>,
}

/// Messages from the newest on.
struct Blocks<'a> {
    app: &'a App,
    style: Style,
    talk: &'a Talk,
    width: usize,
    pending: std::iter::Rev<std::slice::Iter<'a, Pending>>,
    items: std::iter::Peekable<Box<dyn Iterator<Item = &'a Item> + 'a>>,
}

impl<'a> Blocks<'a> {
    fn new(app: &'a App, style: Style, talk: &'a Talk, width: usize) -> Self {
        // With gaps below, what is under way does not follow what is shown.
        let pending = if talk.has_newer { &[][..] } else { &talk.pending[..] };
        let items: Box<dyn Iterator<Item = &'a Item> + 'a> = Box::new(talk.items.values().rev().filter(|item| is_shown(item)));
        Self { app, style, talk, width, pending: pending.iter().rev(), items: items.peekable() }
    }
}

impl Iterator for Blocks<'_> {
    type Item = Shown;
    fn next(&mut self) -> Option<Shown> {
        if let Some(pending) = self.pending.next() {
            return Some(pending_block(self.app, self.style, self.talk, pending, self.width));
        }
        let item = self.items.next()?;
        let before = self.items.peek().copied();
        Some(block(self.app, self.style, self.talk, item, before, self.width))
    }
}

/// Lines from the newest up, counted to at most so many and a message.
pub(crate) fn measure(app: &App, channel: ChannelId, enough: usize) -> usize {
    let Some(talk) = app.talks.get(&channel) else { return 0 };
    let width = super::main_of(app).width as usize;
    let mut lines = 0;
    for block in Blocks::new(app, Style::new(false), talk, width) {
        lines += block.lines.len();
        if lines >= enough {
            break;
        }
    }
    lines
}
/// Lines below the chosen message, and its own.
pub(crate) fn place_of_chosen(app: &App, channel: ChannelId) -> Option<(usize, usize)> {
    let talk = app.talks.get(&channel)?;
    let chosen = talk.chosen?;
    let width = super::main_of(app).width as usize;
    let mut below = 0;
    for block in Blocks::new(app, Style::new(false), talk, width) {
        if block.what == Some(chosen) {
            return Some((below, block.lines.len()));
        }
        below += block.lines.len();
    }
    None
}
/// Lines of the newest record.
pub(crate) fn lines_of_newest(app: &App, channel: ChannelId) -> usize {
    let Some(talk) = app.talks.get(&channel) else { return 0 };
    let width = super::main_of(app).width as usize;
    let is_new = |item: &Item| Some(item.record.at.seq) == talk.newest();
    let mut items = talk.items.values().rev().filter(|item| is_shown(item));
    match items.next() {
        Some(item) if is_new(item) => block(app, Style::new(false), talk, item, items.next(), width).lines.len(),
        _ => 0,
    }
}

/// Edits, deletions and reactions are shown at what they change.
fn is_shown(item: &Item) -> bool {
    !matches!(item.record.content, Content::Act(Act::Edit { .. } | Act::Delete { .. } | Act::React { .. } | Act::Pin { on: false, .. }))
}

fn block(app: &App, style: Style, talk: &Talk, item: &Item, before: Option<&Item>, width: usize) -> Shown {
    let record = &*item.record;
    let mut lines = Vec::new();
    let is_new_day = before.is_none_or(|before| app.zone.day(before.record.ts) != app.zone.day(record.ts));
    if is_new_day {
        lines.push(rule(&app.zone.day_name(record.ts, app.now), style.dim(), width));
    }
    let seq = record.at.seq;
    let is_divided = talk.divider.is_some_and(|read| seq > read && before.is_none_or(|before| before.record.at.seq <= read));
    if is_divided {
        lines.push(rule("new messages", style.unread(), width));
    }
    if !item.is_message() {
        let says = event_text(app, record);
        let line = text::cut(&format!("   · {says}  {}", app.zone.clock(record.ts)), width);
        lines.push(Line::from(Span::styled(line, style.dim())));
        return Shown { what: None, lines };
    }
    let chosen = talk.chosen == Some(Chosen::Record(seq));
    let follows = !is_new_day
        && !is_divided
        && before.is_some_and(|before| {
            before.is_message() && before.record.sender == record.sender && record.ts.get().saturating_sub(before.record.ts.get()) < TOGETHER_MS
        });
    let bar = Span::styled(if chosen { "▌" } else { " " }, style.key());
    if !follows {
        let name = sender_name(app, record.sender);
        lines.push(Line::from(vec![
            bar.clone(),
            Span::styled(text::cut(&name, width.saturating_sub(8)), style.name(record.sender)),
            Span::styled(format!("  {}", app.zone.clock(record.ts)), style.dim()),
        ]));
    }
    if let Content::Text { reply_to: Some(answered), .. } = &record.content {
        let quoted = match talk.find(*answered) {
            Some(Some(record)) => quote(app, record),
            _ => format!("message {answered}"),
        };
        lines.push(Line::from(vec![bar.clone(), Span::styled(text::cut(&format!("  ┃ {quoted}"), width.saturating_sub(1)), style.dim())]));
    }
    if let Some(origin) = record.content.extra().and_then(|extra| extra.origin) {
        let says = format!("  forwarded from {}, {}", app.people.shown(origin.sender), app.zone.full(origin.ts));
        lines.push(Line::from(vec![bar.clone(), Span::styled(text::cut(&says, width.saturating_sub(1)), style.dim())]));
    }
    let tail = tail(app, style, talk, item);
    let (body, shown) = match &record.content {
        Content::Text { text: body, .. } => (text::block(body), style.plain()),
        Content::Gone { why, .. } => (gone(*why).to_owned(), style.dim()),
        _ => (String::new(), style.plain()),
    };
    body_lines(&mut lines, &bar, &body, shown, tail, width, chosen);
    if !item.reactions.is_empty() {
        let mut spans = vec![bar, Span::raw("  ")];
        for total in &item.reactions {
            let shown = if total.mine { style.chosen() } else { style.plain() };
            let mine = if total.mine { "*" } else { "" };
            spans.push(Span::styled(format!(" {} {}{mine} ", text::line(&total.emoji), total.count), shown));
            spans.push(Span::raw(" "));
        }
        lines.push(both_ends(spans, Vec::new(), width));
    }
    Shown { what: Some(Chosen::Record(seq)), lines }
}

/// The lines of a text, the last with what is to be said behind it.
fn body_lines(
    lines: &mut Vec<Line<'static>>,
    bar: &Span<'static>,
    body: &str,
    shown: ratatui::style::Style,
    tail: Vec<Span<'static>>,
    width: usize,
    whole: bool,
) {
    let mut parts = text::wrap(body, width.saturating_sub(4));
    if parts.len() > LINES_MAX && !whole {
        let more = parts.len() - LINES_MAX;
        parts.truncate(LINES_MAX);
        parts.push(format!("… {more} more lines: Tab and choose it to see them"));
    }
    let tail_cells: usize = tail.iter().map(|span| text::width(&span.content)).sum();
    let last = parts.len() - 1;
    for (number, part) in parts.into_iter().enumerate() {
        let cells = text::width(&part);
        let mut spans = vec![bar.clone(), Span::raw("  "), Span::styled(part, shown)];
        if number == last && cells + tail_cells + 4 <= width {
            spans.extend(tail.iter().cloned());
        }
        let overflows = number == last && tail_cells > 0 && cells + tail_cells + 4 > width;
        lines.push(Line::from(spans));
        if overflows {
            let mut spans = vec![bar.clone(), Span::raw(" ")];
            spans.extend(tail.iter().cloned());
            lines.push(Line::from(spans));
        }
    }
}

/// What is to be said about a message: edited, pinned, its thread, and how far an own one got.
fn tail(app: &App, style: Style, talk: &Talk, item: &Item) -> Vec<Span<'static>> {
    let record = &item.record;
    let mut tail = Vec::new();
    if matches!(record.content, Content::Gone { .. }) {
        return tail;
    }
    let mut said = Vec::new();
    if item.is_edited {
        said.push("edited".to_owned());
    }
    if item.is_pinned {
        said.push("pinned".to_owned());
    }
    if item.replies > 0 {
        said.push(format!("{} in its thread", item.replies));
    }
    if let Some(ttl) = record.content.extra().and_then(|extra| extra.ttl_ms) {
        let left = (record.ts.get().saturating_add(ttl)).saturating_sub(app.now.get());
        said.push(format!("ends in {}", time::span(left)));
    }
    if !said.is_empty() {
        tail.push(Span::styled(format!(" ({})", said.join(", ")), style.dim()));
    }
    if record.sender == app.me {
        let (seen, others) = talk.seen_by(app.me, record.at.seq);
        tail.push(match (seen, others) {
            (0, _) => Span::styled(" ✓", style.dim()),
            (seen, others) if seen >= others => Span::styled(" ✓✓", style.good()),
            (seen, others) => Span::styled(format!(" ✓✓ {seen}/{others}"), style.good()),
        });
    }
    tail
}

fn pending_block(app: &App, style: Style, talk: &Talk, pending: &Pending, width: usize) -> Shown {
    let what = Chosen::Pending(pending.ticket);
    let chosen = talk.chosen == Some(what);
    let bar = Span::styled(if chosen { "▌" } else { " " }, style.key());
    let mut lines = Vec::new();
    let after_own = talk.items.values().next_back().is_some_and(|item| item.is_message() && item.record.sender == app.me);
    let is_first = talk.pending.first().is_some_and(|first| first.ticket == pending.ticket);
    if is_first && !after_own {
        let name = sender_name(app, app.me);
        lines.push(Line::from(vec![
            bar.clone(),
            Span::styled(name, style.name(app.me)),
            Span::styled(format!("  {}", app.zone.clock(pending.at)), style.dim()),
        ]));
    }
    if let Some(Some(record)) = pending.reply_to.and_then(|seq| talk.find(seq)) {
        lines.push(Line::from(vec![
            bar.clone(),
            Span::styled(text::cut(&format!("  ┃ {}", quote(app, record)), width.saturating_sub(1)), style.dim()),
        ]));
    }
    let tail = match &pending.state {
        Sending::Queued => Span::styled(" … sending", style.dim()),
        Sending::Sent(_) => Span::styled(" ✓", style.dim()),
        Sending::Failed(why) => Span::styled(format!(" ✗ not sent: {}", text::line(why)), style.wrong()),
    };
    body_lines(&mut lines, &bar, &text::block(&pending.text), style.plain(), vec![tail], width, chosen);
    Shown { what: Some(what), lines }
}

fn sender_name(app: &App, user: UserId) -> String {
    if user == app.me { "you".to_owned() } else { app.people.shown(user) }
}

/// A message in a few words.
fn quote(app: &App, record: &Record) -> String {
    let says = match &record.content {
        Content::Text { text, .. } => text::line(text),
        Content::Gone { why, .. } => gone(*why).to_owned(),
        _ => event_text(app, record),
    };
    format!("{}: {}", sender_name(app, record.sender), text::cut(&says, 60))
}

fn rule(says: &str, shown: ratatui::style::Style, width: usize) -> Line<'static> {
    let says = text::cut(&format!(" {says} "), width.saturating_sub(4));
    let rest = width.saturating_sub(text::width(&says) + 2);
    let (left, right) = (rest / 2, rest - rest / 2);
    Line::from(Span::styled(format!(" {}{says}{}", "─".repeat(left), "─".repeat(right)), shown))
}

fn gone(why: Gone) -> &'static str {
    match why {
        Gone::Deleted => "(deleted)",
        Gone::Expired => "(this message has ended)",
        Gone::Retention => "(no longer kept)",
        Gone::Erased => "(its author was erased)",
        Gone::Changed => "(changed after you had left)",
    }
}

/// What is no message: who did what.
fn event_text(app: &App, record: &Record) -> String {
    let who = sender_name(app, record.sender);
    let name = |user: UserId| sender_name(app, user);
    match &record.content {
        Content::Created { title, members } => {
            let with: Vec<String> = members.iter().filter(|member| **member != record.sender).map(|member| name(*member)).collect();
            let with = if with.is_empty() { String::new() } else { format!(" with {}", with.join(", ")) };
            format!("{who} made the group \"{}\"{with}", text::line(title))
        }
        Content::Members(MemberChange::Add(user)) => format!("{who} added {}", name(*user)),
        Content::Members(MemberChange::Remove(user)) => format!("{who} removed {}", name(*user)),
        Content::Members(MemberChange::Leave) => format!("{who} left"),
        Content::Members(MemberChange::Join) => format!("{who} joined by a link"),
        Content::Members(MemberChange::SetRole(user, role)) => format!("{who} made {} {}", name(*user), role_name(*role)),
        Content::Act(Act::Pin { target, on: true }) => format!("{who} pinned message {target}"),
        Content::Act(Act::Describe { title: Some(title), .. }) => format!("{who} named the group \"{}\"", text::line(title)),
        Content::Act(Act::Describe { .. }) => format!("{who} described the group anew"),
        Content::Act(Act::SetRules(_)) => format!("{who} changed the rules of the group"),
        Content::Act(Act::HandOver { to }) => format!("{who} handed the group over to {}", name(*to)),
        Content::Act(Act::Mute { user, until }) if until.get() == 0 => format!("{who} lets {} write again", name(*user)),
        Content::Act(Act::Mute { user, .. }) => format!("{who} muted {}", name(*user)),
        Content::Act(Act::Ban { user, on: true }) => format!("{who} shut {} out", name(*user)),
        Content::Act(Act::Ban { user, on: false }) => format!("{who} lets {} in again", name(*user)),
        Content::Erased { user } => format!("{} has ended the account; the messages are gone", name(*user)),
        _ => format!("{who} did something that this version does not know"),
    }
}
