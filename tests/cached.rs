//! Compiler caches: a profile that asks for one, what it serves, where it never does, and a builder that has none.

use serde_json::Value;

use crate::common::farm::Farm;
use crate::common::repo::Repo;
use crate::ring::script_recipe;

/// A recipe that compiles two files.
fn compiles(name: &str, release: u64) -> String {
    let build = "\
build       : |
    for i in 1 2; do
        echo 'int number(int i) { return i + SUMMAND; }' > $i.c
        ${CC} ${CFLAGS} -DSUMMAND=$i -c -o $i.o $i.c
    done
    cat 1.o 2.o > both
";
    let text = script_recipe(name, release, build);
    format!("{text}    cp both %(installroot)%(datadir)/{name}/both\n")
}

fn has_ccache() -> bool {
    let has = std::path::Path::new("/usr/bin/ccache").exists();
    assert!(has || std::env::var_os("CI").is_none(), "ccache is missing");
    if !has {
        println!("skipped: there is no ccache here");
    }
    has
}

/// The cache of the only builder, once it says so many compilations.
fn cache(farm: &Farm, all: u64) -> Value {
    let builders = farm.until(&["builder", "list"], |builders| {
        let cache = &builders[0]["caches"][0];
        let count = |name: &str| cache[name].as_u64().unwrap_or(0);
        count("hits") + count("misses") >= all && cache.is_object()
    });
    builders[0]["caches"][0].clone()
}

#[test]
fn a_compiler_cache_serves_the_second_build_and_never_a_comparison() {
    if !has_ccache() {
        return;
    }
    let mut repo = Repo::new();
    repo.write("a/alpha/stone.yaml", compiles("alpha", 1));
    repo.commit("Add alpha");
    let farm = Farm::start();
    let add = ["profile", "add", "default", "--compiler-cache"];
    let with = |more: &[&'static str]| [&add[..], more].concat();
    assert!(farm.code(2, &with(&["sccache"])).contains("use ccache"));
    assert!(
        farm.code(2, &with(&["ccache", "--compiler-cache-mib", "1"]))
            .contains("64 MiB")
    );
    let said = farm.ok(&with(&["ccache", "--compiler-cache-mib", "100"]));
    assert!(said.contains("ccache, 100 MiB in each slot"), "{said}");
    let shown = farm.json(&["profile", "show", "default"]);
    assert_eq!(
        (&shown["compiler_cache"], &shown["compiler_cache_bytes"]),
        (&"ccache".into(), &(100_u64 << 20).into()),
        "{shown:#}"
    );
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("alpha");
    let first = cache(&farm, 2);
    assert_eq!((&first["hits"], &first["misses"]), (&0.into(), &2.into()));
    farm.ok(&["build", "alpha", "--rebuild", "--wait"]);
    let second = cache(&farm, 4);
    assert_eq!(
        (&second["hits"], &second["misses"]),
        (&2.into(), &2.into()),
        "{second:#}"
    );
    assert_eq!(second["hit_rate"], 0.5, "{second:#}");
    assert_eq!(second["bytes_max"], 100_u64 << 20);
    assert_eq!(second["directory"], "caches/default.*");
    assert!(second["bytes"].as_u64().unwrap() > 0, "{second:#}");
    let name = farm.json(&["builder", "list"])[0]["name"].clone();
    let shown = farm.ok(&["builder", "show", name.as_str().unwrap()]);
    assert!(
        shown.contains("ccache for default: served 50 % of 4 compilations")
            && shown.contains("in each slot, below caches/default.*"),
        "{shown}"
    );
    let log = farm.ok(&["job", "log", "alpha"]);
    assert!(log.contains("ccache served 2 of 2 compilations"), "{log}");
    // What the cache gave is what a compiler makes: the comparison compiled it itself.
    let made = farm.json(&["compare", "alpha"]);
    assert_eq!(made["level"], "same", "{made:#}");
    assert_eq!(cache(&farm, 4), second);
    // Its own directory for profile, trust and slot.
    let dirs: Vec<_> = std::fs::read_dir(farm.dir().join("caches"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert!(
        dirs.iter().all(|name| name.starts_with("default.trusted.")) && !dirs.is_empty(),
        "{dirs:?}"
    );
    farm.ok(&["store", "check"]);
}

/// A recipe that writes down which compiler it has found, and compiles with nothing in its environment as well.
fn records(name: &str) -> String {
    let found = format!(
        "    for name in cc gcc g++; do command -v $name; done > %(installroot)%(datadir)/{name}/compilers\n    \
env -i PATH=/usr/bin gcc -c 1.c -DSUMMAND=7 -o env.o\n    cp env.o %(installroot)%(datadir)/{name}/\n"
    );
    format!("{}{found}", compiles(name, 1))
}

#[test]
fn what_writes_down_the_path_of_its_compiler_comes_out_the_same_without_a_cache() {
    if !has_ccache() {
        return;
    }
    let mut repo = Repo::new();
    repo.write("a/alpha/stone.yaml", records("alpha"));
    repo.commit("Add alpha");
    let farm = Farm::start();
    // On this machine it may be a link to its version; on others it is the program.
    let bin = farm.mask().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let gcc = std::fs::canonicalize("/usr/bin/gcc").unwrap();
    std::fs::copy(gcc, bin.join("gcc")).unwrap();
    farm.ok(&["profile", "add", "default", "--compiler-cache", "ccache"]);
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("alpha");
    // The call with an empty environment asked the cache too.
    cache(&farm, 3);
    let made = farm.json(&["compare", "alpha"]);
    assert_eq!(made["level"], "same", "{made:#}");
    let log = farm.ok(&["job", "log", "alpha"]);
    assert!(log.contains("ccache served 0 of 3 compilations"), "{log}");
}

/// Hides a program from a farm's builds over base `host`.
fn hide(farm: &Farm, program: &str) {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let bin = farm.mask().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let at = bin.join(program);
    mknod(&at, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)).unwrap();
}

#[test]
fn a_build_root_without_the_program_says_so_and_builds_all_the_same() {
    let mut repo = Repo::new();
    repo.write("a/alpha/stone.yaml", compiles("alpha", 1));
    repo.commit("Add alpha");
    let farm = Farm::start();
    farm.ok(&["profile", "add", "default", "--compiler-cache", "ccache"]);
    // What is not on this machine need not be hidden.
    hide(&farm, "ccache");
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("alpha");
    let log = farm.ok(&["job", "log", "alpha"]);
    assert!(
        log.contains("asks for ccache, which this build root does not have"),
        "{log}"
    );
    let builders = farm.until(&["builder", "list"], |all| all[0]["caches"][0].is_object());
    assert_eq!(builders[0]["caches"][0]["present"], false, "{builders:#}");
}
