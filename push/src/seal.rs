//! Encryption of a Web Push: RFC 8291 over `aes128gcm` of RFC 8188, in one record.
//!
//! In: a text, the browser's key and secret, a salt and a key pair for this message alone. Out: the body of the request. Invariants: salt and key pair are used
//! once ([`seal`] draws them); only the browser opens it. Bounds: [`PLAIN_BYTES_MAX`]. Not here: requests, VAPID.
//!
//! ```text
//! salt [u8; 16] | record size u32 = 4096 | key length u8 = 65 | our key [u8; 65] | AES-128-GCM of (text, 0x02, zeros)
//! ```

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand::{SecureRandom, SystemRandom},
};
use thiserror::Error;

/// A push service takes bodies of 4,096 bytes (RFC 8291, section 4): 86 of header, 16 of tag, and one that ends the text.
pub(crate) const PLAIN_BYTES_MAX: usize = 4_096 - 86 - 16 - 1;
/// Texts are filled up to a multiple of this, so that their length says nothing.
const STEP: usize = 128;
const RECORD_BYTES: u32 = 4_096;

/// It could not be encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(crate) enum SealError {
    #[error("a push has at most {PLAIN_BYTES_MAX} bytes")]
    TooLong,
    #[error("keys and text could not be brought together")]
    Crypto,
}

impl From<Unspecified> for SealError {
    fn from(_: Unspecified) -> Self {
        Self::Crypto
    }
}

/// Encrypts a text for a browser.
pub(crate) fn seal(plain: &[u8], browser: &[u8; 65], auth: &[u8; 16]) -> Result<Vec<u8>, SealError> {
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt)?;
    let once = PrivateKey::generate(&ECDH_P256)?;
    // What is left of the step, and never beyond what fits.
    let filled = (plain.len() + 1).next_multiple_of(STEP).min(PLAIN_BYTES_MAX + 1);
    seal_with(plain, filled, browser, auth, salt, &once)
}

/// `filled`: the text, the byte that ends it, and zeros.
fn seal_with(plain: &[u8], filled: usize, browser: &[u8; 65], auth: &[u8; 16], salt: [u8; 16], once: &PrivateKey) -> Result<Vec<u8>, SealError> {
    if plain.len() > PLAIN_BYTES_MAX {
        return Err(SealError::TooLong);
    }
    let own = once.compute_public_key()?;
    let info = [b"WebPush: info\0".as_slice(), browser, own.as_ref()];
    let peer = UnparsedPublicKey::new(&ECDH_P256, browser);
    let input = agree(once, peer, SealError::Crypto, |shared| expand::<32>(auth, shared, &info))?;
    let key = expand::<16>(&salt, &input, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce = expand::<12>(&salt, &input, &[b"Content-Encoding: nonce\0"])?;
    let mut body = Vec::with_capacity(86 + filled + 16);
    body.extend(salt);
    body.extend(RECORD_BYTES.to_be_bytes());
    body.push(65);
    body.extend(own.as_ref());
    let mut record = Vec::with_capacity(filled + 16);
    record.extend(plain);
    // The last record, and the only one.
    record.push(2);
    record.resize(filled.max(record.len()), 0);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record)?;
    body.extend(record);
    Ok(body)
}

struct Length(usize);
impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Result<[u8; N], SealError> {
    let mut out = [0; N];
    Salt::new(HKDF_SHA256, salt).extract(secret).expand(info, Length(N))?.fill(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use kith_wire::base64;

    use super::*;

    fn raw<const N: usize>(text: &str) -> [u8; N] {
        base64::read_url(text).unwrap().try_into().unwrap()
    }

    const BROWSER: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

    /// RFC 8291, section 5.
    #[test]
    fn the_example_of_the_rfc_comes_out_byte_for_byte() {
        let once = PrivateKey::from_private_key(&ECDH_P256, &raw::<32>("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")).unwrap();
        let plain = b"When I grow up, I want to be a watermelon";
        let body = seal_with(plain, plain.len() + 1, &raw(BROWSER), &raw("BTBZMqHH6r4Tts7J_aSIgg"), raw("DGv6ra1nlYgDCS1FRnbzlw"), &once).unwrap();
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT\
                        pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(base64::write_url(&body), expected);
    }

    #[test]
    fn the_length_says_nothing_and_is_bounded() {
        let sealed = |length: usize| seal(&vec![1; length], &raw(BROWSER), &[7; 16]).map(|body| body.len());
        assert_eq!(sealed(0), Ok(86 + 128 + 16));
        assert_eq!(sealed(127), sealed(1));
        assert_eq!(sealed(PLAIN_BYTES_MAX), Ok(4_096));
        assert_eq!(sealed(PLAIN_BYTES_MAX + 1), Err(SealError::TooLong));
    }
}
