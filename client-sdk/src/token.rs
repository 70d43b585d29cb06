//! Tokens: who asks for one, when, and whose it is.

use futures_util::future::BoxFuture;
use kith_wire::id::UserId;

use crate::error::Error;

/// Why a token is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TokenReason {
    /// The client has none yet.
    First,
    /// The last one was refused or its time is over: a new one is needed.
    Refused,
}

/// Gives tokens. A failure is retried with backoff, so a flaky network ends no session.
pub trait TokenProvider: Send + Sync {
    /// A token for this user, as the cluster signs them.
    fn token(&self, why: TokenReason) -> BoxFuture<'_, Result<String, Error>>;
}

impl TokenProvider for String {
    fn token(&self, _why: TokenReason) -> BoxFuture<'_, Result<String, Error>> {
        Box::pin(std::future::ready(Ok(self.clone())))
    }
}

impl<F: Fn(TokenReason) -> Result<String, Error> + Send + Sync> TokenProvider for F {
    fn token(&self, why: TokenReason) -> BoxFuture<'_, Result<String, Error>> {
        Box::pin(std::future::ready(self(why)))
    }
}

/// The user that a token names (`"sub":"u…"`). Nothing is verified here: the edge does that.
pub(crate) fn subject(token: &str) -> Option<UserId> {
    let text = claims(token)?;
    let value = text.split_once("\"sub\"")?.1.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let digits = value.split_once('"')?.0.strip_prefix('u').filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().map(UserId::new)
}

/// What a token says.
pub(crate) fn claims(token: &str) -> Option<String> {
    String::from_utf8(base64url(token.split('.').nth(1)?)?).ok()
}

/// Without padding, as tokens have it.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn to_base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for part in bytes.chunks(3) {
        let word = part.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - part.len()));
        out.extend((0..=part.len()).map(|at| char::from(DIGITS[(word >> (18 - 6 * at)) as usize & 63])));
    }
    out
}

fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            b'=' => break,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_of_a_token_is_found() {
        // {"sub":"u00000000000000ff","name":"ann"}
        let token = "e30.eyJzdWIiOiJ1MDAwMDAwMDAwMDAwMDBmZiIsIm5hbWUiOiJhbm4ifQ.c2ln";
        assert_eq!(subject(token), Some(UserId::new(255)));
    }

    #[test]
    fn what_is_written_is_read() {
        for text in ["", "a", "ab", "abc", "abcd", "~~~???"] {
            assert_eq!(base64url(&to_base64url(text.as_bytes())).as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn what_is_no_token_has_no_subject() {
        for text in ["", "a", "a.b", "a.!!.c", "e30.e30.x", "e30.eyJzdWIiOiJ4In0.x"] {
            assert_eq!(subject(text), None, "{text}");
        }
    }
}
