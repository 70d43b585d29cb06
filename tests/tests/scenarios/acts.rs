//! What people do with messages and groups besides sending: over whole nodes, from every side.

use kith::clock::{Clock, SystemClock};
use kith_client::{Done, Event, History, Joined, Post};
use kith_tests::Cluster;
use kith_wire::{
    act::{Act, Gone, Rules},
    client::Place,
    code::Code,
    id::{Seq, Timestamp},
    log::{Content, Role},
};

async fn done(outgoing: Result<kith_client::Outgoing, kith_client::Error>) -> Done {
    outgoing.expect("a write that is queued").done().await.expect("allowed")
}

async fn refused(outgoing: Result<kith_client::Outgoing, kith_client::Error>) -> Code {
    outgoing.expect("a write that is queued").done().await.expect_err("not allowed").code
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_and_a_deletion_reach_every_device_and_every_replica() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    let room = c.room("general", &ann, &[&bob]).await;
    let kept = bob.send("general", "frist").await.seq();
    let gone = bob.send("general", "never mind").await.seq();
    c.wait_device(&ann, "general").await;

    done(bob.channel("general").edit(kept, "first").await).await;
    assert_eq!(refused(ann.channel("general").edit(kept, "mine").await).await, Code::NotAllowed);
    done(ann.channel("general").react(kept, "👍", true).await).await;
    assert_eq!(done(ann.channel("general").react(kept, "👍", true).await).await, Done::Kept(0));
    done(ann.channel("general").pin(kept, true).await).await;
    let Done::Record(last) = done(ann.channel("general").delete(gone).await).await else { panic!("a record") };

    // Who held the old texts holds the new ones.
    c.wait_for("both devices know of the deletion", async || {
        let mut both = true;
        for device in [&ann, &bob] {
            let held = device.holds(room).await;
            let says = |seq: Seq| held.iter().find(|record| record.at.seq == seq).map(|record| record.content.clone());
            both &= says(kept).is_some_and(|content| content.text() == Some("first"));
            both &= matches!(says(gone), Some(Content::Gone { why: Gone::Deleted, .. }));
        }
        both
    })
    .await;
    // Each replica says the same, with totals.
    for node in c.running() {
        let want = History { replica: Some(kith_wire::id::NodeId::new(node)), min_seq: last.seq(), ..History::default() };
        let page = ann.channel("general").history(want).await.expect("a page");
        assert!(page.records.iter().all(|record| !format!("{record:?}").contains("never mind") && !format!("{record:?}").contains("frist")));
        let marks = page.marks.iter().find(|marks| marks.seq == kept).expect("marks");
        assert!(marks.edited > kept && marks.pinned && marks.reactions[0].count == 1 && marks.reactions[0].mine);
    }
    assert_eq!(bob.channel("general").reactions(kept).await.expect("readable")[0].users, [ann.user()]);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_lets_in_and_the_one_who_types_is_shown() {
    let c = Cluster::start(3).await;
    let (ann, bob, eve) = (c.client_at("ann", 1).await, c.client_at("bob", 2).await, c.client_at("eve", 3).await);
    let room = c.room("general", &ann, &[&bob]).await;
    ann.send("general", "before eve").await;
    let general = ann.channel("general");
    let rules = Rules { from_start: true, ..Rules::default() };
    done(general.set_rules(rules).await).await;
    assert_eq!(refused(bob.channel("general").describe(Some("mine".into()), None).await).await, Code::NotAllowed);

    let (link, made) = general.invite(Timestamp::new(0), 1).await.expect("a write that is queued");
    made.done().await.expect("an owner may");
    let link: kith_client::Link = link.to_string().parse().expect("as it was printed");
    let Joined::Member(hers) = eve.client().join(link).await.expect("let in") else { panic!("no approval is asked for") };
    assert_eq!(hers.id(), room);
    let all = hers.whole_history(None, Seq::ZERO).await.expect("readable");
    assert!(all.iter().any(|record| record.content.text() == Some("before eve")), "from the start");
    let dan = c.client("dan").await;
    assert_eq!(dan.client().join(link).await.err().map(|error| error.code), Some(Code::LinkEnded));

    let mut shown = bob.client().events();
    c.wait_for("bob is shown that eve types", async || {
        hers.typing().await.expect("a member");
        while let Ok(Some(event)) = tokio::time::timeout(std::time::Duration::from_millis(200), shown.next()).await {
            if matches!(event, Event::Typing { channel, user } if channel == room && user == eve.user()) {
                return true;
            }
        }
        false
    })
    .await;
    assert_eq!(dan.client().channel(room).typing().await.expect_err("no member").code, Code::NotMember);

    done(general.hand_over(bob.user()).await).await;
    let view = bob.channel("general").group().await.expect("a member");
    assert_eq!((view.role, view.links.len()), (Role::Owner, 1));
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_text_is_sent_once_whatever_leader_dies() {
    let mut c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    let room = c.room("general", &ann, &[&bob]).await;
    ann.send("general", "hi").await;
    let due = Timestamp::new(SystemClock.now().get() + 2_000);
    let general = ann.channel("general");
    let Done::Kept(id) = done(general.schedule(due, Post::new("as agreed")).await).await else { panic!("no record yet") };
    assert_eq!(general.scheduled().await.expect("hers").iter().map(|text| text.id).collect::<Vec<_>>(), [id]);
    done(general.post(Post::new("for a moment").ends_after(std::time::Duration::from_secs(2))).await).await;

    let leader = c.leader_of_room("general").await;
    c.kill(leader).await;
    let sent = async |device: &kith_tests::device::Device| {
        let all = device.channel("general").whole_history(None, Seq::ZERO).await.unwrap_or_default();
        let sent = all.iter().filter(|record| record.content.text() == Some("as agreed")).count();
        let ended = all.iter().any(|record| matches!(record.content, Content::Gone { why: Gone::Expired, .. }));
        (sent, ended)
    };
    c.wait_for("another leader sends it, and ends the other one", async || sent(&bob).await == (1, true)).await;
    c.restart(leader).await;
    let last = ann.send("general", "and on").await;
    for node in c.running() {
        let want = Some(kith_wire::id::NodeId::new(node));
        let all = bob.channel("general").whole_history(want, last.seq()).await.expect("readable");
        assert_eq!(all.iter().filter(|record| record.content.text() == Some("as agreed")).count(), 1, "node {node}");
        assert!(all.iter().all(|record| record.content.text() != Some("for a moment")), "node {node}");
    }
    assert_eq!(general.scheduled().await.expect("hers").len(), 0);
    assert_eq!(room, last.channel);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_names_its_origin_and_needs_it_readable() {
    let c = Cluster::start(3).await;
    let (ann, bob, eve) = (c.client("ann").await, c.client("bob").await, c.client("eve").await);
    let room = c.room("general", &ann, &[&bob]).await;
    let said = ann.send("general", "worth telling").await.seq();
    let direct = bob.client().direct(eve.user()).await.expect("by id");
    let Done::Record(copy) = done(direct.forward(room, said).await).await else { panic!("a record") };
    let shown = eve.client().channel(direct.id());
    let page = shown.history(History { place: Some(Place::Around(copy.seq())), ..History::default() }).await.expect("hers to read");
    let origin = page.records[0].content.extra().and_then(|extra| extra.origin).expect("named");
    assert_eq!((origin.channel, origin.seq, origin.sender), (room, said, ann.user()));
    assert_eq!(page.records[0].content.text(), Some("worth telling"));
    assert_eq!(refused(shown.forward(room, said).await).await, Code::NotFound, "eve cannot read it there");
    // The refusal has used up its number and nothing else.
    shown.send("thanks").await.expect("queued").sent().await.expect("sent");
    assert_eq!(
        refused(direct.act(Act::Edit { target: copy.seq(), text: "told otherwise".into(), mentions: Vec::new() }).await).await,
        Code::NotAllowed
    );
    let (read, _) = direct.seen(copy.seq()).await.expect("a member");
    assert_eq!(read, [eve.user()], "who answers has read");
    c.finish().await;
}
