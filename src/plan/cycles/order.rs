//! A linear order of a component's nodes. An edge that points forward is kept, one that points back is cut; moving one node
//! costs its neighbours.

use super::search::Graph;

/// The order, and where each node stands in it.
#[derive(Debug, Clone)]
pub struct Order {
    /// Nodes, first one first.
    pub nodes: Vec<u32>,
    /// The place of each node.
    pub place: Vec<u32>,
    /// What the edges that point back cost.
    pub cost: i64,
}

impl Order {
    /// Takes an order and counts its cost.
    pub fn new(graph: &Graph, nodes: Vec<u32>) -> Order {
        let mut place = vec![0; nodes.len()];
        for (at, node) in (0..).zip(&nodes) {
            if let Some(slot) = place.get_mut(*node as usize) {
                *slot = at;
            }
        }
        let mut order = Order {
            nodes,
            place,
            cost: 0,
        };
        order.cost = graph
            .edges()
            .filter(|(from, to, _)| order.at(*from) > order.at(*to))
            .map(|(.., w)| w)
            .sum();
        order
    }

    fn at(&self, node: u32) -> u32 {
        self.place.get(node as usize).copied().unwrap_or(0)
    }

    /// Whether an edge points back.
    pub fn is_back(&self, from: u32, to: u32) -> bool {
        self.at(from) > self.at(to)
    }

    /// Becomes another order of the same nodes.
    pub fn copy_from(&mut self, other: &Order) {
        self.nodes.clone_from(&other.nodes);
        self.place.clone_from(&other.place);
        self.cost = other.cost;
    }

    /// Puts a node elsewhere; everything between moves up by one. The cost is the caller's to correct.
    pub fn move_to(&mut self, node: u32, to: u32) {
        let from = self.at(node);
        let (low, high) = (from.min(to) as usize, from.max(to) as usize);
        let Some(range) = self.nodes.get_mut(low..=high) else {
            return;
        };
        if from < to {
            range.rotate_left(1)
        } else {
            range.rotate_right(1)
        }
        for (at, node) in (low as u32..).zip(range.iter()) {
            if let Some(slot) = self.place.get_mut(*node as usize) {
                *slot = at;
            }
        }
    }

    /// The cheapest place of a node and what going there changes; among places that cost the same `pick` chooses (given how
    /// many there are). `scratch` is emptied and reused.
    pub fn best_place(
        &self,
        graph: &Graph,
        node: u32,
        scratch: &mut Vec<(u32, i64)>,
        mut pick: impl FnMut(u32) -> bool,
    ) -> (u32, i64) {
        let own = self.at(node);
        // Standing before everything, all edges into the node point back. Passing a neighbour saves its edge to the node, or
        // turns the node's edge to it.
        scratch.clear();
        let mut first = 0;
        for (from, weight) in graph.into_node(node) {
            first += weight;
            scratch.push((self.at(from), -weight));
        }
        for (to, weight) in graph.out_of_node(node) {
            scratch.push((self.at(to), weight));
        }
        scratch.sort_unstable();
        let mut cost = first;
        let mut here = first;
        let (mut best, mut best_at, mut ties) = (first, 0, 1);
        for (index, (at, turn)) in scratch.iter().enumerate() {
            cost += turn;
            if *at < own {
                here = cost;
            }
            // Two edges to one neighbour are passed together.
            if scratch.get(index + 1).is_some_and(|(next, _)| next == at) {
                continue;
            }
            // The place after this neighbour, counted without the node itself.
            let place = if *at < own { at + 1 } else { *at };
            if cost < best {
                (best, best_at, ties) = (cost, place, 1);
            } else if cost == best {
                ties += 1;
                if pick(ties) {
                    best_at = place;
                }
            }
        }
        (best_at, best - here)
    }
}
