//! The TLS side of pinning. Each verifier checks that the certificate is signed by its own key, and that the other side has
//! that key; the dialling side also that it is the very key it dialled, and that the certificate is in its time. The host
//! that is dialled looks at the time when the key is proven: then it can say by how much the clocks differ, and to whom.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::identity::{CERTIFICATE_BACK_DAYS, host_of, validity};
use crate::id::{HostId, Stamp};

/// In the error when the other side has another key.
pub(super) const WRONG_KEY: &str = "another key than the one that was dialled";
/// In the error when the certificate of the host that was dialled is out of its time; seconds follow.
pub(super) const OUT_OF_TIME: &str = "out of its time, clocks apart by at least ";

/// One crypto provider for everything.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Takes any host's certificate; who may come in is decided at the hello.
#[derive(Debug)]
pub(super) struct ClientKeys;

/// Takes one host's certificate: any of the keys that it may have now.
#[derive(Debug)]
pub(super) struct ServerKey {
    expected: Vec<HostId>,
}

impl ServerKey {
    pub(super) fn new(expected: Vec<HostId>) -> ServerKey {
        ServerKey { expected }
    }
}

/// The name that a dialling host asks for: it says which key it knows, for hosts that have two for a while.
pub(super) fn tls_name(key: &HostId) -> String {
    let text = key.to_string();
    format!("k{}.massif", text.get(..32).unwrap_or(&text))
}

/// The key that the host we are shows: the one before, if that is what was asked for and still good.
#[derive(Debug)]
pub(super) struct OwnKeys {
    pub(super) current: Arc<CertifiedKey>,
    pub(super) previous: Option<(HostId, Stamp, Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for OwnKeys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some((id, until, key)) = &self.previous
            && hello.server_name() == Some(tls_name(id).as_str())
            && i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX) * 1_000 < until.0
        {
            return Some(Arc::clone(key));
        }
        Some(Arc::clone(&self.current))
    }
}

/// The certificate is whole, issued by its own key, and `now` is within its time.
fn check(
    certificate: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    if !chain.is_empty() {
        return Err(Error::General("a host sends one certificate".into()));
    }
    let parsed = rustls::server::ParsedCertificate::try_from(certificate)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned())?;
    let algorithms = provider().signature_verification_algorithms.all;
    rustls::client::verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms)
}

/// A moment as TLS has it.
fn unix_time(at: Stamp) -> UnixTime {
    let seconds = u64::try_from(at.0.div_euclid(1_000)).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

/// How many seconds the clock of whoever issued this certificate is from ours at least, when it is out of its time.
fn apart_s(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<u64> {
    let (from, until) = validity(certificate)?;
    let (now, from, until) = (
        now.as_secs(),
        unix_time(from).as_secs(),
        unix_time(until).as_secs(),
    );
    // It was issued after its first moment, by the issuer's own clock.
    let back_s = CERTIFICATE_BACK_DAYS.unsigned_abs() * 86_400;
    match (now < from, now > until) {
        (true, _) => Some(from - now + back_s),
        (_, true) => Some(now - until),
        (false, false) => None,
    }
}

fn schemes() -> Vec<SignatureScheme> {
    vec![SignatureScheme::ED25519]
}

fn signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature(
        message,
        certificate,
        signed,
        &provider().signature_verification_algorithms,
    )
}

fn tls12() -> Error {
    Error::General("TLS 1.2 is not spoken".into())
}

impl ClientCertVerifier for ClientKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let within = validity(certificate).map_or(now, |(from, _)| unix_time(from));
        check(certificate, chain, within).map(|()| ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature(message, certificate, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ServerCertVerifier for ServerKey {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.expected.contains(&host_of(certificate)?) {
            return Err(Error::InvalidCertificate(CertificateError::Other(
                rustls::OtherError(Arc::new(std::io::Error::other(WRONG_KEY))),
            )));
        }
        if let Some(apart_s) = apart_s(certificate, now) {
            return Err(Error::InvalidCertificate(CertificateError::Other(
                rustls::OtherError(Arc::new(std::io::Error::other(format!(
                    "{OUT_OF_TIME}{apart_s} s"
                )))),
            )));
        }
        check(certificate, chain, now).map(|()| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature(message, certificate, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
