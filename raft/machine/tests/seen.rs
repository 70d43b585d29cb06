//! What is logged of presence: when a user was here, whether they hide, and who may look; and what others hear of it.

mod world;

use kith_machine::{
    effect::Effect,
    presence::{Facts, Rows},
    reply::Reply,
    user,
    view::StateView,
};
use kith_wire::{
    code::Code,
    id::{Timestamp, UserId},
    limit,
    log::{Command, UserChange},
};
use world::{ANN, World};

const BOB: UserId = UserId::new(72);

/// Ann, and nobody else.
fn world() -> World {
    let mut world = World::new();
    world.apply(Command::CreateUser { user: ANN, name: "ann".to_owned(), key: [7; 32] });
    world
}

fn register(world: &mut World) -> Reply {
    world.register(1, 0, world.now)
}

fn facts(world: &World) -> Facts {
    let view: &dyn StateView = &world.script.view;
    view.facts(ANN).expect("readable")
}

fn may_look(world: &World) -> bool {
    let view: &dyn StateView = &world.script.view;
    view.may_watch(ANN, BOB).expect("readable")
}

#[test]
fn a_session_says_that_the_user_is_here_and_again_after_ten_minutes_at_most() {
    let mut world = world();
    assert_eq!(facts(&world), Facts { exists: true, ..Facts::default() });
    assert!(matches!(register(&mut world), Reply::Rev(_)));
    assert_eq!(facts(&world), Facts { exists: true, here: true, seen: Timestamp::new(1_000_000), private: false });
    world.now += limit::SEEN_EVERY_MS - 1;
    register(&mut world);
    assert_eq!(facts(&world).seen, Timestamp::new(1_000_000), "not again so soon");
    world.now += 1;
    register(&mut world);
    assert_eq!(facts(&world).seen, Timestamp::new(world.now));
    // Who left is written down, and comes back with the next session.
    let left = Timestamp::new(world.now + 5);
    assert_eq!(world.ann(UserChange::Seen { here: false, at: left }), Reply::Done);
    assert_eq!((facts(&world).here, facts(&world).seen), (false, left));
    assert_eq!(world.ann(UserChange::Seen { here: true, at: Timestamp::new(left.get() - 1) }), Reply::Done);
    assert!(!facts(&world).here, "what is older comes too late");
    world.now += 10;
    register(&mut world);
    assert!(facts(&world).here);
}

#[test]
fn who_hides_is_told_of_once_and_stays_hidden() {
    let mut world = world();
    assert_eq!(world.ann(UserChange::SetPrivate { private: true }), Reply::Done);
    assert_eq!(world.effects, [Effect::Hides { user: ANN, private: true }]);
    assert!(facts(&world).private);
    world.ann(UserChange::SetPrivate { private: true });
    assert!(world.effects.is_empty());
    register(&mut world);
    assert!(facts(&world).private, "another session changes nothing");
    assert_eq!(world.apply(UserChange::SetPrivate { private: true }.of(BOB)), Reply::Rejected(Code::Revoked));
    assert_eq!(world.apply(UserChange::Seen { here: true, at: Timestamp::new(9) }.of(BOB)), Reply::Done, "of nobody nothing is kept");
    assert!(user::account(&world.script.view, BOB).expect("readable").is_none());
}

#[test]
fn those_may_look_who_both_want_each_other_and_are_not_blocked() {
    let mut world = world();
    let look = |allowed| Effect::MayLook { user: ANN, peer: BOB, allowed };
    world.ann(UserChange::AskContact { peer: BOB, asked: true });
    assert!(!world.effects.contains(&look(true)) && !may_look(&world));
    world.ann(UserChange::MirrorContact { peer: BOB, asked: true, version: 1 });
    assert!(world.effects.contains(&look(true)) && may_look(&world));
    world.ann(UserChange::MirrorContact { peer: BOB, asked: false, version: 2 });
    assert!(world.effects.contains(&look(false)) && !may_look(&world));
    world.ann(UserChange::MirrorContact { peer: BOB, asked: true, version: 3 });
    assert!(may_look(&world));
    world.ann(UserChange::Block { peer: BOB, blocked: true });
    assert!(world.effects.contains(&look(false)) && !may_look(&world));
    world.ann(UserChange::Block { peer: BOB, blocked: false });
    assert!(!may_look(&world), "ann has to ask again");
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::MayLook { .. })));
}
