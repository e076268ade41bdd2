//! A host's configuration: what `massif.toml` may say, its defaults, and what `massif up` was told on top. Text in,
//! values out; nobody reads files here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fault::{Fault, Kind, Result, nearest};
use crate::id::{Arch, BadId, ChannelName, HostName, ProfileName};
use crate::limit;
use crate::model::{Base, Executor, IsaLevel, Profile, Remote, Role};
use crate::recipe::Toolchain;

/// Name of the configuration within a state directory.
pub const FILE: &str = "massif.toml";
/// Where a host serves packages unless told otherwise: on this machine only.
pub const HTTP_DEFAULT: &str = "127.0.0.1:7480";
/// Where a host listens for other hosts unless told otherwise: on this machine only.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:7443";

/// How many builds a host runs at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slots {
    /// As many as its cores and memory are good for.
    Auto,
    /// So many; 0 builds nothing.
    Count(u32),
}

impl FromStr for Slots {
    type Err = BadId;
    fn from_str(text: &str) -> std::result::Result<Self, BadId> {
        if text == "auto" {
            return Ok(Slots::Auto);
        }
        match text.parse() {
            Ok(count) if count <= limit::SLOTS_MAX => Ok(Slots::Count(count)),
            _ => Err(BadId {
                text: text.chars().take(80).collect(),
                expected: "a number of slots (`auto`, or 0 to 1024)",
            }),
        }
    }
}

impl Serialize for Slots {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Slots::Auto => to.serialize_str("auto"),
            Slots::Count(count) => to.serialize_u32(*count),
        }
    }
}

impl<'de> Deserialize<'de> for Slots {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Count(u32),
            Word(String),
        }
        let text = match Either::deserialize(from)? {
            Either::Count(count) => count.to_string(),
            Either::Word(word) => word,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What `massif.toml` says. Every key may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The host's name in the farm; the machine's own unless given.
    pub name: Option<HostName>,
    /// What this host is.
    pub roles: Vec<Role>,
    /// Where other hosts reach it (UDP).
    pub listen: SocketAddr,
    /// Where clients fetch packages (TCP).
    pub http: SocketAddr,
    /// Builds at once.
    pub slots: Slots,
    /// Directories and URLs that are asked for upstreams first, by hash.
    pub mirrors: Vec<String>,
    /// Seconds between two looks at a project's repository.
    pub poll_s: u64,
    /// Seconds that a builder may be silent before its attempts go elsewhere.
    pub lease_s: u64,
    /// Jobs that are over and that summit remembers beside the newest ones of each recipe; the oldest go first.
    pub history_jobs: usize,
    /// Bytes a second that this host sends to others at most; `None`: as fast as it goes.
    pub upload_bytes_s: Option<u64>,
    /// How this host decides how fast to send on a path that loses packets.
    pub congestion: Congestion,
    /// What builds may take of this machine.
    pub builder: BuilderConfig,
    /// Build targets, added at start when they are not known yet.
    #[serde(rename = "profile")]
    pub profiles: Vec<ProfileConfig>,
}

impl Default for Config {
    fn default() -> Config {
        let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Config {
            name: None,
            roles: vec![Role::Summit, Role::Avalanche, Role::Vessel],
            listen: LISTEN_DEFAULT.parse().unwrap_or(here(7443)),
            http: HTTP_DEFAULT.parse().unwrap_or(here(7480)),
            slots: Slots::Auto,
            mirrors: Vec::new(),
            poll_s: limit::POLL_S,
            lease_s: limit::LEASE_S,
            history_jobs: limit::HISTORY_JOBS,
            upload_bytes_s: None,
            congestion: Congestion::Cubic,
            builder: BuilderConfig::default(),
            profiles: Vec::new(),
        }
    }
}

/// How a sender learns what a path carries. It counts for what this host sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Congestion {
    /// By losses, which are taken for full queues: fair to neighbours, and slow where packets are lost for other reasons.
    #[default]
    Cubic,
    /// By the speed at which packets arrive, whatever is lost on the way. Young in the library that does it.
    Bbr,
}

/// The `[builder]` of the configuration. Every key may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuilderConfig {
    /// What it builds for, when that is not this machine's architecture: whoever sets it sees to it that such programs run
    /// here, by an emulator that the kernel knows.
    pub arch: Option<Arch>,
    /// The levels that run here, instead of those that the processor says: `x86_64`, `x86_64-v3x`, `x86_64-v4`.
    pub isa: Option<Vec<String>>,
    /// Memory of all processes of a slot, in MiB; its share of the machine's, at least 2 GiB, unless given.
    pub slot_memory_mib: Option<u64>,
    /// Processes and threads of a slot.
    pub slot_processes: u64,
    /// What is kept free of each file system, in MiB.
    pub disk_floor_mib: u64,
    /// Inodes that are kept free of each file system.
    pub inode_floor: u64,
    /// Silence without processor time, input and output after which an attempt is stalled, at most, in seconds.
    pub silence_s_max: u64,
    /// Logs that are kept, in MiB, and attempts whose logs are kept; the oldest go first.
    pub logs_mib_max: u64,
    /// The same as a number of attempts.
    pub logs_max: u64,
    /// The first SIGTERM drains: running builds are finished, new ones refused. The second one stops.
    pub drain_on_term: bool,
    /// The distribution's own tool, for profiles with `executor = "boulder"`.
    pub boulder: String,
    /// What that tool does about a recipe's committed manifest.
    pub boulder_verify: VerifyPolicy,
}

/// What is done about a recipe's committed manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyPolicy {
    /// Nothing.
    Off,
    /// A difference is a line in the log.
    Warn,
    /// A difference ends the build.
    Require,
}

impl Default for BuilderConfig {
    fn default() -> BuilderConfig {
        BuilderConfig {
            arch: None,
            isa: None,
            slot_memory_mib: None,
            slot_processes: limit::SLOT_PROCESSES_MAX,
            disk_floor_mib: limit::DISK_FLOOR_BYTES >> 20,
            inode_floor: limit::INODE_FLOOR,
            silence_s_max: limit::SILENCE_S_MAX,
            logs_mib_max: limit::LOGS_BYTES_MAX >> 20,
            logs_max: limit::LOGS_MAX,
            drain_on_term: false,
            boulder: "boulder".into(),
            boulder_verify: VerifyPolicy::Warn,
        }
    }
}

/// One `[[profile]]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileConfig {
    /// Its name.
    pub name: ProfileName,
    /// Its architecture; this machine's unless given.
    #[serde(default = "this_arch")]
    pub arch: Arch,
    /// `x86_64`, `x86_64-v3x` or `x86_64-v4`; the architecture's baseline unless given.
    #[serde(default)]
    pub isa: Option<String>,
    /// The compiler family for recipes that name none.
    #[serde(default = "gnu")]
    pub toolchain: Toolchain,
    /// `native` or `boulder`.
    #[serde(default = "native")]
    pub executor: Executor,
    /// `host`, `stones`, or the absolute path of a bootstrapped root.
    #[serde(default = "host")]
    pub base: String,
    /// Where its packages go.
    #[serde(default = "main_channel")]
    pub channel: Option<ChannelName>,
    /// Indexes that dependencies may come from.
    #[serde(default, rename = "remote")]
    pub remotes: Vec<RemoteConfig>,
    /// A phase that runs longer is given up, in seconds.
    #[serde(default)]
    pub phase_s_max: Option<u64>,
    /// Bytes that a log takes before only its tail is kept.
    #[serde(default = "log_bytes_max")]
    pub log_bytes_max: u64,
}

/// One `[[profile.remote]]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// Its name.
    pub name: String,
    /// URL or path of a `stone.index`.
    pub url: String,
    /// The higher the sooner it is asked.
    #[serde(default)]
    pub priority: i32,
}

fn this_arch() -> Arch {
    Arch::OF_THIS_PROGRAM
}
fn gnu() -> Toolchain {
    Toolchain::Gnu
}
fn native() -> Executor {
    Executor::Native
}
fn host() -> String {
    Base::Host.to_string()
}
fn main_channel() -> Option<ChannelName> {
    "main".parse().ok()
}
fn log_bytes_max() -> u64 {
    limit::LOG_BYTES_MAX
}

/// The word of a processor level on an architecture.
pub fn isa_word(arch: Arch, level: IsaLevel) -> String {
    match level {
        IsaLevel::Baseline => arch.to_string(),
        IsaLevel::V3x => format!("{arch}-v3x"),
        IsaLevel::V4 => format!("{arch}-v4"),
    }
}

/// The processor level that a word means.
///
/// # Errors
///
/// A word that is none; the levels above the baseline exist on x86_64 only.
pub fn isa_level(arch: Arch, word: &str) -> Result<IsaLevel> {
    let levels: &[IsaLevel] = match arch {
        Arch::X86_64 => &[IsaLevel::Baseline, IsaLevel::V3x, IsaLevel::V4],
        Arch::Aarch64 | Arch::Riscv64 | Arch::X86 => &[IsaLevel::Baseline],
    };
    let found = levels.iter().find(|level| isa_word(arch, **level) == word);
    found.copied().ok_or_else(|| {
        let words: Vec<String> = levels.iter().map(|level| isa_word(arch, *level)).collect();
        Fault::new(
            Kind::Usage,
            format!("{word:?} is no instruction set level of {arch}"),
        )
        .next(format!("use one of {}", words.join(", ")))
    })
}

impl ProfileConfig {
    /// The profile that this describes.
    ///
    /// # Errors
    ///
    /// A level or base that does not exist.
    pub fn to_profile(&self) -> Result<Profile> {
        let level = match &self.isa {
            None => IsaLevel::Baseline,
            Some(word) => isa_level(self.arch, word)?,
        };
        let bad = |error: BadId| Fault::new(Kind::Usage, format!("profile {}: {error}", self.name));
        Ok(Profile {
            name: self.name.clone(),
            arch: self.arch,
            level,
            toolchain: self.toolchain,
            executor: self.executor,
            base: self.base.parse().map_err(bad)?,
            channel: match &self.channel {
                Some(channel) => channel.clone(),
                None => "main".parse().map_err(bad)?,
            },
            remotes: self
                .remotes
                .iter()
                .map(|remote| Remote {
                    name: remote.name.clone(),
                    uri: remote.url.clone(),
                    priority: remote.priority,
                })
                .collect(),
            phase_s_max: self.phase_s_max,
            log_bytes_max: self.log_bytes_max,
        })
    }
}

impl Config {
    /// Reads the text of a configuration; `file` is its name for error messages.
    ///
    /// # Errors
    ///
    /// What is wrong with line, column and cure.
    pub fn parse(text: &str, file: &str) -> Result<Config> {
        let config: Config = toml::from_str(text).map_err(|error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            Fault::new(
                Kind::Operator,
                error
                    .message()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            )
            .next(cure(error.message()))
            .at(file, line, column)
        })?;
        config.check().map_err(|fault| fault.at(file, 0, 0))?;
        Ok(config)
    }

    /// Refuses numbers that cannot work.
    ///
    /// # Errors
    ///
    /// The first such number.
    pub fn check(&self) -> Result<()> {
        let bad = |what: String, next: &str| Err(Fault::new(Kind::Operator, what).next(next));
        if self.roles.is_empty() || self.roles.contains(&Role::Operator) {
            return bad(
                "roles must name one or more of summit, avalanche, vessel".into(),
                "leave `roles` out for all three",
            );
        }
        if self.poll_s == 0 {
            return bad(
                "poll_s = 0 would never rest".into(),
                "give a second or more",
            );
        }
        if self.lease_s == 0 {
            return bad(
                "lease_s = 0 would end every build at once".into(),
                "give a second or more",
            );
        }
        if self.builder.silence_s_max == 0 || self.builder.slot_processes < 16 {
            return bad(
                "[builder] silence_s_max = 0 or slot_processes below 16 would end every build"
                    .into(),
                "leave them out for the defaults",
            );
        }
        let arch = self.builder.arch.unwrap_or(Arch::OF_THIS_PROGRAM);
        for word in self.builder.isa.iter().flatten() {
            isa_level(arch, word)?;
        }
        self.profiles
            .iter()
            .try_for_each(|profile| profile.to_profile().map(drop))
    }

    /// The text of a configuration with these roles, as `massif init` writes it.
    pub fn template(roles: &[Role]) -> String {
        let words: Vec<String> = roles
            .iter()
            .map(|role| format!("{:?}", role.as_str()))
            .collect();
        format!(
            r#"# What this host is. Every key may be left out; what stands here are the defaults or examples.
roles = [{}]

# The name of this host in the farm; its host name unless given.
# name = "east"

# Where other hosts reach it (UDP), and where clients fetch packages (TCP).
listen = "0.0.0.0:7443"
http = "0.0.0.0:7480"

# Builds at once: "auto" or a number; 0 builds nothing.
slots = "auto"

# Directories and URLs that are asked for upstreams first, by SHA-256.
mirrors = []

# Seconds between two looks at a project's repository.
poll_s = {}

# Seconds that a builder may be silent before its attempts go elsewhere.
lease_s = {}

# Jobs that are over and remembered beside the newest ones of each recipe; the log of events has all of them.
history_jobs = {}

# Bytes a second that are sent to other hosts at most; without it: as fast as it goes.
# upload_bytes_s = 10000000

# How fast to send where packets are lost: "cubic" takes a loss for a full queue, "bbr" does not (for radio and far links).
# congestion = "bbr"

# What builds may take of this machine; see the README's page for the owner of a builder.
# [builder]
# isa = ["x86_64"]         # levels to build for, fewer than the processor has
# slot_memory_mib = 8192   # all processes of a slot together
# slot_processes = {}
# disk_floor_mib = {}     # kept free of each file system
# drain_on_term = false    # the first SIGTERM finishes running builds

# Build targets. Without one: this machine's architecture, its own /usr as base, the channel "main".
# [[profile]]
# name = "default"
# arch = "x86_64"
# base = "host"            # or "stones", or the absolute path of a bootstrapped root
# channel = "main"
# [[profile.remote]]
# name = "unstable"
# url = "https://example.org/stone.index"
# priority = 10
"#,
            words.join(", "),
            limit::POLL_S,
            limit::LEASE_S,
            limit::HISTORY_JOBS,
            limit::SLOT_PROCESSES_MAX,
            limit::DISK_FLOOR_BYTES >> 20
        )
    }
}

/// Line and column, from 1, of a byte of the text.
fn position(text: &str, byte: usize) -> (u32, u32) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (narrow(line), narrow(column))
}

/// The next step for an unknown key: the nearest known one. The parser lists the known ones in backticks.
fn cure(message: &str) -> String {
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match words.split_first() {
        Some((wrong, known)) if message.starts_with("unknown") => {
            match nearest(wrong, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            }
        }
        _ => String::new(),
    }
}

/// All that a host needs to know to start: the configuration with what the command line said on top.
#[derive(Debug, Clone, PartialEq)]
pub struct HostOptions {
    /// The state directory.
    pub dir: PathBuf,
    /// The admin socket's path.
    pub socket: PathBuf,
    /// The configuration.
    pub config: Config,
    /// What stands in front of the host.
    pub front: Front,
}

/// What a person sees of a host that runs in the foreground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// One `ready` line, then the log.
    Headless,
    /// The dashboard.
    Dashboard,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_read_back() {
        let config = Config::parse(&Config::template(&[Role::Avalanche]), FILE).unwrap();
        assert_eq!(config.roles, [Role::Avalanche]);
        assert_eq!(config.slots, Slots::Auto);
        assert_eq!(Config::parse("", FILE).unwrap(), Config::default());
    }

    #[test]
    fn mistakes_are_named_with_their_line_and_cure() {
        for (text, expected) in [
            (
                "slots = 2\npol_s = 3\n",
                "massif.toml:2:1: unknown field `pol_s`",
            ),
            ("pol_s = 3", "did you mean `poll_s`?"),
            ("slots = \"many\"", "is not a number of slots"),
            ("slots = 5000", "0 to 1024"),
            ("listen = \"here\"", "massif.toml:1:10: "),
            ("poll_s = 0", "would never rest"),
            ("roles = []", "roles must name"),
            ("[[profile]]\nname = \"p\"\nbase = \"x\"", "is not a base"),
            (
                "[[profile]]\nname = \"p\"\nisa = \"x86_64-v9\"",
                "use one of x86_64, x86_64-v3x, x86_64-v4",
            ),
        ] {
            let fault = Config::parse(text, FILE).unwrap_err();
            assert!(fault.to_string().contains(expected), "{text:?}: {fault}");
        }
    }

    #[test]
    fn profiles_have_the_laptops_defaults() {
        let config = Config::parse("[[profile]]\nname = \"p\"\n", FILE).unwrap();
        let profile = config.profiles[0].to_profile().unwrap();
        let laptop = Profile::laptop("p".parse().unwrap(), "main".parse().unwrap());
        assert_eq!(profile, laptop);
    }
}
