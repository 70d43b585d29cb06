//! The screen of a group.

use kith_client::wire::{act::Rules, client::GroupView, id::ChannelId, log::Role};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{Style, both_ends, lines};
use crate::{app::App, deed::GroupRow, text, time};

pub(super) fn draw(app: &App, style: Style, frame: &mut Frame<'_>, area: Rect, channel: ChannelId, at: usize) {
    let width = area.width as usize;
    let talk = app.talks.get(&channel);
    let group = talk.and_then(|talk| talk.group.as_ref());
    let mut drawn = vec![Line::from(Span::styled(format!(" {}", text::cut(&app.title(channel), width.saturating_sub(2))), style.title()))];
    if let Some(group) = group {
        let about = text::block(&group.about);
        if !about.trim().is_empty() {
            drawn.extend(text::wrap(&about, width.saturating_sub(3)).into_iter().map(|part| Line::from(Span::raw(format!("   {part}")))));
        }
        drawn.push(Line::default());
        drawn.extend(rules(&group.rules).into_iter().map(|(key, says)| {
            Line::from(vec![Span::styled(format!("   {key}  "), style.key()), Span::styled(text::cut(&says, width.saturating_sub(6)), style.dim())])
        }));
    }
    let rows = app.group_rows(channel);
    let at = at.min(rows.len().saturating_sub(1));
    let mut looked_at = None;
    let mut heading = "";
    for (number, row) in rows.iter().enumerate() {
        let of = match row {
            GroupRow::Member(..) => "Members",
            GroupRow::Asked(_) => "Ask to join: y lets in, n refuses",
            GroupRow::Link(_) => "Invite links: Enter shows one to copy, x revokes",
            GroupRow::Pin(_) => "Pinned messages: Enter goes there",
        };
        if of != heading {
            heading = of;
            drawn.push(Line::default());
            drawn.push(Line::from(Span::styled(format!(" {}", text::cut(of, width.saturating_sub(1))), style.bold())));
        }
        let is_chosen = number == at;
        if is_chosen {
            looked_at = Some(drawn.len());
        }
        let bar = Span::styled(if is_chosen { " ▌ " } else { "   " }, style.key());
        let (left, right) = row_text(app, group, channel, *row);
        let shown = if is_chosen { style.bold() } else { style.plain() };
        drawn.push(both_ends(vec![bar, Span::styled(left, shown)], vec![Span::styled(format!("{right} "), style.dim())], width));
    }
    if rows.is_empty() {
        drawn.push(Line::from(Span::styled("   fetching the members…", style.dim())));
    }
    lines(frame, area, drawn, looked_at);
}

fn row_text(app: &App, group: Option<&GroupView>, channel: ChannelId, row: GroupRow) -> (String, String) {
    match row {
        GroupRow::Member(user, role) => {
            let you = if user == app.me { " (you)" } else { "" };
            let muted = group.and_then(|group| group.muted.iter().find(|muted| muted.user == user && muted.until > app.now));
            let muted = muted.map_or_else(String::new, |muted| format!(", muted until {}", app.zone.full(muted.until)));
            (format!("{}{you}", app.people.shown(user)), format!("{}{muted}", role_name(role)))
        }
        GroupRow::Asked(user) => (app.people.shown(user), "asks to join".to_owned()),
        GroupRow::Link(secret) => {
            let link = kith_client::Link { channel, secret };
            let kept = group.and_then(|group| group.links.iter().find(|link| link.invite.secret == secret));
            let about = kept.map_or_else(String::new, |link| {
                let ends = if link.invite.until.get() == 0 { "no end".to_owned() } else { format!("until {}", app.zone.full(link.invite.until)) };
                let left = if link.invite.uses == 0 { String::new() } else { format!(", for {} more", link.invite.uses) };
                format!("{} joined, {ends}{left}", link.used)
            });
            (link.to_string(), about)
        }
        GroupRow::Pin(seq) => {
            let text = app.talks.get(&channel).and_then(|talk| talk.items.get(&seq)).and_then(|item| item.record.content.text());
            let by = group
                .and_then(|group| group.pins.iter().find(|pin| pin.seq == seq))
                .map_or_else(String::new, |pin| format!("by {}", app.people.shown(pin.by)));
            (text.map_or_else(|| format!("message {seq}"), text::line), by)
        }
    }
}

pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

/// Each rule, beside the key that changes it.
fn rules(rules: &Rules) -> Vec<(&'static str, String)> {
    let from = |role: Role| match role {
        Role::Member => "all members",
        Role::Admin => "admins and the owner",
        Role::Owner => "only the owner",
    };
    let mut said = vec![
        ("p", format!("may write: {}", from(rules.post))),
        ("v", format!("may add people and make links: {}", from(rules.invite))),
        ("h", format!("new members read {}", if rules.from_start { "from the start" } else { "from when they joined" })),
        ("o", format!("who joins by a link {}", if rules.approval { "waits for an admin" } else { "is in at once" })),
        (
            "s",
            if rules.slow_ms == 0 { "slow mode: off".to_owned() } else { format!("slow mode: {} between two messages", time::span(rules.slow_ms)) },
        ),
    ];
    if rules.retention_ms > 0 {
        said.push((" ", format!("messages are kept for {}", time::span(rules.retention_ms))));
    }
    said
}
