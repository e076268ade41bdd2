//! The four real upstreams through the whole farm: what is made of them, and that it is the same bytes for another user, in
//! another directory, on one core, a day later and on a machine with other libraries of the same names.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::farm::{Farm, Setup, shared};
use super::common::repo::Repo;

const FOUR: [&str; 4] = ["h/hello", "x/xz", "n/ncurses", "n/nano"];
/// Nobody on the machine.
const UID: u32 = 65_533;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The recipes, each built by a clock that is so many seconds late.
fn repository(work: &Path, later_s: i64) -> Repo {
    let library = super::common::clock::library(work, later_s);
    let mut repo = Repo::new();
    std::fs::set_permissions(repo.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for dir in FOUR {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/recipes")
            .join(dir)
            .join("stone.yaml");
        let mut text = std::fs::read_to_string(path).unwrap();
        text += "environment : |\n    export LD_PRELOAD=%(pkgdir)/clock.so\n    date '+the clock says %%s'\n";
        repo.write(&format!("{dir}/stone.yaml"), text);
        repo.write_program(
            &format!("{dir}/pkg/clock.so"),
            std::fs::read(&library).unwrap(),
        );
    }
    repo.commit("Add four");
    repo
}

/// A directory to lie over `/usr` that has other versions of ncurses where the machine's compiler looks first.
fn decoys(work: &Path) -> PathBuf {
    let over = work.join("decoys");
    let triple = run("cc", &["-print-multiarch"]);
    let libraries = over.join("lib").join(&triple);
    std::fs::create_dir_all(libraries.join("pkgconfig")).unwrap();
    std::fs::create_dir_all(over.join("include")).unwrap();
    let source = work.join("decoy.c");
    std::fs::write(
        &source,
        "const char *curses_version(void) { return \"of the machine\"; }\n",
    )
    .unwrap();
    for name in ["ncursesw", "ncurses", "tinfow", "panelw"] {
        let file = libraries.join(format!("lib{name}.so.6.9"));
        run(
            "cc",
            &[
                "-shared",
                "-fPIC",
                &format!("-Wl,-soname,lib{name}.so.6"),
                "-o",
                file.to_str().unwrap(),
                source.to_str().unwrap(),
            ],
        );
        for link in [format!("lib{name}.so"), format!("lib{name}.so.6")] {
            std::os::unix::fs::symlink(file.file_name().unwrap(), libraries.join(link)).unwrap();
        }
        std::fs::write(
            libraries.join(format!("pkgconfig/{name}.pc")),
            format!("Name: {name}\nDescription: of the machine\nVersion: 6.9\nLibs: -l{name} -lof-the-machine\nCflags:\n"),
        )
        .unwrap();
    }
    for name in ["ncurses.h", "curses.h", "term.h", "panel.h"] {
        std::fs::write(
            over.join("include").join(name),
            "#error a header of the machine\n",
        )
        .unwrap();
    }
    over
}

/// Another user on one core of a machine with decoys; without root only the core differs.
fn elsewhere(work: &Path, mirror: &Path) -> Setup {
    let cores = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    let core = (0..nix::sched::CpuSet::count())
        .find(|core| cores.is_set(*core).unwrap_or(false))
        .unwrap();
    let mut wrapper: Vec<String> = ["taskset", "-c", &core.to_string()].map(Into::into).into();
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        let over = decoys(work);
        let script = format!(
            "mount -t overlay -o lowerdir={}:/usr massif-decoys /usr && exec setpriv --reuid={UID} --regid={UID} --clear-groups -- \"$@\"",
            over.display()
        );
        wrapper.extend(["unshare", "-m", "--", "sh", "-c", &script, "sh"].map(Into::into));
    }
    Setup {
        arguments: vec!["--mirror".into(), mirror.to_str().unwrap().into()],
        uid: is_root.then_some(UID),
        wrapper,
        ..Setup::default()
    }
}

fn all_published(farm: &Farm) -> BTreeMap<String, String> {
    for dir in FOUR {
        let name = &dir[2..];
        farm.until(&["job", "list"], |jobs| {
            let mut jobs = jobs.as_array().unwrap().iter();
            let Some(job) = jobs.find(|job| job["recipe"] == name) else {
                return false;
            };
            assert_ne!(
                job["state"],
                "failed",
                "{job:#}\n{}",
                farm.ok(&["job", "log", name])
            );
            job["state"] == "published"
        });
    }
    let packages = farm.json(&["package", "list"]);
    let packages = packages.as_array().unwrap().iter();
    packages
        .map(|package| {
            let text = |field: &str| package[field].as_str().unwrap().to_owned();
            (text("name"), text("sha256"))
        })
        .collect()
}

/// What the clock said when the recipe was built, in seconds since 1970.
fn clock(farm: &Farm, recipe: &str) -> u64 {
    let log = farm.ok(&["job", "log", recipe]);
    let said = log.lines().find_map(|line| {
        let (_, rest) = line.split_once("the clock says ")?;
        rest.trim().parse().ok()
    });
    said.unwrap_or_else(|| panic!("no clock in the log of {recipe}:\n{log}"))
}

#[test]
fn the_four_real_upstreams_are_the_same_bytes_for_another_user_on_one_core_a_day_later() {
    let Some(mirror) = shared("data/upstreams") else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    std::fs::set_permissions(work.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let today = repository(work.path(), 0);
    let tomorrow = repository(work.path(), 86_400);
    let one = Farm::with_mirror(&mirror);
    let other = Farm::with(elsewhere(work.path(), &mirror));
    one.ok(&["project", "add", "real", &today.url()]);
    other.ok(&["project", "add", "real", &tomorrow.url()]);
    let (here, there) = (all_published(&one), all_published(&other));
    assert!(here.len() >= 10, "{here:#?}");
    assert_eq!(here, there);
    for dir in FOUR {
        let late = clock(&other, &dir[2..]).saturating_sub(clock(&one, &dir[2..]));
        assert!((80_000..90_000).contains(&late), "{dir} was {late} s late");
    }
    for farm in [&one, &other] {
        let nano = farm.json(&["package", "show", "nano"]).to_string();
        assert!(nano.contains("soname(libncursesw.so.6(x86_64))"), "{nano}");
        assert!(!nano.contains("libtinfo"), "{nano}");
        farm.check_served();
    }
}
