//! Completions and manual pages, made from the same words as the help.

use std::path::Path;

use super::Verdict;
use super::args::Shell;
use super::out::Out;
use crate::fault::{Fault, Kind, Result};

pub(super) fn completions(shell: Shell, out: &Out) -> Result<Verdict> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "massif", &mut script);
    out.raw(&script);
    Ok(Verdict::Done)
}

pub(super) fn manual(dir: Option<&Path>, out: &Out) -> Result<Verdict> {
    let failed = |error: &std::io::Error| {
        Fault::new(Kind::Operator, "cannot write the manual")
            .because(error)
            .next("check that you may write there")
    };
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(super::command())
            .render(&mut page)
            .map_err(|error| failed(&error))?;
        out.raw(&page);
        return Ok(Verdict::Done);
    };
    std::fs::create_dir_all(dir).map_err(|error| failed(&error))?;
    clap_mangen::generate_to(super::command(), dir).map_err(|error| failed(&error))?;
    out.line(format!("wrote the manual pages into {}", dir.display()));
    Ok(Verdict::Done)
}
