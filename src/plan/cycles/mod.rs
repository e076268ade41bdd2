//! Cycles and how to open them: strongly connected components, and for each a small set of edges to cut, with a certified lower
//! bound. Deterministic: the effort is a number of steps, and chance is seeded.

pub mod bound;
pub mod chance;
pub mod order;
pub mod search;
#[cfg(test)]
mod tests;

pub use search::Chains;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;

/// An edge from what needs to what is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Needs.
    pub from: u32,
    /// Is needed.
    pub to: u32,
    /// Something stands in for it, so that it may be cut in a real plan.
    pub cheap: bool,
}

/// A component, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Sorted; putting any of them back closes a cycle.
    pub cuts: Vec<(u32, u32)>,
    /// Edge-disjoint cycles: every way to open the component cuts at least this many edges.
    pub cuts_min: usize,
}

/// What each node belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups {
    /// Components of more than one node, each sorted, in the order of their first member.
    pub groups: Vec<Vec<u32>>,
    /// The component of each node; `None`: it is in no cycle.
    pub of: Vec<Option<u32>>,
}

/// Finds the components of more than one node. Links of a node to itself and links to nowhere are ignored.
pub fn components(nodes: usize, links: &[Link]) -> Groups {
    let mut graph: DiGraph<(), (), u32> = DiGraph::with_capacity(nodes, links.len());
    let at: Vec<_> = (0..nodes).map(|_| graph.add_node(())).collect();
    for link in links.iter().filter(|link| link.from != link.to) {
        if let (Some(from), Some(to)) = (at.get(link.from as usize), at.get(link.to as usize)) {
            graph.add_edge(*from, *to, ());
        }
    }
    // Not tarjan_scc: that recurses, and a chain of 30,000 recipes ends the process.
    let mut groups: Vec<Vec<u32>> = kosaraju_scc(&graph)
        .into_iter()
        .filter(|group| group.len() > 1)
        .map(|group| {
            let mut members: Vec<u32> = group.into_iter().map(|node| node.index() as u32).collect();
            members.sort_unstable();
            members
        })
        .collect();
    groups.sort_unstable();
    let mut of = vec![None; nodes];
    for (group, members) in (0..).zip(&groups) {
        for member in members {
            if let Some(place) = of.get_mut(*member as usize) {
                *place = Some(group);
            }
        }
    }
    Groups { groups, of }
}

/// The links that lie within a component, to be priced before they are cut.
pub fn inner_links<'a>(
    groups: &'a Groups,
    links: &'a mut [Link],
) -> impl Iterator<Item = &'a mut Link> {
    links
        .iter_mut()
        .filter(|link| groups.of_link(link).is_some())
}

impl Groups {
    /// The links within each component.
    pub fn split(&self, links: &[Link]) -> Vec<Vec<Link>> {
        let mut inside: Vec<Vec<Link>> = vec![Vec::new(); self.groups.len()];
        for link in links {
            if let Some(all) = self
                .of_link(link)
                .and_then(|group| inside.get_mut(group as usize))
            {
                all.push(*link);
            }
        }
        inside
    }

    /// Whether a link lies within a component.
    pub fn is_inside(&self, link: &Link) -> bool {
        self.of_link(link).is_some()
    }

    fn of_link(&self, link: &Link) -> Option<u32> {
        let of = |node: u32| self.of.get(node as usize).copied().flatten();
        let (from, to) = (of(link.from)?, of(link.to)?);
        (from == to && link.from != link.to).then_some(from)
    }
}

/// Opens one component, given its sorted members, the links within it, and what chains through all nodes cost.
pub fn open(members: &[u32], links: &[Link], chains: &Chains, steps: u64) -> Opened {
    let local = |node: u32| members.binary_search(&node).unwrap_or(0) as u32;
    let mut own: Vec<Link> = links
        .iter()
        .map(|link| Link {
            from: local(link.from),
            to: local(link.to),
            cheap: link.cheap,
        })
        .collect();
    // The same pair twice is one edge, and it is cheap only if all of it is.
    own.sort_unstable_by_key(|link| (link.from, link.to, link.cheap));
    own.dedup_by_key(|link| (link.from, link.to));
    let graph = search::Graph::new(members.len(), &own);
    let pick = |list: &[f64]| {
        let at = |node: &u32| list.get(*node as usize).copied().unwrap_or(0.0);
        members.iter().map(at).collect()
    };
    let chains = Chains {
        own: pick(&chains.own),
        before: pick(&chains.before),
        after: pick(&chains.after),
    };
    let cuts = search::smallest_cut(&graph, &chains, steps);
    let cuts_min = bound::disjoint_cycles(&graph, steps / 8);
    let name = |node: u32| members.get(node as usize).copied().unwrap_or(node);
    let mut cuts: Vec<(u32, u32)> = cuts
        .into_iter()
        .filter_map(|edge| own.get(edge as usize))
        .map(|link| (name(link.from), name(link.to)))
        .collect();
    cuts.sort_unstable();
    Opened {
        cuts_min: cuts_min.min(cuts.len()),
        cuts,
    }
}

/// For each node its own cost plus the most expensive chain of nodes that come after it. `before` names what each node comes after.
/// Nodes in a cycle count themselves only.
pub fn longest_paths(before: &[Vec<u32>], costs: &[f64]) -> Vec<f64> {
    let order = topological(before);
    let mut paths = costs.to_vec();
    for node in order.iter().rev() {
        let node = *node as usize;
        let own = paths.get(node).copied().unwrap_or(0.0);
        for earlier in before.get(node).into_iter().flatten() {
            let earlier = *earlier as usize;
            if let (Some(path), Some(cost)) = (paths.get_mut(earlier), costs.get(earlier)) {
                *path = path.max(cost + own);
            }
        }
    }
    paths
}

/// An order in which every node comes after what it needs; what is in a cycle, or needs one, is left out.
pub fn topological(before: &[Vec<u32>]) -> Vec<u32> {
    let mut after: Vec<Vec<u32>> = vec![Vec::new(); before.len()];
    let mut open: Vec<usize> = vec![0; before.len()];
    for (node, all) in before.iter().enumerate() {
        for earlier in all {
            if let (Some(list), Some(count)) =
                (after.get_mut(*earlier as usize), open.get_mut(node))
            {
                list.push(node as u32);
                *count += 1;
            }
        }
    }
    let mut order: Vec<u32> = (0..)
        .zip(&open)
        .filter(|(_, open)| **open == 0)
        .map(|(n, _)| n)
        .collect();
    let mut next = 0;
    while let Some(node) = order.get(next).copied() {
        next += 1;
        for later in after.get(node as usize).into_iter().flatten() {
            if let Some(count) = open.get_mut(*later as usize) {
                *count -= 1;
                if *count == 0 {
                    order.push(*later);
                }
            }
        }
    }
    order
}
