//! Identity: passwords, names, and tokens of the cluster.
pub mod gate;
pub mod issuer;
pub mod jwks;
mod keyed;
pub mod metrics;
pub mod name;
pub mod password;
pub mod reset;
pub mod token;
pub use token::{Claims, Grant, TokenError, TokenKey, mint, verify};
