//! Buckets move between groups of real replicas, on real disks, while they are written to and while leaders are stopped in the middle of each step:
//! nothing that was acked is lost or stands twice, and no bucket ever has two owners.

#[allow(dead_code, reason = "the other tests use the rest")]
mod common;

use common::{Cluster, Writer, config, group, item, purging};
use kith_machine::{
    moving::{self, step},
    own::Owned,
    reply::Reply,
    view::{Row, RowKey, Scan, StateView},
};
use kith_raft::{GroupHandle, GroupsConfig};
use kith_wire::{
    code::Code,
    id::{Bucket, GroupId, NodeId, RegionId, Seq},
    log::{Command, Content},
    moving::{BucketRun, LeavingPhase, MoveChange},
};

const ALL: BucketRun = BucketRun { region: RegionId::FIRST, first: 0, last: u16::MAX };
const SOURCE: u32 = 1;
const TARGET: u32 = 2;

/// Who is stopped, and started again, around one message of the move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stopped {
    Nobody,
    /// The source's leader, once it has decided and before anything is logged.
    SourceBefore,
    /// The source's leader, when the message is logged and before it knows.
    SourceAfter,
    /// The target's leader, as the source's.
    TargetBefore,
    TargetAfter,
}

/// Texts that were acked of one writer, and the one that is not yet.
struct Said {
    writer: Writer,
    acked: u64,
    waiting: Option<Command>,
}

struct Move {
    cluster: Cluster,
    said: Vec<Said>,
    messages: usize,
}

impl Move {
    async fn start(config: GroupsConfig, writers: u64) -> Self {
        let cluster = Cluster::start_owned_by(2, config, |id| id == group(SOURCE)).await;
        let said = (1..=writers).map(|number| Said { writer: Writer::new(number), acked: 0, waiting: None }).collect();
        Self { cluster, said, messages: 0 }
    }

    async fn leader(&self, of: u32) -> (NodeId, GroupHandle) {
        let leader = self.cluster.leader(group(of)).await;
        (leader, self.cluster.handle(leader, group(of)))
    }

    /// Each writer says one text, if somebody serves it: first where it was last served, as by an old map.
    async fn write(&mut self) {
        let cluster = &self.cluster;
        for (number, said) in self.said.iter_mut().enumerate() {
            let text = format!("text {} of {number}", said.acked + 1);
            let command = said.waiting.take().unwrap_or_else(|| said.writer.text(&text));
            for of in [SOURCE, TARGET] {
                match cluster.propose(group(of), command.clone()).await {
                    Reply::Sent { seq, .. } => {
                        said.acked += 1;
                        assert_eq!(seq.get(), said.acked, "texts of one writer stand in order, each once");
                        break;
                    }
                    Reply::WrongGroup | Reply::Rejected(Code::Frozen) => {}
                    other => panic!("{other:?} to {command:?}"),
                }
            }
            if said.acked < said.writer.said() {
                said.waiting = Some(command);
            }
        }
    }

    /// No bucket of any of the writers is owned twice, in the rows of leaders that asked their voters.
    async fn one_owner(&self) {
        let mut owned = Vec::new();
        for of in [SOURCE, TARGET] {
            let (_, handle) = self.leader(of).await;
            owned.push(handle.reader().map(|reader| Owned::read(&reader)));
        }
        let owned: Vec<Owned> = owned.into_iter().map(|read| read.expect("serving").expect("readable")).collect();
        for said in &self.said {
            let bucket: Bucket = said.writer.channel.bucket();
            let owners = owned.iter().filter(|owned| owned.holds(bucket)).count();
            assert!(owners <= 1, "{bucket} has {owners} owners: {owned:?}");
        }
    }

    /// What the source's leader does next, from its rows and the target's; `None`: the move is over, or has to wait.
    async fn decide(&self) -> Option<(GroupId, MoveChange)> {
        let (_, source) = self.leader(SOURCE).await;
        let (_, target) = self.leader(TARGET).await;
        target.read_barrier().await.ok()?;
        let (here, there) = (source.rows().ok()?, target.rows().ok()?);
        let leaving = moving::leaving(&here).expect("readable")?;
        let stand = step::stand(&there, group(SOURCE), &leaving).expect("readable");
        // Three rounds, however little was said.
        let open = if leaving.round < 3 { usize::MAX } else { step::open(&here, &leaving).expect("readable") };
        match step::next(group(SOURCE), &leaving, &stand, open) {
            step::Step::Here(change) => Some((group(SOURCE), change)),
            step::Step::There(change) => Some((group(TARGET), change)),
            step::Step::Send { round, after } => {
                let mut piece = step::piece(&here, group(SOURCE), &leaving, round, &after).expect("readable");
                shorten(&mut piece);
                Some((group(TARGET), piece))
            }
            step::Step::Sweep => Some((group(SOURCE), step::sweep(&here, &leaving).expect("readable"))),
            step::Step::Wait => None,
        }
    }

    async fn restart_leader(&mut self, of: u32) {
        let leader = self.cluster.leader(group(of)).await;
        self.cluster.stop_node(leader).await;
        self.cluster.start_node(leader).await;
    }

    /// One message; says whether the move goes on.
    async fn step(&mut self, stopped: Stopped) -> bool {
        let Some((to, change)) = self.decide().await else {
            let (_, source) = self.leader(SOURCE).await;
            return source.reader().map_or(true, |rows| moving::leaving(&rows).expect("readable").is_some());
        };
        self.messages += 1;
        match stopped {
            Stopped::SourceBefore => self.restart_leader(SOURCE).await,
            Stopped::TargetBefore => self.restart_leader(TARGET).await,
            _ => {}
        }
        // What an old leader sends is as good as what it was when it was decided: it may be refused.
        self.cluster.propose(to, Command::Move(change)).await;
        match stopped {
            Stopped::SourceAfter => self.restart_leader(SOURCE).await,
            Stopped::TargetAfter => self.restart_leader(TARGET).await,
            _ => {}
        }
        true
    }

    async fn check(mut self) {
        // Whatever waits is served now.
        while self.said.iter().any(|said| said.waiting.is_some()) {
            self.write().await;
        }
        self.write().await;
        let (_, target) = self.leader(TARGET).await;
        let reader = target.reader().expect("serving");
        assert_eq!(Owned::read(&reader).expect("readable").whole(ALL).map(|epoch| epoch.get()), Some(2));
        for (number, said) in self.said.iter().enumerate() {
            let rows = reader.scan(&Scan::Records(said.writer.channel, Seq::ZERO..=Seq::new(u64::MAX)), false, usize::MAX).expect("readable");
            let texts: Vec<_> = rows
                .iter()
                .filter_map(|(_, row)| match row.as_ref() {
                    Row::Record(record) if matches!(record.content, Content::Text { .. }) => record.content.text().map(ToString::to_string),
                    _ => None,
                })
                .collect();
            let expected: Vec<_> = (1..=said.acked).map(|at| format!("text {at} of {number}")).collect();
            assert_eq!(texts, expected, "what was acked, once, in order");
        }
        drop(reader);
        let left = self.leader(SOURCE).await.1.rows().map(|rows| rows_left(&rows)).expect("serving");
        assert_eq!(left, 0, "nothing is left in the source");
        for of in [SOURCE, TARGET] {
            self.cluster.converged(group(of)).await;
        }
        self.cluster.shutdown().await;
    }
}

fn rows_left(view: &dyn StateView) -> usize {
    let families = kith_machine::key::Family::ALL.into_iter().filter(|family| *family != kith_machine::key::Family::Group);
    families.map(|family| view.scan(&Scan::Moving(family, ALL, None), false, 10).expect("readable").len()).sum()
}

/// Smaller pieces than there would be.
fn shorten(change: &mut MoveChange) {
    if let MoveChange::Import { rows, upto, last, .. } = change
        && rows.len() > 60
    {
        rows.truncate(60);
        *upto = rows[rows.len() - 1].key.clone();
        *last = false;
    }
}

async fn moved(config: GroupsConfig, stopped: impl Fn(usize) -> Stopped) -> usize {
    let mut run = Move::start(config, 6).await;
    for _ in 0..8 {
        run.write().await;
    }
    let begun = run.cluster.propose(group(SOURCE), Command::Move(MoveChange::Begin { run: ALL, to: group(TARGET) })).await;
    assert!(matches!(begun, Reply::Kept { .. }), "{begun:?}");
    loop {
        let at = run.messages;
        if !run.step(stopped(at)).await {
            break;
        }
        run.one_owner().await;
        run.write().await;
    }
    let messages = run.messages;
    run.check().await;
    messages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_move_under_load() {
    let messages = moved(config(), |_| Stopped::Nobody).await;
    assert!(messages >= 10, "a move of some length: {messages} messages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_move_while_the_sources_leader_is_stopped_at_every_step() {
    moved(config(), |at| if at % 2 == 0 { Stopped::SourceBefore } else { Stopped::SourceAfter }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_move_while_the_targets_leader_is_stopped_at_every_step() {
    moved(config(), |at| if at % 2 == 0 { Stopped::TargetAfter } else { Stopped::TargetBefore }).await;
}

/// Who reads, and who walks what is due, sees a bucket in one group: where it is owned, at whatever step the move is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_a_bucket_only_where_it_is_owned() {
    let mut run = Move::start(config(), 2).await;
    run.write().await;
    let channel = run.said[0].writer.channel;
    let (_, source) = run.leader(SOURCE).await;
    let (_, target) = run.leader(TARGET).await;
    // Both have been read before: what is known of then is not used later.
    for handle in [&source, &target] {
        handle.reader().expect("serving").get(&RowKey::Channel(channel)).expect("readable");
    }
    run.cluster.propose(group(SOURCE), Command::Move(MoveChange::Begin { run: ALL, to: group(TARGET) })).await;
    let (mut shown, mut refused) = ([0, 0], [0, 0]);
    loop {
        for (at, handle) in [&source, &target].into_iter().enumerate() {
            let reader = handle.reader().expect("serving");
            let owns = Owned::read(&reader).expect("readable").holds(channel.bucket());
            let dirty = reader.scan(&Scan::Dirty(None), false, 10).expect("readable");
            match reader.get(&RowKey::Channel(channel)) {
                Ok(Some(_)) => {
                    assert!(owns, "group {at} shows what it does not own");
                    shown[at] += 1;
                }
                Ok(None) => assert!(!owns && handle.rows().expect("serving").get(&RowKey::Channel(channel)).expect("readable").is_none()),
                Err(error) => {
                    assert!(!owns && error.is_not_owned(), "{error}");
                    assert_eq!(dirty, Vec::new(), "a walk passes over what is not owned");
                    refused[at] += 1;
                }
            }
        }
        if !run.step(Stopped::Nobody).await {
            break;
        }
    }
    assert!(shown.into_iter().chain(refused).all(|count| count > 0), "shown {shown:?}, refused {refused:?}");
    drop((source, target));
    run.check().await;
}

/// A replica that lags gets the rows of the move by a snapshot, marks and all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_missed_a_move_gets_it_by_a_snapshot() {
    let mut run = Move::start(purging(), 4).await;
    for _ in 0..5 {
        run.write().await;
    }
    let leaders = [run.leader(SOURCE).await.0, run.leader(TARGET).await.0];
    let absent = run.cluster.nodes.keys().copied().find(|id| !leaders.contains(id)).expect("three nodes, two leaders");
    run.cluster.stop_node(absent).await;
    run.cluster.propose(group(SOURCE), Command::Move(MoveChange::Begin { run: ALL, to: group(TARGET) })).await;
    // As far as the last round: the source still has marks and its move, the target has room.
    while run
        .leader(SOURCE)
        .await
        .1
        .reader()
        .is_ok_and(|rows| moving::leaving(&rows).expect("readable").is_some_and(|row| row.phase == LeavingPhase::Copying))
    {
        run.step(Stopped::Nobody).await;
        run.write().await;
    }
    for of in [SOURCE, TARGET] {
        let (leader, _) = run.leader(of).await;
        run.cluster.nodes[&leader].groups.flush().await;
    }
    run.cluster.start_node(absent).await;
    for of in [SOURCE, TARGET] {
        run.cluster.converged(group(of)).await;
    }
    while run.step(Stopped::Nobody).await {}
    run.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_is_kept_in_memory_is_not_shown_when_its_bucket_comes_back() {
    let mut run = Move::start(config(), 1).await;
    run.write().await;
    let channel = run.said[0].writer.channel;
    let (_, source) = run.leader(SOURCE).await;
    assert!(source.recent().oldest(&channel).is_some());
    run.cluster.propose(group(SOURCE), Command::Move(MoveChange::Begin { run: ALL, to: group(TARGET) })).await;
    while run.step(Stopped::Nobody).await {}
    let refused = source.propose(item(run.said[0].writer.text("late"))).await;
    assert!(!matches!(refused, Ok(Reply::Sent { .. })), "{refused:?}");
    assert_eq!(source.recent().oldest(&channel), None);
    drop(source);
    run.cluster.shutdown().await;
}
