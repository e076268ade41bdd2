//! What holds inside a build root: steps, isolation, ends. The helper is the real binary.

use std::fs;
use std::path::PathBuf;

use massif::build::sandbox::{Bind, Exit, Limits, Root, SANDBOX_UID, Session, Spec, Step, StepEnd, use_helper};
use tokio::io::AsyncReadExt;

/// A state directory, private as `mktemp -d` makes it, with one attempt in it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        use_helper(env!("CARGO_BIN_EXE_massif"));
        let dir = tempfile::tempdir().unwrap();
        for name in ["attempt/recipe", "attempt/build", "attempt/install", "attempt/tmp"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("attempt/recipe/stone.yaml"), "name: x\n").unwrap();
        Place { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn spec(&self) -> Spec {
        Spec {
            state_dir: self.dir.path().to_owned(),
            root: Root {
                usr: vec!["/usr".into()],
                alternatives: Some("/etc/alternatives".into()).filter(|dir: &PathBuf| dir.exists()),
                loader_cache: None,
            },
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
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        banner: String::new(),
    }
}

/// Runs these scripts in one session; how each ended, and the whole log.
async fn run(spec: Spec, scripts: &[&str]) -> (Vec<StepEnd>, String) {
    let (mut session, mut log) = Session::start(spec).await.unwrap();
    let reader = tokio::spawn(async move {
        let mut text = Vec::new();
        log.read_to_end(&mut text).await.unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
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
    let (ends, log) = run(
        place.spec(),
        &["echo one; echo two >&2; touch /tmp/kept", "ls /tmp; exit 3", "kill -SEGV $$"],
    )
    .await;
    assert_eq!(log, "one\ntwo\nkept\n");
    let exits: Vec<Exit> = ends.iter().map(|end| end.exit).collect();
    assert_eq!(exits, [Exit::Code(0), Exit::Code(3), Exit::Signal(11)]);
}

#[tokio::test]
async fn nothing_of_the_host_is_seen_inside() {
    let place = Place::new();
    let log = out(
        place.spec(),
        "env | sort; hostname; id -u; pwd; umask; ls /; ls /proc | grep -c '^[0-9]'; ls /home /root /work 2>&1;
         cat /proc/1/environ /proc/1/mem 2>&1 | head -c 300; readlink /proc/1/exe; nproc; cat /proc/self/status | grep -E 'Cap|NoNew|Seccomp:'",
    )
    .await;
    println!("{log}");
    assert!(!log.contains("HOME"), "{log}");
}
