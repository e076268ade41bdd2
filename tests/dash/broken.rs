//! The real program against a farm that goes away, and over a link that breaks in the moment when something is done.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::pty::{Screen, project};
use crate::common::farm::Farm;

/// A way to a farm's admin socket that breaks off where a call of this method was carried out, before its answer.
struct Bridge {
    dir: tempfile::TempDir,
    broken: Arc<AtomicUsize>,
}

fn has(bytes: &[u8], words: &str) -> bool {
    bytes
        .windows(words.len())
        .any(|found| found == words.as_bytes())
}

/// Carries what one side says to the other, until `stop` says so after it was carried.
fn carry(mut from: UnixStream, mut to: UnixStream, mut stop: impl FnMut(&[u8]) -> bool) {
    let mut bytes = [0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        let said = &bytes[..read];
        if stop(said) || to.write_all(said).is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}

impl Bridge {
    fn open(farm: &Path, method: &'static str) -> Bridge {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("admin.sock")).unwrap();
        let farm: PathBuf = farm.join("admin.sock");
        let broken = Arc::new(AtomicUsize::new(0));
        let count = broken.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(host)) = (client, UnixStream::connect(&farm)) else {
                    continue;
                };
                let called = Arc::new(AtomicUsize::new(0));
                let (asks, answers) = (called.clone(), called);
                let (to_host, to_client) = (host.try_clone().unwrap(), client.try_clone().unwrap());
                let count = count.clone();
                std::thread::spawn(move || {
                    carry(client, to_host, |said| {
                        asks.fetch_add(usize::from(has(said, method)), Ordering::SeqCst);
                        false
                    });
                });
                std::thread::spawn(move || {
                    carry(host, to_client, |_| {
                        let breaks = answers.load(Ordering::SeqCst) > 0;
                        count.fetch_add(usize::from(breaks), Ordering::SeqCst);
                        breaks
                    });
                });
            }
        });
        Bridge { dir, broken }
    }
}

#[test]
fn an_action_whose_link_breaks_before_the_answer_is_unknown_until_somebody_looks() {
    let mut farm = Farm::start();
    let _recipes = project(&farm);
    let bridge = Bridge::open(farm.dir(), "Summit.JobHold\"");
    let dir = bridge.dir.path().to_str().unwrap().to_owned();
    let mut screen = Screen::open(100, 30, &["dash", "--dir", &dir]);
    screen.until("a job", |text| {
        text.contains("live") && text.contains("1 wait")
    });
    screen.press("2");
    screen.until("the queue", |text| text.contains("needy"));
    screen.press("H");
    screen.until("a question for a reason", |text| text.contains("reason:"));
    screen.press("for the test\r");
    screen.until("a question", |text| {
        text.contains("the same: massif job hold")
    });
    screen.press("y");
    screen.until("that nobody knows", |text| {
        text.contains("unknown whether it was done; `massif job show") && text.contains("tells")
    });
    assert_eq!(bridge.broken.load(Ordering::SeqCst), 1, "it was sent once");
    screen.press("@");
    screen.until("the same beside the command", |text| {
        text.contains("it is not known whether this was done")
    });
    // It was carried out, as the command that was named tells.
    let jobs = farm.until(&["job", "list"], |jobs| jobs[0]["hold"].is_object());
    assert_eq!(jobs[0]["hold"]["reason"], "for the test");
    // The next one goes over a new connection.
    screen.press("\x1b");
    screen.until("the hold in the queue", |text| {
        text.contains("1/1") && text.contains("held by")
    });
    screen.press("U");
    screen.until("a question", |text| {
        text.contains("the same: massif job release")
    });
    screen.press("y");
    screen.until("an answer", |text| text.contains("is released"));
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    farm.stop();
}

#[test]
fn lists_stay_while_the_farm_is_away_nothing_is_sent_and_all_is_read_again() {
    let mut farm = Farm::start();
    let _recipes = project(&farm);
    farm.until(&["job", "list"], |jobs| jobs[0]["state"] == "waiting");
    let dir = farm.dir().to_str().unwrap().to_owned();
    let mut screen = Screen::open(120, 40, &["dash", "--dir", &dir]);
    screen.until("a job", |text| {
        text.contains("live") && text.contains("1 waiting")
    });
    // The jobs come after their number.
    screen.press("2");
    screen.until("the queue", |text| text.contains("needy"));
    screen.press("4");
    screen.until("the recipes", |text| text.contains("Needs what nobody has"));
    screen.press("5");
    screen.until("the repository", |text| text.contains("Repository  1/1"));
    farm.kill();
    screen.until("lost", |text| text.contains("LOST"));
    screen.press("4");
    screen.until("the recipes of before", |text| {
        text.contains("Needs what nobody has")
            && text.contains("LOST, data")
            && text.contains("away since")
    });
    screen.press("5");
    screen.until("the repository of before", |text| {
        text.contains("Repository  1/1") && text.contains("LOST, data")
    });
    screen.press("2");
    screen.until("the queue of before", |text| text.contains("needy"));
    screen.press("C");
    let said = screen.until("that nothing is sent", |text| {
        text.contains("nothing was sent")
    });
    assert!(!said.contains("the same:"), "{said}");
    screen.press("4");
    screen.until("the recipes of before", |text| {
        text.contains("Needs what nobody has")
    });
    farm.up();
    screen.until("all of now", |text| {
        text.contains("live") && text.contains("Needs what nobody has") && !text.contains("LOST")
    });
    // The connection that was there before has died; what is done goes over a new one at once.
    screen.press("2");
    screen.until("the queue", |text| text.contains("needy"));
    screen.press("Cy");
    screen.until("an answer", |text| text.contains("is cancelled"));
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    farm.stop();
}
