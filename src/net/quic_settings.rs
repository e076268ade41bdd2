//! The settings of links: TLS that pins keys and resumes nothing, and a transport tuned by measurement.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionId, ConnectionIdGenerator, IdleTimeout, VarInt};
use rustls::sign::CertifiedKey;

use super::identity::{Certificate, Identity};
use super::pins::{ClientKeys, OwnKeys, ServerKey, provider};
use super::wire;
use crate::config::Congestion;
use crate::fault::{Fault, Result};
use crate::id::{HostId, Stamp};

/// A stream's window: 50 ms of 300 MiB/s. Quinn's own holds a link of 50 ms at 21 MiB/s (spec/libraries.md, 1.6).
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
/// All streams of a link together, and what we keep until it is acknowledged.
pub(super) const LINK_WINDOW_BYTES: u32 = 64 << 20;
/// The same before the hello is accepted.
const STRANGER_WINDOW_BYTES: u32 = 16 << 10;
/// Connections whose first datagram came and that nobody looked at yet; the library's own bound is 65,536 of 10 MiB.
const INCOMING_MAX: usize = 256;
/// What each of them may have sent until then: a handshake has three datagrams.
const INCOMING_BYTES_MAX: u64 = 32 << 10;
/// Largest datagram that path discovery tries; above 6,500 segmentation offload stops working.
const DATAGRAM_BYTES_MAX: u16 = 6_000;
/// What the socket is asked to buffer; the kernel grants what it likes.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// Signs of life on a quiet link.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A link without any is over.
const IDLE: Duration = Duration::from_secs(20);

fn transport(congestion: Congestion) -> Arc<quinn::TransportConfig> {
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(DATAGRAM_BYTES_MAX);
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(STRANGER_WINDOW_BYTES))
        .send_window(u64::from(LINK_WINDOW_BYTES))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .mtu_discovery_config(Some(discovery))
        .datagram_receive_buffer_size(None);
    match congestion {
        Congestion::Cubic => {}
        Congestion::Bbr => {
            let bbr = Arc::new(quinn::congestion::BbrConfig::default());
            transport.congestion_controller_factory(bbr);
        }
    }
    Arc::new(transport)
}

/// Ids of connections: random, and unlike the library's own they are not refused after a restart, which would keep this host
/// from answering a link of its predecessor with a reset.
struct Ids;

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; 8]>())
    }
    fn cid_len(&self) -> usize {
        8
    }
    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Reset tokens made from the host's own key: a host that was killed and started again can tell its peers at once
/// that their links are over, instead of leaving them to their time-outs.
pub(super) fn endpoint_config(identity: &Identity) -> quinn::EndpointConfig {
    let seed = identity.seed(b"massif quic 1");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &seed);
    let mut config = quinn::EndpointConfig::new(Arc::new(key));
    config.cid_generator(|| Box::new(Ids));
    // What we take; the other side looks for the path's own limit below it.
    if let Err(error) = config.max_udp_payload_size(DATAGRAM_BYTES_MAX) {
        tracing::warn!(%error, "datagrams stay small");
    }
    config
}

/// The certificates of this host's keys.
#[derive(Debug, Clone)]
pub(super) struct Certificates {
    pub(super) current: Certificate,
    /// With the key's id and its last moment.
    pub(super) previous: Option<(HostId, Stamp, Certificate)>,
}

impl Certificates {
    pub(super) fn issue(identity: &Identity, now: Stamp) -> Result<Certificates> {
        let previous = identity.issue_previous(now)?;
        Ok(Certificates {
            current: identity.issue(now)?,
            previous: previous
                .zip(identity.previous_at(now))
                .map(|(certificate, (id, until))| (id, until, certificate)),
        })
    }
}

/// The keys that a host may have, as whoever dials it knows them.
#[derive(Debug, Clone)]
pub struct Pins {
    /// The newest first; that one is asked for.
    pub keys: Vec<HostId>,
    /// Whether that host knows the dialling one by the key before its present one only.
    pub as_before: bool,
}

impl Pins {
    /// One key, and our own present one.
    pub fn of(key: HostId) -> Pins {
        Pins {
            keys: vec![key],
            as_before: false,
        }
    }
}

fn tls_failed(error: &dyn std::error::Error) -> Fault {
    Fault::bug("the TLS settings do not hold together").because(error)
}

/// What accepting takes.
pub(super) fn server_config(
    identity: &Identity,
    certificates: &Certificates,
    congestion: Congestion,
) -> Result<quinn::ServerConfig> {
    let certified = |certificate: &Certificate, key| {
        CertifiedKey::from_der(vec![certificate.der.clone()], key, &provider())
            .map(Arc::new)
            .map_err(|error| tls_failed(&error))
    };
    let previous = match (&certificates.previous, identity.previous_tls_key()) {
        (Some((id, until, certificate)), Some(key)) => {
            Some((*id, *until, certified(certificate, key)?))
        }
        _ => None,
    };
    let keys = OwnKeys {
        current: certified(&certificates.current, identity.tls_key())?,
        previous,
    };
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| tls_failed(&error))?
        .with_client_cert_verifier(Arc::new(ClientKeys))
        .with_cert_resolver(Arc::new(keys));
    tls.alpn_protocols = wire::ALPN.iter().map(|name| name.to_vec()).collect();
    // A resumed session would skip the proof of the key, and with it revocation.
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    let tls = QuicServerConfig::try_from(tls).map_err(|error| tls_failed(&error))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config
        .transport_config(transport(congestion))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_MAX * INCOMING_MAX as u64 / 4);
    Ok(config)
}

/// What dialling the holder of one of these keys takes.
pub(super) fn client_config(
    identity: &Identity,
    certificates: &Certificates,
    pins: &Pins,
    congestion: Congestion,
) -> Result<quinn::ClientConfig> {
    let before = match (&certificates.previous, identity.previous_tls_key()) {
        (Some((_, _, certificate)), Some(key)) if pins.as_before => Some((certificate, key)),
        _ => None,
    };
    let (certificate, key) = before.unwrap_or((&certificates.current, identity.tls_key()));
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| tls_failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerKey::new(pins.keys.clone())))
        .with_client_auth_cert(vec![certificate.der.clone()], key)
        .map_err(|error| tls_failed(&error))?;
    tls.alpn_protocols = wire::ALPN.iter().map(|name| name.to_vec()).collect();
    tls.resumption = rustls::client::Resumption::disabled();
    let tls = QuicClientConfig::try_from(tls).map_err(|error| tls_failed(&error))?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(transport(congestion));
    Ok(config)
}

/// A socket with room for a burst.
pub(super) fn udp_socket(listen: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(listen),
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    // More than the kernel grants is cut by it; small buffers only cost speed.
    drop(socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES));
    drop(socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    socket.bind(&listen.into())?;
    tracing::debug!(
        receive = socket.recv_buffer_size().unwrap_or(0),
        send = socket.send_buffer_size().unwrap_or(0),
        "socket buffers granted for QUIC"
    );
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
