//! A farm that knows 1,558 recipes and serves 4,000 packages: start, memory, wake-ups, and one more package.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use massif::stone::package::{self, UniqueFile};
use massif::stone::{LayoutEntry, Meta, Node, manifest};

use super::intake;
use super::ring::{ask, median, status_kib, stop, up, wakes};

const PACKAGES: usize = 4_000;
const ROUNDS: u64 = 21;
/// Files for one `package import`: far below the kernel's limit on arguments.
const AT_ONCE: usize = 2_000;

/// Prints the figures; does nothing without the bundle or the git program.
pub fn run() {
    let Some((_clone, path)) = intake::clone() else {
        println!("published: skipped (needs ../shared/data/recipes/recipes.bundle and git)");
        return;
    };
    let place = tempfile::tempdir().expect("a temporary directory");
    let farm = place.path().join("farm");
    let metas = metas(&path, &place.path().join("recipes"));
    let files: Vec<PathBuf> = metas
        .iter()
        .map(|meta| write_stone(place.path(), meta))
        .collect();
    let (child, _) = up(&farm);
    for chunk in files.chunks(AT_ONCE) {
        let mut arguments = vec!["package", "import"];
        arguments.extend(chunk.iter().filter_map(|file| file.to_str()));
        ask(&farm, &arguments);
    }
    let url = path.to_str().expect("a plain path");
    ask(&farm, &["project", "add", "real", url]);
    ask(&farm, &["project", "refresh", "real"]);

    let mut whole = Vec::new();
    let mut bare = Vec::new();
    for build_release in 1..=ROUNDS {
        let mut meta = newcomer(&metas[0]);
        meta.build_release = build_release;
        let file = write_stone(place.path(), &meta);
        let began = Instant::now();
        ask(
            &farm,
            &["package", "import", file.to_str().expect("a plain path")],
        );
        whole.push(began.elapsed());
        let began = Instant::now();
        ask(&farm, &["channel", "list"]);
        bare.push(began.elapsed());
    }
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let worst = whole.iter().max().copied().unwrap_or_default();
    let (whole, bare) = (median(whole), median(bare));
    println!(
        "published: one package into a channel of {PACKAGES}: median {:.1} ms as a command, worst {:.1} ms; a command that \
only looks takes {:.1} ms; the difference is {:.1} ms (bar 20)",
        ms(whole),
        ms(worst),
        ms(bare),
        ms(whole.saturating_sub(bare)),
    );
    stop(child);

    let mut starts = Vec::new();
    for _ in 0..3 {
        let (child, took) = up(&farm);
        starts.push(took);
        stop(child);
    }
    println!(
        "published: start to ready with 1,558 recipes and {PACKAGES} packages: median {:.2} s (bar 1.5)",
        median(starts).as_secs_f64()
    );
    let (child, _) = up(&farm);
    ask(&farm, &["project", "refresh", "real"]);
    ask(&farm, &["plan"]);
    std::thread::sleep(Duration::from_secs(5));
    let before = wakes(child.id());
    std::thread::sleep(Duration::from_secs(10));
    println!(
        "published: the same at rest after planning: {:.1} MiB resident (bar 100), {:.1} wake-ups/s (bar 20)",
        status_kib(child.id(), "VmRSS:").unwrap_or_default() as f64 / 1024.0,
        (wakes(child.id()) - before) as f64 / 10.0,
    );
    stop(child);
}

/// The package that is published again and again.
fn newcomer(like: &Meta) -> Meta {
    Meta {
        name: "newcomer".into(),
        source: "newcomer".into(),
        version: "1.0".into(),
        release: 1,
        depends: Vec::new(),
        provides: Vec::new(),
        conflicts: Vec::new(),
        ..like.clone()
    }
}

/// The packages of the real manifests, and some again under other names until there are enough.
fn metas(repository: &Path, files: &Path) -> Vec<Meta> {
    std::fs::create_dir_all(files).expect("a directory");
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(repository).arg("--work-tree").arg(files);
        let output = git.args(arguments).output().expect("git runs");
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    git(&["checkout", "--force", "HEAD", "--", "."]);
    let mut metas = Vec::new();
    let names = git(&["ls-tree", "-r", "-z", "--name-only", "HEAD"]);
    for name in names
        .split('\0')
        .filter(|name| name.ends_with(".x86_64.bin"))
    {
        let bytes = std::fs::read(files.join(name)).expect("the clone has its files");
        metas.extend(manifest::read(&bytes).expect("the manifests of a distribution are whole"));
    }
    let mut seen = BTreeSet::new();
    metas.retain(|meta| seen.insert(meta.name.clone()));
    metas.truncate(PACKAGES);
    let more: Vec<Meta> = metas.iter().take(PACKAGES - metas.len()).cloned().collect();
    metas.extend(more.into_iter().map(|meta| Meta {
        name: format!("{}-again", meta.name),
        source: format!("{}-again", meta.source),
        ..meta
    }));
    for meta in &mut metas {
        meta.build_release = 1;
        meta.build_depends.clear();
    }
    metas
}

/// A package of one small file.
fn write_stone(place: &Path, meta: &Meta) -> PathBuf {
    let content = format!("{}\n", meta.file_name()).into_bytes();
    let file = package::hash_content(&content[..]).expect("memory can be read");
    let layout = [LayoutEntry {
        uid: 0,
        gid: 0,
        mode: 0o100_755,
        path: format!("share/{}", meta.name),
        node: Node::Regular(file.hash),
    }];
    let path = place.join(meta.file_name());
    let mut out = std::fs::File::create(&path).expect("a file");
    let mut open =
        |_: &UniqueFile| -> std::io::Result<Box<dyn Read + '_>> { Ok(Box::new(&content[..])) };
    package::write(&mut out, meta, &layout, &[file], &mut open, 1).expect("the disk has room");
    path
}
