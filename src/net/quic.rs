//! Links between hosts: QUIC with TLS 1.3 both ways, keys pinned, nothing resumed.
//!
//! TLS proves who has which key; whether that host may come in is decided afterwards, against the list as it is at that
//! moment, by the hello and its answer. So a refused host hears why, and nobody gets in on a session of yesterday. Until
//! the hello is accepted a host can make us hold a few kilobytes.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;

use super::identity::{Identity, host_of, validity};
use super::pins::tls_name;
use super::quic_explain::{explain, unreachable, unwelcome};
pub use super::quic_join::{Joined, resolve};
pub use super::quic_settings::Pins;
use super::quic_settings::{
    Certificates, LINK_WINDOW_BYTES, client_config, endpoint_config, server_config, udp_socket,
};
use super::quic_strangers::{Place, Strangers};
use super::rotation::Rotation;
use super::wire::{
    self, Envelope, HELLO_BYTES_MAX, Hello, HelloAck, Join, JoinAck, NoJoin, Say, Unwelcome,
};
use crate::config::Congestion;
use crate::fault::{Fault, Kind, Result};
use crate::id::{HostId, Stamp};
use crate::limit;

/// From the first packet to the answer to the hello: a disk that is busy may take seconds for the row of a host that joins.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that the host that was dialled may have on a link at a time: a log for each attempt, and files.
const STREAMS_MAX: u32 = 2 * limit::SLOTS_MAX;
/// The same of the host that dialled: files of its orders. What it does not read waits in our memory, four mebibytes of each.
pub const STREAMS_OF_DIALLERS_MAX: u32 = 16;
/// Links that wait for `accept`.
const ACCEPTED_MAX: usize = 64;
/// The close code of a tidy end; refusals are said in the hello's answer.
pub(super) const CLOSE_DONE: u32 = 0;
const CLOSE_REFUSED: u32 = 1;
/// Domain of the bytes that a join is bound to (RFC 8446, 7.5).
const JOIN_LABEL: &[u8] = b"EXPORTER massif join 1";

/// What this host thinks of a key: asked anew at every hello.
pub type Judge = dyn Fn(&HostId) -> std::result::Result<(), Unwelcome> + Send + Sync;

/// A host that wants to join, with what its TLS session binds its proof to.
pub struct Asked {
    /// Whose key it is: proven.
    pub peer: HostId,
    /// From where.
    pub from: SocketAddr,
    /// What it says.
    pub join: Join,
    /// The same 16 bytes that it covered its secret with.
    pub cover: [u8; 16],
    /// The key of ours that it dialled.
    pub ours: HostId,
}

/// Who decides on strangers.
pub trait Door: Send + Sync {
    /// Somebody was not let in; `peer` is proven if it is known.
    fn refused(&self, peer: Option<HostId>, from: SocketAddr, why: &str);
    /// Somebody wants to join.
    fn join(&self, asked: Asked) -> Pin<Box<dyn Future<Output = JoinAck> + Send + '_>>;
}

/// What a ticket's secret is covered with: bytes that only the two ends of this session can compute.
pub(super) fn cover(connection: &Connection, newcomer: HostId, host: HostId) -> Result<[u8; 16]> {
    let mut cover = [0; 16];
    let context = [newcomer.0, host.0].concat();
    connection
        .export_keying_material(&mut cover, JOIN_LABEL, &context)
        .map_err(|_| Fault::bug("TLS exports no key for joining"))?;
    Ok(cover)
}

/// Covers a secret, or uncovers it.
pub fn covered(secret: [u8; 16], cover: [u8; 16]) -> [u8; 16] {
    let mut out = [0; 16];
    for (out, (a, b)) in out.iter_mut().zip(secret.iter().zip(cover)) {
        *out = a ^ b;
    }
    out
}

/// One UDP socket that links are dialled from and accepted on.
pub struct Endpoint {
    endpoint: quinn::Endpoint,
    shared: Arc<Shared>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Link>>,
}

struct Shared {
    own: RwLock<Own>,
    hello: Box<dyn Fn() -> Hello + Send + Sync>,
    judge: Box<Judge>,
    congestion: Congestion,
    door: OnceLock<Arc<dyn Door>>,
}

/// This host's keys, which may be replaced while it runs.
#[derive(Clone)]
struct Own {
    identity: Arc<Identity>,
    certificates: Arc<Certificates>,
}

impl Shared {
    fn own(&self) -> Own {
        self.own
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Tells whoever keeps the door that somebody was not let in.
    fn refused(&self, peer: Option<HostId>, address: SocketAddr, why: &str) {
        tracing::info!(%address, why, "a host was not let in");
        if let Some(door) = self.door.get() {
            door.refused(peer, address, why);
        }
    }
}

/// A link to a host whose key was proven and whose hello was accepted.
pub struct Link {
    /// Whose key it is.
    pub peer: HostId,
    /// What it said of itself.
    pub hello: Hello,
    /// For further streams.
    pub connection: Connection,
    control: Control,
}

/// The control stream of a link.
pub struct Control {
    send: SendStream,
    receive: RecvStream,
    sent: u64,
    received: u64,
}

impl Endpoint {
    /// Binds `listen` (port 0: a free one). Needs a tokio runtime. `hello` is what this host says of itself.
    pub fn bind(
        identity: Identity,
        listen: SocketAddr,
        hello: impl Fn() -> Hello + Send + Sync + 'static,
        judge: impl Fn(&HostId) -> std::result::Result<(), Unwelcome> + Send + Sync + 'static,
    ) -> Result<Endpoint> {
        Endpoint::bind_with(identity, listen, Congestion::default(), hello, judge)
    }

    /// The same for a host that sends in its own way.
    pub fn bind_with(
        identity: Identity,
        listen: SocketAddr,
        congestion: Congestion,
        hello: impl Fn() -> Hello + Send + Sync + 'static,
        judge: impl Fn(&HostId) -> std::result::Result<(), Unwelcome> + Send + Sync + 'static,
    ) -> Result<Endpoint> {
        let taken = |error: std::io::Error| {
            Fault::new(
                Kind::Operator,
                format!("cannot listen on {listen} for QUIC"),
            )
            .because(&error)
            .next("choose another address with --listen, or stop what listens there")
        };
        let certificates = Certificates::issue(&identity, hello().clock)?;
        let server = server_config(&identity, &certificates, congestion)?;
        let socket = udp_socket(listen).map_err(taken)?;
        let endpoint = quinn::Endpoint::new(
            endpoint_config(&identity),
            Some(server),
            socket,
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(taken)?;
        let shared = Arc::new(Shared {
            own: RwLock::new(Own {
                identity: Arc::new(identity),
                certificates: Arc::new(certificates),
            }),
            hello: Box::new(hello),
            judge: Box::new(judge),
            congestion,
            door: OnceLock::new(),
        });
        let (links, accepted) = mpsc::channel(ACCEPTED_MAX);
        tokio::spawn(let_in(endpoint.clone(), Arc::clone(&shared), links));
        Ok(Endpoint {
            endpoint,
            shared,
            accepted: tokio::sync::Mutex::new(accepted),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        self.endpoint.local_addr().map_err(|error| {
            Fault::new(Kind::Network, "the QUIC socket has no address").because(&error)
        })
    }

    /// The id of this host's present key.
    pub fn id(&self) -> HostId {
        self.shared.own().identity.key_id()
    }

    /// What this host says of itself, now.
    pub(super) fn hello(&self) -> Hello {
        (self.shared.hello)()
    }

    /// The newest rotations of this host's key, oldest first.
    pub fn rotations(&self) -> Vec<Rotation> {
        self.shared.own().identity.rotations()
    }

    /// This host's public key (SPKI), and its signature of a message.
    pub fn sign(&self, message: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
        self.shared.own().identity.sign(message)
    }

    /// Whether the key before the present one is still good.
    pub fn overlaps(&self, now: Stamp) -> bool {
        self.shared.own().identity.previous_at(now).is_some()
    }

    /// Replaces this host's key. Links that stand are not touched; the old key is shown to those who ask for it until the
    /// overlap is over. Writes files.
    pub fn rotate(&self, now: Stamp, overlap_s: u64) -> Result<()> {
        let identity = self.shared.own().identity.rotate(now, overlap_s)?;
        self.take(Arc::new(identity), now)
    }

    fn take(&self, identity: Arc<Identity>, now: Stamp) -> Result<()> {
        let certificates = Arc::new(Certificates::issue(&identity, now)?);
        let config = server_config(&identity, &certificates, self.shared.congestion)?;
        self.endpoint.set_server_config(Some(config));
        let mut own = self
            .shared
            .own
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *own = Own {
            identity,
            certificates,
        };
        Ok(())
    }

    /// Who is asked about strangers; before, and without, nobody can join.
    pub fn door(&self, door: Arc<dyn Door>) {
        // A second door would be a bug of the host's; the first one stays.
        drop(self.shared.door.set(door));
    }

    /// The next host that came in; `None` once the endpoint is closed.
    pub async fn accept(&self) -> Option<Link> {
        self.accepted.lock().await.recv().await
    }

    /// Issues the next certificate when a third of the present one's life is left. Links that stand are not touched.
    pub fn renew_if_due(&self, now: Stamp) -> Result<()> {
        let own = self.shared.own();
        if own.certificates.current.is_due(now) {
            self.take(own.identity, now)?;
        }
        Ok(())
    }

    /// Dials a host. Nothing is sent to anyone but the holder of `peer`'s key.
    pub async fn connect(&self, address: SocketAddr, peer: HostId) -> Result<Link> {
        self.connect_to(address, peer, &Pins::of(peer)).await
    }

    /// The same for a host that may have one of several keys; the link's peer is the host, whichever it has.
    pub async fn connect_to(&self, address: SocketAddr, peer: HostId, pins: &Pins) -> Result<Link> {
        let dialled = tokio::time::timeout(HELLO_TIMEOUT, self.dial(address, peer, pins)).await;
        dialled.unwrap_or_else(|_| Err(silent(address)))
    }

    pub(super) async fn handshake(&self, address: SocketAddr, pins: &Pins) -> Result<Connection> {
        let own = self.shared.own();
        let config = client_config(
            &own.identity,
            &own.certificates,
            pins,
            self.shared.congestion,
        )?;
        let name = pins.keys.first().map(tls_name).unwrap_or_default();
        let connecting = self
            .endpoint
            .connect_with(config, address, &name)
            .map_err(|error| unreachable(address, "cannot be dialled").because(&error))?;
        connecting.await.map_err(|error| explain(address, &error))
    }

    async fn dial(&self, address: SocketAddr, peer: HostId, pins: &Pins) -> Result<Link> {
        let connection = self.handshake(address, pins).await?;
        let hello = (self.shared.hello)();
        let our_clock = hello.clock;
        let (control, answer) = ask_first(address, &connection, Say::Hello(hello)).await?;
        match answer {
            Say::HelloAck(HelloAck::Welcome(hello)) => {
                admit(&connection, STREAMS_MAX);
                Ok(Link {
                    peer,
                    hello,
                    connection,
                    control,
                })
            }
            Say::HelloAck(HelloAck::Refused { why, clock }) => {
                Err(unwelcome(address, &why, clock, our_clock))
            }
            _ => Err(unreachable(address, "spoke before it answered the hello")),
        }
    }

    /// Ends all links and waits until the other sides have been told, two seconds at most.
    pub async fn close(&self) {
        self.endpoint
            .close(VarInt::from_u32(CLOSE_DONE), b"this host stops");
        // The other sides notice by their idle time-outs when this took too long.
        drop(tokio::time::timeout(Duration::from_secs(2), self.endpoint.wait_idle()).await);
    }
}

pub(super) fn silent(address: SocketAddr) -> Fault {
    unreachable(address, "did not answer").next(format!(
        "check that massif runs there, and that UDP port {} is open on the way",
        address.port()
    ))
}

/// Opens the control stream with its first message, and waits for the answer.
pub(super) async fn ask_first(
    address: SocketAddr,
    connection: &Connection,
    first: Say,
) -> Result<(Control, Say)> {
    let failed = |error: &dyn std::error::Error| match connection.close_reason() {
        Some(reason) => explain(address, &reason),
        None => unreachable(address, "broke the link off").because(error),
    };
    let (send, receive) = connection.open_bi().await.map_err(|error| failed(&error))?;
    let mut control = Control::new(send, receive);
    control.say(first).await.map_err(|error| failed(&error))?;
    let answer = wire::read(&mut control.receive, HELLO_BYTES_MAX).await;
    let Some(envelope) = answer.map_err(|error| failed(&error))? else {
        let ended = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        return Err(failed(&ended));
    };
    control.received = 1;
    Ok((control, envelope.say))
}

impl Link {
    /// Its control stream in two halves, to speak and listen at once.
    pub fn split(self) -> (Connection, Hello, Speaker, Listener) {
        let Control {
            send,
            receive,
            sent,
            received,
        } = self.control;
        (
            self.connection,
            self.hello,
            Speaker { send, sent },
            Listener { receive, received },
        )
    }

    /// The control stream: say and hear.
    pub fn control(&mut self) -> &mut Control {
        &mut self.control
    }

    /// Ends the link.
    pub fn close(&self, why: &str) {
        self.connection
            .close(VarInt::from_u32(CLOSE_DONE), why.as_bytes());
    }
}

/// The half of a control stream that speaks.
pub struct Speaker {
    send: SendStream,
    sent: u64,
}

impl Speaker {
    /// Sends one message.
    pub async fn say(&mut self, say: Say) -> Result<()> {
        self.sent += 1;
        let envelope = Envelope {
            seq: self.sent,
            say,
        };
        wire::write(&mut self.send, &envelope).await
    }

    /// Sends bytes as they are: what a host must bear, for tests of just that.
    #[doc(hidden)]
    pub async fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = self.send.write_all(bytes).await;
        sent.map_err(|error| Fault::new(Kind::Network, "the link is gone").because(&error))
    }

    /// Ends the stream and waits until all of it has arrived, a second and a half at most.
    pub async fn end(mut self) {
        if self.send.finish().is_ok() {
            let arrived = self.send.stopped();
            // A host that does not take it will be told again when it is back.
            drop(tokio::time::timeout(Duration::from_millis(1_500), arrived).await);
        }
    }
}

/// The half of a control stream that listens.
pub struct Listener {
    receive: RecvStream,
    received: u64,
}

impl Listener {
    /// The next message; `None` when the other side is done.
    pub async fn hear(&mut self) -> Result<Option<Say>> {
        let Some(envelope) = wire::read(&mut self.receive, limit::FRAME_BYTES_MAX).await? else {
            return Ok(None);
        };
        self.received += 1;
        if envelope.seq != self.received {
            return Err(gap(envelope.seq, self.received));
        }
        Ok(Some(envelope.say))
    }
}

fn gap(came: u64, due: u64) -> Fault {
    Fault::new(
        Kind::Network,
        format!("message {came} came where {due} was due"),
    )
}

impl Control {
    fn new(send: SendStream, receive: RecvStream) -> Control {
        // Before bulk on the same link.
        drop(send.set_priority(10));
        Control {
            send,
            receive,
            sent: 0,
            received: 0,
        }
    }

    /// Sends one message.
    pub async fn say(&mut self, say: Say) -> Result<()> {
        self.sent += 1;
        let envelope = Envelope {
            seq: self.sent,
            say,
        };
        wire::write(&mut self.send, &envelope).await
    }

    /// The next message; `None` when the other side is done.
    pub async fn hear(&mut self) -> Result<Option<Say>> {
        let Some(envelope) = wire::read(&mut self.receive, limit::FRAME_BYTES_MAX).await? else {
            return Ok(None);
        };
        self.received += 1;
        if envelope.seq != self.received {
            return Err(gap(envelope.seq, self.received));
        }
        Ok(Some(envelope.say))
    }
}

/// Accepts connections, asks each for its hello and judges it.
async fn let_in(endpoint: quinn::Endpoint, shared: Arc<Shared>, links: mpsc::Sender<Link>) {
    let mut strangers = Strangers::new();
    while let Some(incoming) = endpoint.accept().await {
        let (address, now) = (incoming.remote_address(), std::time::Instant::now());
        match strangers.place(address, now) {
            Place::Free => {}
            Place::After(gone) => {
                shared.refused(
                    None,
                    gone,
                    "it gave way to others, for it did not finish its hello",
                );
            }
            Place::None => {
                incoming.ignore();
                continue;
            }
        }
        if strangers.is_crowded() && incoming.may_retry() {
            // Dropping the outcome: the address either comes back with its token or it was made up.
            drop(incoming.retry());
            continue;
        }
        let (shared, links) = (Arc::clone(&shared), links.clone());
        let letting_in = tokio::spawn(async move {
            let judged = tokio::time::timeout(HELLO_TIMEOUT, judge(incoming, &shared)).await;
            match judged {
                Ok(Ok(Some(link))) => {
                    // The owner of the endpoint is gone; then so is the link.
                    drop(links.send(link).await);
                }
                Ok(Ok(None)) => {}
                Ok(Err((peer, fault))) => shared.refused(peer, address, &fault.to_string()),
                Err(_) => shared.refused(None, address, "it did not finish its hello in time"),
            }
        });
        strangers.came(address, now, letting_in.abort_handle());
    }
}

/// The link of a host that may come in; none when it only wanted to join; or whom not to let in, and why.
async fn judge(
    incoming: quinn::Incoming,
    shared: &Shared,
) -> std::result::Result<Option<Link>, (Option<HostId>, Fault)> {
    let from = incoming.remote_address();
    let network =
        |what: &str, error: &dyn std::error::Error| Fault::new(Kind::Network, what).because(error);
    let connecting = incoming
        .accept()
        .map_err(|error| (None, network("the handshake failed", &error)))?;
    let connection = connecting
        .await
        .map_err(|error| (None, network("the handshake failed", &error)))?;
    let peer = peer_of(&connection).map_err(|fault| (None, fault))?;
    let of_peer = |fault: Fault| (Some(peer), fault);
    let (send, receive) = connection
        .accept_bi()
        .await
        .map_err(|error| of_peer(network("the host said nothing", &error)))?;
    let mut control = Control::new(send, receive);
    let first = wire::read(&mut control.receive, HELLO_BYTES_MAX).await;
    let verdict = match first {
        Ok(Some(Envelope {
            seq: 1,
            say: Say::Hello(hello),
        })) => (shared.judge)(&peer)
            .and_then(|()| match out_of_time(&connection, shared) {
                Some((from, until)) => Err(Unwelcome::OutOfTime { from, until }),
                None => Ok(()),
            })
            .map(|()| hello),
        Ok(Some(Envelope {
            seq: 1,
            say: Say::Join(join),
        })) => {
            let answer = joins(&connection, shared, (peer, from), join).await;
            let out_of_time = match &answer {
                JoinAck::Refused {
                    why: NoJoin::OutOfTime { from, until },
                    ..
                } => Some(Unwelcome::OutOfTime {
                    from: *from,
                    until: *until,
                }),
                _ => None,
            };
            refuse(&connection, &mut control, Say::JoinAck(answer)).await;
            // Every other refusal was noted by whoever decided it.
            return out_of_time.map_or(Ok(None), |why| Err(of_peer(not_let_in(peer, &why))));
        }
        _ => Err(Unwelcome::NoHello),
    };
    let ours = (shared.hello)();
    let hello = match verdict {
        Ok(hello) => hello,
        Err(why) => {
            let fault = not_let_in(peer, &why);
            let refusal = HelloAck::Refused {
                why,
                clock: ours.clock,
            };
            refuse(&connection, &mut control, Say::HelloAck(refusal)).await;
            return Err(of_peer(fault));
        }
    };
    control.received = 1;
    admit(&connection, STREAMS_OF_DIALLERS_MAX);
    control
        .say(Say::HelloAck(HelloAck::Welcome(ours)))
        .await
        .map_err(of_peer)?;
    Ok(Some(Link {
        peer,
        hello,
        connection,
        control,
    }))
}

fn not_let_in(peer: HostId, why: &Unwelcome) -> Fault {
    let text = super::quic_explain::refusal(why);
    Fault::new(
        Kind::NotPermitted,
        format!("key {} was refused: {text}", peer.short()),
    )
}

/// When the certificate of the other side is good, if that is not now.
fn out_of_time(connection: &Connection, shared: &Shared) -> Option<(Stamp, Stamp)> {
    let chain = certificates_of(connection)?;
    let (from, until) = validity(chain.first()?)?;
    let now = (shared.hello)().clock;
    (now < from || now > until).then_some((from, until))
}

/// The answer to somebody who wants to join.
async fn joins(
    connection: &Connection,
    shared: &Shared,
    (peer, from): (HostId, SocketAddr),
    join: Join,
) -> JoinAck {
    let clock = (shared.hello)().clock;
    if let Some((from, until)) = out_of_time(connection, shared) {
        let why = NoJoin::OutOfTime { from, until };
        return JoinAck::Refused { why, clock };
    }
    let ours = asked_for(connection, shared);
    match (shared.door.get(), cover(connection, peer, ours)) {
        (Some(door), Ok(cover)) => {
            door.join(Asked {
                peer,
                from,
                join,
                cover,
                ours,
            })
            .await
        }
        _ => JoinAck::Refused {
            why: NoJoin::Closed,
            clock,
        },
    }
}

/// Says the last word and waits until that has arrived: closing at once would take the words back.
async fn refuse(connection: &Connection, control: &mut Control, last: Say) {
    if control.say(last).await.is_ok() && control.send.finish().is_ok() {
        let arrived = tokio::time::timeout(Duration::from_secs(2), control.send.stopped()).await;
        // A host that does not take the answer is closed on all the same.
        drop(arrived);
    }
    connection.close(VarInt::from_u32(CLOSE_REFUSED), b"refused");
}

/// From a stranger's windows to a known host's.
fn admit(connection: &Connection, streams: u32) {
    connection.set_receive_window(VarInt::from_u32(LINK_WINDOW_BYTES));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(streams));
}

/// The key of ours that was shown on a connection that came in.
fn asked_for(connection: &Connection, shared: &Shared) -> HostId {
    let data = connection.handshake_data();
    let data = data.and_then(|any| any.downcast::<HandshakeData>().ok());
    let name = data.and_then(|data| data.server_name);
    let own = shared.own();
    match own.identity.previous_at((shared.hello)().clock) {
        Some((previous, _)) if name == Some(tls_name(&previous)) => previous,
        _ => own.identity.key_id(),
    }
}

type Chain = Vec<rustls::pki_types::CertificateDer<'static>>;

/// What the other side showed.
fn certificates_of(connection: &Connection) -> Option<Box<Chain>> {
    connection.peer_identity()?.downcast::<Chain>().ok()
}

/// The key that the other side proved to have.
fn peer_of(connection: &Connection) -> Result<HostId> {
    let chain = certificates_of(connection);
    let first = chain.as_ref().and_then(|chain| chain.first());
    let first = first.ok_or_else(|| Fault::bug("a TLS peer without a certificate"))?;
    host_of(first).map_err(|error| {
        Fault::new(Kind::Network, "the peer's certificate is garbled").because(&error)
    })
}

#[cfg(test)]
#[path = "quic_tests.rs"]
mod tests;
