//! Texts that people and their programs write, as each parser of ours reads them: names, searches, ids, links, cursors, URLs, what is typed.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    panic::AssertUnwindSafe,
};

use bolero::check;
use kith::{
    auth::name,
    config::HooksConfig,
    fuzz,
    hook::post::{Poster, UrlError},
};
use kith_client::{ExportCursor, Link};
use kith_search::{Query, excerpt, fold, words};
use kith_wire::{
    act::JoinLink,
    id::{CallKey, ChannelId, ClusterId, StoreId, UserId},
    limit,
    search::Spot,
};

/// Reads a text; what is read is printed and read again as the same.
fn again<T: std::str::FromStr + ToString + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert!(value.to_string().parse::<T>().is_ok_and(|read| read == value), "{text:?} is printed as {:?}", value.to_string());
    }
}

#[test]
fn ids_and_links() {
    check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        let text = text.as_ref();
        again::<UserId>(text);
        again::<ChannelId>(text);
        again::<ClusterId>(text);
        again::<StoreId>(text);
        again::<Spot>(text);
        again::<JoinLink>(text);
        again::<Link>(text);
        again::<ExportCursor>(text);
        let _ = (text.parse::<CallKey>(), ChannelId::from_bytes(input), kith::auth::token::parse_user(text));
        if let Some((node, cluster)) = fuzz::node_name(text) {
            assert_eq!(fuzz::node_name(&kith::peer::tls::node_name(node, ClusterId::new([1; 16]))).map(|(node, _)| node), Some(node));
            assert!(cluster.len() < text.len());
        }
    });
}

#[test]
fn texts_of_a_request() {
    check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        assert_eq!(fuzz::of_request(&text), Ok(()), "read otherwise than it was printed");
    });
}

#[test]
fn texts_of_a_command_line() {
    check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        assert_eq!(fuzz::of_command_line(&text), Ok(()), "read otherwise than it was printed");
        let (_, span) = kith_tui::fuzz::times(&text);
        assert!(span.is_none_or(|span| span.is_multiple_of(1_000)));
    });
}

/// A name is folded once for all, and has nothing in it that another name hides behind.
#[test]
fn names() {
    check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        let folded = fold(&text);
        assert_eq!(fold(&folded), folded, "folding again changes it");
        if let Ok(name) = name::fold_name(&text) {
            assert_eq!(name::fold_name(&name).as_ref(), Ok(&name));
            assert!(!name.is_empty() && name.len() <= limit::NAME_BYTES_MAX && name::is_showable(&name));
            assert!(!name.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '#' | '/' | ',' | '@')));
            if text.len() + 2 <= 4 * limit::NAME_BYTES_MAX {
                assert_eq!(name::fold_name(&format!(" {text}\t")).as_ref(), Ok(&name), "blanks around it are none of it");
            }
            let words = name::words(&name, &text);
            assert!(words.is_sorted() && words.len() <= limit::SEARCH_WORDS_MAX + 1);
        }
        if let Some(prefix) = name::search_prefix(&text) {
            assert!(!prefix.is_empty() && prefix.chars().count() <= limit::SEARCH_WORD_CHARS_MAX);
        }
    });
}

/// A search and a text, with a line's end between them: where it matches stands something, and the excerpt marks it.
#[test]
fn searches() {
    check!().for_each(|input: &[u8]| {
        let both = String::from_utf8_lossy(input);
        let (typed, text) = both.split_once('\n').unwrap_or((&both, &both));
        for word in words(text) {
            assert!(text.get(word.at.clone()).is_some() && !word.text.is_empty());
        }
        let Ok(query) = Query::parse(typed) else { return };
        let spans = query.spans(text);
        assert!(spans.windows(2).all(|pair| pair[0].end < pair[1].start) && spans.iter().all(|span| !span.is_empty()));
        assert!(query.wants_nothing() || !query.matches(text) || !spans.is_empty());
        let shown = excerpt(text, &spans);
        let length = shown.text.chars().count() as u32;
        assert!(length as usize <= limit::EXCERPT_CHARS_MAX);
        assert!(shown.marks.iter().all(|(first, many)| *many > 0 && first + many <= length));
        assert!(shown.marks.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
        assert_eq!(shown.marks.is_empty(), spans.is_empty(), "what was found first is in the excerpt");
    });
}

/// Nothing is posted to what is not public, whatever the URL looks like.
#[test]
fn webhook_urls() {
    let (closed, open) = (HooksConfig::default(), HooksConfig { allow_private: true, ..HooksConfig::default() });
    let (closed, open) = (AssertUnwindSafe(Poster::new(&closed)), AssertUnwindSafe(Poster::new(&open)));
    check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        match closed.check(&text) {
            Ok(()) => {
                assert!(text.get(..8).is_some_and(|begin| begin.eq_ignore_ascii_case("https://")), "{text:?} is not encrypted");
                assert!(
                    !text.contains('@') || text.split('@').next().is_some_and(|before| before[8..].contains(['/', '?'])),
                    "{text:?} has a password"
                );
                let host = text[8..].split(['/', '?', '#']).next().unwrap_or_default();
                let v4 = host.split(':').next().and_then(|host| host.parse::<Ipv4Addr>().ok());
                assert!(
                    v4.is_none_or(|v4| !v4.is_loopback() && !v4.is_private() && !v4.is_link_local() && !v4.is_unspecified()),
                    "{text:?} is private"
                );
                let v6 = host.strip_prefix('[').and_then(|rest| rest.split(']').next()).and_then(|host| host.parse::<Ipv6Addr>().ok());
                let is_given_out = |v6: Ipv6Addr| v6.segments()[0] & 0xe000 == 0x2000 || v6.segments()[..2] == [0x64, 0xff9b];
                assert!(v6.is_none_or(is_given_out), "{text:?} is private");
                assert_eq!(open.check(&text), Ok(()));
            }
            Err(error @ (UrlError::Malformed | UrlError::TooLong)) => assert_eq!(open.check(&text), Err(error)),
            Err(UrlError::Plain | UrlError::Private) => assert_eq!(open.check(&text), Ok(())),
        }
    });
}

/// What others wrote, on a terminal: nothing that it acts upon is left, and no line is wider than it may be.
#[test]
fn texts_of_others_on_a_terminal() {
    let harms = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    check!().for_each(|input: &[u8]| {
        let Some((cells, text)) = input.split_first() else { return };
        let (cells, text) = (usize::from(*cells), String::from_utf8_lossy(text));
        assert!(!fuzz::shown(&text).contains(|c| c != '\n' && harms(c)));
        let shown = kith_tui::fuzz::shown(&text, cells);
        assert!(!shown.line.contains(harms));
        assert!(!shown.block.contains(|c| c != '\n' && harms(c)) && !shown.typed.contains(|c| c != '\n' && harms(c)));
        assert!(kith_tui::fuzz::width(&shown.cut) <= cells, "{:?} is wider than {cells}", shown.cut);
        assert!(!shown.wrapped.is_empty());
        for line in &shown.wrapped {
            assert!(kith_tui::fuzz::width(line.trim_end_matches(' ')) <= cells.max(2), "{line:?} is wider than {cells}");
        }
    });
}
