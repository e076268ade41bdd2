//! Which compiler flags the toolchain in the build root does not know. Tried once for each compiler, inside a sandbox,
//! and kept in `layers/flags/`; a file there may be deleted at any time.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Stage;
use super::blame::End;
use super::prepare::{self, Places};
use super::run::Run;
use crate::build::sandbox::{Root, Session, Step};
use crate::id::Digest;
use crate::recipe::Recipe;
use crate::recipe::script::{Phase, PhaseScript, Scripts, Setting};
use crate::recipe::tuning;

/// What the probe leaves for us, in the sandbox's `/tmp`.
const ANSWER: &str = "massif-unknown-flags";

impl Run<'_> {
    /// The texts among `tuning::probes` that this root's compiler refuses; nothing when there is no compiler.
    pub(super) async fn unknown_flags(
        &mut self,
        root: &Root,
        recipe: &Recipe,
        setting: &Setting,
        scripts: &Scripts,
        places: &Places,
        session: &mut Session,
    ) -> Result<BTreeSet<String>, End> {
        let compiler = scripts.env.get("CC").cloned().unwrap_or_default();
        let linker = scripts.env.get("LD").cloned().unwrap_or_default();
        let (compile, link) = tuning::probes(setting.toolchain, setting.isa);
        if !scripts.phases.iter().any(may_compile) {
            return Ok(BTreeSet::new());
        }
        let Some(identity) = identity(root, [&compiler, &linker]) else {
            return Ok(BTreeSet::new());
        };
        let in_use = tuning::flags(
            &recipe.tuning,
            setting.toolchain,
            setting.isa,
            &BTreeSet::new(),
        );
        let all = [in_use.c.as_str(), in_use.ld.as_str()];
        let script = script(&compiler, all, &compile, &link, self.jobs());
        let key =
            Digest(Sha256::digest(format!("{identity}\n{all:?}\n{compile:?}\n{link:?}")).into());
        let notes = self
            .ctx
            .state_dir
            .join("layers/flags")
            .join(key.to_string());
        let unknown = match std::fs::read_to_string(&notes) {
            Ok(text) => text,
            Err(_) => {
                let path = places.scripts.join("flags");
                std::fs::write(&path, script).map_err(|error| prepare::disk(&path, &error))?;
                let step = Step {
                    name: "flags".into(),
                    argv: vec![
                        "/usr/bin/bash".into(),
                        format!("{}/flags", super::run::SCRIPTS),
                    ],
                    banner: self.mark("trying the compiler's flags, once for this compiler"),
                    ..self.step(Stage::Prepare, "/tmp", scripts)
                };
                if !self.run_step(session, step, None).await?.ok() {
                    self.note("the compiler's flags could not be tried, so all of them are used");
                    return Ok(BTreeSet::new());
                }
                let text = std::fs::read_to_string(places.tmp.join(ANSWER)).unwrap_or_default();
                keep(&notes, &text);
                text
            }
        };
        let refused: BTreeSet<String> = unknown.lines().map(str::to_owned).collect();
        for flag in refused
            .iter()
            .filter(|flag| in_use.c.contains(*flag) || in_use.ld.contains(*flag))
        {
            self.note(&format!(
                "{compiler} does not know {flag}, so it is left out"
            ));
        }
        Ok(refused)
    }
}

/// A recipe that only copies files need not wait for a compiler.
fn may_compile(script: &PhaseScript) -> bool {
    script.phase != Phase::Install || script.text.contains("make")
}

/// Losing the notes only costs another try.
fn keep(notes: &Path, text: &str) {
    let fresh = notes.with_extension(std::process::id().to_string());
    let written = notes
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&fresh, text))
        .and_then(|()| std::fs::rename(&fresh, notes));
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
}

/// What tells one compiler and linker from others without running them; `None` when the root has no such compiler.
fn identity(root: &Root, programs: [&str; 2]) -> Option<String> {
    let mut text = String::new();
    for (index, program) in programs.into_iter().enumerate() {
        let found: Option<(PathBuf, std::fs::Metadata)> = root.usr.iter().find_map(|usr| {
            let path = usr.join("bin").join(program);
            let meta = path.metadata().ok()?;
            Some((path, meta))
        });
        match found {
            Some((path, meta)) => {
                let _ = writeln!(text, "{} {} {}", path.display(), meta.len(), meta.mtime());
            }
            None if index == 0 => return None,
            None => {}
        }
    }
    Some(text)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// All that this recipe uses are tried together first, which is nearly always enough; else each flag text alone. Refused ones are collected in files of their worker, so that lines do not mix.
fn script(compiler: &str, all: [&str; 2], compile: &[&str], link: &[&str], jobs: u32) -> String {
    let mut text = format!(
        "cd /tmp && mkdir -p massif-flags && cd massif-flags || exit 1\n\
         echo 'int main(void) {{ return 0; }}' > a.c\n\
         {compiler} -c a.c -o a.o && {compiler} a.c -o a || exit 1\n\
         : > ../{ANSWER}\n\
         {compiler} {c} {ld} a.c -o all >/dev/null 2>&1 && exit 0\n",
        c = all[0],
        ld = all[1],
    );
    let workers = (jobs.max(1) as usize).min(8);
    for worker in 0..workers {
        let _ = writeln!(text, "(\nout=out.{worker}\n: > $out");
        for flags in compile.iter().skip(worker).step_by(workers) {
            let echo = quoted(flags);
            let _ = writeln!(
                text,
                "{compiler} {flags} -c a.c -o c{worker}.o >/dev/null 2>&1 || echo {echo} >> $out"
            );
        }
        for flags in link.iter().skip(worker).step_by(workers) {
            let echo = quoted(flags);
            let _ = writeln!(
                text,
                "{compiler} {flags} a.c -o l{worker} >/dev/null 2>&1 || echo {echo} >> $out"
            );
        }
        text.push_str(") &\n");
    }
    let _ = writeln!(
        text,
        "wait\ncat out.* > ../{ANSWER}\ncd .. && rm -rf massif-flags"
    );
    text
}
