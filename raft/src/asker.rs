//! Who waits for the reply to an item: alone, or with all items of one call.
//!
//! In: replies, one for each item. Out: the reply, or those of the call in its order. Invariants: who asked is woken once; an item whose asker is
//! dropped unanswered counts as [`ProposeError::Stopped`]. Bounds: none of its own. Not here: the queue (`proposer`).

use std::sync::{Arc, Mutex, PoisonError};

use kith_machine::reply::Reply;
use tokio::sync::oneshot;
use tracing::Span;

use crate::error::ProposeError;

/// What became of an item.
pub(crate) type Answer = Result<Reply, ProposeError>;

/// Who waits for an item's reply.
#[derive(Debug)]
pub(crate) struct Asker {
    place: Place,
    /// The span that it asked in: says to which entry its request went.
    pub(crate) span: Span,
}

#[derive(Debug)]
enum Place {
    Alone(oneshot::Sender<Answer>),
    Among(Arc<Company>, usize),
}

/// The items of one call. Whoever drops the last of its askers has it answered.
#[derive(Debug)]
pub(crate) struct Company {
    answers: Mutex<Vec<Answer>>,
    whole: Option<oneshot::Sender<Vec<Answer>>>,
}

impl Asker {
    /// For one item.
    pub(crate) fn alone() -> (Self, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        (Self { place: Place::Alone(answer), span: Span::current() }, answered)
    }

    pub(crate) fn answer(self, answer: Answer) {
        match self.place {
            // One that has given up is no fault.
            Place::Alone(asker) => drop(asker.send(answer)),
            Place::Among(company, place) => company.answer(place, answer),
        }
    }
}

impl Company {
    /// For so many items.
    pub(crate) fn of(count: usize) -> (Arc<Self>, oneshot::Receiver<Vec<Answer>>) {
        let (whole, answered) = oneshot::channel();
        (Arc::new(Self { answers: Mutex::new(vec![Err(ProposeError::Stopped); count]), whole: Some(whole) }), answered)
    }

    /// The asker of one of them.
    pub(crate) fn asker(self: &Arc<Self>, place: usize) -> Asker {
        Asker { place: Place::Among(self.clone(), place), span: Span::current() }
    }

    /// Answers one of them.
    pub(crate) fn answer(&self, place: usize, answer: Answer) {
        if let Some(slot) = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place) {
            *slot = answer;
        }
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        let answers = std::mem::take(self.answers.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(whole) = self.whole.take() {
            // As above.
            let _ = whole.send(answers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_answered_when_the_last_of_its_items_is_and_in_its_order() {
        let (company, mut answered) = Company::of(3);
        let [first, second, third] = [0, 1, 2].map(|place| company.asker(place));
        drop(company);
        third.answer(Ok(Reply::Done));
        drop(second);
        assert!(answered.try_recv().is_err(), "one is open");
        first.answer(Err(ProposeError::Unknown));
        assert_eq!(answered.try_recv(), Ok(vec![Err(ProposeError::Unknown), Err(ProposeError::Stopped), Ok(Reply::Done)]));
    }
}
