//! The order as people meet it: plans with times, what-if, reasons of waiting, holds that end, policies.

use super::common::farm::Farm;
use super::common::repo::Repo;
use super::ring::script_recipe;

fn add(repo: &mut Repo, name: &str, extra: &str) {
    repo.write(
        &format!("{}/{name}/stone.yaml", &name[..1]),
        script_recipe(name, 1, extra),
    );
}

#[test]
fn a_plan_has_times_and_two_plans_have_a_difference() {
    let mut repo = Repo::new();
    add(&mut repo, "base", "");
    add(&mut repo, "above", "builddeps   :\n    - base\n");
    repo.commit("Add two");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("above");

    let plan = farm.json(&["plan", "base", "--rebuild"]);
    let row = |name: &str| {
        let rows = plan["jobs"].as_array().unwrap();
        rows.iter().find(|row| row["recipe"] == name).cloned()
    };
    let (base, above) = (row("base").unwrap(), row("above").unwrap());
    assert_eq!(base["start_s"], 0.0, "{plan:#}");
    assert!(
        base["end_s"].as_f64() <= above["start_s"].as_f64() && base["builder"].is_string(),
        "{plan:#}"
    );
    assert_eq!(above["depends_on"], serde_json::json!(["base"]));
    assert!(
        above["reasons"][0]
            .as_str()
            .unwrap()
            .starts_with("built with it, 1 step away"),
        "{plan:#}"
    );
    assert_eq!(plan["critical_path"], serde_json::json!(["base", "above"]));
    assert!(plan["makespan_s"].as_f64() >= plan["lower_bound_s"].as_f64());
    assert!(plan["makespan_here_s"].is_null());

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), plan.to_string()).unwrap();
    let more = farm.json(&["plan", "base", "--rebuild", "--builders", "3"]);
    assert_eq!(more["makespan_here_s"], plan["makespan_s"], "{more:#}");
    let against = file.path().to_str().unwrap();
    let pictures = tempfile::tempdir().unwrap();
    let path = |name: &str| pictures.path().join(name).to_str().unwrap().to_string();
    let (dot, svg, gantt) = (path("a.dot"), path("a.svg"), path("gantt.svg"));
    let drawn = [
        "plan",
        "base",
        "--rebuild",
        "--dot",
        &dot,
        "--svg",
        &svg,
        "--gantt",
        &gantt,
    ];
    farm.ok(&drawn);
    let text = |path: &str| std::fs::read_to_string(path).unwrap();
    assert!(text(&dot).contains("j0 -> j1 [color=red"), "{}", text(&dot));
    assert!(text(&svg).contains(">above</text>"), "{}", text(&svg));
    assert!(text(&gantt).contains("<title>above: "), "{}", text(&gantt));
    let differs = farm.json(&["plan", "above", "--rebuild", "--against", against]);
    assert_eq!(differs["removed"][0]["recipe"], "base", "{differs:#}");

    // With a policy that leaves them alone nothing follows.
    let set = &[
        "project",
        "policy",
        "test",
        "--rebuild",
        "none",
        "--second-pass",
        "on",
        "--weight",
        "3",
    ];
    let project = farm.json(set);
    assert_eq!(
        (
            &project["rebuild"],
            &project["second_pass"],
            &project["weight"]
        ),
        (&"none".into(), &true.into(), &3.into())
    );
    let alone = farm.json(&["plan", "base", "--rebuild"]);
    assert_eq!(alone["builds"], 1, "{alone:#}");
    farm.code(2, &["project", "policy", "test", "--rebuild", "sometimes"]);
}

#[test]
fn why_says_whose_move_it_is_and_a_hold_ends_when_its_owner_said() {
    let mut repo = Repo::new();
    add(
        &mut repo,
        "stuck",
        "builddeps   :\n    - pkgconfig(surely-not-there)\n",
    );
    add(&mut repo, "later", "builddeps   :\n    - stuck\n");
    repo.commit("Add two");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.until(&["job", "list"], |jobs| {
        jobs.as_array()
            .is_some_and(|jobs| jobs.len() == 2 && jobs.iter().all(|job| job["state"] == "waiting"))
    });
    farm.until(&["builder", "list"], |all| all[0]["verdict"] == "fit");
    let hold = &[
        "job",
        "hold",
        "stuck",
        "--reason",
        "lunch",
        "--expires",
        "30s",
    ];
    farm.ok(hold);
    let why = farm.json(&["why", "stuck"]);
    let reasons: Vec<(&str, &str)> = why["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| {
            (
                reason["kind"].as_str().unwrap(),
                reason["whose"].as_str().unwrap(),
            )
        })
        .collect();
    // The hold has an end, so it lifts first.
    assert_eq!(
        reasons,
        [("hold", "operator"), ("dep_wait", "recipe")],
        "{why:#}"
    );
    assert!(
        why["reasons"][0]["lifts_in_s"].as_f64().unwrap() <= 30.0,
        "{why:#}"
    );
    assert!(why["start_p50_s"].is_null(), "{why:#}");
    assert_eq!(why["builders"].as_array().unwrap().len(), 1, "{why:#}");
    let why = farm.json(&["why", "later"]);
    assert_eq!(why["reasons"][0]["kind"], "job", "{why:#}");
    farm.until(&["job", "show", "stuck"], |job| job["hold"].is_null());
}

#[test]
fn what_a_recipe_asks_of_its_builder_counts() {
    let mut repo = Repo::new();
    add(&mut repo, "modest", "");
    add(&mut repo, "huge", "");
    add(&mut repo, "odd", "");
    add(&mut repo, "late", "build       : |\n    sleep 6000\n");
    repo.write("m/modest/constraints.yaml", "memory: 64MiB\ndisk: 10MiB\n");
    repo.write("h/huge/constraints.yaml", "memory: 900TiB\n");
    repo.write("o/odd/constraints.yaml", "disk: 1GiB\nmemory: much\n");
    repo.write("l/late/constraints.yaml", "time: 2s\n");
    repo.commit("Add four");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("modest");
    let shown = farm.json(&["recipe", "show", "modest"]);
    assert_eq!(
        shown["constraints"],
        serde_json::json!({ "cores": null, "memory_mib": 64, "disk_mib": 10, "time_s": null }),
        "{shown:#}"
    );
    assert!(
        farm.ok(&["recipe", "show", "modest"])
            .contains("64 MiB of memory, 10 MiB of disk")
    );

    let why = farm.until(&["why", "huge"], |why| {
        why["builders"][0]["verdict"] == "decline"
    });
    let failed = &why["builders"][0]["failed"][0];
    assert_eq!(failed["kind"], "memory", "{why:#}");
    // Rounded up, as all memory that is promised.
    assert_eq!(failed["need"], "1073741824 MiB", "{why:#}");
    let odd = farm.json(&["recipe", "show", "odd"]);
    let fault = odd["fault"].to_string();
    assert!(
        fault.contains("o/odd/constraints.yaml") && fault.contains("is no size"),
        "{odd:#}"
    );
    let late = farm.until(&["job", "show", "late"], |job| {
        !job["attempts"].as_array().unwrap().is_empty() && job["state"] == "failed"
    });
    let why = late["waits_for"][0]["text"].as_str().unwrap_or_default();
    assert!(why.contains("had taken 2 s"), "{late:#}");

    // Without it the job goes on by itself: another tree is another job.
    repo.write("h/huge/constraints.yaml", "memory: 64MiB\n");
    repo.commit("huge: Ask for less");
    farm.ok(&["project", "refresh", "test"]);
    farm.published("huge");
}

#[test]
fn why_says_who_stops_a_builder_and_what_is_on_its_way_into_a_channel() {
    let mut repo = Repo::new();
    add(&mut repo, "base", "");
    repo.commit("Add one");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("base");
    let builders = farm.json(&["builder", "list"]);
    let name = builders[0]["name"].as_str().unwrap().to_string();
    assert_eq!(builders[0]["score"]["wrong"], 0, "{builders:#}");
    let builder = format!("builder:{name}");
    farm.until(&["why", &builder], |why| {
        why["reasons"].to_string().contains("nothing to build")
    });
    let why = farm.json(&["why", "channel:main"]);
    let summary = why["summary"].as_str().unwrap();
    assert!(
        summary.ends_with("nothing is on its way into it"),
        "{why:#}"
    );

    farm.ok(&["builder", "drain", &name, "--reason", "new disk"]);
    let why = farm.json(&["why", &builder]);
    let first = &why["reasons"][0];
    assert_eq!(
        (&first["kind"], &first["whose"]),
        (&"hold".into(), &"operator".into())
    );
    assert!(
        first["text"].as_str().unwrap().contains("new disk"),
        "{why:#}"
    );
    assert_eq!(why["cheapest"], format!("massif builder resume {name}"));

    repo.write("b/base/stone.yaml", script_recipe("base", 2, ""));
    repo.commit("base: Release 2");
    farm.ok(&["project", "refresh", "test"]);
    let waits = farm.until(&["why", "package:base"], |why| {
        let first = why["reasons"][0]["text"].as_str().unwrap_or_default();
        first.contains("of base 1.2-2 is ready") && first.contains("new disk")
    });
    assert!(
        waits["summary"].to_string().contains("base 1.1-1-1"),
        "{waits:#}"
    );
    let why = farm.json(&["why", "channel:main"]);
    assert_eq!(
        why["reasons"][0]["text"],
        "1 job for it waits for something"
    );
    let status = farm.json(&["status"]);
    assert!(
        status["critical_path"].is_null(),
        "nobody builds it as things are"
    );
    // What was measured before is known of an earlier moment too.
    let seq = status["seq"].to_string();
    let then = farm.json(&["job", "list", "--at", &seq]);
    assert_eq!(then[0]["release"], 2, "{then:#}");
    assert!(then[0]["estimate_s"].is_number(), "{then:#}");
    farm.ok(&["builder", "resume", &name]);
    farm.until(&["job", "list"], |jobs| jobs[0]["state"] == "published");
    farm.published("base");
}
