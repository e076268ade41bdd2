//! `plan --against FILE`: what differs between two plans, in the schema of both.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::out::{Out, Style};
use super::text;
use crate::fault::{Fault, Kind, Result};

/// Moves of less than this are noise of rounding, in seconds.
const MOVED_S: f64 = 1.0;

/// Reads the other plan and prints the difference; `plan` is the one that was asked for.
pub(super) fn show(path: &Path, plan: &Value, out: &Out) -> Result<()> {
    let cannot = |what: &str, error: &dyn std::error::Error| {
        Fault::new(Kind::Usage, format!("{} {what}", path.display()))
            .because(error)
            .next("save a plan with `massif plan --json > FILE`")
    };
    let bytes = std::fs::read(path).map_err(|error| cannot("cannot be read", &error))?;
    let before: Value =
        serde_json::from_slice(&bytes).map_err(|error| cannot("is no plan", &error))?;
    let differs = difference(&before, plan);
    match out.style {
        Style::Json => return out.value(&differs),
        Style::Ids => ["added", "removed"]
            .iter()
            .flat_map(|list| differs[*list].as_array().into_iter().flatten())
            .filter_map(|row| row["recipe"].as_str())
            .for_each(|name| out.line(name)),
        Style::People => print(&differs, out),
    }
    Ok(())
}

fn built(plan: &Value) -> BTreeMap<(String, String), f64> {
    let rows = plan["jobs"].as_array().into_iter().flatten();
    let built = rows.filter(|row| {
        row["reasons"]
            .as_array()
            .is_some_and(|reasons| !reasons.is_empty())
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    built
        .map(|row| {
            let end_s = row["end_s"].as_f64().unwrap_or(f64::INFINITY);
            ((text(&row["profile"]), text(&row["recipe"])), end_s)
        })
        .collect()
}

/// `[before, after]` of each sum, and the rows that came, went or moved.
fn difference(before: &Value, after: &Value) -> Value {
    let both = |name: &str| json!([before[name], after[name]]);
    let (old, new) = (built(before), built(after));
    let row = |(profile, recipe): &(String, String)| json!({"recipe": recipe, "profile": profile});
    let only = |these: &BTreeMap<_, f64>, those: &BTreeMap<_, f64>| {
        let rows = these.keys().filter(|key| !those.contains_key(*key));
        rows.map(row).collect::<Vec<Value>>()
    };
    let moved: Vec<Value> = old
        .iter()
        .filter_map(|(key, was)| {
            let is = new.get(key)?;
            let same = was == is || (was - is).abs() < MOVED_S;
            // What never ends is null.
            let end_s = |seconds: &f64| seconds.is_finite().then_some(*seconds);
            let (profile, recipe) = key;
            (!same).then(
                || json!({"recipe": recipe, "profile": profile, "end_s": [end_s(was), end_s(is)]}),
            )
        })
        .collect();
    json!({
        "makespan_s": both("makespan_s"),
        "lower_bound_s": both("lower_bound_s"),
        "builds": both("builds"),
        "added": only(&new, &old),
        "removed": only(&old, &new),
        "moved": moved,
    })
}

fn print(differs: &Value, out: &Out) {
    let span = |value: &Value| value.as_f64().map_or_else(|| "?".into(), text::span);
    for (what, name) in [("in all", "makespan_s"), ("at least", "lower_bound_s")] {
        let pair = &differs[name];
        out.field(
            what,
            format!("{} instead of {}", span(&pair[1]), span(&pair[0])),
        );
    }
    for (what, name) in [("only here", "added"), ("only there", "removed")] {
        let names: Vec<&str> = differs[name]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|row| row["recipe"].as_str())
            .collect();
        out.field(what, names.join(" "));
    }
    for row in differs["moved"].as_array().into_iter().flatten() {
        let ends = &row["end_s"];
        out.line(format!(
            "{} ends after {} instead of {}",
            row["recipe"].as_str().unwrap_or_default(),
            span(&ends[1]),
            span(&ends[0])
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rows: &[(&str, Option<f64>)], makespan_s: f64) -> Value {
        let jobs: Vec<Value> = rows
            .iter()
            .map(|(name, end_s)| {
                json!({"recipe": name, "profile": "main", "reasons": ["missing"], "end_s": end_s})
            })
            .collect();
        json!({"jobs": jobs, "makespan_s": makespan_s, "lower_bound_s": 1.0, "builds": rows.len()})
    }

    #[test]
    fn two_plans_differ_by_what_came_went_and_moved() {
        let before = plan(&[("a", Some(10.0)), ("b", Some(20.0)), ("c", None)], 20.0);
        let after = plan(
            &[("a", Some(10.2)), ("c", Some(5.0)), ("d", Some(9.0))],
            10.2,
        );
        let differs = difference(&before, &after);
        assert_eq!(differs["makespan_s"], json!([20.0, 10.2]));
        assert_eq!(
            differs["added"],
            json!([{"recipe": "d", "profile": "main"}])
        );
        assert_eq!(
            differs["removed"],
            json!([{"recipe": "b", "profile": "main"}])
        );
        assert_eq!(
            differs["moved"],
            json!([{"recipe": "c", "profile": "main", "end_s": [null, 5.0]}])
        );
        // Anything may be in a file.
        for odd in [
            json!(null),
            json!([1]),
            json!({"jobs": 3}),
            json!({"jobs": [{"reasons": 1}]}),
        ] {
            assert_eq!(difference(&odd, &odd)["moved"], json!([]));
        }
    }
}
