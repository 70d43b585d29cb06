//! Who is here, over whole clusters: contacts alone see it, nothing that happens to the cluster makes anybody look gone, and a cluster may show it to all.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kith::cluster::files::{PresenceFanout, PresenceSettings};
use kith_client::{Live, Presence, PresenceMap};
use kith_tests::{Cluster, Device, Setup, http::Caller};
use kith_wire::{
    code::Code,
    id::{Timestamp, UserId},
    limit,
    people::ContactState,
    presence::{PresenceState, PresenceView},
};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};

fn state(live: &Live<PresenceMap>, user: UserId) -> PresenceState {
    live.get().get(&user).map_or(PresenceState::Unknown, |view| view.state)
}

pub(super) async fn become_contacts(c: &Cluster, one: &Device, other: &Device) {
    one.client().contacts().request(other.user()).await.expect("asked");
    other.client().contacts().request(one.user()).await.expect("asked");
    for (who, of) in [(one, other), (other, one)] {
        c.wait_for("they are contacts", async || {
            let list = who.client().contacts().list().await.unwrap_or_default();
            list.iter().any(|contact| contact.user == of.user() && contact.state == ContactState::Mutual)
        })
        .await;
    }
}

/// Everything that a device is shown of a user, for those who look for a word that was never to be said.
pub(super) struct Seen {
    all: Arc<Mutex<Vec<PresenceState>>>,
    tasks: JoinSet<()>,
}

impl Seen {
    pub(super) fn of(device: &Device, user: UserId) -> Self {
        let (all, mut tasks) = (Arc::<Mutex<Vec<PresenceState>>>::default(), JoinSet::new());
        let (told, mut live) = (all.clone(), device.client().presence(&[user]));
        tasks.spawn(async move {
            while let Some(map) = live.changed().await {
                if let Some(view) = map.get(&user) {
                    told.lock().expect("whole").push(view.state);
                }
            }
        });
        Self { all, tasks }
    }
    pub(super) fn states(mut self) -> Vec<PresenceState> {
        self.tasks.abort_all();
        self.all.lock().expect("whole").clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_see_each_other_come_go_away_and_hide_and_strangers_see_nothing() {
    let c = Cluster::start(3).await;
    let (ann, mut bob, eve) = (c.client("ann").await, c.client("bob").await, c.client("eve").await);
    become_contacts(&c, &ann, &bob).await;
    let ids = [ann.user(), bob.user(), eve.user(), UserId::new(7)];
    let (a, e) = (ann.client().presence(&ids), eve.client().presence(&ids));
    c.wait_for("ann sees bob", async || state(&a, bob.user()) == PresenceState::Online).await;
    c.wait_for("ann sees herself", async || state(&a, ann.user()) == PresenceState::Online).await;
    // Of a stranger and of nobody the answer is the same, to the byte.
    c.wait_for("eve is told", async || state(&e, bob.user()) == PresenceState::Offline && state(&e, ids[3]) == PresenceState::Offline).await;
    for user in [bob.user(), ids[3]] {
        assert_eq!(e.get()[&user], PresenceView::hidden(user));
    }
    assert_eq!(
        eve.client().presence_now(&[ann.user(), ids[3]]).await.expect("answered"),
        [PresenceView::hidden(ann.user()), PresenceView::hidden(ids[3])]
    );
    assert_eq!(ann.client().presence_now(&[bob.user()]).await.expect("answered")[0].state, PresenceState::Online);

    // Several devices: the highest counts.
    bob.client().set_presence(Presence::Away).await.expect("said");
    c.wait_for("bob is away", async || state(&a, bob.user()) == PresenceState::Away).await;
    let phone = c.client("bob").await;
    c.wait_for("bob is on his phone", async || state(&a, bob.user()) == PresenceState::Online).await;
    phone.go_offline().await;
    c.wait_for("bob is away again", async || state(&a, bob.user()) == PresenceState::Away).await;

    // Gone, and since when; and back: an app that is started again is active.
    bob.go_offline().await;
    c.wait_for("bob is gone", async || state(&a, bob.user()) == PresenceState::Offline).await;
    c.wait_for("it is said since when", async || a.get()[&bob.user()].last_seen.is_some()).await;
    bob.go_online(&c).await;
    c.wait_for("bob is back", async || state(&a, bob.user()) == PresenceState::Online).await;

    // Who hides is offline to all others, at once, and to one who asks anew.
    bob.client().set_private(true).await.expect("hidden");
    c.wait_for("bob hides", async || state(&a, bob.user()) == PresenceState::Offline).await;
    let asked = ann.client().presence_now(&[bob.user()]).await.expect("answered")[0];
    assert_eq!((asked.state, asked.last_seen), (PresenceState::Offline, None));
    bob.client().set_private(false).await.expect("seen");
    c.wait_for("bob is seen", async || state(&a, bob.user()) == PresenceState::Online).await;

    // A former contact and one who is blocked get what a stranger gets.
    bob.client().contacts().remove(ann.user()).await.expect("ended");
    c.wait_for("no contact any more", async || a.get()[&bob.user()] == PresenceView::hidden(bob.user())).await;
    bob.client().contacts().request(ann.user()).await.expect("asked");
    c.wait_for("a contact again", async || state(&a, bob.user()) == PresenceState::Online).await;
    bob.client().contacts().block(ann.user()).await.expect("blocked");
    c.wait_for("blocked", async || a.get()[&bob.user()] == PresenceView::hidden(bob.user())).await;
    assert_eq!(ann.client().presence_now(&[bob.user()]).await.expect("answered"), [PresenceView::hidden(bob.user())]);

    let many: Vec<UserId> = (0..=limit::WATCHES_MAX as u64).map(UserId::new).collect();
    assert_eq!(ann.client().presence_now(&many).await.err().map(|error| error.code), Some(Code::TooLarge));
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_leader_a_lost_edge_and_a_restart_of_every_node_make_nobody_look_gone() {
    let mut c = Cluster::start_with(Setup { presence: PresenceSettings { grace_s: 30, ..PresenceSettings::default() }, ..Setup::nodes(3) }).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    become_contacts(&c, &ann, &bob).await;
    let live = [ann.client().presence(&[bob.user()]), bob.client().presence(&[ann.user()])];
    c.wait_for("they see each other", async || live.iter().zip([bob.user(), ann.user()]).all(|(live, of)| state(live, of) == PresenceState::Online))
        .await;
    let seen = [Seen::of(&ann, bob.user()), Seen::of(&bob, ann.user())];
    // A group that is stopped while an append waits for it says so.
    c.expect_logs("failed to receive from RaftCore");
    for node in 1..=3 {
        if node == 2 {
            c.kill(node).await;
        } else {
            c.shut_down(node).await;
        }
        c.restart(node).await;
        c.wait_ready().await;
        c.wait_for("both are online", async || [&ann, &bob].iter().all(|device| device.client().status().get().is_online())).await;
    }
    // Each is seen by a question that a home answers, so that what was shown is what is so.
    for (who, of) in [(&ann, &bob), (&bob, &ann)] {
        c.wait_for("the homes know", async || {
            who.client().presence_now(&[of.user()]).await.is_ok_and(|views| views[0].state == PresenceState::Online)
        })
        .await;
    }
    for seen in seen {
        let states = seen.states();
        assert!(!states.contains(&PresenceState::Offline), "{states:?}");
        assert!(states.len() <= 6, "no storm: {states:?}");
    }
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_network_flaps_is_not_seen_to() {
    let c = Cluster::start(3).await;
    let (ann, mut bob) = (c.client("ann").await, c.client("bob").await);
    become_contacts(&c, &ann, &bob).await;
    let live = ann.client().presence(&[bob.user()]);
    c.wait_for("ann sees bob", async || state(&live, bob.user()) == PresenceState::Online).await;
    let seen = Seen::of(&ann, bob.user());
    for _ in 0..5 {
        bob.go_offline().await;
        bob.go_online(&c).await;
    }
    c.wait_for("bob is known to be here", async || {
        ann.client().presence_now(&[bob.user()]).await.is_ok_and(|views| views[0].state == PresenceState::Online)
    })
    .await;
    let states = seen.states();
    assert!(states.iter().all(|state| *state == PresenceState::Online) && states.len() <= 1, "{states:?}");
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_contacts_are_told_nobody_need_ask() {
    let presence = PresenceSettings { fanout: PresenceFanout::All, grace_s: 3 };
    let c = Cluster::start_with(Setup { presence, ..Setup::nodes(3).with_api() }).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    become_contacts(&c, &ann, &bob).await;
    let web = Caller::new(&c, "ann").await;
    let mut events = web.listen(&c, 2, None).await;
    events.until("presence", &bob.user().to_string()).await;
    bob.client().set_presence(Presence::Away).await.expect("said");
    events.until("presence", "\"away\"").await;
    // A contact that is new is told of at once.
    let eve = c.client("eve").await;
    become_contacts(&c, &ann, &eve).await;
    events.until("presence", &eve.user().to_string()).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_who_is_here_is_asked_for_and_listened_to() {
    let c = Cluster::start_with(Setup::nodes(3).with_api()).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    become_contacts(&c, &ann, &bob).await;
    let web = Caller::new(&c, "ann").await;
    let path = format!("/v1/presence?users={},{}", bob.user(), UserId::new(9));
    let answer = web.get(&c, 1, &path).await.expect(200);
    assert_eq!(answer["users"][0], json!({ "user": bob.user().to_string(), "state": "online" }));
    assert_eq!(answer["users"][1], json!({ "user": UserId::new(9).to_string(), "state": "offline" }));
    let mut events = web.listen_at(&c, 3, &format!("/v1/events?watch={}", bob.user()), None).await;
    events.until("presence", "\"online\"").await;
    let of_bob = Caller::new(&c, "bob").await;
    of_bob.ask(&c, 2, "PUT", "/v1/me/presence", &[], Some(json!({ "private": true }))).await.expect(200);
    events.until("presence", "\"offline\"").await;
    assert_eq!(web.get(&c, 1, "/v1/presence?users=bob").await.status, 400, "an id is asked for");
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_left_for_good_is_written_down_and_a_new_leader_says_since_when() {
    let mut c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    become_contacts(&c, &ann, &bob).await;
    let live = ann.client().presence(&[bob.user()]);
    c.wait_for("ann sees bob", async || state(&live, bob.user()) == PresenceState::Online).await;
    bob.go_offline().await;
    c.wait_for("bob is gone", async || state(&live, bob.user()) == PresenceState::Offline).await;
    let since = live.get()[&bob.user()].last_seen.expect("it is said since when");
    let leader = c.leader_of(c.group_of(bob.user().bucket())).await;
    c.kill(leader).await;
    c.restart(leader).await;
    c.wait_ready().await;
    // The leader may have been lost before it wrote down when that was: then it is said when bob was last written down, ten minutes ago at most.
    let is_near = |at: Timestamp| at <= since && since.get() - at.get() <= limit::SEEN_EVERY_MS;
    c.wait_for("another leader says about the same", async || {
        let asked = timeout(Duration::from_secs(5), ann.client().presence_now(&[bob.user()])).await;
        asked.is_ok_and(|views| views.is_ok_and(|views| views[0].state == PresenceState::Offline && views[0].last_seen.is_some_and(is_near)))
    })
    .await;
    c.finish().await;
}
