//! Bots by example: whose they are, which of their tokens is good, and that they go with their owner.

use kith_machine::{
    invariant,
    reply::Reply,
    testing::Script,
    user,
    view::{RowKey, Scan, StateView},
};
use kith_wire::{
    code::Code,
    id::{DeviceId, UserId},
    log::{Command, Debt, EnterDevice, UserChange},
    secret::Secret,
};

const ANN: UserId = UserId::new(71);

/// A group.
struct World {
    script: Script,
}

impl World {
    fn apply(&mut self, command: Command) -> Reply {
        let reply = self.script.propose(command).replies[0].clone();
        let found = invariant::everything(&self.script.view, self.script.view.rows.keys()).expect("readable");
        assert!(found.is_empty(), "{found:?}");
        reply
    }
    fn ann(&mut self, change: UserChange) -> Reply {
        self.apply(change.of(ANN))
    }
}

fn enter(device: u64, refresh: u8) -> EnterDevice {
    EnterDevice { device: DeviceId::new(device), title: "bot".to_owned(), refresh: [refresh; 32] }
}

fn sign_up() -> UserChange {
    UserChange::SignUp {
        name: "ann".to_owned(),
        key: [7; 32],
        password: Some(Secret::new("hash")),
        recovery: Some([9; 32]),
        enter: Some(enter(1, 1)),
    }
}

#[test]
fn a_bot_is_its_owners_alone_and_of_its_tokens_the_last_one_is_good() {
    let mut world = World { script: Script::new() };
    world.ann(sign_up());
    let bot = UserId::new(77);
    let own = |bot, owned| UserChange::OwnBot { bot, owned };
    assert_eq!(world.ann(own(bot, true)), Reply::Done);
    let made = |key| UserChange::SignUpBot { name: "helper".to_owned(), key: [key; 32], owner: ANN, enter: enter(9, 1) };
    let is_in = |login| Reply::Entered { name: "helper".to_owned(), login, admin: false, created: login == 1 };
    assert_eq!(world.apply(made(5).of(bot)), is_in(1));
    assert_eq!(world.apply(made(6).of(bot)), Reply::Rejected(Code::IdTaken));

    let token = |by, refresh: Option<u8>| UserChange::BotToken { by, enter: refresh.map(|refresh| enter(9, refresh)) };
    assert_eq!(world.apply(token(UserId::new(78), Some(2)).of(bot)), Reply::Rejected(Code::NotAllowed));
    assert_eq!(world.apply(token(UserId::new(78), Some(2)).of(ANN)), Reply::Rejected(Code::NotAllowed), "nobody gives a person a token so");
    let second = Reply::Entered { name: "helper".to_owned(), login: 2, admin: false, created: false };
    assert_eq!(world.apply(token(ANN, Some(2)).of(bot)), second);
    assert_eq!(world.apply(token(ANN, Some(2)).of(bot)), second, "the same proposal again");
    let held = user::device(&world.script.view, bot, DeviceId::new(9)).expect("readable").expect("a device");
    assert_eq!((held.refresh, held.ended), (Some([2; 32]), None));
    assert_eq!(world.apply(token(UserId::new(0), None).of(bot)), Reply::Done, "an operator may");
    let held = user::device(&world.script.view, bot, DeviceId::new(9)).expect("readable").expect("a device");
    assert!(held.refresh.is_none() && held.ended.is_some());

    for more in 0..19 {
        assert_eq!(world.ann(own(UserId::new(100 + more), true)), Reply::Done);
    }
    assert_eq!(world.ann(own(UserId::new(200), true)), Reply::Rejected(Code::LimitReached));
    assert_eq!(world.apply(own(UserId::new(200), true).of(bot)), Reply::Rejected(Code::NotAllowed), "a bot owns nobody");
    assert_eq!(world.ann(UserChange::Erase { password_rev: 0 }), Reply::Done);
    let owed = world.script.view.scan(&Scan::Owed(None), false, 99).expect("readable");
    assert!(owed.iter().any(|(key, _)| *key == RowKey::Owed(ANN, Debt::Bot(bot))), "whose owner is gone goes too");
    assert_eq!(world.apply(UserChange::EraseBot { by: ANN }.of(bot)), Reply::Done);
}
