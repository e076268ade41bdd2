//! Processor levels: what is built for them, on which builders, and what clients get; another architecture by the same means.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::farm::Farm;
use crate::common::repo::Repo;
use crate::common::stones;
use crate::hosts::blame::configure;
use crate::hosts::rig::{Node, Place};
use crate::ring::script_recipe;

/// A recipe of a program that adds and multiplies eight numbers at once, where the processor can.
fn wide(name: &str, more: &str) -> String {
    let program = "\
build       : |
    cat > wide.c <<'EOF'
    typedef int wide __attribute__((vector_size(32)));
    int main(int argc, char **argv) {
        wide a = {argc, 2, 3, 4, 5, 6, 7, 8}, b = a;
        int i, sum = 0, count = argc > 1 ? 60000000 : 1000;
        for (i = 0; i < count; i++) b = b * a + a;
        for (i = 0; i < 8; i++) sum += b[i];
        return sum == 42;
    }
    EOF
    ${CC} ${CFLAGS} ${LDFLAGS} -o wide wide.c
";
    let text = script_recipe(name, 1, &format!("{program}{more}"));
    format!("{text}    %install_bin wide\n")
}

fn add(repo: &mut Repo, name: &str, text: String) {
    repo.write(&format!("{}/{name}/stone.yaml", &name[..1]), text);
    repo.commit(&format!("Add {name}"));
}

/// The instructions of the program `usr/bin/wide` in a package.
fn instructions(stone: &Path, dir: &Path) -> String {
    let bytes = stones::file(stone, "bin/wide").expect("bin/wide is a file");
    let path = dir.join("wide");
    std::fs::write(&path, bytes).unwrap();
    let output = Command::new("objdump")
        .arg("-d")
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn job_of<'a>(jobs: &'a Value, recipe: &str, profile: &str) -> Option<&'a Value> {
    let mut all = jobs.as_array().unwrap().iter();
    all.find(|job| job["recipe"] == recipe && job["profile"] == profile)
}

fn packages(channel: &Value) -> Vec<String> {
    let all = channel.as_array().unwrap().iter();
    let names = all.map(|one| one["name"].as_str().unwrap().to_string());
    names.filter(|name| !name.ends_with("-dbginfo")).collect()
}

#[test]
fn a_layer_holds_only_what_was_chosen_for_it_and_its_programs_use_what_the_level_has() {
    let mut repo = Repo::new();
    add(&mut repo, "base", script_recipe("base", 1, ""));
    add(
        &mut repo,
        "wide",
        wide("wide", "builddeps   :\n    - name(base)\n"),
    );
    let farm = Farm::start();
    let builders = farm.until(&["builder", "list"], |all| all[0]["levels"][0].is_string());
    let levels = builders[0]["levels"].as_array().unwrap();
    if !levels.iter().any(|level| level == "x86_64-v3x") {
        println!("skipped: this processor runs no level above the baseline");
        return;
    }
    farm.until(&["builder", "list"], |all| {
        let features = all[0]["features"].as_array().unwrap();
        ["avx2", "fsgsbase", "xsaveopt"]
            .iter()
            .all(|one| features.iter().any(|known| known == one))
    });
    farm.ok(&["project", "add", "test", &repo.url()]);
    let baseline = farm.published("wide");
    farm.published("base");
    // A layer needs a channel of its own, and a profile below that exists.
    let add = ["profile", "add", "v3", "--isa", "x86_64-v3x", "--over"];
    let with = |more: &[&'static str]| [&add[..], more].concat();
    assert!(farm.code(2, &with(&["default"])).contains("--channel"));
    assert!(
        farm.code(1, &with(&["defolt", "--channel", "main-v3"]))
            .contains("default")
    );
    farm.ok(&with(&["default", "--channel", "main-v3"]));
    // Nothing is chosen, so nothing is built for it, by itself or by name.
    assert!(
        farm.code(5, &["build", "wide", "--profile", "v3"])
            .contains("massif project level test wide --profile v3")
    );
    assert!(
        farm.code(1, &["project", "level", "test", "wade", "--profile", "v3"])
            .contains("did you mean")
    );
    farm.ok(&[
        "project",
        "level",
        "test",
        "wide",
        "--profile",
        "v3",
        "--why",
        "a third faster",
    ]);
    let jobs = farm.until(&["job", "list"], |jobs| {
        job_of(jobs, "wide", "v3").is_some_and(|job| job["state"] == "published")
    });
    assert!(job_of(&jobs, "base", "v3").is_none(), "{jobs:#}");
    assert_eq!(
        packages(&farm.json(&["package", "list", "--channel", "main-v3"])),
        ["wide"]
    );
    assert_eq!(packages(&farm.json(&["package", "list"])), ["base", "wide"]);
    let chosen = farm.json(&["project", "level", "test"]);
    assert_eq!(
        (
            &chosen[0]["profile"],
            &chosen[0]["over"],
            &chosen[0]["recipes"][0]["why"]
        ),
        (&"v3".into(), &"default".into(), &"a third faster".into()),
        "{chosen:#}"
    );
    let level = job_of(&jobs, "wide", "v3").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let low = instructions(
        &stones::of_job(&farm, &baseline["id"].to_string(), &dir.join("low")),
        dir,
    );
    let high = instructions(
        &stones::of_job(&farm, &level["id"].to_string(), &dir.join("high")),
        dir,
    );
    let adds = |text: &str| {
        text.lines()
            .any(|line| line.contains("vpaddd") && line.contains("%ymm"))
    };
    assert!(adds(&high), "{high}");
    assert!(!low.contains("%ymm") && !low.contains("vpaddd"), "{low}");
    assert!(low.contains("paddd") && low.contains("%xmm"), "{low}");
    // A new release is built for both; what is dropped is built for the layer no more.
    repo.write(
        "w/wide/stone.yaml",
        wide("wide", "").replace("release     : 1", "release     : 2"),
    );
    repo.commit("wide: release 2");
    farm.until(&["package", "list", "--channel", "main-v3"], |all| {
        all[0]["release"] == 2
    });
    farm.ok(&[
        "project",
        "level",
        "test",
        "wide",
        "--profile",
        "v3",
        "--remove",
    ]);
    assert_eq!(
        farm.json(&["project", "level", "test"])[0]["recipes"],
        serde_json::json!([])
    );
    repo.write(
        "w/wide/stone.yaml",
        wide("wide", "").replace("release     : 1", "release     : 3"),
    );
    repo.commit("wide: release 3");
    farm.until(&["package", "list"], |all| {
        let mut all = all.as_array().unwrap().iter();
        all.any(|one| one["name"] == "wide" && one["release"] == 3)
    });
    assert_eq!(
        farm.json(&["package", "list", "--channel", "main-v3"])[0]["release"],
        2
    );
    farm.ok(&["store", "check"]);
}

/// A builder whose owner says what it builds for.
fn builder(place: &Place, crest: &Node, name: &str, says: &str, slots: &str) -> Node {
    let mut node = place.host(name);
    configure(&node, name, &format!("[builder]\n{says}\n"));
    let invite = [
        "invite",
        "--role",
        "avalanche",
        "--pre-approved",
        "--name",
        name,
    ];
    let line = crest.ok(&invite).trim().to_string();
    node.arguments = ["join", &line, "--headless", "--slots", slots]
        .map(str::to_string)
        .to_vec();
    node.up();
    crest.until(&["peer", "show", name], |peer| peer["link"]["up"] == true);
    crest.until(&["builder", "list"], |all| {
        let mut all = all.as_array().unwrap().iter();
        all.any(|one| one["name"] == name && one["verdict"] == "fit")
    });
    node
}

#[test]
fn two_architectures_are_built_side_by_side_each_on_its_own_builders() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", script_recipe("alpha", 1, ""));
    let place = Place::new();
    let crest = place.summit("30s");
    crest.ok(&["profile", "add", "arm", "--arch", "aarch64"]);
    crest.ok(&["project", "add", "test", &repo.url()]);
    let _east = builder(&place, &crest, "east", "", "1");
    crest.until(&["job", "list"], |jobs| {
        job_of(jobs, "alpha", "default").is_some_and(|job| job["state"] == "published")
    });
    // Nobody builds for the other one yet, and that is what it says.
    let waits = crest.json(&["job", "list"]);
    let waits = job_of(&waits, "alpha", "arm").unwrap();
    assert_eq!(waits["attempts"], serde_json::json!([]), "{waits:#}");
    let why = crest.ok(&["why", &waits["id"].to_string()]);
    assert!(why.contains("aarch64") && why.contains("x86_64"), "{why}");
    let _west = builder(&place, &crest, "west", "arch = \"aarch64\"", "1");
    let jobs = crest.until(&["job", "list"], |jobs| {
        job_of(jobs, "alpha", "arm").is_some_and(|job| job["state"] == "published")
    });
    let who =
        |profile: &str| job_of(&jobs, "alpha", profile).unwrap()["attempts"][0]["builder"].clone();
    assert_eq!((who("default"), who("arm")), ("east".into(), "west".into()));
    let made = crest.json(&["package", "list"]);
    let archs: Vec<&str> = made
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["arch"].as_str().unwrap())
        .collect();
    assert!(
        archs.contains(&"aarch64") && archs.contains(&"x86_64"),
        "{made:#}"
    );
    crest.ok(&["store", "check"]);
}

#[test]
fn a_level_that_no_builder_runs_waits_and_says_what_it_needs_and_what_there_is() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", script_recipe("alpha", 1, ""));
    let place = Place::new();
    let crest = place.summit("30s");
    let _east = builder(&place, &crest, "east", "isa = [\"x86_64\"]", "1");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published("alpha");
    crest.ok(&[
        "profile",
        "add",
        "v4",
        "--isa",
        "x86_64-v4",
        "--over",
        "default",
        "--channel",
        "main-v4",
    ]);
    crest.ok(&["project", "level", "test", "alpha", "--profile", "v4"]);
    let jobs = crest.until(&["job", "list"], |jobs| {
        job_of(jobs, "alpha", "v4").is_some()
    });
    let job = job_of(&jobs, "alpha", "v4").unwrap()["id"].to_string();
    let why = crest.ok(&["why", &job]);
    assert!(why.contains("v4") && why.contains("baseline"), "{why}");
    // It is built as soon as somebody comes who runs it.
    let claims = "isa = [\"x86_64\", \"x86_64-v3x\", \"x86_64-v4\"]";
    let _west = builder(&place, &crest, "west", claims, "1");
    let job = crest.until(&["job", "show", &job], |job| job["state"] == "published");
    assert_eq!(job["attempts"][0]["builder"], "west", "{job:#}");
}

#[test]
fn a_builder_without_the_features_that_it_claims_is_blamed_and_another_one_builds() {
    let mut repo = Repo::new();
    // What has two slots has one core in each, and dies there as if an instruction were missing.
    let dies = "build       : |\n    if [ %(jobs) = 1 ]; then kill -ILL $$; fi\n";
    add(&mut repo, "alpha", script_recipe("alpha", 1, dies));
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        println!("skipped: this needs two cores");
        return;
    }
    let place = Place::new();
    let crest = place.summit("30s");
    let claims = "isa = [\"x86_64\", \"x86_64-v3x\"]";
    let _liar = builder(&place, &crest, "liar", claims, "2");
    crest.ok(&[
        "profile",
        "add",
        "v3",
        "--isa",
        "x86_64-v3x",
        "--over",
        "default",
        "--channel",
        "main-v3",
    ]);
    crest.ok(&["project", "add", "test", &repo.url()]);
    // For the baseline the recipe itself is to blame.
    let jobs = crest.until(&["job", "list"], |jobs| {
        job_of(jobs, "alpha", "default").is_some_and(|job| job["state"] == "failed")
    });
    let failed = job_of(&jobs, "alpha", "default").unwrap();
    assert_eq!(failed["attempts"][0]["blame"], "recipe", "{failed:#}");
    crest.ok(&["project", "level", "test", "alpha", "--profile", "v3"]);
    let jobs = crest.until(&["job", "list"], |jobs| {
        job_of(jobs, "alpha", "v3").is_some_and(|job| job["attempts"][0]["blame"].is_string())
    });
    let job = job_of(&jobs, "alpha", "v3").unwrap();
    assert_eq!(job["attempts"][0]["blame"], "builder", "{job:#}");
    let why = job["attempts"][0]["why"].to_string();
    assert!(why.contains("illegal instruction"), "{why}");
    let id = job["id"].to_string();
    // It is not tried there again and again until the other one is here, however long that takes.
    crest.ok(&["job", "hold", &id, "--reason", "another builder comes"]);
    let _east = builder(&place, &crest, "east", claims, "1");
    crest.ok(&["job", "release", &id]);
    let job = crest.until(&["job", "show", &id], |job| {
        assert_ne!(job["state"], "failed", "{job:#}");
        job["state"] == "published"
    });
    let last = job["attempts"].as_array().unwrap().last().unwrap();
    assert_eq!(last["builder"], "east", "{job:#}");
}

/// Runs a command whose answer is no; the JSON that it prints.
fn negative(farm: &Farm, arguments: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(arguments);
    let output = farm.run(&all);
    assert_eq!(output.status.code(), Some(1), "{output:?}\n{}", farm.log());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_a_level_is_worth_is_measured_in_turns_kept_and_told_with_what_it_cannot_say() {
    let mut repo = Repo::new();
    add(
        &mut repo,
        "wide",
        wide("wide", "workload    : |\n    ./wide again\n"),
    );
    add(&mut repo, "plain", script_recipe("plain", 1, ""));
    let farm = Farm::start();
    let builders = farm.until(&["builder", "list"], |all| all[0]["levels"][0].is_string());
    let levels = builders[0]["levels"].as_array().unwrap();
    if !levels.iter().any(|level| level == "x86_64-v3x") {
        println!("skipped: this processor runs no level above the baseline");
        return;
    }
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("wide");
    farm.published("plain");
    let picture = farm.dir().join("../worth.svg");
    let picture = picture.to_str().unwrap();
    let measure = [
        "compare",
        "--isa",
        "wide",
        "--levels",
        "x86_64-v3x",
        "--runs",
        "8",
        "--svg",
        picture,
    ];
    let made = farm.json(&measure);
    assert_eq!(
        (&made["state"], &made["script"], &made["runs"]),
        (&"done".into(), &"workload".into(), &8.into()),
        "{made:#}"
    );
    let (base, level) = (&made["levels"][0], &made["levels"][1]);
    assert_eq!(
        (&base["isa"], &base["ratio"]),
        (&"x86_64".into(), &Value::Null),
        "{made:#}"
    );
    assert_eq!(level["isa"], "x86_64-v3x", "{made:#}");
    let number = |name: &str| level[name].as_f64().unwrap();
    assert!(
        number("low") <= number("ratio") && number("ratio") <= number("high"),
        "{made:#}"
    );
    assert!(number("confidence") > 0.99, "{made:#}");
    assert!(
        ["faster", "slower", "same", "cannot_tell"].contains(&level["verdict"].as_str().unwrap()),
        "{made:#}"
    );
    let unsaid = made["unsaid"].to_string();
    assert!(unsaid.contains("one processor"), "{unsaid}");
    let svg = std::fs::read_to_string(picture).unwrap();
    assert!(svg.contains("wide x86_64-v3x"), "{svg}");
    // Too few runs say so; the same level beside itself is a question too.
    let few = farm.json(&[
        "compare", "--isa", "wide", "--levels", "x86_64", "--runs", "2",
    ]);
    assert_eq!(few["levels"][1]["verdict"], "cannot_tell", "{few:#}");
    assert!(few["unsaid"].to_string().contains("too few"), "{few:#}");
    // It is kept, and says why the level is built.
    let table = farm.ok(&["compare", "--isa"]);
    assert!(table.contains("wide"), "{table}");
    farm.ok(&[
        "profile",
        "add",
        "v3",
        "--isa",
        "x86_64-v3x",
        "--over",
        "default",
        "--channel",
        "main-v3",
    ]);
    farm.ok(&[
        "project",
        "level",
        "test",
        "wide",
        "--profile",
        "v3",
        "--why",
        "measured",
    ]);
    let shown = farm.json(&["recipe", "show", "wide"]);
    let shown = &shown["proof"]["levels"][0];
    assert_eq!(
        (&shown["profile"], &shown["why"], &shown["measurement"]),
        (&"v3".into(), &"measured".into(), &made["id"]),
        "{shown:#}"
    );
    assert_eq!(shown["ratio"], level["ratio"], "{shown:#}");
    // Nothing was published by it, and it is no comparison.
    assert_eq!(
        farm.json(&["compare", "list"])["comparisons"],
        serde_json::json!([])
    );
    let failed = negative(&farm, &["compare", "--isa", "plain"]);
    assert_eq!(
        (&failed["state"], &failed["blame"]),
        (&"failed".into(), &"recipe".into()),
        "{failed:#}"
    );
    assert!(
        failed["fault"]["what"]
            .to_string()
            .contains("neither a workload nor a check"),
        "{failed:#}"
    );
    assert!(
        farm.code(2, &["compare", "--isa", "wide", "--levels", "x86_64-v9"])
            .contains("x86_64-v3x")
    );
    assert!(
        farm.code(2, &["compare", "--isa", "wide", "--runs", "1000"])
            .contains("1 to 100")
    );
    farm.ok(&["store", "check"]);
}

#[test]
fn the_recipes_of_a_project_are_measured_and_shown_as_text_json_and_a_picture() {
    let mut repo = Repo::new();
    let work = "workload    : |\n    true\n";
    for (name, more) in [("aaa", work), ("bbb", work), ("ccc", "")] {
        repo.write(
            &format!("{}/{name}/stone.yaml", &name[..1]),
            script_recipe(name, 1, more),
        );
    }
    repo.commit("Add three");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    for name in ["aaa", "bbb", "ccc"] {
        farm.published(name);
    }
    let of = ["compare", "--isa", "--project", "test"];
    let with = |more: &[&'static str]| [&of[..], more].concat();
    assert_eq!(farm.json(&of), serde_json::json!([]));
    let unknown = farm.code(1, &["compare", "--isa", "--project", "tets"]);
    assert!(unknown.contains("did you mean test"), "{unknown}");
    let picture = farm.dir().join("../all.svg");
    let mut measure = with(&[
        "--top",
        "2",
        "--measure",
        "--levels",
        "x86_64",
        "--runs",
        "2",
    ]);
    measure.extend(["--svg", picture.to_str().unwrap()]);
    let made = farm.json(&measure);
    let names: Vec<&str> = made
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["recipe"].as_str().unwrap())
        .collect();
    assert!(
        names.len() == 2 && names.contains(&"aaa") && names.contains(&"bbb"),
        "{made:#}"
    );
    assert!(
        made.as_array()
            .unwrap()
            .iter()
            .all(|one| one["state"] == "done")
    );
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(
        svg.contains("aaa x86_64") && svg.contains("bbb x86_64"),
        "{svg}"
    );
    let table = farm.ok(&with(&["--top", "50"]));
    assert!(table.contains("aaa") && table.contains("bbb"), "{table}");
    // Those are known; what cannot be measured is said and keeps nobody.
    let said = farm.run(&with(&["--measure", "--levels", "x86_64", "--runs", "2"]));
    let errors = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success(), "{errors}");
    assert!(
        errors.contains("ccc") && errors.contains("neither a workload nor a check"),
        "{errors}"
    );
    assert!(!errors.contains("aaa"), "{errors}");
}

#[test]
fn a_workload_that_fails_or_never_ends_is_given_up_and_the_recipe_is_to_blame() {
    let mut repo = Repo::new();
    add(
        &mut repo,
        "fails",
        script_recipe("fails", 1, "workload    : |\n    false\n"),
    );
    add(
        &mut repo,
        "endless",
        script_recipe(
            "endless",
            1,
            "workload    : |\n    while true; do sleep 1; echo on; done\n",
        ),
    );
    let farm = Farm::start();
    farm.ok(&["profile", "add", "default", "--phase-timeout", "15s"]);
    farm.ok(&["project", "add", "test", &repo.url()]);
    for (recipe, says) in [
        ("fails", "workload of fails ended with code 1"),
        ("endless", "did not end in 15 s"),
    ] {
        farm.published(recipe);
        let failed = negative(
            &farm,
            &[
                "compare", "--isa", recipe, "--levels", "x86_64", "--runs", "3",
            ],
        );
        assert_eq!(
            (&failed["state"], &failed["blame"]),
            (&"failed".into(), &"recipe".into()),
            "{failed:#}"
        );
        let what = failed["fault"]["what"].as_str().unwrap();
        assert!(what.contains(says), "{what}");
    }
    // The slot is free again, and nobody is suspected.
    farm.until(&["builder", "list"], |all| {
        all[0]["slots"][0]["job"].is_null() && all[0]["verdict"] == "fit"
    });
    farm.ok(&["store", "check"]);
}

#[test]
fn a_measurement_of_a_level_that_no_builder_runs_waits_and_says_so() {
    let mut repo = Repo::new();
    add(
        &mut repo,
        "alpha",
        script_recipe("alpha", 1, "workload    : |\n    true\n"),
    );
    let place = Place::new();
    let crest = place.summit("30s");
    let _east = builder(&place, &crest, "east", "isa = [\"x86_64\"]", "1");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published("alpha");
    let refused = crest.code(5, &["compare", "--isa", "alpha"]);
    assert!(
        refused.contains("no builder that is here runs a level above x86_64"),
        "{refused}"
    );
    crest.ok(&[
        "compare",
        "--isa",
        "alpha",
        "--levels",
        "x86_64-v4",
        "--runs",
        "2",
        "--no-wait",
    ]);
    crest.until(&["compare", "--isa"], |all| {
        all[0]["state"] == "waiting" && all[0]["text"] == "builder east does not run x86_64-v4"
    });
}
