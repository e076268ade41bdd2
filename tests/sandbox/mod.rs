//! What holds inside a build root: steps, isolation, ends, layers. The helper is the real binary.
//! All of it runs again as an ordinary user when the suite runs as root.

mod ends;
mod escapes;
mod figures;
mod layers;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use massif::build::sandbox::{
    Bind, Exit, Limits, LogReader, Root, SANDBOX_UID, Session, Spec, Step, StepEnd, use_helper,
};
use massif::fault::Kind;
use tokio::io::AsyncReadExt;

/// A state directory, private as `mktemp -d` makes it, with one attempt in it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let helper = std::env::var_os("MASSIF_TEST_HELPER");
        use_helper(helper.unwrap_or_else(|| env!("CARGO_BIN_EXE_massif").into()));
        let dir = tempfile::tempdir().unwrap();
        for name in ["recipe", "build", "install", "tmp"] {
            fs::create_dir_all(dir.path().join("attempt").join(name)).unwrap();
        }
        fs::write(dir.path().join("attempt/recipe/stone.yaml"), "name: x\n").unwrap();
        Place { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn spec(&self) -> Spec {
        let alternatives = PathBuf::from("/etc/alternatives");
        self.spec_of(Root {
            usr: vec!["/usr".into()],
            alternatives: alternatives.exists().then_some(alternatives),
            loader_cache: None,
        })
    }

    fn spec_of(&self, root: Root) -> Spec {
        Spec {
            state_dir: self.dir.path().to_owned(),
            root,
            binds: vec![
                Bind::read_only(self.path("attempt/recipe"), "/mason/recipe"),
                Bind::writable(self.path("attempt/build"), "/mason/build"),
                Bind::writable(self.path("attempt/install"), "/mason/install"),
                Bind::writable(self.path("attempt/tmp"), "/tmp"),
            ],
            outer_uid: SANDBOX_UID,
            network: false,
            cores: vec![],
            limits: Limits::default(),
        }
    }
}

fn sh(script: &str) -> Step {
    Step {
        name: "test".into(),
        argv: vec!["/usr/bin/bash".into(), "-c".into(), script.into()],
        cwd: "/mason/build".into(),
        env: vec![("PATH".into(), "/usr/bin:/usr/sbin".into())],
        banner: String::new(),
    }
}

fn read_log(mut log: LogReader) -> tokio::task::JoinHandle<String> {
    tokio::spawn(async move {
        let mut text = Vec::new();
        log.read_to_end(&mut text).await.unwrap();
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Runs these scripts in one session; how each ended, and the whole log.
async fn run(spec: Spec, scripts: &[&str]) -> (Vec<StepEnd>, String) {
    let (mut session, log) = Session::start(spec).await.unwrap();
    let reader = read_log(log);
    let mut ends = Vec::new();
    for script in scripts {
        ends.push(session.run(sh(script)).await.unwrap());
    }
    session.finish().await.unwrap();
    (ends, reader.await.unwrap())
}

async fn out(spec: Spec, script: &str) -> String {
    run(spec, &[script]).await.1
}

#[tokio::test]
async fn steps_run_in_order_in_one_root_and_say_how_they_ended() {
    let place = Place::new();
    let scripts = [
        "echo one; echo two >&2; touch /tmp/kept",
        "ls /tmp; exit 3",
        "kill -SEGV $$",
    ];
    let (ends, log) = run(place.spec(), &scripts).await;
    assert_eq!(log, "one\ntwo\nkept\n");
    let exits: Vec<Exit> = ends.iter().map(|end| end.exit).collect();
    assert_eq!(exits, [Exit::Code(0), Exit::Code(3), Exit::Signal(11)]);
}

#[tokio::test]
async fn a_step_is_measured_and_its_banner_comes_first() {
    let place = Place::new();
    let (mut session, log) = Session::start(place.spec()).await.unwrap();
    let reader = read_log(log);
    let mut step =
        sh("echo body; for i in {1..60000}; do :; done; (for i in {1..60000}; do :; done)");
    step.banner = "==> build\n".into();
    let end = session.run(step).await.unwrap();
    session.finish().await.unwrap();
    assert_eq!(reader.await.unwrap(), "==> build\nbody\n");
    assert!(
        end.cpu_ms > 10 && end.wall_ms >= 10 && end.rss_kib_max > 1_000,
        "{end:?}"
    );
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_fault_and_the_session_lives_on() {
    let place = Place::new();
    let (mut session, log) = Session::start(place.spec()).await.unwrap();
    let reader = read_log(log);
    let mut step = sh("true");
    step.argv = vec!["/usr/bin/no-such-program".into()];
    assert_eq!(session.run(step).await.unwrap_err().kind, Kind::Recipe);
    let mut step = sh("true");
    step.cwd = "/nowhere".into();
    assert!(
        session
            .run(step)
            .await
            .unwrap_err()
            .what
            .contains("/nowhere")
    );
    assert!(session.run(sh("echo alive")).await.unwrap().ok());
    session.finish().await.unwrap();
    assert_eq!(reader.await.unwrap(), "alive\n");
}

#[tokio::test]
async fn nothing_of_the_host_is_seen_inside() {
    let place = Place::new();
    let mut spec = place.spec();
    spec.cores = vec![0];
    let script = "env | sort | tr '\\n' ' '; echo; hostname; id -u; pwd; umask; nproc; ulimit -c
        ls / | tr '\\n' ' '; echo; ls -d /proc/[0-9]* | wc -l
        cat /proc/1/environ /proc/1/mem 2>&1 | grep -c denied; readlink /proc/1/exe || echo hidden
        grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t\\n'; echo
        ls /home /work /mnt /sys /boot /var/lib/dpkg 2>/dev/null; cat /mason/recipe/stone.yaml; date +%Z; stat -c %a /tmp";
    let log = out(spec, script).await;
    let expected = "PATH=/usr/bin:/usr/sbin PWD=/mason/build SHLVL=1 _=/usr/bin/env \n\
        massif\n0\n/mason/build\n0022\n1\n0\n";
    assert!(log.starts_with(expected), "{log}");
    let rest: Vec<&str> = log.strip_prefix(expected).unwrap().lines().collect();
    let top: Vec<&str> = rest[0]
        .split_whitespace()
        .filter(|name| !name.starts_with("lib"))
        .collect();
    assert_eq!(
        top,
        [
            "bin", "dev", "etc", "mason", "proc", "root", "run", "sbin", "tmp", "usr", "var"
        ]
    );
    assert!(rest[1].parse::<u32>().unwrap() <= 5, "{log}");
    let none = "0000000000000000";
    let status = ["Inh", "Prm", "Eff", "Bnd", "Amb"]
        .map(|set| format!("Cap{set}:{none}"))
        .concat();
    assert_eq!(
        rest[2..],
        [
            "2",
            "hidden",
            &format!("{status}NoNewPrivs:1Seccomp:2"),
            "name: x",
            "UTC",
            "1777"
        ]
    );
}

#[tokio::test]
async fn the_network_is_there_only_when_asked_for() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached; grep -c : /proc/net/dev; test -e /etc/resolv.conf && echo names"
    );
    let alone = out(place.spec(), &script).await;
    assert!(
        !alone.contains("reached") && !alone.contains("names"),
        "{alone}"
    );
    assert!(alone.lines().any(|line| line == "1"), "{alone}");
    let mut spec = place.spec();
    spec.network = true;
    assert!(out(spec, &script).await.contains("reached"));
}

#[tokio::test]
async fn ownership_is_accepted_and_archives_of_other_owners_unpack() {
    let place = Place::new();
    let script = "set -e; touch a; chown 0:0 a; chown 1234:567 a; install -o 12 -g 34 a b; chown nobody b
        tar --owner=1000 --group=1000 -cf t.tar a b; mkdir out; tar -C out -xf t.tar; stat -c %u:%g out/a; ls out | wc -l";
    let (ends, log) = run(place.spec(), &[script]).await;
    assert!(ends[0].ok(), "{log}");
    assert_eq!(log, "0:0\n2\n");
}

#[test]
fn everything_holds_for_an_ordinary_user_too() {
    if !nix::unistd::geteuid().is_root() {
        println!("the suite runs as an ordinary user already");
        return;
    }
    // Copies, because the build directory may be closed to others.
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let home = place.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).unwrap();
    let (tests, helper) = (place.path().join("tests"), place.path().join("massif"));
    crate::common::copy_of_program(std::env::current_exe().unwrap(), &tests);
    crate::common::copy_of_program(env!("CARGO_BIN_EXE_massif"), &helper);
    let run = Command::new(&tests)
        .args(["sandbox::", "--skip", "ordinary_user"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TMPDIR", &home)
        .env("MASSIF_TEST_HELPER", &helper)
        .current_dir(&home)
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(!text.contains(" 0 passed"), "{text}");
}
