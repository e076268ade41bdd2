//! Comparing two builds of a package set, what idle builders do, and the noise of the comparison of levels:
//! `cargo bench --bench figures -- proof`. `MASSIF_SET_MIB` sets the size of the set, 1,024 unless given; `MASSIF_NOISE` how often
//! the same level is measured against itself, 5 unless given, and `MASSIF_NOISE_RUNS` with how many runs of each side, 12 unless
//! given: 2 s of work each and one turn more take a minute; with 6, the fewest that 95 % can be had from, half of that.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use massif::fault::Result;
use massif::id::{Arch, ContentHash, Digest};
use massif::model::{Artefact, ArtefactKind, BlobRef};
use massif::stone::{LayoutEntry, Meta, Node, UniqueFile, package};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::ring;
use super::table::Table;

const MIB: u64 = 1024 * 1024;
/// Bytes of one package's content, and of one of its files.
const PACKAGE_MIB: u64 = 64;
const FILE_MIB: u64 = 4;

/// Bytes that do not compress, the same each time for a seed; one bit is another where asked.
struct Noise {
    state: u64,
    left: u64,
    flipped: bool,
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap());
        for chunk in buffer[..wanted].chunks_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            chunk.copy_from_slice(&self.state.to_le_bytes()[..chunk.len()]);
        }
        self.left -= wanted as u64;
        if self.flipped && self.left == 0 && wanted > 0 {
            buffer[wanted - 1] ^= 1;
        }
        Ok(wanted)
    }
}

fn noise(seed: u64, flipped: bool) -> Noise {
    Noise {
        state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        left: FILE_MIB * MIB,
        flipped,
    }
}

/// Writes one package; `flipped`: one bit of its last file is another. `summary` makes its tables another.
fn stone(path: &Path, number: u64, mib: u64, flipped: bool, summary: &str) -> Artefact {
    let meta = Meta {
        name: format!("set{number}"),
        version: "1".into(),
        release: 1,
        build_release: 1,
        arch: Arch::X86_64,
        summary: summary.into(),
        description: "a part of a set".into(),
        source: "set".into(),
        homepage: "https://example.invalid".into(),
        licenses: vec!["MIT".into()],
        depends: Vec::new(),
        provides: Vec::new(),
        conflicts: Vec::new(),
        build_depends: Vec::new(),
        uri: None,
        hash: None,
        size: None,
    };
    let count = (mib / FILE_MIB).max(1);
    let (mut layout, mut files, mut seeds) = (Vec::new(), Vec::new(), HashMap::new());
    for at in 0..count {
        let (seed, flips) = (number * 1_000 + at + 1, flipped && at + 1 == count);
        let one: UniqueFile = package::hash_content(noise(seed, flips)).unwrap();
        seeds.insert(one.hash, (seed, flips));
        layout.push(LayoutEntry {
            uid: 0,
            gid: 0,
            mode: 0o100_644,
            path: format!("lib/part{at}"),
            node: Node::Regular(one.hash),
        });
        files.push(one);
    }
    let seeds: HashMap<ContentHash, (u64, bool)> = seeds;
    let mut open = |file: &UniqueFile| {
        let (seed, flips) = seeds[&file.hash];
        Ok(Box::new(noise(seed, flips)) as Box<dyn Read>)
    };
    let mut out = BufWriter::new(File::create(path).unwrap());
    package::write(&mut out, &meta, &layout, &files, &mut open, 2).unwrap();
    out.flush().unwrap();
    let blob = hash(path);
    Artefact {
        name: format!("set{number}.stone"),
        kind: ArtefactKind::Stone,
        blob,
    }
}

fn hash(path: &Path) -> BlobRef {
    let mut file = File::open(path).unwrap();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let got = file.read(&mut buffer).unwrap();
        if got == 0 {
            let sha256 = Digest(hash.finalize().into());
            return BlobRef { sha256, size };
        }
        hash.update(&buffer[..got]);
        size += got as u64;
    }
}

/// A line of `/proc/self/status`, in KiB.
fn status_kib(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn given(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Where a process finds the sets that it compares, and nothing else.
const SETS: &str = "MASSIF_COMPARED_SETS";

pub fn run() {
    if let Some(dir) = std::env::var_os(SETS) {
        return compared(Path::new(&dir));
    }
    let mut table = Table::of("proof");
    sets(&mut table);
    farm(&mut table);
    table.finish();
}

/// A recipe with these phases.
fn recipe(name: &str, phases: &str) -> String {
    format!(
        "name: {name}\nversion: \"1\"\nrelease: 1\nhomepage: https://example.invalid\nlicense: MIT\nsummary: a figure\n\
description: |\n    A figure.\n{phases}install: |\n    %install_dir %(installroot)%(datadir)/{name}\n    echo {name} > %(installroot)%(datadir)/{name}/content\n"
    )
}

fn commit(repo: &Path, name: &str, phases: &str) {
    let dir = repo.join("x").join(name);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("stone.yaml"), recipe(name, phases)).unwrap();
    for arguments in [&["add", "."][..], &["commit", "-q", "-m", name]] {
        ring::git(repo, arguments);
    }
}

fn json(dir: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(arguments);
    serde_json::from_str(&ring::ask(dir, &all)).unwrap()
}

/// Asks until the answer fits, for ten minutes at most.
fn until(dir: &Path, arguments: &[&str], fits: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let answer = json(dir, arguments);
        if fits(&answer) {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(600), "{answer:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn stamp_ms(value: &Value) -> i64 {
    let stamp: massif::id::Stamp = value.as_str().unwrap().parse().unwrap();
    stamp.0
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_millis()).unwrap()
}

fn published(dir: &Path, name: &str) -> Value {
    until(dir, &["job", "list"], |jobs| {
        let mut all = jobs.as_array().unwrap().iter();
        all.any(|job| job["recipe"] == name && job["state"] == "published")
    });
    json(dir, &["job", "show", name])
}

/// When the farm recorded something of this kind about a job, in milliseconds.
fn recorded_ms(dir: &Path, kind: &str, job: &Value) -> i64 {
    let all = json(dir, &["call", "io.massif.Host.Audit", r#"{"limit": 1000}"#]);
    let mut all = all["events"].as_array().unwrap().iter();
    let found = all.rfind(|event| event["kind"] == kind && event["job"] == *job);
    stamp_ms(&found.unwrap()["at"])
}

/// A farm with one slot: from the end of its work to a comparison, from real work to its slot, and a level against itself.
fn farm(table: &mut Table) {
    let place = tempfile::tempdir().unwrap();
    let (dir, repo) = (place.path().join("farm"), place.path().join("repo"));
    std::fs::create_dir_all(&repo).unwrap();
    ring::git(&repo, &["init", "-q", "-b", "main"]);
    let slow = "build: |\n    for i in $(seq 20); do echo $i; sleep 0.5; done\n";
    commit(&repo, "slow", slow);
    let (child, _) = ring::up_with(&dir, &["--slots", "1", "--poll", "1s"]);
    ring::ask(&dir, &["project", "add", "figures", repo.to_str().unwrap()]);
    ring::ask(&dir, &["channel", "policy", "main", "--compare-idle", "on"]);
    let (mut idle_ms, mut way_ms): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
    let mut last = published(&dir, "slow");
    for at in 0..5 {
        let compared = |all: &Value, recipe: &str| {
            let slot = &all[0]["slots"][0];
            let text = slot["recipe"].as_str().unwrap_or_default();
            text.starts_with(recipe) && text.ends_with("(compared)")
        };
        until(&dir, &["builder", "list"], |all| compared(all, ""));
        idle_ms.push(now_ms() - stamp_ms(&last["attempts"][0]["ended"]));
        // That one takes ten seconds, and never has them.
        until(&dir, &["builder", "list"], |all| {
            compared(all, "slow") && all[0]["slots"][0]["phase"] == "build"
        });
        let name = format!("real{at}");
        commit(&repo, &name, "");
        last = published(&dir, &name);
        let id = &last["id"];
        way_ms.push(recorded_ms(&dir, "accepted", id) - recorded_ms(&dir, "assigned", id));
    }
    let worst = |all: &[i64]| all.iter().copied().max().unwrap_or(0) as f64 / 1000.0;
    table.row(
        "idle to a comparison that was begun, the slowest of 5",
        format!("{:.1} s", worst(&idle_ms)),
        "5 s",
    );
    table.row(
        "real work to the slot of a comparison, the slowest of 5",
        format!("{:.2} s", worst(&way_ms)),
        "1 s",
    );
    ring::ask(
        &dir,
        &["channel", "policy", "main", "--compare-idle", "off"],
    );
    against_itself(table, &dir, &repo);
    ring::stop(child);
}

/// The same level against itself, with a workload of about two seconds.
fn against_itself(table: &mut Table, dir: &Path, repo: &Path) {
    let times = given("MASSIF_NOISE", 5);
    if times == 0 {
        return;
    }
    let phases = "build: |\n    printf 'int main(void) { unsigned long i, s = 0; for (i = 0; i < 1800000000UL; i++) { s += i * i; __asm__ volatile(\"\" : \"+r\"(s)); } return s == 42; }\\n' > work.c\n    ${CC} ${CFLAGS} ${LDFLAGS} -o work work.c\nworkload: |\n    ./work\n";
    commit(repo, "work", phases);
    published(dir, "work");
    let (mut near, mut silent, mut worst) = (0, 0, 0.0_f64);
    let runs = given("MASSIF_NOISE_RUNS", 12).to_string();
    let words = ["--levels", "x86_64", "--runs", &runs];
    for _ in 0..times {
        let made = json(dir, &[&["compare", "--isa", "work"][..], &words].concat());
        let level = &made["levels"][1];
        let ratio = level["ratio"].as_f64().unwrap_or(0.0);
        worst = worst.max((ratio - 1.0).abs());
        if (ratio - 1.0).abs() <= 0.02 {
            near += 1;
        } else if level["verdict"] == "cannot_tell" {
            silent += 1;
        }
    }
    table.row(
        &format!("the same level against itself, 2 s of work, {runs} runs"),
        format!("{near} of {times} within 1 ± 0.02, {silent} more say that they cannot tell, {} were called a difference; the farthest {worst:.3} off", times - near - silent),
        "95 of 100, or it says so",
    );
}

fn sets(table: &mut Table) {
    let mib = given("MASSIF_SET_MIB", 1_024);
    let dir = tempfile::tempdir().unwrap();
    let packages = mib.div_ceil(PACKAGE_MIB);
    let each = PACKAGE_MIB.min(mib);
    let place = |sha256: &Digest| dir.path().join(sha256.to_string());
    let mut sets: Vec<Vec<Artefact>> = Vec::new();
    // As published; with other metadata; with one bit flipped in each package.
    for (flipped, summary) in [(false, "one"), (false, "two"), (true, "one")] {
        let mut set = Vec::new();
        for number in 0..packages {
            let path = dir.path().join("new");
            let made = stone(&path, number, each, flipped, summary);
            std::fs::rename(&path, place(&made.blob.sha256)).unwrap();
            set.push(made);
        }
        sets.push(set);
    }
    let began = Instant::now();
    for one in &sets[0] {
        hash(&place(&one.blob.sha256));
    }
    let hashed_s = began.elapsed().as_secs_f64();
    println!("SHA-256 of a set of {mib} MiB: {hashed_s:.2} s");
    let list = dir.path().join("sets");
    std::fs::write(&list, postcard::to_stdvec(&sets).unwrap()).unwrap();
    // In a process of its own, so that its memory is that of a comparison and nothing else.
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command.arg("proof").env(SETS, dir.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let mut lines = text.lines();
    let mut mib_of = || lines.next().unwrap().parse::<f64>().unwrap() / 1024.0;
    let (start_mib, peak_mib) = (mib_of(), mib_of());
    for (name, both) in [
        ("the same", 1.0),
        ("of other metadata", 2.0),
        ("one bit off in each package", 2.0),
    ] {
        let line = lines.next().unwrap();
        let (took_s, rest) = line.split_once(' ').unwrap();
        let took_s: f64 = took_s.parse().unwrap();
        table.row(
            &format!("a set of {mib} MiB compared with one that is {name}"),
            format!(
                "{took_s:.2} s, {:.2} x the hash of what is read ({rest})",
                took_s / (hashed_s * both)
            ),
            "the disk's or hash's speed",
        );
    }
    table.row(
        "memory of a process that makes those comparisons, all of it",
        format!("{peak_mib:.1} MiB at most, {start_mib:.1} MiB before the first"),
        "64 MiB",
    );
}

/// Compares the sets of a directory: our memory at the start and its peak, in KiB, and for each the time and what came of it.
fn compared(dir: &Path) {
    let bytes = std::fs::read(dir.join("sets")).unwrap();
    let sets: Vec<Vec<Artefact>> = postcard::from_bytes(&bytes).unwrap();
    let open = |sha256: &Digest| -> Result<BufReader<File>> {
        let path = dir.join(sha256.to_string());
        Ok(BufReader::new(File::open(path).unwrap()))
    };
    let start_kib = status_kib("VmRSS");
    let mut lines = String::new();
    for other in &sets {
        let began = Instant::now();
        let found = massif::compare::compare(&sets[0], other, &open).unwrap();
        let took_s = began.elapsed().as_secs_f64();
        let count = found.differences.len();
        lines += &format!("{took_s} {}, {count} differences\n", found.level.as_str());
    }
    let peak_kib = status_kib("VmHWM");
    print!("{start_kib}\n{peak_kib}\n{lines}");
}
