//! Jobs that are over are remembered up to a number; what packages rest on stays whatever the number.

use super::common::farm::{Farm, Setup};
use super::common::place;
use super::common::repo::Repo;
use super::ring::script_recipe;

fn jobs(farm: &Farm) -> Vec<u64> {
    let jobs = farm.json(&["job", "list"]);
    let all = jobs.as_array().unwrap().iter();
    all.map(|job| job["id"].as_u64().unwrap()).collect()
}

#[test]
fn the_oldest_jobs_that_nothing_rests_on_are_let_go_and_what_is_published_stays() {
    let place = place("massif-history-");
    let dir = place.path().join("farm");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("massif.toml"), "history_jobs = 2\n").unwrap();
    let mut farm = Farm::with(Setup {
        dir: Some(dir),
        ..Setup::default()
    });
    let mut repo = Repo::new();
    let mut release = |farm: &Farm, release: u64| {
        for name in ["alpha", "beta"] {
            let file = format!("{}/{name}/stone.yaml", &name[..1]);
            repo.write(&file, script_recipe(name, release, ""));
        }
        repo.commit("Update two");
        match release {
            1 => farm.ok(&["project", "add", "test", &repo.url()]),
            _ => farm.ok(&["project", "refresh", "test"]),
        };
        farm.until(&["package", "list"], |all| {
            let all = all.as_array().unwrap();
            all.len() == 2 && all.iter().all(|one| one["release"] == release)
        });
    };
    for number in 1..=12 {
        release(&farm, number);
    }
    // All 24 were published. The newest of each recipe and two others stay; the last of the rest go a moment after the end.
    farm.until(&["audit", "--limit", "500"], |all| {
        all.to_string().contains("that are over were let go")
    });
    farm.until(&["job", "list"], |all| all.as_array().unwrap().len() == 4);
    let before = jobs(&farm);
    assert_eq!(before, [24, 23, 22, 21]);
    let gone = farm.code(1, &["job", "show", "1"]);
    assert!(gone.contains("its record was let go"), "{gone}");
    farm.kill();
    farm.up();
    assert_eq!(jobs(&farm), before);
    assert_eq!(farm.json(&["package", "list"]).as_array().unwrap().len(), 2);
    assert_eq!(farm.json(&["job", "show", "alpha"])["release"], 12);
    release(&farm, 13);
    farm.ok(&["channel", "verify", "main"]);
    farm.ok(&["store", "check"]);
    assert!(
        farm.json(&["status"])["alarms"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}
