//! Durable commits: 64 writers that each wait for the disk, beside what one `fdatasync` costs there and then.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use massif::store::{Options, Row, Store, WriteSet};
use serde::{Deserialize, Serialize};

const WRITERS: u64 = 64;
const LASTS: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize)]
struct Note {
    writer: u64,
    number: u64,
    text: String,
}
impl Row for Note {
    const TREE: &'static str = "note";
    const SHAPE: u8 = 1;
    type Key = (u64, u64);
    fn key(&self) -> (u64, u64) {
        (self.writer, self.number)
    }
}

fn set(writer: u64, number: u64) -> WriteSet {
    let mut set = WriteSet::new();
    set.put(&Note {
        writer,
        number,
        text: "x".repeat(100),
    });
    set
}

/// Median time of appending 128 bytes to a file and making them durable.
fn one_fdatasync(dir: &Path) -> Duration {
    let mut file = File::create(dir.join("plain")).expect("a file");
    let mut times: Vec<Duration> = (0..400)
        .map(|_| {
            let since = Instant::now();
            file.write_all(&[7; 128])
                .and_then(|()| file.sync_data())
                .expect("a write");
            since.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn tasks(store: &Store) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let since = Instant::now();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut number = 0;
                    while since.elapsed() < LASTS {
                        store
                            .commit_async(set(writer, number))
                            .await
                            .expect("a commit");
                        number += 1;
                    }
                    number
                })
            })
            .collect();
        let mut commits = 0;
        for writer in writers {
            commits += writer.await.expect("a writer");
        }
        commits as f64 / since.elapsed().as_secs_f64()
    })
}

fn threads(store: &Store) -> f64 {
    let since = Instant::now();
    let commits: u64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut number = 1 << 40;
                    while since.elapsed() < LASTS {
                        store.commit(set(writer, number)).expect("a commit");
                        number += 1;
                    }
                    number - (1 << 40)
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().expect("a writer"))
            .sum()
    });
    commits as f64 / since.elapsed().as_secs_f64()
}

/// Prints the figures.
pub fn run() {
    // Not the system's temporary directory, which may lie in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let store = Store::open(dir.path(), &Options::default()).expect("a store");
    let before = one_fdatasync(dir.path());
    let by_tasks = tasks(&store);
    let between = one_fdatasync(dir.path());
    let by_threads = threads(&store);
    let after = one_fdatasync(dir.path());
    let alone = {
        let since = Instant::now();
        let commits = 500;
        (0..commits).for_each(|number| store.commit(set(1_000, number)).expect("a commit"));
        since.elapsed() / commits as u32
    };
    let ratio = |commits: f64, a: Duration, b: Duration| {
        commits / (WRITERS as f64 / ((a + b).as_secs_f64() / 2.0))
    };
    println!(
        "store: one fdatasync {before:.0?}, {between:.0?}, {after:.0?}; one commit alone {alone:.0?}"
    );
    println!(
        "store: {WRITERS} tasks {by_tasks:.0} durable commits/s = {:.2} x {WRITERS} / fdatasync (bar 0.6)",
        ratio(by_tasks, before, between)
    );
    println!(
        "store: {WRITERS} threads {by_threads:.0} durable commits/s = {:.2} x {WRITERS} / fdatasync",
        ratio(by_threads, between, after)
    );
}
