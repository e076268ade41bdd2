//! One request to one answer. What is asked for is decided by pure functions; the file is opened beneath the served
//! directory by the kernel, so neither `..` nor a link can lead out of it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::body::FileBody;

/// Bytes of a path after decoding.
const PATH_BYTES_MAX: usize = 2_048;

/// What is known of a file that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Served {
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970.
    changed_ns: i128,
}

impl Served {
    /// Served files are replaced by rename, so another content is another inode or another time.
    fn etag(&self) -> String {
        format!("\"{:x}-{:x}-{:x}\"", self.inode, self.size, self.changed_ns)
    }

    /// In whole seconds, as HTTP has it.
    fn changed_s(&self) -> i64 {
        self.changed_ns.div_euclid(1_000_000_000) as i64
    }
}

/// What the conditions and the range of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    /// From, up to (exclusive).
    Range(u64, u64),
    Unchanged,
    ConditionFailed,
    OutOfRange,
}

pub(super) async fn answer<B>(root: &Arc<OwnedFd>, request: &Request<B>) -> Response<FileBody> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED);
        refused
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let Some(path) = served_path(request.uri().path()) else {
        return plain(StatusCode::NOT_FOUND);
    };
    let opened = {
        let (root, path) = (Arc::clone(root), path.clone());
        tokio::task::spawn_blocking(move || open(&root, &path)).await
    };
    let (file, served) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(status)) => return plain(status),
        Err(_) => return plain(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let part = choose(&served, request.headers());
    respond(&path, file, &served, part, request.method() == Method::HEAD)
}

/// The path below the served directory; `None`: nothing of that name is ever served.
fn served_path(raw: &str) -> Option<String> {
    let raw = raw.strip_prefix('/')?;
    if raw.len() > 3 * PATH_BYTES_MAX {
        return None;
    }
    let mut segments = Vec::new();
    for segment in raw.split('/') {
        // Decoded after it was cut at slashes, so a coded slash is part of a name and refused below.
        let name = decode(segment)?;
        let hidden = name.starts_with('.');
        if name.is_empty() || hidden || name.contains(['/', '\0', '\\']) {
            return None;
        }
        segments.push(name);
    }
    let path = segments.join("/");
    (path.len() <= PATH_BYTES_MAX).then_some(path)
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        rest = tail;
        let digit = |byte: u8| (byte as char).to_digit(16);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
    }
    String::from_utf8(bytes).ok()
}

fn open(root: &OwnedFd, path: &str) -> Result<(File, Served), StatusCode> {
    // Without NONBLOCK somebody's fifo in the directory would hold a thread.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    let opened = loop {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            // Somebody renamed a directory on the way; the kernel wants it tried again.
            Err(rustix::io::Errno::AGAIN) if tries < 8 => tries += 1,
            other => break other,
        }
    };
    let file = File::from(opened.map_err(|error| match error {
        rustix::io::Errno::MFILE | rustix::io::Errno::NFILE | rustix::io::Errno::NOMEM => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        rustix::io::Errno::IO => StatusCode::INTERNAL_SERVER_ERROR,
        // Missing, a link that leads out, no right to read: to a client all the same.
        _ => StatusCode::NOT_FOUND,
    })?);
    let found = file
        .metadata()
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    if !found.is_file() {
        return Err(StatusCode::NOT_FOUND);
    }
    let served = Served {
        inode: found.ino(),
        size: found.len(),
        changed_ns: i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
    };
    Ok((file, served))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// RFC 9110, 13.2.2: the order in which conditions count.
fn choose(served: &Served, headers: &HeaderMap) -> Part {
    let etag = served.etag();
    let date = |name| text(headers, name).and_then(parse_date);
    if let Some(wanted) = text(headers, header::IF_MATCH) {
        if !names(wanted, &etag, false) {
            return Part::ConditionFailed;
        }
    } else if date(header::IF_UNMODIFIED_SINCE).is_some_and(|since| served.changed_s() > since) {
        return Part::ConditionFailed;
    }
    if let Some(known) = text(headers, header::IF_NONE_MATCH) {
        if names(known, &etag, true) {
            return Part::Unchanged;
        }
    } else if date(header::IF_MODIFIED_SINCE).is_some_and(|since| served.changed_s() <= since) {
        return Part::Unchanged;
    }
    let Some(range) = text(headers, header::RANGE) else {
        return Part::All;
    };
    if let Some(condition) = text(headers, header::IF_RANGE) {
        let holds = if condition.contains('"') {
            condition.trim() == etag
        } else {
            parse_date(condition) == Some(served.changed_s())
        };
        if !holds {
            return Part::All;
        }
    }
    parse_range(range, served.size)
}

/// Whether a list of entity tags names this one.
fn names(list: &str, etag: &str, weak_counts: bool) -> bool {
    list.split(',').map(str::trim).any(|one| {
        one == "*" || one == etag || (weak_counts && one.strip_prefix("W/") == Some(etag))
    })
}

/// One range. Several, or what we do not understand, are answered with the whole file, as RFC 9110, 14.2 allows.
fn parse_range(range: &str, size: u64) -> Part {
    let number = |text: &str| -> Option<Option<u64>> {
        if text.is_empty() {
            return Some(None);
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than a number has is beyond every file.
        digits.then(|| Some(text.parse().unwrap_or(u64::MAX)))
    };
    let Some((first, last)) = range
        .trim()
        .strip_prefix("bytes=")
        .and_then(|one| one.split_once('-'))
    else {
        return Part::All;
    };
    let (Some(first), Some(last)) = (number(first.trim()), number(last.trim())) else {
        return Part::All;
    };
    match (first, last) {
        (None, None) => Part::All,
        (None, Some(0)) => Part::OutOfRange,
        (None, Some(_)) if size == 0 => Part::OutOfRange,
        (None, Some(tail)) => Part::Range(size.saturating_sub(tail), size),
        (Some(first), Some(last)) if last < first => Part::All,
        (Some(first), _) if first >= size => Part::OutOfRange,
        (Some(first), None) => Part::Range(first, size),
        (Some(first), Some(last)) => Part::Range(first, last.saturating_add(1).min(size)),
    }
}

fn parse_date(text: &str) -> Option<i64> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    parser
        .parse_timestamp(text.trim())
        .ok()
        .map(jiff::Timestamp::as_second)
}

fn print_date(seconds: i64) -> Option<HeaderValue> {
    let moment = jiff::Timestamp::from_second(seconds).ok()?;
    let text = jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&moment)
        .ok()?;
    HeaderValue::from_str(&text).ok()
}

/// Files in the pool and old indexes never change under their name; everything else is asked for anew.
fn caching(path: &str) -> &'static str {
    if path
        .split('/')
        .any(|segment| segment == "pool" || segment == "history")
    {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json") => "application/json",
        Some("txt" | "jsonc" | "toml" | "yaml" | "log" | "minisig" | "sha256") => {
            "text/plain; charset=utf-8"
        }
        Some("html") => "text/html; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn plain(status: StatusCode) -> Response<FileBody> {
    let mut response = Response::new(FileBody::empty());
    *response.status_mut() = status;
    response
}

fn respond(
    path: &str,
    file: File,
    served: &Served,
    part: Part,
    head_only: bool,
) -> Response<FileBody> {
    let (status, from, to) = match part {
        Part::All => (StatusCode::OK, 0, served.size),
        Part::Range(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
        Part::Unchanged => (StatusCode::NOT_MODIFIED, 0, 0),
        Part::ConditionFailed => (StatusCode::PRECONDITION_FAILED, 0, 0),
        Part::OutOfRange => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let body = if head_only {
        FileBody::empty()
    } else {
        FileBody::new(file, from, to)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::ACCEPT_RANGES, "bytes");
    match part {
        Part::OutOfRange => set(header::CONTENT_RANGE, &format!("bytes */{}", served.size)),
        Part::Range(from, to) => {
            set(
                header::CONTENT_RANGE,
                &format!("bytes {from}-{}/{}", to.saturating_sub(1), served.size),
            );
        }
        Part::All | Part::Unchanged | Part::ConditionFailed => {}
    }
    if matches!(part, Part::OutOfRange | Part::ConditionFailed) {
        return response;
    }
    set(header::ETAG, &served.etag());
    set(header::CACHE_CONTROL, caching(path));
    if part != Part::Unchanged {
        set(header::CONTENT_TYPE, content_type(path));
        set(header::CONTENT_LENGTH, &(to - from).to_string());
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    }
    if let Some(date) = print_date(served.changed_s()) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_lead_out_or_list_are_never_served() {
        for raw in [
            "/",
            "",
            "/a/",
            "//a",
            "/a//b",
            "/..",
            "/../a",
            "/a/../b",
            "/%2e%2e/a",
            "/..%2fa",
            "/a%2fb",
            "/.new-x",
            "/a/.hidden",
            "/a%00b",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%ff",
            "/a\\b",
            "x",
        ] {
            assert_eq!(served_path(raw), None, "{raw}");
        }
        assert_eq!(
            served_path(&format!("/{}", "a".repeat(PATH_BYTES_MAX + 1))),
            None
        );
        assert_eq!(
            served_path("/main/pool/v0/h/gtk%2B-3.stone").unwrap(),
            "main/pool/v0/h/gtk+-3.stone"
        );
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        let table = [
            ("bytes=0-", 10, Part::Range(0, 10)),
            ("bytes=0-0", 10, Part::Range(0, 1)),
            ("bytes=2-5", 10, Part::Range(2, 6)),
            ("bytes=2-99", 10, Part::Range(2, 10)),
            ("bytes=9-", 10, Part::Range(9, 10)),
            ("bytes=-3", 10, Part::Range(7, 10)),
            ("bytes=-30", 10, Part::Range(0, 10)),
            ("bytes=10-", 10, Part::OutOfRange),
            ("bytes=-0", 10, Part::OutOfRange),
            ("bytes=0-", 0, Part::OutOfRange),
            ("bytes=-1", 0, Part::OutOfRange),
            ("bytes=99999999999999999999999-", 10, Part::OutOfRange),
            ("bytes=0-99999999999999999999999", 10, Part::Range(0, 10)),
            ("bytes=5-2", 10, Part::All),
            ("bytes=0-1,3-4", 10, Part::All),
            ("bytes=-", 10, Part::All),
            ("bytes=a-b", 10, Part::All),
            ("bytes=+1-2", 10, Part::All),
            ("lines=1-2", 10, Part::All),
            ("", 10, Part::All),
        ];
        for (range, size, wanted) in table {
            assert_eq!(parse_range(range, size), wanted, "{range} of {size}");
        }
    }

    #[test]
    fn conditions_count_in_the_order_of_the_standard() {
        let served = Served {
            inode: 1,
            size: 10,
            changed_ns: 1_000_000_000_500_000_000,
        };
        let etag = served.etag();
        let date = print_date(1_000_000_000)
            .unwrap()
            .to_str()
            .unwrap()
            .to_string();
        assert_eq!(date, "Sun, 09 Sep 2001 01:46:40 GMT");
        let later = "Mon, 10 Sep 2001 01:46:40 GMT".to_string();
        let earlier = "Sat, 08 Sep 2001 01:46:40 GMT".to_string();
        let weak = format!("W/{etag}");
        let list = format!("\"x\", {etag}");
        let range = "bytes=1-2".to_string();
        let part = Part::Range(1, 3);
        let table: Vec<(Vec<(HeaderName, &String)>, Part)> = vec![
            (vec![], Part::All),
            (vec![(header::IF_NONE_MATCH, &etag)], Part::Unchanged),
            (vec![(header::IF_NONE_MATCH, &weak)], Part::Unchanged),
            (vec![(header::IF_NONE_MATCH, &list)], Part::Unchanged),
            (
                vec![
                    (header::IF_NONE_MATCH, &date),
                    (header::IF_MODIFIED_SINCE, &later),
                ],
                Part::All,
            ),
            (vec![(header::IF_MODIFIED_SINCE, &date)], Part::Unchanged),
            (vec![(header::IF_MODIFIED_SINCE, &earlier)], Part::All),
            (vec![(header::IF_MODIFIED_SINCE, &range)], Part::All),
            (vec![(header::IF_MATCH, &weak)], Part::ConditionFailed),
            (
                vec![(header::IF_MATCH, &etag), (header::RANGE, &range)],
                part,
            ),
            (
                vec![(header::IF_UNMODIFIED_SINCE, &earlier)],
                Part::ConditionFailed,
            ),
            (vec![(header::IF_UNMODIFIED_SINCE, &date)], Part::All),
            (
                vec![(header::RANGE, &range), (header::IF_RANGE, &etag)],
                part,
            ),
            (
                vec![(header::RANGE, &range), (header::IF_RANGE, &date)],
                part,
            ),
            (
                vec![(header::RANGE, &range), (header::IF_RANGE, &later)],
                Part::All,
            ),
            (
                vec![(header::RANGE, &range), (header::IF_RANGE, &weak)],
                Part::All,
            ),
            (
                vec![(header::RANGE, &range), (header::IF_NONE_MATCH, &etag)],
                Part::Unchanged,
            ),
        ];
        for (given, wanted) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in &given {
                headers.insert(name, value.parse().unwrap());
            }
            assert_eq!(choose(&served, &headers), wanted, "{given:?}");
        }
    }
}
