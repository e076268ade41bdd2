//! Compiler flags: groups that a recipe switches, for each toolchain and ISA level, as one table.
//!
//! Flags never depend on the number of cores. `-flto=JOBS` would reach whatever keeps its own flags (`bash --version`,
//! Python's sysconfig, LTO sections of static libraries), so two builders with different cores would make different
//! bytes. `-flto=auto` is one text for all of them; gcc then asks make's job server or the processors that the slot
//! may use. The partitions that it works on in parallel are fixed by the program, not by their number.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Toolchain;
use super::types::{Setting, Tuning};
use crate::fault::{Fault, Kind, Result, nearest};

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
    /// The compiler's own baseline, on other processors.
    Generic,
}

impl Isa {
    /// The level of this name, as profiles write it.
    pub fn of(name: &str) -> Option<Isa> {
        match name {
            "x86_64" => Some(Isa::X86_64),
            "x86_64-v3x" => Some(Isa::X86_64V3x),
            "x86_64-v4" => Some(Isa::X86_64V4),
            "aarch64" | "riscv64" | "generic" => Some(Isa::Generic),
            _ => None,
        }
    }

    /// `-march` of C compilers, also the definition `march`; empty for the compiler's own.
    pub fn march(self) -> &'static str {
        match self {
            Isa::X86_64 => "x86-64-v2",
            Isa::X86_64V3x => "x86-64-v3",
            Isa::X86_64V4 => "x86-64-v4",
            Isa::Generic => "",
        }
    }

    /// `-mtune` of C compilers, also the definition `mtune`; empty for the compiler's own.
    pub fn mtune(self) -> &'static str {
        match self {
            Isa::X86_64 => "ivybridge",
            Isa::X86_64V3x => "znver1",
            Isa::X86_64V4 => "skylake-avx512",
            Isa::Generic => "",
        }
    }

    /// Go's word for the level.
    pub fn goamd64(self) -> Option<&'static str> {
        match self {
            Isa::X86_64 => Some("v2"),
            Isa::X86_64V3x => Some("v3"),
            Isa::X86_64V4 => Some("v4"),
            Isa::Generic => None,
        }
    }

    fn flags(self) -> Flags {
        match self {
            Isa::X86_64 => Flags {
                c: "-march=x86-64-v2 -mtune=ivybridge",
                rust: "-C target-cpu=x86-64-v2",
                ..NONE
            },
            Isa::X86_64V3x => Flags {
                c: "-march=x86-64-v3 -mtune=znver1 -maes -mfsgsbase -mpclmul -mrdrnd -mxsaveopt",
                rust: "-C target-cpu=x86-64-v3 -C target-feature=+aes,+fsgsbase,+pclmulqdq,+rdrand,+xsaveopt",
                ..NONE
            },
            Isa::X86_64V4 => Flags {
                c: "-march=x86-64-v4 -mtune=skylake-avx512",
                rust: "-C target-cpu=x86-64-v4",
                ..NONE
            },
            Isa::Generic => NONE,
        }
    }
}

/// What one choice of a group adds to each language's flags; empty adds nothing.
#[derive(Debug, Clone, Copy)]
struct Flags {
    /// C and C++.
    c: &'static str,
    /// Fortran.
    f: &'static str,
    /// The linker, through the compiler.
    ld: &'static str,
    rust: &'static str,
    go: &'static str,
}

const NONE: Flags = Flags {
    c: "",
    f: "",
    ld: "",
    rust: "",
    go: "",
};

/// One choice of a group: its name, and its flags with either toolchain.
struct Choice {
    name: &'static str,
    gnu: Flags,
    llvm: Flags,
}

/// A group of flags that is switched as one.
struct Group {
    name: &'static str,
    /// On unless the recipe says otherwise.
    default: bool,
    /// The first one is meant by plain `on`.
    choices: &'static [Choice],
    /// Flags of the group when it is switched off.
    off: Flags,
}

const fn both(name: &'static str, flags: Flags) -> Choice {
    Choice {
        name,
        gnu: flags,
        llvm: flags,
    }
}

const fn group(name: &'static str, default: bool, choices: &'static [Choice]) -> Group {
    Group {
        name,
        default,
        choices,
        off: NONE,
    }
}

const fn c(flags: &'static str) -> Flags {
    Flags { c: flags, ..NONE }
}

const fn ld(flags: &'static str) -> Flags {
    Flags { ld: flags, ..NONE }
}

/// In the order of the alphabet.
#[rustfmt::skip]
const GROUPS: &[Group] = &[
    group("asneeded", true, &[both("", ld("-Wl,--as-needed"))]),
    group("avxwidth", true, &[both("", Flags { c: "-mprefer-vector-width=128", f: "-mprefer-vector-width=128", ..NONE })]),
    group("base", true, &[both("", Flags { c: "-pipe -Wformat -Wformat-security -Wno-error -fPIC", ld: "-Wl,-O2,--gc-sections", rust: "-C strip=none", go: "-trimpath", ..NONE })]),
    group("bindnow", true, &[both("", ld("-Wl,-z,relro,-z,now"))]),
    group("bolt", false, &[both("", Flags { c: "-fno-reorder-blocks-and-partition", ld: "-Wl,--emit-relocs", ..NONE })]),
    group("build-id", true, &[both("", Flags { ld: "-Wl,--build-id=sha1", rust: "-C link-args=-Wl,--build-id=sha1", ..NONE })]),
    group("common", false, &[both("", c("-fcommon"))]),
    group("compress-debug", true, &[both("", Flags { ld: "-Wl,--compress-debug-sections=zstd", rust: "-C link-args=-Wl,--compress-debug-sections=zstd", ..NONE })]),
    group("control-flow", true, &[both("", c("-fcf-protection"))]),
    group("debug", true, &[
        both("std", Flags { c: "-g -feliminate-unused-debug-types -fasynchronous-unwind-tables", f: "-g", rust: "-C debuginfo=2 -C split-debuginfo=off", ..NONE }),
        Choice { name: "lines", gnu: Flags { c: "-g1", f: "-g1", rust: LINES, ..NONE }, llvm: Flags { c: "-gline-tables-only", f: "-g1", rust: LINES, ..NONE } },
    ]),
    Group { name: "fat-lto", default: true, choices: &[both("", Flags { c: "-ffat-lto-objects", f: "-ffat-lto-objects", ..NONE })], off: Flags { c: "-fno-fat-lto-objects", f: "-fno-fat-lto-objects", ..NONE } },
    group("fortify", true, &[both("lvl3", c("-Wp,-U_FORTIFY_SOURCE,-D_FORTIFY_SOURCE=3")), both("lvl2", c("-Wp,-U_FORTIFY_SOURCE,-D_FORTIFY_SOURCE=2"))]),
    Group { name: "frame-pointer", default: true, choices: &[both("", Flags { c: "-fno-omit-frame-pointer -mno-omit-leaf-frame-pointer", f: "-fno-omit-frame-pointer", rust: "-C force-frame-pointers", ..NONE })], off: Flags { c: "-fomit-frame-pointer -momit-leaf-frame-pointer", f: "-fomit-frame-pointer", ..NONE } },
    group("golang-ldflags", true, &[both("", Flags { go: "-ldflags=-linkmode=external", ..NONE })]),
    group("golang-modflags", true, &[both("", Flags { go: "-mod=readonly -modcacherw", ..NONE })]),
    Group { name: "harden", default: true, choices: &[
        both("lvl1", Flags { c: "-fstack-protector --param ssp-buffer-size=32", go: "-buildmode=pie", ..NONE }),
        both("lvl2", Flags { c: "-fstack-protector-strong -fstack-clash-protection -fPIE --param ssp-buffer-size=4", go: "-buildmode=pie", ..NONE }),
        both("none", c("-fno-stack-protector")),
    ], off: c("-fno-stack-protector") },
    // Folding of identical functions is lld's; binutils' own linker has none.
    group("icf", true, &[
        Choice { name: "safe", gnu: NONE, llvm: ld("-Wl,--icf=safe") },
        Choice { name: "all", gnu: NONE, llvm: ld("-Wl,--icf=all") },
    ]),
    group("libstdc-assertions", true, &[both("", c("-Wp,-D_GLIBCXX_ASSERTIONS"))]),
    group("lto", true, &[
        Choice { name: "thin", gnu: Flags { c: "-flto=auto", f: "-flto=auto", ld: "-flto=auto", rust: RUST_THIN, ..NONE }, llvm: Flags { c: "-flto=thin", f: "-flto=thin", ld: "-flto=thin", rust: RUST_THIN, ..NONE } },
        Choice { name: "full", gnu: Flags { c: "-flto=auto -flto-partition=one", f: "-flto=auto -flto-partition=one", ld: "-flto=auto -flto-partition=one", rust: RUST_FAT, ..NONE }, llvm: Flags { c: "-flto=full", f: "-flto=full", ld: "-flto=full", rust: RUST_FAT, ..NONE } },
    ]),
    group("lto-errors", true, &[Choice { name: "", gnu: c("-Werror=odr -Werror=lto-type-mismatch -Werror=strict-aliasing"), llvm: NONE }]),
    group("math", false, &[both("", c("-fno-math-errno -fno-trapping-math"))]),
    group("noplt", false, &[both("", c("-fno-plt"))]),
    group("nosemantic", false, &[both("", c("-fno-semantic-interposition"))]),
    group("optimize", true, &[
        both("generic", Flags { c: "-O2", f: "-O2", rust: "-C opt-level=3 -C codegen-units=1", ..NONE }),
        both("speed", Flags { c: "-O3", f: "-O3", rust: "-C opt-level=3 -C codegen-units=1", ..NONE }),
        both("size", Flags { c: "-Os -ffunction-sections -fdata-sections", f: "-Os", rust: "-C opt-level=s -C codegen-units=1", ..NONE }),
        both("fast", Flags { c: "-Ofast", f: "-Ofast", rust: "-C opt-level=3 -C codegen-units=1", ..NONE }),
    ]),
    group("polly", false, &[Choice { name: "", gnu: NONE, llvm: c("-mllvm -polly") }]),
    group("relr", true, &[both("", ld("-Wl,-z,pack-relative-relocs"))]),
    group("runpath", false, &[both("", ld("-Wl,--enable-new-dtags"))]),
    group("sections", false, &[both("", c("-ffunction-sections -fdata-sections"))]),
    group("symbolic", true, &[
        both("functions", ld("-Wl,-Bsymbolic-functions")),
        both("all", ld("-Wl,-Bsymbolic")),
        both("nonweak", ld("-Wl,-Bsymbolic-non-weak-functions")),
    ]),
    group("thread-exceptions", true, &[both("", c("-fexceptions"))]),
    group("tls-gnu", true, &[both("", c("-mtls-dialect=gnu2"))]),
    group("version-allow-undefined", true, &[both("", ld("-Wl,--undefined-version"))]),
    group("visibility", false, &[both("", c("-fvisibility=hidden"))]),
];

const LINES: &str = "-C debuginfo=line-tables-only -C split-debuginfo=off";
const RUST_THIN: &str = "-C lto=thin -C linker-plugin-lto -C embed-bitcode=yes";
const RUST_FAT: &str = "-C lto=fat -C linker-plugin-lto -C embed-bitcode=yes";

/// Flags of one build, ready for the environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlagTexts {
    /// CFLAGS, and CXXFLAGS alike.
    pub c: String,
    /// FFLAGS.
    pub f: String,
    /// LDFLAGS.
    pub ld: String,
    /// RUSTFLAGS.
    pub rust: String,
    /// GOFLAGS.
    pub go: String,
}

/// Refuses a switch of a group or choice that nobody knows; the caller adds the place.
pub fn check(name: &str, setting: &Setting) -> Result<()> {
    let Some(group) = GROUPS.iter().find(|group| group.name == name) else {
        let fault = Fault::new(Kind::Recipe, format!("unknown tuning group {name}"));
        return Err(match nearest(name, GROUPS.iter().map(|group| group.name)) {
            Some(near) => fault.next(format!("did you mean {near}?")),
            None => fault.next("lto, optimize, harden, debug and their kin are known"),
        });
    };
    if let Setting::Choice(choice) = setting
        && !group.choices.iter().any(|known| known.name == choice)
    {
        let names: Vec<&str> = group.choices.iter().map(|choice| choice.name).collect();
        return Err(
            Fault::new(Kind::Recipe, format!("{name} has no choice {choice}"))
                .next(format!("write one of: true false {}", names.join(" "))),
        );
    }
    Ok(())
}

/// What every group adds, with the recipe's switches in their order: the last word on a group counts.
fn chosen(tuning: &[Tuning], toolchain: Toolchain, isa: Isa) -> Vec<Flags> {
    let mut all = vec![isa.flags()];
    for group in GROUPS {
        let setting = tuning
            .iter()
            .rev()
            .find(|switch| switch.group == group.name)
            .map(|switch| &switch.setting);
        let choice = match setting {
            Some(Setting::Off) => None,
            Some(Setting::On) => group.choices.first(),
            Some(Setting::Choice(name)) => group.choices.iter().find(|known| known.name == name),
            None => group.choices.first().filter(|_| group.default),
        };
        all.push(match (choice, toolchain) {
            (Some(choice), Toolchain::Gnu) => choice.gnu,
            (Some(choice), Toolchain::Llvm) => choice.llvm,
            (None, _) => group.off,
        });
    }
    all
}

/// Sorted by text, so that the order is nobody's accident.
fn joined(all: &[Flags], of: fn(&Flags) -> &'static str, unknown: &BTreeSet<String>) -> String {
    let mut texts: BTreeSet<&str> = all.iter().map(of).collect();
    texts.remove("");
    texts.retain(|text| !unknown.contains(*text));
    Vec::from_iter(texts).join(" ")
}

/// The flags of a build. `unknown` are flag texts (as `probes` lists them) that the compilers of the base refused.
pub fn flags(
    tuning: &[Tuning],
    toolchain: Toolchain,
    isa: Isa,
    unknown: &BTreeSet<String>,
) -> FlagTexts {
    let all = chosen(tuning, toolchain, isa);
    FlagTexts {
        c: joined(&all, |flags| flags.c, unknown),
        f: joined(&all, |flags| flags.f, unknown),
        ld: joined(&all, |flags| flags.ld, unknown),
        rust: joined(&all, |flags| flags.rust, unknown),
        go: joined(&all, |flags| flags.go, unknown),
    }
}

/// Every text that could be handed to the C compiler (first) and through it to the linker (second): what is worth
/// trying once per base, so that `flags` can leave out what the toolchain at hand does not know.
pub fn probes(toolchain: Toolchain, isa: Isa) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut compile = BTreeSet::from([isa.flags().c]);
    let mut link = BTreeSet::new();
    for group in GROUPS {
        compile.insert(group.off.c);
        for choice in group.choices {
            let flags = match toolchain {
                Toolchain::Gnu => choice.gnu,
                Toolchain::Llvm => choice.llvm,
            };
            compile.insert(flags.c);
            link.insert(flags.ld);
        }
    }
    compile.remove("");
    link.remove("");
    (Vec::from_iter(compile), Vec::from_iter(link))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(group: &str, setting: Setting) -> Tuning {
        Tuning {
            group: group.into(),
            setting,
            line: 1,
        }
    }

    #[test]
    fn every_switch_moves_its_own_flags() {
        let flags = |group: &str, setting: Setting, toolchain| {
            flags(
                &[switch(group, setting)],
                toolchain,
                Isa::X86_64,
                &BTreeSet::new(),
            )
        };
        let choice = |name: &str| Setting::Choice(name.into());
        let gnu = Toolchain::Gnu;
        for (texts, has, lacks) in [
            (flags("lto", Setting::Off, gnu), "-O2", "-flto"),
            (
                flags("lto", choice("full"), gnu),
                "-flto-partition=one",
                "thin",
            ),
            (
                flags("lto", choice("full"), Toolchain::Llvm),
                "-flto=full",
                "partition",
            ),
            (flags("optimize", choice("speed"), gnu), "-O3", "-O2 "),
            (
                flags("frame-pointer", Setting::Off, gnu),
                "-fomit-frame-pointer",
                "-fno-omit",
            ),
            (flags("fortify", Setting::Off, gnu), "-O2", "FORTIFY"),
            (
                flags("harden", choice("lvl2"), gnu),
                "-fstack-clash",
                "size=32",
            ),
            (
                flags("nosemantic", Setting::On, gnu),
                "-fno-semantic-interposition",
                "polly",
            ),
            (flags("symbolic", choice("nonweak"), gnu), "-O2", "-polly"),
        ] {
            assert!(texts.c.contains(has), "{} lacks {has}", texts.c);
            assert!(!texts.c.contains(lacks), "{} has {lacks}", texts.c);
        }
    }

    #[test]
    fn levels_set_what_every_compiler_builds_for() {
        for (isa, march, rust) in [
            (Isa::X86_64, "-march=x86-64-v2", "target-cpu=x86-64-v2"),
            (Isa::X86_64V3x, "-march=x86-64-v3", "+xsaveopt"),
            (Isa::X86_64V4, "-march=x86-64-v4", "target-cpu=x86-64-v4"),
        ] {
            let texts = flags(&[], Toolchain::Llvm, isa, &BTreeSet::new());
            assert!(texts.c.contains(march) && texts.rust.contains(rust));
        }
    }

    #[test]
    fn flags_that_the_base_refused_are_left_out() {
        let unknown = BTreeSet::from(["-mtls-dialect=gnu2".to_string()]);
        let texts = flags(&[], Toolchain::Gnu, Isa::X86_64, &unknown);
        assert!(!texts.c.contains("tls-dialect"));
        assert!(
            probes(Toolchain::Gnu, Isa::X86_64)
                .0
                .contains(&"-mtls-dialect=gnu2")
        );
    }

    #[test]
    fn unknown_groups_and_choices_name_the_nearest() {
        let fault = check("optimise", &Setting::On).unwrap_err();
        assert_eq!(fault.next, "did you mean optimize?");
        let fault = check("lto", &Setting::Choice("fat".into())).unwrap_err();
        assert_eq!(fault.next, "write one of: true false thin full");
    }
}
