//! openraft's watch channel, with one difference to tokio's: who waits is woken in the order of waiting, not in a random one.
//!
//! In: values. Out: the newest one to everybody. Invariant: nothing here depends on chance. Only with the feature `testing`: a simulation
//! repeats. Not here: anything that is shipped.

use std::{
    future::poll_fn,
    ops::Deref,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

use openraft::{OptionalSend, OptionalSync, async_runtime::watch};

/// openraft's watch channel in the order of waiting.
pub(crate) struct OrderedWatch;

struct Shared<T> {
    value: RwLock<(u64, T)>,
    wakers: std::sync::Mutex<Vec<Waker>>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

impl<T> Shared<T> {
    fn read(&self) -> RwLockReadGuard<'_, (u64, T)> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn wake(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}

pub(crate) struct Sender<T>(Arc<Shared<T>>);
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}
pub(crate) struct Ref<'a, T>(RwLockReadGuard<'a, (u64, T)>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}
impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.wake();
        }
    }
}
impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}
impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl watch::Watch for OrderedWatch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        let (senders, receivers) = (AtomicUsize::new(1), AtomicUsize::new(1));
        let shared = Arc::new(Shared { value: RwLock::new((0, init)), wakers: std::sync::Mutex::default(), senders, receivers });
        (Sender(Arc::clone(&shared)), Receiver { shared, seen: 0 })
    }
}

impl<T: OptionalSend + OptionalSync> watch::WatchSender<OrderedWatch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), watch::SendError<T>> {
        if self.0.receivers.load(Ordering::Acquire) == 0 {
            return Err(watch::SendError(value));
        }
        self.send_if_modified(|old| {
            *old = value;
            true
        });
        Ok(())
    }
    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let mut held = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        let is_modified = modify(&mut held.1);
        held.0 += u64::from(is_modified);
        drop(held);
        if is_modified {
            self.0.wake();
        }
        is_modified
    }
    fn borrow_watched(&self) -> Ref<'_, T> {
        Ref(self.0.read())
    }
    fn subscribe(&self) -> Receiver<T> {
        self.0.receivers.fetch_add(1, Ordering::Relaxed);
        let seen = self.0.read().0;
        Receiver { shared: Arc::clone(&self.0), seen }
    }
}

impl<T: OptionalSend + OptionalSync> watch::WatchReceiver<OrderedWatch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), watch::RecvError> {
        let (shared, seen) = (&self.shared, &mut self.seen);
        poll_fn(|cx| {
            let mut wakers = shared.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            let now = shared.read().0;
            if now != *seen {
                *seen = now;
                return Poll::Ready(Ok(()));
            }
            if shared.senders.load(Ordering::Acquire) == 0 {
                return Poll::Ready(Err(watch::RecvError(())));
            }
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
    fn borrow_watched(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }
    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let held = self.shared.read();
        self.seen = held.0;
        Ref(held)
    }
}
