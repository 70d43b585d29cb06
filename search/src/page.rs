//! Pages of several nodes as one.
//!
//! In: what each node has found, newest first, and how far it has looked. Out: the newest of all, and where the next page begins. Invariant: pages
//! one after the other give everything once, in order: nothing is given out that is older than what a node has not looked at yet.

use kith_wire::search::{SearchHit, Spot};

/// Something that was found somewhere.
pub trait Keyed {
    /// Where.
    fn spot(&self) -> Spot;
}

impl Keyed for SearchHit {
    fn spot(&self) -> Spot {
        self.spot
    }
}

impl Keyed for Spot {
    fn spot(&self) -> Spot {
        *self
    }
}

/// What one place has found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part<T> {
    /// Newest first.
    pub hits: Vec<T>,
    /// It has looked no further than to this place; `None`: at everything.
    pub reached: Option<Spot>,
}

/// The newest of all parts, at most so many (at least one); and from where to go on, if there may be more.
pub fn merge<T: Keyed>(parts: Vec<Part<T>>, limit: usize) -> (Vec<T>, Option<Spot>) {
    let reached = parts.iter().filter_map(|part| part.reached).max();
    let mut hits: Vec<T> = parts.into_iter().flat_map(|part| part.hits).filter(|hit| reached.is_none_or(|reached| hit.spot() >= reached)).collect();
    hits.sort_by_key(|hit| std::cmp::Reverse(hit.spot()));
    hits.dedup_by_key(|hit| hit.spot());
    if hits.len() > limit {
        hits.truncate(limit.max(1));
        let last = hits.last().map(Keyed::spot);
        return (hits, last);
    }
    (hits, reached)
}

#[cfg(test)]
mod tests {
    use kith_wire::id::{ChannelId, Seq, Timestamp, UserId};
    use proptest::prelude::*;

    use super::*;

    fn spot((ts, seq, user): (u64, u64, u64)) -> Spot {
        Spot { ts: Timestamp::new(ts), seq: Seq::new(seq), channel: ChannelId::direct(UserId::new(user), UserId::new(user)) }
    }

    /// A node that looks at a few of its records at a time and finds those that match.
    fn look(held: &[(Spot, bool)], below: Option<Spot>, at_once: usize) -> Part<Spot> {
        let older: Vec<_> = held.iter().rev().filter(|(spot, _)| below.is_none_or(|below| *spot < below)).collect();
        let looked = &older[..at_once.min(older.len())];
        let reached = (looked.len() < older.len()).then(|| looked.last().map(|(spot, _)| *spot)).flatten();
        Part { hits: looked.iter().filter(|(_, matches)| *matches).map(|(spot, _)| *spot).collect(), reached }
    }

    proptest! {
        #[test]
        fn pages_one_after_the_other_give_everything_once_in_order(
            held in proptest::collection::btree_map((0..20u64, 1..5u64, 1..4u64), (0..3usize, any::<bool>()), 0..60),
            at_once in 1..6usize, limit in 1..5usize,
        ) {
            let mut nodes = vec![Vec::new(); 3];
            let mut expected = Vec::new();
            for (key, (node, matches)) in held {
                nodes[node].push((spot(key), matches));
                if matches {
                    expected.push(spot(key));
                }
            }
            expected.sort();
            expected.reverse();
            let (mut given, mut below) = (Vec::new(), None);
            loop {
                let (hits, next) = merge(nodes.iter().map(|held| look(held, below, at_once)).collect(), limit);
                prop_assert!(hits.len() <= limit);
                given.extend(hits);
                prop_assert!(next.is_none_or(|next| below.is_none_or(|below| next < below)), "each page gets further");
                below = next;
                if below.is_none() {
                    break;
                }
            }
            prop_assert_eq!(given, expected);
        }
    }
}
