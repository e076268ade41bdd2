//! A real farm for a test: the program in a process of its own with a directory of its own, spoken to through the command
//! line alone. The process ends with the value, and the test fails if it left anything running.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// The program under test.
pub const MASSIF: &str = env!("CARGO_BIN_EXE_massif");

/// Where the data of other projects is, if it is here. Missing, a test says `skipped`; under CI that is a failure.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MASSIF_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} is missing",
        path.display()
    );
    println!("skipped: {} is not here", path.display());
    None
}

/// How a farm is started.
#[derive(Default)]
pub struct Setup {
    /// Its directory; a new one unless given.
    pub dir: Option<PathBuf>,
    /// More arguments of `up`.
    pub arguments: Vec<String>,
    /// More environment.
    pub environment: Vec<(String, String)>,
    /// Another user's id, when the test runs as root.
    pub uid: Option<u32>,
    /// A command that runs the program as its last arguments, in the same process; it changes the user itself.
    pub wrapper: Vec<String>,
}

/// A running farm.
pub struct Farm {
    directory: Option<tempfile::TempDir>,
    dir: PathBuf,
    child: Option<Child>,
    setup: Setup,
    /// From its `ready` line: `http://ADDR`.
    pub http: String,
}

#[allow(dead_code, reason = "each test module uses some of it")]
impl Farm {
    /// A new farm that looks at repositories every second.
    pub fn start() -> Farm {
        Farm::with(Setup::default())
    }

    /// A new farm with mirrors of the real upstreams.
    pub fn with_mirror(mirror: &Path) -> Farm {
        let arguments = vec!["--mirror".into(), mirror.to_str().unwrap().into()];
        Farm::with(Setup {
            arguments,
            ..Setup::default()
        })
    }

    /// A farm of this kind.
    pub fn with(mut setup: Setup) -> Farm {
        let directory = setup.dir.is_none().then(|| {
            let made = tempfile::Builder::new()
                .prefix("massif-test-")
                .tempdir()
                .unwrap();
            use std::os::unix::fs::PermissionsExt;
            // The sandbox's unprivileged id must be able to walk through it.
            std::fs::set_permissions(made.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
            made
        });
        let dir = match (&directory, setup.dir.take()) {
            (Some(made), _) => made.path().join("farm"),
            (None, Some(dir)) => dir,
            (None, None) => unreachable!("a directory is made when none is given"),
        };
        if let (Some(uid), Some(made)) = (setup.uid, &directory) {
            std::os::unix::fs::chown(made.path(), Some(uid), Some(uid)).unwrap();
        }
        let mut farm = Farm {
            directory,
            dir,
            child: None,
            setup,
            http: String::new(),
        };
        farm.up();
        farm
    }

    /// Starts the process (again) on the same directory, and returns when it is ready.
    pub fn up(&mut self) {
        let mut ready = self.spawn();
        let line = ready
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("no ready line:\n{}", self.log()));
        let http = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("http="))
            .unwrap_or_else(|| {
                panic!("the ready line is {line:?}:\n{}", self.log());
            });
        self.http = format!("http://{http}");
        let _ = &mut ready;
    }

    /// Starts the process and returns at once; its first line comes through the channel.
    pub fn spawn(&mut self) -> std::sync::mpsc::Receiver<String> {
        assert!(self.child.is_none(), "it runs already");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let program = self.program();
        let mut command = match self.setup.wrapper.split_first() {
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command
            .args([
                "up",
                "--headless",
                "--listen",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                "--poll",
                "1s",
            ])
            .arg("--dir")
            .arg(&self.dir)
            .args(&self.setup.arguments)
            .envs(self.setup.environment.iter().cloned())
            .env("MASSIF_LOG", "massif=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(uid) = self.setup.uid.filter(|_| self.setup.wrapper.is_empty()) {
            use std::os::unix::process::CommandExt;
            command.uid(uid).gid(uid);
        }
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().unwrap();
        self.child = Some(child);
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // The test may have gone on.
                send.send(line).ok();
            }
        });
        receive
    }

    /// The program; a copy for another user, because the build directory may be closed to others.
    fn program(&self) -> PathBuf {
        let (Some(_), Some(made)) = (self.setup.uid, &self.directory) else {
            return MASSIF.into();
        };
        let copy = made.path().join("massif");
        if !copy.exists() {
            std::fs::copy(MASSIF, &copy).unwrap();
        }
        copy
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What clients are served.
    pub fn public(&self) -> PathBuf {
        self.dir.join("public")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    /// Its log so far, for messages.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Sets an environment variable for the next start.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.setup.environment.retain(|(known, _)| known != name);
        self.setup
            .environment
            .extend(value.map(|value| (name.to_string(), value.to_string())));
    }

    /// Runs a command against it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(MASSIF);
        command
            .arg("--dir")
            .arg(&self.dir)
            .args(arguments)
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Runs a command that must end with this code; its output.
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
        format!("{text}{errors}")
    }

    /// Runs a command that must succeed; its output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.code(0, arguments)
    }

    /// Runs a command with `--json` that must succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let output = self.run(&all);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "massif {arguments:?}\n{text}\n{errors}\n{}",
            self.log()
        );
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

    /// The newest job of a recipe, once it is at its end.
    pub fn done(&self, recipe: &str) -> Value {
        let over = |job: &Value| {
            matches!(
                job["state"].as_str(),
                Some("published" | "failed" | "cancelled" | "superseded")
            )
        };
        let jobs = self.until(&["job", "list"], |jobs| {
            jobs.as_array()
                .unwrap()
                .iter()
                .find(|job| job["recipe"] == recipe)
                .is_some_and(over)
        });
        jobs.as_array()
            .unwrap()
            .iter()
            .find(|job| job["recipe"] == recipe)
            .unwrap()
            .clone()
    }

    /// The newest job of a recipe must be published.
    pub fn published(&self, recipe: &str) -> Value {
        let job = self.done(recipe);
        if job["state"] != "published" {
            let log = self.run(&["job", "log", recipe]);
            panic!(
                "{job:#}\n{}\n{}",
                String::from_utf8_lossy(&log.stdout),
                self.log()
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
                panic!("{of}: it lives on:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it by SIGTERM, which must take 5 s at most and exit 0.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let began = Instant::now();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
        assert!(
            began.elapsed() < Duration::from_secs(7),
            "it took {:?}",
            began.elapsed()
        );
    }

    /// Checks every served file, and every stone and manifest that was made, with the independent reader, if it is here.
    pub fn check_served(&self) {
        let (Some(tool), Some(python)) = (shared("tools/stone_check.py"), super::python::python())
        else {
            return;
        };
        let run = |command: &mut Command| {
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{text}{errors}");
            text
        };
        let mut repository = Command::new(python);
        run(repository
            .arg(&tool)
            .arg("repo")
            .arg(self.public())
            .arg("main"));
        let made = self.made();
        if !made.is_empty() {
            let mut files = Command::new(python);
            let said = run(files.arg(&tool).arg("file").args(&made));
            assert_eq!(said.lines().count(), made.len(), "{said}");
        }
    }

    /// Every stone and binary manifest of the published jobs.
    fn made(&self) -> Vec<PathBuf> {
        let jobs = self.json(&["job", "list", "--state", "published"]);
        let jobs = jobs.as_array().unwrap().iter();
        let artefacts = jobs.flat_map(|job| {
            let made = self.json(&["job", "artefacts", &job["id"].to_string()]);
            made.as_array().unwrap().clone()
        });
        artefacts
            .filter(|artefact| artefact["kind"] != "manifest_jsonc")
            .map(|artefact| {
                let sha256 = artefact["sha256"].as_str().unwrap();
                self.dir.join("blobs").join(&sha256[..2]).join(&sha256[2..])
            })
            .collect()
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() && self.directory.is_some() {
            eprintln!("log of the farm:\n{}", self.log());
        }
    }
}
