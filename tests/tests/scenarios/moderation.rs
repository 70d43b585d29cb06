//! Moderation over whole clusters: reports, bans, and the log of what operators do.

use kith::clock::{Clock, SystemClock};
use kith_client::{Door, ExportItem, Post, Status};
use kith_tests::Cluster;
use kith_wire::{
    admin::AdminRole,
    client::{Answer, Request},
    code::Code,
    desk::{AuditAct, AuditState, DeskAnswer, DeskRequest},
    id::{DeviceId, Seq, Timestamp, UserId},
    peer::Caller,
};
use tokio::time::Instant;

async fn ask(c: &Cluster, request: DeskRequest) -> Result<DeskAnswer, Code> {
    let operator = Caller { user: UserId::new(0), device: DeviceId::new(1), admin: Some(AdminRole::Admin), trace: 0, key: None, token: None };
    let node = c.node(c.running()[0]);
    match node.service().handle(&operator, Request::Desk(request), Instant::now() + kith_tests::cluster::PATIENCE).await {
        Ok(Answer::Desk(answer)) => Ok(answer),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.code),
    }
}

fn code<T>(outcome: Result<T, kith_client::Error>) -> Option<Code> {
    outcome.err().map(|error| error.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reported_user_is_banned_everywhere_within_a_second_and_let_in_again_and_all_of_it_is_logged() {
    let mut c = Cluster::start(3).await;
    let addresses = [2, 3].map(|node| c.address(node).to_owned());
    let door = Door::new(&addresses, c.trust()).expect("a socket");
    let (ann, eve) = (c.person(&door, "ann", 2).await, c.person(&door, "eve", 3).await);
    let room = eve.direct("ann").await.expect("found");
    let said = room.send("buy this").await.expect("queued").sent().await.expect("sent");
    let here = ann.channel(room.id());
    c.wait_for("ann may read it", async || here.report(said.seq(), "spam").await.is_ok()).await;
    assert_eq!(code(room.report(said.seq(), "mine").await), Some(Code::Invalid));
    assert_eq!(code(ann.desk().reports(0).await), Some(Code::NotAdmin));
    assert_eq!(code(ann.desk().ban("eve", true, "").await), Some(Code::NotAdmin));

    let Ok(DeskAnswer::Reports { reports, more: false }) = ask(&c, DeskRequest::Reports { after: 0 }).await else { panic!("no reports") };
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].text.as_deref(), reports[0].row.sender, reports[0].row.seq), (Some("buy this"), eve.me(), said.seq()));
    let ban = |banned| DeskRequest::Ban { name: "eve".to_owned(), banned, note: "spam".to_owned() };
    assert_eq!(ask(&c, ban(true)).await, Ok(DeskAnswer::Done));
    c.wait_for(
        "her session is over",
        async || matches!(eve.status().get(), Status::Closed(Some(error)) if matches!(error.code, Code::Banned | Code::Revoked)),
    )
    .await;
    assert_eq!(code(door.log_in("eve", kith_tests::cluster::PASSWORD, "phone").await), Some(Code::Banned));
    assert_eq!(code(door.log_in("eve", "wrong horse", "phone").await), Some(Code::BadLogin), "nobody else learns of it");
    assert_eq!(ask(&c, DeskRequest::CloseReport { id: reports[0].id, note: "banned".to_owned() }).await, Ok(DeskAnswer::Done));
    assert_eq!(ask(&c, DeskRequest::CloseReport { id: reports[0].id, note: String::new() }).await, Err(Code::NotFound));
    assert_eq!(ask(&c, DeskRequest::Ban { name: "nobody".to_owned(), banned: true, note: String::new() }).await, Err(Code::NoSuchUser));

    c.kill(1).await;
    c.wait_ready().await;
    assert_eq!(code(door.log_in("eve", kith_tests::cluster::PASSWORD, "phone").await), Some(Code::Banned), "whoever leads");
    assert_eq!(ask(&c, ban(false)).await, Ok(DeskAnswer::Done));
    assert!(door.log_in("eve", kith_tests::cluster::PASSWORD, "phone").await.is_ok());
    let Ok(DeskAnswer::Audit { entries, .. }) = ask(&c, DeskRequest::Audit { before: 0 }).await else { panic!("no log") };
    let logged: Vec<_> = entries.iter().map(|entry| (entry.row.entry.act, entry.row.state, entry.row.entry.user)).collect();
    let of_eve = |act| (act, AuditState::Done, Some(eve.me()));
    assert_eq!(logged, [of_eve(AuditAct::Unban), of_eve(AuditAct::CloseReport), of_eve(AuditAct::Ban)], "the newest first");
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_banned_user_had_scheduled_is_not_sent_and_they_see_why_when_they_are_let_in_again() {
    let c = Cluster::start(3).await;
    let door = Door::new(&[c.address(1).to_owned()], c.trust()).expect("a socket");
    let (ann, eve) = (c.person(&door, "ann", 1).await, c.person(&door, "eve", 1).await);
    let room = eve.direct("ann").await.expect("found");
    room.send("hello").await.expect("queued").sent().await.expect("sent");
    let soon = Timestamp::new(SystemClock.now().get() + 2_000);
    room.schedule(soon, Post::new("buy this")).await.expect("kept");
    let theirs = ann.channel(room.id());
    let sent = async |text: &str| {
        let all = theirs.whole_history(None, Seq::ZERO).await.unwrap_or_default();
        all.iter().any(|record| record.content.text() == Some(text))
    };
    let ban = |banned| DeskRequest::Ban { name: "eve".to_owned(), banned, note: String::new() };
    assert_eq!(ask(&c, ban(true)).await, Ok(DeskAnswer::Done));
    theirs.schedule(Timestamp::new(SystemClock.now().get().max(soon.get()) + 500), Post::new("after it")).await.expect("kept");
    c.wait_for("a text that was due later", async || sent("after it").await).await;
    assert!(!sent("buy this").await);

    assert_eq!(ask(&c, ban(false)).await, Ok(DeskAnswer::Done));
    let again = door.log_in("eve", kith_tests::cluster::PASSWORD, "phone").await.expect("let in");
    let eve = c.enter(again.login, 2).await;
    let held = eve.channel(room.id()).scheduled().await.expect("hers");
    assert_eq!(held.iter().map(|text| text.refused).collect::<Vec<_>>(), [Some(Code::Banned)]);
    assert!(!sent("buy this").await, "it is not sent later either");
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_takes_all_of_it_along_and_goes_on_where_it_was_cut_off() {
    let c = Cluster::start(3).await;
    let door = Door::new(&[c.address(1).to_owned()], c.trust()).expect("a socket");
    let (ann, bob) = (c.person(&door, "ann", 1).await, c.person(&door, "bob", 2).await);
    let direct = ann.direct("bob").await.expect("found");
    let group = bob.create_channel(kith_client::NewChannel::group("ours").members([ann.me()])).await.expect("made");
    let mut mine = Vec::new();
    for number in 0..30 {
        for channel in [direct.id(), group.id()] {
            let text = format!("{number} of ann");
            let sent = ann.channel(channel).send(text.as_str()).await.expect("queued").sent().await.expect("sent");
            mine.push((channel, sent.seq(), text));
            bob.channel(channel).send("not hers").await.expect("queued").sent().await.expect("sent");
        }
    }
    mine.sort();
    ann.contacts().request(bob.me()).await.expect("asked");
    c.wait_for("both are in her list", async || ann.channels().await.is_ok_and(|all| all.len() == 2)).await;
    ann.channel(group.id()).preferences().mute(Some(Timestamp::new(u64::MAX))).await.expect("muted");
    ann.channel(group.id()).leave().await.expect("queued").done().await.expect("left");

    let (mut export, mut texts, mut others) = (ann.account().export(None), Vec::new(), Vec::new());
    let mut cut = None;
    while let Some(item) = export.next().await.expect("read") {
        match item {
            ExportItem::Text { channel, record } => {
                texts.push((channel, record.at.seq, record.content.text().unwrap_or_default().to_owned()));
                if texts.len() == 17 {
                    cut = export.cursor();
                }
            }
            other => others.push(other),
        }
    }
    assert_eq!(texts, mine, "every text of hers, also where she has left, and nobody else's");
    let kinds = |is: fn(&ExportItem) -> bool| others.iter().filter(|item| is(item)).count();
    assert_eq!(kinds(|item| matches!(item, ExportItem::Profile(profile) if profile.name == "ann")), 1);
    assert_eq!(kinds(|item| matches!(item, ExportItem::Device(_))), 1);
    assert_eq!(kinds(|item| matches!(item, ExportItem::Contact(_))), 1);
    assert_eq!(kinds(|item| matches!(item, ExportItem::Conversation(row) if row.preferences.muted.is_some())), 1);
    assert_eq!(kinds(|item| matches!(item, ExportItem::Conversation(_))), 2);

    let (mut export, mut rest) = (ann.account().export(cut), Vec::new());
    while let Some(item) = export.next().await.expect("read") {
        let ExportItem::Text { channel, record } = item else { panic!("{item:?}") };
        rest.push((channel, record.at.seq, record.content.text().unwrap_or_default().to_owned()));
    }
    assert_eq!(rest, mine[17..]);
    c.finish().await;
}
