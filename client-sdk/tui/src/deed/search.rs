//! Search: in the messages that this device holds of the conversations that were opened.

use crate::{
    app::App,
    keys::Deed,
    screen::{Hit, Screen, Search},
    view,
};

/// Results that are shown.
const HITS_MAX: usize = 100;

impl App {
    pub(super) fn begin_search(&mut self) {
        let within = self.open_channel();
        if self.me.get() == 0 || matches!(self.screen(), Screen::Search(_)) {
            return;
        }
        self.keep_draft();
        self.screens.push(Screen::Search(Search::new(within)));
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
            (Deed::Enter, None, _) => self.look(),
            (Deed::Down, None, Some(_)) => search.at = Some(0),
            (Deed::Up, Some(0), _) => search.at = None,
            (Deed::Up, Some(at), _) => search.at = Some(at - 1),
            (Deed::PageUp, Some(at), _) => search.at = Some(at.saturating_sub(page)),
            (Deed::Down, Some(at), Some(last)) => search.at = Some((at + 1).min(last)),
            (Deed::PageDown, Some(at), Some(last)) => search.at = Some((at + page).min(last)),
            _ => {}
        }
    }
    fn look(&mut self) {
        let Screen::Search(search) = self.screen() else { return };
        let (words, within) = (search.field.text().trim().to_lowercase(), search.within);
        if words.is_empty() {
            return;
        }
        let talks = self.talks.values().filter(|talk| within.is_none_or(|within| within == talk.channel));
        let mut hits: Vec<Hit> = talks
            .flat_map(|talk| talk.items.values().map(move |item| (talk.channel, item)))
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
            search.looked_for = Some(words);
            search.at = (!hits.is_empty()).then_some(0);
            search.note = "in the messages that were loaded since the start".to_owned();
            search.hits = hits;
        }
    }
}
