//! Private keys, of PEM or of base64.

use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey},
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use kith_wire::base64;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

use super::CredentialCause;

/// Whether a text is meant to be PEM.
pub(super) fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN ")
}

/// All private keys of PEM, in their order.
fn private_keys(text: &str) -> Result<Vec<PrivateKeyDer<'static>>, CredentialCause> {
    let keys = PrivateKeyDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|_| CredentialCause::NoKey)?;
    if keys.is_empty() { Err(CredentialCause::NoKey) } else { Ok(keys) }
}

/// Parses all keys of PEM, each of P-256: PKCS #8, or the form of `openssl ecparam`.
pub(super) fn parse_p256(text: &str) -> Result<Vec<EcdsaKeyPair>, CredentialCause> {
    let pair = |key: PrivateKeyDer<'_>| match &key {
        PrivateKeyDer::Pkcs8(key) => {
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der()).map_err(|_| CredentialCause::NotP256)
        }
        PrivateKeyDer::Sec1(key) => {
            EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_sec1_der()).map_err(|_| CredentialCause::NotP256)
        }
        _ => Err(CredentialCause::NotP256),
    };
    private_keys(text)?.into_iter().map(pair).collect()
}

/// Parses the 32 bytes of a key of P-256, in base64 of URLs: what tools for Web Push write.
pub(super) fn parse_p256_scalar(text: &str) -> Result<EcdsaKeyPair, CredentialCause> {
    let raw: [u8; 32] = base64::read_url(text).and_then(|raw| raw.try_into().ok()).ok_or(CredentialCause::NoKey)?;
    let scalar = PrivateKey::from_private_key(&ECDH_P256, &raw).map_err(|_| CredentialCause::NotP256)?;
    let public = scalar.compute_public_key().map_err(|_| CredentialCause::NotP256)?;
    EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &raw, public.as_ref()).map_err(|_| CredentialCause::NotP256)
}

/// Parses the first key of PEM, of RSA.
pub(super) fn parse_rsa(text: &str) -> Result<rsa::KeyPair, CredentialCause> {
    let key = private_keys(text)?.into_iter().next().ok_or(CredentialCause::NoKey)?;
    let pair = match &key {
        PrivateKeyDer::Pkcs8(key) => rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => rsa::KeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err(CredentialCause::NotRsa),
    };
    pair.map_err(|_| CredentialCause::NotRsa)
}
