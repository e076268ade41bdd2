//! The debug split: which ELF files below an install root lose their debug information, and the script that moves it to
//! `/usr/lib/debug/.build-id`. The machine's own tools do it, inside the sandbox; this file only looks and writes the plan.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use object::elf;
use object::read::elf::{ElfFile, FileHeader, ProgramHeader};
use object::{Object, ObjectSection, ReadCache};

use crate::build::emit::Alive;
use crate::fault::{Fault, Kind, Result};
use crate::recipe::types::Options;

/// The install root as phases see it.
const INSIDE: &str = "/mason/install";

/// Byte 4 of an ELF file.
const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;

/// What the split does with one ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    /// Other names of the same file.
    links: Vec<PathBuf>,
    mode: u32,
    build_id: Option<String>,
    has_debug: bool,
    shape: Shape,
}

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Program,
    Library,
    /// A static library. gcc names the LTO sections in its members by chance, so two builds differ in nothing but
    /// them; the members' code stands beside them (`-ffat-lto-objects`), and so they go, with the debug information.
    Archive,
}

/// The plan for one install root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    found: Vec<Found>,
    /// Bash that does it, run as a step of the session; empty when there is nothing to do.
    pub script: String,
}

fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Kind::Builder, format!("cannot read {}", path.display())).because(error)
}

/// Looks through the install root. `objcopy` is the toolchain's; `jobs` run side by side and never change a byte.
pub fn plan(
    install: &Path,
    options: &Options,
    objcopy: &str,
    jobs: u32,
    alive: Alive<'_>,
) -> Result<Split> {
    if !options.debug && !options.strip {
        return Ok(Split::default());
    }
    let found = look(install, alive)?;
    let script = script(&found, install, options, objcopy, jobs);
    for elf in &found {
        // The tools write in place; the file's own mode comes back in `finish`.
        set_mode(&elf.path, elf.mode | 0o600)?;
    }
    Ok(Split { found, script })
}

/// Puts back what the tools could not keep: modes, and second names of one file.
pub fn finish(split: &Split) -> Result<()> {
    for elf in &split.found {
        set_mode(&elf.path, elf.mode)?;
        for link in &elf.links {
            let again =
                std::fs::remove_file(link).and_then(|()| std::fs::hard_link(&elf.path, link));
            again.map_err(|error| unreadable(link, &error))?;
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|error| unreadable(path, &error))
}

fn look(install: &Path, alive: Alive<'_>) -> Result<Vec<Found>> {
    let mut by_inode: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    let mut found: Vec<Found> = Vec::new();
    let mut waiting = vec![install.join("usr")];
    while let Some(dir) = waiting.pop() {
        let Ok(listing) = std::fs::read_dir(&dir) else {
            continue;
        };
        let mut paths: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            alive();
            let meta = path
                .symlink_metadata()
                .map_err(|error| unreadable(&path, &error))?;
            if meta.is_dir()
                && !path.ends_with("usr/lib/debug")
                && !path.ends_with("usr/lib32/debug")
            {
                waiting.push(path);
            } else if meta.is_file() {
                match by_inode
                    .get(&(meta.dev(), meta.ino()))
                    .and_then(|index| found.get_mut(*index))
                {
                    Some(first) => first.links.push(path),
                    None => {
                        if let Some(elf) = read_elf(&path, meta.mode() & 0o7777) {
                            by_inode.insert((meta.dev(), meta.ino()), found.len());
                            found.push(elf);
                        }
                    }
                }
            }
        }
    }
    found.sort_by(|a, b| (&a.build_id, &a.path).cmp(&(&b.build_id, &b.path)));
    Ok(found)
}

/// `None`: no program or library, or one that cannot be read as such.
fn read_elf(path: &Path, mode: u32) -> Option<Found> {
    let mut file = File::open(path).ok()?;
    let mut ident = [0; 5];
    file.read_exact(&mut ident).ok()?;
    if &ident == b"!<arc" {
        let whole = path.extension().is_some_and(|ending| ending == "a") && !holds_slim(file);
        return whole.then(|| Found {
            path: path.to_owned(),
            links: Vec::new(),
            mode,
            build_id: None,
            has_debug: false,
            shape: Shape::Archive,
        });
    }
    let cache = ReadCache::new(file);
    match ident {
        [0x7f, b'E', b'L', b'F', CLASS_64] => describe(
            &ElfFile::<elf::FileHeader64<object::Endianness>, _>::parse(&cache).ok()?,
            path,
            mode,
        ),
        [0x7f, b'E', b'L', b'F', CLASS_32] => describe(
            &ElfFile::<elf::FileHeader32<object::Endianness>, _>::parse(&cache).ok()?,
            path,
            mode,
        ),
        _ => None,
    }
}

/// Whether members hold nothing but LTO sections: without those they would be empty.
fn holds_slim(mut file: File) -> bool {
    const MARK: &[u8] = b"__gnu_lto_slim";
    let mut window = Vec::new();
    let mut block = vec![0; 256 * 1024];
    while let Ok(read @ 1..) = file.read(&mut block) {
        window.extend_from_slice(block.get(..read).unwrap_or_default());
        if window.windows(MARK.len()).any(|part| part == MARK) {
            return true;
        }
        window.drain(..window.len().saturating_sub(MARK.len()));
    }
    false
}

fn describe<'data, H, R>(elf: &ElfFile<'data, H, R>, path: &Path, mode: u32) -> Option<Found>
where
    H: FileHeader,
    R: object::ReadRef<'data>,
{
    let endian = elf.endian();
    let kind = elf.elf_header().e_type(endian);
    if kind != elf::ET_EXEC && kind != elf::ET_DYN {
        return None;
    }
    let has_interpreter = elf
        .elf_program_headers()
        .iter()
        .any(|header| header.p_type(endian) == elf::PT_INTERP);
    let has_debug = elf.sections().any(|section| {
        section.name().is_ok_and(|name| {
            name.starts_with(".debug_") || name.starts_with(".zdebug_") || name == ".symtab"
        })
    });
    let build_id = elf.build_id().ok().flatten().filter(|id| id.len() >= 2);
    Some(Found {
        path: path.to_owned(),
        links: Vec::new(),
        mode,
        build_id: build_id.map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()),
        has_debug,
        shape: if kind == elf::ET_EXEC || has_interpreter {
            Shape::Program
        } else {
            Shape::Library
        },
    })
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Files of one build id are done by one worker in their order, so that nothing is written twice at once.
fn script(found: &[Found], install: &Path, options: &Options, objcopy: &str, jobs: u32) -> String {
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut last: Option<&str> = None;
    for elf in found {
        let Some(inside) = elf.path.strip_prefix(install).ok().and_then(Path::to_str) else {
            continue;
        };
        let strip = match (options.strip, elf.shape) {
            (false, _) => "",
            (true, Shape::Program) => "--strip-all",
            (true, Shape::Library) => "--strip-unneeded",
            (true, Shape::Archive) => "--strip-debug",
        };
        let debug = elf
            .build_id
            .as_deref()
            .filter(|_| options.debug && elf.has_debug)
            .and_then(|id| {
                let lib = if inside.starts_with("usr/lib32/") {
                    "lib32"
                } else {
                    "lib"
                };
                let (head, rest) = id.split_at_checked(2)?;
                Some(format!(
                    "{INSIDE}/usr/{lib}/debug/.build-id/{head}/{rest}.debug"
                ))
            });
        if debug.is_none() && strip.is_empty() {
            continue;
        }
        let file = quoted(&format!("{INSIDE}/{inside}"));
        let call = match elf.shape {
            Shape::Archive => format!("archive {file} {strip}"),
            Shape::Program | Shape::Library => {
                format!("one {file} {} {strip}", quoted(&debug.unwrap_or_default()))
            }
        };
        match groups.last_mut() {
            Some(group) if elf.build_id.is_some() && last == elf.build_id.as_deref() => {
                group.push(call)
            }
            _ => groups.push(vec![call]),
        }
        last = elf.build_id.as_deref();
    }
    if groups.is_empty() {
        return String::new();
    }
    let workers = groups.len().min(jobs.max(1) as usize);
    let mut text = HEAD.replace("@objcopy@", &quoted(objcopy));
    for worker in 0..workers {
        text.push_str("(\n");
        for call in groups.iter().skip(worker).step_by(workers).flatten() {
            text.push_str(call);
            text.push('\n');
        }
        text.push_str(") &\n");
    }
    text.push_str("wait\n");
    text
}

/// A file that the tool cannot read stays as it is and is told; the build goes on.
const HEAD: &str = r#"umask 022
objcopy=@objcopy@
if ! command -v "$objcopy" >/dev/null; then
  echo "note: $objcopy is not there, so debug information stays where it is"
  exit 3
fi
archive() {
  "$objcopy" --wildcard --enable-deterministic-archives "$2" \
    '--remove-section=.gnu.lto_*' '--remove-section=.gnu.debuglto_*' "$1" || echo "note: $1 was not stripped"
}
one() {
  if [ -z "$2" ]; then
    "$objcopy" "$3" "$1" || echo "note: $1 was not stripped"
    return 0
  fi
  mkdir -p "${2%/*}"
  if { [ -e "$2" ] || "$objcopy" --only-keep-debug "$1" "$2"; } &&
    "$objcopy" ${3:+"$3"} "--add-gnu-debuglink=$2" "$1"; then
    return 0
  fi
  rm -f "$2"
  echo "note: the debug information of $1 was not split off"
}
"#;

/// The exit code of the script when the tool is not there.
pub const NO_TOOL: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, build_id: Option<&str>, shape: Shape) -> Found {
        Found {
            path: PathBuf::from("/x/install").join(path),
            links: Vec::new(),
            mode: 0o755,
            build_id: build_id.map(str::to_owned),
            has_debug: true,
            shape,
        }
    }

    #[test]
    fn files_of_one_build_id_stay_with_one_worker() {
        let elves = [
            found("usr/bin/it's", None, Shape::Program),
            found("usr/bin/a", Some("abcd"), Shape::Program),
            found("usr/bin/b", Some("abcd"), Shape::Program),
            found("usr/lib/l.so", Some("ffee"), Shape::Library),
        ];
        let text = script(
            &elves,
            Path::new("/x/install"),
            &Options::default(),
            "objcopy",
            2,
        );
        let body: Vec<&str> = text.lines().skip_while(|line| *line != "(").collect();
        assert_eq!(
            body,
            [
                "(",
                r"one '/mason/install/usr/bin/it'\''s' '' --strip-all",
                "one '/mason/install/usr/lib/l.so' '/mason/install/usr/lib/debug/.build-id/ff/ee.debug' --strip-unneeded",
                ") &",
                "(",
                "one '/mason/install/usr/bin/a' '/mason/install/usr/lib/debug/.build-id/ab/cd.debug' --strip-all",
                "one '/mason/install/usr/bin/b' '/mason/install/usr/lib/debug/.build-id/ab/cd.debug' --strip-all",
                ") &",
                "wait"
            ]
        );
    }

    /// What the real compiler writes: the same two objects twice give the same bytes once their LTO sections are gone.
    #[test]
    fn static_libraries_are_the_same_in_every_build() {
        use std::process::Command;
        let dir = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        for (name, fat) in [("a", true), ("b", true), ("slim", false)] {
            let lib = dir.path().join(name).join("usr/lib");
            std::fs::create_dir_all(&lib).unwrap();
            std::fs::write(lib.join("x.c"), "int f(int x) { return x * 3; }").unwrap();
            let flag = if fat {
                "-ffat-lto-objects"
            } else {
                "-fno-fat-lto-objects"
            };
            let run = |program: &str, arguments: &[&str]| {
                let done = Command::new(program)
                    .args(arguments)
                    .current_dir(&lib)
                    .status();
                assert!(done.unwrap().success());
            };
            run("gcc", &["-g", "-O2", "-flto=auto", flag, "-c", "x.c"]);
            run("gcc-ar", &["crD", "libx.a", "x.o"]);
            let install = dir.path().join(name);
            let split = plan(&install, &Options::default(), "objcopy", 1, &|| ()).unwrap();
            assert_eq!(split.script.contains("archive '"), fat, "{}", split.script);
            let text = split.script.replace(INSIDE, install.to_str().unwrap());
            run("bash", &["-c", &text]);
            finish(&split).unwrap();
            seen.push(std::fs::read(lib.join("libx.a")).unwrap());
        }
        assert_eq!(seen[0], seen[1]);
        assert_ne!(seen[0], seen[2]);
    }

    #[test]
    fn a_recipe_that_wants_neither_split_nor_strip_gets_neither() {
        let elves = [found("usr/bin/a", Some("abcd"), Shape::Program)];
        let no = Options {
            debug: false,
            strip: false,
            ..Options::default()
        };
        assert_eq!(
            script(&elves, Path::new("/x/install"), &no, "objcopy", 2),
            ""
        );
    }
}
