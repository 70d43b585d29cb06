//! One file per verb: arguments to a call of the library to text. No logic beyond that.

pub(crate) mod check;
pub(crate) mod list;
pub(crate) mod matrix;
pub(crate) mod mutants;
pub(crate) mod plan;
mod request;
pub(crate) mod run;
