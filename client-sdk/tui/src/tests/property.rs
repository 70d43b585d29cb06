//! Whatever is pressed and whatever comes, in any order and on a terminal of any size: it is drawn, and nothing harmful is on the screen.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use kith_client::{
    Error,
    wire::{
        act::{Act, Invite, Link as KeptLink, Muted, Pin},
        client::ReactionTotal,
        code::Code,
        log::{Content, MemberChange},
        people::{ContactState, ContactView, DeviceView},
    },
};
use proptest::prelude::*;

use super::*;
use crate::{Entry, Progress};

fn keys() -> impl Strategy<Value = Event> {
    let codes = prop_oneof![
        6 => prop::sample::select("abcdefghijklmnopqrstuvwxyzGH?/+ @1éß世👍".chars().collect::<Vec<_>>()).prop_map(KeyCode::Char),
        2 => Just(KeyCode::Enter),
        2 => prop::sample::select(vec![
            KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::Left, KeyCode::Right, KeyCode::Home, KeyCode::End,
            KeyCode::PageUp, KeyCode::PageDown, KeyCode::Backspace, KeyCode::Delete, KeyCode::F(1), KeyCode::F(5),
        ]),
    ];
    let mods =
        prop_oneof![6 => Just(KeyModifiers::NONE), 1 => Just(KeyModifiers::CONTROL), 1 => Just(KeyModifiers::ALT), 1 => Just(KeyModifiers::SHIFT)];
    (codes, mods).prop_map(|(code, mods)| Event::Key(KeyEvent::new(code, mods)))
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z ]{0,30}", "[a\u{1b}\u{202e}\n\t\r世👩\u{200d}\u{301}]{0,20}", Just("x".repeat(5_000))]
}

fn records() -> impl Strategy<Value = Record> {
    let seq = 1_u64..40;
    let user = prop::sample::select(vec![ANN, BOB, EVE, UserId::new(0xffff_ffff_ffff)]);
    let content = (words(), 1_u64..40, any::<bool>()).prop_flat_map(|(words, target, on)| {
        let target = Seq::new(target);
        prop::sample::select(vec![
            Content::Text { text: words.clone(), reply_to: on.then_some(target), mentions: vec![ANN], extra: None },
            Content::Act(Act::Edit { target, text: words.clone(), mentions: Vec::new() }),
            Content::Act(Act::Delete { target }),
            Content::Act(Act::React { target, emoji: "👍".into(), on }),
            Content::Act(Act::Pin { target, on }),
            Content::Act(Act::Describe { title: Some(words.clone()), about: None }),
            Content::Members(MemberChange::Add(EVE)),
            Content::Members(MemberChange::Leave),
            Content::Created { title: words, members: vec![BOB] },
            Content::Unknown { kind: 99, bytes: Default::default() },
        ])
    });
    (seq, user, content).prop_map(|(seq, user, content)| record(seq, user, content))
}

fn answers() -> impl Strategy<Value = Event> {
    let wanted = prop_oneof![
        Just(Want::Newest),
        (1_u64..40).prop_map(|seq| Want::Before(Seq::new(seq))),
        (1_u64..40).prop_map(|seq| Want::Around(Seq::new(seq))),
        (1_u64..40).prop_map(|seq| Want::Quoted(Seq::new(seq)))
    ];
    let pages = (wanted, prop::collection::vec(records(), 0..6), 0_u64..60, any::<bool>()).prop_map(|(want, mut records, head, fails)| {
        records.sort_by_key(|record| record.at.seq);
        records.dedup_by_key(|record| record.at.seq);
        let total = ReactionTotal { emoji: "👍".into(), count: 1, mine: false };
        let marks = records
            .iter()
            .map(|record| Marks {
                seq: record.at.seq,
                edited: Seq::ZERO,
                reactions: vec![total.clone()],
                replies: 1,
                last_reply: Seq::ZERO,
                pinned: false,
            })
            .collect();
        let page = HistoryPage { head: at(head), ..page(records, marks) };
        let result = if fails { Err(Error::new(Code::Timeout, "late")) } else { Ok(Answer::Page(page)) };
        Event::Answered(Box::new(Ask::Page(room(), want)), result)
    });
    let groups = words().prop_map(|words| {
        let links = vec![KeptLink { invite: Invite { secret: [1; 16], until: Timestamp::new(0), uses: 0 }, by: BOB, used: 9 }];
        let view = GroupView {
            title: words.clone(),
            about: words,
            links,
            pins: vec![Pin { seq: Seq::new(3), by: BOB }],
            muted: vec![Muted { user: BOB, until: Timestamp::new(u64::MAX) }],
            ..group()
        };
        Event::Answered(Box::new(Ask::Group(room())), Ok(Answer::Group(view)))
    });
    let contacts = words().prop_map(|words| {
        let contact = |user, state| ContactView { user, name: words.clone(), display: words.clone(), state, since: Timestamp::new(5) };
        let contacts = vec![contact(BOB, ContactState::Asking), contact(EVE, ContactState::Blocked)];
        Event::Answered(Box::new(Ask::Contacts), Ok(Answer::Contacts(contacts)))
    });
    let devices = words().prop_map(|title| {
        let device = DeviceView { device: DeviceId::new(3), title, created: Timestamp::new(0), seen: Timestamp::new(u64::MAX), current: true };
        Event::Answered(Box::new(Ask::Devices), Ok(Answer::Devices(vec![device])))
    });
    let people = words().prop_map(|words| {
        let profile = ProfileView { user: BOB, name: words.clone(), display: words.clone(), about: words, ..ProfileView::default() };
        Event::Answered(Box::new(Ask::Names(vec![BOB])), Ok(Answer::People(vec![profile])))
    });
    prop_oneof![4 => pages, 1 => groups, 1 => contacts, 1 => devices, 1 => people]
}

fn others() -> impl Strategy<Value = Event> {
    let error = || Error::new(Code::NotAllowed, "not \u{1b}[2J allowed");
    prop_oneof![
        4 => records().prop_map(|record| Event::Sdk(SdkEvent::Record { channel: room(), record: Arc::new(record) })),
        1 => Just(Event::Sdk(SdkEvent::Typing { channel: room(), user: EVE })),
        1 => Just(Event::Sdk(SdkEvent::Receipt { channel: room(), user: BOB, read: at(9), delivered: at(9) })),
        1 => (words(), 0_u64..9).prop_map(|(title, unread)| Event::Listed(vec![summary(room(), &title, 9, unread), summary(direct(), "", 1, 0)], Vec::new())),
        1 => Just(Event::Listed(Vec::new(), vec![summary(room(), "old", 9, 0)])),
        2 => (0_u16..=220, 0_u16..=70).prop_map(|(columns, rows)| Event::Size(columns.max(1), rows.max(1))),
        1 => words().prop_map(Event::Paste),
        1 => Just(Event::Tick),
        1 => Just(Event::Link(Link::Offline(Some(3_000)))),
        1 => Just(Event::Link(Link::Online("node:1".into()))),
        1 => (0_u64..9, 0_u64..40).prop_map(|(ticket, seq)| Event::Wrote(ticket, Progress::Recorded(Seq::new(seq), Timestamp::new(NOW)))),
        1 => (0_u64..9).prop_map(move |ticket| Event::Wrote(ticket, Progress::Failed(error()))),
        1 => Just(Event::Entered { user: ANN, name: "ann".into(), recovery: None }),
        1 => Just(Event::Left(Some(error()))),
        1 => Just(Event::Refused(Entry::Resume { server: Server::default(), name: "ann".into() }, Error::new(Code::LoginNeeded, "again"))),
    ]
}

/// What a terminal would act on, or what turns text round.
fn is_harmful(symbol: &str) -> bool {
    symbol.chars().any(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn nothing_makes_it_panic(events in prop::collection::vec(prop_oneof![5 => keys(), 2 => answers(), 2 => others()], 0..70), columns in 1_u16..130, rows in 1_u16..50, starts_in in any::<bool>()) {
        let mut user = if starts_in { User::in_room(vec![text(1, ANN, "hello"), text(2, BOB, "hi")], Vec::new()) } else { User::new() };
        for event in events {
            user.now += 700;
            user.tell(event);
            let looked: Vec<_> = user.did.drain(..).filter_map(|action| if let Action::Ask(ask @ Ask::Search(_)) = action { Some(ask) } else { None }).collect();
            for ask in looked {
                let page = super::search::found([9, 2], (user.now % 3 > 0).then_some(2));
                user.tell(Event::Answered(Box::new(ask), Ok(Answer::Found(page))));
            }
            prop_assert!(!user.app.screens.is_empty());
            let buffer = user.buffer();
            prop_assert!(!buffer.content().iter().any(|cell| is_harmful(cell.symbol())), "{}", user.screen());
        }
        // A terminal may be smaller than what was last said of it.
        draw(&user.app, columns, rows);
        draw(&user.app, 1, 1);
    }
}
