//! What a process is told at its start to do at its fail points, in one line of text.
//!
//! ```text
//! seed=7;raft.append.persisted=kill@120;raft.apply.before=sleep:200@5%
//! ```
//! In: that line. Out: for each pass of a point, what is due. `kill` or `sleep:MILLISECONDS`, at the pass of a number (`@120`), in some of a hundred passes (`@5%`), or at each.
//! Invariant: whether something is due follows from the seed, the point and the number of the pass. Not here: doing it.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use thiserror::Error;

use super::point;

/// Longest sleep that can be ordered: a node that is held up longer is better killed.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// What is done at a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    /// This process ends, without a clean-up.
    Kill,
    /// Whoever passes waits.
    Sleep(Duration),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    Always,
    /// At this pass, from 1.
    Pass(u64),
    /// In so many of a hundred.
    Percent(u64),
}

/// What is to be done at which points.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Orders {
    seed: u64,
    by_point: BTreeMap<&'static str, (Deed, When)>,
}

/// A line that orders nothing that can be done.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum OrdersError {
    /// There is no such point.
    #[error("no fail point is named {0:?}; there are: {names}", names = names())]
    Point(String),
    /// Not an order.
    #[error(
        "{0:?} is no order: POINT=kill or POINT=sleep:MILLISECONDS (60000 at most), with @PASS or @SHARE% behind it if not always, or seed=NUMBER"
    )]
    Order(String),
    /// One point has two.
    #[error("fail point {0:?} has two orders")]
    Twice(String),
}

fn names() -> String {
    point::all().map(|(_, name)| name).collect::<Vec<_>>().join(", ")
}

impl FromStr for Orders {
    type Err = OrdersError;

    fn from_str(text: &str) -> Result<Self, OrdersError> {
        let mut orders = Self::default();
        for order in text.split(';').map(str::trim).filter(|order| !order.is_empty()) {
            let wrong = || OrdersError::Order(order.to_owned());
            let (name, rest) = order.split_once('=').ok_or_else(wrong)?;
            if name == "seed" {
                orders.seed = rest.parse().map_err(|_| wrong())?;
                continue;
            }
            let (_, point) = point::all().find(|(_, known)| *known == name).ok_or_else(|| OrdersError::Point(name.to_owned()))?;
            let (deed, when) = rest.split_once('@').map_or((rest, None), |(deed, when)| (deed, Some(when)));
            let parsed = deed_of(deed).zip(when.map_or(Some(When::Always), when_of)).ok_or_else(wrong)?;
            if orders.by_point.insert(point, parsed).is_some() {
                return Err(OrdersError::Twice(name.to_owned()));
            }
        }
        Ok(orders)
    }
}

fn deed_of(text: &str) -> Option<Deed> {
    match text.split_once(':') {
        None if text == "kill" => Some(Deed::Kill),
        Some(("sleep", ms)) => ms.parse().ok().map(Duration::from_millis).filter(|length| *length <= SLEEP_MAX).map(Deed::Sleep),
        _ => None,
    }
}

fn when_of(text: &str) -> Option<When> {
    match text.strip_suffix('%') {
        Some(share) => share.parse().ok().filter(|share| (1..=100).contains(share)).map(When::Percent),
        None => text.parse().ok().filter(|pass| *pass > 0).map(When::Pass),
    }
}

impl Orders {
    /// What is due at a point's pass, counted from 1.
    pub(super) fn due(&self, point: &str, pass: u64) -> Option<Deed> {
        let (deed, when) = self.by_point.get(point)?;
        let is_due = match when {
            When::Always => true,
            When::Pass(wanted) => pass == *wanted,
            When::Percent(share) => mix(self.seed, point, pass) % 100 < *share,
        };
        is_due.then_some(*deed)
    }
}

/// A number that looks like chance: FNV-1a of all three, then the last steps of SplitMix64.
fn mix(seed: u64, point: &str, pass: u64) -> u64 {
    let bytes = seed.to_be_bytes().into_iter().chain(point.bytes()).chain(pass.to_be_bytes());
    let mut z = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_orders_what_it_says() {
        let orders: Orders =
            "seed=7; raft.append.persisted=kill@120 ;raft.apply.before=sleep:200@5%;storage.log.after_sync=sleep:1".parse().expect("orders");
        assert_eq!(orders.due(point::APPEND_PERSISTED, 119), None);
        assert_eq!(orders.due(point::APPEND_PERSISTED, 120), Some(Deed::Kill));
        assert_eq!(orders.due("storage.log.after_sync", 1), Some(Deed::Sleep(Duration::from_millis(1))));
        let slept = |orders: &Orders| (1..=10_000).filter(|pass| orders.due(point::BEFORE_APPLY, *pass).is_some()).collect::<Vec<u64>>();
        assert!((400..600).contains(&slept(&orders).len()), "{}", slept(&orders).len());
        let other = Orders { seed: 8, ..orders.clone() };
        assert_eq!(slept(&orders), slept(&orders.clone()));
        assert_ne!(slept(&orders), slept(&other), "another seed, other passes");
        assert_eq!("".parse(), Ok(Orders::default()));
    }

    #[test]
    fn a_wrong_name_gives_those_there_are() {
        let error = "raft.append=kill".parse::<Orders>().expect_err("no such point").to_string();
        for (_, name) in point::all() {
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for wrong in [
            "kill",
            "seed=x",
            "raft.apply.before=die",
            "raft.apply.before=sleep",
            "raft.apply.before=sleep:60001",
            "raft.apply.before=kill@0",
            "raft.apply.before=kill@101%",
            "raft.apply.before=kill@",
        ] {
            assert_eq!(wrong.parse::<Orders>(), Err(OrdersError::Order(wrong.to_owned())), "{wrong}");
        }
        let twice = "raft.apply.before=kill;raft.apply.before=sleep:1".parse::<Orders>();
        assert_eq!(twice, Err(OrdersError::Twice(point::BEFORE_APPLY.to_owned())));
    }

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let mut names: Vec<_> = point::all().map(|(_, name)| name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), point::all().map(|(part, _)| part).collect::<std::collections::BTreeSet<_>>().len()), (count, 8));
    }
}
