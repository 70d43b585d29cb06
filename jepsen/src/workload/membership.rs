//! W5: members of small groups are added and removed, made admins and plain members again, while they send and read: what an answer says of it must fit one order.
//!
//! In: an owner who changes the members of each group and their roles, one change at a time in each; members who send, send again what was acked, do what only an admin may, and
//! read from any replica, removed or not; and somebody who asks who the members are. The admins of a group are judged as a set of their own ([`admins`]), which a
//! removal from the group is a removal from as well. Beside it, links that one may join by ([`super::links`]).
//! Bounds: per group, one change, one question, one send and one act of each member at a time. Not here: judging.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kith_client::wire::code::Code;
use kith_client::wire::id::{NodeId, Seq};
use kith_client::wire::log::Role;
use kith_client::{Backfill, Client, Error, History, Outgoing};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::direct::{Direct, Fate};
use super::{Account, Audit, Bench, Loads, Phase, Room, links, pages, reached};
use crate::history::Outcome;
use crate::record::{self, Voice};
use crate::seed::Chance;

/// Members of each group besides its owner.
const MEMBERS: usize = 4;
/// Groups.
const ROOMS: usize = 3;
/// How far below what it has seen a member reads.
const BACK: u64 = 8;
/// How long a change or a send goes on after the load has stopped.
const SETTLE: Duration = Duration::from_secs(15);

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let phase = loads.phase.clone();
    let owner = bench.account("membership-owner").await?;
    let mut members = Vec::new();
    for n in 0..MEMBERS {
        members.push(bench.account(&format!("membership-{n}")).await?);
    }
    let users: Vec<_> = members.iter().chain([&owner]).map(|account| account.user).collect();
    let rooms = Arc::new(bench.rooms(&owner, &users, (0..ROOMS).map(|n| format!("membership-{n}"))).await?);
    let names: BTreeMap<_, _> = members.iter().chain([&owner]).map(|account| (account.user.get(), account.name.clone())).collect();
    let names = Arc::new(names);
    for (n, room) in rooms.iter().enumerate() {
        loads.spawn(change(Arc::clone(bench), owner.clone(), members.clone(), n, room.clone(), phase.clone()));
    }
    loads.spawn(ask(Arc::clone(bench), owner.clone(), Arc::clone(&rooms), names, phase.clone()));
    for (n, account) in members.into_iter().enumerate() {
        loads.spawn(write(Arc::clone(bench), account.clone(), n, Arc::clone(&rooms), phase.clone()));
        loads.spawn(act(Arc::clone(bench), account.clone(), n, Arc::clone(&rooms), phase.clone()));
        loads.spawn(read(Arc::clone(bench), account, n, Arc::clone(&rooms), phase.clone()));
    }
    links::start(bench, loads, &owner).await?;
    Ok(Audit { reader: owner, rooms: rooms.to_vec() })
}

/// The set of a group's admins, as the history names it.
fn admins(room: &Room) -> String {
    format!("{}-admins", room.name)
}

/// A change of one member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Remove,
    Add,
    Raise,
    Lower,
}

/// Removes and adds, raises and lowers, one at a time: whose removal is acked is known to be out until the next change begins.
async fn change(
    bench: Arc<Bench>,
    owner: Account,
    members: Vec<Account>,
    n: usize,
    room: Room,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0x3e3b_0000 + n as u64));
    let client = bench.client(&owner, n, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, &format!("membership-owner-{n}"), &owner.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let channel = client.channel(room.id);
    while *phase.borrow() != Phase::Stopped {
        let who = chance.one_of(&members).clone();
        // Some are lowered before they are removed, others are removed as admins.
        let steps: &[Step] = match chance.within(0, 3) {
            0 => &[Step::Remove, Step::Add],
            1 => &[Step::Raise, Step::Lower],
            2 => &[Step::Remove, Step::Add, Step::Raise],
            _ => &[Step::Raise, Step::Remove, Step::Add],
        };
        for step in steps {
            let adds = matches!(step, Step::Add | Step::Raise);
            // Each with the sets that it changes: who is removed is no admin any more.
            let sets: Vec<String> = match step {
                Step::Add => vec![room.name.clone()],
                Step::Remove => vec![room.name.clone(), admins(&room)],
                Step::Raise | Step::Lower => vec![admins(&room)],
            };
            let begun: Vec<(u64, String)> = sets.into_iter().map(|set| (voice.begin(record::member(&set, &who.name, adds, None)), set)).collect();
            let started = match step {
                Step::Add => channel.add(who.user).await,
                Step::Remove => channel.remove(who.user).await,
                Step::Raise => channel.set_role(who.user, Role::Admin).await,
                Step::Lower => channel.set_role(who.user, Role::Member).await,
            };
            let mut stopped = phase.clone();
            let (outcome, seq, error) = tokio::select! {
                end = ended(started) => end,
                // What is not answered by then stays without an end, and nothing else is asked of this member.
                () = async { reached(&mut stopped, Phase::Stopped).await; tokio::time::sleep(SETTLE).await } => return Ok(()),
            };
            for (token, set) in begun {
                voice.end(token, outcome, record::member(&set, &who.name, adds, seq), error.clone());
            }
            let (from, to) = if adds { (300, 1_200) } else { (200, 700) };
            let pause = bench.pause(&mut chance, from, to);
            let _ = timeout(pause, reached(&mut phase, Phase::Stopped)).await;
        }
    }
    client.close().await;
    Ok(())
}

async fn ended(started: Result<Outgoing, Error>) -> (Outcome, Option<u64>, Option<String>) {
    match started {
        Ok(outgoing) => match outgoing.sent().await {
            Ok(message) => (Outcome::Ok, Some(message.seq().get()), None),
            Err(error) if error.is_final() => (Outcome::Fail { is_final: true }, None, Some(error.to_string())),
            Err(error) => (Outcome::Info, None, Some(error.to_string())),
        },
        Err(error) => (Outcome::Fail { is_final: false }, None, Some(error.to_string())),
    }
}

/// Asks who the members are, through another device of the owner.
async fn ask(
    bench: Arc<Bench>,
    owner: Account,
    rooms: Arc<Vec<Room>>,
    names: Arc<BTreeMap<u64, String>>,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ 0x3e3c_0000);
    let client = bench.client(&owner, 1, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, "membership-owner-asks", &owner.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    loop {
        let room = chance.one_of(&rooms);
        let pause = bench.pause(&mut chance, 60, 200);
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                let sets = [room.name.clone(), admins(room)];
                let tokens = sets.each_ref().map(|set| voice.begin(record::members(set, Vec::new())));
                let seen = client.channel(room.id).view().await;
                for ((set, token), all) in sets.iter().zip(tokens).zip([true, false]) {
                    match &seen {
                        Ok(view) => {
                            let name = |user: u64| names.get(&user).cloned().unwrap_or_else(|| format!("user {user}"));
                            let of = view.members.iter().filter(|member| all || member.role == Role::Admin);
                            let members = of.map(|member| name(member.user.get())).collect();
                            voice.end(token, Outcome::Ok, record::members(set, members), None);
                        }
                        Err(error) => voice.end(token, Outcome::Fail { is_final: false }, record::members(set, Vec::new()), Some(error.to_string())),
                    }
                }
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    client.close().await;
    Ok(())
}

/// A member who sends, whether in or out, and sends again what was acked.
async fn write(bench: Arc<Bench>, account: Account, n: usize, rooms: Arc<Vec<Room>>, phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0x3e3d_0000 + n as u64));
    let mut device = Direct::new(&bench, &account, &account.name, n, &mut chance)?;
    let mut until = None;
    loop {
        let is_over = *phase.borrow() == Phase::Stopped;
        if is_over {
            let until = *until.get_or_insert_with(|| Instant::now() + SETTLE);
            if Instant::now() > until || !rooms.iter().any(|room| device.is_open(room)) {
                break;
            }
        }
        let room = chance.one_of(&rooms);
        if is_over && !device.is_open(room) {
            continue;
        }
        let is_again = !is_over && chance.percent(30);
        let fate = if is_again { device.send_again(room, &mut chance).await } else { Some(device.send(room, &mut chance).await) };
        // One who was just refused has something acked to ask about again: removed or not, that stands.
        if fate == Some(Fate::Refused(Code::NotMember)) && !is_over {
            device.send_again(room, &mut chance).await;
        }
        if chance.percent(2) {
            device.leave();
        }
        tokio::time::sleep(bench.pause(&mut chance, 30, 90)).await;
    }
    device.leave();
    Ok(())
}

/// A member who does what only an admin may, whether they are one or not.
async fn act(bench: Arc<Bench>, account: Account, n: usize, rooms: Arc<Vec<Room>>, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0x3e3f_0000 + n as u64));
    let client = bench.client(&account, n, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, &format!("{}-acts", account.name), &account.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let mut number = 0_u64;
    loop {
        let room = chance.one_of(&rooms);
        let pause = bench.pause(&mut chance, 300, 800);
        number += 1;
        tokio::select! {
            // What is not answered by then stays without an end.
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                let set = admins(room);
                let token = voice.begin(record::member_act(&set));
                let (outcome, error) = match client.channel(room.id).describe(None, Some(format!("as {} {number} says", account.name))).await {
                    Ok(outgoing) => match outgoing.done().await {
                        Ok(_) => (Outcome::Ok, None),
                        Err(error) if matches!(error.code, Code::NotAllowed | Code::NotMember) => {
                            (Outcome::Fail { is_final: true }, Some("not_member".to_owned()))
                        }
                        Err(error) if error.is_final() => (Outcome::Fail { is_final: true }, Some(error.to_string())),
                        Err(error) => (Outcome::Info, Some(error.to_string())),
                    },
                    Err(error) => (Outcome::Fail { is_final: false }, Some(error.to_string())),
                };
                voice.end(token, outcome, record::member_act(&set), error);
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    client.close().await;
    Ok(())
}

/// A member who reads from any replica, whether in or out.
async fn read(bench: Arc<Bench>, account: Account, n: usize, rooms: Arc<Vec<Room>>, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0x3e3e_0000 + n as u64));
    let client = bench.client(&account, n, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, &format!("{}-eye", account.name), &account.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let mut seen = BTreeMap::new();
    loop {
        let room = chance.one_of(&rooms);
        let node = bench.lab.nodes[chance.within(0, bench.lab.nodes.len() as u64 - 1) as usize].id;
        let replica = chance.percent(70).then(|| NodeId::new(node));
        let pause = bench.pause(&mut chance, 60, 160);
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                let seen = seen.entry(room.name.clone()).or_insert(0);
                *seen = look(&client, &voice, room, replica, *seen).await;
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    client.close().await;
    Ok(())
}

async fn look(client: &Client, voice: &Voice, room: &Room, replica: Option<NodeId>, seen: u64) -> u64 {
    let first = seen.saturating_sub(BACK).max(1);
    let want = History { first: Seq::new(first), newest_first: false, min_seq: Seq::new(seen), replica, ..History::default() };
    let op = |items, withheld| record::read_as(&room.name, Some(first), false, items, withheld);
    let token = voice.begin(op(Vec::new(), Vec::new()));
    match pages(&client.channel(room.id), want).await {
        Ok((items, withheld)) => {
            let last = items.last().map_or(seen, |item| item.seq.max(seen));
            voice.end(token, Outcome::Ok, op(items, withheld), None);
            last
        }
        Err(error) => {
            voice.end(token, Outcome::Fail { is_final: false }, op(Vec::new(), Vec::new()), Some(error.to_string()));
            seen
        }
    }
}
