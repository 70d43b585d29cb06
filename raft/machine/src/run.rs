//! Runs of buckets: who owns which, where only a higher epoch may take a bucket.

use kith_wire::id::OwnerEpoch;

/// A run of buckets of one region and its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run<T> {
    pub(crate) first: u16,
    /// Inclusive.
    pub(crate) last: u16,
    pub(crate) epoch: OwnerEpoch,
    pub(crate) owner: T,
}

/// What becomes of `runs` (rising, not overlapping) when `new` is taken: the new run has those of its buckets that nobody holds at its
/// epoch or a higher one. Rising, not overlapping, neighbours that agree joined.
pub(crate) fn taken<T: Copy + Eq>(runs: &[Run<T>], new: Run<T>) -> Vec<Run<T>> {
    let mut out: Vec<Run<T>> = Vec::with_capacity(runs.len() + 2);
    // Plain numbers with room for one past the last bucket.
    let (first, end) = (u32::from(new.first), u32::from(new.last) + 1);
    let mut free_from = first;
    let mut push = |from: u32, to: u32, run: Run<T>| {
        if from < to {
            let run = Run { first: from as u16, last: (to - 1) as u16, ..run };
            match out.last_mut() {
                Some(before) if u32::from(before.last) + 1 == from && before.epoch == run.epoch && before.owner == run.owner => {
                    before.last = run.last
                }
                _ => out.push(run),
            }
        }
    };
    for run in runs {
        let (run_first, run_end) = (u32::from(run.first), u32::from(run.last) + 1);
        let overlaps = run_first < end && first < run_end;
        if !overlaps {
            if run_first >= end {
                push(free_from, end, new);
                free_from = end.max(free_from);
            }
            push(run_first, run_end, *run);
        } else if run.epoch >= new.epoch {
            push(free_from, run_first.min(end), new);
            push(run_first, run_end, *run);
            free_from = free_from.max(run_end.min(end));
        } else {
            push(run_first, first.max(run_first).min(run_end), *run);
            let upto = run_end.min(end);
            push(free_from, upto, new);
            free_from = free_from.max(upto);
            push(upto, run_end, *run);
        }
    }
    push(free_from, end, new);
    out
}

/// Whether `runs` already say everything that `new` says.
pub(crate) fn stands<T: Copy + Eq>(runs: &[Run<T>], new: Run<T>) -> bool {
    runs.iter().any(|run| run.first <= new.first && new.last <= run.last && run.epoch == new.epoch && run.owner == new.owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u16, last: u16, epoch: u64, owner: u8) -> Run<u8> {
        Run { first, last, epoch: OwnerEpoch::new(epoch), owner }
    }

    #[test]
    fn only_a_higher_epoch_takes_a_bucket() {
        let base = vec![run(0, 9, 1, 1), run(10, 19, 3, 2), run(30, u16::MAX, 1, 1)];
        let cases = [
            (run(5, 14, 2, 9), vec![run(0, 4, 1, 1), run(5, 9, 2, 9), run(10, 19, 3, 2), run(30, u16::MAX, 1, 1)]),
            (run(0, u16::MAX, 1, 9), vec![run(0, 9, 1, 1), run(10, 19, 3, 2), run(20, 29, 1, 9), run(30, u16::MAX, 1, 1)]),
            (run(0, u16::MAX, 4, 9), vec![run(0, u16::MAX, 4, 9)]),
            (run(12, 13, 4, 9), vec![run(0, 9, 1, 1), run(10, 11, 3, 2), run(12, 13, 4, 9), run(14, 19, 3, 2), run(30, u16::MAX, 1, 1)]),
            (run(20, 29, 1, 1), vec![run(0, 9, 1, 1), run(10, 19, 3, 2), run(20, u16::MAX, 1, 1)]),
            (run(u16::MAX, u16::MAX, 2, 9), vec![run(0, 9, 1, 1), run(10, 19, 3, 2), run(30, u16::MAX - 1, 1, 1), run(u16::MAX, u16::MAX, 2, 9)]),
        ];
        for (new, expected) in cases {
            assert_eq!(taken(&base, new), expected, "taking {new:?}");
        }
        assert_eq!(taken(&[], run(3, 4, 1, 1)), vec![run(3, 4, 1, 1)]);
    }
}
