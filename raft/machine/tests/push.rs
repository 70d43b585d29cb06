//! Pushes: what is due, what was sent, what is read elsewhere, and what is decided of it.

use std::time::Duration;

use kith_machine::{
    effect::Effect,
    invariant,
    push::{Beside, HERE_AGAIN, LOOK_AGAIN, Near, STEADY, Verdict, decide},
    reply::Reply,
    testing::Script,
    user::push::{badge, due, is_pushed_to, pushes, read_due},
};
use kith_wire::{
    code::Code,
    id::{ChannelId, DeviceId, Incarnation, Seq, Timestamp, UserId},
    limit,
    log::{Batch, Command, Position, Preference, PushChange, PushSent, PushSettled, PushTarget, QuietHours, Ref, UserChange},
    secret::Secret,
};
use proptest::prelude::*;

const ANN: UserId = UserId::new(71);
const BOB: UserId = UserId::new(72);
const PHONE: DeviceId = DeviceId::new(1);
const LAPTOP: DeviceId = DeviceId::new(2);
const FAR: Duration = Duration::from_secs(3_600);

struct World {
    script: Script,
    now: u64,
    index: u64,
    effects: Vec<Effect>,
}

fn channel() -> ChannelId {
    ChannelId::direct(ANN, BOB)
}
fn fcm(text: &str) -> PushTarget {
    PushTarget::Fcm { token: Secret::new(text.repeat(20)) }
}

impl World {
    /// Ann with a phone and a laptop, neither of which is pushed to.
    fn new() -> Self {
        let script = Script::new();
        let index = script.index();
        let mut world = Self { script, now: 20_000 * 86_400_000, index, effects: Vec::new() };
        world.apply(Command::CreateUser { user: ANN, name: "ann".to_owned(), key: [7; 32] });
        for device in [PHONE, LAPTOP] {
            world.apply(Command::RegisterDevice { user: ANN, device, login: 0, issued: Timestamp::new(world.now) });
        }
        world
    }
    /// Her phone is.
    fn with_phone() -> Self {
        let mut world = Self::new();
        assert_eq!(world.push(PushChange::Register { device: PHONE, target: fcm("p") }), Reply::Done);
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
    fn push(&mut self, change: PushChange) -> Reply {
        self.apply(UserChange::Push(change).of(ANN))
    }
    /// Bob's texts up to there; those of `mentions` mention her.
    fn grow(&mut self, seq: u64, mentions: &[u64]) {
        let news = Ref {
            channel: channel(),
            incarnation: Incarnation::default(),
            head: Position { seq: Seq::new(seq), cnt: seq },
            head_ts: Timestamp::new(self.now),
            member_seq: Seq::ZERO,
            join: Position::default(),
            left: None,
            own: Position::default(),
            mentions: mentions.iter().map(|seq| Seq::new(*seq)).collect(),
            title: String::new(),
            preview: String::new(),
            head_sender: BOB,
        };
        assert!(matches!(self.apply(Command::MergeRefs { user: ANN, refs: vec![news] }), Reply::Merged { .. }));
    }
    fn read(&mut self, seq: u64) {
        let read = Position { seq: Seq::new(seq), cnt: seq };
        assert!(matches!(self.apply(Command::MarkRead { user: ANN, channel: channel(), read }), Reply::Merged { .. }));
    }
    fn due(&self) -> Vec<(UserId, ChannelId)> {
        due(&self.script.view, None, 99).expect("readable")
    }
    fn sent(&mut self, device: DeviceId, seq: u64) {
        self.told(device, seq, false);
    }
    fn told(&mut self, device: DeviceId, seq: u64, is_read: bool) {
        let at = Timestamp::new(self.now);
        let sent = vec![PushSent { device, seq: Seq::new(seq), at, is_read }];
        assert_eq!(self.push(PushChange::Sent { channel: channel(), sent }), Reply::Done);
    }
    fn settled(&mut self, seq: u64) {
        self.settled_as(seq, false);
    }
    fn settled_as(&mut self, seq: u64, is_read: bool) {
        let channels = vec![PushSettled { channel: channel(), seq: Seq::new(seq), is_read }];
        assert_eq!(self.push(PushChange::Settled { channels }), Reply::Done);
    }
    fn decide_with(&self, beside: Beside) -> Option<Verdict> {
        let due = read_due(&self.script.view, ANN, channel()).expect("readable")?;
        let row = pushes(&self.script.view, ANN).expect("readable");
        Some(decide(&due, &row.devices[0], row.quiet, &beside, Timestamp::new(self.now)))
    }
    fn decide(&self, near: Near) -> Option<Verdict> {
        self.decide_with(Beside { near, ..BESIDE })
    }
    fn ms(&self, later: u64) -> Timestamp {
        Timestamp::new(self.now + later)
    }
}

const BESIDE: Beside = Beside { near: Near::Gone(FAR), confirmed: None, not_before: None, steady: Duration::ZERO, grace: Duration::from_secs(45) };
const SEND: Option<Verdict> = Some(Verdict::Send { is_mention: false });

#[test]
fn nothing_is_noted_for_whom_nothing_is_pushed_to() {
    let mut world = World::new();
    world.grow(1, &[1]);
    assert!(world.due().is_empty() && !world.effects.iter().any(|effect| matches!(effect, Effect::Pushable { .. })));
}

#[test]
fn a_device_is_registered_replaced_and_ended() {
    let mut world = World::with_phone();
    let devices = |world: &World| pushes(&world.script.view, ANN).expect("readable").devices.iter().map(|known| known.device).collect::<Vec<_>>();
    assert_eq!(world.push(PushChange::Register { device: DeviceId::new(9), target: fcm("x") }), Reply::Rejected(Code::NotFound));
    assert_eq!(world.push(PushChange::Register { device: LAPTOP, target: fcm("x".repeat(200).as_str()) }), Reply::Rejected(Code::TooLarge));
    // The same token on another device: the app was installed anew.
    world.push(PushChange::Register { device: LAPTOP, target: fcm("p") });
    assert_eq!(devices(&world), [LAPTOP]);
    world.push(PushChange::Register { device: PHONE, target: fcm("q") });
    assert_eq!(devices(&world), [PHONE, LAPTOP]);
    // A provider that did not know it before it was registered anew says nothing of the new one.
    let before = Timestamp::new(world.now - 1);
    world.push(PushChange::Unregister { device: PHONE, registered: Some(before) });
    assert_eq!(devices(&world), [PHONE, LAPTOP]);
    let (device, registered) = (PHONE, Some(Timestamp::new(world.now)));
    world.push(PushChange::Unregister { device, registered });
    assert_eq!(devices(&world), [LAPTOP]);
    assert!(is_pushed_to(&world.script.view, ANN, LAPTOP).expect("readable"));
    world.apply(UserChange::EndDevices { devices: vec![LAPTOP], all_others: false }.of(ANN));
    assert!(devices(&world).is_empty(), "who was logged out is not pushed to");
    assert_eq!(world.push(PushChange::Register { device: LAPTOP, target: fcm("l") }), Reply::Rejected(Code::NotFound));
}

#[test]
fn an_offline_device_is_pushed_to_once_after_eight_seconds() {
    let mut world = World::with_phone();
    world.grow(1, &[]);
    assert_eq!(world.due(), [(ANN, channel())]);
    assert!(world.effects.contains(&Effect::Pushable { user: ANN, channel: channel() }));
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Wait(world.ms(limit::PUSH_WAIT_MS))));
    world.now += limit::PUSH_WAIT_MS;
    assert_eq!(world.decide(Near::Gone(FAR)), SEND);
    assert_eq!(badge(&world.script.view, ANN, Timestamp::new(world.now)).expect("readable"), 1);
    world.sent(PHONE, 1);
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Settled));
    world.settled(1);
    assert!(world.due().is_empty());
}

#[test]
fn what_comes_after_a_push_waits_for_a_minute_and_is_one_push() {
    let mut world = World::with_phone();
    world.grow(1, &[]);
    world.now += limit::PUSH_WAIT_MS;
    world.sent(PHONE, 1);
    let sent_at = world.now;
    world.grow(2, &[]);
    // Settled as it stood before that: it stays due.
    world.settled(1);
    assert_eq!(world.due().len(), 1);
    world.now += limit::PUSH_WAIT_MS;
    world.grow(3, &[3]);
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Wait(Timestamp::new(sent_at + limit::PUSH_EVERY_MS))));
    world.now = sent_at + limit::PUSH_EVERY_MS;
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Send { is_mention: true }));
}

#[test]
fn a_read_on_another_device_cancels_and_does_not_open_the_minute() {
    let mut world = World::with_phone();
    world.grow(1, &[]);
    world.now += limit::PUSH_WAIT_MS;
    world.sent(PHONE, 1);
    world.read(1);
    world.grow(2, &[]);
    world.now += limit::PUSH_WAIT_MS;
    assert!(matches!(world.decide(Near::Gone(FAR)), Some(Verdict::Wait(_))), "within a minute of the last one");
    world.read(2);
    world.told(PHONE, 2, true);
    world.settled_as(2, true);
    assert_eq!(world.decide(Near::Gone(FAR)), None);
    world.now += limit::PUSH_EVERY_MS;
    world.grow(3, &[]);
    world.read(3);
    world.grow(4, &[]);
    world.now += limit::PUSH_WAIT_MS;
    assert_eq!(world.decide(Near::Gone(FAR)), SEND, "the old push is forgotten");
}

#[test]
fn what_a_device_shows_is_taken_back_once_after_it_was_read_on_another() {
    let mut world = World::with_phone();
    world.grow(1, &[]);
    world.read(1);
    assert!(world.due().is_empty(), "nothing was shown");
    world.grow(2, &[]);
    world.now += limit::PUSH_WAIT_MS;
    world.sent(PHONE, 2);
    let minute = Timestamp::new(world.now + limit::PUSH_EVERY_MS);
    world.now += 1_000;
    world.read(2);
    assert_eq!(world.due(), [(ANN, channel())]);
    assert!(world.effects.contains(&Effect::Pushable { user: ANN, channel: channel() }));
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Wait(minute)), "it is a push as any other");
    // Settled as it stood before it was read: it stays due.
    world.settled(2);
    assert_eq!(world.due().len(), 1);
    world.now = minute.get();
    assert_eq!(world.push(PushChange::Quiet { quiet: Some(QuietHours { from: 0, to: 1_439 }) }), Reply::Done);
    assert_eq!(world.decide(Near::Here(Duration::ZERO)), Some(Verdict::Settled), "who is here knows");
    assert!(matches!(world.decide(Near::Lost(Duration::ZERO)), Some(Verdict::Wait(_))));
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::TakeBack), "nobody hears it");
    world.told(PHONE, 2, true);
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Settled), "once");
    world.settled_as(2, true);
    assert!(world.due().is_empty());
    // What comes within the minute waits for it.
    world.push(PushChange::Quiet { quiet: None });
    world.grow(3, &[]);
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Wait(world.ms(limit::PUSH_EVERY_MS))));
    world.read(3);
    assert!(world.due().is_empty(), "nothing is shown any more");
}

#[test]
fn what_was_read_while_its_push_was_under_way_is_taken_back() {
    let mut world = World::with_phone();
    world.grow(1, &[]);
    world.now += limit::PUSH_WAIT_MS;
    world.read(1);
    assert!(world.due().is_empty());
    world.sent(PHONE, 1);
    assert_eq!(world.due().len(), 1);
    world.now += limit::PUSH_EVERY_MS;
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::TakeBack));
}

#[test]
fn a_take_back_gives_way_to_news_and_is_given_up_after_a_day_or_where_the_device_is_here() {
    let mut world = World::with_phone();
    let shown_and_read = |world: &mut World, seq| {
        world.grow(seq, &[]);
        world.now += limit::PUSH_WAIT_MS;
        world.sent(PHONE, seq);
        world.now += limit::PUSH_EVERY_MS;
        world.read(seq);
    };
    shown_and_read(&mut world, 1);
    world.grow(2, &[]);
    world.settled_as(1, true);
    assert_eq!(world.due().len(), 1, "it has grown since");
    world.now += limit::PUSH_WAIT_MS;
    assert_eq!(world.decide(Near::Gone(FAR)), SEND);
    world.sent(PHONE, 2);
    world.read(2);
    world.now += limit::PUSH_KEPT_MS;
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Settled));
    world.settled_as(2, true);
    // What was settled so is not shown any more, as far as this goes.
    world.grow(3, &[]);
    world.read(3);
    assert!(world.due().is_empty());
}

#[test]
fn browsers_are_not_pushed_to_without_something_to_show() {
    let mut world = World::new();
    let secret = |text: &str| Secret::new(text.to_owned());
    let target = PushTarget::WebPush { endpoint: secret("https://push.example/x"), p256dh: secret("p"), auth: secret("a"), server: None };
    world.push(PushChange::Register { device: PHONE, target });
    world.grow(1, &[]);
    world.now += limit::PUSH_WAIT_MS;
    world.sent(PHONE, 1);
    world.now += limit::PUSH_EVERY_MS;
    world.read(1);
    assert!(world.due().is_empty());
}

#[test]
fn who_is_near_is_not_pushed_to() {
    let mut world = World::with_phone();
    world.grow(1, &[]);
    world.now += limit::PUSH_WAIT_MS;
    let ms = |wait: Duration| u64::try_from(wait.as_millis()).expect("short");
    assert_eq!(world.decide(Near::Unknown), Some(Verdict::Wait(world.ms(ms(LOOK_AGAIN)))));
    assert_eq!(world.decide(Near::Here(Duration::from_secs(3))), Some(Verdict::Wait(world.ms(ms(HERE_AGAIN)))));
    assert_eq!(world.decide(Near::Gone(Duration::from_secs(3))), Some(Verdict::Wait(world.ms(5_000))), "it may come back");
    assert_eq!(world.decide(Near::Lost(Duration::from_secs(30))), Some(Verdict::Wait(world.ms(15_000))), "its edge was lost");
    assert_eq!(world.decide(Near::Lost(Duration::from_secs(45))), SEND);
    let confirmed = Beside { near: Near::Here(Duration::from_secs(3)), confirmed: Some(Seq::new(1)), ..BESIDE };
    assert_eq!(world.decide_with(confirmed), Some(Verdict::Settled));
    // Whose session outlives what was said has it, also where nobody has heard it say so.
    world.now += 90_000;
    let steady = Beside { near: Near::Here(STEADY), steady: STEADY, ..BESIDE };
    assert_eq!(world.decide_with(steady), Some(Verdict::Settled));
    assert!(matches!(world.decide_with(Beside { steady: Duration::ZERO, ..steady }), Some(Verdict::Wait(_))));
}

#[test]
fn mute_and_quiet_hours_hold_for_all_but_mentions() {
    let mut world = World::with_phone();
    world.grow(1, &[]);
    world.now += limit::PUSH_WAIT_MS;
    let mute = |until| UserChange::Prefer { channel: channel(), preference: Preference::Mute { until } }.of(ANN);
    world.apply(mute(Some(Timestamp::new(u64::MAX))));
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Settled));
    world.grow(2, &[2]);
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Send { is_mention: true }));
    world.apply(mute(None));
    world.sent(PHONE, 2);
    world.settled(2);
    world.now = (world.now / 86_400_000 + 1) * 86_400_000;
    world.grow(3, &[2]);
    world.now += limit::PUSH_WAIT_MS;
    assert_eq!(world.push(PushChange::Quiet { quiet: Some(QuietHours { from: 1_320, to: 420 }) }), Reply::Done);
    let seven = world.now / 86_400_000 * 86_400_000 + 420 * 60_000;
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Wait(Timestamp::new(seven))), "the mention was pushed already");
    world.grow(4, &[4]);
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Send { is_mention: true }));
    assert_eq!(world.push(PushChange::Quiet { quiet: Some(QuietHours { from: 1, to: 1 }) }), Reply::Rejected(Code::Invalid));
}

#[test]
fn a_push_is_given_up_after_a_day_and_a_device_after_nine_months() {
    let mut world = World::with_phone();
    world.grow(1, &[]);
    world.now += limit::PUSH_KEPT_MS;
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Settled));
    world.now += limit::PUSH_REGISTERED_MS;
    assert_eq!(world.decide(Near::Gone(FAR)), Some(Verdict::Expired));
    let later = Timestamp::new(world.now + 9);
    let mut world = World::with_phone();
    world.grow(1, &[]);
    world.now += limit::PUSH_WAIT_MS;
    assert_eq!(world.decide_with(Beside { not_before: Some(later), ..BESIDE }), Some(Verdict::Wait(later)), "its provider asked for that");
}

#[test]
fn a_failure_is_noted_until_the_device_is_reached() {
    let mut world = World::with_phone();
    let registered = Timestamp::new(world.now);
    let failed = || PushChange::Failed { device: PHONE, registered, reason: "x".repeat(999) };
    world.push(failed());
    world.push(failed());
    let failure = |world: &World| pushes(&world.script.view, ANN).expect("readable").devices[0].failure.clone();
    let noted = failure(&world).expect("noted");
    assert_eq!((noted.count, noted.reason.len()), (2, limit::PUSH_REASON_CHARS_MAX));
    world.push(PushChange::Failed { device: PHONE, registered: Timestamp::new(1), reason: String::new() });
    assert_eq!(failure(&world), Some(noted), "of an older registration nothing is noted");
    world.grow(1, &[]);
    world.sent(PHONE, 1);
    assert_eq!(failure(&world), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    /// A device that is away for an hour, in a conversation of any busyness, read elsewhere now and then, whose leader looks every two seconds.
    #[test]
    fn no_more_is_pushed_than_once_a_minute_and_nothing_is_lost(
        texts in prop::collection::btree_set(0_u64..3_600, 1..60), reads in prop::collection::btree_set(0_u64..3_600, 0..6)
    ) {
        let mut world = World::with_phone();
        let (begun, mut seq, mut read, mut pushed) = (world.now, 0, 0, Vec::<(u64, u64, bool)>::new());
        for second in 0..3_800 {
            world.now = begun + second * 1_000;
            if texts.contains(&second) {
                seq += 1;
                world.grow(seq, &[]);
            }
            if seq > 0 && reads.contains(&second) {
                read = seq;
                world.read(seq);
            }
            if second % 2 == 0 {
                match world.decide(Near::Gone(FAR)) {
                    Some(Verdict::Send { .. }) => {
                        prop_assert!(seq > read, "what was read is not pushed");
                        pushed.push((world.now, seq, false));
                        world.sent(PHONE, seq);
                    }
                    Some(Verdict::TakeBack) => {
                        prop_assert!(seq == read, "what is new is not taken back");
                        prop_assert!(pushed.last().is_some_and(|(_, _, is_read)| !is_read), "nothing is shown");
                        pushed.push((world.now, seq, true));
                        world.told(PHONE, seq, true);
                    }
                    Some(Verdict::Settled) => world.settled_as(seq, seq == read),
                    Some(Verdict::Wait(until)) => prop_assert!(until.get() > world.now),
                    Some(Verdict::Expired) | None => {}
                }
            }
        }
        for pair in pushed.windows(2) {
            prop_assert!(pair[1].0 >= pair[0].0 + limit::PUSH_EVERY_MS && (pair[1].1, pair[1].2) > (pair[0].1, pair[0].2), "{pushed:?}");
        }
        prop_assert!(seq == read || pushed.last().is_some_and(|(_, last, is_read)| *last == seq && !is_read), "lost: {seq} {read} {pushed:?}");
        prop_assert!(seq != read || pushed.last().is_none_or(|(_, _, is_read)| *is_read), "still shown: {seq} {read} {pushed:?}");
        prop_assert!(world.due().is_empty());
    }
}
