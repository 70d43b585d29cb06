//! Tokens that we sign for providers: compact JWS (RFC 7515) with ES256 or RS256.
//!
//! In: a header, claims, a key pair that was parsed at the boundary. Out: the token. Not here: when a new one is needed (each provider says so), verifying tokens
//! (nobody's are taken here).

use aws_lc_rs::{
    error::Unspecified,
    rand::SystemRandom,
    rsa,
    signature::{EcdsaKeyPair, RSA_PKCS1_SHA256},
};
use kith_wire::{base64, secret::Secret};
use serde_json::Value;

/// A key that signs.
pub(crate) enum Signer<'a> {
    /// Made with `ECDSA_P256_SHA256_FIXED_SIGNING`: its signatures have the form that JWS wants.
    Es256(&'a EcdsaKeyPair),
    Rs256(&'a rsa::KeyPair),
}

/// Signs claims. `key_id` is none for VAPID.
pub(crate) fn sign(signer: &Signer<'_>, key_id: Option<&str>, claims: &Value) -> Result<Secret, Unspecified> {
    let algorithm = match signer {
        Signer::Es256(_) => "ES256",
        Signer::Rs256(_) => "RS256",
    };
    let mut header = serde_json::json!({ "typ": "JWT", "alg": algorithm });
    if let Some(key_id) = key_id {
        header["kid"] = Value::from(key_id);
    }
    let mut token = format!("{}.{}", part(&header), part(claims));
    let signature = match signer {
        Signer::Es256(pair) => pair.sign(&SystemRandom::new(), token.as_bytes())?.as_ref().to_vec(),
        Signer::Rs256(pair) => {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)?;
            signature
        }
    };
    token.push('.');
    token.push_str(&base64::write_url(&signature));
    Ok(Secret::new(token))
}

fn part(value: &Value) -> String {
    base64::write_url(value.to_string().as_bytes())
}
