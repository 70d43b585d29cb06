//! The terminal: taken over for the time of the program, and given back however it ends.
//!
//! Invariant: raw mode, the other screen and pasting by brackets are undone when [`Held`] is dropped, and before a panic prints anything.

use std::{
    io::{self, Stdout, Write, stdout},
    panic,
    sync::Arc,
};

use crossterm::{
    cursor, event, execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, backend::CrosstermBackend};

type Hook = Box<dyn Fn(&panic::PanicHookInfo<'_>) + Send + Sync + 'static>;

/// The terminal while it is ours.
pub(crate) struct Held {
    pub(crate) terminal: Terminal<CrosstermBackend<Stdout>>,
    before: Arc<Hook>,
}

impl Held {
    pub(crate) fn take() -> io::Result<Self> {
        let before: Arc<Hook> = Arc::new(panic::take_hook());
        let told = Arc::clone(&before);
        panic::set_hook(Box::new(move |info| {
            give_back();
            told(info);
        }));
        // From here on, whatever fails gives it back.
        let taken = enable_raw_mode()
            .and_then(|()| execute!(stdout(), EnterAlternateScreen, event::EnableBracketedPaste))
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match taken {
            Ok(terminal) => Ok(Self { terminal, before }),
            Err(error) => {
                give_back();
                restore(before);
                Err(error)
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        give_back();
        // While it unwinds the hook must stay.
        if !std::thread::panicking() {
            restore(Arc::clone(&self.before));
        }
    }
}

fn restore(before: Arc<Hook>) {
    panic::set_hook(Box::new(move |info| before(info)));
}

fn give_back() {
    // A terminal that is gone needs nothing.
    let _ = execute!(stdout(), event::DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
    let _ = stdout().flush();
}
