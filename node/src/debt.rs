//! A leader's duty: pays what the users of its group owe to other groups.
//!
//! In: the group's rows of debts, and the effect that there are new ones. Out: idempotent commands elsewhere, then a command that the debt is
//! paid up to the version that was. Invariants: a debt stands until another group has committed what it says; each is tried again, however
//! often leaders change. Bounds: [`PAGE`] rows are read and [`AT_ONCE`] paid at a time; one that fails waits 1 to 30 s, and with it all that is owed to a group that cannot be asked. On cancel all is
//! dropped: the next leader walks the same rows. Not here: what is owed and why (kith-machine).

pub(crate) mod pace;

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use kith_machine::{
    user,
    view::{Held, RowKey, Scan, StateView, ViewError},
};
use kith_raft::GroupHandle;
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{Bucket, GroupId, Term, Timestamp, UserId, UserRev},
    limit,
    log::{Debt, OwedRow, UserChange, UserState, bucket_of_word},
    peer::Inner,
};

use self::pace::{Pace, is_open_at};
use crate::{
    auth::name::words,
    clock::Instant,
    leadership::{Duty, PerGroup},
    router::Router,
    supervise::Tasks,
};

/// Rows of one read.
const PAGE: usize = 256;
/// Debts that are paid at once.
const AT_ONCE: usize = 16;
/// For one to be paid.
const PAY_WITHIN: Duration = Duration::from_secs(3);

/// The duty.
pub(crate) struct DebtDuty {
    payer: Payer,
    groups: PerGroup,
}

#[derive(Clone)]
struct Payer {
    router: Router,
}

/// One debt as its row said.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Owed {
    pub(crate) user: UserId,
    pub(crate) debt: Debt,
    pub(crate) version: u64,
}

type Failed = Pace<(UserId, Debt)>;

impl DebtDuty {
    pub(crate) fn new(router: Router, tasks: Tasks) -> Self {
        Self { payer: Payer { router }, groups: PerGroup::new(tasks) }
    }
}

impl Duty for DebtDuty {
    fn begin(&self, group: GroupId, _term: Term) {
        if group != GroupId::META {
            self.groups.begin(group, "debt.pay", self.payer.clone().pay_all(group));
        }
    }
    fn end(&self, group: GroupId, _term: Term) {
        self.groups.end(group);
    }
}

impl Payer {
    async fn pay_all(self, group: GroupId) {
        let Some(handle) = self.router.groups().get(group) else { return };
        // Before the first read: what is owed after it is heard.
        let mut feed = handle.feed();
        let mut failed = Failed::new();
        loop {
            if let Err(error) = self.pay_due(&handle, &mut failed).await {
                tracing::warn!(%group, cause = %error, "debt.pay: debts cannot be read now");
            }
            if !is_open_at(&mut feed, failed.next(self.router.clock().instant())).await {
                return;
            }
        }
    }

    async fn pay_due(&self, handle: &GroupHandle, failed: &mut Failed) -> Result<(), ViewError> {
        let mut after = None;
        let mut seen = HashSet::new();
        // Groups that could not be asked in this pass: what is owed to them waits, and holds up nothing else.
        let down = Mutex::new(BTreeSet::new());
        loop {
            let page = read(handle, after.take(), PAGE)?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|owed| (owed.user, owed.debt.clone()));
            let now = self.router.clock().instant();
            // What is owed to the app's backend is a duty of its own: somebody else's server may be slow.
            let is_due = |owed: &Owed| owed.debt != Debt::Reset && failed.is_due(&(owed.user, owed.debt.clone()), now);
            let due: Vec<_> = page.iter().filter(|owed| is_due(owed)).cloned().collect();
            seen.extend(page.into_iter().map(|owed| (owed.user, owed.debt)));
            let paid = due.into_iter().map(|owed| async {
                let to = self.creditor(&owed.debt);
                if to.is_some_and(|to| lock(&down).contains(&to)) {
                    return (Err(Refusal::new(Code::NoLeader)), owed);
                }
                let outcome = self.pay(handle, &owed).await;
                if let (Some(to), Err(refusal)) = (to, &outcome)
                    && matches!(refusal.code, Code::NoLeader | Code::OutcomeUnknown | Code::Timeout | Code::Disconnected)
                {
                    lock(&down).insert(to);
                }
                (outcome, owed)
            });
            let paid: Vec<_> = stream::iter(paid.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
            for (outcome, Owed { user, debt, .. }) in paid {
                let key = (user, debt);
                match outcome {
                    Ok(()) => failed.done(&key),
                    Err(refusal) => {
                        tracing::debug!(group = %handle.id(), code = %refusal.code, "debt.pay: not now");
                        failed.failed(key, self.router.clock().instant());
                    }
                }
            }
            if is_last {
                failed.keep(|key| seen.contains(key));
                return Ok(());
            }
        }
    }

    /// The group that a debt is owed to; words of the search index are many groups'.
    fn creditor(&self, debt: &Debt) -> Option<GroupId> {
        let bucket = match debt {
            Debt::Name(name) => Bucket::of_name(name),
            Debt::Contact(user) | Debt::Bot(user) => user.bucket(),
            Debt::Search | Debt::Texts | Debt::Reset => return None,
        };
        self.router.locate(bucket).ok().map(|route| route.group)
    }

    async fn pay(&self, handle: &GroupHandle, owed: &Owed) -> Result<(), Refusal> {
        let deadline = self.router.clock().instant() + PAY_WITHIN;
        match &owed.debt {
            Debt::Name(name) => self.pay_name(handle, owed.user, name, deadline).await?,
            Debt::Contact(peer) => self.pay_contact(handle, owed.user, *peer, deadline).await?,
            Debt::Search => self.pay_search(handle, owed.user, deadline).await?,
            Debt::Bot(bot) => self.pay_bot(owed.user, *bot, deadline).await?,
            Debt::Texts => self.pay_texts(handle, owed.user).await?,
            Debt::Reset => return Ok(()),
        }
        let paid = UserChange::Paid { debt: owed.debt.clone(), version: owed.version };
        // If this is lost, it is paid once more.
        handle.propose(kith_machine::item(paid.of(owed.user))).await.map(|_| ()).map_err(|_| Refusal::new(Code::NoLeader))
    }

    /// A bot whose owner is gone goes too. One that never was, or is gone already, is paid.
    async fn pay_bot(&self, owner: UserId, bot: UserId, deadline: Instant) -> Result<(), Refusal> {
        match self.router.inner(bot.bucket(), Inner::User { user: bot, change: UserChange::EraseBot { by: owner } }, deadline).await {
            Err(refusal) if matches!(refusal.code, Code::NoSuchUser | Code::NotAllowed) => Ok(()),
            done => done.map(|_| ()),
        }
    }

    /// The other's home hears what this user wants now. Whoever does not exist any more wants nothing.
    async fn pay_contact(&self, handle: &GroupHandle, user: UserId, peer: UserId, deadline: Instant) -> Result<(), Refusal> {
        let unread = |_: ViewError| Refusal::new(Code::Behind);
        let view = handle.reader().map_err(unread)?;
        let row = user::contact(&view, user, peer).map_err(unread)?;
        let account = user::account(&view, user).map_err(unread)?;
        drop(view);
        let asked = row.is_some_and(|row| row.mine);
        let version = account.map_or(0, |account| account.debts);
        let change = UserChange::MirrorContact { peer: user, asked, version };
        match self.router.inner(peer.bucket(), Inner::User { user: peer, change }, deadline).await {
            Err(refusal) if refusal.code == Code::NoSuchUser => Ok(()),
            done => done.map(|_| ()),
        }
    }

    /// The index hears of the words that are new, and of those that are gone. Which it may have is noted before it is told.
    async fn pay_search(&self, handle: &GroupHandle, user: UserId, deadline: Instant) -> Result<(), Refusal> {
        let unread = |_: ViewError| Refusal::new(Code::Behind);
        let view = handle.reader().map_err(unread)?;
        let account = user::account(&view, user).map_err(unread)?;
        let profile = user::profile(&view, user).map_err(unread)?;
        drop(view);
        let wanted = match account.filter(|row| row.state == UserState::Active && !profile.hidden) {
            Some(account) => words(&account.name, &profile.display),
            None => Vec::new(),
        };
        let version = profile.version;
        let note = async |words: Vec<String>| {
            let command = UserChange::Indexed { version, words }.of(user);
            handle.propose(kith_machine::item(command)).await.map(|_| ()).map_err(|_| Refusal::new(Code::NoLeader))
        };
        let gone: Vec<String> = profile.words.iter().filter(|word| !wanted.contains(word)).cloned().collect();
        note(wanted.iter().chain(&gone).cloned().collect()).await?;
        let words = wanted.iter().map(|word| (word, false)).chain(gone.iter().map(|word| (word, true)));
        for (word, gone) in words {
            let told = Inner::IndexWord { word: word.clone(), user, version, gone };
            self.router.inner(bucket_of_word(word), told, deadline).await?;
        }
        note(wanted).await
    }

    /// Every channel of the index forgets the user, then the index forgets the channel. One that cannot be told now holds up no other, and stays.
    async fn pay_texts(&self, handle: &GroupHandle, user: UserId) -> Result<(), Refusal> {
        let (mut after, mut left, down) = (UserRev::ZERO, None, Mutex::new(BTreeSet::new()));
        loop {
            let page = handle.reader().and_then(|view| user::index::channels(&view, user, after, limit::FORGET_MAX));
            let page = page.map_err(|_| Refusal::new(Code::Behind))?;
            let Some((last, _)) = page.last() else { return left.map_or(Ok(()), Err) };
            after = *last;
            let told = page.iter().map(|(_, channel)| async {
                let to = self.router.locate(channel.bucket()).ok().map(|route| route.group);
                if to.is_some_and(|to| lock(&down).contains(&to)) {
                    return Err(Refusal::new(Code::NoLeader));
                }
                let deadline = self.router.clock().instant() + PAY_WITHIN;
                match self.router.inner(channel.bucket(), Inner::Gone { channel: *channel, user }, deadline).await {
                    Err(refusal) if refusal.code != Code::NotFound => {
                        lock(&down).extend(to);
                        Err(refusal)
                    }
                    _ => Ok(*channel),
                }
            });
            let told: Vec<_> = stream::iter(told.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
            let mut channels = Vec::with_capacity(told.len());
            for one in told {
                match one {
                    Ok(channel) => channels.push(channel),
                    Err(refusal) => left = Some(refusal),
                }
            }
            if !channels.is_empty() {
                let forget = UserChange::Forget { channels }.of(user);
                handle.propose(kith_machine::item(forget)).await.map_err(|_| Refusal::new(Code::NoLeader))?;
            }
        }
    }

    /// The name's row follows the account: theirs while they have it, held back once they had.
    async fn pay_name(&self, handle: &GroupHandle, user: UserId, name: &str, deadline: Instant) -> Result<(), Refusal> {
        let account = handle.reader().and_then(|view| user::account(&view, user)).map_err(|_| Refusal::new(Code::Behind))?;
        let is_theirs = account.is_some_and(|row| row.state == UserState::Active && row.name == name);
        let (bucket, name) = (Bucket::of_name(name), name.to_owned());
        if !is_theirs {
            let until = Timestamp::new(self.router.clock().now().get() + limit::NAME_HOLD_MS);
            return self.router.inner(bucket, Inner::HoldName { name, user, until }, deadline).await.map(|_| ());
        }
        match self.router.inner(bucket, Inner::ConfirmName { name: name.clone(), user }, deadline).await {
            Err(refusal) if refusal.code == Code::NotFound => {
                self.router.inner(bucket, Inner::ReserveName { name: name.clone(), user }, deadline).await?;
                self.router.inner(bucket, Inner::ConfirmName { name, user }, deadline).await.map(|_| ())
            }
            Err(refusal) if refusal.code == Code::NameTaken => {
                tracing::error!(%user, "debt.pay: a user's name is another's");
                Ok(())
            }
            done => done.map(|_| ()),
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is owed by the users of a group, after this one; at most `limit`.
pub(crate) fn read(handle: &GroupHandle, after: Option<(UserId, Debt)>, limit: usize) -> Result<Vec<Owed>, ViewError> {
    let rows = handle.reader()?.scan(&Scan::Owed(after), false, limit)?;
    let mut page = Vec::with_capacity(rows.len());
    for (key, row) in rows {
        let version = Held::<OwedRow>::new(&key, Arc::clone(&row))?.version;
        if let RowKey::Owed(user, debt) = key {
            page.push(Owed { user, debt, version });
        }
    }
    Ok(page)
}
