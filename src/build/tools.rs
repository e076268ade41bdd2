//! What a builder's own base brings to builds: its system and tools, as build roots see them below their packages. Looked at again
//! only when one of their files is another one.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ReadCache};
use sha2::Digest as _;

use super::base::Base;
use super::mask_owners::triplet;
use crate::fault::Result;
use crate::id::Digest;
use crate::model::{BasePart, BaseSeen};

/// A tool of the machine: its name here, where it lies below `/usr` (the first place that has it counts; `*` is the machine's
/// triplet), and whether it is asked for its version.
type Tool = (&'static str, &'static [&'static str], bool);

/// Those whose versions show in what is built: they translate, link, split and pack, or write files of their own.
const TOOLS: &[Tool] = &[
    ("ar", &["bin/ar"], false),
    ("as", &["bin/as"], false),
    ("autoconf", &["bin/autoconf"], false),
    ("awk", &["bin/awk"], false),
    ("bash", &["bin/bash"], true),
    ("bison", &["bin/bison"], false),
    ("c++", &["bin/c++"], false),
    ("cargo", &["bin/cargo"], false),
    ("cc", &["bin/cc"], false),
    ("clang", &["bin/clang"], true),
    ("cmake", &["bin/cmake"], true),
    ("flex", &["bin/flex"], false),
    ("g++", &["bin/g++"], false),
    ("gcc", &["bin/gcc"], true),
    ("gfortran", &["bin/gfortran"], false),
    ("go", &["bin/go"], false),
    ("gzip", &["bin/gzip"], false),
    ("install", &["bin/install"], false),
    ("ld", &["bin/ld"], true),
    ("ld.lld", &["bin/ld.lld"], false),
    (
        "libc",
        &[
            "lib/*/libc.so.6",
            "lib64/libc.so.6",
            "lib/libc.so.6",
            "lib/libc.so",
        ],
        true,
    ),
    (
        "libgcc",
        &[
            "lib/*/libgcc_s.so.1",
            "lib64/libgcc_s.so.1",
            "lib/libgcc_s.so.1",
        ],
        false,
    ),
    (
        "libstdc++",
        &[
            "lib/*/libstdc++.so.6",
            "lib64/libstdc++.so.6",
            "lib/libstdc++.so.6",
        ],
        false,
    ),
    ("m4", &["bin/m4"], false),
    ("make", &["bin/make"], true),
    ("meson", &["bin/meson"], false),
    ("mold", &["bin/mold"], false),
    ("ninja", &["bin/ninja"], false),
    ("objcopy", &["bin/objcopy"], false),
    ("perl", &["bin/perl"], true),
    ("pkg-config", &["bin/pkg-config", "bin/pkgconf"], false),
    ("python3", &["bin/python3"], true),
    ("rustc", &["bin/rustc"], true),
    ("sed", &["bin/sed"], false),
    ("sh", &["bin/sh"], false),
    ("strip", &["bin/strip"], false),
    ("tar", &["bin/tar"], false),
    ("xz", &["bin/xz"], false),
];
const _: () = assert!(TOOLS.len() <= crate::model::base_seen::PARTS_MAX);
/// Links that are followed to a file.
const LINKS_MAX: usize = 16;
/// A tool without a build id is hashed so far, with its length.
const HASHED_BYTES_MAX: u64 = 32 << 20;
/// Bytes of `os-release`; the longest known has some 800.
const RELEASE_BYTES_MAX: u64 = 64 << 10;
/// All tools together have so long to say their versions.
const ANSWER: Duration = Duration::from_secs(3);
/// Bytes of such an answer that are read.
const ANSWER_BYTES_MAX: u64 = 4_096;

/// What was seen last, of which base below which state directory, and the state of the files then.
struct Known {
    place: (PathBuf, Base),
    stamp: [u8; 32],
    seen: Arc<BaseSeen>,
}

/// What a base of this machine brings now; `None`: it is made of packages. Waits for the mask of base `host`; where nothing changed
/// it costs some hundred looks at files. Blocking.
pub fn look(base: &Base, state_dir: &Path) -> Result<Option<Arc<BaseSeen>>> {
    static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());
    if *base == Base::Stones {
        return Ok(None);
    }
    let below = base.below(state_dir)?;
    let view = View {
        layers: below.usr,
        alternatives: below.alternatives,
    };
    let found: Vec<(Tool, PathBuf)> = TOOLS
        .iter()
        .filter_map(|tool| Some((*tool, view.tool(tool.1)?)))
        .collect();
    let release = view.file(Path::new("lib/os-release"));
    let stamp = stamp(&found, release.as_deref());
    let place = (state_dir.to_owned(), base.clone());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = known
        .iter()
        .find(|one| one.place == place && one.stamp == stamp)
    {
        return Ok(Some(same.seen.clone()));
    }
    // Programs of another root need its libraries: only this machine's own are asked.
    let asked = *base == Base::Host;
    let seen = Arc::new(see(&found, release.as_deref(), asked).bounded());
    known.retain(|one| one.place != place);
    // A host has one state directory and few bases; of more of them the last are kept.
    if known.len() >= crate::model::base_seen::OF_ONE_BUILDER_MAX {
        known.remove(0);
    }
    known.push(Known {
        place,
        stamp,
        seen: seen.clone(),
    });
    Ok(Some(seen))
}

/// The directories that make up `/usr` below the packages, topmost first.
struct View {
    layers: Vec<PathBuf>,
    alternatives: Option<PathBuf>,
}

impl View {
    /// The first of these places that has a file.
    fn tool(&self, places: &[&str]) -> Option<PathBuf> {
        let triplet = triplet();
        let mut places = places.iter().map(|place| place.replace('*', &triplet));
        places.find_map(|place| self.file(Path::new(&place)))
    }

    /// Where the file of a path below `/usr` lies, through links.
    fn file(&self, path: &Path) -> Option<PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            let at = self.topmost(&path)?;
            let meta = fs::symlink_metadata(&at).ok()?;
            if meta.is_file() {
                return Some(at);
            }
            let target = fs::read_link(&at).ok()?;
            path = self.led(&path, target)?;
        }
        None
    }

    /// The entry that is seen of a path: the topmost one, unless that hides those below.
    fn topmost(&self, path: &Path) -> Option<PathBuf> {
        for layer in &self.layers {
            let at = layer.join(path);
            match fs::symlink_metadata(&at) {
                Ok(meta) if meta.file_type().is_char_device() && meta.rdev() == 0 => return None,
                Ok(_) => return Some(at),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                // Something above it is no directory here, and hides it.
                Err(_) => return None,
            }
        }
        None
    }

    /// Where a link leads, below `/usr` again; `None`: out of it.
    fn led(&self, from: &Path, target: PathBuf) -> Option<PathBuf> {
        let mut target = target;
        if let (Ok(name), Some(dir)) =
            (target.strip_prefix("/etc/alternatives"), &self.alternatives)
        {
            target = fs::read_link(dir.join(name)).ok()?;
        }
        if let Ok(inside) = target.strip_prefix("/usr") {
            return Some(inside.to_owned());
        }
        if let Ok(inside) = target.strip_prefix("/") {
            // `/bin` and `/lib` are links into `/usr`.
            let top = inside.components().next()?.as_os_str().to_str()?;
            let merged = ["bin", "sbin", "lib", "lib64"].contains(&top);
            return merged.then(|| inside.to_owned());
        }
        let mut path = from.parent().unwrap_or(Path::new("")).to_owned();
        for part in target.components() {
            match part {
                Component::ParentDir if !path.pop() => return None,
                Component::Normal(name) => path.push(name),
                Component::CurDir | Component::ParentDir => {}
                Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        Some(path)
    }
}

/// Another one when a file is.
fn stamp(found: &[(Tool, PathBuf)], release: Option<&Path>) -> [u8; 32] {
    let mut hash = sha2::Sha256::new();
    let paths = found.iter().map(|(_, path)| path.as_path()).chain(release);
    for path in paths {
        hash.update(path.as_os_str().as_encoded_bytes());
        if let Ok(meta) = fs::metadata(path) {
            for number in [meta.dev(), meta.ino(), meta.size()] {
                hash.update(number.to_le_bytes());
            }
            let (modified, changed) = (meta.mtime(), meta.ctime());
            let (modified_ns, changed_ns) = (meta.mtime_nsec(), meta.ctime_nsec());
            for number in [modified, modified_ns, changed, changed_ns] {
                hash.update(number.to_le_bytes());
            }
        }
    }
    hash.finalize().into()
}

fn see(found: &[(Tool, PathBuf)], release: Option<&Path>, asked: bool) -> BaseSeen {
    let until = Instant::now() + ANSWER;
    let calls: Vec<Option<Call>> = found
        .iter()
        .map(|((name, _, asks), path)| match asked && *asks {
            true => Call::begin(name, path),
            false => None,
        })
        .collect();
    let digests: Vec<Option<Digest>> = found.iter().map(|(_, path)| digest(path)).collect();
    let tools = found.iter().zip(digests).zip(calls);
    let parts = tools.filter_map(|(((tool, _), digest), call)| {
        let version = call.and_then(|call| call.end(until));
        Some(BasePart {
            name: tool.0.into(),
            version: version.as_deref().and_then(version_in),
            digest: digest?,
        })
    });
    BaseSeen {
        parts: parts.collect(),
        system: release.map(system).unwrap_or_default(),
    }
}

/// Which build of a tool a file is. A build id names that and not the bytes: a file that a bad disk changed is of the same build
/// still, and what it makes is its builder's doing.
fn digest(path: &Path) -> Option<Digest> {
    let mut file = File::open(path).ok()?;
    let mut hash = sha2::Sha256::new();
    if let Some(id) = build_id(&file) {
        hash.update("build id");
        hash.update(id);
        return Some(Digest(hash.finalize().into()));
    }
    file.rewind().ok()?;
    hash.update("bytes");
    hash.update(file.metadata().ok()?.len().to_le_bytes());
    let mut block = vec![0; 64 << 10];
    let mut rest = file.take(HASHED_BYTES_MAX);
    loop {
        match rest.read(&mut block).ok()? {
            0 => break,
            read => hash.update(block.get(..read)?),
        }
    }
    Some(Digest(hash.finalize().into()))
}

fn build_id(file: &File) -> Option<Vec<u8>> {
    let cache = ReadCache::new(file.try_clone().ok()?);
    let elf = ElfFile64::<Endianness, _>::parse(&cache).ok()?;
    let id = elf.build_id().ok()??;
    // A hash of what was linked; anything shorter was chosen by somebody.
    (id.len() >= 16).then(|| id.to_vec())
}

/// `debian 12`, of an `os-release`.
fn system(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        let mut file = file.take(RELEASE_BYTES_MAX);
        file.read_to_string(&mut text)
    });
    if read.is_err() {
        return String::new();
    }
    system_in(&text)
}

fn system_in(text: &str) -> String {
    let value = |key: &str| {
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.map(|value| value.trim().trim_matches(['"', '\'']).to_string())
    };
    let version = value("VERSION_ID").or_else(|| value("BUILD_ID"));
    let words = [value("ID"), version];
    let words: Vec<String> = words.into_iter().flatten().collect();
    words.join(" ")
}

/// A tool that is asked for its version. Its answer goes into a file: one that never ends keeps nobody waiting.
struct Call {
    child: Child,
    answer: File,
}

impl Call {
    fn begin(name: &str, path: &Path) -> Option<Call> {
        let answer = tempfile::tempfile().ok()?;
        let mut command = Command::new(path);
        // The C library answers when it is called without a word; every other tool to this one.
        if name != "libc" {
            command.arg("--version");
        }
        let child = command
            .arg0(name)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(answer.try_clone().ok()?)
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Call { child, answer })
    }

    /// What it said, if it ends in time.
    fn end(mut self, until: Instant) -> Option<String> {
        loop {
            match self.child.try_wait() {
                Ok(Some(_)) => break,
                Ok(None) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(None) | Err(_) => {
                    // It is gone already, or dies now; either way nobody waits for its answer.
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return None;
                }
            }
        }
        self.answer.rewind().ok()?;
        let mut bytes = Vec::new();
        let mut answer = self.answer.take(ANSWER_BYTES_MAX);
        answer.read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The version in what a tool says of itself: the last word of its first line that has two numbers with a point between them.
fn version_in(answer: &str) -> Option<String> {
    let line = answer.lines().find(|line| !line.trim().is_empty())?;
    let is_version = |word: &&str| {
        let bytes = word.as_bytes();
        bytes
            .windows(3)
            .any(|at| matches!(at, [a, b'.', c] if a.is_ascii_digit() && c.is_ascii_digit()))
    };
    let word = line.split_whitespace().rev().find(is_version)?;
    let word = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let word = word.strip_prefix('v').unwrap_or(word);
    let plain: String = word.chars().filter(|letter| !letter.is_control()).collect();
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_tool_says_its_version_in_its_first_line() {
        for (answer, version) in [
            (
                "gcc-12 (Debian 12.2.0-14) 12.2.0\nCopyright",
                Some("12.2.0"),
            ),
            (
                "gcc (GCC) 14.2.1 20240912 (Red Hat 14.2.1-3)",
                Some("14.2.1-3"),
            ),
            ("GNU ld (GNU Binutils for Debian) 2.40", Some("2.40")),
            (
                "GNU bash, version 5.2.15(1)-release (x86_64-pc-linux-gnu)",
                Some("5.2.15(1)-release"),
            ),
            (
                "\nThis is perl 5, version 36, subversion 0 (v5.36.0) built for x",
                Some("5.36.0"),
            ),
            (
                "GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n",
                Some("2.36"),
            ),
            ("rustc 1.70.0 (90c541806 2023-05-31)", Some("1.70.0")),
            ("no number at all, 7", None),
            ("", None),
        ] {
            assert_eq!(version_in(answer).as_deref(), version, "{answer}");
        }
    }

    #[test]
    fn a_system_has_a_name_and_a_version_or_less() {
        for (text, system) in [
            ("ID=debian\nVERSION_ID=\"12\"\nVERSION=x\n", "debian 12"),
            ("NAME=Arch\nID=arch\nBUILD_ID=rolling\n", "arch rolling"),
            ("ID='a b'\n", "a b"),
            ("", ""),
        ] {
            assert_eq!(system_in(text), system, "{text:?}");
        }
    }

    /// A program that says so when it is asked for its version.
    fn program(path: &Path, says: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\necho {says}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_topmost_layer_is_seen_through_links_and_what_it_hides_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        program(&at("low/bin/tool-1"), "1.1");
        program(&at("low/bin/other"), "1.2");
        program(&at("low/lib/inner/deep"), "1.3");
        symlink("tool-1", at("low/bin/tool")).unwrap();
        symlink("../lib/inner/deep", at("low/bin/deep")).unwrap();
        symlink("/usr/bin/other", at("low/bin/absolute")).unwrap();
        symlink("/etc/alternatives/chosen", at("low/bin/chosen")).unwrap();
        symlink("/elsewhere", at("low/bin/out")).unwrap();
        symlink("round", at("low/bin/round")).unwrap();
        fs::create_dir_all(at("alternatives")).unwrap();
        symlink("/usr/bin/tool-1", at("alternatives/chosen")).unwrap();
        program(&at("high/bin/tool-1"), "2.1");
        let view = View {
            layers: vec![at("high"), at("low")],
            alternatives: Some(at("alternatives")),
        };
        for (path, file) in [
            ("bin/tool", Some("high/bin/tool-1")),
            ("bin/chosen", Some("high/bin/tool-1")),
            ("bin/absolute", Some("low/bin/other")),
            ("bin/deep", Some("low/lib/inner/deep")),
            ("bin/out", None),
            ("bin/round", None),
            ("bin/none", None),
            // A file stands where the other layer has a directory.
            ("bin/tool-1/x", None),
        ] {
            assert_eq!(view.file(Path::new(path)), file.map(at), "{path}");
        }
    }

    #[test]
    fn a_base_is_another_one_when_a_tool_is_and_says_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        program(&root.join("usr/bin/gcc"), "gcc 14.2.0");
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::write(root.join("usr/lib/os-release"), "ID=x\nVERSION_ID=3\n").unwrap();
        let base = Base::Directory(root.clone());
        let seen = || look(&base, dir.path()).unwrap().unwrap();
        let first = seen();
        assert_eq!(first.system, "x 3");
        assert_eq!(first.parts.len(), 1, "{first:?}");
        // Not asked: programs of another root need its libraries.
        assert_eq!(
            (first.parts[0].name.as_str(), &first.parts[0].version),
            ("gcc", &None)
        );
        assert!(Arc::ptr_eq(&first, &seen()), "it is kept");
        program(&root.join("usr/bin/gcc"), "gcc 15.1.0, another one");
        let second = seen();
        assert_ne!(first.digest(), second.digest());
        assert_eq!(first.differences(&second).len(), 1);
        assert!(look(&Base::Stones, dir.path()).unwrap().is_none());
    }

    #[test]
    fn a_tool_answers_in_time_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let quick = dir.path().join("quick");
        program(&quick, "quick 1.2.3");
        let slow = dir.path().join("slow");
        program(&slow, "slow; sleep 60; echo 3.4");
        let ask = |path: &Path, within: Duration| {
            // Another test's child may still hold the file open that was just written.
            let deadline = Instant::now() + Duration::from_secs(30);
            let call = loop {
                match Call::begin("tool", path) {
                    Some(call) => break call,
                    None => assert!(Instant::now() < deadline, "it cannot be started"),
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            call.end(Instant::now() + within)
        };
        let answer = ask(&quick, Duration::from_secs(60)).unwrap();
        assert_eq!(version_in(&answer).as_deref(), Some("1.2.3"));
        assert_eq!(ask(&slow, Duration::from_millis(50)), None);
        assert!(Call::begin("tool", &dir.path().join("none")).is_none());
        // This machine has a shell, and two looks at it are one.
        let seen = look(&Base::Host, dir.path()).unwrap().unwrap();
        assert!(seen.parts.iter().any(|part| part.name == "sh"), "{seen:?}");
        let again = look(&Base::Host, dir.path()).unwrap().unwrap();
        assert_eq!(seen.digest(), again.digest());
    }
}
