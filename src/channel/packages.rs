//! The packages of one version as a map whose copies share everything that did not change.

use std::sync::Arc;

use super::PublishedPackage;
use crate::id::Arch;

/// Packages by architecture and name. A clone costs a pointer for every few dozen packages.
#[derive(Debug, Clone, Default)]
pub struct PackageMap {
    leaves: Vec<Arc<Vec<Arc<PublishedPackage>>>>,
    len: usize,
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

    /// The package of this name.
    pub fn get(&self, arch: Arch, name: &str) -> Option<&Arc<PublishedPackage>> {
        self.iter()
            .find(|package| package.meta.arch == arch && package.name.as_str() == name)
    }

    /// All packages, by architecture and then name in byte order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<PublishedPackage>> {
        self.leaves.iter().flat_map(|leaf| leaf.iter())
    }
}
