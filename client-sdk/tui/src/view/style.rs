//! Styles: colours where they are wanted, and what says the same without them.

use kith_client::wire::id::UserId;
use ratatui::style::{Color, Modifier, Style as Cells};

/// The styles, with colours or without.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    has_colors: bool,
}

/// Colours of names: of the sixteen that every terminal has and that are read on light and dark.
const NAMES: [Color; 6] = [Color::Cyan, Color::Magenta, Color::Green, Color::Yellow, Color::Blue, Color::Red];

impl Style {
    pub(super) const fn new(has_colors: bool) -> Self {
        Self { has_colors }
    }
    fn color(self, color: Color) -> Cells {
        if self.has_colors { Cells::new().fg(color) } else { Cells::new() }
    }
    pub(super) fn plain(self) -> Cells {
        Cells::new()
    }
    pub(super) fn bold(self) -> Cells {
        Cells::new().add_modifier(Modifier::BOLD)
    }
    pub(super) fn dim(self) -> Cells {
        Cells::new().add_modifier(Modifier::DIM)
    }
    pub(super) fn bar(self) -> Cells {
        Cells::new().add_modifier(Modifier::REVERSED)
    }
    pub(super) fn bar_wrong(self) -> Cells {
        self.bar().add_modifier(Modifier::BOLD)
    }
    pub(super) fn key(self) -> Cells {
        self.color(Color::Cyan).add_modifier(Modifier::BOLD)
    }
    pub(super) fn title(self) -> Cells {
        self.color(Color::Cyan).add_modifier(Modifier::BOLD)
    }
    pub(super) fn wrong(self) -> Cells {
        self.color(Color::Red).add_modifier(Modifier::BOLD)
    }
    pub(super) fn good(self) -> Cells {
        self.color(Color::Green)
    }
    pub(super) fn unread(self) -> Cells {
        self.color(Color::Yellow).add_modifier(Modifier::BOLD)
    }
    pub(super) fn chosen(self) -> Cells {
        Cells::new().add_modifier(Modifier::REVERSED)
    }
    pub(super) fn toast(self) -> Cells {
        self.color(Color::Green).add_modifier(Modifier::REVERSED)
    }
    pub(super) fn toast_wrong(self) -> Cells {
        self.color(Color::Red).add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }
    /// Of a person: the same each time.
    pub(super) fn name(self, user: UserId) -> Cells {
        let color = NAMES[(user.get() % NAMES.len() as u64) as usize];
        self.color(color).add_modifier(Modifier::BOLD)
    }
}
