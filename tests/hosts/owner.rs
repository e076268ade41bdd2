//! A host that is only a builder: what its owner sees while summit is out of reach, also after a restart of its own.

use super::rig::{Node, Place};
use crate::common::repo::Repo;
use crate::ring::script_recipe;

/// The alarm about summit, once there is one.
fn alarmed(east: &Node) -> serde_json::Value {
    let is_it = |alarm: &serde_json::Value| alarm["kind"] == "summit_out_of_reach";
    let status = east.until(&["status"], |status| {
        status["alarms"].as_array().unwrap().iter().any(is_it)
    });
    let mut alarms = status["alarms"].as_array().unwrap().iter();
    alarms.find(|alarm| is_it(alarm)).unwrap().clone()
}

#[test]
fn the_owner_of_a_builder_sees_it_while_summit_is_out_of_reach() {
    let place = Place::new();
    let mut crest = place.summit("600s");
    let mut east = place.builder(&crest, "east", &[]);
    let mut repo = Repo::new();
    let slow = "build       : |\n    for i in $(seq 600); do echo line $i; sleep 1; done\n";
    repo.write("l/long/stone.yaml", script_recipe("long", 1, slow));
    repo.commit("Add one");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.building("long", "build");
    // While the link stands it says what it does, and that the rest is asked elsewhere.
    let status = east.until(&["status"], |status| status["jobs"]["building"] == 1);
    assert_eq!(status["alarms"], serde_json::json!([]), "{status:#}");
    assert!(east.code(1, &["why", "long"]).contains("only summit"));

    crest.kill();
    let alarm = alarmed(&east);
    assert!(alarm["since"].is_string(), "{alarm:#}");
    let text = alarm["text"].as_str().unwrap();
    assert!(text.contains("is out of reach since"), "{text}");
    let builders = east.until(&["builder", "list"], |all| {
        all[0]["history"]
            .as_array()
            .is_some_and(|past| !past.is_empty())
    });
    let own = &builders[0];
    // What summit calls it is summit's.
    let name = own["name"].as_str().unwrap();
    assert_eq!(own["verdict"], "fit", "{own:#}");
    assert_eq!(own["slots"][0]["recipe"], "long", "{own:#}");
    assert!(own["disks"][0]["free_bytes"].as_u64().unwrap() > 0);
    assert!(
        own["evidence"].to_string().contains("out of reach"),
        "{own:#}"
    );
    let shown = east.ok(&["builder", "show", name]);
    assert!(
        shown.contains("slots by") && shown.contains("long"),
        "{shown}"
    );
    let jobs = east.json(&["job", "list"]);
    assert_eq!(
        (&jobs[0]["recipe"], &jobs[0]["state"]),
        (&"long".into(), &"building".into())
    );
    let log = east.ok(&["job", "log", "long"]);
    assert!(log.contains("line 1\n"), "{log}");
    let said = east.code(75, &["why", "long"]);
    assert!(
        said.contains("only summit knows that") && said.contains("since"),
        "{said}"
    );
    let screen = east.ok(&["dash", "--once", "--format", "text"]);
    assert!(screen.contains("out of reach"), "{screen}");

    // Its own restart changes nothing: it knows whose builder it is.
    east.stop();
    east.serves();
    east.up();
    alarmed(&east);
    let builders = east.until(&["builder", "list"], |all| all[0]["verdict"] == "fit");
    assert_eq!(builders[0]["slots"][0]["job"], serde_json::Value::Null);
    crest.up();
    east.until(&["status"], |status| {
        status["alarms"] == serde_json::json!([])
    });
}
