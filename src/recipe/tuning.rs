//! Compiler flags: groups that a recipe switches, for each toolchain and ISA level.

use serde::{Deserialize, Serialize};

/// An ISA level of a profile. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isa {
    /// x86-64-v2, the baseline.
    X86_64,
    /// x86-64-v3 plus AES, FSGSBASE, PCLMUL, RDRND, XSAVEOPT.
    #[serde(rename = "x86_64-v3x")]
    X86_64V3x,
    /// x86-64-v4.
    #[serde(rename = "x86_64-v4")]
    X86_64V4,
    /// The architecture's own baseline on other processors.
    Generic,
}
