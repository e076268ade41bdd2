//! The main job, end to end on one machine: a commit becomes a package that a client can install.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::common::farm::{Farm, Setup};
use super::common::git_server;
use super::common::host::GATE;
use super::common::repo::Repo;

/// A recipe that needs nothing but a shell: `files` are written below `/usr/share/NAME`.
pub(crate) fn script_recipe(name: &str, release: u64, extra: &str) -> String {
    format!(
        "name        : {name}\nversion     : \"1.{release}\"\nrelease     : {release}\nhomepage    : https://example.invalid/{name}\n\
license     : MIT\nsummary     : The {name} of a test\ndescription : |\n    The {name} of a test.\n{extra}\
install     : |\n    %install_dir %(installroot)%(datadir)/{name}\n    echo release %(release) of %(name) > %(installroot)%(datadir)/{name}/content\n"
    )
}

fn add(repo: &mut Repo, name: &str, release: u64, extra: &str) {
    repo.write(
        &format!("{}/{name}/stone.yaml", &name[..1]),
        script_recipe(name, release, extra),
    );
}

fn get(farm: &Farm, path: &str) -> (u16, Vec<u8>) {
    let address = farm.http.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, answer[end + 4..].to_vec())
}

#[test]
fn a_commit_becomes_a_package_that_a_client_can_install() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", 1, "");
    repo.commit("Add alpha");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    // What was read is planned when the command returns.
    assert_eq!(farm.json(&["job", "list"])[0]["recipe"], "alpha");
    let job = farm.published("alpha");
    assert_eq!(
        (&job["release"], &job["build_release"]),
        (&1.into(), &1.into())
    );
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1);
    let packages = farm.json(&["package", "list"]);
    assert_eq!(packages[0]["name"], "alpha");
    assert_eq!(packages[0]["source"], "alpha");
    let (status, root) = get(&farm, "/main/moss-root-index.json");
    let root: serde_json::Value = serde_json::from_slice(&root).unwrap();
    assert_eq!(status, 200);
    let newest = root["streams"]["volatile"]["history"].as_str().unwrap();
    let (status, index) = get(
        &farm,
        &format!(
            "/main/history/{newest}/{}/stone.index",
            massif::id::Arch::OF_THIS_PROGRAM
        ),
    );
    assert_eq!((status, &index[..4]), (200, &b"\0mos"[..]));
    farm.check_served();

    // A new release is built by itself; the same commit twice is not.
    add(&mut repo, "alpha", 2, "");
    repo.commit("alpha: Update");
    farm.ok(&["project", "refresh", "test"]);
    farm.until(&["package", "list"], |packages| packages[0]["release"] == 2);
    farm.ok(&["project", "refresh", "test"]);
    assert_eq!(farm.json(&["job", "list"]).as_array().unwrap().len(), 2);
    let project = farm.json(&["project", "show", "test"]);
    assert_eq!(project["commit_title"], "alpha: Update", "{project:#}");
    let versions = farm.json(&["channel", "versions", "main"]);
    assert_eq!(
        versions.as_array().unwrap().len(),
        3,
        "an empty one and one for each attempt: {versions:#}"
    );
    farm.check_served();
}

#[test]
fn a_repository_behind_ssh_is_built_and_a_key_that_it_does_not_know_is_said() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", 1, "");
    repo.commit("Add alpha");
    let keys = tempfile::tempdir().unwrap();
    let Some(ssh) = git_server::ssh(keys.path()) else {
        assert!(std::env::var_os("CI").is_none(), "sshd is missing");
        println!("skipped: sshd is not installed");
        return;
    };
    let url = format!("{}{}", ssh.url, repo.path().display());
    let stranger = Farm::with(Setup {
        environment: vec![(
            "GIT_SSH_COMMAND".into(),
            ssh.command
                .replace("/user", "/host")
                .replace("known_hosts -i", "known_hosts -oIdentityAgent=none -i"),
        )],
        ..Setup::default()
    });
    stranger.run(&["project", "add", "test", &url]);
    // On a busy machine the first look may be given up before that is said.
    stranger.until(&["project", "list"], |projects| {
        projects[0]["fault"]
            .to_string()
            .contains("Permission denied")
    });

    let farm = Farm::with(Setup {
        environment: vec![("GIT_SSH_COMMAND".into(), ssh.command)],
        ..Setup::default()
    });
    farm.ok(&["project", "add", "test", &url]);
    farm.published("alpha");
    add(&mut repo, "alpha", 2, "");
    repo.commit("alpha: Update");
    farm.ok(&["project", "refresh", "test"]);
    farm.until(&["package", "list"], |packages| packages[0]["release"] == 2);

    // The mirror goes with the last project that is read from it.
    let mirrors = || {
        std::fs::read_dir(farm.dir().join("mirrors"))
            .unwrap()
            .count()
    };
    farm.ok(&["project", "add", "again", &url]);
    farm.ok(&["project", "remove", "test"]);
    farm.until(&["project", "list"], |projects| {
        projects[0]["name"] == "again"
    });
    assert!(mirrors() > 0);
    farm.ok(&["project", "remove", "again"]);
    let deadline = std::time::Instant::now() + super::common::farm::PATIENCE;
    while mirrors() > 0 {
        assert!(std::time::Instant::now() < deadline, "the mirror stays");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_rebuild_raises_the_build_release_and_a_published_release_needs_nothing() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", 1, "");
    repo.commit("Add alpha");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("alpha");
    let said = farm.ok(&["build", "alpha", "--wait"]);
    assert!(said.contains("published"), "{said}");
    assert_eq!(farm.json(&["job", "list"]).as_array().unwrap().len(), 1);
    farm.ok(&["build", "alpha", "--rebuild", "--wait", "--timeout", "20m"]);
    assert_eq!(farm.json(&["package", "list"])[0]["build_release"], 2);
    farm.check_served();
}

#[test]
fn what_needs_another_recipe_is_built_after_it_and_with_it() {
    let mut repo = Repo::new();
    add(&mut repo, "base", 1, "");
    add(
        &mut repo,
        "above",
        1,
        "builddeps   :\n    - base\nsetup       : |\n    grep -q 'release 1 of base' /usr/share/base/content\n",
    );
    repo.commit("Add both");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    let above = farm.published("above");
    let base = farm.published("base");
    assert!(
        base["ended"].as_str() <= above["attempts"][0]["started"].as_str(),
        "{base:#} {above:#}"
    );
    farm.check_served();
}

#[test]
fn what_nothing_provides_is_waited_for_by_name_and_built_when_it_comes() {
    let mut repo = Repo::new();
    add(
        &mut repo,
        "above",
        1,
        "builddeps   :\n    - pkgconfig(surely-not-there)\n    - later\n",
    );
    repo.commit("Add one");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    let jobs = farm.until(&["job", "list"], |jobs| jobs[0]["state"] == "waiting");
    let text = jobs[0]["waits_for"].to_string();
    assert!(
        text.contains("surely-not-there") && text.contains("later"),
        "{text}"
    );
    let why = farm.ok(&["why", "above"]);
    assert!(why.contains("pkgconfig(surely-not-there)"), "{why}");
    add(&mut repo, "above", 1, "builddeps   :\n    - later\n");
    add(&mut repo, "later", 1, "");
    repo.commit("Mend it");
    farm.ok(&["project", "refresh", "test"]);
    farm.until(&["package", "list"], |packages| {
        packages.as_array().unwrap().len() == 2
    });
    farm.check_served();
}

#[test]
fn a_bad_recipe_is_its_own_fault_and_the_others_go_on() {
    let mut repo = Repo::new();
    add(&mut repo, "good", 1, "");
    repo.write(
        "b/bad/stone.yaml",
        script_recipe("bad", 1, "").replace("release     : 1", "release     : 0"),
    );
    repo.write(
        "f/fails/stone.yaml",
        script_recipe(
            "fails",
            1,
            "build       : |\n    echo about to fail\n    exit 3\n",
        ),
    );
    repo.commit("Add three");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("good");
    let faulty = farm.json(&["recipe", "list", "--faulty"]);
    assert_eq!(faulty[0]["name"], "bad");
    assert!(
        faulty[0]["fault"]["place"]["line"].as_u64().unwrap() > 0,
        "{faulty:#}"
    );
    let job = farm.done("fails");
    assert_eq!(
        (&job["state"], &job["attempts"][0]["blame"]),
        (&"failed".into(), &"recipe".into()),
        "{job:#}"
    );
    assert!(farm.ok(&["job", "log", "fails"]).contains("about to fail"));
    farm.code(
        1,
        &["build", "fails", "--rebuild", "--wait", "--timeout", "20m"],
    );
    let why = farm.ok(&["why", "fails"]);
    assert!(why.contains("recipe"), "{why}");
}

#[test]
fn a_rollback_brings_the_older_content_back_and_holds_it() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", 1, "");
    repo.commit("Add alpha");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("alpha");
    add(&mut repo, "alpha", 2, "");
    repo.commit("alpha: Update");
    farm.ok(&["project", "refresh", "test"]);
    farm.until(&["package", "list"], |packages| packages[0]["release"] == 2);
    farm.ok(&["channel", "rollback", "main", "--to", "2"]);
    assert_eq!(farm.json(&["package", "list"])[0]["release"], 1);
    let again = farm.ok(&["channel", "rollback", "main", "--to", "4"]);
    assert_eq!(
        again.trim(),
        "main is at version 4 already; nothing changed"
    );
    let versions = farm.json(&["channel", "versions", "main"]);
    assert_eq!(
        (&versions[0]["id"], &versions[0]["streams"][0]),
        (&4.into(), &"volatile".into()),
        "{versions:#}"
    );
    let then = farm.json(&["package", "list", "--version", "3"]);
    assert_eq!(then[0]["release"], 2, "{then:#}");
    farm.code(1, &["package", "list", "--version", "77"]);
    let why = farm.ok(&["why", "alpha"]);
    assert!(
        why.contains("alpha is not built: held by")
            && why.contains("rolled back to version 2 of main"),
        "{why}"
    );
    // Wherever the recipe is shown it is held, with the reason.
    let held = farm.json(&["recipe", "show", "alpha"]);
    let reason = held["hold"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("rolled back to version 2 of main"),
        "{held:#}"
    );
    for shown in [&["recipe", "list"][..], &["recipe", "show", "alpha"]] {
        let said = farm.ok(shown);
        assert!(
            said.contains("held") && said.contains("rolled back to version 2 of main"),
            "{said}"
        );
    }
    // The next poll does not undo it; a person's word does.
    farm.ok(&["project", "refresh", "test"]);
    assert_eq!(farm.json(&["package", "list"])[0]["release"], 1);
    farm.ok(&["channel", "verify", "main"]);
    farm.check_served();
    farm.ok(&["build", "alpha", "--wait", "--timeout", "20m"]);
    assert_eq!(farm.json(&["package", "list"])[0]["release"], 2);
    assert!(farm.json(&["recipe", "show", "alpha"])["hold"].is_null());
    farm.check_served();
}

#[test]
fn the_farm_stops_within_seconds_in_the_middle_of_a_build_and_finishes_it_later() {
    let mut repo = Repo::new();
    add(&mut repo, "slow", 1, GATE);
    repo.commit("Add slow");
    let mut farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    let build = |farm: &Farm| {
        farm.until(&["builder", "list"], |builders| {
            builders[0]["slots"][0]["phase"] == "build"
        });
    };
    // A disk may stand still for longer, though not each time.
    let took = [(); 3].map(|()| {
        build(&farm);
        let took = farm.stop();
        farm.up();
        took
    });
    let soonest = took.iter().min();
    assert!(soonest < Some(&Duration::from_secs(7)), "{took:?}");
    build(&farm);
    farm.open_gate(&farm.attempt_of("slow"));
    let job = farm.published("slow");
    let attempts = job["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 4, "{job:#}");
    for given_back in &attempts[..3] {
        assert_eq!(given_back["blame"], "builder", "{job:#}");
    }
    farm.check_served();
}

#[test]
fn an_ordinary_user_builds_the_same_bytes_as_root() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root to become somebody else");
        return;
    }
    let mut repo = Repo::new();
    add(&mut repo, "alpha", 1, "");
    repo.commit("Add alpha");
    let root = Farm::start();
    root.ok(&["project", "add", "test", &repo.url()]);
    root.published("alpha");
    let user = Farm::with(Setup {
        uid: Some(65_533),
        ..Setup::default()
    });
    user.ok(&["project", "add", "test", &repo.url()]);
    user.published("alpha");
    assert_eq!(
        root.json(&["package", "list"])[0]["sha256"],
        user.json(&["package", "list"])[0]["sha256"]
    );
}

#[test]
fn a_recipe_that_changes_before_it_is_published_is_built_as_it_is_now() {
    let mut repo = Repo::new();
    let failing = "build       : |\n    exit 3\n";
    add(&mut repo, "fails", 1, failing);
    add(&mut repo, "bumped", 1, failing);
    add(
        &mut repo,
        "held",
        1,
        "builddeps   :\n    - pkgconfig(surely-not-there)\n",
    );
    add(
        &mut repo,
        "waits",
        1,
        "builddeps   :\n    - pkgconfig(surely-not-there)\n",
    );
    add(&mut repo, "slow", 1, "build       : |\n    sleep 600\n");
    repo.commit("Add five");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.done("fails");
    farm.done("bumped");
    farm.ok(&[
        "job",
        "hold",
        "held",
        "--reason",
        "not before the freeze ends",
    ]);
    farm.until(&["job", "show", "slow"], |job| {
        job["phase"] == "build" || job["state"] == "building"
    });

    add(&mut repo, "fails", 1, "");
    add(&mut repo, "bumped", 2, "");
    add(&mut repo, "held", 1, "");
    add(&mut repo, "waits", 1, "");
    add(&mut repo, "slow", 1, "");
    let tip = repo.commit("Mend them all").to_string();
    farm.ok(&["project", "refresh", "test"]);
    for name in ["fails", "bumped", "waits", "slow"] {
        let job = farm.published(name);
        assert_eq!(job["commit"], tip.as_str(), "{job:#}");
    }
    let held = farm.json(&["job", "show", "held"]);
    assert_eq!(
        (&held["commit"], &held["hold"]["reason"]),
        (&tip.as_str().into(), &"not before the freeze ends".into()),
        "{held:#}"
    );
    let all = farm.json(&["job", "list"]);
    let superseded = all.as_array().unwrap().iter();
    assert_eq!(
        superseded
            .filter(|job| job["state"] == "superseded")
            .count(),
        5,
        "{all:#}"
    );
    farm.ok(&["job", "release", "held"]);
    farm.published("held");
    farm.check_served();

    // A change that forgets the release builds nothing, and says so.
    add(
        &mut repo,
        "fails",
        1,
        "environment : |\n    export OTHER=1\n",
    );
    repo.commit("Change it and forget the release");
    farm.ok(&["project", "refresh", "test"]);
    let why = farm.ok(&["why", "fails"]);
    assert!(
        why.contains("its release is still 1") && why.contains("raise the release to 2"),
        "{why}"
    );
}
