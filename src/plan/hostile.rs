//! Random distributions with everything in them that should not be: a plan always ends, with an answer and a reason.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::sample::{catalog, meta, recipe};
use super::simulate::lower_bound;
use super::whole::{Ask, Known, Whole, equal_builders, plan};
use super::*;
use crate::recipe::Facts;

/// Recipes whose names, needs and provided names run into each other; 0 is one that nothing provides.
fn recipes() -> impl Strategy<Value = Vec<Facts>> {
    let one = (
        0usize..25,
        prop::collection::vec(0usize..25, 0..5),
        prop::collection::vec(0usize..25, 0..3),
    );
    prop::collection::vec(one, 0..40).prop_map(|rows| {
        let facts = rows.into_iter().map(|(number, needs, provides)| {
            let text = |number: &usize| match number {
                0 => "binary(nowhere)".to_string(),
                number => format!("binary(b{number})"),
            };
            let needs: Vec<String> = needs.iter().map(text).collect();
            let mut provides: Vec<String> = provides.iter().filter(|n| **n > 0).map(text).collect();
            provides.push(format!("binary(b{number})"));
            let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
            let provides: Vec<&str> = provides.iter().map(String::as_str).collect();
            recipe(&format!("r{number}"), &needs, &provides)
        });
        facts.collect()
    })
}

fn seconds() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        Just(None),
        Just(Some(0.0)),
        Just(Some(-3.0)),
        Just(Some(f64::NAN)),
        Just(Some(f64::INFINITY)),
        Just(Some(f64::MAX)),
        (1.0..5_000.0f64).prop_map(Some),
    ]
}

fn builders() -> impl Strategy<Value = Vec<BuilderSpec>> {
    let odd_speed = prop_oneof![
        Just(1.0),
        Just(0.0),
        Just(-1.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        0.2..4.0f64
    ];
    let one = (
        odd_speed,
        0u32..3,
        any::<bool>(),
        prop::option::of(0u32..4_000),
    );
    prop::collection::vec(one, 0..5).prop_map(|rows| {
        let mut all = equal_builders(rows.len() as u32, &[Arch::X86_64]);
        for (builder, (speed, slots, other, memory_mib)) in all.iter_mut().zip(rows) {
            builder.speed = speed;
            builder.slots = slots;
            builder.memory_mib = memory_mib;
            if other {
                builder.archs = vec![Arch::Aarch64];
            }
        }
        all
    })
}

/// Uncut edges form no cycle, and putting any cut back closes one.
fn check_cuts(whole: &Whole) {
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &whole.rows {
        let name = row.target.recipe.to_string();
        let list = needs.entry(name).or_default();
        list.extend(row.depends_on.iter().map(ToString::to_string));
    }
    let reaches = |from: &str, to: &str| {
        let (mut todo, mut seen) = (vec![from.to_string()], BTreeSet::new());
        while let Some(next) = todo.pop() {
            if next == to {
                return true;
            }
            if seen.insert(next.clone()) {
                todo.extend(needs.get(&next).into_iter().flatten().cloned());
            }
        }
        false
    };
    for (name, list) in &needs {
        for provider in list {
            assert!(
                !reaches(provider, name),
                "{name} and {provider} are in a cycle"
            );
        }
    }
    for cut in whole.cycles.iter().flat_map(|cycle| &cycle.cuts) {
        let (recipe, provider) = (cut.recipe.recipe.as_str(), cut.provider.recipe.as_str());
        assert!(
            reaches(provider, recipe),
            "{recipe} before {provider} is needless"
        );
    }
    for cycle in &whole.cycles {
        assert!((1..=cycle.cuts.len()).contains(&cycle.cuts_min));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_plan_of_anything_ends_with_an_answer_that_keeps_the_order(
        recipes in recipes(),
        durations in prop::collection::vec(seconds(), 25),
        builders in builders(),
        published in prop::collection::vec((0usize..25, 0u64..3), 0..6),
        empty in any::<bool>(),
        all in any::<bool>(),
    ) {
        let known: HashMap<String, Known> = durations
            .iter()
            .enumerate()
            .map(|(number, seconds)| {
                (format!("r{number}"), Known { seconds: *seconds, ..Known::default() })
            })
            .collect();
        let published = published
            .iter()
            .map(|(number, release)| {
                let mut meta = meta(&format!("r{number}"), *release, &[], &[]);
                if number % 5 == 4 {
                    meta.arch = Arch::Aarch64;
                }
                meta
            })
            .collect();
        let whole = plan(&Ask {
            catalogs: vec![(Arch::X86_64, catalog(&recipes))],
            published,
            known,
            builders: builders.clone(),
            empty,
            edges: if all { Edges::All } else { Edges::Manifest },
            steps: 500,
        });
        prop_assert_eq!(whole.rows.len(), recipes.len());
        if empty {
            check_cuts(&whole);
        }
        for (job, ran) in whole.jobs.iter().zip(&whole.outcome.ran) {
            let Some(ran) = ran else { continue };
            prop_assert!(ran.start_s >= 0.0 && ran.end_s >= ran.start_s);
            for before in &job.before {
                let earlier = whole.outcome.ran[*before as usize];
                prop_assert!(earlier.is_some_and(|earlier| earlier.end_s <= ran.start_s + 0.002));
            }
        }
        let bound = lower_bound(&whole.jobs, &builders);
        prop_assert!(bound >= 0.0);
        prop_assert!(whole.outcome.makespan_s >= bound, "{} < {}", whole.outcome.makespan_s, bound);
    }
}
