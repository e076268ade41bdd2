//! How a host or a person comes to belong to a farm, and how that ends.

use std::time::{Duration, Instant};

use massif::net::card::TicketLine;

use super::rig::{PATIENCE, Place};
use crate::dash::pty::Screen;

fn words_in(text: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("words"));
    let line = line.unwrap_or_else(|| panic!("no words in:\n{text}"));
    let words = line.trim_start().trim_start_matches("words");
    words.trim_start_matches([':', ' ']).trim().to_string()
}

#[test]
fn a_builder_joins_by_a_line_and_both_sides_show_the_same_words() {
    let place = Place::new();
    let mut crest = place.summit("30s");
    let line = crest.ok(&["invite", "--role", "avalanche", "--name", "east"]);
    assert_eq!(
        line.lines().count(),
        1,
        "the line and nothing else: {line:?}"
    );
    let line = line.trim().to_string();
    let mut east = place.host("east");
    east.join(&line);
    let words = words_in(&east.said());
    assert_eq!(words.split_whitespace().count(), 5, "{words}");
    let peer = crest.until(&["peer", "show", "east"], |peer| peer["state"] == "waiting");
    assert_eq!(
        (peer["words"].as_str(), peer["role"].as_str()),
        (Some(words.as_str()), Some("avalanche"))
    );
    assert_eq!(peer["link"]["up"], false);
    // On a busy machine the first try may fail for want of time.
    east.until(&["peer", "list"], |peers| {
        let failure = peers[0]["link"]["last_failure"].as_str();
        failure.is_some_and(|why| why.contains("waits for somebody to approve"))
    });
    crest.ok(&["peer", "approve", "east"]);
    let peer = crest.until_linked("east");
    assert_eq!(peer["trust"], "trusted");
    crest.until(&["builder", "list"], |all| {
        all.as_array().unwrap().iter().any(|b| b["name"] == "east")
    });
    for kind in ["peer_invited", "peer_joined", "peer_approved"] {
        assert_eq!(crest.events(kind).len(), 1, "{kind}");
    }

    // The same line again lets nobody in, and says so.
    let west = place.host("west");
    let said = west.code(4, &["join", &line, "--slots", "0"]);
    assert!(said.contains("used already"), "{said}");
    crest.until_event("peer_refused", "used already");

    // It is a host like any other on its next start, and its rows outlive a restart of both.
    east.stop();
    crest.until(&["peer", "show", "east"], |peer| {
        peer["link"]["up"] == false
    });
    east.arguments = vec!["serve".into()];
    crest.stop();
    crest.up();
    east.up();
    crest.until_linked("east");

    // A name is the farm's to give.
    crest.ok(&["peer", "rename", "east", "eastern"]);
    crest.until(&["builder", "list"], |all| {
        all.as_array()
            .unwrap()
            .iter()
            .any(|b| b["name"] == "eastern")
    });
}

#[test]
fn a_ticket_runs_out_burns_is_taken_back_and_never_goes_to_another_key() {
    let place = Place::new();
    let crest = place.summit("30s");
    let invite = |more: &[&str]| -> TicketLine {
        let mut all = vec!["invite", "--role", "avalanche", "--pre-approved"];
        all.extend(more);
        crest.ok(&all).trim().parse().unwrap()
    };
    let try_join = |name: &str, line: &TicketLine, code: i32| {
        place
            .host(name)
            .code(code, &["join", &line.to_string(), "--slots", "0"])
    };
    let short = invite(&["--ttl", "1s"]);
    std::thread::sleep(Duration::from_millis(1_200));
    assert!(try_join("a", &short, 4).contains("ran out"));

    let back = invite(&[]);
    crest.ok(&["invite", "--revoke", &back.ticket.to_string()]);
    assert!(try_join("a", &back, 4).contains("taken back"));

    let good = invite(&[]);
    let wrong = TicketLine {
        secret: [0; 16],
        ..good.clone()
    };
    for _ in 0..5 {
        assert!(try_join("a", &wrong, 4).contains("does not know this ticket"));
    }
    assert!(try_join("a", &good, 4).contains("burnt"));
    let tickets = crest.json(&["invite", "--list"]);
    assert_eq!(tickets[0]["state"], "burnt", "{tickets}");
    crest.until_event("ticket_burnt", "too many wrong tries");

    // Another key at the address: nothing is sent to it, not even a wrong try.
    let fresh = invite(&[]);
    let pinned = TicketLine {
        pin: massif::id::HostId([1; 32]),
        ..fresh.clone()
    };
    let said = try_join("a", &pinned, 4);
    assert!(said.contains("another key"), "{said}");
    let tickets = crest.json(&["invite", "--list"]);
    assert_eq!(
        (&tickets[0]["wrong"], &tickets[0]["used"]),
        (&0.into(), &0.into())
    );
    let nonsense = place
        .host("a")
        .code(2, &["join", "massif-join-1.AAAA", "--slots", "0"]);
    assert!(nonsense.contains("paste the whole line"), "{nonsense}");
    // The secrets are in none of the files.
    let secret = fresh.secret;
    for file in walk(&crest.dir) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(
            !bytes.windows(16).any(|window| window == secret),
            "{}",
            file.display()
        );
    }
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else if path.is_file() && !path.to_string_lossy().contains("ballast") {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_line_configures_the_host_that_runs_and_a_host_belongs_to_one_farm() {
    let place = Place::new();
    let mut crest = place.summit("30s");
    let mut east = place.host("east");
    east.ok(&["init", "--role", "avalanche"]);
    east.arguments = ["serve", "--slots", "0", "--listen", "127.0.0.1:0"]
        .map(str::to_string)
        .to_vec();
    east.up();
    let line = crest.invite("avalanche", "east", &[]);
    let said = east.ok(&["join", &line]);
    assert_eq!(words_in(&said).split_whitespace().count(), 5, "{said}");
    crest.until_linked("east");
    // The same line again says what is, and uses nothing.
    let again = east.ok(&["join", &line]);
    assert!(again.contains("belongs to the farm of"), "{again}");
    assert_eq!(words_in(&again), words_in(&said));
    assert_eq!(crest.json(&["invite", "--list"])[0]["used"], 1);

    let other = Place::new();
    let elsewhere = other.summit("30s");
    let line = elsewhere.invite("avalanche", "east", &[]);
    let refused = east.code(5, &["join", &line]);
    assert!(refused.contains("this host builds for"), "{refused}");
    assert_eq!(elsewhere.json(&["invite", "--list"])[0]["used"], 0);
    // Nor does a host that decides become a builder in the same directory, whether it runs or not.
    let refused = crest.code(5, &["join", &line]);
    assert!(refused.contains("a summit of its own"), "{refused}");
    crest.stop();
    let refused = crest.code(5, &["join", &line]);
    assert!(refused.contains("a farm of its own"), "{refused}");
    assert!(!crest.dir.join("massif.toml").exists());
    crest.up();
    crest.until_linked("east");
    assert_eq!(elsewhere.json(&["invite", "--list"])[0]["used"], 0);
}

#[test]
fn machines_add_themselves_with_one_ticket_from_the_environment() {
    let place = Place::new();
    let crest = place.summit("30s");
    let all = [
        "invite",
        "--role",
        "avalanche",
        "--pre-approved",
        "--uses",
        "2",
        "--name",
        "cloud",
    ];
    let line = crest.ok(&all).trim().to_string();
    let mut nodes: Vec<_> = ["c1", "c2"].iter().map(|name| place.host(name)).collect();
    let ready: Vec<_> = nodes
        .iter_mut()
        .map(|node| {
            node.arguments = vec![
                "join".into(),
                "--headless".into(),
                "--slots".into(),
                "0".into(),
            ];
            node.environment = vec![("MASSIF_JOIN".into(), line.clone())];
            node.spawn()
        })
        .collect();
    for ready in ready {
        ready.recv_timeout(PATIENCE).unwrap();
    }
    crest.until(&["peer", "list"], |peers| {
        let up = peers
            .as_array()
            .unwrap()
            .iter()
            .filter(|peer| peer["link"]["up"] == true);
        up.map(|peer| peer["name"].as_str().unwrap())
            .collect::<Vec<_>>()
            == ["cloud", "cloud-2"]
    });
    // The image starts again with the same environment: it is known, and no use is used.
    nodes[0].stop();
    nodes[0].up();
    crest.until(&["peer", "list"], |peers| {
        peers
            .as_array()
            .unwrap()
            .iter()
            .all(|peer| peer["link"]["up"] == true)
    });
    assert_eq!(crest.json(&["invite", "--list"])[0]["used"], 2);
}

#[test]
fn two_hosts_join_by_files_and_show_the_same_words() {
    let place = Place::new();
    let crest = place.summit("30s");
    let mut east = place.host("east");
    let card = |text: String, name: &str| {
        let path = crest.dir.with_file_name(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let of_crest = card(crest.ok(&["cert", "export"]), "crest.card");
    let of_east = card(east.ok(&["cert", "export"]), "east.card");
    let here = crest.ok(&["cert", "trust", &of_east, "--role", "avalanche"]);
    let there = east.ok(&["cert", "trust", &of_crest, "--role", "summit"]);
    assert_eq!(words_in(&here), words_in(&there));
    east.arguments = ["serve", "--slots", "0"].map(str::to_string).to_vec();
    east.up();
    let peers = crest.until(&["peer", "list"], |peers| peers[0]["link"]["up"] == true);
    assert_eq!(
        (&peers[0]["how"], &peers[0]["state"]),
        (&"card".into(), &"approved".into())
    );
    let own = crest.code(2, &["cert", "trust", &of_crest, "--role", "avalanche"]);
    assert!(own.contains("own card"), "{own}");
}

#[test]
fn an_operator_asks_from_afar_what_its_rights_allow_until_it_is_revoked() {
    let place = Place::new();
    let crest = place.summit("30s");
    let ann = place.host("ann");
    let invite = |rights: &str, name: &str| {
        let all = [
            "invite", "--role", "operator", "--name", name, "--rights", rights,
        ];
        crest.ok(&all).trim().to_string()
    };
    let said = ann.ok(&["join", &invite("view", "ann")]);
    let host = crest.json(&["status"])["host"]["name"]
        .as_str()
        .unwrap()
        .to_string();
    assert!(
        said.contains(&format!("joined {host} as operator ann")),
        "{said}"
    );
    let refused = ann.code(4, &["--host", &host, "status"]);
    assert!(
        refused.contains("waits for somebody to approve"),
        "{refused}"
    );
    let approved = crest.ok(&["peer", "approve", "ann"]);
    assert_eq!(words_in(&approved), words_in(&said));
    let status = ann.json(&["--host", &host, "status"]);
    assert_eq!(status["right"], "view");
    assert_eq!(status["host"]["id"], crest.json(&["status"])["host"]["id"]);
    let refused = ann.code(4, &["--host", &host, "peer", "approve", "ann"]);
    assert!(refused.contains("may view here"), "{refused}");
    let typo = ann.code(1, &["--host", &format!("{host}x"), "status"]);
    assert!(typo.contains(&format!("did you mean {host}?")), "{typo}");

    let bob = place.host("bob");
    bob.ok(&["join", &invite("admin", "bob")]);
    crest.ok(&["peer", "approve", "bob"]);
    let to = bob.ok(&["--host", &host, "invite", "--role", "avalanche"]);
    assert!(to.starts_with("massif-join-1."), "{to}");
    let by = crest.json(&["invite", "--list"])[0]["by"]
        .as_str()
        .unwrap()
        .to_string();
    assert!(by.starts_with("key "), "{by}");

    // A watch from afar ends within a second of the revocation.
    let mut watch = std::process::Command::new(crate::common::farm::MASSIF)
        .args([
            "--dir",
            bob.dir.to_str().unwrap(),
            "--host",
            &host,
            "call",
            "io.massif.Host.Watch",
            "{}",
            "--more",
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(watch.try_wait().unwrap().is_none(), "it watches");
    crest.ok(&["peer", "revoke", "bob"]);
    let began = Instant::now();
    while watch.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(120) {
            watch.kill().ok();
            panic!("the watch goes on");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = bob.code(4, &["--host", &host, "status"]);
    assert!(refused.contains("was revoked by"), "{refused}");
    crest.until_event("peer_refused", "was revoked");
}

#[test]
fn a_revoked_host_is_out_at_once_and_for_good_whatever_is_restored() {
    let place = Place::new();
    let mut crest = place.summit("30s");
    let east = place.builder(&crest, "east", &[]);
    let backup = crest.dir.with_file_name("before.backup");
    crest.ok(&["store", "backup", backup.to_str().unwrap()]);
    crest.ok(&["peer", "revoke", "east"]);
    let began = Instant::now();
    crest.until(&["peer", "show", "east"], |peer| {
        peer["link"]["up"] == false
    });
    // How soon is another test's to show; a link that is merely left alone stays.
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    let told = |node: &super::rig::Node| {
        let peers = node.until(&["peer", "list"], |peers| {
            let why = peers[0]["link"]["last_failure"]
                .as_str()
                .unwrap_or_default();
            why.contains("was revoked by uid")
        });
        peers[0]["link"]["last_failure"]
            .as_str()
            .unwrap()
            .to_string()
    };
    told(&east);
    let doctor = east.run(&["doctor"]);
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.contains("was revoked by"), "{doctor}");
    crest.stop();
    crest.ok(&["store", "restore", backup.to_str().unwrap()]);
    crest.up();
    let peer = crest.json(&["peer", "show", "east"]);
    assert_eq!(peer["state"], "revoked", "{peer:#}");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(crest.json(&["peer", "show", "east"])["link"]["up"], false);
    let again = crest.code(5, &["peer", "approve", "east"]);
    assert!(again.contains("never comes back"), "{again}");
}

#[test]
fn who_waits_for_approval_sees_what_the_other_side_must_do_until_it_is_done() {
    let place = Place::new();
    let crest = place.summit("30s");
    let host = crest.json(&["status"])["host"]["name"].clone();
    let host = host.as_str().unwrap();
    let invite = |name: &str| crest.ok(&["invite", "--role", "avalanche", "--name", name]);

    // On a terminal a line that lives.
    let line = invite("east");
    let dir = crest.dir.with_file_name("east");
    let words = ["join", line.trim(), "--headless", "--slots", "0", "--dir"];
    let words: Vec<&str> = words.into_iter().chain([dir.to_str().unwrap()]).collect();
    let screen = Screen::open(150, 30, &words);
    let waiting = format!("waiting for {host}: same words there (");
    let text = screen.until("what to do", |text| {
        text.contains(&waiting)
            && text.contains("massif peer approve east")
            && text.contains("ready admin=")
    });
    let shown = crest.json(&["peer", "show", "east"])["words"].clone();
    assert!(text.contains(shown.as_str().unwrap()), "{text}");
    crest.ok(&["peer", "approve", "east"]);
    screen.until("the link", |text| {
        text.contains("belongs to its farm") && !text.contains(&waiting)
    });
    drop(screen);

    // In a pipe plain lines.
    let line = invite("west");
    let mut west = place.host("west");
    west.join(line.trim());
    assert!(
        west.said().contains("massif peer approve west"),
        "{}",
        west.said()
    );
    crest.ok(&["peer", "approve", "west"]);
    crest.until_linked("west");
    let told = format!("linked to {host}: this host belongs to its farm");
    west.wait(&told, || west.log().contains(&told));
    assert!(!west.said().contains('\u{1b}') && !west.log().contains('\u{1b}'));
}
