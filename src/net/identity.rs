//! Who this host is: an ed25519 key, made at the first start, and the short-lived certificates it issues for itself.
//! Everything that trusts this host trusts the public key; a certificate is only the shell that TLS wants.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};

use super::rotation::{ROTATIONS_MAX, Rotation, id_of};
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

/// This host's key, and the one before it as long as that is good.
pub struct Identity {
    id: HostId,
    key_id: HostId,
    key: rcgen::KeyPair,
    previous: Option<Previous>,
    rotations: Vec<Rotation>,
    path: PathBuf,
}

/// The key before the present one.
struct Previous {
    id: HostId,
    key: rcgen::KeyPair,
    until: Stamp,
}

/// A certificate and when to issue the next.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// For TLS.
    pub der: CertificateDer<'static>,
    /// The last moment of its validity.
    pub not_after: Stamp,
}

/// The first and the last moment of a certificate's validity, as far as they are written the way RFC 5280 wants it until 2049:
/// a sequence of two times of 13 characters, `YYMMDDHHMMSSZ`.
pub fn validity(der: &[u8]) -> Option<(Stamp, Stamp)> {
    /// Validity: a sequence of 30 bytes that begins with a UTCTime of 13.
    const HEAD: [u8; 4] = [0x30, 0x1e, 0x17, 0x0d];
    let at = der.windows(HEAD.len()).position(|window| window == HEAD)?;
    let times = der.get(at + HEAD.len()..at + HEAD.len() + 28)?;
    let (first, rest) = times.split_at_checked(13)?;
    let [0x17, 0x0d, second @ ..] = rest else {
        return None;
    };
    Some((utc_time(first)?, utc_time(second)?))
}

fn utc_time(digits: &[u8]) -> Option<Stamp> {
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
        let path = keys.join(KEY_FILE);
        match fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(keys)
        {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(unusable(&path, &error));
            }
            _ => {}
        }
        check_mode(keys, 0o700)?;
        let rotations = read_rotations(keys)?;
        finish_rotation(keys, rotations.last())?;
        let key = match read_key(&path)? {
            Some(key) => key,
            None => {
                make(&path)?;
                read_key(&path)?.ok_or_else(|| Fault::bug("a new key is not there"))?
            }
        };
        use rcgen::PublicKeyData;
        let key_id = id_of(&key.subject_public_key_info());
        let mut previous = None;
        if let Some(last) = rotations.last()
            && last.new_id() == key_id
            && let Some(key) = read_key(&keys.join(PREVIOUS_FILE))?
        {
            let id = id_of(&key.subject_public_key_info());
            previous = (id == last.old_id()).then(|| Previous {
                id,
                key,
                until: last.until(),
            });
        }
        Ok(Identity {
            // Everybody knows a host by the key that it had first.
            id: rotations.first().map_or(key_id, Rotation::old_id),
            key_id,
            key,
            previous,
            rotations,
            path,
        })
    }

    /// Replaces the key: the new one is signed by the old, which stays good for the overlap. The identity from then on.
    pub fn rotate(&self, now: Stamp, overlap_s: u64) -> Result<Identity> {
        if let Some(previous) = self.previous_at(now) {
            return Err(Fault::new(
                Kind::Conflict,
                format!(
                    "this key is new: the one before it is good until {}",
                    previous.1
                ),
            )
            .next("rotate again after that"));
        }
        let keys = self.path.parent().unwrap_or(Path::new("."));
        let failed = |error: &dyn std::error::Error| unusable(&keys.join(NEXT_FILE), error);
        let next =
            rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(|error| failed(&error))?;
        let rotation = Rotation::make(&self.key, &next, now, overlap_s)?;
        let mut rotations = self.rotations.clone();
        rotations.push(rotation);
        // The first one says who this host is; of the rest the newest count.
        while rotations.len() > 2 * ROTATIONS_MAX {
            rotations.remove(1);
        }
        let text = serde_json::to_vec_pretty(&rotations).map_err(|error| failed(&error))?;
        let pem = |key: &rcgen::KeyPair| key.serialize_pem().into_bytes();
        // The list decides: before it is written the new key is thrown away at the next start, after it that start goes on.
        write_whole(&keys.join(NEXT_FILE), &pem(&next))
            .and_then(|()| write_whole(&keys.join(PREVIOUS_FILE), &pem(&self.key)))
            .and_then(|()| write_whole(&keys.join(ROTATIONS_FILE), &text))
            .map_err(|error| failed(&error))?;
        Identity::open(keys)
    }

    /// The id of the present key; the host's own id, unless the key was replaced.
    pub fn key_id(&self) -> HostId {
        self.key_id
    }

    /// The id of the key before this one and until when it is good, if it still is.
    pub fn previous_at(&self, now: Stamp) -> Option<(HostId, Stamp)> {
        let previous = self.previous.as_ref()?;
        (now < previous.until).then_some((previous.id, previous.until))
    }

    /// The newest rotations, oldest first, for peers that were away.
    pub fn rotations(&self) -> Vec<Rotation> {
        let skip = self.rotations.len().saturating_sub(ROTATIONS_MAX);
        self.rotations.iter().skip(skip).cloned().collect()
    }

    /// The host's id: SHA-256 of its first public key (SPKI).
    pub fn id(&self) -> HostId {
        self.id
    }

    /// Its five words.
    pub fn words(&self) -> String {
        words::words(&self.key_id)
    }

    /// Where the key lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public key (SPKI), and its signature of a message.
    pub(super) fn sign(&self, message: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
        use rcgen::{PublicKeyData, SigningKey};
        let signature = self.key.sign(message);
        let failed =
            |error: rcgen::Error| Fault::bug("the host's key does not sign").because(&error);
        Ok((
            self.key.subject_public_key_info(),
            signature.map_err(failed)?,
        ))
    }

    /// A new certificate for the same key.
    pub fn issue(&self, now: Stamp) -> Result<Certificate> {
        issue(&self.key, self.key_id, now)
    }

    /// A new certificate for the key before it, while that is good.
    pub(super) fn issue_previous(&self, now: Stamp) -> Result<Option<Certificate>> {
        match (&self.previous, self.previous_at(now)) {
            (Some(previous), Some((id, _))) => issue(&previous.key, id, now).map(Some),
            _ => Ok(None),
        }
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
        tls_form(&self.key)
    }

    /// The private key before it.
    pub(super) fn previous_tls_key(&self) -> Option<PrivateKeyDer<'static>> {
        self.previous
            .as_ref()
            .map(|previous| tls_form(&previous.key))
    }
}

fn tls_form(key: &rcgen::KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

fn issue(key: &rcgen::KeyPair, id: HostId, now: Stamp) -> Result<Certificate> {
    let failed = |error: &dyn std::error::Error| {
        Fault::bug("cannot issue a certificate for the host's own key").because(error)
    };
    let moment = |days: i64| {
        time::OffsetDateTime::from_unix_timestamp((now.0 + days * DAY_MS).div_euclid(1_000))
    };
    let mut form = rcgen::CertificateParams::new(vec![TLS_NAME.to_string()])
        .map_err(|error| failed(&error))?;
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::CommonName, id.to_string());
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
    let certificate = form.self_signed(key).map_err(|error| failed(&error))?;
    Ok(Certificate {
        der: certificate.der().clone(),
        not_after: Stamp(now.0 + CERTIFICATE_DAYS * DAY_MS),
    })
}

/// The id of the host whose certificate this is. Says nothing about whether the other side has the key.
pub fn host_of(certificate: &CertificateDer<'_>) -> std::result::Result<HostId, rustls::Error> {
    let parsed = rustls::server::ParsedCertificate::try_from(certificate)?;
    Ok(HostId(
        Sha256::digest(parsed.subject_public_key_info()).into(),
    ))
}

const KEY_FILE: &str = "host.key";
/// The key before it.
const PREVIOUS_FILE: &str = "previous.key";
/// A key that takes the other's place in a moment.
const NEXT_FILE: &str = "next.key";
/// All rotations, oldest first.
const ROTATIONS_FILE: &str = "rotations";

fn unusable(path: &Path, error: &dyn std::error::Error) -> Fault {
    let what = format!("cannot use the key {}", path.display());
    Fault::new(Kind::Operator, what).because(error)
}

fn read_rotations(keys: &Path) -> Result<Vec<Rotation>> {
    let path = keys.join(ROTATIONS_FILE);
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| unusable(&path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unusable(&path, &error)),
    }
}

/// Puts a new key in its place if its rotation was written down; one that was not is thrown away.
fn finish_rotation(keys: &Path, last: Option<&Rotation>) -> Result<()> {
    let next = keys.join(NEXT_FILE);
    let Some(key) = read_key(&next)? else {
        return Ok(());
    };
    use rcgen::PublicKeyData;
    let counts = last.is_some_and(|last| last.new == key.subject_public_key_info());
    let done = match counts {
        true => fs::rename(&next, keys.join(KEY_FILE)),
        false => fs::remove_file(&next),
    };
    done.and_then(|()| fs::File::open(keys)?.sync_all())
        .map_err(|error| unusable(&next, &error))
}

/// The key in a file; `None` if there is no such file.
fn read_key(path: &Path) -> Result<Option<rcgen::KeyPair>> {
    let pem = match fs::read_to_string(path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path, &error)),
    };
    check_mode(path, 0o600)?;
    let key = rcgen::KeyPair::from_pem(&pem).map_err(|error| {
        unusable(path, &error).next(
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
    Ok(Some(key))
}

fn make(path: &Path) -> Result<()> {
    let failed = |error: &dyn std::error::Error| {
        Fault::new(
            Kind::Operator,
            format!("cannot make the key {}", path.display()),
        )
        .because(error)
    };
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(|error| failed(&error))?;
    write_whole(path, key.serialize_pem().as_bytes()).map_err(|error| failed(&error))
}

/// Whole or not there: a host with half a key could never start again.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
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
            let (from, until) = validity(&certificate.der).unwrap();
            assert_eq!(until, whole_s);
            let life_days = CERTIFICATE_DAYS + CERTIFICATE_BACK_DAYS;
            assert_eq!(until.0 - from.0, life_days * DAY_MS);
            assert_eq!(validity(&certificate.der[..40]), None);
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

    #[test]
    fn a_new_key_leaves_the_host_who_it_is_and_a_rotation_cut_short_is_finished_or_undone() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let first = Identity::open(&keys).unwrap();
        let now = Stamp(1_795_294_849_123);
        let second = first.rotate(now, 60).unwrap();
        assert_eq!((second.id(), first.id()), (first.id(), first.key_id()));
        assert_ne!(second.key_id(), first.key_id());
        assert_eq!(
            second.previous_at(now),
            Some((first.key_id(), Stamp(now.0 + 60_000)))
        );
        assert_eq!(second.previous_at(Stamp(now.0 + 60_000)), None);
        assert_eq!(second.rotate(now, 60).err().unwrap().kind, Kind::Conflict);
        let again = Identity::open(&keys).unwrap();
        assert_eq!(
            (again.id(), again.key_id(), again.rotations().len()),
            (first.id(), second.key_id(), 1)
        );
        // Written down, and cut before the key was in its place.
        fs::copy(keys.join(KEY_FILE), keys.join(NEXT_FILE)).unwrap();
        fs::copy(keys.join(PREVIOUS_FILE), keys.join(KEY_FILE)).unwrap();
        assert_eq!(Identity::open(&keys).unwrap().key_id(), second.key_id());
        // Cut before it was written down.
        let stray = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        write_whole(&keys.join(NEXT_FILE), stray.serialize_pem().as_bytes()).unwrap();
        assert_eq!(Identity::open(&keys).unwrap().key_id(), second.key_id());
        assert!(!keys.join(NEXT_FILE).exists());
        let later = Stamp(now.0 + 60_000);
        let third = again.rotate(later, 60).unwrap();
        assert_eq!((third.id(), third.rotations().len()), (first.id(), 2));
        for rotation in third.rotations() {
            rotation.check().unwrap();
        }
    }
}
