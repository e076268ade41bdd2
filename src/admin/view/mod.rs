//! The rows of the answers. `snake_case`, units in names, absent is `null`; fields are added, never renamed
//! (the shapes of `status`, jobs, builders, versions and packages are what outside scripts rely on).

pub mod farm;
pub mod job;
pub mod machine;
pub mod past;
pub mod peer;
pub mod plan;
pub mod proof;
pub mod repository;

pub use farm::*;
pub use job::*;
pub use machine::*;
pub use past::*;
pub use peer::*;
pub use plan::*;
pub use proof::*;
pub use repository::*;

/// Every named type of every answer.
pub(super) fn types() -> impl Iterator<Item = &'static zlink::idl::CustomType<'static>> {
    [
        farm::TYPES,
        job::TYPES,
        machine::TYPES,
        past::TYPES,
        peer::TYPES,
        plan::TYPES,
        proof::TYPES,
        repository::TYPES,
    ]
    .into_iter()
    .flatten()
    .copied()
}
