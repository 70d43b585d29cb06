//! Pushes and presence at a size, and over minutes: a restart of all nodes under many clients, many devices that are away from busy groups, a push that is taken back.
//!
//! Only when they are asked for: `make restart-clients`, `make push-crowd`, `make push-minutes`. A run of all tests has a restart with a few in `push`.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use kith::cluster::files::PresenceSettings;
use kith_client::{Channel, Error, NewChannel};
use kith_machine::reply::Reply;
use kith_tests::{Cluster, Device, PATIENCE, Setup, receiver::Receiver};
use kith_wire::{
    id::{ChannelId, DeviceId, Timestamp, UserId},
    limit,
    log::{Command, PushChange, UserChange},
    presence::PresenceState,
    push::{PushAbout, PushPayload},
};
use serde_json::json;

use super::{
    presence::{Seen, become_contacts},
    push::{KEY, grown, pushed, register, target},
};

/// A number from outside. Nobody asks: nothing is done.
fn asked<N: FromStr>(name: &str) -> Option<N> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

async fn come(c: &Cluster, people: usize, receiver: &Receiver) -> Vec<Device> {
    let come = |number: usize| async move {
        let device = c.client(&format!("bob-{number}")).await;
        register(&device, receiver).await;
        device
    };
    stream::iter(0..people).map(come).buffered(16).collect().await
}

async fn befriend(c: &Cluster, friends: &[[&Device; 2]]) {
    stream::iter(friends).for_each_concurrent(16, |[one, other]| become_contacts(c, one, other)).await;
}

/// Waits until the homes say so, asked by each friend.
async fn all_see_each_other(c: &Cluster, friends: &[[&Device; 2]]) {
    let both = friends.iter().flat_map(|[one, other]| [(*one, *other), (*other, *one)]);
    let sees = |(who, of): (&Device, &Device)| {
        let (who, of) = (who.client().clone(), of.user());
        async move {
            let is_online = async || who.presence_now(&[of]).await.is_ok_and(|views| views[0].state == PresenceState::Online);
            c.wait_for("a friend is seen", is_online).await;
        }
    };
    stream::iter(both).for_each_concurrent(64, sees).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_every_node_one_after_another_shows_nobody_gone_and_pushes_to_nobody_who_is_here() {
    // Two by two they are friends, and look at each other.
    let Some(people) = asked::<usize>("KITH_CLIENTS").map(|people| people / 2 * 2) else { return };
    let is_small = people <= 100;
    let grace_s = if is_small { 30 } else { PresenceSettings::default().grace_s };
    let presence = PresenceSettings { grace_s, ..PresenceSettings::default() };
    let mut cluster = Cluster::start_with(Setup { presence, sessions_max: 1_000 + 2 * people, quick_clients: is_small, ..Setup::nodes(3) }).await;
    let (c, receiver) = (&mut cluster, &Receiver::start(KEY, 0).await);
    let ann = c.client("ann").await;
    let devices: Vec<Device> = come(c, people, receiver).await;
    let away = c.client("zoe").await;
    register(&away, receiver).await;
    let friends: Vec<[&Device; 2]> = devices.chunks_exact(2).map(|pair| [&pair[0], &pair[1]]).collect();
    befriend(c, &friends).await;
    let rooms: Vec<String> = (0..devices.chunks(limit::MEMBERS_MAX - 2).len()).map(|number| format!("room {number}")).collect();
    for (room, members) in rooms.iter().zip(devices.chunks(limit::MEMBERS_MAX - 2)) {
        let others: Vec<&Device> = members.iter().chain([&away]).collect();
        c.room(room, &ann, &others).await;
    }
    away.go_offline().await;
    let seen: Vec<Seen> = friends.iter().flat_map(|[one, other]| [Seen::of(one, other.user()), Seen::of(other, one.user())]).collect();
    all_see_each_other(c, &friends).await;
    let say = async |text: &str| {
        for room in &rooms {
            ann.send(room, &format!("{text}, to {room}")).await;
        }
    };
    // A group that is stopped while an append waits for it says so.
    c.expect_logs("failed to receive from RaftCore");
    for node in 1..=3 {
        say(&format!("before the restart of {node}")).await;
        c.shut_down(node).await;
        say(&format!("without {node}")).await;
        c.restart(node).await;
        c.wait_ready().await;
        for device in &devices {
            c.wait_for("all are online", async || device.client().status().get().is_online()).await;
        }
    }
    let last = ann.send(&rooms[0], "the last").await;
    say("the end").await;
    for (number, device) in devices.iter().enumerate() {
        let room = &rooms[number / (limit::MEMBERS_MAX - 2)];
        let text = format!("the end, to {room}");
        c.wait_for("everybody has it", async || device.has(room, &text).await).await;
    }
    all_see_each_other(c, &friends).await;
    // Who is away is pushed to, with the last that was said: by then whoever else was taken to be away would have been, too.
    c.wait_within(2 * PATIENCE, "zoe is pushed to", async || grown(receiver, away.user()).iter().any(|(_, seq)| *seq >= last.seq().get())).await;
    let users: BTreeSet<UserId> = pushed(receiver).iter().map(|push| push.user).collect();
    assert_eq!(users, BTreeSet::from([away.user()]), "who is connected is pushed to");
    let mut told = 0;
    for (number, seen) in seen.into_iter().enumerate() {
        let states = seen.states();
        assert!(!states.contains(&PresenceState::Offline), "friend {number} was seen offline: {states:?}");
        told += states.len();
    }
    eprintln!("{people} clients, all nodes restarted: {told} changes shown, none offline; {} pushes, all to the one who was away", receiver.count());
    cluster.finish().await;
}

/// Who is in one group: all of them away, but for the one who speaks.
const AWAY: usize = limit::MEMBERS_MAX - 1;
/// Receivers, over which devices are spread: each connection needs a port of its own for a minute.
const RECEIVERS: usize = 8;
const PHONE: DeviceId = DeviceId::new(1);

/// What came, by user and conversation: seq, second, id.
type Told = BTreeMap<(UserId, ChannelId), Vec<(u64, u64, String)>>;

/// Users with a device that is pushed to, who never come. Logged straight: what is measured is not how one signs up.
async fn absent(c: &Cluster, count: usize, receivers: &[Receiver]) -> Vec<UserId> {
    let make = |number: usize| async move {
        let user = UserId::new(0x7000_0000_0000 + number as u64);
        let group = c.group_of(user.bucket());
        let handle = c.node(c.leader_of(group).await).groups().get(group).expect("led there");
        let target = target(&receivers[number % receivers.len()]);
        let commands = [
            Command::CreateUser { user, name: format!("away-{number}"), key: [7; 32] },
            Command::RegisterDevice { user, device: PHONE, login: 0, issued: Timestamp::new(1) },
            UserChange::Push(PushChange::Register { device: PHONE, target }).of(user),
        ];
        for command in commands {
            let reply = handle.propose(kith_machine::item(command)).await.expect("logged");
            assert!(!matches!(reply, Reply::Rejected(_)), "{reply:?}");
        }
        user
    };
    stream::iter(0..count).map(make).buffer_unordered(256).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_are_away_from_busy_groups_get_no_more_pushes_than_one_a_minute() {
    let Some(groups) = asked::<usize>("KITH_AWAY").map(|away| away.div_ceil(AWAY)) else { return };
    let is_small = groups <= 10;
    // Rounds of texts in every group; a small run ends within the first minute.
    let rounds: u32 = asked("KITH_ROUNDS").unwrap_or(4);
    let c = Cluster::start(3).await;
    let receivers: Vec<Receiver> = stream::iter(0..RECEIVERS).then(|_| Receiver::start(KEY, 0)).collect().await;
    let users = absent(&c, groups * AWAY, &receivers).await;
    let mut speakers: Vec<Device> = Vec::new();
    for number in 0..groups.min(8) {
        speakers.push(c.client(&format!("ann-{number}")).await);
    }
    let make = |(number, members): (usize, &[UserId])| {
        let (speaker, members) = (speakers[number % speakers.len()].client().clone(), members.to_vec());
        async move { speaker.create_channel(NewChannel::group(format!("group {number}")).members(members)).await }
    };
    let rooms: Vec<_> = stream::iter(users.chunks(AWAY).enumerate()).map(make).buffered(16).try_collect().await.expect("made");
    eprintln!("{} devices in {} groups of {}", users.len(), rooms.len(), AWAY + 1);

    let mut heads: BTreeMap<ChannelId, u64> = BTreeMap::new();
    for round in 0..rounds {
        let say = |room: &Channel| {
            let room = room.clone();
            async move {
                let sent = room.send(format!("round {round}")).await?.sent().await?;
                Ok::<_, Error>((room.id(), sent.seq().get()))
            }
        };
        heads = stream::iter(&rooms).map(say).buffered(64).try_collect().await.expect("sent");
    }
    let count = || receivers.iter().map(Receiver::count).sum::<usize>();
    let mut came = 0;
    while came < users.len() {
        c.wait_within(2 * PATIENCE, "more pushes come", async || count() > came).await;
        came = count();
    }
    eprintln!("each was pushed to once: {came} pushes");
    // Those that had been pushed before the last round are pushed once more.
    let told = || {
        let mut told = Told::new();
        for post in receivers.iter().flat_map(Receiver::posts) {
            let push = PushPayload::decode_text(post.data["kith"].as_str().expect("a payload")).expect("a push");
            let PushAbout::Grown { channel, seq, .. } = push.about else { panic!("nothing was read: {push:?}") };
            told.entry((push.user, channel)).or_default().push((seq.get(), post.sent_s, post.id));
        }
        told
    };
    let is_whole =
        |told: &Told| told.len() == users.len() && told.iter().all(|((_, channel), pushes)| pushes.iter().any(|(seq, ..)| *seq == heads[channel]));
    let due = || c.running().into_iter().map(|node| c.metric(node, "kith_push_due")).sum::<f64>();
    while !is_small && due() > 0.0 {
        let seen = count();
        c.wait_within(Duration::from_secs(150), "those that are left are pushed to", async || count() > seen || due() == 0.0).await;
    }
    let (told, mut again, mut most) = (told(), 0, 0);
    assert_eq!(told.len(), users.len(), "nobody is left out");
    for ((user, channel), pushes) in &told {
        // The same push once more, after an answer that was lost: its id says so, and what is shown is one.
        let by_id: BTreeMap<&String, u64> = pushes.iter().map(|(_, sent_s, id)| (id, *sent_s)).collect();
        again += pushes.len() - by_id.len();
        most = most.max(by_id.len());
        let mut at: Vec<u64> = by_id.into_values().collect();
        at.sort_unstable();
        // Whole seconds are told.
        let apart = limit::PUSH_EVERY_MS / 1_000 - 1;
        assert!(at.windows(2).all(|pair| pair[1] >= pair[0] + apart), "{user} was told of {channel} too often: {pushes:?}");
    }
    assert!(is_small || is_whole(&told), "the last text was pushed to everybody");
    eprintln!("{} pushes to {} devices for {rounds} texts in each group: at most {most} each, {again} repeated under their id", count(), users.len());
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_shows_is_taken_back_after_it_was_read_on_another() {
    if asked::<u64>("KITH_MINUTES").is_none() {
        return;
    }
    let c = Cluster::start(3).await;
    let receiver = Receiver::start(KEY, 0).await;
    let (ann, phone, laptop) = (c.client("ann").await, c.client("bob").await, c.client("bob").await);
    register(&phone, &receiver).await;
    let channel = ann.direct("talk", phone.user());
    phone.go_offline().await;
    let sent = ann.send("talk", "are you there?").await;
    c.wait_for("his phone is pushed to", async || !grown(&receiver, phone.user()).is_empty()).await;
    c.wait_for("he has it on his laptop", async || laptop.has("talk", "are you there?").await).await;
    laptop.client().channel(channel).mark_read(sent.seq()).await.expect("read");
    // A push as any other: not within a minute of the last one about the same conversation.
    c.wait_within(2 * PATIENCE, "it is taken back", async || receiver.count() > 1).await;
    let (pushes, posts) = (pushed(&receiver), receiver.posts());
    let read = PushPayload { user: phone.user(), badge: 0, about: PushAbout::Read { channel, seq: sent.seq() } };
    assert_eq!(pushes[1..], [read]);
    assert!(posts[1].sent_s + 1 >= posts[0].sent_s + limit::PUSH_EVERY_MS / 1_000, "{posts:?}");
    assert_eq!((&posts[1].data["collapse"], &posts[1].data["urgency"]), (&posts[0].data["collapse"], &json!("normal")));
    let text = read.to_text();
    assert_eq!(laptop.client().taken_back(text.as_bytes()).expect("read"), Some((channel, sent.seq())));
    assert_eq!(laptop.client().open_push(text.as_bytes(), Duration::from_secs(1)).await.expect("opened"), None);
    c.finish().await;
}
