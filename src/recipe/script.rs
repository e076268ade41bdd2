//! The phases of a build as final shell text, and the environment that they run in.

use std::collections::{BTreeMap, BTreeSet};

use super::Toolchain;
use super::macros::{Macros, function_texts};
use super::tuning::{self, FlagTexts, Isa};
use super::types::{Recipe, Script};
use crate::fault::Result;

/// What the scripts depend on beside the recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The ISA level of the profile.
    pub isa: Isa,
    /// The recipe's toolchain, else the profile's.
    pub toolchain: Toolchain,
    /// Cores of the slot.
    pub jobs: u32,
    /// Seconds since 1970 that files and programs are stamped with.
    pub source_date_epoch: i64,
    /// Flag texts that the base's compilers refuse, of those that `tuning::probes` lists.
    pub unknown_flags: BTreeSet<String>,
}

/// A phase that runs a script of the recipe. Unpacking comes before and is the executor's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Configures.
    Setup,
    /// Compiles.
    Build,
    /// Installs below the install root.
    Install,
    /// Tests.
    Check,
}

impl Phase {
    /// The recipe's key for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Setup => "setup",
            Phase::Build => "build",
            Phase::Install => "install",
            Phase::Check => "check",
        }
    }
}

/// One phase, ready to be given to bash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseScript {
    /// Which.
    pub phase: Phase,
    /// The whole text, with the shell's options and the recipe's environment first.
    pub text: String,
}

/// Everything that the executor runs for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripts {
    /// The whole environment of every phase.
    pub env: BTreeMap<String, String>,
    /// Directory in the sandbox that sources are unpacked below.
    pub build_root: String,
    /// Directory in the sandbox that the phases start in; it exists after unpacking.
    pub work_dir: String,
    /// In the order in which they run; phases that the recipe has not are left out.
    pub phases: Vec<PhaseScript>,
}

/// The name of a target for paths below `/mason/build`.
const TARGET: &str = "x86_64";

/// First lines of every phase. A trace goes to the log; a failing command, an unset variable or a failing part of a pipe
/// ends the phase.
const HEAD: &str = "set -o errexit -o pipefail -o nounset\n";
const TRACE: &str = "set -o xtrace\n";

/// The programs of a toolchain: variable, definition, with gnu, with llvm.
const TOOLS: [(&str, &str, &str, &str); 10] = [
    ("AR", "ar", "gcc-ar", "llvm-ar"),
    ("CC", "cc", "gcc", "clang"),
    ("CPP", "cpp", "gcc -E", "clang-cpp"),
    ("CXX", "cxx", "g++", "clang++"),
    ("LD", "ld", "ld.bfd", "ld.lld"),
    ("NM", "nm", "gcc-nm", "llvm-nm"),
    ("OBJCOPY", "objcopy", "objcopy", "llvm-objcopy"),
    ("OBJDUMP", "objdump", "objdump", "llvm-objdump"),
    ("RANLIB", "ranlib", "gcc-ranlib", "llvm-ranlib"),
    ("STRIP", "strip", "strip", "llvm-strip"),
];

/// The scripts of the recipe for the machine's own target.
pub fn scripts(recipe: &Recipe, setting: &Setting) -> Result<Scripts> {
    let flags = flags_of(recipe, setting);
    let (build_root, work_dir) = directories(recipe);
    let macros = macros(recipe, setting, &flags, &build_root, &work_dir);
    let steps = recipe.steps_of(TARGET);
    let mut phases = Vec::new();
    for (phase, script) in [
        (Phase::Setup, &steps.setup),
        (Phase::Build, &steps.build),
        (Phase::Install, &steps.install),
        (Phase::Check, &steps.check),
    ] {
        if let Some(script) = script {
            let environment = steps.environment.as_ref();
            let text = phase_text(&macros, environment, script, &recipe.file)?;
            phases.push(PhaseScript { phase, text });
        }
    }
    Ok(Scripts {
        env: environment(setting, &flags),
        build_root,
        work_dir,
        phases,
    })
}

/// What is run to measure how fast a recipe's programs are, by the recipe's word for it: its workload, else its check; `None`: it
/// has neither.
pub fn workload(recipe: &Recipe, setting: &Setting) -> Result<Option<(&'static str, String)>> {
    let flags = flags_of(recipe, setting);
    let (build_root, work_dir) = directories(recipe);
    let macros = macros(recipe, setting, &flags, &build_root, &work_dir);
    let steps = recipe.steps_of(TARGET);
    let found = match (&steps.workload, &steps.check) {
        (Some(script), _) => ("workload", script),
        (None, Some(script)) => ("check", script),
        (None, None) => return Ok(None),
    };
    let (word, script) = found;
    let text = phase_text(&macros, steps.environment.as_ref(), script, &recipe.file)?;
    Ok(Some((word, text)))
}

fn flags_of(recipe: &Recipe, setting: &Setting) -> FlagTexts {
    let mut flags = tuning::flags(
        &recipe.tuning,
        setting.toolchain,
        setting.isa,
        &setting.unknown_flags,
    );
    // Without it gcc names the sections of link-time objects by chance, and no static library would be the same twice.
    flags.c.push_str(&format!(
        " -frandom-seed={}-{}",
        recipe.name, recipe.version
    ));
    flags
}

/// Where sources are unpacked below, and where the phases start.
fn directories(recipe: &Recipe) -> (String, String) {
    let build_root = format!("/mason/build/{TARGET}");
    let work_dir = match recipe.work_directory() {
        "" => build_root.clone(),
        directory => format!("{build_root}/{directory}"),
    };
    (build_root, work_dir)
}

/// Head, functions that the text calls, the recipe's environment, the phase.
fn phase_text(
    macros: &Macros,
    environment: Option<&Script>,
    script: &Script,
    file: &str,
) -> Result<String> {
    let mut functions = BTreeSet::new();
    let mut body = String::new();
    for script in environment.into_iter().chain([script]) {
        body.push_str(&macros.script(script, file, &mut functions)?);
        if !body.ends_with('\n') {
            body.push('\n');
        }
    }
    Ok([HEAD, &function_texts(&functions), TRACE, &body].concat())
}

fn macros(
    recipe: &Recipe,
    setting: &Setting,
    flags: &FlagTexts,
    build_root: &str,
    work_dir: &str,
) -> Macros {
    let mut macros = Macros::default();
    macros.define("name", recipe.name.as_str());
    macros.define("version", recipe.version.as_str());
    macros.define("release", recipe.release.to_string());
    macros.define("jobs", setting.jobs.max(1).to_string());
    macros.define("buildroot", build_root);
    macros.define("workdir", work_dir);
    macros.define("march", setting.isa.march());
    macros.define("mtune", setting.isa.mtune());
    macros.define("cflags", flags.c.as_str());
    macros.define("cxxflags", flags.c.as_str());
    macros.define("ldflags", flags.ld.as_str());
    macros.define("rustflags", flags.rust.as_str());
    macros.define("goflags", flags.go.as_str());
    for (_, name, gnu, llvm) in TOOLS {
        macros.define(name, tool(setting.toolchain, gnu, llvm));
    }
    macros
}

fn tool(toolchain: Toolchain, gnu: &'static str, llvm: &'static str) -> &'static str {
    match toolchain {
        Toolchain::Gnu => gnu,
        Toolchain::Llvm => llvm,
    }
}

/// The whole environment: nothing of the host's comes through.
fn environment(setting: &Setting, flags: &FlagTexts) -> BTreeMap<String, String> {
    let epoch = setting.source_date_epoch.max(0).to_string();
    let fixed = [
        ("CFLAGS", flags.c.as_str()),
        ("CXXFLAGS", &flags.c),
        ("FFLAGS", &flags.f),
        ("GOFLAGS", &flags.go),
        // Where cargo, go and their kin keep what they fetch between two phases.
        ("HOME", "/mason/build"),
        ("LANG", "en_US.UTF-8"),
        ("LDFLAGS", &flags.ld),
        ("PATH", "/usr/bin:/bin"),
        ("PKG_CONFIG_PATH", "/usr/lib/pkgconfig:/usr/share/pkgconfig"),
        ("RUSTFLAGS", &flags.rust),
        ("SOURCE_DATE_EPOCH", &epoch),
        ("TERM", "dumb"),
    ];
    let mut env: BTreeMap<String, String> = fixed
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    for (name, _, gnu, llvm) in TOOLS {
        env.insert(
            name.to_string(),
            tool(setting.toolchain, gnu, llvm).to_string(),
        );
    }
    if let Some(level) = setting.isa.goamd64() {
        env.insert("GOAMD64".to_string(), level.to_string());
    }
    env
}

#[cfg(test)]
mod tests;
