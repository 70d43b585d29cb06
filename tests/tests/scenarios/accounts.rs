//! Accounts over whole clusters: sign-up, log-in, remote logout, names, and a node's death in the middle.

use kith_client::{Backfill, Client, Door, Error, Login, Status};
use kith_tests::Cluster;
use kith_wire::{
    admin::AdminRole,
    client::{Answer, Request},
    code::Code,
    id::{DeviceId, UserId},
    limit,
    peer::Caller,
    people::{PeopleAnswer, PeopleRequest},
    secret::Secret,
};
use tokio::time::Instant;

const PASSWORD: &str = "correct horse";

fn door(c: &Cluster) -> Door {
    let addresses: Vec<String> = c.running().iter().map(|node| c.address(*node).to_owned()).collect();
    Door::new(&addresses, c.trust()).expect("a socket")
}

async fn client(c: &Cluster, login: &Login, node: u64) -> Client {
    let builder = Client::builder(c.address(node)).login(login.clone()).trust(c.trust()).backfill(Backfill::All);
    let client = builder.build().await.expect("a client");
    client.connect().await.expect("connects");
    client
}

fn code<T>(outcome: Result<T, Error>) -> Option<Code> {
    outcome.err().map(|error| error.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_up_log_in_and_chat_and_the_death_of_a_node_changes_nothing() {
    let mut c = Cluster::start(3).await;
    let door = door(&c);
    let ann = door.sign_up("Ann", PASSWORD, "laptop").await.expect("signs up");
    let bob = door.sign_up("bob", PASSWORD, "phone").await.expect("signs up");
    assert_eq!(ann.login.saved().await.name, "ann");
    assert_eq!(code(door.sign_up("ＡＮＮ", PASSWORD, "x").await), Some(Code::NameTaken), "what folds alike is one name");
    assert_eq!(code(door.sign_up("a\u{202e}nn", PASSWORD, "x").await), Some(Code::Invalid));
    assert_eq!(code(door.sign_up("zoe", "short", "x").await), Some(Code::WeakPassword));
    assert_eq!(code(door.log_in("ann", "wrong horse", "x").await), Some(Code::BadLogin));
    assert_eq!(code(door.log_in("nobody", PASSWORD, "x").await), Some(Code::BadLogin), "and no word of who exists");

    let ann_client = client(&c, &ann.login, 1).await;
    let room = ann_client.direct("bob").await.expect("is found");
    room.send("hello").await.expect("queued").sent().await.expect("sent");
    c.kill(3).await;
    c.wait_ready().await;
    let again = door.log_in("ann", PASSWORD, "phone").await.expect("logs in without the dead node");
    assert_eq!(again.login.user(), ann.login.user());
    let bob_client = client(&c, &bob.login, 2).await;
    c.wait_for("bob has the text", async || {
        bob_client.channels().await.is_ok_and(|channels| channels.iter().any(|channel| channel.row.news.preview == "hello"))
    })
    .await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_ended_elsewhere_loses_its_session_at_once_and_its_tokens_for_ever() {
    let c = Cluster::start(3).await;
    let door = door(&c);
    let first = door.sign_up("ann", PASSWORD, "laptop").await.expect("signs up").login;
    let second = door.log_in("ann", PASSWORD, "phone").await.expect("logs in").login;
    let (here, there) = (client(&c, &first, 1).await, client(&c, &second, 2).await);
    let devices = here.account().devices().await.expect("listed");
    assert_eq!(devices.len(), 2, "{devices:?}");
    let other = devices.iter().find(|device| !device.current).expect("the phone");
    assert_eq!(other.title, "phone");

    here.account().end_device(other.device).await.expect("ended");
    c.wait_for("the phone's session is over", async || matches!(there.status().get(), Status::Closed(Some(error)) if error.code == Code::Revoked))
        .await;
    assert_eq!(code(second.access(true).await), Some(Code::Revoked));
    assert_eq!(code(here.account().end_device(DeviceId::new(1)).await), Some(Code::NotFound));

    let third = door.log_in("ann", PASSWORD, "tablet").await.expect("the password still opens").login;
    let tablet = client(&c, &third, 3).await;
    assert_eq!(code(here.account().change_password("wrong horse", "battery staple").await), Some(Code::BadLogin));
    here.account().change_password(PASSWORD, "battery staple").await.expect("changed");
    c.wait_for("the tablet is out", async || tablet.status().get().is_closed()).await;
    assert!(here.account().devices().await.is_ok(), "who changed it stays in");
    assert_eq!(code(door.log_in("ann", PASSWORD, "x").await), Some(Code::BadLogin));
    assert!(door.log_in("ann", "battery staple", "x").await.is_ok());
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_reset_by_the_recovery_code_or_the_operators_once() {
    let c = Cluster::start(1).await;
    let door = door(&c);
    let entered = door.sign_up("ann", PASSWORD, "laptop").await.expect("signs up");
    let recovery = entered.recovery.expect("shown once");
    assert_eq!(code(door.reset_password("ann", "AAAAA-BBBBB", "new password").await), Some(Code::BadLogin));
    let next = door.reset_password("ann", recovery.clone(), "new password").await.expect("reset");
    assert_eq!(code(door.reset_password("ann", recovery, "newer password").await), Some(Code::BadLogin), "spent");
    assert_eq!(code(entered.login.access(true).await), Some(Code::Revoked), "all devices are out");
    assert!(door.log_in("ann", "new password", "x").await.is_ok());
    assert_ne!(next, Secret::new(""));

    let operator = Caller { user: UserId::new(0), device: DeviceId::new(1), admin: Some(AdminRole::Admin), trace: 0, key: None, token: None };
    let link = Request::People(PeopleRequest::ResetLink { name: "ann".into() });
    let made = c.node(1).service().handle(&operator, link, Instant::now() + kith_tests::cluster::PATIENCE).await;
    let Ok(Answer::People(PeopleAnswer::Code { code: once, .. })) = made else { panic!("{made:?}") };
    door.reset_password("ann", once.clone(), "newest password").await.expect("reset");
    assert_eq!(code(door.reset_password("ann", once, "x password").await), Some(Code::BadLogin));
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_left_is_nobody_elses_and_a_deleted_account_is_gone() {
    let c = Cluster::start(3).await;
    let door = door(&c);
    let ann = door.sign_up("ann", PASSWORD, "laptop").await.expect("signs up").login;
    let here = client(&c, &ann, 1).await;
    here.account().rename("Zoë").await.expect("renamed");
    assert_eq!(here.find_user("zoë").await.expect("found"), ann.user());
    c.wait_for("the old name is held back", async || code(door.sign_up("ann", PASSWORD, "x").await) == Some(Code::NameTaken)).await;
    assert_eq!(code(here.account().rename("eve").await), Some(Code::TooMany), "once a day");
    assert!(door.sign_up("eve", PASSWORD, "x").await.is_ok(), "what came to nothing is free");
    assert!(door.log_in("zoë", PASSWORD, "x").await.is_ok());
    assert_eq!(code(door.log_in("ann", PASSWORD, "x").await), Some(Code::BadLogin));

    assert_eq!(code(here.account().delete("wrong horse").await), Some(Code::BadLogin));
    // The session may end before the answer comes.
    let _ = here.account().delete(PASSWORD).await;
    c.wait_for("the session is over", async || here.status().get().is_closed()).await;
    assert_eq!(code(door.log_in("zoë", PASSWORD, "x").await), Some(Code::BadLogin));
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_counted_by_name_whether_somebody_has_it_or_not() {
    let c = Cluster::start(1).await;
    let door = door(&c);
    door.sign_up("ann", PASSWORD, "laptop").await.expect("signs up");
    for name in ["ann", "nobody"] {
        let mut codes = Vec::new();
        while codes.last() != Some(&Code::RateLimited) && codes.len() < 20 {
            codes.extend(code(door.log_in(name, "a wrong guess", "x").await));
        }
        assert!(codes.len() > 5 && codes.len() < 20, "{name}: {codes:?}");
        assert!(codes.iter().all(|code| matches!(code, Code::BadLogin | Code::RateLimited)), "{name}: {codes:?}");
    }
    assert_eq!(code(door.sign_up("n".repeat(limit::NAME_BYTES_MAX + 1).as_str(), PASSWORD, "x").await), Some(Code::TooLarge));
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_again_after_a_lost_answer_succeeds_again() {
    let c = Cluster::start(3).await;
    let door = door(&c);
    let entered = door.sign_up("ann", PASSWORD, "laptop").await.expect("signs up");
    // The app was killed before the answer came: it goes on with what it had kept.
    let kept = entered.login.saved().await;
    entered.login.access(true).await.expect("refreshed");
    let login = door.resume(kept);
    login.access(true).await.expect("the token was not spent");
    let here = client(&c, &login, 1).await;
    for time in ["first", "again"] {
        here.account().change_password(PASSWORD, "battery staple").await.expect(time);
    }
    assert_eq!(code(here.account().change_password(PASSWORD, "another staple").await), Some(Code::BadLogin));

    let recovery = entered.recovery.expect("shown once");
    let next = door.reset_password("ann", recovery.clone(), "new password").await.expect("reset");
    assert_eq!(door.reset_password("ann", recovery.clone(), "new password").await.ok(), Some(next.clone()), "the same code is shown");
    assert_eq!(code(door.reset_password("ann", recovery, "other password").await), Some(Code::BadLogin), "it is spent for all else");
    door.reset_password("ann", next, "newest password").await.expect("the code that was shown works");
    // What was superseded is in other hands, as far as anybody knows.
    assert_eq!(code(entered.login.access(true).await), Some(Code::Revoked));
    c.finish().await;
}
