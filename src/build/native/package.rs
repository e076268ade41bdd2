//! From the install root to artefacts: the debug split in the session, then collecting, analysing and writing.

use std::path::{Path, PathBuf};

use super::Stage;
use super::blame::End;
use super::prepare::{self, Places};
use super::run::Run;
use crate::build::collect::collect;
use crate::build::emit::Alive;
use crate::build::sandbox::{Exit, Session};
use crate::build::{debug, emit};
use crate::fault::{Fault, Result};
use crate::model::order::{Artefact, BuildOrder};
use crate::recipe::Recipe;
use crate::recipe::script::Scripts;

/// What writing gave.
pub(super) struct Made {
    pub(super) artefacts: Vec<Artefact>,
    pub(super) notes: Vec<String>,
}

impl Run<'_> {
    /// Splits debug information off and strips, with the toolchain's own tool inside the sandbox.
    pub(super) async fn split(
        &mut self,
        recipe: &Recipe,
        scripts: &Scripts,
        places: &Places,
        session: &mut Session,
    ) -> std::result::Result<(), End> {
        if recipe.options.lastrip {
            drop_libtool_files(&places.install)?;
        }
        let objcopy = scripts.env.get("OBJCOPY").map_or("objcopy", String::as_str);
        let (install, options, jobs) = (places.install.clone(), recipe.options, self.jobs());
        let tool = objcopy.to_owned();
        let look = move |alive: Alive<'_>| debug::plan(&install, &options, &tool, jobs, alive);
        let split = self.own_work("looking for what to strip", look).await?;
        if split.script.is_empty() {
            return Ok(());
        }
        let path = places.scripts.join(Stage::Package.as_str());
        std::fs::write(&path, &split.script).map_err(|error| prepare::disk(&path, &error))?;
        let end = self
            .run_step(
                session,
                self.step(Stage::Package, "/mason/install", scripts),
                None,
            )
            .await?;
        debug::finish(&split)?;
        match end.exit {
            Exit::Code(0) => Ok(()),
            Exit::Code(debug::NO_TOOL) => {
                self.note(&format!("{objcopy} is not on this machine: packages are neither stripped nor split; install binutils"));
                Ok(())
            }
            Exit::Code(code) => Err(Fault::bug(format!(
                "splitting debug information ended with code {code}"
            ))
            .into()),
            Exit::Signal(signal) => Err(Fault::bug(format!(
                "splitting debug information was ended by signal {signal}"
            ))
            .into()),
        }
    }
}

/// libtool's `.la` files name build paths and help nobody at run time.
fn drop_libtool_files(install: &Path) -> Result<()> {
    let mut waiting = vec![install.join("usr/lib"), install.join("usr/lib32")];
    while let Some(dir) = waiting.pop() {
        let Ok(listing) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in listing.flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "la") {
                std::fs::remove_file(&path).map_err(|error| prepare::disk(&path, &error))?;
            }
        }
    }
    Ok(())
}

/// Collects, analyses and writes; blocking.
pub(super) fn write(
    order: &BuildOrder,
    recipe: &Recipe,
    install: &Path,
    beside: &[PathBuf],
    out: &Path,
    workers: u32,
    alive: Alive<'_>,
) -> Result<Made> {
    let (arch, build_release) = (order.profile.arch, order.build_release);
    let collected = collect(recipe, install, beside, arch, build_release, alive)?;
    Ok(Made {
        artefacts: emit::write(&collected.packages, out, workers, alive)?,
        notes: collected.warnings,
    })
}
