//! Base64 (RFC 4648), in both alphabets: the common one with padding, and that of URLs without.
//!
//! In: bytes, or text from a boundary. Out: text, or bytes; `None` for a text that is none. Invariant: what is written is read again. Bounds: the caller's;
//! what is read is three quarters as long as its text.

const COMMON: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// In the common alphabet, padded.
pub fn write(bytes: &[u8]) -> String {
    let mut text = digits(COMMON, bytes);
    text.extend(std::iter::repeat_n('=', (3 - bytes.len() % 3) % 3));
    text
}

/// In the alphabet of URLs, without padding.
pub fn write_url(bytes: &[u8]) -> String {
    digits(URL, bytes)
}

/// Reads the common alphabet, with padding or without.
pub fn read(text: &str) -> Option<Vec<u8>> {
    bytes(COMMON, text)
}

/// Reads the alphabet of URLs, with padding or without.
pub fn read_url(text: &str) -> Option<Vec<u8>> {
    bytes(URL, text)
}

fn digits(alphabet: &[u8; 64], bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            let index = (word >> (18 - 6 * digit)) & 0x3f;
            text.push(char::from(alphabet[index as usize]));
        }
    }
    text
}

fn bytes(alphabet: &[u8; 64], text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let mut word = 0_u32;
        for digit in chunk {
            let value = alphabet.iter().position(|known| known == digit)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn texts_are_those_of_the_rfc() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")];
        for (plain, text) in cases {
            assert_eq!(write(plain.as_bytes()), text);
            assert_eq!(write_url(plain.as_bytes()), text.trim_end_matches('='));
            assert_eq!(read(text).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!((write(&[0xfb, 0xff]), write_url(&[0xfb, 0xff])), ("+/8=".to_owned(), "-_8".to_owned()));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for length in 0..70_u8 {
            let raw: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            assert_eq!(read(&write(&raw)).as_ref(), Some(&raw));
            assert_eq!(read_url(&write_url(&raw)), Some(raw));
        }
        for text in ["A", "A*BC", "-_8", "é"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read_url("+/8"), None);
    }
}
