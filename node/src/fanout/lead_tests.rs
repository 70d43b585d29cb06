//! The duty with links that break and proposals that end out of order: whoever may have missed a push hears where they stand.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use kith_machine::view::Row;
use kith_raft::transport::{PeerTransport, SnapshotSource, TransportError};
use kith_wire::{
    id::{Conn, Timestamp},
    log::UserRow,
    peer::{AppendResult, Ask, IndexMove, SnapshotHead, Told},
    presence::PresenceState,
};

use super::*;
use crate::{
    clock::Clock,
    cluster::map::MapVersion,
    fanout::{FanoutOptions, FanoutParts, dispatch::Homes, metrics::FanoutMetrics},
};

const GROUP: GroupId = GroupId::new(1);
const ME: NodeId = NodeId::new(1);
const EDGE: NodeId = NodeId::new(2);
const USER: UserId = UserId::new(5);

struct HandClock(Mutex<Instant>);
impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::new(0)
    }
    fn instant(&self) -> Instant {
        *self.0.lock().unwrap()
    }
}

/// A link to the edge that is up or down; what it takes while up arrives.
#[derive(Default)]
struct Links {
    is_down: AtomicBool,
    arrived: Mutex<Vec<IndexMove>>,
    ended: Mutex<Vec<SessionId>>,
}
impl PeerTransport for Links {
    fn ask(&self, to: NodeId, _: Ask, _: Duration) -> BoxFuture<'static, Result<Told, TransportError>> {
        Box::pin(async move { Err(TransportError::Unreachable(to)) })
    }
    fn tell(&self, to: NodeId, tell: Tell) -> Result<(), TransportError> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(TransportError::Unreachable(to));
        }
        if let Tell::Push(frame) = tell {
            self.arrived.lock().unwrap().extend(frame.moves);
            self.ended.lock().unwrap().extend(frame.ended);
        }
        Ok(())
    }
    fn send_snapshot(&self, to: NodeId, _: SnapshotHead, _: Box<dyn SnapshotSource>) -> BoxFuture<'static, Result<AppendResult, TransportError>> {
        Box::pin(async move { Err(TransportError::Unreachable(to)) })
    }
}

struct AllHere;
impl Homes for AllHere {
    fn home(&self, _: UserId) -> Option<GroupId> {
        Some(GROUP)
    }
    fn leader(&self, _: GroupId) -> Option<(NodeId, Term)> {
        Some((ME, Term::new(1)))
    }
    fn map_version(&self) -> MapVersion {
        MapVersion::new(1)
    }
    fn alive(&self, _: NodeId) -> bool {
        true
    }
    fn nodes(&self) -> Vec<NodeId> {
        Vec::new()
    }
    fn groups(&self) -> Vec<GroupId> {
        Vec::new()
    }
}

struct Silence;
impl Events for Silence {
    fn next(&mut self) -> BoxFuture<'_, Result<Arc<AppliedEvent>, FeedError>> {
        Box::pin(std::future::pending())
    }
    fn try_next(&mut self) -> Result<Option<Arc<AppliedEvent>>, FeedError> {
        Ok(None)
    }
}

/// One user, at this version; proposals end when and as the test says, else at once and well.
#[derive(Default)]
struct Room {
    rev: Mutex<u64>,
    closed: Mutex<Timestamp>,
    proposals: Mutex<VecDeque<oneshot::Receiver<Result<Reply, ProposeError>>>>,
}
impl Seat for Room {
    fn group(&self) -> GroupId {
        GROUP
    }
    fn propose(&self, _: Item) -> BoxFuture<'static, Result<Reply, ProposeError>> {
        let held = self.proposals.lock().unwrap().pop_front();
        Box::pin(async move {
            match held {
                Some(held) => held.await.unwrap(),
                None => Ok(Reply::Done),
            }
        })
    }
    fn view(&self) -> Result<Box<dyn StateView + '_>, ViewError> {
        Ok(Box::new(Rows(*self.rev.lock().unwrap(), *self.closed.lock().unwrap())))
    }
    fn events(&self) -> Box<dyn Events> {
        Box::new(Silence)
    }
    fn news(&self, _: &dyn StateView, _: ChannelId) -> Result<Option<News>, ViewError> {
        Ok(None)
    }
}
struct Rows(u64, Timestamp);
impl StateView for Rows {
    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        let row = UserRow { name: "ann".into(), rev: UserRev::new(self.0), closed: self.1, ..UserRow::default() };
        Ok((*key == RowKey::User(USER)).then(|| Arc::new(Row::User(row))))
    }
    fn scan(&self, _: &Scan, _: bool, _: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        Ok(Vec::new())
    }
}

struct Setup {
    clock: Arc<HandClock>,
    links: Arc<Links>,
    room: Arc<Room>,
    fanout: Arc<Fanout>,
    lead: Lead,
}
fn setup() -> Setup {
    let clock = Arc::new(HandClock(Mutex::new(Instant::now())));
    let (links, room) = (Arc::<Links>::default(), Arc::<Room>::default());
    let fanout = Fanout::new(FanoutParts {
        node: ME,
        boot: BootEpoch::new(1),
        links: links.clone(),
        homes: Arc::new(AllHere),
        clock: clock.clone(),
        options: FanoutOptions::default(),
        fail_points: Default::default(),
        metrics: Arc::new(FanoutMetrics::default()),
    });
    let (_, inbox) = mpsc::channel(1);
    let lead = Lead::new(fanout.clone(), room.clone(), Term::new(1), inbox);
    Setup { clock, links, room, fanout, lead }
}
impl Setup {
    fn ask_to_register(&mut self) -> oneshot::Receiver<RegisterOutcome> {
        self.ask_to_register_at(EDGE, USER)
    }
    fn ask_to_register_at(&mut self, edge: NodeId, user: UserId) -> oneshot::Receiver<RegisterOutcome> {
        let session = Registration {
            user,
            device: DeviceId::new(1),
            session: SessionId::new(10),
            conn: Conn::new(1),
            new: true,
            login: 0,
            issued: Timestamp::default(),
            away: false,
        };
        let (answer, answered) = oneshot::channel();
        self.lead.register(edge, BootEpoch::new(1), vec![session], answer);
        answered
    }
    async fn work(&mut self) {
        let done = self.lead.work.next().await.unwrap();
        self.lead.handle_done(done);
    }
    async fn register(&mut self) {
        let mut answered = self.ask_to_register();
        self.work().await;
        assert!(answered.try_recv().unwrap().unwrap().1[0].is_ok());
        self.lead.poll();
    }
    /// The user's index moves, and that is heard.
    fn move_index(&mut self) {
        let from = UserRev::new(*self.room.rev.lock().unwrap());
        *self.room.rev.lock().unwrap() += 1;
        self.lead.handle_effect(&Effect::IndexMoved { user: USER, from, to: from.next(), rows: vec![] });
        self.lead.poll();
    }
    /// All devices of the user end, with all tokens that were made so far.
    fn close(&self) {
        *self.room.closed.lock().unwrap() = Timestamp::new(1);
    }
    /// The sessions that the edge was told to end since it was last asked.
    fn ended(&self) -> Vec<u64> {
        std::mem::take(&mut *self.links.ended.lock().unwrap()).iter().map(|session| session.get()).collect()
    }
    fn wait(&mut self, time: Duration) {
        *self.clock.0.lock().unwrap() += time;
        self.lead.poll();
    }
    /// The last version that the edge was told of since it was last asked.
    fn told(&self) -> Option<UserRev> {
        std::mem::take(&mut *self.links.arrived.lock().unwrap()).last().map(|told| told.to)
    }
}

#[tokio::test]
async fn an_edge_that_could_not_be_told_of_a_move_is_told_once_the_link_is_up() {
    let mut setup = setup();
    setup.register().await;
    setup.links.is_down.store(true, Ordering::Relaxed);
    setup.move_index();
    setup.wait(EDGES_EVERY * 3);
    assert_eq!(setup.told(), None);
    setup.links.is_down.store(false, Ordering::Relaxed);
    setup.wait(EDGES_EVERY);
    assert_eq!(setup.told(), Some(UserRev::new(1)));
    setup.wait(EDGES_EVERY);
    assert_eq!(setup.told(), None, "once");
}

#[tokio::test]
async fn an_edge_whose_link_took_a_move_and_then_broke_is_told_again() {
    let mut setup = setup();
    setup.register().await;
    setup.wait(EDGES_EVERY);
    setup.move_index();
    assert_eq!(setup.told(), Some(UserRev::new(1)));
    setup.fanout.handle_link_down(EDGE);
    setup.wait(EDGES_EVERY);
    assert_eq!(setup.told(), Some(UserRev::new(1)), "the first may be lost");
}

#[tokio::test]
async fn a_registration_that_fails_late_does_not_end_the_one_that_came_after_it() {
    let mut setup = setup();
    let (first, held) = oneshot::channel();
    setup.room.proposals.lock().unwrap().push_back(held);
    // The edge did not wait for the answer to the first: it asked again, and was told that all is well.
    let late = setup.ask_to_register();
    setup.register().await;
    first.send(Err(ProposeError::Unknown)).unwrap();
    setup.work().await;
    assert!(late.await.unwrap().unwrap().1[0].is_err());
    setup.move_index();
    assert_eq!(setup.told(), Some(UserRev::new(1)));
}

#[tokio::test]
async fn sessions_of_two_edges_with_the_same_number_do_not_hide_each_other() {
    let mut setup = setup();
    let (first, held) = oneshot::channel();
    setup.room.proposals.lock().unwrap().push_back(held);
    // While the first is under way, another edge, started as often, registers its session of that number.
    let ours = setup.ask_to_register();
    let theirs = setup.ask_to_register_at(NodeId::new(3), UserId::new(6));
    setup.work().await;
    assert_eq!(theirs.await.unwrap().unwrap().1[0].as_ref().map_err(|refusal| refusal.code), Err(Code::NoSuchUser));
    first.send(Ok(Reply::Done)).unwrap();
    setup.work().await;
    assert!(ours.await.unwrap().unwrap().1[0].is_ok());
    let views = setup.lead.look(USER, &[USER], setup.clock.instant()).unwrap();
    assert_eq!(views[0].state, PresenceState::Online, "who is registered is here");
}

#[tokio::test]
async fn a_feed_that_lagged_leaves_no_session_of_an_ended_device_alive() {
    let mut setup = setup();
    setup.register().await;
    setup.lead.handle_heard(Err(FeedError::Lagged(1)));
    setup.lead.poll();
    assert!(setup.ended().is_empty(), "nothing was ended");
    setup.close();
    setup.lead.handle_heard(Err(FeedError::Lagged(1)));
    setup.lead.poll();
    assert_eq!(setup.ended(), [10]);
}

#[tokio::test]
async fn who_is_to_end_is_told_until_the_edge_says_that_it_has() {
    let mut setup = setup();
    setup.register().await;
    setup.wait(EDGES_EVERY);
    // The link takes nothing, and does not break.
    setup.links.is_down.store(true, Ordering::Relaxed);
    setup.close();
    setup.lead.handle_effect(&Effect::DevicesEnded { user: USER, devices: vec![], all_but: true });
    setup.wait(EDGES_EVERY);
    assert!(setup.ended().is_empty());
    setup.links.is_down.store(false, Ordering::Relaxed);
    setup.wait(EDGES_EVERY);
    assert_eq!(setup.ended(), [10]);
    setup.wait(EDGES_EVERY);
    assert_eq!(setup.ended(), [10], "what was taken may be lost");
    let device = DeviceId::new(1);
    setup.lead.handle_message((setup.clock.instant(), Message::Unregister { from: EDGE, user: USER, device, session: SessionId::new(10) }));
    setup.wait(EDGES_EVERY);
    assert!(setup.ended().is_empty());
}
