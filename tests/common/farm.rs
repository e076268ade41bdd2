//! A real farm for a test: one host of all roles that looks at repositories every second.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::host::Host;
pub use super::host::{MASSIF, PATIENCE};

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
    // Before the directory, so that it ends before that is gone.
    host: Host,
    directory: Option<tempfile::TempDir>,
    setup: Setup,
    /// From its `ready` line: `http://ADDR`.
    pub http: String,
}

impl Deref for Farm {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl DerefMut for Farm {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
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
        let directory = setup.dir.is_none().then(|| super::place("massif-test-"));
        let dir = match (&directory, setup.dir.take()) {
            (Some(made), _) => made.path().join("farm"),
            (None, Some(dir)) => dir,
            (None, None) => unreachable!("a directory is made when none is given"),
        };
        if let (Some(uid), Some(made)) = (setup.uid, &directory) {
            std::os::unix::fs::chown(made.path(), Some(uid), Some(uid)).unwrap();
        }
        let mut farm = Farm {
            host: Host::at(dir),
            directory,
            setup,
            http: String::new(),
        };
        farm.up();
        farm
    }

    /// Starts the process (again) on the same directory, and returns when it is ready.
    pub fn up(&mut self) {
        let ready = self.spawn();
        let line = self.is_ready(&ready);
        let http = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("http="))
            .unwrap_or_else(|| {
                panic!("the ready line is {line:?}:\n{}", self.log_end());
            });
        self.http = format!("http://{http}");
    }

    /// Starts the process and returns at once; its `ready` line comes through the channel.
    pub fn spawn(&mut self) -> Receiver<String> {
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
            .arg(&self.host.dir)
            .args(&self.setup.arguments)
            .envs(self.setup.environment.iter().cloned());
        if let Some(uid) = self.setup.uid.filter(|_| self.setup.wrapper.is_empty()) {
            use std::os::unix::process::CommandExt;
            command.uid(uid).gid(uid);
        }
        self.host.start(command)
    }

    /// The program; a copy for another user, because the build directory may be closed to others.
    fn program(&self) -> PathBuf {
        let (Some(_), Some(made)) = (self.setup.uid, &self.directory) else {
            return MASSIF.into();
        };
        let copy = made.path().join("massif");
        if !copy.exists() {
            super::copy_of_program(MASSIF, &copy);
        }
        copy
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.host.dir
    }

    /// What clients are served.
    pub fn public(&self) -> PathBuf {
        self.host.dir.join("public")
    }

    /// Sets an environment variable for the next start.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.setup.environment.retain(|(known, _)| known != name);
        self.setup
            .environment
            .extend(value.map(|value| (name.to_string(), value.to_string())));
    }

    /// Runs a command that must end with this code; all that it said.
    pub fn code(&self, code: i32, arguments: &[&str]) -> String {
        let (text, errors) = self.ended(code, arguments);
        text + &errors
    }

    /// Runs a command that must succeed; all that it said.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.code(0, arguments)
    }

    /// Ends it by SIGTERM, which must exit 0; how long that took. A disk that stands still is not the farm's doing.
    pub fn stop(&mut self) -> Duration {
        let took = self.host.stop();
        assert!(took < Duration::from_secs(120), "it took {took:?}");
        took
    }

    /// Checks every served file, and every stone and manifest that was made, with the independent reader, if it is here.
    pub fn check_served(&self) {
        self.check_channel("main");
    }

    /// The same of this channel.
    pub fn check_channel(&self, channel: &str) {
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
            .arg(channel));
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
                self.host
                    .dir
                    .join("blobs")
                    .join(&sha256[..2])
                    .join(&sha256[2..])
            })
            .collect()
    }
}
