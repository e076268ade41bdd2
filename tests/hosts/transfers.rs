//! Large packages on their way: slow on purpose, cut, and taken up again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::building::check_all;
use super::lying::{endpoint, endpoint_for};
use super::relay::{Relay, Weather};
use super::rig::{Node, Place};
use crate::common::host::GATE;
use crate::common::repo::Repo;
use crate::ring::script_recipe;

/// A recipe that installs so many MiB that no compression makes smaller.
pub fn add(repo: &mut Repo, name: &str, mib: u32) {
    add_slow(repo, name, mib, "");
}

fn add_slow(repo: &mut Repo, name: &str, mib: u32, extra: &str) {
    let recipe = script_recipe(name, 1, extra);
    let line = format!(
        "    dd if=/dev/urandom of=%(installroot)%(datadir)/{name}/large bs=1M count={mib}\n"
    );
    repo.write(&format!("{}/{name}/stone.yaml", &name[..1]), recipe + &line);
}

/// Waits until packages of this recipe are fetched, which they were not at this moment; a moment shortly before that.
fn fetching(crest: &Node, recipe: &str, mut before: Instant) -> Instant {
    let mut asked = before;
    crest.until(&["job", "list"], |jobs| {
        let mut jobs = jobs.as_array().unwrap().iter();
        let is = jobs.any(|job| job["recipe"] == recipe && job["state"] == "publishing");
        if !is {
            // The next answer is of a later moment than this question.
            before = std::mem::replace(&mut asked, Instant::now());
        }
        is
    });
    before
}

#[test]
fn a_builder_sends_no_faster_than_its_owner_allows() {
    let place = Place::new();
    let crest = place.summit("30s");
    let slow = place.slow_builder(&crest, "slow", "2000000", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "alpha", 8);
    repo.commit("Add alpha");
    let before = Instant::now();
    crest.ok(&["project", "add", "test", &repo.url()]);
    let began = fetching(&crest, "alpha", before);
    crest.published("alpha");
    let took = began.elapsed();
    println!("8 MiB at 2 MB/s: {took:?}");
    // A part of them may go at once.
    assert!(took > Duration::from_millis(2_000), "{took:?}");
    check_all(&crest, &[&slow]);
}

#[test]
fn the_slot_takes_the_next_job_while_the_packages_of_the_last_are_fetched() {
    let place = Place::new();
    let crest = place.summit("30s");
    let slow = place.slow_builder(&crest, "slow", "1000000", &[]);
    let mut repo = Repo::new();
    for name in ["alpha", "beta"] {
        add_slow(&mut repo, name, 12, GATE);
    }
    repo.commit("Add both");
    crest.ok(&["project", "add", "test", &repo.url()]);
    let mut opened = BTreeSet::new();
    crest.wait("the first of them", || {
        slow.open_gates(&mut opened);
        !opened.is_empty()
    });
    crest.until(&["job", "list"], |jobs| {
        let is = |state: &str| {
            let mut jobs = jobs.as_array().unwrap().iter();
            jobs.any(|job| job["state"] == state)
        };
        is("publishing") && is("building")
    });
    crest.wait("the second of them", || {
        slow.open_gates(&mut opened);
        opened.len() == 2
    });
    for name in ["alpha", "beta"] {
        crest.published(name);
    }
    check_all(&crest, &[&slow]);
}

#[test]
fn a_transfer_is_taken_up_again_when_its_link_or_the_host_that_fetches_goes() {
    let place = Place::new();
    let mut crest = place.summit("30s");
    let relay = Relay::to(crest.port, 3);
    let through = relay.address.to_string();
    let far = place.slow_builder(&crest, "far", "1000000", &["--address", &through]);
    let mut repo = Repo::new();
    add(&mut repo, "alpha", 16);
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    fetching(&crest, "alpha", Instant::now());
    // The link dies every few seconds, and in the middle of it the host that fetches does.
    relay.rebind();
    relay.cut(true);
    std::thread::sleep(Duration::from_millis(700));
    relay.cut(false);
    let parts = crest.dir.join("blobs/new");
    let some = |entry: std::fs::DirEntry| entry.metadata().is_ok_and(|meta| meta.len() > 1 << 20);
    crest.wait("nothing arrives", || {
        std::fs::read_dir(&parts).unwrap().flatten().any(some)
    });
    crest.kill();
    crest.up();
    crest.until_linked("far");
    relay.weather(Weather {
        lost_permille: 20,
        jitter: Duration::from_millis(10),
        twice_permille: 20,
        ..Weather::default()
    });
    let job = crest.published("alpha");
    assert!(
        crest.log().contains("goes on at byte"),
        "what was there was fetched again"
    );
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    check_all(&crest, &[&far]);
}

#[test]
fn a_file_of_20_gib_goes_on_at_any_byte_and_shares_its_link_with_small_ones() {
    use massif::net::transfer::{Brake, fetch, hear, say, send_file};
    use massif::net::wire::{Fetch, Say};
    const SIZE: u64 = 20 << 30;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    super::lying::runtime().block_on(async {
        let (here, there) = (endpoint_for(from.path(), true), endpoint(to.path()));
        let address = here.address().unwrap();
        let (out, came) = tokio::join!(there.connect(address, here.id()), here.accept());
        let (out, came) = (out.unwrap(), came.unwrap());
        let connection = came.connection.clone();
        tokio::spawn(async move {
            while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    let Ok(Say::Fetch(wish)) = hear(&mut receive).await else {
                        return;
                    };
                    // Sparse, but for the last bytes.
                    let file = tempfile::tempfile().unwrap();
                    file.set_len(SIZE).unwrap();
                    std::os::unix::fs::FileExt::write_at(&file, b"the end", SIZE - 7).unwrap();
                    let bytes = SIZE - wish.from;
                    say(&mut send, Say::FetchAck { bytes }).await.unwrap();
                    // Whoever reads may have enough at any time.
                    let brake = Brake::new(None);
                    send_file(&mut send, file, wish.from, SIZE, &brake)
                        .await
                        .ok();
                });
            }
        });
        let wish = |from: u64| Fetch {
            attempt: None,
            sha256: massif::id::Digest([1; 32]),
            from,
        };
        // One that nobody reads keeps the others waiting for nothing.
        let (_stuck, whole) = fetch(&out.connection, wish(0)).await.unwrap();
        assert_eq!(whole, SIZE);
        for left in [7, 1 << 20, (8 << 20) + 1] {
            let (mut receive, bytes) = fetch(&out.connection, wish(SIZE - left)).await.unwrap();
            assert_eq!(bytes, left);
            let got = receive.read_to_end(16 << 20).await.unwrap();
            assert_eq!(got.len() as u64, left);
            assert!(got.ends_with(b"the end"));
        }
        there.close().await;
    });
}
