//! Identity: passwords, names, and tokens of the cluster.
pub mod gate;
pub mod issuer;
pub mod name;
pub mod password;
pub mod token;
pub use token::{Claims, Grant, TokenError, TokenKey, mint, verify};
