//! A bounded search for an order of membership operations that explains their answers: just-in-time linearization (Lowe, "Testing for linearizability", 2017).
//!
//! In: the operations of one channel. Out: fits, does not fit (and which answer nothing explains), or too much to search.
//! Own, because stateright's tester copies its history at every step, remembers nothing of where it was, knows no unanswered operation beside later ones of the same
//! thread and has no bound, and todc-utils needs an answer to every operation; both would bring their frameworks along.
//! Bounds: 128 users a channel; the caller's number of steps.

use std::collections::HashSet;

use crate::history::Nanos;

/// What an operation does or shows. Users are bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// The user is a member from here on.
    Add(u8),
    /// The user is none from here on.
    Remove(u8),
    /// An answer that only a member gets.
    IsMember(u8),
    /// An answer that only a stranger gets.
    IsStranger(u8),
    /// An answer that names all.
    Are(u128),
}

/// One operation. Without an end it may have happened at any time since, or not at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) act: Act,
    pub(super) from: Nanos,
    pub(super) to: Option<Nanos>,
    /// For the example.
    pub(super) line: u64,
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum Search {
    Fits,
    /// The operation that nothing explains.
    Fails(usize),
    TooMuch,
}

/// A possible present: who is known to be a member or not, and which open operations have happened already.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    known: u128,
    members: u128,
    done: Vec<u32>,
}

impl State {
    fn is_done(&self, op: u32) -> bool {
        self.done.binary_search(&op).is_ok()
    }

    fn finish(&mut self, op: u32) {
        if let Err(at) = self.done.binary_search(&op) {
            self.done.insert(at, op);
        }
    }

    /// The state in which an operation has happened; none if it cannot happen here. A user of whom nothing was known becomes what the answer says.
    fn after(&self, op: u32, act: Act) -> Option<State> {
        let mut next = self.clone();
        let (known, members) = match act {
            Act::Add(user) => (1u128 << user, 1u128 << user),
            Act::Remove(user) => (1 << user, 0),
            Act::IsMember(user) if self.knows(user, false) => return None,
            Act::IsStranger(user) if self.knows(user, true) => return None,
            Act::IsMember(user) => (1 << user, 1 << user),
            Act::IsStranger(user) => (1 << user, 0),
            Act::Are(all) if self.members != all & self.known => return None,
            Act::Are(all) => (u128::MAX, all),
        };
        next.known |= known;
        next.members = (next.members & !known) | members;
        next.finish(op);
        Some(next)
    }

    fn knows(&self, user: u8, is_member: bool) -> bool {
        let bit = 1u128 << user;
        self.known & bit != 0 && (self.members & bit != 0) == is_member
    }

    /// Lets happen what may happen without changing anything: answers that are right as it stands. Delaying them would only lose chances.
    fn settle(&mut self, open: &[u32], operations: &[Operation]) {
        for op in open {
            let is_right = match operations[*op as usize].act {
                Act::Add(_) | Act::Remove(_) => false,
                Act::IsMember(user) => self.knows(user, true),
                Act::IsStranger(user) => self.knows(user, false),
                Act::Are(all) => self.known == u128::MAX && self.members == all,
            };
            if is_right {
                self.finish(*op);
            }
        }
    }
}

/// Searches. `steps` is what is left of the bound, and is lowered.
pub(super) fn search(operations: &[Operation], steps: &mut u64) -> Search {
    // (time, ends, operation): at one moment beginnings come first, so that what touches counts as concurrent.
    let mut moments: Vec<(Nanos, bool, u32)> = Vec::with_capacity(2 * operations.len());
    for (n, operation) in operations.iter().enumerate() {
        moments.push((operation.from, false, n as u32));
        moments.extend(operation.to.map(|to| (to, true, n as u32)));
    }
    moments.sort_unstable();
    let mut open: Vec<u32> = Vec::new();
    let mut states = HashSet::from([State { known: 0, members: 0, done: Vec::new() }]);
    for (_, ends, op) in moments {
        if !ends {
            open.push(op);
            states = states
                .into_iter()
                .map(|mut state| {
                    state.settle(&[op], operations);
                    state
                })
                .collect();
            continue;
        }
        let mut next = HashSet::new();
        let mut visited: HashSet<State> = states.clone();
        let mut todo: Vec<State> = states.into_iter().collect();
        while let Some(state) = todo.pop() {
            if state.is_done(op) {
                let mut state = state;
                state.done.retain(|done| *done != op);
                next.insert(state);
                continue;
            }
            for other in open.iter().filter(|other| !state.is_done(**other)) {
                if *steps == 0 {
                    return Search::TooMuch;
                }
                *steps -= 1;
                let Some(mut after) = state.after(*other, operations[*other as usize].act) else { continue };
                after.settle(&open, operations);
                if visited.insert(after.clone()) {
                    todo.push(after);
                }
            }
        }
        if next.is_empty() {
            return Search::Fails(op as usize);
        }
        open.retain(|other| *other != op);
        states = next;
    }
    Search::Fits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operation(act: Act, from: Nanos, to: Nanos) -> Operation {
        Operation { act, from, to: (to < 100).then_some(to), line: 0 }
    }

    /// Tries every order of every choice of the unanswered, from every beginning.
    fn naive(operations: &[Operation]) -> bool {
        fn go(operations: &[Operation], left: &mut Vec<usize>, members: u128) -> bool {
            if left.iter().all(|n| operations[*n].to.is_none()) {
                return true;
            }
            for at in 0..left.len() {
                let one = left[at];
                if left.iter().any(|other| operations[*other].to.is_some_and(|to| to < operations[one].from)) {
                    continue;
                }
                let next = match operations[one].act {
                    Act::Add(user) => members | 1 << user,
                    Act::Remove(user) => members & !(1 << user),
                    Act::IsMember(user) if members & 1 << user == 0 => continue,
                    Act::IsStranger(user) if members & 1 << user != 0 => continue,
                    Act::Are(all) if members != all => continue,
                    _ => members,
                };
                left.remove(at);
                let fits = go(operations, left, next);
                left.insert(at, one);
                if fits {
                    return true;
                }
            }
            false
        }
        (0..4).any(|members| go(operations, &mut (0..operations.len()).collect(), members))
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0u8..2).prop_map(Act::Add),
            (0u8..2).prop_map(Act::Remove),
            (0u8..2).prop_map(Act::IsMember),
            (0u8..2).prop_map(Act::IsStranger),
            (0u128..4).prop_map(Act::Are),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_search_agrees_with_trying_every_order(raw in proptest::collection::vec((act(), 0u64..12, 0u64..8, 0u8..6), 0..7)) {
            let operations: Vec<_> = raw.into_iter().map(|(act, from, more, fate)| operation(act, from, if fate == 0 { 100 } else { from + more })).collect();
            let mut steps = 1_000_000;
            prop_assert_eq!(search(&operations, &mut steps) == Search::Fits, naive(&operations), "{:?}", operations);
        }
    }

    #[test]
    fn the_bound_holds() {
        let operations: Vec<_> = (0..40)
            .map(|n| operation(if n % 2 == 0 { Act::Add(n / 2) } else { Act::Remove(n / 2) }, 0, 100))
            .chain([operation(Act::Are(0xAAAAA), 1, 2)])
            .collect();
        let mut steps = 10_000;
        assert_eq!(search(&operations, &mut steps), Search::TooMuch);
    }
}
