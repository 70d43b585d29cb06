//! Accounts by example: log-ins, refresh tokens, passwords, names; and what holds whatever comes.

mod world;

use std::collections::BTreeMap;

use kith_machine::{
    effect::Effect,
    name::find,
    reply::Reply,
    testing::Script,
    user,
    view::{RowKey, row},
};
use kith_wire::{
    code::Code,
    id::{ChannelId, DeviceId, Incarnation, Seq, Timestamp, UserId, UserRev},
    limit,
    log::{Command, Debt, IndexRow, Position, Preference, ProfileField, Ref, SavedDraft, UserChange},
    secret::Secret,
};
use proptest::prelude::*;
use world::{ANN, World, enter, entered, sign_up};

const REVOKED: Reply = Reply::Rejected(Code::Revoked);
const BAD_LOGIN: Reply = Reply::Rejected(Code::BadLogin);

#[test]
fn a_sign_up_whose_answer_was_lost_is_the_same_user_and_another_name_is_not() {
    let mut world = World::new();
    assert_eq!(world.sign_up(), entered(1, true));
    assert_eq!(world.owed(), [Debt::Name("ann".to_owned()), Debt::Search], "should nobody be left to confirm the name");
    assert_eq!(world.sign_up(), entered(1, false), "the same secret is the same log-in");
    assert_eq!(world.ann(sign_up("anna")), Reply::Rejected(Code::IdTaken));
    assert_eq!(user::devices(&world.script.view, ANN).expect("readable").len(), 1);
}

#[test]
fn a_token_opens_sessions_while_its_log_in_is_that_of_the_device() {
    let mut world = World::new();
    world.sign_up();
    assert!(matches!(world.register(1, 1, 5), Reply::Rev(_)));
    assert_eq!(world.register(1, 2, 5), REVOKED, "of a log-in that never was");
    assert_eq!(world.register(2, 1, 5), REVOKED, "of another device");
    assert!(matches!(world.register(3, 0, 5), Reply::Rev(_)), "a token that is bound to none");
    world.ann(UserChange::EndDevices { devices: vec![DeviceId::new(1)], all_others: false });
    assert_eq!(world.effects, [Effect::DevicesEnded { user: ANN, devices: vec![DeviceId::new(1)], all_but: false }]);
    assert_eq!(world.register(1, 1, 5), REVOKED);
    assert_eq!(world.refresh(1, 1, 2), REVOKED);
    assert_eq!(world.ann(UserChange::LogIn { password_rev: Some(0), enter: enter(1, 4) }), entered(2, false), "by the password it comes back");
    assert!(matches!(world.register(1, 2, 5), Reply::Rev(_)));
    assert_eq!(world.register(1, 1, 5), REVOKED, "its old tokens do not");
    let unknown = UserChange::EndDevices { devices: vec![DeviceId::new(99)], all_others: false };
    assert_eq!(world.ann(unknown), Reply::Rejected(Code::NotFound));
}

#[test]
fn ending_all_others_ends_tokens_that_are_bound_to_no_device() {
    let mut world = World::new();
    world.sign_up();
    world.register(3, 0, 5);
    world.ann(UserChange::EndDevices { devices: vec![DeviceId::new(1)], all_others: true });
    assert_eq!(world.register(3, 0, 5), REVOKED);
    assert_eq!(world.register(4, 0, world.now), REVOKED, "a new device does not help it");
    assert!(matches!(world.register(4, 0, world.now + 1), Reply::Rev(_)), "a newer token does");
    assert!(matches!(world.register(1, 1, 5), Reply::Rev(_)));
}

#[test]
fn of_one_refresh_token_no_two_successors_stay_in_use() {
    let mut world = World::new();
    world.sign_up();
    assert_eq!(world.refresh(1, 1, 2), entered(1, false));
    assert_eq!(world.refresh(1, 1, 2), entered(1, false), "proposed twice");
    world.now += limit::REFRESH_IDLE_MAX_MS / 2;
    assert_eq!(world.refresh(1, 1, 2), entered(1, false), "its answer was lost, and the device was off for long");
    assert_eq!(world.refresh(1, 1, 3), entered(1, false), "and had forgotten that it asked");
    assert_eq!(world.refresh(1, 3, 5), entered(1, false));
    assert_eq!(world.refresh(1, 200, 6), Reply::Rejected(Code::LoginNeeded), "what nobody ever had changes nothing");
    assert_eq!(world.refresh(1, 1, 6), REVOKED, "an old copy is in other hands");
    assert_eq!(world.effects, [Effect::DevicesEnded { user: ANN, devices: vec![DeviceId::new(1)], all_but: false }]);
    assert_eq!(world.refresh(1, 5, 6), REVOKED, "and so both are out");
}

#[test]
fn of_two_who_go_on_with_one_refresh_token_neither_does() {
    let mut world = World::new();
    world.sign_up();
    world.refresh(1, 1, 2);
    assert_eq!(world.refresh(1, 1, 3), entered(1, false), "a copy that is used in other hands");
    assert_eq!(world.refresh(1, 2, 4), REVOKED, "is noticed when the owner goes on");
    assert_eq!(world.refresh(1, 3, 4), REVOKED);
}

#[test]
fn tries_that_arrive_late_take_nothing_from_the_one_that_was_answered() {
    let mut world = World::new();
    world.sign_up();
    // Twice the same try: the answer of either is good, whichever the device has.
    assert_eq!(world.refresh(1, 1, 2), entered(1, false));
    assert_eq!(world.refresh(1, 2, 3), entered(1, false));
    assert_eq!(world.refresh(1, 2, 3), entered(1, false), "late");
    assert_eq!(world.refresh(1, 1, 2), Reply::Rejected(Code::LoginNeeded), "very late: nobody waits for it");
    assert_eq!(world.refresh(1, 3, 4), entered(1, false));
}

#[test]
fn an_idle_device_logs_in_again_after_90_days() {
    let mut world = World::new();
    world.sign_up();
    world.ann(UserChange::LogIn { password_rev: None, enter: enter(1, 5) });
    world.now += limit::REFRESH_IDLE_MAX_MS + 1;
    assert_eq!(world.refresh(1, 5, 6), Reply::Rejected(Code::LoginNeeded));
}

#[test]
fn a_password_is_changed_once_and_what_was_checked_against_the_old_one_is_refused() {
    let mut world = World::new();
    world.sign_up();
    world.ann(UserChange::LogIn { password_rev: Some(0), enter: enter(2, 2) });
    let change = |hash: &str| UserChange::SetPassword { password_rev: 0, password: Secret::new(hash), keep: DeviceId::new(1) };
    assert_eq!(world.ann(change("hash 1")), Reply::Done);
    assert_eq!(world.ann(change("hash 1")), Reply::Done, "proposed twice");
    assert_eq!(world.ann(change("hash 2")), BAD_LOGIN);
    assert_eq!(world.ann(UserChange::LogIn { password_rev: Some(0), enter: enter(5, 5) }), BAD_LOGIN, "checked before, applied after");
    assert_eq!(world.register(2, 2, 5), REVOKED);
    assert!(matches!(world.register(1, 1, 5), Reply::Rev(_)), "who changed it stays");
    assert_eq!(world.ann(UserChange::SetRecovery { password_rev: 0, recovery: [1; 32] }), BAD_LOGIN);
}

#[test]
fn a_code_works_once_and_an_issued_one_for_its_time() {
    let mut world = World::new();
    world.sign_up();
    let reset = |shown: u8, hash: &str, next: u8| UserChange::ResetPassword { shown: [shown; 32], password: Secret::new(hash), recovery: [next; 32] };
    assert_eq!(world.ann(reset(8, "hash 1", 10)), BAD_LOGIN);
    assert_eq!(world.ann(reset(9, "hash 1", 10)), Reply::Done);
    assert_eq!(world.register(1, 1, 5), REVOKED, "all devices are out");
    assert_eq!(world.ann(reset(9, "hash 2", 11)), BAD_LOGIN, "spent");
    assert_eq!(world.ann(reset(10, "hash 2", 11)), Reply::Done, "the new one");
    let until = Timestamp::new(world.now + 10);
    world.ann(UserChange::IssueReset { code: [20; 32], until });
    world.now += 10;
    assert_eq!(world.ann(reset(20, "hash 3", 12)), BAD_LOGIN, "too late");
    let until = Timestamp::new(world.now + 10);
    world.ann(UserChange::IssueReset { code: [21; 32], until });
    assert_eq!(world.ann(reset(21, "hash 3", 12)), Reply::Done);
    assert_eq!(world.ann(reset(21, "hash 4", 13)), BAD_LOGIN);
}

#[test]
fn a_name_that_was_left_is_held_back_and_only_its_owner_may_return() {
    let mut world = World::new();
    let bob = Script::user(1);
    let ann = || "ann".to_owned();
    let reserve = |world: &mut World, user: UserId| match world.apply(Command::ReserveName { name: ann(), user }) {
        Reply::Reserved { since } => Ok(since),
        refused => Err(refused),
    };
    reserve(&mut world, ANN).expect("free");
    world.sign_up();
    world.apply(Command::ConfirmName { name: ann(), user: ANN });
    assert_eq!(world.ann(UserChange::Rename { name: "zoe".to_owned(), renames: 1 }), Reply::Rejected(Code::Busy), "another rename came between");
    assert_eq!(world.ann(UserChange::Rename { name: "zoe".to_owned(), renames: 0 }), Reply::Done);
    assert_eq!(world.owed(), [Debt::Name(ann()), Debt::Name("zoe".to_owned()), Debt::Search]);
    assert_eq!(world.ann(UserChange::Rename { name: "eve".to_owned(), renames: 1 }), Reply::Rejected(Code::TooMany), "once a day");
    let until = Timestamp::new(world.now + limit::NAME_HOLD_MS);
    world.apply(Command::HoldName { name: ann(), user: ANN, until });
    assert_eq!(reserve(&mut world, bob), Err(Reply::Rejected(Code::NameTaken)));
    assert!(find(&world.script.view, "ann").expect("readable").is_some_and(|holding| holding.held_back && !holding.confirmed));
    let since = reserve(&mut world, ANN).expect("hers still");
    assert_eq!(world.apply(Command::ReleaseName { name: ann(), user: ANN, since }), Reply::Done);
    assert_eq!(reserve(&mut world, bob), Err(Reply::Rejected(Code::NameTaken)), "what came to nothing frees nothing");
    world.now += limit::NAME_HOLD_MS;
    assert!(reserve(&mut world, bob).is_ok());
    assert_eq!(world.apply(Command::ReleaseName { name: ann(), user: ANN, since }), Reply::Done, "late");
    assert_eq!(world.apply(Command::HoldName { name: ann(), user: ANN, until }), Reply::Done);
    assert_eq!(find(&world.script.view, "ann").expect("readable").map(|holding| holding.user), Some(bob), "a late hold takes nothing away");
}

#[test]
fn a_name_that_was_settled_against_is_never_given_by_what_was_under_way() {
    let mut world = World::new();
    world.sign_up();
    assert_eq!(world.ann(UserChange::SettleName { name: "ann".to_owned() }), Reply::Account { created: false });
    assert_eq!(world.ann(UserChange::SettleName { name: "zoe".to_owned() }), Reply::Done);
    assert_eq!(world.ann(UserChange::Rename { name: "zoe".to_owned(), renames: 0 }), Reply::Rejected(Code::Busy));
    let never = UserId::new(72);
    assert_eq!(world.apply(UserChange::SettleName { name: "max".to_owned() }.of(never)), Reply::Done);
    assert_eq!(world.apply(sign_up("max").of(never)), Reply::Rejected(Code::IdTaken));
}

#[test]
fn a_debt_that_changed_while_it_was_paid_stays() {
    let mut world = World::new();
    world.sign_up();
    let debt = || Debt::Name("ann".to_owned());
    world.ann(UserChange::Paid { debt: debt(), version: 0 });
    assert_eq!(world.owed(), [debt(), Debt::Search]);
    world.ann(UserChange::Paid { debt: debt(), version: 1 });
    assert_eq!(world.owed(), [Debt::Search]);
}

#[test]
fn an_erased_account_lets_nobody_in_and_keeps_its_id() {
    let mut world = World::new();
    world.sign_up();
    assert_eq!(world.ann(UserChange::Erase { password_rev: 0 }), Reply::Done);
    assert_eq!(world.effects[0], Effect::DevicesEnded { user: ANN, devices: Vec::new(), all_but: true });
    assert_eq!(world.ann(UserChange::Erase { password_rev: 0 }), Reply::Done, "again");
    assert_eq!(world.register(1, 1, 5), REVOKED);
    assert_eq!(world.ann(UserChange::LogIn { password_rev: Some(0), enter: enter(1, 4) }), BAD_LOGIN);
    assert_eq!(world.sign_up(), REVOKED);
    assert!(user::credential(&world.script.view, ANN).expect("readable").password.is_none());
}

#[test]
fn an_account_is_not_erased_by_a_password_that_is_not_in_force_any_more() {
    let mut world = World::new();
    world.sign_up();
    world.ann(UserChange::SetPassword { password_rev: 0, password: Secret::new("hash 1"), keep: DeviceId::new(1) });
    assert_eq!(world.ann(UserChange::Erase { password_rev: 0 }), BAD_LOGIN, "checked before, applied after");
    assert!(matches!(world.register(1, 1, 5), Reply::Rev(_)));
    assert_eq!(world.ann(UserChange::Erase { password_rev: 1 }), Reply::Done);
}

#[test]
fn whoever_an_erased_user_wanted_is_told_so() {
    let mut world = World::new();
    world.sign_up();
    let [wanted, blocked, asking] = [1, 2, 3].map(Script::user);
    world.ann(UserChange::AskContact { peer: wanted, asked: true });
    world.ann(UserChange::Block { peer: blocked, blocked: true });
    world.ann(UserChange::MirrorContact { peer: asking, asked: true, version: 1 });
    for (debt, version) in [(Debt::Contact(wanted), 99), (Debt::Name("ann".to_owned()), 99), (Debt::Search, 99)] {
        world.ann(UserChange::Paid { debt, version });
    }
    assert_eq!(world.ann(UserChange::Erase { password_rev: 0 }), Reply::Done);
    assert_eq!(
        world.owed(),
        [Debt::Name("ann".to_owned()), Debt::Contact(wanted), Debt::Search, Debt::Texts],
        "those who heard nothing of her hear nothing now"
    );
    assert!(user::contacts(&world.script.view, ANN, UserId::new(0), 9).expect("readable").is_empty());
}

#[test]
fn whoever_knew_the_sign_up_key_is_out_once_the_password_was_changed() {
    let mut world = World::new();
    world.sign_up();
    world.ann(UserChange::SetPassword { password_rev: 0, password: Secret::new("hash 1"), keep: DeviceId::new(1) });
    let again = UserChange::SignUp { name: "ann".to_owned(), key: [7; 32], password: None, recovery: None, enter: Some(enter(5, 5)) };
    assert_eq!(world.ann(again), Reply::Rejected(Code::IdTaken));
    assert_eq!(user::devices(&world.script.view, ANN).expect("readable").len(), 1);
}

#[test]
fn room_for_a_device_is_made_by_an_ended_one_then_by_the_longest_idle_whose_sessions_end() {
    let mut world = World::new();
    world.sign_up();
    for device in 2..=limit::DEVICES_MAX as u64 {
        world.now += 1;
        world.register(device, 0, 5);
    }
    // The first two are the longest idle by their sessions; one of them was refreshed since.
    world.now += 1;
    world.refresh(1, 1, 2);
    world.ann(UserChange::EndDevices { devices: vec![DeviceId::new(9)], all_others: false });
    let mut log_in = |device: u64| {
        world.now += 1;
        world.ann(UserChange::LogIn { password_rev: None, enter: enter(device, 7) });
        let ended = world.effects.iter().filter_map(|effect| match effect {
            Effect::DevicesEnded { devices, all_but: false, .. } => Some(devices.clone()),
            _ => None,
        });
        let ended: Vec<Vec<DeviceId>> = ended.collect();
        (ended, user::devices(&world.script.view, ANN).expect("readable").len())
    };
    assert_eq!(log_in(100), (vec![vec![DeviceId::new(9)]], limit::DEVICES_MAX));
    assert_eq!(log_in(101), (vec![vec![DeviceId::new(2)]], limit::DEVICES_MAX));
    assert_eq!(log_in(101), (vec![], limit::DEVICES_MAX), "one that is there needs no room");
}

#[test]
fn a_device_that_comes_back_by_another_token_has_none_of_the_log_in_that_was_ended() {
    let mut world = World::new();
    world.sign_up();
    world.ann(UserChange::EndDevices { devices: vec![DeviceId::new(1)], all_others: false });
    world.now += 1;
    assert!(matches!(world.register(1, 0, world.now), Reply::Rev(_)), "an operator's token made since");
    assert_eq!(world.register(1, 1, 5), REVOKED);
    assert_eq!(world.refresh(1, 1, 2), Reply::Rejected(Code::LoginNeeded));
}

#[test]
fn half_of_the_contacts_are_left_for_those_whom_the_user_asks() {
    let mut world = World::new();
    world.sign_up();
    let peer = |at: u32| UserId::new(1_000 + u64::from(at));
    let mirror = |at: u32| UserChange::MirrorContact { peer: peer(at), asked: true, version: 1 };
    let next = limit::CONTACTS_OF_OTHERS_MAX;
    let replies = world.apply_all((0..next).map(|at| mirror(at).of(ANN)).collect());
    assert!(replies.iter().all(|reply| *reply == Reply::Done));
    assert_eq!(world.ann(mirror(next)), Reply::Rejected(Code::Busy));
    assert_eq!(world.ann(UserChange::AskContact { peer: peer(next), asked: true }), Reply::Done);
    assert_eq!(world.ann(mirror(next)), Reply::Done, "one who was asked may agree");
}

#[test]
fn a_banned_user_comes_in_by_nothing_until_the_ban_is_lifted() {
    let mut world = World::new();
    world.sign_up();
    let banned = Reply::Rejected(Code::Banned);
    assert_eq!(world.ann(UserChange::SetBanned { banned: true }), Reply::Done);
    assert!(world.effects.contains(&Effect::DevicesEnded { user: ANN, devices: Vec::new(), all_but: true }));
    assert_eq!(world.register(1, 1, 5), banned);
    assert_eq!(world.register(7, 0, world.now + 9), banned);
    assert_eq!(world.refresh(1, 1, 2), banned);
    assert_eq!(world.ann(UserChange::LogIn { password_rev: Some(0), enter: enter(2, 9) }), banned);
    assert_eq!(world.ann(UserChange::SetBanned { banned: false }), Reply::Done);
    assert!(matches!(world.ann(UserChange::LogIn { password_rev: Some(0), enter: enter(2, 9) }), Reply::Entered { .. }));
    assert_eq!(world.register(1, 1, 5), REVOKED, "what was ended stays ended");
}

#[test]
fn an_erased_users_index_is_forgotten_by_channels() {
    let mut world = World::new();
    world.sign_up();
    let listed_first = listed(&mut world, 1);
    let news = held(&world, listed_first).news;
    let channels: Vec<ChannelId> = (1..=3).map(|at| ChannelId::direct(ANN, Script::user(at))).collect();
    for channel in &channels {
        world.apply(Command::MergeRefs { user: ANN, refs: vec![Ref { channel: *channel, ..news.clone() }] });
    }
    world.ann(UserChange::Prefer { channel: channels[0], preference: Preference::Pin(true) });
    assert_eq!(world.ann(UserChange::Forget { channels: channels.clone() }), Reply::Rejected(Code::Invalid));
    world.ann(UserChange::Erase { password_rev: 0 });
    assert!(world.owed().contains(&Debt::Texts));
    let told = |world: &World| user::index::channels(&world.script.view, ANN, UserRev::ZERO, 9).expect("readable");
    world.ann(UserChange::Forget { channels: vec![channels[0], channels[2]] });
    assert_eq!(told(&world)[0].1, channels[1]);
    world.ann(UserChange::Forget { channels });
    assert_eq!(told(&world), []);
    let account = user::account(&world.script.view, ANN).expect("readable").expect("its tombstone");
    assert_eq!((account.name.as_str(), account.pins), ("", 0));
}

#[test]
fn who_loses_an_operators_rights_is_logged_out() {
    let mut world = World::new();
    world.sign_up();
    assert_eq!(world.ann(UserChange::SetAdmin { admin: true }), Reply::Done);
    assert!(world.effects.is_empty());
    assert_eq!(world.refresh(1, 1, 2), Reply::Entered { name: "ann".to_owned(), login: 1, admin: true, created: false });
    assert_eq!(world.ann(UserChange::SetAdmin { admin: false }), Reply::Done);
    assert_eq!(world.register(1, 1, 5), REVOKED);
}

/// Ann's row for a channel with bob, whose head is at this seq.
fn listed(world: &mut World, seq: u64) -> ChannelId {
    let channel = ChannelId::direct(ANN, Script::user(1));
    let at = Position { seq: Seq::new(seq), cnt: seq };
    let news = Ref {
        channel,
        incarnation: Incarnation::default(),
        head: at,
        head_ts: Timestamp::new(seq),
        member_seq: Seq::ZERO,
        join: Position { seq: Seq::new(1), cnt: 0 },
        left: None,
        own: Position::default(),
        mentions: Vec::new(),
        title: String::new(),
        preview: format!("text {seq}"),
        head_sender: Script::user(1),
    };
    world.apply(Command::MergeRefs { user: ANN, refs: vec![news] });
    channel
}

fn held(world: &World, channel: ChannelId) -> IndexRow {
    row::<IndexRow>(&world.script.view, &RowKey::Index(ANN, channel)).expect("readable").expect("is there").clone()
}

#[test]
fn a_preference_moves_the_row_and_says_what_is_in_the_list() {
    let mut world = World::new();
    world.sign_up();
    let channel = listed(&mut world, 5);
    let prefer = |preference| UserChange::Prefer { channel, preference };
    let rev = held(&world, channel).rev;
    assert!(matches!(world.ann(prefer(Preference::Pin(true))), Reply::Merged { .. }));
    assert!(held(&world, channel).rev > rev, "devices learn of it by the index");
    world.ann(prefer(Preference::Archive { seen: Some(Seq::new(6)) }));
    assert!(held(&world, channel).is_archived(Timestamp::new(0)));
    world.ann(prefer(Preference::Clear { seq: Seq::new(4), cnt: 4 }));
    assert_eq!(held(&world, channel).unread(), 1);
    for (seq, cnt) in [(6, 6), (3, 4), (5, 6)] {
        let odd = Preference::Clear { seq: Seq::new(seq), cnt };
        assert_eq!(world.ann(prefer(odd)), Reply::Rejected(Code::Invalid), "{seq} {cnt}");
    }
    listed(&mut world, 6);
    assert!(held(&world, channel).is_archived(Timestamp::new(0)), "the device had seen that when it archived");
    listed(&mut world, 7);
    let now = held(&world, channel);
    assert!(!now.is_archived(Timestamp::new(0)) && now.preferences.pinned.is_some(), "something was said, and the pin stays");
    let elsewhere = ChannelId::direct(ANN, Script::user(2));
    assert_eq!(world.ann(UserChange::Prefer { channel: elsewhere, preference: Preference::Pin(true) }), Reply::Rejected(Code::NotFound));
}

#[test]
fn pins_and_drafts_are_bounded_and_one_that_goes_makes_room() {
    let mut world = World::new();
    world.sign_up();
    let draft = |text: &str| Preference::Draft(SavedDraft { text: text.to_owned(), ..SavedDraft::default() });
    let prefer = |at: u32, preference| UserChange::Prefer { channel: channel_of(at), preference };
    fn channel_of(at: u32) -> ChannelId {
        ChannelId::group(ANN.region(), ANN, DeviceId::new(1), u64::from(at))
    }
    let channel = listed(&mut world, 1);
    let news = held(&world, channel).news;
    let refs = (0..=limit::DRAFTS_MAX).map(|at| Ref { channel: channel_of(at), ..news.clone() }).collect();
    world.apply(Command::MergeRefs { user: ANN, refs });
    for at in 0..limit::DRAFTS_MAX {
        assert!(matches!(world.ann(prefer(at, draft("x"))), Reply::Merged { .. }));
    }
    assert_eq!(world.ann(prefer(limit::DRAFTS_MAX, draft("x"))), Reply::Rejected(Code::LimitReached));
    assert!(matches!(world.ann(prefer(0, draft("another"))), Reply::Merged { .. }), "one that is there may change");
    world.ann(prefer(0, draft("")));
    assert!(matches!(world.ann(prefer(limit::DRAFTS_MAX, draft("x"))), Reply::Merged { .. }));
    assert_eq!(world.ann(prefer(1, draft(&"x".repeat(limit::DRAFT_CHARS_MAX + 1)))), Reply::Rejected(Code::TooLarge));
    world.ann(prefer(1, Preference::Pin(true)));
    world.ann(prefer(1, Preference::Pin(true)));
    world.ann(prefer(1, Preference::Pin(false)));
    assert_eq!(user::account(&world.script.view, ANN).expect("readable").map(|account| (account.pins, account.drafts)), Some((0, limit::DRAFTS_MAX)));
}

#[test]
fn a_profile_is_changed_in_parts_and_only_what_search_knows_is_owed_to_it() {
    let mut world = World::new();
    world.sign_up();
    let none = || (None, None, None, None);
    let set = |(display, about, avatar, searchable): (Option<&str>, Option<&str>, Option<&str>, Option<bool>), fields: Vec<(&str, &str)>| {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let fields = fields.into_iter().map(|(key, value)| ProfileField { key: key.to_owned(), value: value.to_owned() }).collect();
        UserChange::SetProfile { display: text(display), about: text(about), avatar: text(avatar), searchable, fields }
    };
    let version = |world: &World| user::profile(&world.script.view, ANN).expect("readable").version;
    let first = version(&world);
    assert_eq!(world.ann(set((Some("Ann"), Some("about"), None, None), vec![("b", "2"), ("a", "1")])), Reply::Done);
    assert_eq!(version(&world), first + 1);
    world.ann(set((None, Some("other"), None, None), vec![("a", "")]));
    let profile = user::profile(&world.script.view, ANN).expect("readable");
    assert_eq!((profile.display.as_str(), profile.about.as_str(), profile.fields.len(), profile.version), ("Ann", "other", 1, first + 1));
    let long = "x".repeat(limit::DISPLAY_CHARS_MAX + 1);
    assert_eq!(world.ann(set((Some(&long), None, None, None), vec![])), Reply::Rejected(Code::TooLarge));
    let keys: Vec<String> = (0..=limit::PROFILE_FIELDS_MAX).map(|at| format!("key {at}")).collect();
    let many = keys.iter().map(|key| (key.as_str(), "x")).collect();
    assert_eq!(world.ann(set(none(), many)), Reply::Rejected(Code::LimitReached));
}

#[test]
fn the_search_index_keeps_the_newer_and_is_read_by_prefix() {
    let mut world = World::new();
    let word = |word: &str, version, gone| Command::IndexWord { word: word.to_owned(), user: ANN, version, gone };
    let found = |world: &World, prefix: &str| kith_machine::name::word::find(&world.script.view, prefix, 9).expect("readable").len();
    world.apply(word("anna", 2, false));
    world.apply(word("anna", 1, true));
    assert_eq!((found(&world, "an"), found(&world, "anna"), found(&world, "annab"), found(&world, "bo")), (1, 1, 0, 0));
    world.apply(word("anna", 3, true));
    assert_eq!(found(&world, "an"), 0);
    assert_eq!(world.apply(word("", 1, false)), Reply::Rejected(Code::Invalid));
}

/// What each user of a pair did last, and what is still to be told to the other's home.
#[derive(Default)]
struct Pair {
    wants: [bool; 2],
    blocks: [bool; 2],
}

proptest! {
    /// Whatever two people ask, take back and block, and in whatever order, late or twice their homes hear of it: in the end both know the same.
    #[test]
    fn two_homes_agree_on_who_wants_whom(steps in prop::collection::vec((0..2_usize, 0..6_u8), 0..60)) {
        let mut world = World::new();
        let users = [Script::user(0), Script::user(1)];
        let mut model = Pair::default();
        let mut under_way: BTreeMap<usize, Vec<(bool, u64)>> = BTreeMap::new();
        let read = |world: &World, of: usize| user::contact(&world.script.view, users[of], users[1 - of]).expect("readable").unwrap_or_default();
        // As the duty does: what the row says now, as of all that was ever owed.
        let told = |world: &World, of: usize| {
            let asked = user::contact(&world.script.view, users[of], users[1 - of]).expect("readable").is_some_and(|row| row.mine);
            (asked, user::account(&world.script.view, users[of]).expect("readable").map_or(0, |account| account.debts))
        };
        let hear = |world: &mut World, of: usize, (asked, version): (bool, u64)| {
            world.apply(UserChange::MirrorContact { peer: users[of], asked, version }.of(users[1 - of]))
        };
        for (of, step) in steps {
            let (user, peer) = (users[of], users[1 - of]);
            match step {
                0 | 1 => {
                    let reply = world.apply(UserChange::AskContact { peer, asked: step == 0 }.of(user));
                    if reply == Reply::Done {
                        model.wants[of] = step == 0;
                    } else {
                        prop_assert!(model.blocks[of] && step == 0, "{:?}", reply);
                    }
                }
                2 | 3 => {
                    world.apply(UserChange::Block { peer, blocked: step == 2 }.of(user));
                    model.blocks[of] = step == 2;
                    model.wants[of] &= step == 3;
                }
                4 => {
                    let now = told(&world, of);
                    under_way.entry(of).or_default().push(now);
                }
                _ => {
                    // In any order but the very last word: an older one that comes late changes nothing.
                    if let Some(late) = under_way.get_mut(&of).and_then(Vec::pop) {
                        hear(&mut world, of, late);
                    }
                }
            }
            prop_assert_eq!(read(&world, of).mine, model.wants[of]);
            prop_assert_eq!(read(&world, of).blocked, model.blocks[of]);
        }
        for of in 0..2 {
            let now = told(&world, of);
            hear(&mut world, of, now);
            prop_assert_eq!(read(&world, 1 - of).theirs, model.wants[of], "what {} wants", of);
        }
        prop_assert_eq!(read(&world, 0).is_mutual(), read(&world, 1).is_mutual());
    }
}
