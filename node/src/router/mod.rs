//! From an id to a place: bucket → group → leader (or nearest replica), at most one hop.

use kith_wire::{client::Refusal, code::Code};

/// A refusal with the code's own text.
pub fn refuse(code: Code) -> Refusal {
    Refusal { code, retry_after_ms: None, expected: None, leader: None, text: code.text().into() }
}

/// A refusal that says how long to wait.
pub fn refuse_for(code: Code, retry_after_ms: u32) -> Refusal {
    Refusal { retry_after_ms: Some(retry_after_ms), ..refuse(code) }
}
