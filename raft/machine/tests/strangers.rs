//! Those who come without a token: what they do under a key is done once, and who has lost a password learns nothing but by the app.

mod world;

use kith_machine::{
    effect::Effect,
    reply::Reply,
    user,
    view::{RowKey, StateView},
};
use kith_wire::{
    code::Code,
    id::{CallKey, DeviceId, Timestamp},
    limit,
    log::{Debt, MailedReset, UnderKey, UserChange},
    secret::Secret,
};
use world::{ANN, World, enter, entered, sign_up};

const REVOKED: Reply = Reply::Rejected(Code::Revoked);
const BAD_LOGIN: Reply = Reply::Rejected(Code::BadLogin);

fn call(number: u8, now: u64) -> CallKey {
    let mut bytes = [number; 16];
    bytes[..6].copy_from_slice(&now.to_be_bytes()[2..]);
    (bytes[6], bytes[8]) = (0x70, 0x80);
    CallKey::new(bytes)
}

fn keyed(key: CallKey, digest: u64, change: UserChange) -> UserChange {
    change.under(Some(UnderKey { key, digest }))
}

#[test]
fn what_is_proven_under_a_key_is_done_once_and_another_thing_under_it_is_refused() {
    let mut world = World::new();
    let (one, two) = (call(1, world.now), call(2, world.now));
    let log_in = |refresh| UserChange::LogIn { password_rev: Some(0), enter: enter(5, refresh) };
    assert_eq!(world.ann(keyed(one, 7, log_in(5))), BAD_LOGIN, "nobody is there");
    assert_eq!(world.ann(keyed(one, 7, sign_up("ann"))), entered(1, true), "what was refused has left nothing behind");
    assert_eq!(world.ann(keyed(one, 7, sign_up("ann"))), entered(1, false));
    assert_eq!(world.ann(keyed(one, 8, sign_up("ann"))), Reply::Rejected(Code::Conflict));
    assert_eq!(world.ann(keyed(one, 7, sign_up("zoe"))), Reply::Rejected(Code::IdTaken), "nor is another name held for it");

    assert_eq!(world.ann(keyed(two, 9, log_in(5))), entered(2, false));
    // It goes on, as a device does; a late retry is the same log-in, and takes nothing from it.
    assert_eq!(world.refresh(5, 5, 6), entered(2, false));
    assert_eq!(world.ann(keyed(two, 9, log_in(5))), entered(2, false));
    assert_eq!(world.refresh(5, 6, 7), entered(2, false));
    assert_eq!(world.ann(keyed(two, 10, log_in(5))), Reply::Rejected(Code::Conflict));
    world.ann(UserChange::EndDevices { devices: vec![DeviceId::new(5)], all_others: false });
    assert_eq!(world.ann(keyed(two, 9, log_in(5))), REVOKED, "what was ended stays ended");

    let three = call(3, world.now);
    let wrong = UserChange::ResetPassword { shown: [1; 32], password: Secret::new("hash 1"), recovery: [8; 32] };
    assert_eq!(world.ann(keyed(three, 1, wrong)), BAD_LOGIN);
    let reset = UserChange::ResetPassword { shown: [9; 32], password: Secret::new("hash 1"), recovery: [8; 32] };
    assert_eq!(world.ann(keyed(three, 2, reset.clone())), Reply::Done);
    let four = UserChange::SetPassword { password_rev: 1, password: Secret::new("hash 2"), keep: DeviceId::new(0) };
    assert_eq!(world.ann(four), Reply::Done);
    assert_eq!(world.ann(keyed(three, 2, reset)), Reply::Done, "as it was answered");
    assert_eq!(user::credential(&world.script.view, ANN).expect("readable").password, Some(Secret::new("hash 2")), "and not done again");

    // A day later the key is forgotten, and never new again.
    world.now += limit::CALL_KEPT_MS + 1;
    let fresh = call(4, world.now);
    assert_eq!(world.ann(keyed(fresh, 1, UserChange::LogIn { password_rev: Some(2), enter: enter(6, 9) })), entered(3, false));
    assert_eq!(world.ann(keyed(one, 7, sign_up("ann"))), Reply::Rejected(Code::TooOld));
    let nested = keyed(call(5, world.now), 1, keyed(call(6, world.now), 1, log_in(5)));
    assert_eq!(world.ann(nested), Reply::Rejected(Code::Invalid));
    assert_eq!(world.ann(keyed(call(7, world.now), 1, UserChange::SetAdmin { admin: true })), Reply::Rejected(Code::Invalid));
}

fn ask_reset(world: &mut World, number: u8) -> Reply {
    let until = Timestamp::new(world.now + limit::RESET_MAILED_MS);
    world.ann(UserChange::AskReset { nonce: [number; 16], code: [100 + number; 32], until })
}

fn mailed(world: &World) -> MailedReset {
    user::credential(&world.script.view, ANN).expect("readable").mailed.expect("asked for")
}

#[test]
fn a_lost_password_is_told_to_the_app_as_often_as_is_good_for_its_user_and_nobody_learns_whether() {
    let mut world = World::new();
    assert_eq!(ask_reset(&mut world, 1), Reply::Done, "nobody is there");
    assert!(world.script.view.get(&RowKey::Credential(ANN)).expect("readable").is_none() && world.owed().is_empty());
    world.sign_up();
    let told = |world: &World| world.owed().contains(&Debt::Reset);
    let pay = |world: &mut World| world.ann(UserChange::Paid { debt: Debt::Reset, version: u64::MAX });

    assert_eq!(ask_reset(&mut world, 1), Reply::Done);
    assert!(told(&world) && world.effects.contains(&Effect::Owes));
    pay(&mut world);
    assert_eq!(ask_reset(&mut world, 2), Reply::Done);
    assert!(!told(&world), "a moment later nothing is told");
    world.now += limit::RESET_ASK_EVERY_MS;
    ask_reset(&mut world, 3);
    assert!(told(&world) && mailed(&world).nonce == [1; 16], "the code that was sent is still good, and is sent again");
    pay(&mut world);
    world.now += limit::RESET_MAILED_MS / 2;
    ask_reset(&mut world, 4);
    assert_eq!(mailed(&world).nonce, [4; 16], "one that has little time left is not");
    pay(&mut world);
    let reset = |code: u8, to: &str| UserChange::ResetPassword { shown: [code; 32], password: Secret::new(to), recovery: [8; 32] };
    assert_eq!(world.ann(reset(101, "hash 1")), BAD_LOGIN, "the one before");
    assert_eq!(world.ann(reset(104, "hash 1")), Reply::Done);
    assert_eq!(world.ann(reset(104, "hash 2")), BAD_LOGIN, "once");

    // Three were heard: seven more that day.
    for number in 10..30 {
        world.now += limit::RESET_ASK_EVERY_MS;
        ask_reset(&mut world, number);
    }
    assert_eq!(mailed(&world).asks, limit::RESET_ASKS_MAX);
    pay(&mut world);
    world.now += 24 * 3_600_000;
    let late = mailed(&world);
    assert_eq!(world.ann(reset(100 + late.nonce[0], "hash 3")), BAD_LOGIN, "its time is over");
    ask_reset(&mut world, 40);
    assert_eq!((mailed(&world).asks, told(&world)), (1, true), "another day");
    pay(&mut world);
    world.now += limit::RESET_ASK_EVERY_MS;
    world.ann(UserChange::SetBanned { banned: true });
    ask_reset(&mut world, 41);
    assert!(!told(&world), "who is shut out is let in by nothing");
}
