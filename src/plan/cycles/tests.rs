//! Random graphs: what is cut leaves no cycle, nothing is cut in vain, and no bound is above what was found.

use proptest::prelude::*;

use super::*;

fn links(pairs: &[(u32, u32, bool)]) -> Vec<Link> {
    let links = pairs.iter().map(|(from, to, cheap)| Link {
        from: *from,
        to: *to,
        cheap: *cheap,
    });
    links.collect()
}

/// Every node's predecessors, without these edges.
fn before(nodes: usize, links: &[Link], without: &[(u32, u32)]) -> Vec<Vec<u32>> {
    let mut before = vec![Vec::new(); nodes];
    for link in links {
        if link.from != link.to && !without.contains(&(link.from, link.to)) {
            before[link.from as usize].push(link.to);
        }
    }
    before
}

fn cuts(nodes: usize, links: &[Link], steps: u64) -> Vec<(u32, u32)> {
    let groups = components(nodes, links);
    let inside = groups.split(links);
    groups
        .groups
        .iter()
        .zip(inside)
        .flat_map(|(members, links)| open(members, &links, &Chains::default(), steps).cuts)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn cuts_leave_no_cycle_and_none_is_needless(
        pairs in prop::collection::vec((0u32..25, 0u32..25, any::<bool>()), 0..120),
        steps in 0u64..3_000,
    ) {
        let links = links(&pairs);
        let cuts = cuts(25, &links, steps);
        let order = topological(&before(25, &links, &cuts));
        prop_assert_eq!(order.len(), 25);
        for back in &cuts {
            let without: Vec<_> = cuts.iter().filter(|cut| *cut != back).copied().collect();
            prop_assert!(topological(&before(25, &links, &without)).len() < 25, "{:?} is needless", back);
        }
    }

    #[test]
    fn the_bound_is_never_above_the_cuts_and_the_same_graph_is_cut_the_same_way(
        pairs in prop::collection::vec((0u32..12, 0u32..12, Just(true)), 0..60),
    ) {
        let links = links(&pairs);
        let groups = components(12, &links);
        for (members, inside) in groups.groups.iter().zip(groups.split(&links)) {
            let opened = open(members, &inside, &Chains::default(), 2_000);
            prop_assert!(1 <= opened.cuts_min && opened.cuts_min <= opened.cuts.len());
            prop_assert_eq!(open(members, &inside, &Chains::default(), 2_000), opened);
        }
    }
}

#[test]
fn an_edge_that_nothing_stands_in_for_is_cut_last() {
    // Two ways to open 0 -> 1 -> 2 -> 0 and 0 -> 3 -> 2: one dear edge, or two cheap ones.
    let links = links(&[
        (0, 1, true),
        (1, 2, true),
        (0, 3, true),
        (3, 2, true),
        (2, 0, false),
    ]);
    let cuts = cuts(4, &links, 1_000);
    assert_eq!(cuts.len(), 2);
    assert!(!cuts.contains(&(2, 0)), "{cuts:?}");
}

#[test]
fn a_ring_of_thousands_and_a_chain_of_a_hundred_thousand_end() {
    let ring: Vec<Link> = (0..5_000)
        .map(|n| Link {
            from: n,
            to: (n + 1) % 5_000,
            cheap: true,
        })
        .collect();
    assert_eq!(cuts(5_000, &ring, 10_000).len(), 1);
    let chain: Vec<Link> = (0..100_000)
        .map(|n| Link {
            from: n,
            to: n + 1,
            cheap: true,
        })
        .collect();
    assert!(cuts(100_001, &chain, 10_000).is_empty());
    let own = [
        Link {
            from: 0,
            to: 0,
            cheap: true,
        },
        Link {
            from: 7,
            to: 9,
            cheap: true,
        },
    ];
    assert!(cuts(1, &own, 10).is_empty());
}

#[test]
fn a_path_counts_seconds_and_not_steps() {
    // 0 before 1 before 2, and 0 before 3.
    let before = vec![vec![], vec![0], vec![1], vec![0]];
    assert_eq!(
        longest_paths(&before, &[1.0, 1.0, 1.0, 50.0]),
        [51.0, 2.0, 1.0, 50.0]
    );
}

#[test]
fn of_two_cuts_the_one_that_shortens_the_chain_is_taken() {
    // A ring of three: each cut leaves a chain of all three, but the heavy tail hangs on node 1.
    let links = links(&[(0, 1, true), (1, 2, true), (2, 0, true)]);
    let groups = components(3, &links);
    let inside = groups.split(&links);
    let chains = Chains {
        own: vec![1.0; 3],
        before: vec![0.0; 3],
        after: vec![0.0, 100.0, 0.0],
    };
    let cuts = open(&groups.groups[0], &inside[0], &chains, 5_000).cuts;
    // Without 0 -> 1, nothing comes before node 1 and its tail.
    assert_eq!(cuts, [(0, 1)]);
}
