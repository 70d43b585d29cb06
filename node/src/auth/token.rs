//! Access tokens: a JWT signed (Ed25519) by a key of the cluster.
//!
//! In: the key file of the cluster, claims. Out: token text; claims that were checked for signature, time and cluster.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use kith_wire::{
    admin::AdminRole,
    code::Code,
    id::{ClusterId, DeviceId, Timestamp, UserId, digest},
    limit,
    trust::TokenId,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a token says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims {
    /// The user; 0 for an operator without an account.
    pub user: UserId,
    /// Their name.
    pub name: String,
    /// The cluster that it is for.
    pub cluster: ClusterId,
    /// Whether it is an operator's.
    pub admin: bool,
    /// End of its time, in seconds since 1970.
    pub expires_s: u64,
    /// When it was made, in seconds since 1970.
    pub issued_s: u64,
    /// The one device that it is for; `None`: any of the user's.
    pub device: Option<DeviceId>,
    /// The log-in of that device that it was given at; 0 without a device.
    pub login: u64,
    /// It is an admin token, which stands in the cluster's rows and is signed by nobody: which, and what it is good for.
    pub token: Option<(TokenId, AdminRole)>,
}

/// What a home is told of a token when a session is opened by it: whether it is still good is for the device's row to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Grant {
    /// The log-in that it was given at; 0: bound to no device.
    pub login: u64,
    /// When it was made.
    pub issued: Timestamp,
}

impl Claims {
    /// What its holder may do to the cluster: who signs tokens with the cluster's key says all of it, or nothing.
    pub fn role(&self) -> Option<AdminRole> {
        self.token.map(|(_, role)| role).or_else(|| self.admin.then_some(AdminRole::Admin))
    }
    /// For the user's home.
    pub const fn grant(&self) -> Grant {
        Grant { login: self.login, issued: Timestamp::new(self.issued_s.saturating_mul(1_000)) }
    }
}

/// The cluster's key for tokens. Every node holds it: each one checks, and an operator on any of them mints.
#[derive(Clone)]
pub struct TokenKey {
    secret: [u8; 32],
    private: EncodingKey,
    public: DecodingKey,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

/// The key file is not an Ed25519 key in PEM.
#[derive(Debug, Error)]
#[error("cannot read the token key: {0}")]
pub struct TokenKeyError(String);

/// Why a token is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TokenError {
    /// Not a token, not signed by this cluster's key, or for another cluster.
    #[error("the token is not valid here")]
    Bad,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

impl TokenError {
    /// The code that a client gets.
    pub const fn code(self) -> Code {
        match self {
            Self::Bad => Code::BadToken,
            Self::Expired => Code::TokenExpired,
        }
    }
}

impl TokenKey {
    /// Draws a key; the text is its file, PEM of PKCS #8.
    ///
    /// # Errors
    /// The crypto library fails.
    pub fn generate() -> Result<(Self, String), TokenKeyError> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(|e| TokenKeyError(e.to_string()))?;
        let pem = pair.serialize_pem();
        Ok((Self::from_pem(&pem)?, pem))
    }
    /// The secret sign-up key of somebody whom an issuer knows: each node gives the same, and nobody else can.
    pub(super) fn sign_up_key(&self, issuer: &str, subject: &str) -> [u8; 32] {
        digest(&[b"kith/outsider/1", &self.derive(&[b"kith/outsiders/1"]), issuer.as_bytes(), subject.as_bytes()])
    }
    /// Parses the key file.
    ///
    /// # Errors
    /// It is not an Ed25519 key.
    pub fn from_pem(pem: &str) -> Result<Self, TokenKeyError> {
        let pair = rcgen::KeyPair::from_pem(pem).map_err(|e| TokenKeyError(e.to_string()))?;
        if pair.algorithm() != &rcgen::PKCS_ED25519 {
            return Err(TokenKeyError("not an Ed25519 key".into()));
        }
        let secret = digest(&[b"kith/cluster-secret/1", pair.serialized_der()]);
        Ok(Self { secret, private: EncodingKey::from_ed_der(pair.serialized_der()), public: DecodingKey::from_ed_der(pair.public_key_raw()) })
    }
    /// What only the cluster's nodes can say of these parts, and each of them says alike. The first part is a domain name.
    pub fn derive(&self, parts: &[&[u8]]) -> [u8; 32] {
        digest(&[b"kith/derived/1", &self.secret, &digest(parts)])
    }
}

/// Signs claims.
///
/// # Errors
/// The crypto library fails.
pub fn mint(key: &TokenKey, claims: &Claims) -> Result<String, TokenKeyError> {
    let raw = Raw {
        sub: claims.user.to_string(),
        name: claims.name.clone(),
        cluster: claims.cluster.to_string(),
        admin: claims.admin,
        exp: claims.expires_s,
        iat: claims.issued_s,
        dev: claims.device.map(|device| format!("{:016x}", device.get())),
        login: claims.login,
    };
    jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &raw, &key.private).map_err(|e| TokenKeyError(e.to_string()))
}

/// Checks a token.
///
/// # Errors
/// See [`TokenError`].
pub fn verify(key: &TokenKey, cluster: ClusterId, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
    if token.len() > limit::TOKEN_BYTES_MAX {
        return Err(TokenError::Bad);
    }
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.validate_exp = false;
    rules.set_required_spec_claims(&["exp", "sub"]);
    let raw = jsonwebtoken::decode::<Raw>(token, &key.public, &rules).map_err(|error| match error.kind() {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        _ => TokenError::Bad,
    })?;
    let raw = raw.claims;
    if raw.cluster != cluster.to_string() {
        return Err(TokenError::Bad);
    }
    if raw.exp <= now.get() / 1000 {
        return Err(TokenError::Expired);
    }
    let user = parse_user(&raw.sub).ok_or(TokenError::Bad)?;
    let device = match raw.dev {
        None => None,
        Some(text) => Some(u64::from_str_radix(&text, 16).map(DeviceId::new).map_err(|_| TokenError::Bad)?),
    };
    if device.is_some() != (raw.login > 0) {
        return Err(TokenError::Bad);
    }
    Ok(Claims { user, name: raw.name, cluster, admin: raw.admin, expires_s: raw.exp, issued_s: raw.iat, device, login: raw.login, token: None })
}

/// Parses what `UserId` prints: `u` and 16 hexadecimal digits.
pub fn parse_user(text: &str) -> Option<UserId> {
    let digits = text.strip_prefix('u').filter(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(digits, 16).ok().map(UserId::new)
}

#[derive(Serialize, Deserialize)]
struct Raw {
    sub: String,
    name: String,
    cluster: String,
    #[serde(default)]
    admin: bool,
    exp: u64,
    iat: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    login: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let (device, login) = (Some(DeviceId::new(9)), 3);
        Claims {
            user: UserId::new(7),
            name: "ann".into(),
            cluster: ClusterId::new([3; 16]),
            admin: true,
            expires_s: 1_000,
            issued_s: 10,
            device,
            login,
            token: None,
        }
    }

    #[test]
    fn minted_token_verifies_until_it_expires() {
        let (key, pem) = TokenKey::generate().unwrap();
        let again = TokenKey::from_pem(&pem).unwrap();
        let token = mint(&key, &claims()).unwrap();
        assert_eq!(verify(&again, claims().cluster, &token, Timestamp::new(999_000)), Ok(claims()));
        assert_eq!(verify(&again, claims().cluster, &token, Timestamp::new(1_000_000)), Err(TokenError::Expired));
    }

    #[test]
    fn token_of_another_cluster_or_key_is_bad() {
        let (key, _) = TokenKey::generate().unwrap();
        let (other, _) = TokenKey::generate().unwrap();
        let token = mint(&key, &claims()).unwrap();
        let now = Timestamp::new(20_000);
        assert_eq!(verify(&other, claims().cluster, &token, now), Err(TokenError::Bad));
        assert_eq!(verify(&key, ClusterId::new([4; 16]), &token, now), Err(TokenError::Bad));
        assert_eq!(verify(&key, claims().cluster, "garbage", now), Err(TokenError::Bad));
        assert_eq!(verify(&key, claims().cluster, &"x".repeat(5_000), now), Err(TokenError::Bad));
    }
}
