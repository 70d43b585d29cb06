//! Search: in all messages that one may read, by the cluster; while there is no connection, in those that this device has loaded.

use kith_client::wire::{id::ChannelId, search::SearchPage};

use crate::{
    action::{Ask, Link, Looked},
    app::App,
    keys::Deed,
    screen::{Hit, Screen, Search},
    view,
};

/// Results that are shown.
const HITS_MAX: usize = 500;
/// Messages before the last one at which older ones are asked for.
const AHEAD: usize = 3;
/// Pages without a message after which nothing more is asked for.
const EMPTY_PAGES_MAX: usize = 10;

impl App {
    pub(super) fn begin_search(&mut self) {
        let within = self.open_channel();
        if self.me.get() == 0 || matches!(self.screen(), Screen::Search(_)) {
            return;
        }
        self.keep_draft();
        self.screens.push(Screen::Search(Box::new(Search::new(within))));
    }
    pub(super) fn in_search(&mut self, deed: Deed) {
        let page = view::page(self);
        let Screen::Search(search) = self.screen_mut() else { return };
        let last = search.hits.len().checked_sub(1);
        match (deed, search.at, last) {
            (Deed::Back, Some(_), _) => search.at = None,
            (Deed::Back, None, _) => self.back(),
            (Deed::Enter, Some(at), _) => {
                let hit = search.hits.get(at).map(|hit| (hit.channel, hit.seq));
                if let Some((channel, seq)) = hit {
                    self.go_to(channel, seq);
                }
            }
            (Deed::Enter, None, _) => return self.look(),
            (Deed::Down, None, Some(_)) => search.at = Some(0),
            (Deed::Up, Some(0), _) => search.at = None,
            (Deed::Up, Some(at), _) => search.at = Some(at - 1),
            (Deed::PageUp, Some(at), _) => search.at = Some(at.saturating_sub(page)),
            (Deed::Down, Some(at), Some(last)) => search.at = Some((at + 1).min(last)),
            (Deed::PageDown, Some(at), Some(last)) => search.at = Some((at + page).min(last)),
            _ => {}
        }
        self.look_on();
    }
    fn look(&mut self) {
        let Screen::Search(search) = self.screen() else { return };
        let (typed, within) = (search.field.text().trim().to_owned(), search.within);
        if typed.is_empty() || search.waits_for.is_some() {
            return;
        }
        let looked = match self.read(&typed, within) {
            Ok(looked) => looked,
            Err(wrong) => return self.wrong(wrong),
        };
        if let Screen::Search(search) = self.screen_mut() {
            (search.hits, search.at, search.next, search.empty_pages) = (Vec::new(), None, None, 0);
            (search.looked_for, search.note) = (Some(typed), String::new());
        }
        if matches!(self.link, Link::Online(_)) { self.look_up(looked) } else { self.look_here(&looked) }
    }
    /// What is looked for, as it was typed.
    fn read(&self, typed: &str, within: Option<ChannelId>) -> Result<Looked, String> {
        let mut looked = Looked { within, ..Looked::default() };
        let mut words = Vec::new();
        let day = |text: &str| self.zone.parse_day(text).ok_or_else(|| format!("{text:?} is no day: write 2026-11-22"));
        for word in typed.split_whitespace() {
            match word.split_once(':') {
                Some(("from", name)) => looked.from = Some(name.trim_start_matches('@').to_owned()),
                Some(("since", text)) => looked.since = Some(day(text)?),
                Some(("before", text)) => looked.until = Some(day(text)?),
                _ => words.push(word),
            }
        }
        looked.words = words.join(" ");
        Ok(looked)
    }
    fn look_up(&mut self, looked: Looked) {
        let Some(search) = self.search_mut() else { return };
        search.waits_for = Some(looked.clone());
        self.ask(Ask::Search(looked));
    }
    /// In what this device holds, while there is no server to ask.
    fn look_here(&mut self, looked: &Looked) {
        let words = looked.words.to_lowercase();
        let from = looked.from.as_deref().map(str::to_lowercase);
        let is_from = |user| from.as_ref().is_none_or(|from| self.people.get(user).is_some_and(|person| person.name == *from));
        let is_then = |ts| looked.since.is_none_or(|since| ts >= since) && looked.until.is_none_or(|until| ts < until);
        let talks = self.talks.values().filter(|talk| looked.within.is_none_or(|within| within == talk.channel));
        let mut hits: Vec<Hit> = talks
            .flat_map(|talk| talk.items.values().map(move |item| (talk.channel, item)))
            .filter(|(_, item)| is_from(item.record.sender) && is_then(item.record.ts))
            .filter_map(|(channel, item)| {
                let text = item.record.content.text()?;
                let folded = text.to_lowercase();
                let has_all = words.split_whitespace().all(|word| folded.contains(word));
                has_all.then(|| Hit { channel, seq: item.record.at.seq, sender: item.record.sender, ts: item.record.ts, text: text.to_owned() })
            })
            .collect();
        hits.sort_by_key(|hit| std::cmp::Reverse(hit.ts));
        hits.truncate(HITS_MAX);
        if let Screen::Search(search) = self.screen_mut() {
            search.at = (!hits.is_empty()).then_some(0);
            search.note = "offline: only in what was loaded since the start".to_owned();
            search.hits = hits;
        }
    }

    // What comes of it.

    pub(crate) fn found(&mut self, looked: Looked, page: SearchPage) {
        self.people.want(page.hits.iter().map(|hit| hit.sender));
        let groups: Vec<String> = page.channels.iter().map(|channel| self.title(*channel)).collect();
        let Some(search) = self.search_of(&looked) else { return };
        let was_empty = search.hits.is_empty();
        search.empty_pages = if page.hits.is_empty() { search.empty_pages + 1 } else { 0 };
        search.hits.extend(page.hits.into_iter().map(|hit| Hit {
            channel: hit.spot.channel,
            seq: hit.spot.seq,
            sender: hit.sender,
            ts: hit.spot.ts,
            text: hit.excerpt,
        }));
        if was_empty && !search.hits.is_empty() {
            search.at = Some(0);
        }
        let is_full = search.hits.len() >= HITS_MAX || search.empty_pages >= EMPTY_PAGES_MAX;
        search.next = page.next.map(|below| Looked { below: Some(below), ..looked });
        // What matters most first: the line is short.
        let mut said = Vec::new();
        if page.unsearched > 0 {
            said.push(format!("{} conversations were not searched", page.unsearched));
        }
        if !groups.is_empty() {
            said.push(format!("titles: {}", groups.join(", ")));
        }
        if search.next.is_some() {
            said.push(if is_full { "there is more: narrow it" } else { "older ones come as you go down" }.to_owned());
        }
        if is_full {
            search.next = None;
        }
        search.note = said.join("; ");
        self.look_on();
    }
    pub(crate) fn not_found(&mut self, looked: &Looked, why: String) {
        let Some(search) = self.search_of(looked) else { return };
        if search.hits.is_empty() {
            // Nobody has said that there is nothing.
            (search.looked_for, search.note) = (None, format!("Enter asks again: {why}"));
        } else {
            search.note = why;
        }
    }
    /// The next page, when one has come to the end of this one, or it is empty.
    fn look_on(&mut self) {
        let Some(search) = self.search_mut() else { return };
        let is_at_end = search.at.map_or(search.hits.is_empty(), |at| at + AHEAD >= search.hits.len());
        if is_at_end
            && search.waits_for.is_none()
            && let Some(next) = search.next.take()
        {
            self.look_up(next);
        }
    }
    fn search_mut(&mut self) -> Option<&mut Search> {
        self.screens.iter_mut().rev().find_map(|screen| match screen {
            Screen::Search(search) => Some(&mut **search),
            _ => None,
        })
    }
    /// The search that waits for this, which waits no more.
    fn search_of(&mut self, looked: &Looked) -> Option<&mut Search> {
        let search = self.search_mut().filter(|search| search.waits_for.as_ref() == Some(looked))?;
        search.waits_for = None;
        Some(search)
    }
}
