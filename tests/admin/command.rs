//! The command line against the fixed host.

use std::process::{Command, Output, Stdio};

use super::fixed::Fixed;

fn massif(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_massif"));
    command
        .args(arguments)
        .env_remove("MASSIF_DIR")
        .env_remove("MASSIF_LOG")
        .env("XDG_RUNTIME_DIR", "/nonexistent")
        .stdin(Stdio::null());
    command
}

fn run(host: &Fixed, arguments: &[&str]) -> (i32, String, String) {
    read(
        massif(arguments)
            .env("MASSIF_DIR", host.path())
            .output()
            .unwrap(),
    )
}

fn read(out: Output) -> (i32, String, String) {
    (
        out.status.code().unwrap(),
        String::from_utf8(out.stdout).unwrap(),
        String::from_utf8(out.stderr).unwrap(),
    )
}

fn json(host: &Fixed, arguments: &[&str]) -> serde_json::Value {
    let (code, out, error) = run(host, arguments);
    assert_eq!(code, 0, "{arguments:?}: {error}");
    serde_json::from_str(&out).unwrap_or_else(|fault| panic!("{arguments:?}: {fault}: {out}"))
}

#[test]
fn lists_are_plain_tables_in_a_pipe() {
    let host = Fixed::start();
    let (code, out, _) = run(&host, &["job", "list"]);
    assert_eq!(code, 0);
    assert!(out.is_ascii() && !out.contains('\u{1b}'), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    assert!(
        lines[1].contains("nano") && lines[1].contains("nothing provides pkgconfig(gtk4)"),
        "{out}"
    );
    assert!(
        lines[2].contains("recipe: build ended with code 2\\x1b[31m"),
        "{out}"
    );
    assert_eq!(run(&host, &["job", "list", "-q"]).1, "3\n2\n1\n");
    assert_eq!(
        run(
            &host,
            &["job", "list", "-q", "--state", "open", "--state", "failed"]
        )
        .1,
        "3\n2\n"
    );
    assert_eq!(run(&host, &["job", "list", "-q", "--limit", "1"]).1, "3\n");
}

#[test]
fn json_has_the_shapes_that_scripts_rely_on() {
    let host = Fixed::start();
    let keys = |value: &serde_json::Value, wanted: &[&str]| {
        let object = value.as_object().unwrap();
        for key in wanted {
            assert!(object.contains_key(*key), "{key} is missing in {value}");
        }
    };
    let status = json(&host, &["status", "--json"]);
    keys(&status, &["schema", "host", "addresses", "jobs", "alarms"]);
    keys(&status["host"], &["id", "name", "version", "roles"]);
    keys(&status["addresses"], &["admin", "quic", "http"]);
    assert!(status["addresses"]["quic"].is_null());
    assert_eq!(status["jobs"]["waiting"], 0);
    let jobs = json(&host, &["--json", "job", "list"]);
    assert_eq!(jobs.as_array().unwrap().len(), 3);
    const JOB: &[&str] = &[
        "id",
        "project",
        "recipe",
        "version",
        "release",
        "build_release",
        "profile",
        "state",
        "because",
        "waits_for",
        "attempts",
    ];
    keys(&jobs[0], JOB);
    keys(&jobs[0]["waits_for"][0], &["kind", "text"]);
    keys(
        &jobs[1]["attempts"][0],
        &[
            "try_no", "builder", "state", "started", "ended", "blame", "why",
        ],
    );
    assert_eq!(
        jobs[1]["attempts"][0]["started"],
        "2026-11-21T21:00:49.000Z"
    );
    let job = json(&host, &["job", "show", "nano", "--json"]);
    keys(&job, JOB);
    keys(&job, &["depends_on", "needed_by", "artefacts"]);
    assert_eq!(json(&host, &["--version", "--json"])["schema"], 1);
}

#[test]
fn exit_codes_say_whose_move_it_is() {
    let host = Fixed::start();
    let nobody = tempfile::tempdir().unwrap();
    let dir = nobody.path().to_str().unwrap();
    for (arguments, code, words) in [
        (&["job", "show", "nano"][..], 0, ""),
        (
            &["job", "show", "nan"],
            1,
            "a\\x07b:1:2: no job nan; did you mean nano?",
        ),
        (&["job", "shew", "nano"], 2, "show"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (&["build"], 2, "required"),
        (&["call", "JobShew"], 2, "did you mean JobShow?"),
        (&["call", "JobShow", "{"], 2, "not JSON"),
        (
            &["call", "JobShow", "{\"jub\": 1}"],
            2,
            "unknown field `jub`",
        ),
        (
            &["--dir", dir, "status"],
            3,
            "start it with `massif up --dir",
        ),
        (
            &["package", "import", "x.stone"],
            5,
            "x.stone is there already",
        ),
        (&["build", "hello", "--wait"], 0, ""),
        (&["build", "ncurses", "--wait"], 1, "ncurses"),
        (
            &["build", "nano", "--wait", "--timeout", "1s"],
            75,
            "they live on",
        ),
    ] {
        let (found, out, error) = run(&host, arguments);
        assert_eq!(found, code, "{arguments:?}: {out}{error}");
        assert!(error.contains(words), "{arguments:?}: {error}");
        assert!(
            error.is_ascii() && !error.contains('\u{1b}') && !error.contains('\u{7}'),
            "{error:?}"
        );
    }
}

#[test]
fn logs_come_whole_and_byte_by_byte_in_a_pipe() {
    let host = Fixed::start();
    let (code, out, _) = run(&host, &["job", "log", "2", "-f"]);
    assert_eq!((code, out.as_str()), (0, "one\ntwo \u{1b}]0;x\u{7}\n"));
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_quietly() {
    let host = Fixed::start();
    let mut watch = massif(&["watch", "--since", "0"])
        .env("MASSIF_DIR", host.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 16];
    std::io::Read::read_exact(watch.stdout.as_mut().unwrap(), &mut first).unwrap();
    drop(watch.stdout.take());
    let out = watch.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    assert!(out.status.success());
}

#[test]
fn watch_ends_after_the_events_that_were_asked_for() {
    let host = Fixed::start();
    let (code, out, _) = run(&host, &["watch", "--since", "0", "--count", "3", "--json"]);
    assert_eq!(code, 0);
    let events: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["seq"], 3);
}

#[test]
fn the_raw_door_lists_methods_and_calls_them() {
    let host = Fixed::start();
    let (_, out, _) = run(&host, &["call", "-q"]);
    assert!(
        out.lines()
            .any(|line| line == "io.massif.Vessel.PackageList"),
        "{out}"
    );
    assert_eq!(
        json(&host, &["call", "Status"])["status"]["host"]["name"],
        "here"
    );
    assert_eq!(
        json(&host, &["call", "org.varlink.service.GetInfo"])["product"],
        "massif"
    );
}

#[test]
fn verbs_that_are_not_built_are_not_offered() {
    let (code, help, _) = read(massif(&["--help"]).output().unwrap());
    assert_eq!(code, 0);
    for verb in [
        "up", "demo", "serve", "init", "status", "project", "build", "job", "why", "store", "man",
        "dash", "try", "compare", "invite", "join", "peer", "cert",
    ] {
        assert!(
            help.contains(&format!(
                "
  {verb} "
            )),
            "{verb}: {help}"
        );
    }
    assert!(!help.contains("\n  apply "), "{help}");
    let (_, help, _) = read(massif(&["builder", "--help"]).output().unwrap());
    assert!(help.contains("drain"), "{help}");
}

#[test]
fn completions_and_manual_pages_come_from_the_same_words() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = read(massif(&["completions", shell]).output().unwrap());
        assert!(code == 0 && out.contains("rollback"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    let (code, _, error) = read(
        massif(&["man", dir.path().to_str().unwrap()])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 0, "{error}");
    for page in ["massif.1", "massif-job-log.1", "massif-channel-rollback.1"] {
        assert!(dir.path().join(page).exists(), "{page}");
    }
    let (_, page, _) = read(massif(&["man"]).output().unwrap());
    assert!(page.starts_with(".ie"), "{page}");
}

#[test]
fn init_writes_a_configuration_once_and_serve_wants_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let (code, _, error) = read(massif(&["serve", "--dir", path]).output().unwrap());
    assert_eq!(code, 1);
    assert!(error.contains("massif init --role"), "{error}");
    let (code, _, error) = read(
        massif(&["init", "--dir", path, "--role", "avalanche", "vessel"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 0, "{error}");
    let text = std::fs::read_to_string(dir.path().join("massif.toml")).unwrap();
    assert!(
        text.contains("roles = [\"avalanche\", \"vessel\"]"),
        "{text}"
    );
    let (code, _, _) = read(
        massif(&["init", "--dir", path, "--role", "summit"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 5);
    std::fs::write(dir.path().join("massif.toml"), "slots = 1\npol_s = 3\n").unwrap();
    let (code, _, error) = read(massif(&["serve", "--dir", path]).output().unwrap());
    assert_eq!(code, 1);
    assert!(
        error.contains("massif.toml:2:1: unknown field `pol_s`")
            && error.contains("did you mean `poll_s`?"),
        "{error}"
    );
}
