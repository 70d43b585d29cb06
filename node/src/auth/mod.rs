//! Identity: tokens of the cluster.
pub mod token;
pub use token::{Claims, TokenError, TokenKey, mint, verify};
