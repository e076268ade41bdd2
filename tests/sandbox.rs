//! What holds inside a build root: steps, isolation, ends, layers. The helper is the real binary.
//! All of it runs again as an ordinary user when the suite runs as root.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use massif::build::base::Base;
use massif::build::layers::{Held, LayerWriter, Layers};
use massif::build::leftovers::reclaim_dead;
use massif::build::sandbox::{
    Bind, Exit, Limits, LogReader, Root, SANDBOX_UID, Session, Spec, Step, StepEnd, use_helper,
};
use massif::fault::{Kind, Result};
use massif::id::Digest;
use tokio::io::AsyncReadExt;

const DEADLINE: Duration = Duration::from_secs(20);

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

/// Processes of the machine whose command line holds this text.
fn processes_with(text: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(text)))
        .count()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A number of seconds that no other test sleeps, so that its processes can be told apart.
fn odd_nap(salt: u32) -> String {
    format!("{}{salt}", 70_000 + std::process::id() % 20_000)
}

#[tokio::test]
async fn steps_run_in_order_in_one_root_and_say_how_they_ended() {
    let place = Place::new();
    let scripts = ["echo one; echo two >&2; touch /tmp/kept", "ls /tmp; exit 3", "kill -SEGV $$"];
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
    let mut step = sh("echo body; for i in {1..60000}; do :; done; (for i in {1..60000}; do :; done)");
    step.banner = "==> build\n".into();
    let end = session.run(step).await.unwrap();
    session.finish().await.unwrap();
    assert_eq!(reader.await.unwrap(), "==> build\nbody\n");
    assert!(end.cpu_ms > 10 && end.wall_ms >= 10 && end.rss_kib_max > 1_000, "{end:?}");
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
    assert!(session.run(step).await.unwrap_err().what.contains("/nowhere"));
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
        ls /home /work /mnt /sys /boot /var/lib/dpkg 2>/dev/null; cat /mason/recipe/stone.yaml; date +%Z";
    let log = out(spec, script).await;
    let expected = "PATH=/usr/bin:/usr/sbin PWD=/mason/build SHLVL=1 _=/usr/bin/env \n\
        massif\n0\n/mason/build\n0022\n1\n0\n";
    assert!(log.starts_with(expected), "{log}");
    let rest: Vec<&str> = log.strip_prefix(expected).unwrap().lines().collect();
    let top: Vec<&str> = rest[0].split_whitespace().filter(|name| !name.starts_with("lib")).collect();
    assert_eq!(top, ["bin", "dev", "etc", "mason", "proc", "root", "run", "sbin", "tmp", "usr", "var"]);
    assert!(rest[1].parse::<u32>().unwrap() <= 5, "{log}");
    let none = "0000000000000000";
    let status = ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| format!("Cap{set}:{none}")).concat();
    assert_eq!(rest[2..], ["2", "hidden", &format!("{status}NoNewPrivs:1Seccomp:2"), "name: x", "UTC"]);
}

#[tokio::test]
async fn the_network_is_there_only_when_asked_for() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached; grep -c : /proc/net/dev; test -e /etc/resolv.conf && echo names");
    let alone = out(place.spec(), &script).await;
    assert!(!alone.contains("reached") && !alone.contains("names"), "{alone}");
    assert!(alone.lines().any(|line| line == "1"), "{alone}");
    let mut spec = place.spec();
    spec.network = true;
    assert!(out(spec, &script).await.contains("reached"));
}

#[tokio::test]
async fn ways_out_are_refused() {
    let place = Place::new();
    let tries = [
        "touch /usr/bin/x", "touch /mason/recipe/x", "rm /usr/bin/env", "mount -t tmpfs none /mnt", "mount -o remount,rw /usr",
        "umount /usr", "unshare -U true", "unshare -m true", "chroot / true", "echo x > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger", "mknod /tmp/sda b 8 0", "kill -9 1; kill -0 1 && test ! -e /proc/1",
        "cat /proc/1/root/etc/shadow", "ls /proc/1/cwd/", "dd if=/dev/mem count=1", "nsenter -t 1 -m true", "hostname other",
        "date -s 2001-01-01", "cat /etc/shadow", ": > /dev/tty",
    ];
    for attempt in tries {
        let script = format!("( {attempt} ) >/dev/null 2>&1 && echo ESCAPED");
        let log = out(place.spec(), &script).await;
        assert!(!log.contains("ESCAPED"), "{attempt}");
    }
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

#[tokio::test]
async fn what_outlives_a_step_is_ended_with_it_and_the_log_says_so() {
    let place = Place::new();
    let nap = odd_nap(1);
    let first = format!("(setsid sleep {nap} >/dev/null 2>&1 &) ; sleep 0.3; echo done");
    let (ends, log) = run(place.spec(), &[&first, "ls -d /proc/[0-9]* | wc -l"]).await;
    assert_eq!(ends[0].outlived, ["sleep"]);
    assert!(log.contains("massif: a process outlived step test and ended with it: sleep\n"), "{log}");
    assert_eq!(processes_with(&nap), 0);
    assert!(ends[1].outlived.is_empty());
}

/// A step that leaves 300 processes, a third of them double-forked, and sleeps.
fn crowd(nap: &str) -> String {
    format!(
        "for i in {{1..100}}; do sleep {nap} & (setsid sleep {nap} &) ; trap '' TERM; bash -c 'sleep {nap}; :' & done; echo up; wait"
    )
}

#[tokio::test]
async fn a_kill_leaves_none_of_many_processes() {
    let place = Place::new();
    let nap = odd_nap(2);
    let (mut session, mut log) = Session::start(place.spec()).await.unwrap();
    let killer = session.killer();
    let script = crowd(&nap);
    let step = tokio::spawn(async move {
        let ended = session.run(sh(&script)).await;
        (session, ended)
    });
    let mut up = [0; 3];
    log.read_exact(&mut up).await.unwrap();
    until("the crowd is there", || processes_with(&nap) >= 300);
    let start = Instant::now();
    killer.kill();
    let (session, ended) = step.await.unwrap();
    assert!(ended.is_err());
    session.kill().await.unwrap();
    let took = start.elapsed();
    assert_eq!(processes_with(&nap), 0);
    println!("killed 400 processes in {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_dropped_session_ends_its_processes() {
    let place = Place::new();
    let nap = odd_nap(3);
    let (mut session, _log) = Session::start(place.spec()).await.unwrap();
    let script = format!("sleep {nap}");
    let step = tokio::time::timeout(Duration::from_millis(300), session.run(sh(&script)));
    assert!(step.await.is_err());
    assert!(session.run(sh("true")).await.is_err());
    drop(session);
    until("the processes are gone", || processes_with(&nap) == 0);
}

/// Not a test by itself: what `a_killed_host_leaves_nothing` runs and kills.
#[tokio::test]
#[ignore = "run by a_killed_host_leaves_nothing"]
async fn holds_a_session_until_killed() {
    let (Some(nap), Some(dir)) = (std::env::var_os("MASSIF_TEST_NAP"), std::env::var_os("MASSIF_TEST_STATE")) else {
        return;
    };
    let mut spec = Place::new().spec();
    spec.binds.clear();
    spec.state_dir = dir.into();
    let (mut session, _log) = Session::start(spec).await.unwrap();
    let mut step = sh(&crowd(nap.to_str().unwrap()));
    step.cwd = "/".into();
    let _ = session.run(step).await;
}

#[tokio::test]
async fn a_killed_host_leaves_nothing() {
    let place = Place::new();
    let nap = odd_nap(4);
    fs::create_dir_all(place.path("attempts/7.1/build")).unwrap();
    fs::create_dir_all(place.path("attempts/8.1")).unwrap();
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::holds_a_session_until_killed", "--ignored"])
        .env("MASSIF_TEST_NAP", &nap)
        .env("MASSIF_TEST_STATE", place.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the crowd is there", || processes_with(&nap) >= 300);
    host.kill().unwrap();
    assert_eq!(host.wait().unwrap().signal(), Some(9));
    let reclaimed = reclaim_dead(place.dir.path(), &|name| name == "8.1").unwrap();
    assert_eq!(reclaimed.attempts, ["7.1"]);
    assert!(place.path("attempts/8.1").exists() && !place.path("attempts/7.1").exists());
    until("the processes are gone", || processes_with(&nap) == 0);
    assert_eq!(reclaim_dead(place.dir.path(), &|_| true).unwrap().processes, 0);
}

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

type Entries<'a> = &'a [(&'a str, &'a str)];

/// Adds a package of these files; a text that starts with `->` is a link.
fn add(layers: &Layers, n: u8, files: Entries<'_>) -> Digest {
    let fill = |writer: &mut LayerWriter| -> Result<()> {
        for (path, text) in files {
            match text.strip_prefix("->") {
                Some(target) => writer.symlink(Path::new(path), target)?,
                None => writer.file(Path::new(path), path.starts_with("bin"), &mut text.as_bytes())?,
            }
        }
        Ok(())
    };
    drop(layers.add(&digest(n), fill).unwrap());
    digest(n)
}

#[tokio::test]
async fn packages_lie_over_the_machine_and_two_roots_share_them() {
    let place = Place::new();
    let layers = Layers::open(place.dir.path()).unwrap();
    let tool = add(&layers, 1, &[("bin/tool", "#!/bin/sh\necho tool of one\n"), ("share/x/a", "1")]);
    let other = add(&layers, 2, &[("bin/other", "->tool"), ("share/x/b", "2")]);
    let root = |packages: &[Digest]| -> Held { layers.root(&Base::Host, packages).unwrap() };
    let (both, one) = (root(&[tool, other]), root(&[tool]));
    assert!(both.warnings.is_empty());
    let scripts = ["tool; other 2>&1; ls /usr/share/x; echo y >> /usr/share/x/a"];
    let (first, second) = tokio::join!(
        run(place.spec_of(both.root.clone()), &scripts),
        run(place.spec_of(one.root.clone()), &scripts),
    );
    assert!(first.1.starts_with("tool of one\ntool of one\na\nb\n"), "{}", first.1);
    assert!(second.1.starts_with("tool of one\n") && !second.1.contains("b\n"), "{}", second.1);
    assert_eq!(fs::read_to_string(layers_file(&place, 1, "share/x/a")).unwrap(), "1");
    // The loader's cache was made inside, once.
    assert!(both.root.loader_cache.as_ref().is_some_and(|cache| cache.exists()));
}

fn layers_file(place: &Place, n: u8, path: &str) -> PathBuf {
    place.path("layers").join(digest(n).to_string()).join("usr").join(path)
}

#[test]
fn packages_that_cannot_be_in_one_root_are_refused_and_doubles_are_told() {
    let place = Place::new();
    let layers = Layers::open(place.dir.path()).unwrap();
    let a = add(&layers, 1, &[("share/x", "1"), ("share/same", "s")]);
    let b = add(&layers, 2, &[("share/x/inner", "2")]);
    let c = add(&layers, 3, &[("share/x", "other"), ("share/same", "s")]);
    let hiding = add(&layers, 4, &[("lib", "->lib64")]);
    let libc = add(&layers, 5, &[("lib/libc.so.6", "elf")]);
    let root = |base: &Base, packages: &[Digest]| layers.root(base, packages);
    assert!(root(&Base::Stones, &[a, b]).unwrap_err().what.contains("share/x"));
    let held = root(&Base::Stones, &[a, c]).unwrap();
    assert_eq!(held.warnings, ["/usr/share/x is in more than one package; the last one counts"]);
    assert_eq!(fs::read_to_string(held.root.usr[0].join("share/x")).unwrap(), "other");
    assert!(root(&Base::Host, &[hiding]).unwrap_err().what.contains("/usr/lib"));
    assert!(root(&Base::Host, &[libc]).unwrap_err().what.contains("C library"));
    assert!(root(&Base::Stones, &[hiding]).is_ok() && root(&Base::Stones, &[libc]).is_ok());
    for path in ["../x", "/x", "a/../../x", ""] {
        let done = layers.add(&digest(9), |writer| writer.file(Path::new(path), false, &mut "x".as_bytes()));
        assert!(done.is_err(), "{path}");
    }
    let through = layers.add(&digest(9), |writer| {
        writer.symlink(Path::new("out"), "/tmp")?;
        writer.file(Path::new("out/x"), false, &mut "x".as_bytes())
    });
    assert!(through.is_err() && !layers.has(&digest(9)));
}

#[test]
fn room_is_made_of_what_is_not_in_use_and_half_made_layers_are_thrown_away() {
    let place = Place::new();
    let layers = Layers::open(place.dir.path()).unwrap();
    let (a, b) = (add(&layers, 1, &[("share/a", "aaaa")]), add(&layers, 2, &[("share/b", "bbbb")]));
    let held = layers.root(&Base::Stones, &[a]).unwrap();
    layers.reclaim(u64::MAX).unwrap();
    assert!(layers.has(&a) && !layers.has(&b));
    drop(held);
    layers.reclaim(u64::MAX).unwrap();
    assert!(!layers.has(&a));
    let c = add(&layers, 3, &[("share/c", "c")]);
    fs::create_dir(place.path("layers/tmp-half")).unwrap();
    let after = Layers::open(place.dir.path()).unwrap();
    assert!(after.has(&c) && !place.path("layers/tmp-half").exists());
    after.seal().unwrap();
    // A layer of another boot counts when it was synced.
    let complete = place.path("layers").join(c.to_string()).join("complete");
    let text = fs::read_to_string(&complete).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let other_boot = text.replace(boot.trim(), "another");
    fs::write(&complete, &other_boot).unwrap();
    assert!(Layers::open(place.dir.path()).unwrap().has(&c));
    fs::write(&complete, other_boot.replace("\"on_disk\":true", "\"on_disk\":false")).unwrap();
    assert!(!Layers::open(place.dir.path()).unwrap().has(&c));
}

/// A library that this machine has for building, and that its compiler does not need itself.
fn machine_library() -> Option<(&'static str, &'static str)> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let known = [("bz2", "bzlib.h"), ("form", "form.h"), ("expat", "expat.h"), ("menu", "menu.h")];
    known.into_iter().find(|(name, header)| {
        let there = [format!("{multiarch}/lib{name}.so"), format!("/usr/include/{header}")];
        there.iter().all(|path| Path::new(path).exists())
    })
}

/// Compiles with the machine's compiler, outside: the package that a recipe would have made.
fn farm_library(name: &str, soname: &str) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let (source, library) = (place.path().join("l.c"), place.path().join("l.so"));
    fs::write(&source, "int farm_says(void) { return 42; }\n").unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(format!("-Wl,-soname,{soname}"))
        .arg(&source)
        .status();
    assert!(status.unwrap().success(), "lib{name}");
    fs::read(library).unwrap()
}

#[tokio::test]
async fn the_farms_library_wins_over_the_machines_and_an_undeclared_one_is_not_found() {
    let Some((name, header)) = machine_library() else {
        println!("skipped: this machine has no development library to be hidden");
        return;
    };
    let place = Place::new();
    let layers = Layers::open(place.dir.path()).unwrap();
    let multiarch = PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let link = fs::read_link(multiarch.join(format!("lib{name}.so"))).unwrap();
    let stem = format!("lib{name}.so.");
    let version = link.file_name().unwrap().to_str().unwrap().strip_prefix(&stem).unwrap().to_string();
    let soname = format!("{stem}{}", version.split('.').next().unwrap());
    let bytes = farm_library(name, &soname);
    let fill = |writer: &mut LayerWriter| -> Result<()> {
        writer.file(Path::new(&format!("lib/{soname}")), true, &mut bytes.as_slice())?;
        writer.symlink(Path::new(&format!("lib/lib{name}.so")), &soname)?;
        writer.file(Path::new(&format!("include/{header}")), false, &mut "#define FARM 1\nint farm_says(void);\n".as_bytes())?;
        let pc = format!("Name: {name}\nDescription: x\nVersion: 99.1\nLibs: -L/usr/lib -l{name}\nCflags: -I/usr/include\n");
        writer.file(Path::new(&format!("lib/pkgconfig/{name}.pc")), false, &mut pc.as_bytes())
    };
    drop(layers.add(&digest(1), fill).unwrap());
    let with = layers.root(&Base::Host, &[digest(1)]).unwrap();
    let without = layers.root(&Base::Host, &[]).unwrap();
    let script = format!(
        "printf '#include <{header}>\\n#include <stdio.h>\\nint main(void) {{ printf(\"%%d\\\\n\", farm_says() + FARM); return 0; }}\\n' > p.c
         cc -o p p.c -l{name} && ./p && ldd ./p | grep -o '{soname} => [^ ]*'
         if type pkg-config >/dev/null 2>&1; then pkg-config --modversion {name}; else echo 99.1; fi
         as --version | head -1 | cut -c1-3; perl -e 'print \"perl\\n\"'; ls /usr/include/zlib.h /usr/local/bin 2>&1 | grep -c 'No such'"
    );
    let log = out(place.spec_of(with.root.clone()), &script).await;
    assert_eq!(log, format!("43\n{soname} => /usr/lib/{soname}\n99.1\nGNU\nperl\n2\n"), "{log}");
    let script = format!("echo '#include <{header}>' > p.c; cc -c p.c 2>&1 | grep -o 'No such file'; echo 'int main(){{}}' > q.c; cc q.c -l{name} 2>&1 | grep -o 'cannot find'; echo 'int main(){{}}' > q.c; cc q.c && ./a.out && echo fine");
    let log = out(place.spec_of(without.root.clone()), &script).await;
    assert_eq!(log, "No such file\ncannot find\nfine\n");
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
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_massif"), &helper).unwrap();
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
    assert!(run.status.success(), "{text}\n{}", String::from_utf8_lossy(&run.stderr));
    assert!(!text.contains(" 0 passed"), "{text}");
}
