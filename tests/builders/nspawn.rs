//! A builder inside `systemd-nspawn`: user namespaces within a container, on a machine that was made from nothing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::farm::{MASSIF, PATIENCE};
use crate::common::repo::Repo;
use crate::ring::script_recipe;

/// Whether the machine can do this; under CI it must.
fn can() -> bool {
    let have = |name: &str| {
        ["/usr/bin", "/usr/sbin"]
            .iter()
            .any(|dir| Path::new(dir).join(name).exists())
    };
    let root = nix::unistd::geteuid().is_root();
    if root && have("systemd-nspawn") && have("debootstrap") {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "systemd-nspawn or debootstrap is missing, or this is not root"
    );
    println!("skipped: it takes root, systemd-nspawn and debootstrap");
    false
}

/// A Debian with a compiler, made once for all runs of this build directory.
fn machine() -> PathBuf {
    let kept = Path::new(MASSIF).parent().unwrap().join("nspawn-root");
    if kept.join("complete").exists() {
        return kept;
    }
    // A package index may fail to answer once.
    let made = (0..3).any(|_| {
        std::fs::remove_dir_all(&kept).ok();
        let made = Command::new("debootstrap")
            .args([
                "--variant=minbase",
                "--include=gcc,g++,binutils,make",
                "bookworm",
            ])
            .arg(&kept)
            .stdout(Stdio::null())
            .status();
        made.unwrap().success()
    });
    assert!(made, "debootstrap failed three times");
    std::fs::write(kept.join("complete"), "").unwrap();
    kept
}

struct Container(Child, tempfile::TempDir);

impl Drop for Container {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.1.path().join("log"));
            eprintln!("log of the container:\n{}", log.unwrap_or_default());
        }
    }
}

/// The options of the unit file in the README, before the container's root: what is shown there is what is tested here.
fn options_of_the_unit() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let start = "ExecStart=/usr/bin/systemd-nspawn ";
    let line = readme.lines().find_map(|line| line.strip_prefix(start));
    let line = line.expect("a unit file for systemd-nspawn");
    let words = line.split_whitespace();
    let options: Vec<String> = words
        .take_while(|word| *word != "-D")
        .map(str::to_string)
        .collect();
    assert!(
        options.iter().any(|option| option == "--register=no")
            && options.iter().any(|option| option == "--keep-unit"),
        "{options:?}"
    );
    options
}

#[test]
fn a_builder_works_inside_systemd_nspawn() {
    if !can() {
        return;
    }
    let root = machine();
    let place = tempfile::Builder::new()
        .prefix("massif-test-")
        .tempdir()
        .unwrap();
    let mut repo = Repo::new();
    repo.write("i/inside/stone.yaml", script_recipe("inside", 1, ""));
    repo.commit("Add one");
    let state = place.path().join("state");
    let log = std::fs::File::create(place.path().join("log")).unwrap();
    std::fs::create_dir(&state).unwrap();
    let bind = |option: &str, from: &Path, to: &str| format!("--{option}={}:{to}", from.display());
    let child = Command::new("systemd-nspawn")
        .args(options_of_the_unit())
        .args(["--volatile=overlay", "-D"])
        .arg(&root)
        .arg(bind("bind-ro", Path::new(MASSIF), "/usr/local/bin/massif"))
        .arg(bind("bind-ro", repo.path(), "/srv/recipes"))
        .arg(bind("bind", &state, "/var/lib/massif"))
        .args([
            "--setenv=MASSIF_LOG=massif=info",
            "/usr/local/bin/massif",
            "up",
            "--headless",
            "--dir",
            "/var/lib/massif",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut container = Container(child, place);
    let deadline = Instant::now() + PATIENCE;
    let ask = |arguments: &[&str]| {
        let output = Command::new(MASSIF)
            .arg("--dir")
            .arg(&state)
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let mut until = |arguments: &[&str], fits: &dyn Fn(&str) -> bool| loop {
        let (good, text) = ask(arguments);
        if good && fits(&text) {
            break text;
        }
        assert!(
            container.0.try_wait().unwrap().is_none(),
            "the container ended"
        );
        assert!(Instant::now() < deadline, "massif {arguments:?}: {text}");
        std::thread::sleep(Duration::from_millis(200));
    };
    until(&["status"], &|_| true);
    // An answer that was lost is no reason to add it twice.
    until(&["--json", "project", "list"], &|text| {
        text.contains("\"test\"") || ask(&["project", "add", "test", "/srv/recipes"]).0
    });
    let over = |text: &str| text.contains("\"published\"") || text.contains("\"failed\"");
    let jobs = until(&["--json", "job", "list"], &over);
    assert!(
        jobs.contains("\"state\": \"published\"") || jobs.contains("\"state\":\"published\""),
        "{jobs}"
    );
    let pid = nix::unistd::Pid::from_raw(i32::try_from(container.0.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = container.0.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        assert!(Instant::now() < deadline, "the container does not stop");
        std::thread::sleep(Duration::from_millis(50));
    }
}
