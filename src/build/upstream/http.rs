//! Downloads over HTTP: bounded, watched, resumed, tried again where that can help.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{Progress, Told, disk};
use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// Why one try ended, and whether another may help.
enum Ended {
    ForGood(Fault),
    ForNow(Fault),
}

/// Downloads into `part`, going on behind what lies there, until it is whole.
pub(super) async fn download(url: &str, part: &Path, stall_s: u64, told: Told<'_>) -> Result<()> {
    let tries = async {
        let mut wait = Duration::from_millis(500);
        let mut try_no = 1;
        loop {
            match once(url, part, stall_s, told).await {
                Ok(()) => return Ok(()),
                Err(Ended::ForGood(fault)) => return Err(fault),
                Err(Ended::ForNow(fault)) if try_no >= limit::UPSTREAM_TRIES_MAX => {
                    return Err(fault);
                }
                Err(Ended::ForNow(_)) => tokio::time::sleep(wait).await,
            }
            try_no += 1;
            wait *= 3;
        }
    };
    match timeout(Duration::from_secs(limit::UPSTREAM_DEADLINE_S), tries).await {
        Ok(result) => result,
        Err(_) => Err(Fault::new(
            Kind::Upstream,
            format!(
                "{url} did not arrive within {} s",
                limit::UPSTREAM_DEADLINE_S
            ),
        )
        .next("try again later, or give a mirror that has it")),
    }
}

async fn once(
    url: &str,
    part: &Path,
    stall_s: u64,
    told: Told<'_>,
) -> std::result::Result<(), Ended> {
    let have = tokio::fs::metadata(part).await.map_or(0, |file| file.len());
    let mut request = client().map_err(Ended::ForGood)?.get(url);
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
    }
    let silent = || Ended::ForNow(no_answer(url, stall_s));
    let response = match timeout(Duration::from_secs(stall_s), request.send()).await {
        Err(_) => return Err(silent()),
        Ok(Err(error)) => return Err(unreachable(url, &error)),
        Ok(Ok(response)) => response,
    };
    let (mut bytes, of) = match accept(url, &response, have)? {
        Some(start) => start,
        // The server says that there is nothing behind what we have.
        None => return Ok(()),
    };
    let mut file = open(part, bytes)
        .await
        .map_err(|error| Ended::ForGood(disk(part, &error)))?;
    let mut response = response;
    loop {
        let chunk = match timeout(Duration::from_secs(stall_s), response.chunk()).await {
            Err(_) => return Err(silent()),
            Ok(Err(error)) => return Err(unreachable(url, &error)),
            Ok(Ok(None)) => break,
            Ok(Ok(Some(chunk))) => chunk,
        };
        bytes += chunk.len() as u64;
        if bytes > limit::UPSTREAM_BYTES_MAX {
            return Err(Ended::ForGood(too_large(url)));
        }
        file.write_all(&chunk)
            .await
            .map_err(|error| Ended::ForGood(disk(part, &error)))?;
        told(Progress { bytes, of });
    }
    file.sync_all()
        .await
        .map_err(|error| Ended::ForGood(disk(part, &error)))?;
    if of.is_some_and(|of| bytes < of) {
        return Err(Ended::ForNow(Fault::new(
            Kind::Network,
            format!("{url} broke off after {bytes} bytes"),
        )));
    }
    Ok(())
}

async fn open(part: &Path, at: u64) -> std::io::Result<tokio::fs::File> {
    let mut options = tokio::fs::OpenOptions::new();
    options.create(true).write(true).truncate(at == 0);
    if at > 0 {
        options = tokio::fs::OpenOptions::new();
        options.append(true);
    }
    options.open(part).await
}

/// From which byte the answer goes on and how many there are in all; `None`: nothing is missing.
fn accept(
    url: &str,
    response: &Response,
    have: u64,
) -> std::result::Result<Option<(u64, Option<u64>)>, Ended> {
    let status = response.status();
    let length = response.content_length();
    let (start, of) = match status {
        StatusCode::PARTIAL_CONTENT if starts_at(response) == Some(have) => {
            (have, length.map(|length| length.saturating_add(have)))
        }
        StatusCode::OK => (0, length),
        StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => return Ok(None),
        _ => {
            let fault = Fault::new(Kind::Upstream, format!("{url} answered {status}"))
                .next("look whether the address is still right; name another, or give a mirror that has it");
            let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return Err(if passing {
                Ended::ForNow(fault)
            } else {
                Ended::ForGood(fault)
            });
        }
    };
    if of.is_some_and(|of| of > limit::UPSTREAM_BYTES_MAX) {
        return Err(Ended::ForGood(too_large(url)));
    }
    Ok(Some((start, of)))
}

/// `bytes 100-199/200` starts at 100.
fn starts_at(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .parse()
        .ok()
}

fn too_large(url: &str) -> Fault {
    Fault::new(
        Kind::Upstream,
        format!(
            "{url} is larger than the {} bytes that an upstream may have",
            limit::UPSTREAM_BYTES_MAX
        ),
    )
}

fn no_answer(url: &str, stall_s: u64) -> Fault {
    Fault::new(Kind::Network, format!("{url} sent nothing for {stall_s} s"))
        .next("try again later, or give a mirror that has it")
}

fn unreachable(url: &str, error: &reqwest::Error) -> Ended {
    let fault = Fault::new(Kind::Network, format!("cannot fetch {url}"))
        .because(error)
        .next("look at this host's network, or give a mirror that has it (`--mirror DIR|URL`)");
    if error.is_builder() || error.is_redirect() {
        Ended::ForGood(fault)
    } else {
        Ended::ForNow(fault)
    }
}

/// One client for all: connections and the system's certificates are shared.
fn client() -> Result<&'static Client> {
    static CLIENT: OnceLock<std::result::Result<Client, String>> = OnceLock::new();
    let made = CLIENT.get_or_init(|| {
        // Somebody else of this process may have chosen the provider already: the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .user_agent(concat!("massif/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(20))
            .build()
            .map_err(|error| format!("{error:?}"))
    });
    made.as_ref().map_err(|why| {
        Fault::new(Kind::Operator, format!("cannot set up HTTPS: {why}"))
            .next("install the system's certificates (ca-certificates)")
    })
}
