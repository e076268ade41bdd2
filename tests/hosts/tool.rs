//! The distribution's own tool on a builder, with the host that publishes elsewhere.

use std::io::{Read, Write};

use super::blame::builder;
use super::rig::Place;
use crate::builders::other::stand_in;
use crate::common::farm::Farm;
use crate::common::repo::Repo;
use crate::ring::script_recipe;

/// What a client of this address is answered.
fn status_of(url: &str) -> String {
    let rest = url.strip_prefix("http://").expect(url);
    let (address, path) = rest.split_once('/').expect(url);
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let ask = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.lines().next().unwrap_or_default().to_string()
}

#[test]
fn the_distributions_own_tool_takes_packages_from_the_host_that_publishes() {
    let work = crate::common::place("massif-tool-");
    let (made, notes) = (work.path().join("made"), work.path().join("notes"));
    std::fs::create_dir_all(&notes).unwrap();
    let mut repo = Repo::new();
    repo.write("t/tool/stone.yaml", script_recipe("tool", 1, ""));
    repo.commit("Add it");
    // Packages for the stand-in to hand out, made by a farm of another directory.
    let other = Farm::start();
    other.ok(&["project", "add", "test", &repo.url()]);
    other.published("tool");
    other.ok(&["job", "artefacts", "tool", "--out", made.to_str().unwrap()]);
    drop(other);
    let program = work.path().join("boulder");
    stand_in(&program, &made, &notes);

    let place = Place::new();
    let dir = place.host("crest").dir.clone();
    place.host("crest").ok(&["init", "--role", "summit"]);
    let config = dir.join("massif.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let profile = "\n[[profile]]\nname = \"vendor\"\nexecutor = \"boulder\"\n";
    std::fs::write(&config, text + profile).unwrap();
    let crest = place.deciding(&["serve"], "30s");
    let mut keep = place.vessel(&crest, "keep");
    let own = format!("[builder]\nboulder = \"{}\"\n", program.display());
    let east = builder(&place, &crest, "east", &own);

    crest.ok(&["project", "add", "test", &repo.url()]);
    let job = crest.published("tool");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    assert_eq!(job["profile"], "vendor", "{job:#}");
    // It was told where packages are served: by the other host, and there they are.
    let http = keep.json(&["status"])["addresses"]["http"].clone();
    let served = format!("http://{}/main/history/", http.as_str().unwrap());
    let profile = std::fs::read_to_string(notes.join("profile")).unwrap();
    let url = profile
        .split('"')
        .find(|part| part.starts_with(&served))
        .unwrap_or_else(|| panic!("no {served} in {profile}"));
    assert!(status_of(url).contains(" 200 "), "{url}");
    let packages = keep.json(&["package", "list"]);
    assert_eq!(packages[0]["source"], "tool", "{packages:#}");
    for node in [&crest, &keep] {
        node.ok(&["channel", "verify", "main"]);
    }
    // The log comes over the link on its own, and its end is waited for.
    let log = crest.ok(&["job", "log", "tool"]);
    assert!(
        log.contains("by boulder") && log.contains("working"),
        "{log}"
    );

    // The host that publishes comes back elsewhere, and the next build is told so.
    keep.stop();
    keep.up();
    crest.until_linked("keep");
    let http = keep.json(&["status"])["addresses"]["http"].clone();
    let served = format!("http://{}/main/history/", http.as_str().unwrap());
    // It says on its new link where it serves.
    let url = format!("http://{}", http.as_str().unwrap());
    crest.until(&["channel", "list"], |all| all[0]["url"] == url);
    std::fs::remove_file(notes.join("profile")).unwrap();
    // What is handed out has the build release of before: the build ends well, and its packages are not taken.
    crest.ok(&["build", "tool", "--rebuild"]);
    crest.wait("the second build", || {
        std::fs::read_to_string(notes.join("profile")).is_ok_and(|text| text.contains(&served))
    });
    crest.until_event("peer_not_taken", "tool");
    drop(east);
}
