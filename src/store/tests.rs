//! The store as its users and its enemies meet it: kills, damage, full disks, backups.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::trees::{Tree, load};
use super::{Blobs, DirLock, Options, Row, Store, WriteSet, export};
use crate::fault::{Kind, Result};
use crate::id::{Digest, Stamp};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Left {
    number: u64,
    text: String,
}
impl Row for Left {
    const TREE: &'static str = "left";
    const SHAPE: u8 = 1;
    type Key = u64;
    fn key(&self) -> u64 {
        self.number
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Right {
    number: u64,
    blob: Digest,
}
impl Row for Right {
    const TREE: &'static str = "right";
    const SHAPE: u8 = 1;
    type Key = u64;
    fn key(&self) -> u64 {
        self.number
    }
    fn blobs(&self) -> Vec<Digest> {
        vec![self.blob]
    }
}

fn pair(number: u64) -> WriteSet {
    let mut set = WriteSet::new();
    set.put(&Left {
        number,
        text: format!("text of {number}"),
    });
    set.put(&Right {
        number,
        blob: Digest([number as u8; 32]),
    });
    set
}

fn open(dir: &Path) -> Result<Store> {
    Store::open(dir, &Options::default())
}

/// Numbers in the store; both trees must agree.
fn numbers(store: &Store) -> Vec<u64> {
    let left: Vec<u64> = store
        .scan::<Left>()
        .map(|row| row.unwrap().number)
        .collect();
    let right: Vec<u64> = store
        .scan::<Right>()
        .map(|row| row.unwrap().number)
        .collect();
    assert_eq!(left, right, "a set was torn");
    left
}

fn filled(rows: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for number in 0..rows {
        store.commit(pair(number)).unwrap();
    }
    store.export_now(3, Stamp(0)).unwrap();
    dir
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
}

#[test]
fn readers_see_a_commit_at_once_and_scans_mix_old_and_new_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for number in [1, 3, 5, 7] {
        store.commit(pair(number)).unwrap();
    }
    store.frozen(|_| Ok(())).unwrap(); // these are in sled now
    for number in [0, 3, 4, 9] {
        store.commit(pair(number)).unwrap();
    }
    let mut set = WriteSet::new();
    set.delete::<Left>(&5)
        .delete::<Right>(&5)
        .delete::<Left>(&9)
        .delete::<Right>(&9);
    store.commit(set).unwrap();
    assert_eq!(numbers(&store), [0, 1, 3, 4, 7]);
    let back: Vec<u64> = store
        .scan::<Left>()
        .rev()
        .map(|row| row.unwrap().number)
        .collect();
    assert_eq!(back, [7, 4, 3, 1, 0]);
    let mut both = store.scan::<Left>();
    let mut next = |from_back: bool| {
        let row = if from_back {
            both.next_back()
        } else {
            both.next()
        };
        row.map(|row| row.unwrap().number)
    };
    let order = [false, true, true, false, true, false].map(&mut next);
    assert_eq!(order, [Some(0), Some(7), Some(4), Some(1), Some(3), None]);
    let some: Vec<u64> = store
        .range::<Left>(1..4)
        .map(|row| row.unwrap().number)
        .collect();
    assert_eq!(some, [1, 3]);
    assert_eq!(store.range::<Left>(4..4).count(), 0);
    assert_eq!(store.get::<Left>(&5).unwrap(), None);
    assert_eq!(store.last::<Left>().unwrap().unwrap().number, 7);
}

#[test]
fn rows_that_reach_sled_during_a_scan_are_seen_once() {
    for first in [0, 1, 4] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).unwrap();
        (0..8).for_each(|number| store.commit(pair(number)).unwrap());
        let mut rows = store.scan::<Left>();
        let mut seen: Vec<u64> = rows
            .by_ref()
            .take(first)
            .map(|row| row.unwrap().number)
            .collect();
        store.frozen(|_| Ok(())).unwrap(); // the keeper may do that at any time
        seen.extend(rows.map(|row| row.unwrap().number));
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_commit_and_each_sees_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let tasks: Vec<_> = (0..64u64)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    let number = task * 1_000 + round;
                    store.commit_async(pair(number)).await.unwrap();
                    assert!(store.get::<Right>(&number).unwrap().is_some());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(numbers(&store).len(), 64 * 20);
    tokio::task::spawn_blocking(move || drop(store))
        .await
        .unwrap();
    assert_eq!(numbers(&open(dir.path()).unwrap()).len(), 64 * 20);
}

/// Run by `a_killed_writer_loses_nothing_that_was_acknowledged` in a child process.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var("MASSIF_TEST_STORE_DIR") else {
        return;
    };
    let store = open(Path::new(&dir)).unwrap();
    let first = numbers(&store).len() as u64;
    let threads: Vec<_> = (0..4u64)
        .map(|thread| {
            let store = store.clone();
            std::thread::spawn(move || {
                for round in 0..100_000 {
                    let number = (first + round) * 4 + thread + 1_000_000 * thread;
                    store.commit(pair(number)).unwrap();
                    let line = format!("acknowledged {number}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_killed_writer_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = std::collections::BTreeSet::new();
    for round in 0..6u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "store::tests::child_that_writes_until_it_is_killed",
            ])
            .env("MASSIF_TEST_STORE_DIR", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 50 + 400 * round as usize;
        let mut seen = 0;
        while seen < wanted {
            let line = lines.next().expect("the child ended by itself").unwrap();
            // The test harness may put its own words before the first one.
            if let Some((_, number)) = line.split_once("acknowledged ") {
                acknowledged.insert(number.parse::<u64>().unwrap());
                seen += 1;
            }
        }
        child.kill().unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        for line in lines {
            // The last line may be cut short.
            if let Some((_, number)) = line.unwrap().split_once("acknowledged ")
                && let Ok(number) = number.parse::<u64>()
                && number > 1_000_000
            {
                acknowledged.insert(number);
            }
        }
        let store = open(dir.path()).unwrap();
        let found: std::collections::BTreeSet<u64> = numbers(&store).into_iter().collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        // A number cut short in the pipe is no acknowledgement.
        let lost: Vec<_> = lost
            .into_iter()
            .filter(|lost| lost.to_string().len() >= 7 || **lost < 100)
            .collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
    }
}

/// Each damage, and words that the operator must see.
#[test]
fn a_damaged_store_offers_a_restore_and_never_panics_or_opens_empty() {
    type Harm = fn(&Path);
    let cut: Harm = |dir| {
        let db = dir.join("store/sled/db");
        let len = fs::metadata(&db).unwrap().len();
        fs::OpenOptions::new()
            .write(true)
            .open(db)
            .unwrap()
            .set_len(len * 2 / 3)
            .unwrap();
    };
    let emptied: Harm = |dir| fs::write(dir.join("store/sled/db"), b"").unwrap();
    let no_file: Harm = |dir| fs::remove_file(dir.join("store/sled/db")).unwrap();
    let no_sled: Harm = |dir| fs::remove_dir_all(dir.join("store/sled")).unwrap();
    let no_store: Harm = |dir| fs::remove_dir_all(dir.join("store")).unwrap();
    let noise: Harm = |dir| {
        let db = dir.join("store/sled/db");
        let mut bytes = fs::read(&db).unwrap();
        let step = bytes.len() / 512;
        (0..512).for_each(|at| bytes[at * step] ^= 0x5a);
        fs::write(db, bytes).unwrap();
    };
    let harms: [(&str, Harm); 6] = [
        ("cut", cut),
        ("emptied", emptied),
        ("no database file", no_file),
        ("no sled directory", no_sled),
        ("no store directory", no_store),
        ("noise", noise),
    ];
    for (name, harm) in harms {
        let dir = filled(3_000);
        harm(dir.path());
        let fault = match open(dir.path()) {
            Err(fault) => fault,
            // Sled writes ahead of its rows: what was cut off may have held none.
            Ok(store) if name == "cut" && numbers(&store).len() == 3_000 => continue,
            Ok(store) => panic!("{name}: opened with {} rows", numbers(&store).len()),
        };
        assert_eq!(fault.kind, Kind::Operator, "{name}: {fault}");
        let offer = format!(
            "massif store restore {}",
            dir.path().join("exports").display()
        );
        assert!(fault.next.contains(&offer), "{name}: {fault}");
        let command: Vec<&str> = fault.next.split(' ').collect();
        let file =
            Path::new(command[command.iter().position(|word| *word == "restore").unwrap() + 1]);
        export::restore(dir.path(), file).unwrap();
        assert_eq!(numbers(&open(dir.path()).unwrap()).len(), 3_000, "{name}");
    }
}

#[test]
fn a_store_without_snapshot_or_side_file_is_whole() {
    let dir = filled(500);
    for entry in fs::read_dir(dir.path().join("store/sled")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("snap.")
        {
            fs::remove_file(path).unwrap();
        }
    }
    // What a kill in the middle of a snapshot leaves; sled by itself would take it for one.
    fs::write(
        dir.path()
            .join("store/sled/snap.0000000000FFFFFF.generating"),
        b"",
    )
    .unwrap();
    fs::remove_file(dir.path().join("store.json")).unwrap();
    assert_eq!(numbers(&open(dir.path()).unwrap()).len(), 500);
    assert!(dir.path().join("store.json").exists());
}

#[test]
fn an_older_copy_in_place_of_the_store_is_refused() {
    let dir = filled(10);
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&dir.path().join("store"), &copy.path().join("store"));
    open(dir.path()).unwrap().commit(pair(100)).unwrap();
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    copy_dir(&copy.path().join("store"), &dir.path().join("store"));
    let fault = open(dir.path()).map(drop).unwrap_err();
    assert!(fault.what.contains("is older than it was"), "{fault}");
    let other = filled(10);
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    copy_dir(&other.path().join("store"), &dir.path().join("store"));
    let fault = open(dir.path()).map(drop).unwrap_err();
    assert!(fault.what.contains("another store"), "{fault}");
}

#[test]
fn a_hole_in_the_journal_is_told_and_not_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.commit(pair(1)).unwrap();
    let holed = tempfile::tempdir().unwrap();
    // As a kill leaves it: the journal is ahead of sled. Its keeper moves nothing meanwhile, however slow the disk is.
    let frozen = store.frozen(|_| {
        (2..6).for_each(|number| store.commit(pair(number)).unwrap());
        copy_dir(dir.path(), copy.path());
        copy_dir(dir.path(), holed.path());
        Ok(())
    });
    frozen.unwrap();
    drop(store);
    assert_eq!(numbers(&open(copy.path()).unwrap()), [1, 2, 3, 4, 5]);
    let journal = holed.path().join("store/journal/0.journal");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[2 * 512 + 100] ^= 1; // in the third frame
    fs::write(&journal, bytes).unwrap();
    let fault = open(holed.path()).map(drop).unwrap_err();
    assert!(
        fault.what.contains("lost change 3") && fault.next.contains("restore"),
        "{fault}"
    );
}

#[test]
fn a_store_that_others_may_read_is_refused_with_the_cure() {
    use std::os::unix::fs::PermissionsExt;
    let dir = filled(1);
    let store = dir.path().join("store");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();
    let fault = open(dir.path()).map(drop).unwrap_err();
    assert_eq!(fault.next, format!("run: chmod 700 {}", store.display()));
}

#[test]
fn a_second_process_is_told_who_has_the_store() {
    let dir = filled(1);
    let _store = open(dir.path()).unwrap();
    let fault = open(dir.path()).map(drop).unwrap_err();
    assert_eq!(fault.kind, Kind::Conflict);
    assert!(
        fault.what.contains(&std::process::id().to_string()),
        "{fault}"
    );
    assert!(DirLock::take(dir.path()).is_err());
}

fn trees() -> Vec<Tree> {
    vec![Tree::of::<Left>(), Tree::of::<Right>()]
}

#[test]
fn a_dump_is_readable_and_loads_into_the_same_rows() {
    let dir = filled(50);
    let store = open(dir.path()).unwrap();
    let mut all = Vec::new();
    assert_eq!(store.dump(&trees()[..1], &mut all).unwrap(), 100);
    let text = String::from_utf8(all).unwrap();
    assert!(
        text.contains(r#"{"row":{"number":7,"text":"text of 7"},"tree":"left"}"#),
        "{text}"
    );
    assert!(text.contains(r#""tree":"right","value":"01"#), "{text}");
    let other = tempfile::tempdir().unwrap();
    assert_eq!(
        load(other.path(), &trees(), &mut text.as_bytes()).unwrap(),
        100
    );
    assert_eq!(numbers(&open(other.path()).unwrap()), numbers(&store));
    for bad in [
        "",
        "{}",
        "{\"massif_dump\":1}\nnonsense",
        "{\"massif_dump\":1}\n{\"tree\":\"\"}",
    ] {
        let another = tempfile::tempdir().unwrap();
        assert!(
            load(another.path(), &trees(), &mut bad.as_bytes()).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn a_damaged_backup_is_refused_and_leaves_the_store() {
    let dir = filled(50);
    let file: PathBuf = export::list_exports(&dir.path().join("exports"))
        .unwrap()
        .pop()
        .unwrap();
    let whole = fs::read(&file).unwrap();
    let bad = dir.path().join("bad");
    for at in [0, 20, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&bad, &bytes).unwrap();
        assert!(export::restore(dir.path(), &bad).is_err(), "byte {at}");
    }
    fs::write(&bad, &whole[..whole.len() - 9]).unwrap();
    assert!(export::restore(dir.path(), &bad).is_err());
    assert_eq!(numbers(&open(dir.path()).unwrap()).len(), 50);
}

#[test]
fn exports_are_kept_in_number_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for number in 0..5 {
        store.commit(pair(number)).unwrap();
        let file = store.export_now(3, Stamp(number as i64 * 1_000)).unwrap();
        assert_eq!(
            store
                .export_now(3, Stamp(number as i64 * 1_000 + 1))
                .unwrap(),
            file
        );
    }
    let files = export::list_exports(&dir.path().join("exports")).unwrap();
    assert_eq!(files.len(), 3);
    assert!(
        files[2].ends_with("store-19700101T000004.000Z-g5.massif"),
        "{files:?}"
    );
}

#[test]
fn check_finds_missing_blobs_and_unknown_or_unreadable_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    let blob = blobs.put_bytes(b"content").unwrap().sha256;
    let mut set = WriteSet::new();
    set.put(&Right { number: 1, blob });
    store.commit(set).unwrap();
    let report = store.check(&trees(), &blobs, true).unwrap();
    assert_eq!((report.faults.len(), report.blobs), (0, 1));
    let mut set = pair(2);
    set.push(b"left\0\0\0\0\0\0\0\0\x07".to_vec(), Some(vec![1, 7]));
    set.push(b"strange\0k".to_vec(), Some(vec![1]));
    store.commit(set).unwrap();
    fs::write(blobs.path(&blob), b"Content").unwrap();
    let faults = store.check(&trees(), &blobs, true).unwrap().faults;
    let told = |word: &str| faults.iter().any(|fault| fault.what.contains(word));
    assert!(
        told("cannot be read") && told("no tree strange") && told("no blob 0202"),
        "{faults:?}"
    );
    assert!(told("other bytes"), "{faults:?}");
}

/// Run by `a_full_disk_...` inside a mount namespace of its own.
#[test]
fn child_that_fills_a_small_disk() {
    let Ok(dir) = std::env::var("MASSIF_TEST_SMALL_DISK") else {
        return;
    };
    let dir = Path::new(&dir);
    let options = Options {
        free_bytes_min: 2 << 20,
        ballast_bytes: 3 << 20,
        ..Options::default()
    };
    let store = Store::open(dir, &options).unwrap();
    (0..100).for_each(|number| store.commit(pair(number)).unwrap());
    let hog = dir.join("hog");
    let mut file = fs::File::create(&hog).unwrap();
    while file.write_all(&[1; 65_536]).is_ok() {}
    let fault = store.commit(pair(100)).unwrap_err();
    assert!(
        fault.what.contains("is full") && fault.kind == Kind::Operator,
        "{fault}"
    );
    assert_eq!(numbers(&store).len(), 100);
    // The process dies on the full disk, and starts on it.
    drop(store);
    let store = Store::open(dir, &options).unwrap();
    assert_eq!(numbers(&store).len(), 100);
    drop(file);
    fs::remove_file(&hog).unwrap();
    let since = std::time::Instant::now();
    while let Err(fault) = store.commit(pair(100)) {
        assert!(since.elapsed() < Duration::from_secs(300), "{fault}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(numbers(&store).len(), 101);
    // Sled itself meets the full disk: rows are durable in the journal, and sled has no room for them.
    store.frozen(|_| Ok(())).unwrap();
    let options = Options {
        free_bytes_min: 0,
        ..options
    };
    drop(store);
    let store = Store::open(dir, &options).unwrap();
    let mut file = fs::File::create(&hog).unwrap();
    while file.write_all(&[1; 4_096]).is_ok() {}
    let mut acknowledged = 101;
    let since = std::time::Instant::now();
    while store.trouble().is_none() && since.elapsed() < Duration::from_secs(300) {
        if store.commit(pair(acknowledged)).is_ok() {
            acknowledged += 1;
        }
    }
    assert!(store.trouble().is_some(), "sled never met the full disk");
    std::thread::sleep(Duration::from_millis(1_500)); // so that opening anew on the full disk fails once
    drop(file);
    fs::remove_file(&hog).unwrap();
    while let Err(fault) = store.commit(pair(acknowledged)) {
        assert!(since.elapsed() < Duration::from_secs(600), "{fault}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(numbers(&store).len() as u64, acknowledged + 1);
    drop(store);
    assert_eq!(
        numbers(&Store::open(dir, &options).unwrap()).len() as u64,
        acknowledged + 1
    );
    println!("small disk survived");
}

#[test]
fn a_full_disk_is_a_fault_and_the_store_goes_on_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=48m none '{0}' && exec \"$0\" --exact --nocapture store::tests::child_that_fills_a_small_disk",
        dir.path().display()
    );
    let run = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env("MASSIF_TEST_SMALL_DISK", dir.path())
        .output();
    let text = match &run {
        Ok(run) => format!(
            "{}{}",
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr)
        ),
        Err(error) => error.to_string(),
    };
    if text.contains("small disk survived") {
        return;
    }
    let cannot = run.is_err() || text.starts_with("unshare:") || text.starts_with("mount:");
    assert!(cannot, "{text}");
    println!("skipped: no mount namespace here ({})", text.trim());
}
