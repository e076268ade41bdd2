//! Names and numbers that the whole program shares, each a type of its own with one text form.
//! Parsing happens once, at the edge; inside there are no bare strings for these.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limit;

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct BadId {
    /// What was given, cut to a printable length.
    pub text: String,
    /// What would have been right, in words.
    pub expected: &'static str,
}

fn bad(text: &str, expected: &'static str) -> BadId {
    BadId {
        text: text.chars().take(80).collect(),
        expected,
    }
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let raw = text.as_bytes();
    if raw.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(raw.chunks_exact(2)) {
        let digit = |c: u8| (c as char).to_digit(16).filter(|_| !c.is_ascii_uppercase());
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(out)
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Fixed-width bytes whose text form is lower-case hexadecimal: text in JSON, bytes in rows and on the wire.
macro_rules! hex_type {
    ($(#[$doc:meta])* $name:ident, $len:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                from_hex(text).map($name).ok_or_else(|| bad(text, $expected))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; $len]>::deserialize(from).map($name)
                }
            }
        }
    };
}

// serde supports arrays up to 32 elements, which is the widest one here.
hex_type! {
    /// SHA-256 of some bytes: a blob, an artefact, a package, an upstream.
    Digest, 32, "a SHA-256 (64 lower-case hexadecimal digits)"
}
hex_type! {
    /// SHA-256 of a host's public key (its SPKI).
    HostId, 32, "a host id (64 lower-case hexadecimal digits)"
}
hex_type! {
    /// XXH3-128 of a file's content in canonical byte order, as layouts and indexes of stones hold it.
    ContentHash, 16, "an XXH3-128 (32 lower-case hexadecimal digits)"
}
hex_type! {
    /// A git commit id (SHA-1).
    CommitId, 20, "a full git commit id (40 lower-case hexadecimal digits)"
}

impl CommitId {
    /// The first ten digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

impl HostId {
    /// The first twelve digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

/// A number that the farm hands out in order.
macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                text.parse().map($name).map_err(|_| bad(text, $expected))
            }
        }
    };
}

number_type! {
    /// One recipe release to be built for one profile; handed out from 1 upwards, never reused.
    JobId, "a job number"
}
number_type! {
    /// A version of a channel; the first is 1.
    VersionId, "a version number"
}
number_type! {
    /// The place of an event in the farm's sequence; the first is 1.
    Seq, "a sequence number"
}

/// One try of a job on one builder: the fencing key that everything about the try carries. Text form `17.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The job.
    pub job: JobId,
    /// 1 for the first try.
    pub try_no: u32,
}

impl AttemptId {
    /// Between which all attempts of a job lie.
    pub fn all_of(job: JobId) -> std::ops::RangeInclusive<AttemptId> {
        let of = |try_no| AttemptId { job, try_no };
        of(0)..=of(u32::MAX)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.try_no)
    }
}

impl FromStr for AttemptId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let no = || bad(text, "an attempt (JOB.TRY, for example 17.2)");
        let (job, try_no) = text.split_once('.').ok_or_else(no)?;
        Ok(AttemptId {
            job: job.parse().map_err(|_| no())?,
            try_no: try_no.parse().map_err(|_| no())?,
        })
    }
}

/// A short name that people chose: cheap to clone, bounded, and safe in a path, a URL and on a screen.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let allowed: fn(char) -> bool = $allowed;
                let fits = !text.is_empty()
                    && text.len() <= limit::NAME_BYTES_MAX
                    && !text.starts_with(['.', '-'])
                    && text.chars().all(allowed);
                if fits { Ok($name(text.into())) } else { Err(bad(text, $expected)) }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+')
}

name_type! {
    /// A project: a git repository of recipes under the operator's name for it.
    ProjectName, "a project name (letters, digits, - _ . +)", plain
}
name_type! {
    /// A recipe's `name`: the source name, and the name of its main package.
    RecipeName, "a recipe name (letters, digits, - _ . +)", plain
}
name_type! {
    /// A package's name as clients ask for it.
    PackageName, "a package name (letters, digits, - _ . +)", plain
}
name_type! {
    /// A profile: a named build target.
    ProfileName, "a profile name (letters, digits, - _ . +)", plain
}
name_type! {
    /// A channel: a published repository.
    ChannelName, "a channel name (letters, digits, -)", |c| c.is_ascii_alphanumeric() || c == '-'
}
name_type! {
    /// A host's or a person's short name.
    HostName, "a host name (letters, digits, - _ .)", plain
}

/// A moment of the wall clock: milliseconds since 1970 in UTC. Text form RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub i64);

impl Stamp {
    /// Seconds from `earlier` to `self`; 0 if the clock went back.
    pub fn seconds_since(self, earlier: Stamp) -> f64 {
        (self.0 - earlier.0).max(0) as f64 / 1000.0
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl FromStr for Stamp {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let moment: jiff::Timestamp = text
            .parse()
            .map_err(|_| bad(text, "a time (RFC 3339, for example 2026-01-31T12:00:00Z)"))?;
        Ok(Stamp(moment.as_millisecond()))
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.collect_str(self)
        } else {
            self.0.serialize(to)
        }
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            String::deserialize(from)?
                .parse()
                .map_err(serde::de::Error::custom)
        } else {
            i64::deserialize(from).map(Stamp)
        }
    }
}

/// The present, handed to the core as a value: the wall clock for people, the monotonic one for leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock.
    pub wall: Stamp,
    /// Milliseconds of a clock that never goes back; its zero means nothing.
    pub mono_ms: u64,
}

/// A processor architecture, in the words of the stone format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
    /// 32-bit x86.
    X86,
}

impl Arch {
    /// The word used in stones, index paths and file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
            Arch::Riscv64 => "riscv64",
            Arch::X86 => "x86",
        }
    }

    /// The architecture that this program was compiled for.
    pub const OF_THIS_PROGRAM: Arch = if cfg!(target_arch = "aarch64") {
        Arch::Aarch64
    } else if cfg!(target_arch = "riscv64") {
        Arch::Riscv64
    } else if cfg!(target_arch = "x86") {
        Arch::X86
    } else {
        Arch::X86_64
    };
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Arch {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        [Arch::X86_64, Arch::Aarch64, Arch::Riscv64, Arch::X86]
            .into_iter()
            .find(|arch| arch.as_str() == text)
            .ok_or_else(|| bad(text, "an architecture (x86_64, aarch64, riscv64, x86)"))
    }
}

/// Reads a time span: `180`, `180s`, `3m`, `1h30m`, `2d`.
///
/// # Errors
///
/// A sentence that says how it is written.
pub fn parse_span(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("{text:?} is no time span; write 180, 180s, 3m, 1h30m or 2d");
    let mut total: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let mut chars = tail.chars();
        let factor = match chars.next() {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            Some(_) => return Err(wrong()),
        };
        total = number
            .checked_mul(factor)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(wrong)?;
        rest = chars.as_str();
    }
    Ok(std::time::Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_read_back_what_they_print_and_refuse_capitals() {
        let digest = Digest([0xab; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
        assert!("é".repeat(32).parse::<Digest>().is_err());
    }

    #[test]
    fn names_refuse_what_would_leave_a_directory() {
        for text in [
            "",
            "..",
            ".hidden",
            "-x",
            "a/b",
            "a b",
            "a\u{1b}[0m",
            &"x".repeat(limit::NAME_BYTES_MAX + 1),
        ] {
            assert!(text.parse::<RecipeName>().is_err(), "{text:?}");
        }
        assert!("gtk+-3.0".parse::<RecipeName>().is_ok());
        assert!(
            "x".repeat(limit::NAME_BYTES_MAX)
                .parse::<RecipeName>()
                .is_ok()
        );
    }

    #[test]
    fn stamps_are_rfc_3339_in_utc() {
        assert_eq!(
            Stamp(1_795_294_849_123).to_string(),
            "2026-11-21T21:00:49.123Z"
        );
        assert_eq!(
            "2026-11-21T21:00:49.123Z".parse(),
            Ok(Stamp(1_795_294_849_123))
        );
    }

    #[test]
    fn attempts_read_as_job_dot_try() {
        let attempt = AttemptId {
            job: JobId(17),
            try_no: 2,
        };
        assert_eq!(attempt.to_string().parse(), Ok(attempt));
        assert!("17".parse::<AttemptId>().is_err());
    }
}
