//! A host of a test: the program in a process of its own with a directory of its own, spoken to through its doors alone.
//! The process ends with the value.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test waits for something that must happen: it counts only where something is broken.
pub const PATIENCE: Duration = Duration::from_secs(1_200);

/// A phase of a recipe that stands still until somebody opens its gate, so that it is seen there however slow the machine is.
pub const GATE: &str = "build       : |
    echo at the gate
    until [ -e %(installroot)/go ]; do sleep 0.2; echo waiting; done
    rm -f %(installroot)/go
    echo through the gate
";

/// The program under test.
pub const MASSIF: &str = env!("CARGO_BIN_EXE_massif");

/// The code of a command that may succeed in a moment.
const TRY_AGAIN: i32 = 75;

/// Lines of a log that are enough to see why a test failed.
const LOG_LINES: usize = 120;

fn parsed(arguments: &[&str], text: &str) -> Value {
    serde_json::from_str(text)
        .unwrap_or_else(|error| panic!("massif {arguments:?}: {error}\n{text}"))
}

/// One host.
pub struct Host {
    /// Its directory.
    pub dir: PathBuf,
    child: Option<Child>,
    said: Arc<Mutex<String>>,
}

#[allow(dead_code, reason = "each kind of host uses some of it")]
impl Host {
    /// A host of this directory; nothing runs there yet.
    pub fn at(dir: PathBuf) -> Host {
        Host {
            dir,
            child: None,
            said: Arc::default(),
        }
    }

    /// Starts this command, which runs the program; the channel hears its `ready` line.
    pub fn start(&mut self, mut command: Command) -> Receiver<String> {
        assert!(self.child.is_none(), "it runs already");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let mut child = command
            .env("MASSIF_LOG", "massif=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        self.child = Some(child);
        let (send, receive) = channel();
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

    /// Waits for the `ready` line of a host that was started.
    pub fn is_ready(&self, ready: &Receiver<String>) -> String {
        ready.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            panic!(
                "{} is not ready: {}\n{}",
                self.dir.display(),
                self.said(),
                self.log_end()
            )
        })
    }

    /// What it printed since its start.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The end of its log, for messages.
    pub fn log_end(&self) -> String {
        let text = self.log();
        let skip = text.lines().count().saturating_sub(LOG_LINES);
        text.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
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

    /// Runs a command that must end with this code; what it printed, and what it said besides.
    pub fn ended(&self, code: i32, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(code),
            "massif {arguments:?}\n{text}\n{errors}\n{}",
            self.log_end()
        );
        (text, errors)
    }

    /// Runs a command with `--json` that must succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let (text, _) = self.ended(0, &all);
        parsed(arguments, &text)
    }

    /// Asks again and again until the answer fits; the answer.
    pub fn until(&self, arguments: &[&str], mut fits: impl FnMut(&Value) -> bool) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.run(&all);
            let errors = String::from_utf8_lossy(&output.stderr);
            let answer = match output.status.code() {
                Some(0) => parsed(arguments, &String::from_utf8_lossy(&output.stdout)),
                // What a host says whose disk stands still.
                Some(TRY_AGAIN) => Value::Null,
                _ => panic!("massif {arguments:?}\n{errors}\n{}", self.log_end()),
            };
            if !answer.is_null() && fits(&answer) {
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "massif {arguments:?} still says {answer:#} {errors}\n{}",
                self.log_end()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Looks again and again until it is so.
    pub fn wait(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(
                Instant::now() < deadline,
                "waited in vain: {what}\n{}",
                self.log_end()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The layer that its builder keeps above this machine's `/usr`, as soon as it is made.
    pub fn mask(&self) -> PathBuf {
        let mut found = None;
        self.wait("the mask of its builder", || {
            found = super::clock::mask(&self.dir);
            found.is_some()
        });
        found.unwrap()
    }

    /// The newest attempt of a recipe, as `JOB.TRY`.
    pub fn attempt_of(&self, recipe: &str) -> String {
        let jobs = self.json(&["job", "list"]);
        let mut jobs = jobs.as_array().unwrap().iter();
        let job = jobs.find(|job| job["recipe"] == recipe).unwrap();
        let attempts = job["attempts"].as_array().unwrap();
        format!("{}.{}", job["id"], attempts.last().unwrap()["try_no"])
    }

    fn is_at_its_gate(&self, attempt: &str) -> bool {
        let log = self.dir.join("logs").join(format!("{attempt}.log"));
        std::fs::read_to_string(log).is_ok_and(|text| text.contains("waiting\n"))
    }

    /// Opens the gate of an attempt that is built on this host, once it stands there.
    pub fn open_gate(&self, attempt: &str) {
        self.wait("an attempt at its gate", || self.is_at_its_gate(attempt));
        let install = self.dir.join("attempts").join(attempt).join("install");
        std::fs::write(install.join("go"), "").unwrap();
    }

    /// Opens each gate at which an attempt stands on this host now, unless it is among those that were opened.
    pub fn open_gates(&self, opened: &mut BTreeSet<String>) {
        let attempts = std::fs::read_dir(self.dir.join("attempts"));
        for entry in attempts.into_iter().flatten().flatten() {
            let attempt = entry.file_name().into_string().unwrap();
            // One that was taken away meanwhile has no gate any more.
            if !opened.contains(&attempt)
                && self.is_at_its_gate(&attempt)
                && std::fs::write(entry.path().join("install/go"), "").is_ok()
            {
                opened.insert(attempt);
            }
        }
    }

    /// The newest job of a recipe, once it is at its end.
    pub fn done(&self, recipe: &str) -> Value {
        let newest = |jobs: &Value| {
            let mut jobs = jobs.as_array().unwrap().iter();
            jobs.find(|job| job["recipe"] == recipe).cloned()
        };
        let jobs = self.until(&["job", "list"], |jobs| {
            let state = newest(jobs).and_then(|job| Some(job["state"].as_str()?.to_string()));
            matches!(
                state.as_deref(),
                Some("published" | "failed" | "cancelled" | "superseded")
            )
        });
        newest(&jobs).unwrap()
    }

    /// The newest job of a recipe must be published.
    pub fn published(&self, recipe: &str) -> Value {
        let job = self.done(recipe);
        if job["state"] != "published" {
            let log = self.run(&["job", "log", recipe]);
            panic!(
                "{job:#}\n{}\n{}",
                String::from_utf8_lossy(&log.stdout),
                self.log_end()
            );
        }
        job
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether the process is there.
    pub fn lives(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Waits for it to die by itself and says by which signal.
    pub fn died(&mut self, of: &str) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        let mut child = self.child.take().expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.signal();
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{of}: it lives on:\n{}", self.log_end());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it by SIGTERM, which must exit 0; how long that took.
    pub fn stop(&mut self) -> Duration {
        let mut child = self.child.take().expect("it runs");
        let began = Instant::now();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log_end());
        began.elapsed()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
            if std::thread::panicking() {
                eprintln!("log of {}:\n{}", self.dir.display(), self.log_end());
            }
        }
    }
}
