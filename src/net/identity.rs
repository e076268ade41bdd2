//! Who this host is: an ed25519 key, made at the first start, and the short-lived certificates it issues for itself.
//! Everything that trusts this host trusts the public key; a certificate is only the shell that TLS wants.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};

use super::words;
use crate::fault::{Fault, Kind, Result};
use crate::id::{HostId, Stamp};

/// A certificate lives this long.
pub const CERTIFICATE_DAYS: i64 = 30;
/// It is valid from so long ago, because clocks are up to two days apart (spec/decisions.md, 20).
pub const CERTIFICATE_BACK_DAYS: i64 = 2;
const DAY_MS: i64 = 86_400_000;
/// The name in every certificate. Nobody looks at it: keys count.
pub const TLS_NAME: &str = "massif";

/// This host's key.
pub struct Identity {
    id: HostId,
    key: rcgen::KeyPair,
    path: PathBuf,
}

/// A certificate and when to issue the next.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// For TLS.
    pub der: CertificateDer<'static>,
    /// The last moment of its validity.
    pub not_after: Stamp,
}

/// The last moment of a certificate's validity, as far as it is written the way RFC 5280 wants it until 2049: a sequence
/// of two times of 13 characters, `YYMMDDHHMMSSZ`.
pub fn not_after(der: &[u8]) -> Option<Stamp> {
    /// Validity: a sequence of 30 bytes that begins with a UTCTime of 13.
    const HEAD: [u8; 4] = [0x30, 0x1e, 0x17, 0x0d];
    let at = der.windows(HEAD.len()).position(|window| window == HEAD)?;
    let second = der.get(at + HEAD.len() + 13..at + HEAD.len() + 28)?;
    let [0x17, 0x0d, digits @ ..] = second else {
        return None;
    };
    let text = std::str::from_utf8(digits).ok()?;
    let two = |at: usize| text.get(at..at + 2);
    let (day, hour) = (two(4)?, two(6)?);
    format!(
        "20{}-{}-{day}T{hour}:{}:{}Z",
        two(0)?,
        two(2)?,
        two(8)?,
        two(10)?
    )
    .parse()
    .ok()
}

impl Certificate {
    /// Whether a third of its life or less is left.
    pub fn is_due(&self, now: Stamp) -> bool {
        self.not_after.0 - now.0 <= CERTIFICATE_DAYS * DAY_MS / 3
    }
}

impl Identity {
    /// The identity in a `keys` directory (mode 0700); made at the first start (mode 0600). Looser rights are refused.
    pub fn open(keys: &Path) -> Result<Identity> {
        let path = keys.join("host.key");
        let failed = |error: &dyn std::error::Error| {
            Fault::new(
                Kind::Operator,
                format!("cannot use the key {}", path.display()),
            )
            .because(error)
        };
        match fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(keys)
        {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(&error));
            }
            _ => {}
        }
        check_mode(keys, 0o700)?;
        let pem = match fs::read_to_string(&path) {
            Ok(pem) => {
                check_mode(&path, 0o600)?;
                pem
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path)?,
            Err(error) => return Err(failed(&error)),
        };
        let key = rcgen::KeyPair::from_pem(&pem).map_err(|error| {
            failed(&error).next(
                "bring it back from a backup; removing it makes this host a stranger to all others",
            )
        })?;
        if key.algorithm() != &rcgen::PKCS_ED25519 {
            return Err(Fault::new(
                Kind::Operator,
                format!("{} is no ed25519 key", path.display()),
            )
            .next("bring the host's own key back from a backup"));
        }
        use rcgen::PublicKeyData;
        let id = HostId(Sha256::digest(key.subject_public_key_info()).into());
        Ok(Identity { id, key, path })
    }

    /// The host's id: SHA-256 of its public key (SPKI).
    pub fn id(&self) -> HostId {
        self.id
    }

    /// Its five words.
    pub fn words(&self) -> String {
        words::words(&self.id)
    }

    /// Where the key lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new certificate for the same key.
    pub fn issue(&self, now: Stamp) -> Result<Certificate> {
        let failed = |error: &dyn std::error::Error| {
            Fault::bug("cannot issue a certificate for the host's own key").because(error)
        };
        let moment = |days: i64| {
            time::OffsetDateTime::from_unix_timestamp((now.0 + days * DAY_MS).div_euclid(1_000))
        };
        let mut form = rcgen::CertificateParams::new(vec![TLS_NAME.to_string()])
            .map_err(|error| failed(&error))?;
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::CommonName, self.id.to_string());
        form.distinguished_name = name;
        form.not_before = moment(-CERTIFICATE_BACK_DAYS).map_err(|error| failed(&error))?;
        form.not_after = moment(CERTIFICATE_DAYS).map_err(|error| failed(&error))?;
        // Without the top bit, so that it is positive in every reading.
        let mut serial: [u8; 16] = rand::random();
        serial[0] &= 0x7f;
        form.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
        form.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = form
            .self_signed(&self.key)
            .map_err(|error| failed(&error))?;
        Ok(Certificate {
            der: certificate.der().clone(),
            not_after: Stamp(now.0 + CERTIFICATE_DAYS * DAY_MS),
        })
    }

    /// 32 bytes that only this host can make, for a purpose.
    pub(super) fn seed(&self, purpose: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(purpose);
        hash.update(self.key.serialize_der());
        hash.finalize().into()
    }

    /// The private key for TLS.
    pub(super) fn tls_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }
}

/// The id of the host whose certificate this is. Says nothing about whether the other side has the key.
pub fn host_of(certificate: &CertificateDer<'_>) -> std::result::Result<HostId, rustls::Error> {
    let parsed = rustls::server::ParsedCertificate::try_from(certificate)?;
    Ok(HostId(
        Sha256::digest(parsed.subject_public_key_info()).into(),
    ))
}

fn make(path: &Path) -> Result<String> {
    let failed = |error: &dyn std::error::Error| {
        Fault::new(
            Kind::Operator,
            format!("cannot make the key {}", path.display()),
        )
        .because(error)
    };
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(|error| failed(&error))?;
    let pem = key.serialize_pem();
    // Whole or not there: a host with half a key could never start again.
    let temporary = path.with_extension("new");
    let write = || {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|error| failed(&error))?;
    Ok(pem)
}

fn check_mode(path: &Path, mode: u32) -> Result<()> {
    let found = match fs::metadata(path) {
        Ok(found) => found.permissions().mode() & 0o777,
        Err(error) => {
            let what = format!("cannot look at {}", path.display());
            return Err(Fault::new(Kind::Operator, what).because(&error));
        }
    };
    if found & !mode & 0o077 == 0 {
        return Ok(());
    }
    let what = format!(
        "{} is open to others (mode {found:o}): its key may be known to them",
        path.display()
    );
    Err(Fault::new(Kind::Operator, what).next(format!("run: chmod {mode:o} {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_certificates_are_all_of_the_same_host() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let first = Identity::open(&keys).unwrap();
        let again = Identity::open(&keys).unwrap();
        assert_eq!(first.id(), again.id());
        assert_eq!(first.words().split(' ').count(), 5);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&keys), mode(first.path())), (0o700, 0o600));
        let now = Stamp(1_795_294_849_123);
        let certificates = [
            first.issue(now).unwrap(),
            again.issue(Stamp(now.0 + DAY_MS)).unwrap(),
        ];
        assert_ne!(certificates[0].der, certificates[1].der);
        for certificate in &certificates {
            let whole_s = Stamp(certificate.not_after.0 / 1_000 * 1_000);
            assert_eq!(not_after(&certificate.der), Some(whole_s));
            assert_eq!(not_after(&certificate.der[..40]), None);
            assert_eq!(host_of(&certificate.der).unwrap(), first.id());
        }
        assert!(!certificates[0].is_due(Stamp(now.0 + 19 * DAY_MS)));
        assert!(certificates[0].is_due(Stamp(now.0 + 20 * DAY_MS)));
        assert!(host_of(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_cure() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let key = Identity::open(&keys).unwrap().path().to_path_buf();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let fault = Identity::open(&keys).err().unwrap();
        assert_eq!(fault.next, format!("run: chmod 600 {}", key.display()));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o750)).unwrap();
        let fault = Identity::open(&keys).err().unwrap();
        assert_eq!(fault.next, format!("run: chmod 700 {}", keys.display()));
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(&key, "nonsense").unwrap();
        assert!(Identity::open(&keys).is_err());
    }
}
