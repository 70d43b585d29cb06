//! What a provider does with what it gets: verifies tokens, opens messages. By other libraries than those that made them, except RSA.

use aes_gcm::{Aes128Gcm, KeyInit, aead::Aead};
use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey},
    signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use hkdf::Hkdf;
use kith_wire::base64;
use p256::{
    PublicKey, SecretKey,
    ecdsa::{Signature, VerifyingKey, signature::Verifier},
};
use serde_json::Value;
use sha2::Sha256;

/// Header and claims of a token, and what was signed with what.
struct Token {
    header: Value,
    claims: Value,
    signed: String,
    signature: Vec<u8>,
}

fn token(text: &str) -> Token {
    let [header, claims, signature] = text.split('.').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let json = |part| serde_json::from_slice(&base64::read_url(part).unwrap()).unwrap();
    Token { header: json(header), claims: json(claims), signed: format!("{header}.{claims}"), signature: base64::read_url(signature).unwrap() }
}

/// Header and claims of a token that this key of P-256 signed.
pub(crate) fn es256(text: &str, public: &[u8]) -> (Value, Value) {
    let token = token(text);
    let key = VerifyingKey::from_sec1_bytes(public).unwrap();
    key.verify(token.signed.as_bytes(), &Signature::from_slice(&token.signature).unwrap()).expect("the signature is good");
    assert_eq!(token.header["alg"], "ES256");
    (token.header, token.claims)
}

/// Header and claims of a token that this key of RSA signed.
pub(crate) fn rs256(text: &str, public_der: &[u8]) -> (Value, Value) {
    let token = token(text);
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_der).verify(token.signed.as_bytes(), &token.signature).expect("the signature is good");
    assert_eq!(token.header["alg"], "RS256");
    (token.header, token.claims)
}

/// A browser: its keys, and what it does with a message.
pub(crate) struct Browser {
    secret: [u8; 32],
    pub(crate) public: Vec<u8>,
    pub(crate) auth: [u8; 16],
}

impl Browser {
    pub(crate) fn new(seed: u8) -> Self {
        let secret = [seed; 32];
        let public = PrivateKey::from_private_key(&ECDH_P256, &secret).unwrap().compute_public_key().unwrap().as_ref().to_vec();
        Self { secret, public, auth: [seed.wrapping_add(1); 16] }
    }
    /// RFC 8291, section 3.4, and RFC 8188, section 2, read from the other side.
    pub(crate) fn open(&self, body: &[u8]) -> Vec<u8> {
        let (salt, rest) = body.split_at(16);
        let (size, rest) = rest.split_at(4);
        assert_eq!(u32::from_be_bytes(size.try_into().unwrap()), 4_096);
        assert_eq!(rest[0], 65);
        let (sender, sealed) = rest[1..].split_at(65);
        let shared = SecretKey::from_slice(&self.secret).unwrap().diffie_hellman(&PublicKey::from_sec1_bytes(sender).unwrap());
        let expand = |salt: &[u8], secret: &[u8], info: &[u8], length: usize| {
            let mut out = vec![0; length];
            Hkdf::<Sha256>::new(Some(salt), secret).expand(info, &mut out).unwrap();
            out
        };
        let info = [b"WebPush: info\0".as_slice(), &self.public, sender].concat();
        let input = expand(&self.auth, shared.raw_secret_bytes().as_slice(), &info, 32);
        let key = expand(salt, &input, b"Content-Encoding: aes128gcm\0", 16);
        let nonce: [u8; 12] = expand(salt, &input, b"Content-Encoding: nonce\0", 12).try_into().unwrap();
        let plain = Aes128Gcm::new_from_slice(&key).unwrap().decrypt(&nonce.into(), sealed).expect("it is for this browser");
        let end = plain.iter().rposition(|byte| *byte != 0).unwrap();
        assert_eq!(plain[end], 2, "the last record");
        plain[..end].to_vec()
    }
}
