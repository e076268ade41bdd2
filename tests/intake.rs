//! Intake: repositories are found, fetched, read and watched.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use massif::actors::summit::mirror::{Fetching, Mirror};
use massif::actors::summit::reader::{self, Repo};
use massif::actors::summit::watcher::{Heard, Settings, Watcher};
use massif::fault::Kind;
use massif::id::{Arch, CommitId, ProjectName};
use massif::model::{Catalog, Reading};

use crate::common;
use crate::common::git_server;
use crate::common::repo::Repo as Made;

const ARCH: Arch = Arch::X86_64;

fn project() -> ProjectName {
    "demo".parse().unwrap()
}

fn recipe(name: &str, release: u64) -> String {
    format!(
        "name        : {name}\nversion     : 1.{release}\nrelease     : {release}\nhomepage    : https://example.invalid\n\
         license     : MIT\nsummary     : A test\ndescription : |\n    A test.\ninstall     : |\n    install -D -m 644 pkg/a %(installroot)/usr/share/a\n"
    )
}

fn catalog(path: &Path, commit: CommitId, previous: Option<&Catalog>) -> Catalog {
    let repo = Repo::open(path).unwrap();
    repo.catalog(&project(), commit, ARCH, previous).unwrap()
}

/// `dir name` for a good one, `dir name! what` for a faulty one.
fn listing(catalog: &Catalog) -> Vec<String> {
    let line = |entry: &Arc<massif::model::Entry>| match &entry.reading {
        Reading::Good(facts) => format!("{} {}", entry.dir, facts.name),
        Reading::Faulty { name, fault } => format!("{} {name}! {}", entry.dir, fault.what),
    };
    catalog.entries.iter().map(line).collect()
}

#[test]
fn the_tip_is_that_of_the_branch_and_a_missing_branch_names_the_nearest() {
    let mut made = Made::new();
    let repo = Repo::open(made.path()).unwrap();
    assert_eq!(repo.tip(None).unwrap_err().kind, Kind::NotFound);
    assert!(
        repo.tip(Some("main"))
            .unwrap_err()
            .next
            .contains("no branch at all")
    );
    let first = made.write("a", "1").commit("first");
    made.commit_on("refs/heads/stable", "other", None);
    assert_eq!(repo.tip(None).unwrap(), first);
    assert_eq!(repo.tip(Some("main")).unwrap(), first);
    assert_ne!(repo.tip(Some("stable")).unwrap(), first);
    let fault = repo.tip(Some("stabel")).unwrap_err();
    assert_eq!(
        (fault.kind, fault.next.as_str()),
        (Kind::NotFound, "did you mean stable?")
    );
}

#[test]
fn a_vanished_repository_is_the_operators_move() {
    let made = Made::new();
    let path = made.path().to_owned();
    drop(made);
    let fault = Repo::open(&path).err().unwrap();
    assert_eq!(fault.kind, Kind::Operator);
    assert!(
        fault.what.starts_with("there is no repository at"),
        "{fault}"
    );
}

#[test]
fn another_users_repository_is_read_and_its_configuration_starts_no_program() {
    let mut made = Made::new();
    let tip = made.write("a", "1").commit("first");
    let config = made.path().join(".git/config");
    let text = std::fs::read_to_string(&config).unwrap();
    let evil = "[core]\n\tfsmonitor = /bin/false\n[include]\n\tpath = /nonexistent\n";
    std::fs::write(&config, text + evil).unwrap();
    for path in [made.path().to_owned(), made.path().join(".git")] {
        // Only root can give files away; for others this is one of their own.
        let _ = std::os::unix::fs::chown(&path, Some(12_345), Some(12_345));
        assert_eq!(Repo::open(&path).unwrap().tip(None).unwrap(), tip);
    }
}

#[test]
fn a_recipe_packs_to_the_same_bytes_from_any_commit_with_the_same_tree() {
    let mut made = Made::new();
    made.write("h/hello/stone.yaml", recipe("hello", 1))
        .write("h/hello/pkg/a", "text")
        .write_program("h/hello/pkg/run.sh", "#!/bin/sh\n")
        .link("h/hello/pkg/link", "../stone.yaml")
        .write(&format!("h/hello/pkg/{}", "long".repeat(50)), "deep");
    let first = made.commit("hello: Add");
    let second = made
        .write("x/other/stone.yaml", recipe("other", 1))
        .commit("other: Add");
    let repo = Repo::open(made.path()).unwrap();
    let pack = repo.pack(first, "h/hello").unwrap();
    assert_eq!(pack, repo.pack(second, "h/hello").unwrap());
    let mut seen = Vec::new();
    for file in tar::Archive::new(pack.as_slice()).entries().unwrap() {
        let mut file = file.unwrap();
        let header = file.header().clone();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let path = file.path().unwrap().to_str().unwrap().to_string();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
        seen.push((
            path,
            header.mode().unwrap(),
            header.entry_type().is_symlink(),
        ));
    }
    let expected = [
        ("pkg/a".to_string(), 0o644, false),
        ("pkg/link".to_string(), 0o644, true),
        (format!("pkg/{}", "long".repeat(50)), 0o644, false),
        ("pkg/run.sh".to_string(), 0o755, false),
        ("stone.yaml".to_string(), 0o644, false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(
        repo.pack(first, "h/nothing").unwrap_err().kind,
        Kind::NotFound
    );
}

#[test]
fn history_names_the_commits_that_changed_the_directory() {
    let mut made = Made::new();
    let added = made
        .write("h/hello/stone.yaml", recipe("hello", 1))
        .commit("hello: Add\n\nBody.");
    let added_s = made.time_s();
    made.write("x/other/stone.yaml", recipe("other", 1))
        .commit("other: Add");
    let updated = made
        .write("h/hello/stone.yaml", recipe("hello", 2))
        .commit("hello: Update");
    let updated_s = made.time_s();
    let tip = made.write("README", "text").commit("readme");
    let repo = Repo::open(made.path()).unwrap();
    let history = repo.history(tip, "h/hello", 10).unwrap();
    let short: Vec<_> = history
        .iter()
        .map(|one| (one.commit, one.subject.as_str(), one.at.0))
        .collect();
    assert_eq!(
        short,
        [
            (updated, "hello: Update", updated_s * 1000),
            (added, "hello: Add", added_s * 1000)
        ]
    );
    assert_eq!(history[0].author, "A Packager <packager@example.invalid>");
    assert_eq!(repo.history(tip, "h/hello", 1).unwrap().len(), 1);
    assert_eq!(repo.changed_at(tip, "h/hello").unwrap().0, updated_s * 1000);
    assert!(repo.is_ancestor(added, tip) && !repo.is_ancestor(tip, added));
}

#[test]
fn bad_recipes_are_faulty_alone_and_namesakes_name_each_other() {
    let mut made = Made::new();
    made.write("a/first/stone.yaml", recipe("same", 1))
        .write("b/second/stone.yaml", recipe("same", 1))
        .write("c/good/stone.yaml", recipe("good", 1))
        .write("c/good/manifest.x86_64.bin", "not a stone")
        .write("d/broken/stone.yaml", "name: broken\nversion: [\n")
        .write("e/bytes/stone.yaml", b"name: bytes\n\xff\n")
        .link("f/link/stone.yaml", "../../c/good/stone.yaml")
        .write(
            "g/huge/stone.yaml",
            vec![b'#'; massif::limit::RECIPE_BYTES_MAX + 1],
        )
        .write("deep/er/and/deeper/stone.yaml", recipe("deep", 1))
        .write("README.md", "no recipe");
    let commit = made.commit("all");
    let first = catalog(made.path(), commit, None);
    let list = listing(&first);
    assert_eq!(list[0], "a/first same");
    assert_eq!(
        list[1],
        "b/second same! same is the name of the recipe in a/first too"
    );
    assert_eq!(list[2], "c/good good");
    assert!(list[3].starts_with("d/broken broken! "), "{list:?}");
    assert_eq!(list[4], "deep/er/and/deeper deep");
    assert_eq!(list[5], "e/bytes bytes! the recipe is not UTF-8 text");
    assert_eq!(list[6], "f/link link! the recipe is a symbolic link");
    assert!(
        list[7].starts_with("g/huge huge! the file has 2097153 bytes"),
        "{list:?}"
    );
    for entry in &first.entries {
        match &entry.reading {
            Reading::Good(facts) if facts.name.as_str() == "good" => {
                assert!(!facts.from_manifest);
                let warning = facts.warnings.last().unwrap();
                let place = warning.place.as_ref().unwrap();
                assert_eq!(place.file, "c/good/manifest.x86_64.bin");
            }
            Reading::Good(_) => {}
            Reading::Faulty { fault, .. } => {
                assert_eq!(fault.kind, Kind::Recipe);
                assert_eq!(
                    fault.place.as_ref().unwrap().file,
                    format!("{}/stone.yaml", entry.dir)
                );
                assert!(!fault.next.is_empty(), "{fault}");
            }
        }
    }
    // When the first goes, the second counts, although its own directory did not change.
    let commit = made.remove("a/first").commit("first: Remove");
    let second = catalog(made.path(), commit, Some(&first));
    assert_eq!(listing(&second)[0], "b/second same");
    assert_eq!(second, catalog(made.path(), commit, None));
    // Unchanged entries are the same ones, not copies.
    assert!(Arc::ptr_eq(&first.entries[2], &second.entries[1]));
}

/// The real recipes of `../shared`, 60 commits; `None` without them or without the git program.
pub(crate) fn bundle() -> Option<(tempfile::TempDir, PathBuf, Vec<CommitId>)> {
    let shared = std::env::var("MASSIF_SHARED")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").to_string());
    let bundle = Path::new(&shared).join("data/recipes/recipes.bundle");
    if !bundle.exists() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recipes.git");
    let git = |args: &[&std::ffi::OsStr]| Command::new("git").args(args).output().ok();
    let cloned = git(&[
        "clone".as_ref(),
        "--quiet".as_ref(),
        "--bare".as_ref(),
        bundle.as_os_str(),
        path.as_os_str(),
    ])?;
    assert!(cloned.status.success(), "{cloned:?}");
    let listed = git(&[
        "-C".as_ref(),
        path.as_os_str(),
        "rev-list".as_ref(),
        "--reverse".as_ref(),
        "HEAD".as_ref(),
    ])?;
    let text = String::from_utf8(listed.stdout).unwrap();
    let commits = text.lines().map(|line| line.parse().unwrap()).collect();
    Some((dir, path, commits))
}

#[test]
fn the_real_recipes_are_read_and_each_commit_gives_the_same_as_reading_it_anew() {
    let Some((_dir, path, commits)) = bundle() else {
        return skipped("the recipes' bundle or git is missing");
    };
    assert_eq!(commits.len(), 60);
    let tip = commits[59];
    let cold = catalog(&path, tip, None);
    assert_eq!(cold.entries.len(), 1_558);
    // The format wants a version that starts with a digit, and a git upstream at a full commit id.
    let expected = [
        "d/device-quirks device-quirks! version \"r265.d5f90e4\" does not start with a digit",
        "g/gamescope-session gamescope-session! version \"r319.1c14e09\" does not start with a digit",
        "g/gamescope-session-opengamepadui gamescope-session-opengamepadui! version \"r22.f9aafe5\" does not start with a digit",
        "g/gamescope-session-steam-plus gamescope-session-steam-plus! version \"r1.6835776\" does not start with a digit",
        "l/libatasmart libatasmart! ref \"v0.19\" is not a full commit id",
        "p/phoronix-test-suite phoronix-test-suite! ref \"f665ba8\" is not a full commit id",
    ];
    let mut faulty = listing(&cold);
    faulty.retain(|line| line.contains('!'));
    assert_eq!(faulty, expected);
    let mut last = catalog(&path, commits[0], None);
    for (at, commit) in commits.iter().enumerate().skip(1) {
        let next = catalog(&path, *commit, Some(&last));
        for entry in &next.entries {
            let Ok(old) = last.entries.binary_search_by(|old| old.dir.cmp(&entry.dir)) else {
                continue;
            };
            let old = &last.entries[old];
            let good = matches!(entry.reading, Reading::Good(_));
            if good && old.tree == entry.tree {
                assert!(
                    Arc::ptr_eq(old, entry),
                    "{} was read again at {commit}",
                    entry.dir
                );
            }
        }
        if at == 30 {
            assert_eq!(next, catalog(&path, *commit, None), "at {commit}");
        }
        last = next;
    }
    assert_eq!(last, cold);
    assert_eq!(
        reader::decode(&reader::encode(&cold).unwrap()).unwrap(),
        cold
    );
}

#[test]
fn a_catalog_reads_back_from_its_blob_and_a_damaged_blob_is_refused() {
    let mut made = Made::new();
    made.write("h/hello/stone.yaml", recipe("hello", 1))
        .write("d/bad/stone.yaml", "[");
    let commit = made.commit("both");
    let whole = catalog(made.path(), commit, None);
    let blob = reader::encode(&whole).unwrap();
    assert_eq!(reader::decode(&blob).unwrap(), whole);
    assert!(reader::decode(&[]).is_err());
    for at in 0..blob.len() {
        assert!(reader::decode(&blob[..at]).is_err(), "cut at {at}");
        let mut changed = blob.clone();
        changed[at] ^= 0x55;
        // Anything but a panic; zstd's frame has no checksum, so a changed text may pass.
        let _ = reader::decode(&changed);
    }
}

// Mirrors and watchers.

fn fetching(stall_ms: u64) -> Fetching {
    Fetching {
        program: PathBuf::from(env!("CARGO_BIN_EXE_massif")),
        // A bound for what is broken.
        deadline: Duration::from_secs(600),
        stall: Duration::from_millis(stall_ms),
    }
}

pub(crate) fn skipped(why: &str) {
    println!("skipped: {why}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
}

#[tokio::test]
async fn a_mirror_follows_its_remote_through_rewrites_and_heals_itself() {
    let mut made = Made::new();
    let first = made
        .write("h/hello/stone.yaml", recipe("hello", 1))
        .commit("first");
    made.commit_on("refs/heads/gone", "other", None);
    let base = made.path().parent().unwrap();
    let Some(server) = git_server::daemon(base) else {
        return skipped("git is not installed");
    };
    let name = made.path().file_name().unwrap().to_str().unwrap();
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::of(&format!("{server}/{name}"), state.path()).unwrap();
    assert!(!mirror.is_local());
    let means = fetching(300_000);
    assert_eq!(
        mirror.sync(&means, |_| {}).await.unwrap(),
        Vec::<String>::new()
    );
    let tip = |branch| Repo::open(mirror.path()).unwrap().tip(branch);
    assert_eq!(tip(None).unwrap(), first);
    assert!(tip(Some("gone")).is_ok());

    let second = made.write("a", "2").commit("second");
    std::fs::remove_file(made.path().join(".git/refs/heads/gone")).unwrap();
    mirror.sync(&means, |_| {}).await.unwrap();
    assert_eq!(tip(None).unwrap(), second);
    assert!(tip(Some("gone")).is_err());

    let forced = made.commit_on("refs/heads/main", "rewritten", None);
    mirror.sync(&means, |_| {}).await.unwrap();
    assert_eq!(tip(None).unwrap(), forced);

    // A lock that a killed fetch left behind.
    std::fs::write(mirror.path().join("refs/heads/main.lock"), b"").unwrap();
    let third = made.write("a", "3").commit("third");
    mirror.sync(&means, |_| {}).await.unwrap();
    assert_eq!(tip(None).unwrap(), third);

    // Packs that are gone, a history that was cut, an object that could not be read.
    for damage in 0..3 {
        match damage {
            0 => std::fs::remove_dir_all(mirror.path().join("objects")).unwrap(),
            1 => std::fs::write(mirror.path().join("shallow"), format!("{third}\n")).unwrap(),
            _ => mirror.condemn(),
        }
        let notes = mirror.sync(&means, |_| {}).await.unwrap();
        assert!(notes[0].contains("made anew"), "{notes:?}");
        assert_eq!(tip(None).unwrap(), third);
    }
    let left: Vec<_> = std::fs::read_dir(state.path())
        .unwrap()
        .flatten()
        .map(|file| file.file_name())
        .collect();
    assert_eq!(left.len(), 2, "a mirror and its lock, not {left:?}");

    let none = Mirror::of(&format!("{server}/nothing"), state.path()).unwrap();
    let fault = none.sync(&means, |_| {}).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Network);
    assert!(!none.path().exists());
    mirror.remove().await.unwrap();
    none.remove().await.unwrap();
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_remote_behind_https_is_fetched_when_its_certificate_is_trusted() {
    let mut made = Made::new();
    let first = made.write("a", "1").commit("first");
    let Some((server, certificate)) = git_server::https(made.path().parent().unwrap()) else {
        return skipped("git is not installed");
    };
    let name = made.path().file_name().unwrap().to_str().unwrap();
    let state = tempfile::tempdir().unwrap();
    let mirror = Mirror::of(&format!("{server}/{name}"), &state.path().join("mirrors")).unwrap();
    let fault = mirror.sync(&fetching(300_000), |_| {}).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Network);
    assert!(fault.to_string().contains("certificate"), "{fault}");

    // The variable that the system's certificate store listens to, for the child only.
    std::fs::write(state.path().join("ca.pem"), certificate).unwrap();
    let program = state.path().join("massif");
    let script = format!(
        "#!/bin/sh\nSSL_CERT_FILE={} exec {} \"$@\"\n",
        state.path().join("ca.pem").display(),
        env!("CARGO_BIN_EXE_massif")
    );
    common::program(&program, &mut script.as_bytes());
    let trusting = Fetching {
        program,
        ..fetching(300_000)
    };
    mirror.sync(&trusting, |_| {}).await.unwrap();
    let tip = || Repo::open(mirror.path()).unwrap().tip(None).unwrap();
    assert_eq!(tip(), first);
    let second = made.write("a", "2").commit("second");
    mirror.sync(&trusting, |_| {}).await.unwrap();
    assert_eq!(tip(), second);
}

#[test]
fn urls_become_directories_that_name_their_host_and_passwords_are_not_shown() {
    let mirrors = Path::new("/m");
    let of = |url: &str| Mirror::of(url, mirrors);
    let one = of("https://user:secret@git.example.org/group/recipes.git").unwrap();
    let name = one.path().file_name().unwrap().to_str().unwrap();
    assert!(
        name.starts_with("git.example.org-group-recipes.git-"),
        "{name}"
    );
    assert!(!one.shown().contains("secret"), "{}", one.shown());
    assert!(!format!("{:?}", one.path()).contains("secret"));
    let other = of("https://git.example.com/group/recipes.git").unwrap();
    assert_ne!(one.path(), other.path());
    assert!(!of("git@host.example:recipes.git").unwrap().is_local());
    for local in [
        "/srv/recipes",
        "file:///srv/recipes",
        "file://localhost/srv/recipes",
    ] {
        let mirror = of(local).unwrap();
        assert!(mirror.is_local());
        assert_eq!(mirror.path(), Path::new("/srv/recipes"), "{local}");
    }
    for bad in [
        "",
        "recipes",
        "./recipes",
        "file://elsewhere/srv",
        "ext::sh -c id",
        "https://",
    ] {
        let fault = of(bad).unwrap_err();
        assert_eq!(fault.kind, Kind::Usage, "{bad}");
        assert!(!fault.next.is_empty());
    }
}

type Log = Arc<Mutex<Vec<Heard>>>;

fn watch(
    url: &str,
    mirrors: &Path,
    stall_ms: u64,
    previous: Option<Arc<Catalog>>,
) -> (Watcher, Log) {
    let log = Log::default();
    let heard = log.clone();
    let settings = Settings {
        project: project(),
        url: url.to_string(),
        branch: None,
        arch: ARCH,
        poll: Duration::from_secs(3_600),
        fetching: fetching(stall_ms),
        mirrors: mirrors.to_owned(),
    };
    let report = Arc::new(move |one| heard.lock().unwrap().push(one));
    (Watcher::start(settings, previous, report).unwrap(), log)
}

fn words(log: &Log) -> Vec<String> {
    let heard = log.lock().unwrap();
    heard
        .iter()
        .map(|one| match one {
            Heard::TipMoved { catalog, notes, .. } => {
                format!("moved {} {}", catalog.commit, notes.len())
            }
            Heard::IntakeFault { fault, .. } => format!("fault {:?}", fault.kind),
            Heard::IntakeMended { .. } => "mended".to_string(),
        })
        .collect()
}

#[tokio::test]
async fn a_watcher_reports_what_moved_and_each_fault_once() {
    let mut made = Made::new();
    let state = tempfile::tempdir().unwrap();
    let first = made
        .write("h/hello/stone.yaml", recipe("hello", 1))
        .commit("first");
    let (watcher, log) = watch(&made.url(), state.path(), 1_000, None);
    assert_eq!(watcher.refresh().await.unwrap().unwrap(), first);
    assert_eq!(watcher.refresh().await.unwrap().unwrap(), first);
    assert_eq!(words(&log), [format!("moved {first} 0")]);

    let hidden = made.path().with_extension("hidden");
    std::fs::rename(made.path(), &hidden).unwrap();
    for _ in 0..2 {
        assert_eq!(
            watcher.refresh().await.unwrap().unwrap_err().kind,
            Kind::Operator
        );
    }
    assert!(watcher.seen().borrow().fault.is_some());
    std::fs::rename(&hidden, made.path()).unwrap();
    assert_eq!(watcher.refresh().await.unwrap().unwrap(), first);
    assert_eq!(words(&log)[1..], ["fault Operator", "mended"]);

    let forced = made.commit_on("refs/heads/main", "rewritten", None);
    assert_eq!(watcher.refresh().await.unwrap().unwrap(), forced);
    assert_eq!(words(&log)[3], format!("moved {forced} 1"));
    let seen = watcher.seen().borrow().clone();
    assert_eq!((seen.commit, seen.fault), (Some(forced), None));

    // Another one that starts from the recorded catalog has nothing to report.
    let recorded = catalog(made.path(), forced, None);
    let (second, log) = watch(&made.url(), state.path(), 1_000, Some(Arc::new(recorded)));
    assert_eq!(second.refresh().await.unwrap().unwrap(), forced);
    assert!(words(&log).is_empty());
}

#[tokio::test]
async fn a_remote_that_hangs_is_given_up_and_delays_nobody() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut made = Made::new();
    let tip = made.write("a", "1").commit("first");
    let mut hung = Vec::new();
    for scheme in ["git", "http"] {
        let url = format!("{scheme}://{}/recipes", deaf.local_addr().unwrap());
        hung.push(watch(&url, state.path(), 6_000, None));
    }
    let mut asked: Vec<_> = hung.iter().map(|(watcher, _)| watcher.refresh()).collect();
    let (quick, _) = watch(&made.url(), state.path(), 3_000, None);
    assert_eq!(quick.refresh().await.unwrap().unwrap(), tip);
    for asked in &mut asked {
        assert!(asked.try_recv().is_err(), "the hanging ones still hang");
    }
    for asked in asked {
        let answer = tokio::time::timeout(Duration::from_secs(300), asked).await;
        let fault = answer.unwrap().unwrap().unwrap_err();
        assert_eq!(fault.kind, Kind::Network);
        assert!(fault.what.contains("was given up"), "{fault}");
    }
    for (_, log) in &hung {
        assert_eq!(words(log), ["fault Network"]);
    }
}
