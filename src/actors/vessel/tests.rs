//! vessel with real files: through its mailbox, after being killed at every step, and after its files were damaged.

use std::fs;
use std::io::{Cursor, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorRef};

use super::engine::{Admission, Engine};
use super::rows::Ended;
use super::*;
use crate::id::{Digest, JobId, Stamp};
use crate::model::{ArtefactKind, BlobRef};
use crate::stone::{LayoutEntry, Meta, Node, UniqueFile, package};
use crate::store::Options;

/// Longer than any step takes, however slow the disk is.
const PATIENCE: Duration = Duration::from_secs(300);
const BUILDER: HostId = HostId([7; 32]);
/// A builder whose packages are not published.
const TESTER: HostId = HostId([9; 32]);

fn attempt(job: u64) -> AttemptId {
    AttemptId {
        job: JobId(job),
        try_no: 1,
    }
}

fn main_channel() -> ChannelName {
    "main".parse().unwrap()
}

fn meta(source: &str, name: &str, release: u64, build_release: u64) -> Meta {
    Meta {
        name: name.into(),
        version: "1.0".into(),
        release,
        build_release,
        arch: Arch::X86_64,
        summary: format!("the {name}"),
        description: "A package that a test made.".into(),
        source: source.into(),
        homepage: "https://example.org".into(),
        licenses: vec!["MIT".into()],
        depends: vec!["soname(libc.so.6(x86_64))".parse().unwrap()],
        provides: vec![format!("binary({name})").parse().unwrap()],
        conflicts: Vec::new(),
        build_depends: Vec::new(),
        uri: None,
        hash: None,
        size: None,
    }
}

/// A package file in `dir` that holds one file; what it is as an artefact.
fn make_stone(dir: &Path, meta: &Meta) -> Artefact {
    let content = format!("{}\n", meta.file_name()).into_bytes();
    let file = package::hash_content(&content[..]).unwrap();
    let layout = [LayoutEntry {
        uid: 0,
        gid: 0,
        mode: 0o100_755,
        path: format!("bin/{}", meta.name),
        node: Node::Regular(file.hash),
    }];
    let mut out = Cursor::new(Vec::new());
    let mut open =
        |_: &UniqueFile| -> std::io::Result<Box<dyn Read + '_>> { Ok(Box::new(&content[..])) };
    package::write(&mut out, meta, &layout, &[file], &mut open, 1).unwrap();
    keep(
        dir,
        &meta.file_name(),
        &out.into_inner(),
        ArtefactKind::Stone,
    )
}

fn keep(dir: &Path, name: &str, bytes: &[u8], kind: ArtefactKind) -> Artefact {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join(name), bytes).unwrap();
    let blob = fetch::hash_file(fs::File::open(dir.join(name)).unwrap()).unwrap();
    Artefact {
        name: name.into(),
        kind,
        blob,
    }
}

fn expectation(job: u64, source: &str, release: u64, build_release: u64) -> Expectation {
    Expectation {
        attempt: attempt(job),
        builder: BUILDER,
        source: source.parse().unwrap(),
        version: "1.0".into(),
        release,
        build_release,
        arch: Arch::X86_64,
        channel: main_channel(),
    }
}

fn open_engine(dir: &Path) -> Engine {
    let store = Store::open(dir, &Options::default()).unwrap();
    let blobs = Blobs::open(dir).unwrap();
    Engine::open(dir, store, blobs).unwrap()
}

/// The shared checker of published channels; `None` (said aloud) where it cannot run and nobody insists.
fn stone_check(dir: &Path) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let shared = match std::env::var_os("MASSIF_SHARED") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let tool = shared.join("tools/stone_check.py");
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python");
    let python = venv.join("bin/python");
    let guard = ONE_AT_A_TIME.lock();
    let ready = |python: &Path| {
        let mut test = Command::new(python);
        test.args(["-c", "import zstandard, xxhash"]);
        test.output().is_ok_and(|out| out.status.success())
    };
    if tool.exists() && !ready(&python) {
        let _ = Command::new("python3")
            .args(["-m", "venv"])
            .arg(&venv)
            .output();
        let _ = Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "zstandard", "xxhash"])
            .output();
    }
    drop(guard);
    if !tool.exists() || !ready(&python) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no {tool:?}");
        println!("skipped: {tool:?} cannot run");
        return;
    }
    let out = Command::new(python)
        .arg(tool)
        .arg("repo")
        .arg(dir.join("public"))
        .arg("main")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}");
}

/// A vessel in a directory, and all that it says.
struct Rig {
    vessel: ActorRef<Message>,
    said: Arc<Mutex<Vec<Told>>>,
    view: watch::Receiver<View>,
}

impl Rig {
    async fn start(dir: &Path) -> Rig {
        let said: Arc<Mutex<Vec<Told>>> = Arc::default();
        let (view, seen) = watch::channel(View::default());
        let hears = said.clone();
        let arguments = Arguments {
            dir: dir.to_path_buf(),
            store: Store::open(dir, &Options::default()).unwrap(),
            blobs: Blobs::open(dir).unwrap(),
            tell: Arc::new(move |told| hears.lock().unwrap().push(told)),
            view,
            trusts: Arc::new(|builder| *builder != TESTER),
        };
        let (vessel, _) = Actor::spawn(None, Vessel, arguments).await.unwrap();
        Rig {
            vessel,
            said,
            view: seen,
        }
    }

    async fn ask<T: Send + 'static>(&self, message: impl FnOnce(RpcReplyPort<T>) -> Message) -> T {
        let answer = self.vessel.call(message, Some(PATIENCE)).await;
        answer.unwrap().unwrap()
    }

    async fn open(&self) -> Result<VersionId> {
        self.ask(|reply| Message::Open(main_channel(), Arch::X86_64, reply))
            .await
    }

    fn offer(&self, job: u64, dir: &Path, artefacts: &[Artefact]) {
        self.vessel
            .cast(Message::Offer(super::Offer {
                attempt: attempt(job),
                builder: BUILDER,
                artefacts: artefacts.to_vec(),
                from: Source::Local(dir.to_path_buf()),
            }))
            .unwrap();
    }

    /// What vessel says next, as soon as there are so many things.
    async fn said(&self, count: usize) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            {
                let mut said = self.said.lock().unwrap();
                if said.len() >= count {
                    return said.drain(..).map(|told| text(&told)).collect();
                }
                let few: Vec<String> = said.iter().map(text).collect();
                assert!(Instant::now() < until, "heard only {few:?}");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn stop(self) {
        self.vessel.stop_and_wait(None, None).await.unwrap();
    }
}

fn text(told: &Told) -> String {
    match told {
        Told::Summit(Say::Published {
            attempt, version, ..
        }) => format!("{attempt} published {version}"),
        Told::Summit(Say::Rejected {
            attempt,
            blame,
            why,
        }) => {
            format!("{attempt} rejected, {blame}: {}", why.what)
        }
        Told::Summit(Say::Staged { attempt }) => format!("{attempt} staged"),
        Told::Builder(_, Say::Receipt { attempt }) => format!("{attempt} receipt"),
        Told::Builder(_, Say::Unexpected { attempt }) => format!("{attempt} unexpected"),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_builder_for_tests_offers_is_neither_fetched_nor_published() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("attempts/1.1");
    let rig = Rig::start(dir.path()).await;
    rig.open().await.unwrap();
    let artefacts = [make_stone(&made, &meta("nano", "nano", 3, 1))];
    let expected = Expectation {
        builder: TESTER,
        ..expectation(1, "nano", 3, 1)
    };
    rig.vessel
        .cast(Message::Expect(Box::new(expected)))
        .unwrap();
    rig.vessel
        .cast(Message::Offer(super::Offer {
            attempt: attempt(1),
            builder: TESTER,
            artefacts: artefacts.to_vec(),
            from: Source::Local(made),
        }))
        .unwrap();
    let said = rig.said(2).await;
    assert!(
        said[0].starts_with("1.1 rejected, builder: ") && said[0].contains("may not publish"),
        "{said:?}"
    );
    assert_eq!(said[1], "1.1 unexpected");
    assert!(
        !Blobs::open(dir.path())
            .unwrap()
            .contains(&artefacts[0].blob.sha256)
    );
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_published_once_however_often_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("attempts/1.1");
    let rig = Rig::start(dir.path()).await;
    assert_eq!(rig.open().await, Ok(VersionId(1)));
    let artefacts = [
        make_stone(&made, &meta("nano", "nano", 3, 1)),
        make_stone(&made, &meta("nano", "nano-doc", 3, 1)),
        keep(
            &made,
            "manifest.x86_64.bin",
            b"manifest",
            ArtefactKind::ManifestBin,
        ),
    ];
    rig.offer(1, &made, &artefacts);
    assert_eq!(rig.said(1).await, ["1.1 unexpected"]);
    let expected = Box::new(expectation(1, "nano", 3, 1));
    rig.vessel.cast(Message::Expect(expected.clone())).unwrap();
    rig.offer(1, &made, &artefacts);
    rig.offer(1, &made, &artefacts);
    let mut said = rig.said(2).await;
    let artefacts_of = |reply| Message::Artefacts(attempt(1), reply);
    rig.ask(artefacts_of).await.unwrap();
    // The second one is heard by now. It counts for nothing while the first is being fetched, and after that it is answered.
    said.extend(rig.said(0).await);
    let once = ["1.1 published 2", "1.1 receipt"];
    assert!(
        said == once || said == [once, once].concat(),
        "published once: {said:?}"
    );
    fs::remove_dir_all(&made).unwrap();
    rig.offer(1, &made, &artefacts);
    assert_eq!(rig.said(2).await, ["1.1 published 2", "1.1 receipt"]);
    rig.vessel.cast(Message::Expect(expected.clone())).unwrap();
    assert_eq!(rig.said(1).await, ["1.1 published 2"]);
    let kept = rig
        .ask(|reply| Message::Artefacts(attempt(1), reply))
        .await
        .unwrap();
    assert_eq!(kept.len(), 3);
    let view = rig.view.borrow().clone();
    assert_eq!(view.channels[&main_channel()].packages.len(), 2);
    assert_eq!(view.next_build_release(&"nano".parse().unwrap(), 3), 2);
    assert_eq!(view.next_build_release(&"nano".parse().unwrap(), 4), 1);
    let verified = rig
        .ask(|reply| Message::Verify(main_channel(), reply))
        .await
        .unwrap();
    assert_eq!((verified.versions, verified.packages), (2, 2));
    assert_eq!(verified.problems, Vec::<String>::new());
    rig.stop().await;
    stone_check(dir.path());
    // The same after a restart.
    let rig = Rig::start(dir.path()).await;
    rig.vessel.cast(Message::Expect(expected)).unwrap();
    assert_eq!(rig.said(1).await, ["1.1 published 2"]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_staged_is_kept_over_a_restart_until_it_is_expected_or_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let made = |job: u64| dir.path().join(format!("attempts/{job}.1"));
    let rig = Rig::start(dir.path()).await;
    rig.open().await.unwrap();
    let stage = |rig: &Rig, job: u64, source: &str| {
        let expected = Box::new(expectation(job, source, 3, 1));
        rig.vessel.cast(Message::Stage(expected)).unwrap();
    };
    let nano = [make_stone(&made(1), &meta("nano", "nano", 3, 1))];
    stage(&rig, 1, "nano");
    rig.offer(1, &made(1), &nano);
    assert_eq!(rig.said(1).await, ["1.1 staged"]);
    rig.offer(1, &made(1), &nano);
    assert_eq!(rig.said(1).await, ["1.1 staged"]);
    // Another one, which is not wanted after all; and one that is no good.
    let vim = [make_stone(&made(2), &meta("vim", "vim", 3, 1))];
    stage(&rig, 2, "vim");
    rig.offer(2, &made(2), &vim);
    assert_eq!(rig.said(1).await, ["2.1 staged"]);
    rig.vessel.cast(Message::Forget(attempt(2))).unwrap();
    let gone = rig.ask(|reply| Message::Artefacts(attempt(2), reply)).await;
    assert_eq!(gone.unwrap(), []);
    assert!(
        !Blobs::open(dir.path())
            .unwrap()
            .contains(&vim[0].blob.sha256)
    );
    stage(&rig, 3, "ed");
    let wrong = [make_stone(&made(3), &meta("other", "other", 3, 1))];
    rig.offer(3, &made(3), &wrong);
    let said = rig.said(2).await;
    assert!(said[0].starts_with("3.1 rejected"), "{said:?}");
    assert_eq!(said[1], "3.1 receipt");
    // Nothing of it is published, and it is there after a restart without its builder.
    let view = rig.view.borrow().clone();
    assert_eq!(view.channels[&main_channel()].packages.len(), 0);
    rig.stop().await;
    fs::remove_dir_all(made(1)).unwrap();
    let rig = Rig::start(dir.path()).await;
    stage(&rig, 1, "nano");
    assert_eq!(rig.said(1).await, ["1.1 staged"]);
    let expected = Box::new(expectation(1, "nano", 3, 1));
    rig.vessel.cast(Message::Expect(expected.clone())).unwrap();
    assert_eq!(rig.said(2).await, ["1.1 published 2", "1.1 receipt"]);
    // What is published is not forgotten, and not staged again.
    rig.vessel.cast(Message::Forget(attempt(1))).unwrap();
    rig.vessel.cast(Message::Stage(expected)).unwrap();
    assert_eq!(rig.said(1).await, ["1.1 published 2"]);
    let kept = rig.ask(|reply| Message::Artefacts(attempt(1), reply)).await;
    assert_eq!(kept.unwrap().len(), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_expected_is_rejected_and_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path()).await;
    rig.open().await.unwrap();
    let cases: [(u64, &str, Meta); 5] = [
        (
            1,
            "builder: x-1.0-3-1-x86_64.stone has source other",
            meta("other", "x", 3, 1),
        ),
        (
            2,
            "builder: x-1.0-4-1-x86_64.stone has release 4",
            meta("x", "x", 4, 1),
        ),
        (
            3,
            "builder: x-1.0-3-2-x86_64.stone has build release 2",
            meta("x", "x", 3, 2),
        ),
        (
            4,
            "builder: x-1.0-3-1-aarch64.stone has architecture aarch64",
            {
                Meta {
                    arch: Arch::Aarch64,
                    ..meta("x", "x", 3, 1)
                }
            },
        ),
        (
            5,
            "recipe: \"a b-1.0-3-1-x86_64.stone\" cannot be served",
            meta("x", "a b", 3, 1),
        ),
    ];
    for (job, why, meta) in cases {
        let made = dir.path().join(format!("attempts/{job}"));
        let artefacts = [make_stone(&made, &meta)];
        let expected = Box::new(expectation(job, "x", 3, 1));
        rig.vessel.cast(Message::Expect(expected)).unwrap();
        for _ in 0..2 {
            rig.offer(job, &made, &artefacts);
            let said = rig.said(2).await;
            assert!(
                said[0].starts_with(&format!("{job}.1 rejected, {why}")),
                "{said:?}"
            );
        }
    }
    // Bytes that are not those reported, a file that is missing, and one that is no stone.
    let made = dir.path().join("attempts/9");
    let good = make_stone(&made, &meta("x", "x", 3, 1));
    let mut other = good.clone();
    other.blob.sha256 = Digest([1; 32]);
    let mut missing = other.clone();
    missing.name = "nowhere.stone".into();
    let noise = keep(&made, "noise.stone", b"noise", ArtefactKind::Stone);
    let mut outside = good.clone();
    outside.name = "../9/x-1.0-3-1-x86_64.stone".into();
    outside.blob.sha256 = Digest([2; 32]);
    for (job, artefact, why) in [
        (10, other, "builder: x-1.0-3-1-x86_64.stone has "),
        (11, missing, "builder: cannot fetch nowhere.stone"),
        (12, noise, "builder: noise.stone: bad stone"),
        (13, outside, "builder: an artefact is called"),
    ] {
        let expected = Box::new(expectation(job, "x", 3, 1));
        rig.vessel.cast(Message::Expect(expected)).unwrap();
        rig.offer(job, &made, &[artefact]);
        let said = rig.said(2).await;
        assert!(
            said[0].starts_with(&format!("{job}.1 rejected, {why}")),
            "{said:?}"
        );
    }
    // Nothing of all that was published.
    assert_eq!(rig.open().await, Ok(VersionId(1)));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_and_rollbacks_are_versions_that_clients_can_walk() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path()).await;
    rig.open().await.unwrap();
    let made = dir.path().join("files");
    let file = |meta: &Meta| made.join(make_stone(&made, meta).name);
    let import = async |files: Vec<PathBuf>| {
        rig.ask(|reply| Message::Import {
            channel: main_channel(),
            files,
            by: Who::Uid(0),
            reply,
        })
        .await
    };
    let first = vec![
        file(&meta("nano", "nano", 1, 1)),
        file(&meta("libxy", "libxy", 1, 1)),
    ];
    let changed = import(first.clone()).await.unwrap();
    assert_eq!((changed.version, changed.changed), (VersionId(2), 2));
    assert_eq!(import(first).await.unwrap().changed, 0);
    let changed = import(vec![file(&meta("nano", "nano", 2, 1))])
        .await
        .unwrap();
    assert_eq!(changed.version, VersionId(3));
    let noise = keep(&made, "noise.stone", b"noise", ArtefactKind::Stone);
    assert!(import(vec![made.join(noise.name)]).await.is_err());
    assert!(import(vec![]).await.is_err());
    assert!(import(vec![made.join("nowhere")]).await.is_err());
    let back = rig
        .ask(|reply| Message::RollBack {
            channel: main_channel(),
            to: VersionId(2),
            by: Who::Uid(0),
            reply,
        })
        .await
        .unwrap();
    assert_eq!((back.version, back.changed), (VersionId(4), 1));
    assert_eq!(back.sources, ["nano".parse().unwrap()]);
    // A pool name keeps its bytes for ever, also after a rollback.
    let mut same_name = meta("nano", "nano", 2, 1);
    same_name.summary = "other bytes".into();
    let fault = import(vec![file(&same_name)]).await.unwrap_err();
    assert!(fault.what.contains("with other bytes"), "{fault}");
    rig.stop().await;
    stone_check(dir.path());
    let link = fs::read_link(dir.path().join("public/main/stream/volatile")).unwrap();
    assert_eq!(link, Path::new("../history/4"));
}

#[test]
fn damage_to_served_files_is_found_by_verify_and_put_right_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let public = dir.path().join("public/main");
    publish(dir.path(), 1, "nano", 1);
    publish(dir.path(), 2, "nano", 2);
    let pool = public.join("pool/v0/n/nano");
    let damage = |what: &dyn Fn()| {
        what();
        let engine = open_engine_unrepaired(dir.path());
        let (shelf, state, needed) = engine;
        let problems = shelf.verify(&state, &needed).unwrap().problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        drop(open_engine(dir.path()));
        assert_eq!(
            shelf.verify(&state, &needed).unwrap().problems,
            Vec::<String>::new()
        );
        stone_check(dir.path());
    };
    damage(&|| fs::remove_file(pool.join("nano-1.0-1-1-x86_64.stone")).unwrap());
    damage(&|| {
        let path = pool.join("nano-1.0-2-1-x86_64.stone");
        fs::remove_file(&path).unwrap();
        fs::write(path, b"short").unwrap();
    });
    damage(&|| fs::remove_dir_all(public.join("history/2")).unwrap());
    damage(&|| {
        let path = public.join("history/3/x86_64/stone.index");
        let mut bytes = fs::read(&path).unwrap();
        bytes[40] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    damage(&|| fs::write(public.join("moss-root-index.json"), b"{}").unwrap());
    damage(&|| fs::remove_file(public.join("stream/volatile")).unwrap());
}

fn open_engine_unrepaired(
    dir: &Path,
) -> (
    shelf::Shelf,
    Arc<ChannelState>,
    Vec<Arc<crate::channel::PublishedPackage>>,
) {
    let store = Store::open(dir, &Options::default()).unwrap();
    let state = rows::channels(&store)
        .unwrap()
        .remove(&main_channel())
        .unwrap();
    let mut needed: Vec<_> = state.packages.iter().cloned().collect();
    for edit in state.steps.iter().flat_map(|step| &step.edits) {
        if let Some(before) = edit.before {
            needed.extend(rows::packages(&store, &[before]).unwrap());
        }
    }
    let shelf = shelf::Shelf::open(dir, Blobs::open(dir).unwrap()).unwrap();
    (shelf, Arc::new(state), needed)
}

/// One attempt from its expectation to its publication, as the actor does it.
fn publish(dir: &Path, job: u64, source: &str, release: u64) -> VersionId {
    let mut engine = open_engine(dir);
    engine
        .open_channel(&main_channel(), Arch::X86_64, Stamp(0))
        .unwrap();
    let expected = expectation(job, source, release, 1);
    if let Some(Ended::Published { version, .. }) = engine.expect(expected.clone()).unwrap() {
        return version;
    }
    let made = dir.join(format!("attempts/{job}"));
    let artefacts = [make_stone(&made, &meta(source, source, release, 1))];
    let blobs = Blobs::open(dir).unwrap();
    fetch::fetch(&blobs, &Source::Local(made), &artefacts).unwrap();
    crate::actors::kill_point("vessel:after-fetch");
    let packages = check::check_offer(&blobs, &expected, &artefacts).unwrap();
    crate::actors::kill_point("vessel:after-check");
    let done = engine
        .publish(attempt(job), BUILDER, &artefacts, &packages, Stamp(1))
        .unwrap();
    engine.served().unwrap();
    crate::actors::kill_point("vessel:before-tell");
    match done {
        Admission::Over(Ended::Published { version, .. }) => version,
        other => panic!("{other:?}"),
    }
}

/// What the test below kills; on its own it does nothing.
#[test]
fn child_that_publishes() {
    if let Some(dir) = std::env::var_os("MASSIF_TEST_DIR") {
        publish(Path::new(&dir), 2, "nano", 2);
    }
}

#[test]
fn killed_at_any_step_of_publishing_the_next_start_ends_in_the_same_state() {
    for point in [
        "vessel:after-fetch",
        "vessel:after-check",
        "vessel:before-commit",
        "vessel:after-commit",
        "vessel:after-pool",
        "vessel:after-index",
        "vessel:after-root",
        "vessel:before-tell",
    ] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(publish(dir.path(), 1, "nano", 1), VersionId(2));
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "actors::vessel::tests::child_that_publishes"])
            .env("MASSIF_TEST_DIR", dir.path())
            .env("MASSIF_KILL_AT", point)
            .output()
            .unwrap()
            .status;
        assert_eq!(status.signal(), Some(9), "{point}");
        // Whatever a client sees in between is whole.
        stone_check(dir.path());
        assert_eq!(publish(dir.path(), 2, "nano", 2), VersionId(3), "{point}");
        let engine = open_engine(dir.path());
        let (shelf, state, needed) = engine.to_verify(&main_channel()).unwrap();
        assert_eq!(state.steps.len(), 3, "{point}: published twice");
        assert_eq!(
            shelf.verify(&state, &needed).unwrap().problems,
            Vec::<String>::new()
        );
        assert_eq!(
            fs::read_dir(dir.path().join("public/main/history"))
                .unwrap()
                .count(),
            3
        );
        stone_check(dir.path());
    }
}

#[test]
fn real_packages_are_imported_and_a_check_by_others_holds() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/stones");
    if !shared.exists() {
        println!("skipped: {shared:?} is missing");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut engine = open_engine(dir.path());
    engine
        .open_channel(&main_channel(), Arch::X86_64, Stamp(0))
        .unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    let files: Vec<PathBuf> = [
        "nano-8.3-33-1-x86_64.stone",
        "nano-dbginfo-8.3-33-1-x86_64.stone",
    ]
    .iter()
    .map(|name| shared.join(name))
    .collect();
    let taken = fetch::take(&blobs, &files).unwrap();
    let packages: Vec<Checked> = taken
        .into_iter()
        .map(|file: BlobRef| check::check_file(&blobs, file, "nano").unwrap())
        .collect();
    let changed = engine
        .import(&main_channel(), &packages, Who::Farm, Stamp(5))
        .unwrap();
    assert_eq!(changed.changed, 2);
    engine.served().unwrap();
    stone_check(dir.path());
}
