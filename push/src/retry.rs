//! When the next attempt is: pure.
//!
//! In: what came of an attempt, how many there were, the time, a seed. Out: [`Next`]. Invariants: never before the provider's `Retry-After`; never after the push
//! is of no use; the same in gives the same out, so that a new leader that knows the row knows the time. Bounds: [`Schedule`]. Not here: who keeps the row and
//! waits (the node).

use std::time::Duration;

use kith_wire::id::{Timestamp, hash};

use crate::Outcome;

/// A provider's wish to be left alone is honoured up to this: a push is kept for a day.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How long to wait between attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// After the first failure; each further one doubles it. At least a millisecond.
    pub first: Duration,
    /// No longer than this.
    pub longest: Duration,
    /// While the operator has something to do.
    pub misconfigured: Duration,
    /// From the first attempt on; then it is given up.
    pub whole: Duration,
    /// Attempts at most.
    pub attempts_max: u32,
}

impl Default for Schedule {
    /// 2 s, doubling to 15 min, for a day.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(15 * 60),
            misconfigured: Duration::from_secs(5 * 60),
            whole: Duration::from_secs(24 * 3_600),
            attempts_max: 200,
        }
    }
}

/// Where a push stands after an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempted {
    /// Attempts so far, with this one: at least 1.
    pub attempts: u32,
    /// When it was first tried.
    pub begun: Timestamp,
    /// Of no use from then on.
    pub expires: Timestamp,
    /// Different for each push, the same for its attempts: pushes that failed together do not come back together.
    pub seed: u64,
}

/// What to do after an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing: it is delivered.
    Done,
    /// Try again, not before then.
    At(Timestamp),
    /// Remove the device's registration, if it is not of after `since`, and the push.
    RemoveToken {
        /// See [`Outcome::DeadToken`].
        since: Option<Timestamp>,
    },
    /// Remove the push.
    GiveUp(GiveUp),
}

/// Why a push is not tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GiveUp {
    /// It will be refused again.
    Refused,
    /// It would be of no use then.
    Expired,
    /// It was tried often enough.
    Attempts,
}

impl Schedule {
    /// What to do after an attempt.
    pub fn next(&self, outcome: &Outcome, at: &Attempted, now: Timestamp) -> Next {
        let wait = match *outcome {
            Outcome::Delivered => return Next::Done,
            Outcome::DeadToken { since } => return Next::RemoveToken { since },
            Outcome::Refused { is_permanent: true, .. } => return Next::GiveUp(GiveUp::Refused),
            // What we are told is the least; the jitter comes on top.
            Outcome::RetryAfter(after) => {
                let told = after.min(RETRY_AFTER_MAX);
                told.max(self.backoff(at)) + self.spread(told / 10, at)
            }
            Outcome::Transient(_) | Outcome::Refused { .. } => self.backoff(at),
            Outcome::Misconfigured(_) => self.misconfigured / 2 + self.spread(self.misconfigured / 2, at),
        };
        if at.attempts >= self.attempts_max {
            return Next::GiveUp(GiveUp::Attempts);
        }
        let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let next = now.get().saturating_add(millis(wait).max(1));
        let last = at.begun.get().saturating_add(millis(self.whole)).min(at.expires.get());
        if next >= last { Next::GiveUp(GiveUp::Expired) } else { Next::At(Timestamp::new(next)) }
    }
    /// Half of the doubled wait, and a part of the other half by the seed.
    fn backoff(&self, at: &Attempted) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(at.attempts.saturating_sub(1)).unwrap_or(u32::MAX)).min(self.longest);
        doubled / 2 + self.spread(doubled / 2, at)
    }
    /// A part of it, by the seed and the attempt.
    fn spread(&self, most: Duration, at: &Attempted) -> Duration {
        let drawn = hash(&[b"kith/push/jitter/1", &at.seed.to_be_bytes(), &at.attempts.to_be_bytes()]);
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(u64::try_from((u128::from(drawn) * (u128::from(most) + 1)) >> 64).unwrap_or(most))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Fault, Reason};

    const HOUR: u64 = 3_600_000;

    fn at(attempts: u32, seed: u64) -> Attempted {
        Attempted { attempts, begun: Timestamp::new(0), expires: Timestamp::new(24 * HOUR), seed }
    }
    fn failed() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Transient(Fault::Reset)),
            Just(Outcome::Refused { reason: Reason("x"), is_permanent: false }),
            Just(Outcome::Misconfigured(Reason("x"))),
            (0..200_000_000_u64).prop_map(|millis| Outcome::RetryAfter(Duration::from_millis(millis))),
        ]
    }

    proptest! {
        #[test]
        fn attempts_are_later_and_within_the_bounds(outcome in failed(), attempts in 1..300_u32, seed: u64, now in 0..25 * HOUR, expires in 0..48 * HOUR) {
            let schedule = Schedule::default();
            let at = Attempted { expires: Timestamp::new(expires), ..at(attempts, seed) };
            let next = schedule.next(&outcome, &at, Timestamp::new(now));
            prop_assert_eq!(next, schedule.next(&outcome, &at, Timestamp::new(now)));
            let Next::At(next) = next else { return Ok(()) };
            prop_assert!(attempts < schedule.attempts_max);
            prop_assert!(next.get() > now && next.get() < expires.min(24 * HOUR));
            match outcome {
                Outcome::RetryAfter(told) => {
                    let told = told.min(RETRY_AFTER_MAX).as_millis() as u64;
                    prop_assert!(next.get() >= now + told, "before what the provider said");
                    let most = told.max(15 * 60_000) + told / 10;
                    prop_assert!(next.get() <= now + most);
                }
                _ => prop_assert!(next.get() <= now + 15 * 60_000),
            }
        }
    }

    #[test]
    fn waits_double_and_are_spread_by_the_seed() {
        let schedule = Schedule::default();
        let wait = |attempts, seed| match schedule.next(&Outcome::Transient(Fault::Reset), &at(attempts, seed), Timestamp::new(0)) {
            Next::At(next) => next.get(),
            other => panic!("{other:?}"),
        };
        for attempts in 1..40 {
            let whole = (2_000_u64 << (attempts - 1).min(20)).min(900_000);
            let waits: Vec<u64> = (0..1_000).map(|seed| wait(attempts, seed)).collect();
            let (least, most) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
            assert!(least >= whole / 2 && most <= whole, "{attempts}: {least}..{most}");
            assert!(most - least > whole / 3, "{attempts}: {least}..{most} is not spread");
        }
    }

    #[test]
    fn what_ends_it_ends_it() {
        let schedule = Schedule::default();
        let next = |outcome| schedule.next(&outcome, &at(1, 1), Timestamp::new(0));
        assert_eq!(next(Outcome::Delivered), Next::Done);
        let since = Some(Timestamp::new(4));
        assert_eq!(next(Outcome::DeadToken { since }), Next::RemoveToken { since });
        assert_eq!(next(Outcome::never("BadTopic")), Next::GiveUp(GiveUp::Refused));
        assert_eq!(next(Outcome::RetryAfter(RETRY_AFTER_MAX)), Next::GiveUp(GiveUp::Expired));
        assert_eq!(schedule.next(&Outcome::Transient(Fault::Reset), &at(200, 1), Timestamp::new(0)), Next::GiveUp(GiveUp::Attempts));
    }

    /// A provider that is down all day: the attempts of one push, from the first to the last.
    #[test]
    fn a_day_of_failures_is_some_hundred_attempts_at_most() {
        let schedule = Schedule::default();
        let (mut now, mut attempts) = (Timestamp::new(0), 1);
        while let Next::At(next) = schedule.next(&Outcome::Transient(Fault::Reset), &at(attempts, 9), now) {
            (now, attempts) = (next, attempts + 1);
        }
        assert!((100..=200).contains(&attempts), "{attempts}");
        assert!(now.get() > 22 * HOUR, "given up after {} h", now.get() / HOUR);
    }
}
