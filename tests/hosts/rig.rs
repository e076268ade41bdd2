//! Several real hosts on one machine: each the program in a process of its own with a directory of its own, joined through the
//! command line, spoken to through its doors alone.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::farm::MASSIF;

/// How long something that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A port that nobody has, most likely until somebody of this test takes it.
pub fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// The directories of one test.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::Builder::new()
            .prefix("massif-hosts-")
            .tempdir()
            .unwrap();
        // The sandbox's unprivileged id must be able to walk through it.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Place { dir }
    }

    /// A summit and vessel without slots of its own, on a port that stays.
    pub fn summit(&self, lease: &str) -> Node {
        let port = free_port();
        let mut node = Node::new(self.dir.path().join("crest"));
        node.port = port;
        let listen = format!("127.0.0.1:{port}");
        let words = [
            "up",
            "--headless",
            "--slots",
            "0",
            "--listen",
            &listen,
            "--http",
            "127.0.0.1:0",
            "--poll",
            "1s",
            "--lease",
            lease,
        ];
        node.arguments = words.map(str::to_string).to_vec();
        node.up();
        node
    }

    /// A summit that publishes nothing itself.
    pub fn summit_alone(&self, lease: &str) -> Node {
        let port = free_port();
        let mut node = Node::new(self.dir.path().join("crest"));
        node.port = port;
        node.ok(&["init", "--role", "summit"]);
        let listen = format!("127.0.0.1:{port}");
        let words = [
            "serve",
            "--listen",
            &listen,
            "--http",
            "127.0.0.1:0",
            "--poll",
            "1s",
            "--lease",
            lease,
        ];
        node.arguments = words.map(str::to_string).to_vec();
        node.up();
        node
    }

    /// The host that publishes: invited, joined and approved.
    pub fn vessel(&self, summit: &Node, name: &str) -> Node {
        self.vessel_in(summit, name, Vec::new())
    }

    /// The same with something in its environment.
    pub fn vessel_in(&self, summit: &Node, name: &str, environment: Vec<(String, String)>) -> Node {
        let line = summit.ok(&[
            "invite",
            "--role",
            "vessel",
            "--pre-approved",
            "--name",
            name,
        ]);
        let mut node = self.host(name);
        node.environment = environment;
        // Builders dial it where it was before.
        let listen = format!("127.0.0.1:{}", free_port());
        node.arguments = ["join", line.trim(), "--headless", "--listen", &listen]
            .map(str::to_string)
            .to_vec();
        node.up();
        node.arguments = ["serve", "--listen", &listen].map(str::to_string).to_vec();
        summit.until(&["peer", "show", name], |peer| peer["link"]["up"] == true);
        node
    }

    /// A directory for a host of this name; nothing runs there yet.
    pub fn host(&self, name: &str) -> Node {
        Node::new(self.dir.path().join(name))
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
        let mut all = vec![
            "invite",
            "--role",
            "avalanche",
            "--pre-approved",
            "--name",
            name,
        ];
        all.extend(more);
        let line = summit.ok(&all).trim().to_string();
        let mut node = self.host(name);
        node.environment = environment;
        node.join(&line);
        summit.until(&["peer", "show", name], |peer| peer["link"]["up"] == true);
        node
    }
}

/// One host.
pub struct Node {
    pub dir: PathBuf,
    pub port: u16,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    child: Option<Child>,
    said: Arc<Mutex<String>>,
}

#[allow(dead_code, reason = "each test uses some of it")]
impl Node {
    fn new(dir: PathBuf) -> Node {
        Node {
            dir,
            port: 0,
            arguments: Vec::new(),
            environment: Vec::new(),
            child: None,
            said: Arc::default(),
        }
    }

    /// Becomes a builder with this line, and is ready.
    pub fn join(&mut self, line: &str) {
        self.arguments = ["join", line, "--headless", "--slots", "1"]
            .map(str::to_string)
            .to_vec();
        self.up();
    }

    /// Starts the process and returns when it is ready.
    pub fn up(&mut self) {
        let ready = self.spawn();
        if ready.recv_timeout(PATIENCE).is_err() {
            panic!(
                "{} is not ready: {}\n{}",
                self.dir.display(),
                self.said(),
                self.log()
            );
        }
    }

    /// Starts the process; the channel hears its `ready` line.
    pub fn spawn(&mut self) -> std::sync::mpsc::Receiver<String> {
        assert!(self.child.is_none(), "it runs already");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let mut child = Command::new(MASSIF)
            .args(&self.arguments)
            .arg("--dir")
            .arg(&self.dir)
            .envs(self.environment.iter().cloned())
            .env("MASSIF_LOG", "massif=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        self.child = Some(child);
        let (send, receive) = std::sync::mpsc::channel();
        let said = Arc::clone(&self.said);
        said.lock().unwrap().clear();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                {
                    let mut said = said.lock().unwrap();
                    said.push_str(&line);
                    said.push('\n');
                }
                if line.starts_with("ready ") {
                    // The test may have gone on.
                    send.send(line).ok();
                }
            }
        });
        receive
    }

    /// What it printed.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let skip = text.lines().count().saturating_sub(80);
        text.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }

    /// Runs a command against it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(MASSIF)
            .arg("--dir")
            .arg(&self.dir)
            .args(arguments)
            .env_remove("MASSIF_JOIN")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a command that must end with this code; all that it said.
    pub fn code(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(code),
            "massif {arguments:?}\n{text}\n{errors}\n{}",
            self.log()
        );
        if code == 0 {
            text
        } else {
            format!("{text}{errors}")
        }
    }

    pub fn ok(&self, arguments: &[&str]) -> String {
        self.code(0, arguments)
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let text = self.ok(&all);
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("massif {arguments:?}: {error}\n{text}"))
    }

    /// Asks again and again until the answer fits; the answer.
    pub fn until(&self, arguments: &[&str], fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.json(arguments);
            if fits(&answer) {
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "massif {arguments:?} still says {answer:#}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The newest job of a recipe, once it is published.
    pub fn published(&self, recipe: &str) -> Value {
        let jobs = self.until(&["job", "list"], |jobs| {
            let job = jobs
                .as_array()
                .unwrap()
                .iter()
                .find(|job| job["recipe"] == recipe);
            let state = job.and_then(|job| job["state"].as_str());
            assert!(state != Some("failed"), "{job:#?}\n{}", self.log());
            state == Some("published")
        });
        let found = jobs
            .as_array()
            .unwrap()
            .iter()
            .find(|job| job["recipe"] == recipe);
        found.unwrap().clone()
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
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The most memory that it ever had, in MiB.
    pub fn memory_mib(&self) -> u64 {
        let pid = self.child.as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().split_whitespace().next().unwrap();
        kib.parse::<u64>().unwrap() / 1024
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends it by SIGTERM, which must exit 0.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    pub fn log_file(&self, attempt: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{attempt}.log"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.dir.display(), self.log());
        }
    }
}

/// The bytes of a file.
pub fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
