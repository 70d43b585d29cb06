//! Signatures of Standard Webhooks (<https://www.standardwebhooks.com>): three headers, HMAC-SHA256 by RFC 2104.
//!
//! In: a key, the id and time of a post, its body. Out: the headers that go with it. Shared by all that is posted to somebody else's server: the webhooks of
//! channels (the node) and push (kith-push). Not here: posting, and where to ([`crate::address`]).

use sha2::{Digest, Sha256};

use crate::{base64, id::Timestamp};

/// The three headers of a post.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Headers {
    /// `webhook-id`: of the event, the same each time it is posted.
    pub id: String,
    /// `webhook-timestamp`: of this post, in seconds.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signature: String,
}

/// Signs a body.
pub fn headers(key: &[u8], id: &str, seconds: u64, body: &str) -> Headers {
    let timestamp = seconds.to_string();
    let code = hmac(key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body.as_bytes()]);
    Headers { id: id.to_owned(), signature: format!("v1,{}", base64::write(&code)), timestamp }
}

/// A time as the bodies of posts have it: RFC 3339, in UTC, with milliseconds.
pub fn time_text(at: Timestamp) -> String {
    let (days, ms) = (at.get() / 86_400_000, at.get() % 86_400_000);
    // Days to a date, by years that begin in March (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", ms % 1_000)
}

/// A key as people copy it.
pub fn key_text(key: &[u8]) -> String {
    format!("whsec_{}", base64::write(key))
}

/// A key as people give it; `None`: it is none.
pub fn read_key(text: &str) -> Option<Vec<u8>> {
    base64::read(text.strip_prefix("whsec_").unwrap_or(text))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    const BLOCK: usize = 64;
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut inner = Sha256::new();
    inner.update(block.map(|byte| byte ^ 0x36));
    parts.iter().for_each(|part| inner.update(part));
    let mut outer = Sha256::new();
    outer.update(block.map(|byte| byte ^ 0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 4231, test cases 1, 2 and 6.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let cases: [(&[u8], &[u8], &str); 3] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, data, code) in cases {
            assert_eq!(hex(&hmac(key, &[data])), code);
        }
    }

    /// The example of the Standard Webhooks specification.
    #[test]
    fn a_post_is_signed_as_the_specification_says() {
        let key = read_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a key");
        let signed = headers(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed.signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        for length in 0..70_u8 {
            let key: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            assert_eq!(read_key(&key_text(&key)), Some(key));
        }
        assert_eq!(read_key("whsec_A"), None);
        assert_eq!(read_key("whsec_A*BC"), None);
    }
}
