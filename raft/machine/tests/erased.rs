//! Who was erased: what of theirs goes besides their own texts.

mod chat;

use kith_machine::{channel::read, reply::Reply};
use kith_wire::{
    act::{Act, Extra, Gone, Origin},
    id::{ChannelId, Timestamp},
    log::{Command, MemberChange},
};

use chat::{ANN, BOB, Chat, EVE, at, seq, user};

#[test]
fn reactions_of_an_erased_user_go_and_so_do_copies_of_their_texts() {
    let mut chat = Chat::new();
    let said = chat.say(ANN, "a plan");
    chat.act(BOB, Act::React { target: said, emoji: "bobs".to_owned(), on: true });
    chat.act(BOB, Act::React { target: said, emoji: "both".to_owned(), on: true });
    chat.act(ANN, Act::React { target: said, emoji: "both".to_owned(), on: true });
    let origin =
        |sender: u8| Origin { channel: ChannelId::direct(user(sender), user(EVE)), seq: seq(3), sender: user(sender), ts: Timestamp::new(1) };
    let copy = |chat: &mut Chat, of: u8, text: &str| at(&chat.say_with(ANN, text, Extra { origin: Some(origin(of)), ..Extra::default() }));
    let (theirs, others) = (copy(&mut chat, BOB, "words of bob elsewhere"), copy(&mut chat, EVE, "words of eve elsewhere"));
    // After he has left, too.
    chat.change(BOB, MemberChange::Leave);
    let late = copy(&mut chat, BOB, "more words of bob");
    chat.act(ANN, Act::Pin { target: late, on: true });
    let reactions = |chat: &Chat| {
        let all = read::reactions(&chat.script.view, chat.group, user(ANN), said).expect("readable").expect("a member");
        all.into_iter().map(|one| (one.emoji, one.users)).collect::<Vec<_>>()
    };
    assert_eq!(reactions(&chat).len(), 2);
    assert_eq!(chat.propose(Command::Gone { channel: chat.group, user: user(BOB) }), Reply::Done);

    let check = |chat: &Chat| {
        assert_eq!(reactions(chat), [("both".to_owned(), vec![user(ANN)])]);
        let page = chat.page(ANN, None, 1_000);
        let marks = page.marks.iter().find(|marks| marks.seq == said).expect("one reaction");
        assert_eq!(marks.reactions.iter().map(|total| (total.emoji.as_str(), total.count)).collect::<Vec<_>>(), [("both", 1)]);
        assert_eq!((chat.reads(ANN, theirs), chat.reads(ANN, late)), (Err(Some(Gone::Erased)), Err(Some(Gone::Erased))));
        assert_eq!(chat.reads(ANN, others), Ok("words of eve elsewhere".to_owned()));
        assert_eq!(chat.reads(ANN, said), Ok("a plan".to_owned()));
        let his = |record: &&kith_wire::log::Record| record.sender == user(BOB);
        assert!(page.records.iter().filter(his).all(|record| !format!("{record:?}").contains("bobs")));
        let preview = kith_machine::channel::refs::ref_for(&chat.script.view, chat.group, user(ANN)).expect("readable").expect("a member").preview;
        assert!(!preview.contains("bob"), "{preview}");
    };
    check(&chat);
    assert!(chat.holds("bobs"), "no row was reached yet");
    chat.fire_all();
    check(&chat);
    assert!(!chat.holds("bobs") && !chat.holds("words of bob") && chat.holds("words of eve"));
    let found = kith_machine::invariant::everything(&chat.script.view, chat.script.view.rows.keys()).expect("readable");
    assert!(found.is_empty(), "{found:?}");
}
