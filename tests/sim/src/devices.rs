//! Devices that read: the real client core over a connection that breaks, at any node, from any state of its store.
//!
//! In: a cluster, its people. Out: screens, judged as they change. Some stay where they are, some come and go and move, some begin again
//! with nothing. Invariants: `screen`; a device that is alone is never told that it was replaced. Not here: writing (`people`).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kith_client::{
    Backfill,
    store::Identity,
    testing::{Device, DeviceOptions, Does, Pulls},
};
use kith_raft::disk::Reader;
use kith_wire::{
    client::{Page, ToClient, ToEdge},
    code::Code,
    id::{ChannelId, UserId},
    peer::Caller,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    cluster::{Cluster, group_of},
    edge::{Edge, token},
    people::People,
    random::Random,
    screen::Screen,
    wire::End,
};

/// How often one device begins with nothing: each time it is another device of the user.
const BEGINS_MAX: u32 = 5;

/// How a device lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// Connects again only when it must.
    Stays,
    /// Comes and goes, to any node.
    Roams,
    /// So, and now and then loses all that it has.
    Renews,
}

/// All of them.
pub(crate) struct Devices {
    cluster: Arc<Cluster>,
    all: Vec<Arc<Phone>>,
    rest: AtomicBool,
}

struct Phone {
    number: u64,
    user: UserId,
    way: Way,
    backfill: Backfill,
    state: Mutex<State>,
}

struct State {
    device: Device,
    screen: Screen,
    begins: u32,
}

/// A page that came, or the end of its stream.
type Pulled = (Pulls, Option<Page>);

impl Devices {
    /// Draws who has which.
    pub(crate) fn new(cluster: Arc<Cluster>, people: &People, random: &mut Random) -> Self {
        let users = people.users();
        let drawn = *random.pick(users);
        let lives = [
            (users[2], Way::Stays, Backfill::All),
            (users[5], Way::Roams, Backfill::All),
            (users[6], if random.percent(50) { Way::Stays } else { Way::Roams }, Backfill::Recent(3)),
            (drawn, Way::Renews, Backfill::All),
        ];
        let all = (1..).zip(lives).map(|(number, (user, way, backfill))| {
            let state = State { device: device(user, backfill, random), screen: Screen::default(), begins: 0 };
            Arc::new(Phone { number, user, way, backfill, state: Mutex::new(state) })
        });
        Self { all: all.collect(), cluster, rest: AtomicBool::new(false) }
    }
    /// The life of each.
    pub(crate) fn lives(self: &Arc<Self>, random: &mut Random) -> Vec<BoxFuture<'static, ()>> {
        self.all.iter().map(|phone| self.clone().live(phone.clone(), random.fork()).boxed()).collect()
    }
    /// From now on nobody leaves by themselves.
    pub(crate) fn rest(&self) {
        self.rest.store(true, Ordering::Relaxed);
    }
    /// Whether every device has shown all that its user may see, and knows what the user's index says.
    ///
    /// # Errors
    /// Which has not.
    pub(crate) fn at_rest(&self, channels: impl Iterator<Item = ChannelId> + Clone) -> Result<(), String> {
        for phone in &self.all {
            let state = phone.lock();
            for channel in channels.clone() {
                let rows = self.rows(channel.bucket()).ok_or("a group has no leader")?;
                let home = self.rows(phone.user.bucket()).ok_or("a group has no leader")?;
                Screen::knows(&state.device, phone.user, channel, &home)
                    .and_then(|()| state.screen.is_whole(&state.device, phone.user, channel, &rows))
                    .map_err(|found| format!("device {} of {}: {found}", phone.number, phone.user))?;
            }
        }
        Ok(())
    }

    async fn live(self: Arc<Self>, phone: Arc<Phone>, mut random: Random) {
        let watch = self.cluster.watch();
        while watch.violation().is_none() {
            let up = self.cluster.up();
            let edge = (!up.is_empty()).then(|| *random.pick(&up)).and_then(|node| self.cluster.edge(node));
            if let Some(edge) = edge {
                phone.lock().device.handle_connected(Instant::now().into_std());
                let how = self.session(&phone, edge, &mut random).await;
                phone.lock().device.handle_disconnected();
                watch.note("left", &[phone.number, how as u64]);
                if how == Ended::Replaced {
                    return watch.violate(format!("device {} of {} was told that it was replaced, and is alone", phone.number, phone.user));
                }
            }
            let away = if phone.way != Way::Stays && random.percent(25) { 1_500 } else { 200 };
            sleep(random.between(Duration::from_millis(5), Duration::from_millis(away))).await;
            let mut state = phone.lock();
            if phone.way == Way::Renews && state.begins < BEGINS_MAX && !self.rests() && random.percent(40) {
                watch.note("begins", &[phone.number]);
                *state = State { device: device(phone.user, phone.backfill, &mut random), screen: Screen::default(), begins: state.begins + 1 };
            } else if random.percent(30) {
                watch.note("restarts", &[phone.number]);
                state.device.restart(Instant::now().into_std());
            }
        }
    }

    /// One connection, until it ends.
    async fn session(&self, phone: &Phone, edge: Arc<Edge>, random: &mut Random) -> Ended {
        let mut end: End<ToEdge, ToClient> = edge.connect();
        phone.lock().device.handle_paused(false);
        let mut pulls: FuturesUnordered<BoxFuture<'static, Pulled>> = FuturesUnordered::new();
        let began = Instant::now();
        let after = |random: &mut Random| Some(began + random.between(Duration::from_millis(50), Duration::from_millis(2_500)));
        let mut leave_at = if phone.way == Way::Stays { None } else { after(random) };
        let mut silent_at = if random.percent(15) { after(random) } else { None };
        let mut slow_from = if random.percent(10) { after(random) } else { None };
        let mut slow_to = None;
        loop {
            match self.drain(phone, &edge, &mut end, &mut leave_at) {
                Ok(more) => pulls.extend(more),
                Err(left) => return left,
            }
            let (now, rests) = (Instant::now(), self.rests());
            if leave_at.is_some_and(|at| at <= now) && !rests {
                return Ended::Away;
            }
            if silent_at.take_if(|at| *at <= now).is_some() && !rests {
                end.silence();
            }
            let due = phone.lock().device.poll_timeout().map(Instant::from_std);
            let wake = [due, leave_at.filter(|_| !rests), silent_at, slow_from, slow_to].into_iter().flatten().min();
            let wake = wake.unwrap_or(now + Duration::from_secs(1)).min(now + Duration::from_secs(1));
            // Every branch is cancel safe: a frame under way is kept, and so are the pulls.
            tokio::select! {
                biased;
                frame = end.recv() => match frame {
                    Some(frame) => phone.lock().device.handle_frame(Instant::now().into_std(), frame),
                    None => return Ended::Lost,
                },
                Some((pull, page)) = pulls.next(), if !pulls.is_empty() => match page {
                    _ if end.is_silent() => {}
                    page => phone.lock().device.handle_page(Instant::now().into_std(), pull, page),
                },
                () = sleep_until(wake) => {}
            }
            let now = Instant::now();
            let mut state = phone.lock();
            state.device.handle_timeout(now.into_std());
            if slow_from.take_if(|at| *at <= now).is_some() {
                slow_to = Some(now + random.between(Duration::from_millis(20), Duration::from_millis(800)));
                state.device.handle_paused(true);
            }
            if slow_to.take_if(|at| *at <= now).is_some() {
                state.device.handle_paused(false);
            }
        }
    }

    /// Does all that the device does now; gives the pulls that it opened.
    fn drain(
        &self,
        phone: &Phone,
        edge: &Arc<Edge>,
        end: &mut End<ToEdge, ToClient>,
        leave_at: &mut Option<Instant>,
    ) -> Result<Vec<BoxFuture<'static, Pulled>>, Ended> {
        let watch = self.cluster.watch();
        let mut state = phone.lock();
        let State { device, screen, .. } = &mut *state;
        let caller = Caller { user: phone.user, device: device.id(), admin: None, trace: 0, key: None, token: None };
        let mut pulls: Vec<BoxFuture<'static, Pulled>> = Vec::new();
        let mut left = None;
        for does in device.drain(Instant::now().into_std(), &token(phone.user)) {
            match does {
                Does::Send(frame) => {
                    if !end.send(frame) {
                        left = left.or(Some(Ended::Lost));
                    }
                }
                Does::Pull(pull, what) => {
                    let page = edge.clone().pull(caller.clone(), what);
                    pulls.push(async move { (pull, page.await) }.boxed());
                }
                Does::Show(channel, records) => {
                    let seqs = [records.first(), records.last()].map(|record| record.map_or(0, |record| record.at.seq.get()));
                    watch.note("shown", &[phone.number, seqs[0], seqs[1], records.len() as u64]);
                    let rows = self.rows(channel.bucket());
                    let rows = rows.as_ref().map(|rows| rows as &dyn kith_machine::view::StateView);
                    if let Err(found) = screen.show(device, phone.user, channel, records, rows) {
                        watch.violate(format!("device {} of {}: {found}", phone.number, phone.user));
                    }
                }
                Does::Welcomed => watch.note("welcomed", &[phone.number]),
                Does::Reconciled => watch.note("reconciled", &[phone.number]),
                Does::Lost(Code::Replaced) => left = Some(Ended::Replaced),
                Does::Lost(_) => left = left.or(Some(Ended::GaveUp)),
                Does::GoAway(_) => *leave_at = Some(Instant::now()),
            }
        }
        left.map_or(Ok(pulls), Err)
    }

    /// Rows of the leader of a bucket's group.
    fn rows(&self, bucket: kith_wire::id::Bucket) -> Option<Reader> {
        let group = group_of(bucket, self.cluster.shape().groups);
        self.cluster.handle(self.cluster.leader(group)?, group)?.reader().ok()
    }
    fn rests(&self) -> bool {
        self.rest.load(Ordering::Relaxed)
    }
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Away,
    Lost,
    GaveUp,
    Replaced,
}

impl Phone {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn device(user: UserId, backfill: Backfill, random: &mut Random) -> Device {
    let (high, low) = (u128::from(random.next()), u128::from(random.next()));
    let options = DeviceOptions {
        identity: Identity { user, nonce: (high << 64 | low).to_be_bytes() },
        backfill,
        heartbeat: Duration::from_secs(2),
        patience: Duration::from_millis(700),
        seed: random.next(),
    };
    Device::new(options, Instant::now().into_std())
}
