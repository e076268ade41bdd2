//! Several real hosts on one machine, joined through the command line.

use std::net::UdpSocket;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common;
pub use crate::common::host::PATIENCE;
use crate::common::host::{Host, MASSIF};

/// A port for this caller alone, also while nobody listens there: hosts of tests are killed and come back to it. None of those
/// that the kernel gives to whoever asks for any, which are from 32768 on; another run on this machine begins elsewhere.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(257);
    for _ in 0..COUNT {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + next % COUNT).unwrap();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// The directories of one test.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place {
            dir: common::place("massif-hosts-"),
        }
    }

    /// A summit and vessel without slots of its own, on a port that stays.
    pub fn summit(&self, lease: &str) -> Node {
        self.deciding(&["up", "--headless", "--slots", "0"], lease)
    }

    /// A summit that publishes nothing itself.
    pub fn summit_alone(&self, lease: &str) -> Node {
        self.host("crest").ok(&["init", "--role", "summit"]);
        self.deciding(&["serve"], lease)
    }

    /// The host that decides, started with this command.
    pub fn deciding(&self, command: &[&str], lease: &str) -> Node {
        let mut node = self.host("crest");
        node.port = free_port();
        let listen = format!("127.0.0.1:{}", node.port);
        let more = [
            "--listen",
            &listen,
            "--http",
            "127.0.0.1:0",
            "--poll",
            "1s",
            "--lease",
            lease,
        ];
        node.arguments = owned(&[command, &more].concat());
        node.up();
        node
    }

    /// The host that publishes: invited, joined and approved.
    pub fn vessel(&self, summit: &Node, name: &str) -> Node {
        self.vessel_in(summit, name, Vec::new())
    }

    /// The same with something in its environment.
    pub fn vessel_in(&self, summit: &Node, name: &str, environment: Vec<(String, String)>) -> Node {
        let line = summit.invite("vessel", name, &[]);
        let mut node = self.host(name);
        node.environment = environment;
        // Builders dial it where it was before.
        let listen = format!("127.0.0.1:{}", free_port());
        node.arguments = owned(&["join", &line, "--headless", "--listen", &listen]);
        node.up();
        node.arguments = owned(&["serve", "--listen", &listen]);
        summit.until_linked(name);
        node
    }

    /// A directory for a host of this name; nothing runs there yet.
    pub fn host(&self, name: &str) -> Node {
        Node {
            host: Host::at(self.dir.path().join(name)),
            port: 0,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// A new builder: invited, joined and approved.
    pub fn builder(&self, summit: &Node, name: &str, more: &[&str]) -> Node {
        self.builder_in(summit, name, more, Vec::new())
    }

    /// The same with something in its environment.
    pub fn builder_in(
        &self,
        summit: &Node,
        name: &str,
        more: &[&str],
        environment: Vec<(String, String)>,
    ) -> Node {
        let line = summit.invite("avalanche", name, more);
        let mut node = self.host(name);
        node.environment = environment;
        node.join(&line);
        summit.until_linked(name);
        node
    }

    /// A new builder that sends so many bytes in a second, with more for its invitation.
    pub fn slow_builder(&self, summit: &Node, name: &str, bytes_s: &str, more: &[&str]) -> Node {
        let line = summit.invite("avalanche", name, more);
        let mut node = self.host(name);
        node.join_with(&line, &["--upload-limit", bytes_s]);
        summit.until_linked(name);
        node
    }
}

/// One host.
pub struct Node {
    host: Host,
    pub port: u16,
    /// What it is started with.
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
}

impl Deref for Node {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
}

#[allow(dead_code, reason = "each test uses some of it")]
impl Node {
    /// A line that lets a host of this role and name in at once.
    pub fn invite(&self, role: &str, name: &str, more: &[&str]) -> String {
        let all = ["invite", "--role", role, "--pre-approved", "--name", name];
        self.ok(&[&all, more].concat()).trim().to_string()
    }

    /// Becomes a builder with this line, and is ready.
    pub fn join(&mut self, line: &str) {
        self.join_with(line, &[]);
    }

    /// The same with more on its command line.
    pub fn join_with(&mut self, line: &str, more: &[&str]) {
        let all = ["join", line, "--headless", "--slots", "1"];
        self.arguments = owned(&[&all, more].concat());
        self.up();
    }

    /// From its next start on a builder like any other, which it became before.
    pub fn serves(&mut self) {
        self.arguments = owned(&["serve", "--slots", "1"]);
    }

    /// Starts the process and returns when it is ready.
    pub fn up(&mut self) {
        let ready = self.spawn();
        self.is_ready(&ready);
    }

    /// Starts the process; the channel hears its `ready` line.
    pub fn spawn(&mut self) -> Receiver<String> {
        let mut command = Command::new(MASSIF);
        command
            .args(&self.arguments)
            .arg("--dir")
            .arg(&self.host.dir)
            .envs(self.environment.iter().cloned());
        self.host.start(command)
    }

    /// Runs a command that must end with this code; what it printed, and what else it said when that is a failure.
    pub fn code(&self, code: i32, arguments: &[&str]) -> String {
        let (text, errors) = self.ended(code, arguments);
        match code {
            0 => text,
            _ => text + &errors,
        }
    }

    pub fn ok(&self, arguments: &[&str]) -> String {
        self.code(0, arguments)
    }

    /// Waits for the link of a peer.
    pub fn until_linked(&self, name: &str) -> Value {
        self.until(&["peer", "show", name], |peer| peer["link"]["up"] == true)
    }

    /// Waits until that builder said of itself that it is well.
    pub fn until_fit(&self, name: &str) {
        self.until(&["builder", "list"], |all| {
            let mut all = all.as_array().unwrap().iter();
            all.any(|builder| builder["name"] == name && builder["verdict"] == "fit")
        });
    }

    /// Waits until an attempt of this recipe is being built; the builder's name.
    pub fn building(&self, recipe: &str, phase: &str) -> String {
        let builders = self.until(&["builder", "list"], |builders| {
            builders.as_array().unwrap().iter().any(|builder| {
                builder["slots"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|slot| slot["recipe"] == recipe && slot["phase"] == phase)
            })
        });
        let found = builders.as_array().unwrap().iter().find(|builder| {
            builder["slots"]
                .as_array()
                .unwrap()
                .iter()
                .any(|slot| slot["recipe"] == recipe)
        });
        found.unwrap()["name"].as_str().unwrap().to_string()
    }

    /// Events of these kinds.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let answer = self.run(&[
            "--json",
            "call",
            "io.massif.Host.Audit",
            r#"{"limit": 1000}"#,
        ]);
        let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
        for event in answer["events"].as_array().unwrap() {
            if event["kind"] == kind {
                found.push(event.clone());
            }
        }
        found
    }

    /// Waits for an event of this kind whose text has these words.
    pub fn until_event(&self, kind: &str, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = self.events(kind);
            if all
                .iter()
                .any(|event| event["text"].as_str().unwrap().contains(words))
            {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "no {kind} with {words:?}: {all:#?}\n{}",
                self.log_end()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The most memory that it ever had, in MiB.
    pub fn memory_mib(&self) -> u64 {
        let pid = self.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().split_whitespace().next().unwrap();
        kib.parse::<u64>().unwrap() / 1024
    }

    pub fn log_file(&self, attempt: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{attempt}.log"))
    }
}

/// The bytes of a file.
pub fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
