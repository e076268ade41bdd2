//! A host's new key, vouched for by the old one: whoever knows the old key takes the new one without asking anybody.

use rcgen::{KeyPair, PublicKeyData, SigningKey};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::fault::{Fault, Kind, Result};
use crate::id::{HostId, Stamp};

/// What stands before the 32 bytes of an ed25519 key in its SPKI (RFC 8410, 4).
const SPKI_HEAD: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// Separates these signatures from all others that the key makes.
const DOMAIN: &[u8] = b"massif key rotation 1";
/// Rotations of one host that are told to a peer at once: it may have been away for some of them.
pub const ROTATIONS_MAX: usize = 8;

/// "My key is another one from now on", signed by both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The public key (SPKI) that the host had.
    pub old: Vec<u8>,
    /// The public key that it has now.
    pub new: Vec<u8>,
    /// When, by the host's own clock.
    pub at: Stamp,
    /// Seconds for which the old key is good beside the new one.
    pub overlap_s: u64,
    /// Made with the old key.
    pub by_old: Vec<u8>,
    /// Made with the new key, so that nobody claims a key that is not his.
    pub by_new: Vec<u8>,
}

/// The id of a public key.
pub(super) fn id_of(spki: &[u8]) -> HostId {
    HostId(Sha256::digest(spki).into())
}

fn statement(old: &[u8], new: &[u8], at: Stamp, overlap_s: u64) -> Vec<u8> {
    let mut hash = Sha256::new();
    // Each with its length, so that no two statements are the same bytes.
    for part in [old, new] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(at.0.to_le_bytes());
    hash.update(overlap_s.to_le_bytes());
    [DOMAIN, hash.finalize().as_slice()].concat()
}

pub(super) fn signed_by(spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    spki.strip_prefix(&SPKI_HEAD)
        .filter(|key| key.len() == 32)
        .is_some_and(|key| {
            UnparsedPublicKey::new(&ED25519, key)
                .verify(message, signature)
                .is_ok()
        })
}

impl Rotation {
    /// From one key to another.
    pub(super) fn make(
        old: &KeyPair,
        new: &KeyPair,
        at: Stamp,
        overlap_s: u64,
    ) -> Result<Rotation> {
        let (from, to) = (old.subject_public_key_info(), new.subject_public_key_info());
        let message = statement(&from, &to, at, overlap_s);
        let failed =
            |error: rcgen::Error| Fault::bug("the host's key does not sign").because(&error);
        Ok(Rotation {
            by_old: old.sign(&message).map_err(failed)?,
            by_new: new.sign(&message).map_err(failed)?,
            old: from,
            new: to,
            at,
            overlap_s,
        })
    }

    /// The id of the old key.
    pub fn old_id(&self) -> HostId {
        id_of(&self.old)
    }

    /// The id of the new key.
    pub fn new_id(&self) -> HostId {
        id_of(&self.new)
    }

    /// The last moment of the old key, by the clock of the host that made it.
    pub fn until(&self) -> Stamp {
        later(self.at, self.overlap_s)
    }

    /// Whether both keys signed it. Says nothing about whose keys they are.
    pub fn check(&self) -> Result<()> {
        let message = statement(&self.old, &self.new, self.at, self.overlap_s);
        let good = self.old != self.new
            && signed_by(&self.old, &message, &self.by_old)
            && signed_by(&self.new, &message, &self.by_new);
        if good {
            return Ok(());
        }
        Err(Fault::new(
            Kind::NotPermitted,
            "a new key is not signed by the old one",
        ))
    }
}

/// So many seconds later.
pub(crate) fn later(at: Stamp, seconds: u64) -> Stamp {
    let ms = i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    Stamp(at.0.saturating_add(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyPair {
        KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()
    }

    #[test]
    fn a_rotation_counts_as_both_keys_signed_it_and_in_no_other_form() {
        let (old, new, other) = (key(), key(), key());
        let made = Rotation::make(&old, &new, Stamp(5), 60).unwrap();
        made.check().unwrap();
        assert_eq!(made.until(), Stamp(60_005));
        assert_ne!(made.old_id(), made.new_id());
        let forged = Rotation::make(&other, &new, Stamp(5), 60).unwrap();
        let spki = other.subject_public_key_info();
        let lies = [
            Rotation {
                at: Stamp(6),
                ..made.clone()
            },
            Rotation {
                overlap_s: 61,
                ..made.clone()
            },
            Rotation {
                by_old: forged.by_old.clone(),
                ..made.clone()
            },
            Rotation {
                new: spki.clone(),
                ..made.clone()
            },
            Rotation {
                old: spki,
                ..made.clone()
            },
            Rotation {
                old: made.new.clone(),
                ..made.clone()
            },
            Rotation {
                by_new: Vec::new(),
                ..made.clone()
            },
            Rotation {
                old: vec![1, 2, 3],
                ..made.clone()
            },
            Rotation {
                old: Vec::new(),
                new: Vec::new(),
                ..made.clone()
            },
        ];
        for lie in lies {
            assert!(lie.check().is_err(), "{lie:?}");
        }
        let same = Rotation::make(&old, &old, Stamp(5), 60).unwrap();
        assert!(same.check().is_err(), "a key cannot take its own place");
    }
}
