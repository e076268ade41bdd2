//! Who belongs to the farm, as the host that decides says it to the others: numbered, so that an old list never replaces a new
//! one, and signed, so that it counts whoever brings it.

use serde::{Deserialize, Serialize};

use super::rotation::{id_of, signed_by};
use crate::fault::{Fault, Kind, Result};
use crate::id::{HostId, HostName, Stamp};
use crate::model::{PeerTrust, Role};

/// Separates these signatures from all others that the key makes.
const DOMAIN: &[u8] = b"massif peer list 1";

/// One host of the farm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its key.
    pub id: HostId,
    /// What the farm calls it.
    pub name: HostName,
    /// What it is.
    pub role: Role,
    /// What it may build for.
    pub trust: PeerTrust,
    /// Where it is dialled.
    pub addresses: Vec<String>,
    /// By whom and when its key was revoked.
    pub revoked: Option<(String, Stamp)>,
}

/// The list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerList {
    /// Rises with every change.
    pub number: u64,
    /// All hosts that were ever let in.
    pub peers: Vec<Listed>,
    /// The public key (SPKI) that signed it.
    pub key: Vec<u8>,
    /// Over number and hosts.
    pub signature: Vec<u8>,
}

fn statement(number: u64, peers: &[Listed]) -> Result<Vec<u8>> {
    postcard::to_extend(&(number, peers), DOMAIN.to_vec())
        .map_err(|error| Fault::bug("a list of peers has no form").because(&error))
}

impl PeerList {
    /// A list, signed by whatever `sign` signs with: it answers with the key and the signature.
    pub fn make(
        number: u64,
        peers: Vec<Listed>,
        sign: impl FnOnce(&[u8]) -> Result<(Vec<u8>, Vec<u8>)>,
    ) -> Result<PeerList> {
        let (key, signature) = sign(&statement(number, &peers)?)?;
        Ok(PeerList {
            number,
            peers,
            key,
            signature,
        })
    }

    /// Whose key signed it.
    pub fn signer(&self) -> Result<HostId> {
        let message = statement(self.number, &self.peers)?;
        if signed_by(&self.key, &message, &self.signature) {
            return Ok(id_of(&self.key));
        }
        Err(Fault::new(
            Kind::NotPermitted,
            "a list of peers has a wrong signature",
        ))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{PublicKeyData, SigningKey};

    use super::*;

    #[test]
    fn a_list_counts_as_it_was_signed() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let one = Listed {
            id: HostId([1; 32]),
            name: "east".parse().unwrap(),
            role: Role::Avalanche,
            trust: PeerTrust::Trusted,
            addresses: Vec::new(),
            revoked: None,
        };
        let sign = |message: &[u8]| Ok((key.subject_public_key_info(), key.sign(message).unwrap()));
        let list = PeerList::make(7, vec![one.clone()], sign).unwrap();
        assert_eq!(
            list.signer().unwrap(),
            id_of(&key.subject_public_key_info())
        );
        let lies = [
            PeerList {
                number: 8,
                ..list.clone()
            },
            PeerList {
                peers: Vec::new(),
                ..list.clone()
            },
            PeerList {
                peers: vec![Listed {
                    role: Role::Vessel,
                    ..one
                }],
                ..list.clone()
            },
            PeerList {
                key: vec![0; 44],
                ..list.clone()
            },
            PeerList {
                signature: Vec::new(),
                ..list.clone()
            },
        ];
        for lie in lies {
            assert!(lie.signer().is_err(), "{lie:?}");
        }
    }
}
