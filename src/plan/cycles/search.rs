//! The search for few cuts: Eades-Lin-Smyth for a start, sifting, then iterated local search over a fixed number of steps.

use std::collections::BTreeSet;

use super::Link;
use super::chance::Chance;
use super::order::Order;

/// Rounds of search between two looks at the longest chain.
const CHAIN_EVERY: u64 = 4;

/// A component in compact form.
#[derive(Debug)]
pub struct Graph {
    links: Vec<(u32, u32, i64)>,
    out_at: Vec<u32>,
    out: Vec<(u32, i64)>,
    into_at: Vec<u32>,
    into: Vec<(u32, i64)>,
}

impl Graph {
    /// From links between `0..nodes`, none twice. An edge that may not be cut costs more than all that may.
    pub fn new(nodes: usize, links: &[Link]) -> Graph {
        let dear = links.len() as i64 + 1;
        let links: Vec<(u32, u32, i64)> = links
            .iter()
            .map(|link| (link.from, link.to, if link.cheap { 1 } else { dear }))
            .collect();
        let (out_at, out) = rows(nodes, links.iter().map(|(from, to, w)| (*from, *to, *w)));
        let (into_at, into) = rows(nodes, links.iter().map(|(from, to, w)| (*to, *from, *w)));
        Graph {
            links,
            out_at,
            out,
            into_at,
            into,
        }
    }

    /// Nodes.
    pub fn len(&self) -> usize {
        self.out_at.len().saturating_sub(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// (from, to, cost) of every edge, in the order they were given.
    pub fn edges(&self) -> impl Iterator<Item = (u32, u32, i64)> {
        self.links.iter().copied()
    }

    /// Where a node's edges go, and their costs.
    pub fn out_of_node(&self, node: u32) -> impl Iterator<Item = (u32, i64)> {
        row(&self.out_at, &self.out, node)
    }

    /// Where a node's edges come from, and their costs.
    pub fn into_node(&self, node: u32) -> impl Iterator<Item = (u32, i64)> {
        row(&self.into_at, &self.into, node)
    }
}

fn rows(
    nodes: usize,
    links: impl Iterator<Item = (u32, u32, i64)> + Clone,
) -> (Vec<u32>, Vec<(u32, i64)>) {
    let mut at = vec![0u32; nodes + 1];
    for (from, ..) in links.clone() {
        if let Some(count) = at.get_mut(from as usize + 1) {
            *count += 1;
        }
    }
    for node in 1..at.len() {
        at[node] += at[node - 1];
    }
    let mut next = at.clone();
    let mut list = vec![(0, 0); at.last().copied().unwrap_or(0) as usize];
    for (from, to, weight) in links {
        if let Some(place) = next.get_mut(from as usize) {
            if let Some(slot) = list.get_mut(*place as usize) {
                *slot = (to, weight);
            }
            *place += 1;
        }
    }
    (at, list)
}

fn row<'a>(
    at: &'a [u32],
    list: &'a [(u32, i64)],
    node: u32,
) -> impl Iterator<Item = (u32, i64)> + 'a {
    let start = at.get(node as usize).copied().unwrap_or(0) as usize;
    let end = at.get(node as usize + 1).copied().unwrap_or(0) as usize;
    list.get(start..end).unwrap_or_default().iter().copied()
}

/// What a chain of nodes costs: each node itself, and the longest chain outside of the component before and after it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chains {
    /// Of each node.
    pub own: Vec<f64>,
    /// Of what needs it and lies outside.
    pub before: Vec<f64>,
    /// Of what it needs and lies outside.
    pub after: Vec<f64>,
}

impl Chains {
    /// The longest chain through the component along the edges that an order keeps.
    fn longest(&self, graph: &Graph, order: &Order, scratch: &mut Vec<f64>) -> f64 {
        let of = |list: &[f64], node: u32| list.get(node as usize).copied().unwrap_or(0.0);
        scratch.clear();
        scratch.resize(graph.len(), 0.0);
        let mut longest: f64 = 0.0;
        for node in order.nodes.iter().rev() {
            let kept = graph
                .out_of_node(*node)
                .filter(|(to, _)| !order.is_back(*node, *to));
            let behind = kept
                .map(|(to, _)| of(scratch, to))
                .fold(of(&self.after, *node), f64::max);
            let here = of(&self.own, *node) + behind;
            if let Some(place) = scratch.get_mut(*node as usize) {
                *place = here;
            }
            longest = longest.max(here + of(&self.before, *node));
        }
        longest
    }
}

/// Edges (by their index) whose removal leaves no cycle; none of them is needless. Among equally cheap sets the one that leaves the
/// shortest chain is taken. A step is one look at one node's best place.
pub fn smallest_cut(graph: &Graph, chains: &Chains, steps: u64) -> Vec<u32> {
    let start = Order::new(graph, eades_lin_smyth(graph));
    let best = improve(graph, chains, start, steps);
    let cuts: Vec<u32> = (0..)
        .zip(graph.edges())
        .filter(|(_, (from, to, _))| best.is_back(*from, *to))
        .map(|(edge, _)| edge)
        .collect();
    without_needless(graph, cuts)
}

/// The greedy order of Eades, Lin and Smyth (1993): sinks to the end, sources to the front, else the node with the largest
/// surplus of outgoing cost to the front.
pub fn eades_lin_smyth(graph: &Graph) -> Vec<u32> {
    let nodes = graph.len() as u32;
    let sum = |all: &mut dyn Iterator<Item = (u32, i64)>| all.map(|(_, w)| w).sum::<i64>();
    let mut out: Vec<i64> = (0..nodes).map(|n| sum(&mut graph.out_of_node(n))).collect();
    let mut into: Vec<i64> = (0..nodes).map(|n| sum(&mut graph.into_node(n))).collect();
    let rank = |out: i64, into: i64| match (out, into) {
        (0, _) => i64::MIN,
        (_, 0) => i64::MAX,
        (out, into) => out - into,
    };
    let mut queue: BTreeSet<(i64, u32)> = (0..nodes)
        .zip(out.iter().zip(&into))
        .map(|(n, (out, into))| (rank(*out, *into), n))
        .collect();
    let mut left = vec![true; nodes as usize];
    let (mut front, mut back) = (Vec::new(), Vec::new());
    while let Some((key, node)) = match queue.first() {
        Some((i64::MIN, _)) => queue.pop_first(),
        _ => queue.pop_last(),
    } {
        if key == i64::MIN {
            back.push(node)
        } else {
            front.push(node)
        }
        if let Some(place) = left.get_mut(node as usize) {
            *place = false;
        }
        let mut change = |other: u32,
                          weight: i64,
                          sums: &mut dyn FnMut(&mut i64, &mut i64, i64)| {
            let at = other as usize;
            let (Some(true), Some(o), Some(i)) = (left.get(at), out.get_mut(at), into.get_mut(at))
            else {
                return;
            };
            queue.remove(&(rank(*o, *i), other));
            sums(o, i, weight);
            queue.insert((rank(*o, *i), other));
        };
        for (to, weight) in graph.out_of_node(node) {
            change(to, weight, &mut |_, into, w| *into -= w);
        }
        for (from, weight) in graph.into_node(node) {
            change(from, weight, &mut |out, _, w| *out -= w);
        }
    }
    front.extend(back.into_iter().rev());
    front
}

/// Sifting and iterated local search. Small disturbances of the best order so far, each followed by sifting what it touched.
fn improve(graph: &Graph, chains: &Chains, start: Order, steps: u64) -> Order {
    let nodes = graph.len();
    let mut search = Sifter {
        chance: Chance::new(0x6d61_7373_6966),
        queued: vec![false; nodes],
        queue: Vec::with_capacity(nodes),
        scratch: Vec::new(),
        steps: 0,
    };
    let mut now = start;
    search.add_all(&now.nodes);
    search.sift(graph, &mut now, u64::MAX);
    let mut best = now.clone();
    let mut trial = now.clone();
    let mut scratch = Vec::new();
    let mut chain = chains.longest(graph, &best, &mut scratch);
    let mut rounds = 0u64;
    while search.steps < steps && nodes > 2 {
        rounds += 1;
        search.disturb(graph, &mut trial);
        search.sift(graph, &mut trial, steps);
        // Going on from something slightly worse now and then leaves the valleys; the best is kept aside.
        let slack = i64::from(search.chance.below(50) == 0);
        if trial.cost > now.cost + slack || trial.cost > best.cost + 3 {
            trial.copy_from(&now);
            continue;
        }
        now.copy_from(&trial);
        let cheaper = now.cost < best.cost;
        // Looking at the chain costs as much as many steps.
        if cheaper || (now.cost == best.cost && rounds.is_multiple_of(CHAIN_EVERY)) {
            let other = chains.longest(graph, &now, &mut scratch);
            if cheaper || other < chain {
                chain = other;
                best.copy_from(&now);
            }
        }
    }
    best
}

/// The moving parts of the search.
struct Sifter {
    chance: Chance,
    queued: Vec<bool>,
    queue: Vec<u32>,
    scratch: Vec<(u32, i64)>,
    steps: u64,
}

impl Sifter {
    fn add(&mut self, node: u32) {
        if let Some(queued) = self.queued.get_mut(node as usize)
            && !std::mem::replace(queued, true)
        {
            self.queue.push(node);
        }
    }

    fn add_all(&mut self, nodes: &[u32]) {
        for node in nodes {
            self.add(*node);
        }
    }

    /// Moves every queued node to its best place until no move gains anything.
    fn sift(&mut self, graph: &Graph, order: &mut Order, steps: u64) {
        while !self.queue.is_empty() {
            let node = self.queue.swap_remove(self.chance.below(self.queue.len()));
            if let Some(queued) = self.queued.get_mut(node as usize) {
                *queued = false;
            }
            self.steps += 1;
            if self.steps > steps {
                continue;
            }
            let chance = &mut self.chance;
            let (place, change) = order.best_place(graph, node, &mut self.scratch, |ties| {
                chance.below(ties as usize) == 0
            });
            order.move_to(node, place);
            order.cost += change;
            if change < 0 {
                for (other, _) in graph.out_of_node(node).chain(graph.into_node(node)) {
                    self.add(other);
                }
            }
        }
    }

    /// Throws a few neighbouring nodes to places of chance, and queues what they touch.
    fn disturb(&mut self, graph: &Graph, order: &mut Order) {
        let count = 1 + self.chance.below(4);
        let mut node = self.chance.below(graph.len()) as u32;
        for _ in 0..count {
            let place = self.chance.below(graph.len()) as u32;
            let before = cost_of(graph, order, node);
            order.move_to(node, place);
            order.cost += cost_of(graph, order, node) - before;
            let mut next = node;
            let mut seen = 0;
            for (other, _) in graph.out_of_node(node).chain(graph.into_node(node)) {
                self.add(other);
                seen += 1;
                if self.chance.below(seen) == 0 {
                    next = other;
                }
            }
            self.add(node);
            node = next;
        }
    }
}

/// What the edges of one node cost as it stands.
fn cost_of(graph: &Graph, order: &Order, node: u32) -> i64 {
    let out = graph
        .out_of_node(node)
        .filter(|(to, _)| order.is_back(node, *to));
    let into = graph
        .into_node(node)
        .filter(|(from, _)| order.is_back(*from, node));
    out.chain(into).map(|(_, weight)| weight).sum()
}

/// Puts back every cut that closes no cycle, the dear ones first.
fn without_needless(graph: &Graph, cuts: Vec<u32>) -> Vec<u32> {
    let cost = |edge: &u32| {
        graph
            .links
            .get(*edge as usize)
            .map_or(0, |(.., weight)| *weight)
    };
    let mut is_cut = vec![false; graph.links.len()];
    for edge in &cuts {
        if let Some(cut) = is_cut.get_mut(*edge as usize) {
            *cut = true;
        }
    }
    let mut after: Vec<Vec<u32>> = vec![Vec::new(); graph.len()];
    for ((from, to, _), cut) in graph.links.iter().zip(&is_cut) {
        if let (false, Some(list)) = (cut, after.get_mut(*from as usize)) {
            list.push(*to);
        }
    }
    let mut order = cuts;
    order.sort_by_key(|edge| (-cost(edge), *edge));
    let mut kept = Vec::new();
    for edge in order {
        let Some((from, to, _)) = graph.links.get(edge as usize).copied() else {
            continue;
        };
        if reaches(&after, to, from) {
            kept.push(edge);
        } else if let Some(list) = after.get_mut(from as usize) {
            list.push(to);
        }
    }
    kept.sort_unstable();
    kept
}

fn reaches(after: &[Vec<u32>], from: u32, to: u32) -> bool {
    let mut seen = vec![false; after.len()];
    let mut todo = vec![from];
    while let Some(node) = todo.pop() {
        if node == to {
            return true;
        }
        if let Some(seen) = seen.get_mut(node as usize)
            && !std::mem::replace(seen, true)
        {
            todo.extend(after.get(node as usize).into_iter().flatten());
        }
    }
    false
}
