//! The words of `compare`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::id::{ChannelName, ProjectName, RecipeName};

#[derive(Debug, Args)]
pub(in crate::cli) struct Compare {
    #[command(subcommand)]
    pub(in crate::cli) what: Option<Compared>,
    /// A package, or a recipe
    #[arg(required_unless_present = "isa")]
    pub(in crate::cli) package: Option<String>,
    /// Measure what processor levels are worth for it: its `workload`, else its `check`, is run for each in turns. Without a
    /// name: what was measured
    #[arg(long)]
    pub(in crate::cli) isa: bool,
    /// Levels beside that of its profile; all that a builder runs unless given
    #[arg(
        long,
        value_name = "LEVEL,LEVEL",
        value_delimiter = ',',
        requires = "isa"
    )]
    pub(in crate::cli) levels: Vec<String>,
    /// Runs of each level; 12 unless given
    #[arg(long, value_name = "N", requires = "isa")]
    pub(in crate::cli) runs: Option<u32>,
    /// Only what was measured of this project
    #[arg(long, requires = "isa", conflicts_with = "package")]
    pub(in crate::cli) project: Option<ProjectName>,
    /// Only so many, those that gain most
    #[arg(long, value_name = "N", requires = "isa", conflicts_with = "package")]
    pub(in crate::cli) top: Option<u32>,
    /// Measure the published recipes of the project that were not measured as they are published now: --top so many of them
    #[arg(long, requires = "project", conflicts_with = "package")]
    pub(in crate::cli) measure: bool,
    /// Write a picture of it too
    #[arg(long, value_name = "FILE", requires = "isa", value_hint = clap::ValueHint::FilePath)]
    pub(in crate::cli) svg: Option<PathBuf>,
    /// Only on this builder
    #[arg(long, value_name = "BUILDER")]
    pub(in crate::cli) on: Option<String>,
    /// Only what is published in this channel
    #[arg(long)]
    pub(in crate::cli) channel: Option<ChannelName>,
    /// Return at once
    #[arg(long)]
    pub(in crate::cli) no_wait: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Compared {
    /// Comparisons, the newest first, and what differs by cause
    List {
        /// Only of this recipe
        #[arg(long)]
        recipe: Option<RecipeName>,
        /// So many at most
        #[arg(long)]
        limit: Option<u32>,
    },
    /// One comparison with everything that differs
    Show {
        /// Its number
        id: u64,
        /// Copy the files that differ into this directory: published/ and rebuilt/
        #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
        out: Option<PathBuf>,
    },
}
