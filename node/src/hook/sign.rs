//! Signatures of Standard Webhooks (<https://www.standardwebhooks.com>): three headers, HMAC-SHA256 by RFC 2104.

use sha2::{Digest, Sha256};

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
    Headers { id: id.to_owned(), signature: format!("v1,{}", base64(&code)), timestamp }
}

/// A key as people copy it.
pub fn key_text(key: &[u8]) -> String {
    format!("whsec_{}", base64(key))
}

/// A key as people give it; `None`: it is none.
pub fn read_key(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("whsec_").unwrap_or(text).trim_end_matches('=');
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.as_bytes().chunks(4) {
        let mut word = 0_u32;
        for digit in chunk {
            let value = ALPHABET.iter().position(|known| known == digit)?;
            word = word << 6 | u32::try_from(value).ok()?;
        }
        let missing = 4 - chunk.len();
        if missing > 2 {
            return None;
        }
        word <<= 6 * missing;
        out.extend_from_slice(&word.to_be_bytes()[1..4 - missing]);
    }
    Some(out)
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

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) & 0x3f;
            text.push(if digit > chunk.len() { '=' } else { char::from(ALPHABET[index as usize]) });
        }
    }
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

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
