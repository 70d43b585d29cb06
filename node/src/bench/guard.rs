//! The guard: holds a run to figures that were accepted, in processor time for each operation, never in wall time.
//!
//! In: the accepted figures, a row's new ones. Out: what grew by more than a tenth. Invariant: only metrics marked `is_cost` are compared: they say
//! about the same on a busy machine as on an idle one. Not here: running rows again, which the command does before it believes a growth.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::row::Row;

/// Worse by this factor is named.
pub const GROWTH_MAX: f64 = 1.10;
/// The figures of the last accepted run, as they are checked in.
pub const CHECKED_IN: &str = include_str!("../../../tests/bench/accepted.json");

/// Figures of a run, by row and by path.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Accepted {
    /// The day, in UTC.
    pub date: String,
    /// Processors of the machine.
    pub processors: usize,
    /// By name of the row, then by path of the metric.
    pub rows: BTreeMap<String, BTreeMap<String, f64>>,
}

/// What is worse than it was.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Growth {
    /// The row's name.
    pub row: &'static str,
    /// The figure.
    pub what: &'static str,
    /// As accepted.
    pub accepted: f64,
    /// Now.
    pub measured: f64,
    /// By this factor worse.
    pub factor: f64,
}

impl Accepted {
    /// A figure.
    pub fn figure(&self, row: &str, path: &str) -> Option<f64> {
        self.rows.get(row)?.get(path).copied()
    }

    /// Whether a row has something to be held to.
    pub fn guards(&self, row: &Row) -> bool {
        row.metrics.iter().any(|metric| metric.is_cost && self.figure(row.name, metric.path).is_some())
    }

    /// What grew in a row, by the best of some runs: what only one of them shows is noise.
    pub fn grown(&self, row: &'static Row, runs: &[Value]) -> Vec<Growth> {
        let growth = |metric: &'static super::row::Metric| {
            let accepted = self.figure(row.name, metric.path).filter(|_| metric.is_cost)?;
            let worse = |measured: &f64| metric.worse_by(*measured, accepted);
            let measured = runs.iter().filter_map(|run| metric.read(run)).min_by(|a, b| worse(a).total_cmp(&worse(b)))?;
            let factor = worse(&measured);
            (factor > GROWTH_MAX).then_some(Growth { row: row.name, what: metric.what, accepted, measured, factor })
        };
        row.metrics.iter().filter_map(growth).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bench::row::{ROWS, by_name};

    fn accepted() -> Accepted {
        let row = |path: &str, figure: f64| BTreeMap::from([(path.to_owned(), figure)]);
        Accepted {
            rows: BTreeMap::from([
                ("pairs".to_owned(), row("/chat/server_cpu_s_per_100k_acked", 10.0)),
                ("heartbeat".to_owned(), row("/per_cpu_s", 50_000.0)),
                ("start".to_owned(), row("/first_ms", 100.0)),
            ]),
            ..Accepted::default()
        }
    }

    fn pairs(cpu: f64) -> Value {
        json!({ "chat": { "server_cpu_s_per_100k_acked": cpu } })
    }

    #[test]
    fn only_what_grew_by_more_than_a_tenth_in_every_run_is_named() {
        let row = by_name("pairs").unwrap();
        assert!(accepted().grown(row, &[pairs(10.9)]).is_empty());
        assert!(accepted().grown(row, &[pairs(14.0), pairs(10.5)]).is_empty());
        let grown = accepted().grown(row, &[pairs(14.0), pairs(12.0)]);
        assert!(grown.len() == 1 && (grown[0].factor - 1.2).abs() < 1e-9 && grown[0].measured == 12.0, "{grown:?}");
        let grown = accepted().grown(by_name("heartbeat").unwrap(), &[json!({ "per_cpu_s": 25_000.0 })]);
        assert!(grown.len() == 1 && (grown[0].factor - 2.0).abs() < 1e-9, "{grown:?}");
    }

    #[test]
    fn wall_time_is_never_compared() {
        let row = by_name("start").unwrap();
        assert!(!accepted().guards(row) && accepted().grown(row, &[json!({ "first_ms": 900.0 })]).is_empty());
        for metric in ROWS.iter().flat_map(|row| row.metrics).filter(|metric| metric.is_cost) {
            assert!(["cpu", "per_cpu_s"].iter().any(|part| metric.path.contains(part)), "{} is processor time", metric.path);
        }
    }

    #[test]
    fn checked_in_figures_are_of_rows_that_there_are() {
        let accepted: Accepted = serde_json::from_str(CHECKED_IN).unwrap();
        for (name, figures) in &accepted.rows {
            let row = by_name(name).unwrap_or_else(|| panic!("no row {name}"));
            for path in figures.keys() {
                assert!(row.metrics.iter().any(|metric| metric.path == path), "{name} {path}");
            }
        }
    }
}
