//! What the distribution's own tool leaves when the host is killed under it: ended and cleaned up by the next start.

use std::time::{Duration, Instant};

use super::farm::{farm, place};
use super::other::local;
use super::runs;
use crate::common::farm::{MASSIF, PATIENCE};

#[test]
fn what_boulder_left_when_its_host_was_killed_is_gone_after_the_next_start() {
    let place = place();
    let tool = place.path().join("boulder");
    // It runs for ever the first time, in a process that left its group and its session, and has a tree of its build.
    let script = r#"#!/bin/sh
set -eu
while [ $# -gt 0 ]; do
    case "$1" in
        --cache-dir) C=$2; shift 2;;
        -o) OUT=$2; shift 2;;
        *) shift;;
    esac
done
if [ -e "$C/once" ]; then
    ls "$C/build" > "$C/seen"
    exit 1
fi
: > "$C/once"
mkdir -p "$C/build/mine-1.1-1"
setsid sleep 939393 < /dev/null > /dev/null 2>&1 &
printf '│Build│ working\n'
sleep 939394
"#;
    crate::common::program(&tool, &mut script.as_bytes());
    let config = format!("boulder = \"{}\"\n", tool.display());
    let dir = place.path().join("farm");
    let mut farm = farm(&dir, &config, &[]);
    let mut profile = farm.json(&["profile", "show", "default"]);
    profile["name"] = "vendor".into();
    profile["executor"] = "boulder".into();
    let call = serde_json::json!({ "profile": profile }).to_string();
    farm.ok(&["call", "io.massif.Summit.ProfileAdd", &call]);
    let mine = place.path().join("mine");
    local(&mine, "mine", "");
    let mut child = std::process::Command::new(MASSIF)
        .arg("--dir")
        .arg(farm.dir())
        .args(["try", mine.to_str().unwrap(), "--profile", "vendor"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let until = |what: &str, holds: &mut dyn FnMut() -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until("both processes run", &mut || {
        runs("sleep 939393") && runs("sleep 939394")
    });
    farm.kill();
    farm.up();
    // Before it was ready it ended them.
    assert!(!runs("sleep 93939"), "a process of the tool is left");
    // The try is built anew, and finds nothing of the build before.
    let mut ended = None;
    until("the try ends", &mut || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(1));
    let seen = std::fs::read_to_string(dir.join("boulder/slot-0/cache/seen")).unwrap();
    assert_eq!(seen, "");
}
