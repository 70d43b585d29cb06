//! What the nodes logged: a warning or an error that nobody expected fails the scenario.
//!
//! In: every event of the process. Out: lines at WARN and ERROR that no allowance covers. Each scenario runs in a process of its own
//! (cargo-nextest), so what is collected is its own. Bound: `LINES_MAX` lines, the first ones. Everything from INFO on also goes to
//! stderr, which the runner shows for a scenario that failed; `KITH_LOG` sets another filter.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{EnvFilter, Layer, layer::Context, prelude::*};

/// Lines kept; more only say that there is much wrong.
const LINES_MAX: usize = 1_000;

/// Warnings that a cluster under test may log at any time, as parts of `target: message`, each with its reason.
const ALLOWED: &[(&str, &str)] = &[
    ("openraft", "warns of each lost peer and each lost election; what matters is logged by kith-raft"),
    ("quinn", "warns of sockets that lose packets"),
];

/// The lines of this process.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    lines: Arc<Mutex<Vec<Line>>>,
}

#[derive(Clone, Debug)]
struct Line {
    level: Level,
    text: String,
}

impl Logs {
    /// Begins to collect, once in a process.
    pub fn collect() -> Self {
        static LOGS: OnceLock<Logs> = OnceLock::new();
        LOGS.get_or_init(|| {
            let logs = Self::default();
            let filter = EnvFilter::try_from_env("KITH_LOG").unwrap_or_else(|_| EnvFilter::new("info,openraft=error,quinn=error,tantivy=error"));
            let shown = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_filter(filter);
            // Already set: the scenario has its own, and sees to its lines itself.
            let _ = tracing_subscriber::registry().with(Collector { logs: logs.clone() }).with(shown).try_init();
            logs
        })
        .clone()
    }

    /// Lines that nobody expected: errors, and warnings, without those that hold one of the allowed parts.
    pub fn unexpected(&self, allowed: &[&str]) -> Vec<String> {
        let is_allowed = |line: &Line| {
            allowed.iter().any(|part| line.text.contains(part))
                || (line.level == Level::WARN && ALLOWED.iter().any(|(part, _)| line.text.starts_with(part)))
        };
        self.lock().iter().filter(|line| !is_allowed(line)).map(|line| format!("{} {}", line.level, line.text)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Collector {
    logs: Logs,
}

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut text = Text(format!("{}:", event.metadata().target()));
        event.record(&mut text);
        let mut lines = self.logs.lock();
        if lines.len() < LINES_MAX {
            lines.push(Line { level, text: text.0 });
        }
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string never fails.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
