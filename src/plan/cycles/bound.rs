//! A certified lower bound: cycles that share no edge. Each of them has to be cut somewhere, so no plan cuts fewer edges.

use super::chance::Chance;
use super::search::Graph;

/// How many edge-disjoint cycles were found. A step is one search for a shortest cycle.
pub fn disjoint_cycles(graph: &Graph, steps: u64) -> usize {
    let mut packing = Packing::new(graph);
    packing.fill((0..packing.edges.len() as u32).collect());
    let mut best = packing.cycles.clone();
    // A step of this search visits most of the component, one of the other a node.
    let rounds = steps / (graph.len() as u64 * 4).max(1);
    for _ in 0..rounds {
        // What was full stays full but for the edges that are freed, so only these can open new cycles.
        let count = 1 + packing.chance.below(4);
        let mut freed = Vec::new();
        for _ in 0..count.min(packing.cycles.len()) {
            let gone = packing.chance.below(packing.cycles.len());
            freed.extend(packing.remove(gone));
        }
        packing.fill(freed);
        if packing.cycles.len() >= best.len() {
            best.clone_from(&packing.cycles);
        } else {
            packing.restore(&best);
        }
    }
    best.len()
}

/// The lengths that are tried one after the other; the last one is any length.
const LENGTHS: [u32; 9] = [2, 3, 4, 5, 6, 8, 12, 24, u32::MAX];

/// What a search for a cycle through an edge saw.
enum Seen {
    Cycle(Vec<u32>),
    /// None so short.
    OnlyLonger,
    /// There is none, and there will be none until edges are freed.
    None,
}

struct Packing {
    chance: Chance,
    /// For each node: (to, edge).
    out: Vec<Vec<(u32, u32)>>,
    edges: Vec<(u32, u32)>,
    used: Vec<bool>,
    cycles: Vec<Vec<u32>>,
    came_by: Vec<u32>,
    seen: Vec<u32>,
    round: u32,
}

impl Packing {
    fn new(graph: &Graph) -> Packing {
        let edges: Vec<(u32, u32)> = graph.edges().map(|(from, to, _)| (from, to)).collect();
        let mut out = vec![Vec::new(); graph.len()];
        for (edge, (from, to)) in (0..).zip(&edges) {
            if let Some(list) = out.get_mut(*from as usize) {
                list.push((*to, edge));
            }
        }
        Packing {
            chance: Chance::new(0x6379_636c_6573),
            used: vec![false; edges.len()],
            came_by: vec![0; graph.len()],
            seen: vec![0; graph.len()],
            round: 0,
            cycles: Vec::new(),
            out,
            edges,
        }
    }

    /// Adds cycles through these edges until there are none left, the shorter ones first.
    fn fill(&mut self, mut edges: Vec<u32>) {
        self.chance.shuffle(&mut edges);
        for length in LENGTHS {
            let mut left = Vec::with_capacity(edges.len());
            for edge in edges {
                match self.cycle_through(edge, length) {
                    Seen::Cycle(cycle) => {
                        for edge in &cycle {
                            self.set(*edge, true);
                        }
                        self.cycles.push(cycle);
                    }
                    Seen::OnlyLonger => left.push(edge),
                    Seen::None => {}
                }
            }
            edges = left;
        }
    }

    /// A cycle of at most this many unused edges through an unused edge.
    fn cycle_through(&mut self, edge: u32, length: u32) -> Seen {
        let Some((from, to)) = self
            .edges
            .get(edge as usize)
            .copied()
            .filter(|_| !self.is_used(edge))
        else {
            return Seen::None;
        };
        self.round += 1;
        let mut front = vec![to];
        self.mark(to, edge);
        for _ in 1..length {
            let mut next = Vec::new();
            for node in front {
                for (other, by) in self.out.get(node as usize).into_iter().flatten() {
                    let is_used = self.used.get(*by as usize).copied().unwrap_or(true);
                    let Some(seen) = self.seen.get_mut(*other as usize).filter(|_| !is_used) else {
                        continue;
                    };
                    if std::mem::replace(seen, self.round) == self.round {
                        continue;
                    }
                    if let Some(came) = self.came_by.get_mut(*other as usize) {
                        *came = *by;
                    }
                    if *other == from {
                        return Seen::Cycle(self.walk_back(from, edge));
                    }
                    next.push(*other);
                }
            }
            if next.is_empty() {
                return Seen::None;
            }
            front = next;
        }
        Seen::OnlyLonger
    }

    fn walk_back(&self, end: u32, first: u32) -> Vec<u32> {
        let mut cycle = vec![first];
        let mut node = end;
        while let Some(edge) = self.came_by.get(node as usize).copied() {
            if edge == first || cycle.len() > self.edges.len() {
                break;
            }
            cycle.push(edge);
            node = self.edges.get(edge as usize).map_or(end, |(from, _)| *from);
        }
        cycle
    }

    fn mark(&mut self, node: u32, by: u32) {
        if let (Some(seen), Some(came)) = (
            self.seen.get_mut(node as usize),
            self.came_by.get_mut(node as usize),
        ) {
            *seen = self.round;
            *came = by;
        }
    }

    fn is_used(&self, edge: u32) -> bool {
        self.used.get(edge as usize).copied().unwrap_or(true)
    }

    fn set(&mut self, edge: u32, used: bool) {
        if let Some(place) = self.used.get_mut(edge as usize) {
            *place = used;
        }
    }

    fn remove(&mut self, at: usize) -> Vec<u32> {
        let cycle = self.cycles.swap_remove(at);
        for edge in &cycle {
            self.set(*edge, false);
        }
        cycle
    }

    fn restore(&mut self, cycles: &[Vec<u32>]) {
        self.used.fill(false);
        self.cycles = cycles.to_vec();
        for at in 0..self.cycles.len() {
            for place in 0..self.cycles.get(at).map_or(0, Vec::len) {
                if let Some(edge) = self
                    .cycles
                    .get(at)
                    .and_then(|cycle| cycle.get(place))
                    .copied()
                {
                    self.set(edge, true);
                }
            }
        }
    }
}
