//! Secrets in answers to calls under a key: they follow from the key, so that a retry is told the same over any node, and none of them is stored.
//!
//! In: a caller's key, who called, what for. Out: tokens and codes. Invariants: nobody without the cluster's own key can come to them, whatever
//! else they know; those of two calls have nothing in common; a password leaves nothing but a slow hash. Not here: the same for who has no key
//! (`gate` draws it), where keys are remembered (kith-machine's `user::call`).

use kith_wire::{
    client::Refusal,
    id::{CallKey, DeviceId, UserId, hash},
    log::UnderKey,
    secret::Secret,
};

use super::gate::{Drawn, Gate, bot_token_of, busy, code_of, refresh_of};

impl Gate {
    /// The secret sign-up key of a stranger: one key is one account.
    pub fn sign_up_under(&self, key: CallKey) -> [u8; 32] {
        self.key.derive(&[b"kith/keyed-sign-up/1", key.as_bytes()])
    }
    /// Names the device that a log-in under a key lets in.
    pub fn nonce_under(&self, key: CallKey) -> [u8; 16] {
        half(&self.key.derive(&[b"kith/keyed-device/1", key.as_bytes()]))
    }
    /// The refresh token of a log-in under a key.
    pub fn refresh_under(&self, user: UserId, device: DeviceId, call: UnderKey) -> Drawn {
        let (of, about) = (user.get().to_be_bytes(), device.get().to_be_bytes());
        refresh_of(user, device, &self.key.derive(&[b"kith/keyed-refresh/1", &of, &about, call.key.as_bytes(), &call.digest.to_be_bytes()]))
    }
    /// The code that a caller is shown: a recovery code of theirs, or an operator's one-time code for somebody.
    pub fn code_under(&self, caller: UserId, key: CallKey) -> Drawn {
        code_of(&self.key.derive(&[b"kith/keyed-code/1", &caller.get().to_be_bytes(), key.as_bytes()]))
    }
    /// The token of a bot that a caller makes, or gives another one.
    pub fn bot_token_under(&self, caller: UserId, key: CallKey, bot: UserId) -> (DeviceId, Drawn) {
        let (of, about) = (caller.get().to_be_bytes(), bot.get().to_be_bytes());
        bot_token_of(bot, &self.key.derive(&[b"kith/keyed-bot/1", &of, key.as_bytes(), &about]))
    }
    /// The code that the app's backend hands to a user.
    pub fn mailed_code(&self, user: UserId, nonce: &[u8; 16]) -> Drawn {
        code_of(&self.key.derive(&[b"kith/mailed-code/1", &user.get().to_be_bytes(), nonce]))
    }
    /// The hash of a password that is set by a call under a key: the same for each retry.
    ///
    /// # Errors
    /// `Busy`.
    pub async fn hash_under(&self, key: CallKey, password: Secret) -> Result<Secret, Refusal> {
        let salt = half(&self.key.derive(&[b"kith/keyed-salt/1", key.as_bytes()]));
        self.hasher.hash_with(password, salt).await.map_err(busy)
    }
    /// What tells two secrets under one key apart, and helps nobody to guess them.
    ///
    /// # Errors
    /// `Busy`.
    pub async fn imprint(&self, key: CallKey, secret: Secret) -> Result<u64, Refusal> {
        let salt = half(&self.key.derive(&[b"kith/keyed-imprint/1", key.as_bytes()]));
        let hashed = self.hasher.hash_with(secret, salt).await.map_err(busy)?;
        Ok(hash(&[b"kith/imprint/1", hashed.reveal().as_bytes()]))
    }
}

fn half(bytes: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&bytes[..16]);
    half
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use kith_wire::id::ClusterId;

    use super::*;
    use crate::{auth::TokenKey, clock::SystemClock};

    fn gate(key: &TokenKey) -> Gate {
        Gate::new(key.clone(), ClusterId::default(), Arc::new(SystemClock))
    }

    #[tokio::test]
    async fn what_follows_from_a_key_is_the_same_at_each_node_and_nothing_else_has_any_of_it() {
        let (key, other) = (TokenKey::generate().unwrap().0, TokenKey::generate().unwrap().0);
        let (one, two) = (CallKey::new([1; 16]), CallKey::new([2; 16]));
        let all = |gate: &Gate, user: u64, call: CallKey| {
            let (user, device) = (UserId::new(user), DeviceId::new(9));
            [
                gate.refresh_under(user, device, UnderKey { key: call, digest: 5 }).digest,
                gate.refresh_under(user, device, UnderKey { key: call, digest: 6 }).digest,
                gate.code_under(user, call).digest,
                gate.bot_token_under(user, call, UserId::new(7)).1.digest,
                gate.bot_token_under(user, call, UserId::new(8)).1.digest,
                gate.mailed_code(user, call.as_bytes()).digest,
            ]
        };
        assert_eq!(all(&gate(&key), 3, one), all(&gate(&key), 3, one));
        let told: Vec<[u8; 32]> = [(&key, 3, one), (&key, 4, one), (&key, 3, two), (&other, 3, one)]
            .into_iter()
            .flat_map(|(key, user, call)| all(&gate(key), user, call))
            .collect();
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len());
        assert_ne!(gate(&key).sign_up_under(one), gate(&other).sign_up_under(one));
        assert_ne!(gate(&key).nonce_under(one), gate(&key).nonce_under(two));
    }

    #[tokio::test]
    async fn two_secrets_under_one_key_are_told_apart() {
        let key = TokenKey::generate().unwrap().0;
        let of = async |call: u8, secret: &str| gate(&key).imprint(CallKey::new([call; 16]), Secret::new(secret)).await.unwrap();
        assert_eq!(of(1, "correct horse").await, of(1, "correct horse").await);
        assert_ne!(of(1, "correct horse").await, of(1, "battery staple").await);
        assert_ne!(of(1, "correct horse").await, of(2, "correct horse").await);
    }
}
