//! The client: one connection, calls in their order, deadlines on each.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::UnixStream;

use super::frame::{FrameError, FrameReader, write_frame};
use super::path::short_path;
use crate::admin::{Method, Request, Response, fault_from_error};
use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// Any reliable byte stream: a Unix socket here, a stream of a link from afar.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection to a host's admin interface.
pub struct Client {
    frames: FrameReader<ReadHalf<Box<dyn Stream>>>,
    to: WriteHalf<Box<dyn Stream>>,
    /// Whom we talk to, for error messages.
    peer: String,
    /// A call went out, and its answer has not come.
    owed: bool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to the socket of this path.
    ///
    /// # Errors
    ///
    /// `Unreachable` with the command that starts a host, when nobody serves there.
    pub async fn connect(path: &Path) -> Result<Client> {
        let shown = path.display().to_string();
        let unreachable = |error: &std::io::Error| {
            let (kind, what) = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    (Kind::Unreachable, format!("no host serves {shown}"))
                }
                std::io::ErrorKind::ConnectionRefused => (
                    Kind::Unreachable,
                    format!("the host that served {shown} is gone"),
                ),
                std::io::ErrorKind::PermissionDenied => {
                    (Kind::NotPermitted, format!("you may not reach {shown}"))
                }
                _ => (Kind::Unreachable, format!("cannot reach {shown}")),
            };
            let dir = path.parent().unwrap_or(path).display();
            let fault = Fault::new(kind, what).next(match kind {
                Kind::NotPermitted => {
                    "ask the owner of that directory, or run it as root".to_owned()
                }
                _ if path.starts_with("/run") => {
                    "start it with `massif up`, or name its directory with --dir".to_owned()
                }
                _ => format!("start it with `massif up --dir {dir}`"),
            });
            match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => fault,
                _ => fault.because(error),
            }
        };
        let short = short_path(path).map_err(|error| unreachable(&error))?;
        let connecting = UnixStream::connect(&short.path);
        match tokio::time::timeout(Duration::from_secs(limit::ADMIN_CONNECT_S), connecting).await {
            Ok(Ok(stream)) => Ok(Client::over(stream, shown)),
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(_) => Err(
                Fault::new(Kind::TryAgain, format!("{shown} takes no more connections"))
                    .next("look at the host's log"),
            ),
        }
    }

    /// A client over a stream that is connected already; `peer` names the other side in errors.
    pub fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: impl Into<String>,
    ) -> Client {
        let stream: Box<dyn Stream> = Box::new(stream);
        let (from, to) = tokio::io::split(stream);
        Client {
            frames: FrameReader::new(from, limit::ADMIN_MESSAGE_BYTES_MAX),
            to,
            peer: peer.into(),
            owed: false,
        }
    }

    /// Whether a call went out whose answer did not come: it may have had its effect, and the next answer would be its own.
    pub fn is_owed(&self) -> bool {
        self.owed
    }

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    ///
    /// What the host says, or why it could not be asked.
    pub async fn call<M: Method>(&mut self, ask: &M) -> Result<M::Reply> {
        let parameters = serde_json::to_value(ask)
            .map_err(|error| Fault::bug(format!("cannot write {}", M::NAME)).because(&error))?;
        let within_s = if M::SLOW {
            limit::ADMIN_SLOW_CALL_S
        } else {
            limit::ADMIN_CALL_S
        };
        let answer = self.call_raw(M::NAME, parameters, within_s).await?;
        read_answer::<M>(answer)
    }

    /// Calls a method by its name.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub async fn call_raw(
        &mut self,
        method: &str,
        parameters: serde_json::Value,
        within_s: u64,
    ) -> Result<serde_json::Value> {
        self.send(method, parameters, false).await?;
        let (answer, _) = self.receive(method, Some(within_s)).await?;
        Ok(answer)
    }

    /// Calls a method that answers many times. The connection belongs to the answers from here on.
    ///
    /// # Errors
    ///
    /// The host cannot be asked.
    pub async fn stream<M: Method>(self, ask: &M) -> Result<Answers<M>> {
        let parameters = serde_json::to_value(ask)
            .map_err(|error| Fault::bug(format!("cannot write {}", M::NAME)).because(&error))?;
        Ok(Answers {
            raw: self.stream_raw(M::NAME, parameters).await?,
            method: PhantomData,
        })
    }

    /// As [`Client::stream`], by the method's name.
    ///
    /// # Errors
    ///
    /// The host cannot be asked.
    pub async fn stream_raw(
        mut self,
        method: &str,
        parameters: serde_json::Value,
    ) -> Result<RawAnswers> {
        self.send(method, parameters, true).await?;
        Ok(RawAnswers {
            client: self,
            method: method.to_owned(),
            ended: false,
        })
    }

    async fn send(
        &mut self,
        method: &str,
        parameters: serde_json::Value,
        more: bool,
    ) -> Result<()> {
        let request = Request {
            method: method.to_owned(),
            parameters,
            more,
            oneway: false,
        };
        let text = serde_json::to_string(&request)
            .map_err(|error| Fault::bug(format!("cannot write {method}")).because(&error))?;
        match write_frame(&mut self.to, text, limit::ADMIN_WRITE_S).await {
            Ok(()) => {
                self.owed = true;
                Ok(())
            }
            // A host that turns us away says why before it closes: that answer is still to be read.
            Err(FrameError::Broken(_)) => match self.receive(method, Some(1)).await {
                Err(fault) => Err(fault),
                Ok(_) => Err(self.lost(method, FrameError::Closed)),
            },
            Err(error) => Err(self.lost(method, error)),
        }
    }

    async fn receive(
        &mut self,
        method: &str,
        within_s: Option<u64>,
    ) -> Result<(serde_json::Value, bool)> {
        let next = self.frames.next(limit::ADMIN_CALL_S);
        let frame = match within_s {
            None => next.await,
            Some(within_s) => match tokio::time::timeout(Duration::from_secs(within_s), next).await
            {
                Ok(frame) => frame,
                Err(_) => {
                    let what = format!("{} did not answer {method} within {within_s} s", self.peer);
                    return Err(Fault::new(Kind::TryAgain, what)
                        .next("look at the host's log; the call may still have its effect"));
                }
            },
        };
        let frame = frame.map_err(|error| self.lost(method, error))?;
        let response: Response = serde_json::from_slice(&frame).map_err(|error| {
            Fault::bug(format!(
                "{} answered {method} with something else than Varlink",
                self.peer
            ))
            .because(&error)
        })?;
        self.owed = response.continues;
        match response.error {
            Some(error) => Err(fault_from_error(&error, response.parameters)),
            None => Ok((response.parameters, response.continues)),
        }
    }

    fn lost(&self, method: &str, error: FrameError) -> Fault {
        let gone = |what: String| {
            Fault::new(Kind::Unreachable, what).next("see whether the host still runs, and its log")
        };
        match error {
            FrameError::Closed => gone(format!("{} closed before it answered {method}", self.peer)),
            FrameError::Broken(error) => {
                gone(format!("lost {} during {method}", self.peer)).because(&error)
            }
            FrameError::TooLong => Fault::bug(format!(
                "{} answered {method} with too long a message",
                self.peer
            )),
            FrameError::TooSlow => gone(format!("{} stopped in the middle of {method}", self.peer)),
        }
    }
}

fn read_answer<M: Method>(answer: serde_json::Value) -> Result<M::Reply> {
    serde_json::from_value(answer).map_err(|error| {
        Fault::new(
            Kind::Bug,
            format!("the answer of {} is not as expected", M::NAME),
        )
        .because(&error)
        .next("use a massif of the same version as the host's")
    })
}

/// Answers of one call, one after another.
#[derive(Debug)]
pub struct Answers<M> {
    raw: RawAnswers,
    method: PhantomData<fn() -> M>,
}

impl<M: Method> Answers<M> {
    /// The next answer; `None` after the last. Waits as long as it takes. Cancelling it loses nothing.
    ///
    /// # Errors
    ///
    /// What the host says, or that it is gone.
    pub async fn next(&mut self) -> Result<Option<M::Reply>> {
        match self.raw.next().await? {
            Some(answer) => read_answer::<M>(answer).map(Some),
            None => Ok(None),
        }
    }
}

/// As [`Answers`], untyped.
#[derive(Debug)]
pub struct RawAnswers {
    client: Client,
    method: String,
    ended: bool,
}

impl RawAnswers {
    /// The next answer; `None` after the last.
    ///
    /// # Errors
    ///
    /// As [`Answers::next`].
    pub async fn next(&mut self) -> Result<Option<serde_json::Value>> {
        if self.ended {
            return Ok(None);
        }
        match self.client.receive(&self.method, None).await {
            Ok((answer, continues)) => {
                self.ended = !continues;
                Ok(Some(answer))
            }
            Err(fault) => {
                self.ended = true;
                Err(fault)
            }
        }
    }
}
