//! How much may be asked of a provider at once, and how often: pure.
//!
//! In: who wants to ask which host, and when; who is done; a provider's wish to be left alone. Out: go on, or not before so long. Invariants: no more than
//! [`Limits::at_once`] are in, of one host no more than [`Limits::at_once_per_host`], so that a host that hangs takes nobody else's place; none goes in before the
//! end of a pause. Bounds: hosts are known only while somebody is in, pauses at most [`PAUSES_MAX`] (beyond it the soonest to end goes). Not here: who waits, and
//! in which order (the node).

use std::{collections::BTreeMap, time::Duration};

use kith_wire::id::Timestamp;

/// Hosts whose wish to be left alone is remembered.
pub const PAUSES_MAX: usize = 1_024;
/// Who finds no place asks again after so long.
const FULL: Duration = Duration::from_millis(50);

/// How much a provider is asked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// Requests at once.
    pub at_once: u32,
    /// Of these, to one host.
    pub at_once_per_host: u32,
    /// Requests a second, for long. At least 0.001.
    pub per_second: f64,
    /// Requests in one go.
    pub burst: u32,
}

impl Limits {
    /// For a provider with one host.
    pub const ONE_HOST: Self = Self { at_once: 200, at_once_per_host: 200, per_second: 1_000.0, burst: 1_000 };
    /// For hosts that devices choose.
    pub const MANY_HOSTS: Self = Self { at_once: 200, at_once_per_host: 50, per_second: 500.0, burst: 500 };
}

/// One provider's.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    tokens: f64,
    at: Timestamp,
    inside: u32,
    /// Only those with somebody in.
    by_host: BTreeMap<String, u32>,
    /// Until when.
    paused: BTreeMap<String, Timestamp>,
}

impl Gate {
    /// Open, with nobody in.
    pub fn new(limits: Limits) -> Self {
        Self { limits, tokens: f64::from(limits.burst), at: Timestamp::new(0), inside: 0, by_host: BTreeMap::new(), paused: BTreeMap::new() }
    }
    /// Lets one in.
    ///
    /// # Errors
    /// Not before so long.
    pub fn enter(&mut self, host: &str, now: Timestamp) -> Result<(), Duration> {
        if let Some(until) = self.paused.get(host) {
            let left = until.get().saturating_sub(now.get());
            if left > 0 {
                return Err(Duration::from_millis(left));
            }
            self.paused.remove(host);
        }
        if self.inside >= self.limits.at_once || self.by_host.get(host).is_some_and(|inside| *inside >= self.limits.at_once_per_host) {
            return Err(FULL);
        }
        self.fill(now);
        if self.tokens < 1.0 {
            let seconds = (1.0 - self.tokens) / self.limits.per_second.max(0.001);
            return Err(Duration::from_secs_f64(seconds).max(Duration::from_millis(1)));
        }
        self.tokens -= 1.0;
        self.inside += 1;
        *self.by_host.entry(host.to_owned()).or_default() += 1;
        Ok(())
    }
    /// One that was let in is done.
    pub fn leave(&mut self, host: &str) {
        self.inside = self.inside.saturating_sub(1);
        if let Some(inside) = self.by_host.get_mut(host) {
            *inside -= 1;
            if *inside == 0 {
                self.by_host.remove(host);
            }
        }
    }
    /// Lets nobody in to a host until then; a pause is never made shorter.
    pub fn pause(&mut self, host: &str, until: Timestamp, now: Timestamp) {
        if !self.paused.contains_key(host) && self.paused.len() >= PAUSES_MAX {
            self.paused.retain(|_, until| *until > now);
            let soonest = self.paused.iter().min_by_key(|(_, until)| **until).map(|(host, _)| host.clone());
            if let (true, Some(soonest)) = (self.paused.len() >= PAUSES_MAX, soonest) {
                self.paused.remove(&soonest);
            }
        }
        let known = self.paused.entry(host.to_owned()).or_insert(until);
        *known = (*known).max(until);
    }
    /// How many are in.
    pub const fn inside(&self) -> u32 {
        self.inside
    }
    fn fill(&mut self, now: Timestamp) {
        // A clock that went back gives nothing.
        let millis = now.get().saturating_sub(self.at.get()).min(3_600_000);
        self.at = now;
        let gained = f64::from(u32::try_from(millis).unwrap_or(u32::MAX)) / 1_000.0 * self.limits.per_second;
        self.tokens = (self.tokens + gained).min(f64::from(self.limits.burst));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { at_once: 4, at_once_per_host: 2, per_second: 10.0, burst: 5 };

    #[derive(Clone, Debug)]
    enum Step {
        Enter(usize),
        Leave(usize),
        Pause(usize, u64),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_usize).prop_map(Step::Enter),
            3 => (0..3_usize).prop_map(Step::Leave),
            1 => (0..3_usize, 0..2_000_u64).prop_map(|(host, millis)| Step::Pause(host, millis)),
            3 => (0..300_u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Against a list of all that were let in, looked through each time.
        #[test]
        fn no_more_go_in_than_a_naive_count_allows(steps in prop::collection::vec(step(), 0..200)) {
            let hosts = ["a", "b", "c"];
            let (mut gate, mut now) = (Gate::new(LIMITS), 1_000_000_u64);
            let (mut inside, mut paused, mut entered) = ([0_u32; 3], [0_u64; 3], Vec::new());
            for step in steps {
                match step {
                    Step::Wait(millis) => now += millis,
                    Step::Pause(host, millis) => {
                        gate.pause(hosts[host], Timestamp::new(now + millis), Timestamp::new(now));
                        paused[host] = paused[host].max(now + millis);
                    }
                    Step::Leave(host) if inside[host] > 0 => {
                        gate.leave(hosts[host]);
                        inside[host] -= 1;
                    }
                    Step::Leave(_) => {}
                    Step::Enter(host) => match gate.enter(hosts[host], Timestamp::new(now)) {
                        Ok(()) => {
                            prop_assert!(paused[host] <= now && inside[host] < 2 && inside.iter().sum::<u32>() < 4);
                            inside[host] += 1;
                            entered.push(now);
                            // In any stretch of time: a burst, and what comes back in it.
                            for from in &entered {
                                let count = entered.iter().filter(|at| *at >= from).count() as f64;
                                prop_assert!(count <= 5.0 + (now - from) as f64 / 100.0 + 1e-6);
                            }
                        }
                        Err(wait) => {
                            prop_assert!(!wait.is_zero());
                            if paused[host] > now {
                                prop_assert_eq!(wait, Duration::from_millis(paused[host] - now));
                            }
                        }
                    },
                }
                prop_assert_eq!(gate.inside(), inside.iter().sum::<u32>());
                prop_assert_eq!(gate.by_host.len(), inside.iter().filter(|count| **count > 0).count());
            }
        }
    }

    #[test]
    fn pauses_of_many_hosts_are_bounded() {
        let mut gate = Gate::new(LIMITS);
        let now = Timestamp::new(0);
        (0..2 * PAUSES_MAX as u64).for_each(|host| gate.pause(&host.to_string(), Timestamp::new(10 + host), now));
        assert_eq!(gate.paused.len(), PAUSES_MAX);
        assert!(gate.enter(&(2 * PAUSES_MAX - 1).to_string(), now).is_err(), "the longest pauses stay");
        assert!(gate.enter("0", now).is_ok(), "the soonest to end made room");
    }
}
