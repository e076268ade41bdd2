//! How long a recipe's builds may take, as an operator decided it for this farm.

use super::farm::{add, farm, job_until, place};
use crate::common::repo::Repo;

#[test]
fn an_operators_time_limit_comes_before_the_recipes_own_and_outlives_the_process() {
    let place = place();
    let mut farm = farm(&place.path().join("farm"), "", &[]);
    farm.until(&["builder", "list"], |all| all[0]["verdict"] == "fit");
    farm.ok(&["builder", "drain", "east", "--reason", "not yet"]);
    let mut repo = Repo::new();
    let build = "build       : |\n    while sleep 0.2; do echo on; done\n";
    add(&mut repo, "endless", build);
    repo.write("e/endless/constraints.yaml", "time: 6h\n");
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    let limit = |farm: &crate::common::farm::Farm, more: &[&str]| {
        let mut words = vec!["recipe", "limit", "endless"];
        words.extend(more);
        let limit = farm.json(&words);
        let from = limit["from"].as_str().unwrap().to_string();
        (limit["time_s"].as_u64().unwrap(), from)
    };
    assert_eq!(limit(&farm, &[]), (21_600, "recipe".into()));
    assert_eq!(limit(&farm, &["--time", "4s"]), (4, "farm".into()));
    farm.code(2, &["recipe", "limit", "endless", "--time", "0s"]);
    farm.code(2, &["recipe", "limit", "endless", "--time", "9999h"]);
    farm.stop();
    farm.up();
    job_until(&farm, "endless", |job| job["state"] == "ready");
    let why = farm.json(&["why", "endless"]);
    assert_eq!(why["time_limit"]["time_s"], 4, "{why:#}");
    assert!(
        farm.ok(&["why", "endless"])
            .contains("set for this farm by"),
        "{why:#}"
    );
    let shown = farm.ok(&["recipe", "show", "endless"]);
    assert!(shown.contains("set for this farm by"), "{shown}");
    assert!(shown.contains("1h00m (it was never built)"), "{shown}");
    farm.ok(&["builder", "resume", "east"]);
    let job = farm.done("endless");
    assert_eq!(job["state"], "failed", "{job:#}");
    let attempt = &job["attempts"][0];
    assert_eq!(attempt["blame"], "recipe", "{job:#}");
    let text = attempt["why"].as_str().unwrap();
    assert!(text.contains("had taken 4 s"), "{text}");
    let next = farm.ok(&["why", "endless"]);
    assert!(next.contains("massif recipe limit"), "{next}");
    assert_eq!(limit(&farm, &["--none"]), (21_600, "recipe".into()));
    let said = farm.ok(&["audit"]);
    assert!(said.contains("may take 4 s"), "{said}");
}
