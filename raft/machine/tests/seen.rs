//! What is logged of presence: when a user was here, whether they hide, and who may look; and what others hear of it.

use kith_machine::{
    effect::Effect,
    invariant,
    presence::{Facts, Rows},
    reply::Reply,
    testing::Script,
    user,
    view::StateView,
};
use kith_wire::{
    code::Code,
    id::{DeviceId, Timestamp, UserId},
    limit,
    log::{Batch, Command, UserChange},
};

const ANN: UserId = UserId::new(71);
const BOB: UserId = UserId::new(72);

struct World {
    script: Script,
    now: u64,
    index: u64,
    effects: Vec<Effect>,
}

impl World {
    /// Ann, and nobody else.
    fn new() -> Self {
        let script = Script::new();
        let index = script.index();
        let mut world = Self { script, now: 1_000_000, index, effects: Vec::new() };
        world.apply(Command::CreateUser { user: ANN, name: "ann".to_owned(), key: [7; 32] });
        world
    }
    fn apply(&mut self, command: Command) -> Reply {
        self.index += 1;
        let batch = Batch { now: Timestamp::new(self.now), items: vec![kith_machine::item(command)] };
        let mut applied = self.script.view.apply(self.script.group(), self.index, batch).expect("applies");
        self.effects = applied.effects;
        let found = invariant::everything(&self.script.view, self.script.view.rows.keys()).expect("readable");
        assert!(found.is_empty(), "{found:?}");
        applied.replies.remove(0)
    }
    fn ann(&mut self, change: UserChange) -> Reply {
        self.apply(change.of(ANN))
    }
    fn register(&mut self) -> Reply {
        self.apply(Command::RegisterDevice { user: ANN, device: DeviceId::new(1), login: 0, issued: Timestamp::new(self.now) })
    }
    fn facts(&self) -> Facts {
        let view: &dyn StateView = &self.script.view;
        view.facts(ANN).expect("readable")
    }
    fn may_look(&self) -> bool {
        let view: &dyn StateView = &self.script.view;
        view.may_watch(ANN, BOB).expect("readable")
    }
}

#[test]
fn a_session_says_that_the_user_is_here_and_again_after_ten_minutes_at_most() {
    let mut world = World::new();
    assert_eq!(world.facts(), Facts { exists: true, ..Facts::default() });
    assert!(matches!(world.register(), Reply::Rev(_)));
    assert_eq!(world.facts(), Facts { exists: true, here: true, seen: Timestamp::new(1_000_000), private: false });
    world.now += limit::SEEN_EVERY_MS - 1;
    world.register();
    assert_eq!(world.facts().seen, Timestamp::new(1_000_000), "not again so soon");
    world.now += 1;
    world.register();
    assert_eq!(world.facts().seen, Timestamp::new(world.now));
    // Who left is written down, and comes back with the next session.
    let left = Timestamp::new(world.now + 5);
    assert_eq!(world.ann(UserChange::Seen { here: false, at: left }), Reply::Done);
    assert_eq!((world.facts().here, world.facts().seen), (false, left));
    assert_eq!(world.ann(UserChange::Seen { here: true, at: Timestamp::new(left.get() - 1) }), Reply::Done);
    assert!(!world.facts().here, "what is older comes too late");
    world.now += 10;
    world.register();
    assert!(world.facts().here);
}

#[test]
fn who_hides_is_told_of_once_and_stays_hidden() {
    let mut world = World::new();
    assert_eq!(world.ann(UserChange::SetPrivate { private: true }), Reply::Done);
    assert_eq!(world.effects, [Effect::Hides { user: ANN, private: true }]);
    assert!(world.facts().private);
    world.ann(UserChange::SetPrivate { private: true });
    assert!(world.effects.is_empty());
    world.register();
    assert!(world.facts().private, "another session changes nothing");
    assert_eq!(world.apply(UserChange::SetPrivate { private: true }.of(BOB)), Reply::Rejected(Code::Revoked));
    assert_eq!(world.apply(UserChange::Seen { here: true, at: Timestamp::new(9) }.of(BOB)), Reply::Done, "of nobody nothing is kept");
    assert!(user::account(&world.script.view, BOB).expect("readable").is_none());
}

#[test]
fn those_may_look_who_both_want_each_other_and_are_not_blocked() {
    let mut world = World::new();
    let look = |allowed| Effect::MayLook { user: ANN, peer: BOB, allowed };
    world.ann(UserChange::AskContact { peer: BOB, asked: true });
    assert!(!world.effects.contains(&look(true)) && !world.may_look());
    world.ann(UserChange::MirrorContact { peer: BOB, asked: true, version: 1 });
    assert!(world.effects.contains(&look(true)) && world.may_look());
    world.ann(UserChange::MirrorContact { peer: BOB, asked: false, version: 2 });
    assert!(world.effects.contains(&look(false)) && !world.may_look());
    world.ann(UserChange::MirrorContact { peer: BOB, asked: true, version: 3 });
    assert!(world.may_look());
    world.ann(UserChange::Block { peer: BOB, blocked: true });
    assert!(world.effects.contains(&look(false)) && !world.may_look());
    world.ann(UserChange::Block { peer: BOB, blocked: false });
    assert!(!world.may_look(), "ann has to ask again");
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::MayLook { .. })));
}
