//! The packages of one version as a map whose copies share everything that did not change.

use std::cmp::Ordering;
use std::sync::Arc;

use super::PublishedPackage;
use crate::id::Arch;

/// Packages in a leaf at most: a change copies one leaf and a pointer for each other.
const LEAF_MAX: usize = 64;

type Leaf = Vec<Arc<PublishedPackage>>;

/// Packages by architecture and name. A clone costs a pointer for every few dozen packages.
#[derive(Debug, Clone, Default)]
pub struct PackageMap {
    /// Never empty ones, in order.
    leaves: Vec<Arc<Leaf>>,
    len: usize,
}

fn order(package: &PublishedPackage, arch: Arch, name: &str) -> Ordering {
    let key = (package.meta.arch, package.name.as_str());
    key.cmp(&(arch, name))
}

impl PackageMap {
    /// Packages in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The leaf that holds this key or would hold it.
    fn leaf_of(&self, arch: Arch, name: &str) -> usize {
        let first_is_before = |leaf: &Arc<Leaf>| {
            leaf.first()
                .is_some_and(|first| order(first, arch, name) != Ordering::Greater)
        };
        self.leaves
            .partition_point(first_is_before)
            .saturating_sub(1)
    }

    /// The package of this name.
    pub fn get(&self, arch: Arch, name: &str) -> Option<&Arc<PublishedPackage>> {
        let leaf = self.leaves.get(self.leaf_of(arch, name))?;
        let at = leaf
            .binary_search_by(|package| order(package, arch, name))
            .ok()?;
        leaf.get(at)
    }

    /// Puts a package in, in place of one of the same architecture and name.
    pub fn insert(&mut self, package: Arc<PublishedPackage>) {
        let (arch, name) = (package.meta.arch, package.name.clone());
        let index = self.leaf_of(arch, name.as_str());
        let Some(leaf) = self.leaves.get_mut(index) else {
            self.leaves.push(Arc::new(vec![package]));
            self.len += 1;
            return;
        };
        let leaf = Arc::make_mut(leaf);
        match leaf.binary_search_by(|other| order(other, arch, name.as_str())) {
            Ok(at) => {
                if let Some(slot) = leaf.get_mut(at) {
                    *slot = package;
                }
            }
            Err(at) => {
                leaf.insert(at, package);
                self.len += 1;
            }
        }
        if leaf.len() > LEAF_MAX {
            let upper = leaf.split_off(leaf.len() / 2);
            self.leaves.insert(index + 1, Arc::new(upper));
        }
    }

    /// Takes a package out.
    pub fn remove(&mut self, arch: Arch, name: &str) {
        let index = self.leaf_of(arch, name);
        let Some(leaf) = self.leaves.get_mut(index) else {
            return;
        };
        let Ok(at) = leaf.binary_search_by(|package| order(package, arch, name)) else {
            return;
        };
        let leaf = Arc::make_mut(leaf);
        leaf.remove(at);
        self.len -= 1;
        if leaf.is_empty() {
            self.leaves.remove(index);
        }
    }

    /// All packages, by architecture and then name in byte order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<PublishedPackage>> {
        self.leaves.iter().flat_map(|leaf| leaf.iter())
    }

    /// The packages of one architecture, by name in byte order.
    pub fn of_arch(&self, arch: Arch) -> impl Iterator<Item = &Arc<PublishedPackage>> {
        self.leaves
            .iter()
            .skip(self.leaf_of(arch, ""))
            .flat_map(|leaf| leaf.iter())
            .skip_while(move |package| package.meta.arch < arch)
            .take_while(move |package| package.meta.arch == arch)
    }
}
