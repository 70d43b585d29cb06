//! The shell: owns the terminal, the client and the tasks, and moves events and actions between them and the app.
//!
//! Loop: wait for one thing, give it to the app, with all that is there already; do what the app wants; draw. Bounds: `ASKS_MAX` questions at
//! once; `AT_ONCE` events before the screen is drawn again. Invariants: the terminal is given back however it ends; a panic of a task ends
//! the program as an error. Not here: what anything means (`app`).

use std::{io, sync::Arc, time::Duration};

use crossterm::event::{Event as TerminalEvent, EventStream};
use futures_util::StreamExt;
use kith_client::{Error, wire::code::Code};
use tokio::{
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    action::{Action, Answer, Ask, Entry, Event, Progress, Server},
    app::App,
    clock,
    home::{Home, Seat},
    session::{Session, Way, enter},
    terminal::Held,
    time::Zone,
    view::view,
    work,
};

/// Questions that wait for their answers.
const ASKS_MAX: usize = 64;
/// Events that are taken in before the screen is drawn again.
const AT_ONCE: usize = 512;
/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// What was asked last, a draft to be kept for instance, has so long when the program ends.
const FAREWELL: Duration = Duration::from_millis(700);

/// How the program begins.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the cluster is, as far as that is known.
    pub server: Server,
    /// What this device is called in lists of devices.
    pub title: String,
    /// Who goes on at once, if there is a saved login.
    pub resume: Option<String>,
    /// Whether colours are wanted.
    pub colors: bool,
    /// How times are shown.
    pub zone: Zone,
}

/// What a task came to.
enum Came {
    Entered(Entry, Result<Way, Error>),
    Answered(Box<Ask>, Result<Answer, Error>),
    /// Nothing to tell.
    Ended,
}

struct Shell {
    app: App,
    home: Arc<dyn Home>,
    title: String,
    session: Option<Box<Session>>,
    /// The login that was left last, and its seat.
    left: Option<(String, Arc<dyn Seat>)>,
    tasks: JoinSet<Came>,
    wants_list: bool,
    is_quitting: bool,
}

/// Runs the client in this terminal until the user, or `stop`, ends it.
///
/// # Errors
/// The terminal cannot be used.
pub async fn run(home: Arc<dyn Home>, options: Options, stop: CancellationToken) -> io::Result<()> {
    let app = App::new(options.server.clone(), home.names(), options.zone).colors(options.colors);
    let mut shell =
        Shell { app, home, title: options.title, session: None, left: None, tasks: JoinSet::new(), wants_list: false, is_quitting: false };
    let mut held = Held::take()?;
    let ran = shell.run(&mut held, options.server, options.resume, &stop).await;
    drop(held);
    shell.close().await;
    ran
}

impl Shell {
    async fn run(&mut self, held: &mut Held, server: Server, resume: Option<String>, stop: &CancellationToken) -> io::Result<()> {
        let mut keys = EventStream::new();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let size = held.terminal.size()?;
        self.update(Event::Size(size.width, size.height));
        if let Some(name) = resume {
            match self.app.resume(server, name) {
                Some(action) => self.begin(action),
                None => self.update(Event::Tick),
            }
        }
        while !self.is_quitting {
            held.terminal.draw(|frame| view(&self.app, frame))?;
            // Each branch is cancel safe: a token, streams, a timer, tasks that stay in their set.
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                key = keys.next() => match key {
                    Some(Ok(event)) => terminal_event(event),
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                },
                event = next_of(&mut self.session) => Some(event),
                Some(came) = self.tasks.join_next(), if !self.tasks.is_empty() => self.came(came)?,
                _ = tick.tick() => Some(Event::Tick),
            };
            if let Some(event) = event {
                self.update(event);
            }
            for _ in 0..AT_ONCE {
                let Some(event) = self.session.as_mut().and_then(|session| session.try_next()) else { break };
                self.update(event);
            }
            while let Some(came) = self.tasks.try_join_next() {
                if let Some(event) = self.came(came)? {
                    self.update(event);
                }
            }
            self.read_list().await;
        }
        Ok(())
    }

    fn update(&mut self, event: Event) {
        let has_left = matches!(event, Event::Left(_));
        let is_tick = matches!(event, Event::Tick);
        if has_left {
            self.leave();
        }
        for action in self.app.update(event, clock::wall()) {
            self.begin(action);
        }
        if is_tick && let Some(session) = &self.session {
            // The seconds until the next try go down.
            let link = session.link();
            for action in self.app.update(Event::Link(link), clock::wall()) {
                self.begin(action);
            }
        }
    }
    /// The session is over; its seat is kept for a moment, in case that the login is to be forgotten.
    fn leave(&mut self) -> Option<Box<Session>> {
        let session = self.session.take()?;
        self.left = Some((session.name.clone(), Arc::clone(&session.seat)));
        Some(session)
    }
    fn begin(&mut self, action: Action) {
        match action {
            Action::Quit => self.is_quitting = true,
            Action::Enter(entry) => {
                self.left = None;
                let (home, title) = (Arc::clone(&self.home), self.title.clone());
                let begun = enter(home, entry.clone(), title);
                self.tasks.spawn(async move { Came::Entered(entry, Box::pin(begun).await) });
            }
            Action::Leave => {
                if let Some(session) = self.leave() {
                    self.tasks.spawn(async move {
                        session.client.close().await;
                        Came::Ended
                    });
                }
                self.update(Event::Left(None));
            }
            Action::Forget(name) => match self.left.take_if(|(left, _)| *left == name) {
                Some((_, seat)) => seat.forget(),
                None => match self.home.take(&name) {
                    Ok(seat) => seat.forget(),
                    Err(error) => self.update(Event::Refused(Entry::Resume { server: Server::default(), name }, error)),
                },
            },
            Action::List => self.wants_list = true,
            Action::Look(users) => {
                if let Some(map) = self.session.as_mut().map(|session| session.look(&users)) {
                    self.update(Event::Presence(map));
                }
            }
            Action::Ask(ask) => self.ask(ask),
            Action::Write { ticket, channel, write } => {
                let handed = self.session.as_ref().is_some_and(|session| session.writes.try_send((ticket, channel, write)).is_ok());
                if !handed {
                    self.update(Event::Wrote(ticket, Progress::Failed(busy())));
                }
            }
        }
    }
    fn ask(&mut self, ask: Ask) {
        match &self.session {
            Some(session) if self.tasks.len() < ASKS_MAX => {
                let client = session.client.clone();
                self.tasks.spawn(async move {
                    let answer = Box::pin(work::ask(&client, &ask)).await;
                    Came::Answered(Box::new(ask), answer)
                });
            }
            // Said as an answer, so that whoever waits for it is told.
            _ => self.tasks_full(ask),
        }
    }
    fn tasks_full(&mut self, ask: Ask) {
        self.update(Event::Answered(Box::new(ask), Err(busy())));
    }
    fn came(&mut self, came: Result<Came, JoinError>) -> io::Result<Option<Event>> {
        Ok(match came.map_err(io::Error::other)? {
            Came::Entered(_, Ok(Way::In(session, writer))) => {
                let entered = Event::Entered { user: session.client.me(), name: session.name.clone(), recovery: session.recovery.clone() };
                let client = session.client.clone();
                self.tasks.spawn(async move {
                    // How it ends is told by its status.
                    let _ = client.connect().await;
                    Came::Ended
                });
                self.tasks.spawn(async move {
                    writer.run().await;
                    Came::Ended
                });
                self.session = Some(session);
                Some(entered)
            }
            Came::Entered(_, Ok(Way::Reset(code))) => Some(Event::PasswordReset(code)),
            Came::Entered(entry, Err(error)) => Some(Event::Refused(entry, error)),
            Came::Answered(ask, answer) => Some(Event::Answered(ask, answer)),
            Came::Ended => None,
        })
    }
    /// Reads the list once for all that made it change.
    async fn read_list(&mut self) {
        if !std::mem::take(&mut self.wants_list) {
            return;
        }
        let Some(session) = &self.session else { return };
        let now = clock::wall();
        let both = (session.client.conversations(false, now).await, session.client.conversations(true, now).await);
        match both {
            (Ok(list), Ok(archived)) => self.update(Event::Listed(list, archived)),
            (Err(error), _) | (_, Err(error)) => self.update(Event::Left(Some(error))),
        }
    }
    async fn close(&mut self) {
        let Some(session) = self.session.take() else { return };
        if session.status.get().is_online() {
            let last = async { while self.tasks.join_next().await.is_some() {} };
            // The writer and the like have no end of their own.
            let _ = timeout(FAREWELL, last).await;
        }
        self.tasks.shutdown().await;
        session.client.close().await;
    }
}

async fn next_of(session: &mut Option<Box<Session>>) -> Event {
    match session {
        Some(session) => session.next().await,
        None => std::future::pending().await,
    }
}

fn terminal_event(event: TerminalEvent) -> Option<Event> {
    match event {
        TerminalEvent::Key(key) => Some(Event::Key(key)),
        TerminalEvent::Paste(text) => Some(Event::Paste(text)),
        TerminalEvent::Resize(columns, rows) => Some(Event::Size(columns, rows)),
        _ => None,
    }
}

fn busy() -> Error {
    Error::new(Code::Busy, "too much is waiting")
}
