//! One run of the demo, from the first process to the last.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use kith_client::Client;
use kith_wire::id::NodeId;
use tempfile::TempDir;
use thiserror::Error;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    chaos::{Chaos, Kill, resume_max},
    driver::{Driver, Played, Progress},
    nodes::{Nodes, NodesError},
    regions::{self, WorldReport},
    replay::{Plan, ReplayError},
    report::{MemoryOfNode, Report},
};
use crate::operator::{OpenError, Operator};

/// Time between two steps of the progress bar.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two samples of memory, and looks at whether all nodes run.
const TICKS_PER_SAMPLE: u64 = 10;
/// Ticks between two lines of progress where there is no terminal for a bar.
const TICKS_PER_LINE: u64 = 100;

/// What the demo is to do.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// Where the cluster's data is kept; `None`: in a temporary folder, gone at the end.
    pub data: Option<PathBuf>,
    /// How many nodes.
    pub nodes: usize,
    /// How many Raft groups hold conversations.
    pub groups: u32,
    /// How many regions, each with as many nodes and groups.
    pub regions: u8,
    /// What to replay.
    pub replay: Option<Replay>,
    /// Whom to kill meanwhile.
    pub chaos: Option<Chaos>,
    /// Whether the cluster stays up after a replay. Without a replay it always does.
    pub stay: bool,
}

/// What to replay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replay {
    /// The file.
    pub file: PathBuf,
    /// At most so many messages.
    pub limit: Option<usize>,
    /// Messages a second, 0 for flat out.
    pub rate: u64,
}

/// What the demo tells while it runs.
pub trait Voice: Send + Sync {
    /// A line for whoever watches.
    fn say(&self, line: &str);
    /// The result of a replay.
    fn report(&self, report: &Report, memory: &[MemoryOfNode], is_good: bool);
    /// Where people of several regions were let in.
    fn world(&self, report: &WorldReport);
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// As it should.
    Good,
    /// The replay found a fault.
    Faulty,
    /// It was told to stop before the replay was done.
    Interrupted,
}

/// The demo could not do its work.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The folder for the data could not be made.
    #[error("making a folder for the data")]
    Folder(#[source] io::Error),
    /// The nodes.
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// The file.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The cluster's folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A client.
    #[error("talking to the cluster")]
    Client(#[from] kith_client::Error),
}

/// Runs the demo until its work is done or it is told to stop. No process and no temporary data is left.
///
/// # Errors
/// See [`DemoError`].
pub async fn run(options: Options, voice: Arc<dyn Voice>, stop: CancellationToken) -> Result<End, DemoError> {
    let plan = match &options.replay {
        Some(replay) => Some(Arc::new(Plan::read(&replay.file, replay.limit)?)),
        None => None,
    };
    let folder = Folder::make(options.data.as_deref()).map_err(DemoError::Folder)?;
    let nodes = Nodes::prepare_in(folder.path(), options.nodes, options.groups, options.regions)?;
    let stays = options.stay || (options.replay.is_none() && options.regions <= 1);
    let nodes = if stays { nodes.with_pages().map_err(DemoError::Folder)? } else { nodes };
    let end = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(End::Interrupted),
        end = work(&options, plan, &folder, &nodes, voice, &stop) => end,
    };
    nodes.stop_all().await;
    end
}

async fn work(
    options: &Options,
    plan: Option<Arc<Plan>>,
    folder: &Folder,
    nodes: &Nodes,
    voice: Arc<dyn Voice>,
    stop: &CancellationToken,
) -> Result<End, DemoError> {
    voice.say(&format!("starting {} nodes in {} ...", nodes.spec().nodes.len(), folder.path().display()));
    nodes.start_all().await?;
    let mut end = End::Good;
    if options.regions > 1 {
        voice.say("people of all regions begin at some node ...");
        let report = regions::play(&Operator::open(folder.path())?, nodes).await?;
        voice.world(&report);
        if !report.is_good() {
            end = End::Faulty;
        }
        if !options.stay {
            return Ok(end);
        }
    }
    if let (Some(plan), Some(replay)) = (plan, &options.replay) {
        let (report, memory, is_good) = play(options, replay, plan, folder, nodes, &voice).await?;
        voice.report(&report, &memory, is_good);
        if !is_good {
            end = End::Faulty;
        }
        if !options.stay {
            return Ok(end);
        }
    }
    voice.say(&how_to_talk(folder, nodes));
    let mut ticks = interval(TICK * TICKS_PER_SAMPLE as u32);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(end),
            // Somebody may have killed it, to see what happens.
            _ = ticks.tick() => if let Err(error) = nodes.check() {
                if nodes.processes().is_empty() {
                    return Err(error.into());
                }
                voice.say(&format!("{error}\nThe others go on without it; Ctrl-C ends them all."));
            },
        }
    }
}

async fn play(
    options: &Options,
    replay: &Replay,
    plan: Arc<Plan>,
    folder: &Folder,
    nodes: &Nodes,
    voice: &Arc<dyn Voice>,
) -> Result<(Report, Vec<MemoryOfNode>, bool), DemoError> {
    let operator = Operator::open(folder.path())?;
    let admin = operator.admin().await?;
    admin.connect().await?;
    voice.say(&format!(
        "replaying {} messages of {} users in {} channels{}",
        plan.messages(),
        plan.users.len(),
        plan.channels.len(),
        options.chaos.map_or_else(String::new, |chaos| format!(" (kills: --seed {})", chaos.seed))
    ));
    let start = Instant::now();
    let driver = Driver::new(Arc::clone(&plan), operator, admin.clone(), replay.rate, start);
    let watch = Watch::new(&plan, nodes.ids(), start, Arc::clone(voice));
    let run = async {
        let (mut played, kills) = play_and_kill(options.chaos, &driver, &plan, nodes, &admin, start, &watch).await?;
        let seconds = start.elapsed().as_secs_f64();
        watch.begin_reading();
        driver.read_back(&mut played).await?;
        Ok::<_, DemoError>((played, kills, seconds))
    };
    let (played, kills, seconds) = tokio::select! {
        done = run => done?,
        error = watch.run(nodes, &driver.progress) => return Err(error.into()),
    };
    watch.bar.finish_and_clear();
    admin.close().await;
    let messages = played.channels.iter().flat_map(|channel| channel.sent.iter().map(|sent| (channel.group, sent)));
    let resume = resume_max(&kills, messages).unwrap_or_default();
    let report = Report {
        nodes: nodes.spec().nodes.len(),
        groups: nodes.spec().groups as usize,
        channels: played.channels.len(),
        skipped: plan.skipped,
        kills: kills.len() as u64,
        resume_ms_max: u64::try_from(resume.as_millis()).unwrap_or(u64::MAX),
        ack_ms_p50: played.ack.percentile_ms(50.0),
        ack_ms_p99: played.ack.percentile_ms(99.0),
        deliver_ms_p50: played.deliver.percentile_ms(50.0),
        deliver_ms_p99: played.deliver.percentile_ms(99.0),
        seconds: (seconds * 10.0).round() / 10.0,
        ..Report::default()
    };
    let is_good = played.verdict.is_good() && played.verdict.messages_sent == plan.messages() as u64;
    Ok((report.with_verdict(&played.verdict), watch.memory(), is_good))
}

async fn play_and_kill(
    chaos: Option<Chaos>,
    driver: &Driver,
    plan: &Plan,
    nodes: &Nodes,
    admin: &Client,
    start: Instant,
    watch: &Watch,
) -> Result<(Played, Vec<Kill>), DemoError> {
    let done = CancellationToken::new();
    let total = plan.messages().max(1) as u64;
    let progress = Arc::clone(&driver.progress);
    let permille = move || progress.acked.load(Relaxed) * 1_000 / total;
    let kill = async {
        match chaos {
            Some(chaos) => Ok(chaos.run(nodes, admin, start, permille, done.clone(), &|line| watch.say(&line)).await?),
            None => Ok(Vec::new()),
        }
    };
    let play = async {
        let played = driver.play().await;
        done.cancel();
        Ok::<_, DemoError>(played?)
    };
    tokio::try_join!(play, kill)
}

/// Where the cluster's files are; a temporary one is gone when this is dropped.
enum Folder {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    fn make(data: Option<&Path>) -> io::Result<Self> {
        match data {
            Some(path) => {
                std::fs::create_dir_all(path)?;
                Ok(Self::Kept(path.canonicalize()?))
            }
            None => Ok(Self::Temporary(tempfile::Builder::new().prefix("kith-demo-").tempdir()?)),
        }
    }
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

fn how_to_talk(folder: &Folder, nodes: &Nodes) -> String {
    let binary = std::env::current_exe().map_or_else(|_| "kith".into(), |path| path.display().to_string());
    let path = folder.path().display();
    let api: Vec<String> = nodes.spec().nodes.iter().map(|node| format!("https://{}", node.address)).collect();
    let api = api.join(" ");
    let pages = nodes.page_links().join(" ");
    let console = nodes.page_links().first().map_or_else(String::new, |page| format!("{page}console"));
    let fate = match folder {
        Folder::Kept(_) => "The data is kept.",
        Folder::Temporary(_) => "The data is temporary: it is gone when the demo ends.",
    };
    format!(
        "\nThe cluster is up. {fate} To talk, in a browser (each link is a node, and one person of this browser):\n\
         \n  {pages}\n\
         \nOr in two other terminals:\n\
         \n  {binary} chat --cluster {path} --as ann --to bob\
         \n  {binary} chat --cluster {path} --as bob --to ann\n\
         \nAnd to look at it:\n\
         \n  {binary} status --cluster {path}\n\
         \nIn a browser: {console} with a token of\n\
         \n  {binary} admin token create --cluster {path}\n\
         \nThe HTTP API, with --cacert {path}/cluster/ca.pem:\n\
         \n  {api}\n\
         \nCtrl-C ends it."
    )
}

/// Shows progress, samples memory, and notices when a node ends by itself.
struct Watch {
    bar: ProgressBar,
    start: Instant,
    voice: Arc<dyn Voice>,
    channels: u64,
    is_reading: AtomicBool,
    memory: Mutex<Vec<MemoryOfNode>>,
}

impl Watch {
    fn new(plan: &Plan, nodes: Vec<NodeId>, start: Instant, voice: Arc<dyn Voice>) -> Self {
        let bar = ProgressBar::new(plan.messages() as u64);
        let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let memory = nodes.into_iter().map(|node| MemoryOfNode { node, samples: Vec::new() }).collect();
        Self { bar, start, voice, channels: plan.channels.len() as u64, is_reading: AtomicBool::new(false), memory: Mutex::new(memory) }
    }

    /// Runs until a node ends by itself.
    async fn run(&self, nodes: &Nodes, progress: &Progress) -> NodesError {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut count = 0u64;
        loop {
            ticks.tick().await;
            count += 1;
            let is_reading = self.is_reading.load(Relaxed);
            self.bar.set_position(if is_reading { progress.read.load(Relaxed) } else { progress.acked.load(Relaxed) });
            let line =
                format!("acked {}, shown {}, read back {}", progress.acked.load(Relaxed), progress.shown.load(Relaxed), progress.read.load(Relaxed));
            self.bar.set_message(if is_reading {
                "histories read back".to_owned()
            } else {
                format!("acked, {} shown", progress.shown.load(Relaxed))
            });
            if self.bar.is_hidden() && count.is_multiple_of(TICKS_PER_LINE) {
                self.voice.say(&format!("{:>5.0} s  {line}", self.start.elapsed().as_secs_f64()));
            }
            if count.is_multiple_of(TICKS_PER_SAMPLE) {
                self.sample(nodes);
                if let Err(error) = nodes.check() {
                    return error;
                }
            }
        }
    }

    fn begin_reading(&self) {
        self.is_reading.store(true, Relaxed);
        self.bar.set_length(self.channels);
    }
    fn say(&self, line: &str) {
        let line = format!("{:>5.1} s  {line}", self.start.elapsed().as_secs_f64());
        self.bar.suspend(|| self.voice.say(&line));
    }
    fn sample(&self, nodes: &Nodes) {
        let at = self.start.elapsed();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, bytes) in nodes.memory_bytes() {
            if let Some(of_node) = memory.iter_mut().find(|of_node| of_node.node == node) {
                of_node.samples.push((at, bytes));
            }
        }
    }
    fn memory(&self) -> Vec<MemoryOfNode> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
