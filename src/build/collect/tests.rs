//! Tests of `collect`.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use serde_json::Value;

use super::*;
use crate::recipe::tests::shared;

const RECIPE: &str = "name: a\nversion: 1.0\nrelease: 2\nhomepage: h\nlicense: [MIT, 0BSD]\nsummary: s\ndescription: d\n";

/// An install root that is filled file by file.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Root {
        Root(tempfile::tempdir().unwrap())
    }

    fn at(&self, path: &str) -> PathBuf {
        let whole = self.0.path().join(path);
        std::fs::create_dir_all(whole.parent().unwrap()).unwrap();
        whole
    }

    fn file(&self, path: &str, text: &str, mode: u32) {
        let whole = self.at(path);
        std::fs::write(&whole, text).unwrap();
        std::fs::set_permissions(&whole, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn link(&self, path: &str, to: &str) {
        symlink(to, self.at(path)).unwrap();
    }

    /// A program or, with a soname, a shared library; the machine's own compiler makes it.
    fn elf(&self, path: &str, arguments: &[&str]) {
        let source = self.0.path().with_extension("c");
        std::fs::write(
            &source,
            "int puts(const char*);int main(void){return puts(\"x\");}",
        )
        .unwrap();
        let whole = self.at(path);
        let done = Command::new("cc")
            .arg(&source)
            .arg("-o")
            .arg(&whole)
            .args(arguments)
            .status();
        assert!(done.unwrap().success());
        std::fs::remove_file(source).unwrap();
    }

    fn collect(&self, more: &str) -> Collected {
        let (recipe, _) = Recipe::parse(&format!("{RECIPE}{more}"), "a/stone.yaml").unwrap();
        collect(&recipe, self.0.path(), &[], Arch::X86_64, 7, &|| ()).unwrap()
    }
}

fn package<'c>(collected: &'c Collected, name: &str) -> &'c Ready {
    collected
        .packages
        .iter()
        .find(|package| package.meta.name == name)
        .unwrap()
}

fn texts(dependencies: &[Dependency]) -> Vec<String> {
    dependencies.iter().map(ToString::to_string).collect()
}

#[test]
fn layouts_hold_what_the_format_wants() {
    let root = Root::new();
    root.file("usr/bin/b", "x", 0o755);
    root.file("usr/bin/su", "x", 0o4755);
    root.link("usr/bin/a", "b");
    root.file("usr/share/z/f", "", 0o600);
    std::fs::set_permissions(root.at("usr/share/z"), PermissionsExt::from_mode(0o750)).unwrap();
    std::fs::create_dir_all(root.at("usr/share/empty/inner")).unwrap();
    root.file("etc/a.conf", "x", 0o644);
    let collected = root.collect("");
    let package = package(&collected, "a");
    let seen: Vec<String> = package
        .layout
        .iter()
        .map(|entry| {
            format!(
                "{} {:o} {}:{}",
                entry.path, entry.mode, entry.uid, entry.gid
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            "bin/a 120777 0:0",
            "bin/b 100755 0:0",
            "bin/su 104755 0:0",
            "share/empty/inner 40755 0:0",
            "share/z/f 100600 0:0",
            "share/z 40750 0:0",
        ]
    );
    // `b` and `su` hold the same bytes.
    assert_eq!(package.files.len(), 2);
    assert_eq!(
        texts(&package.meta.provides),
        ["binary(a)", "binary(b)", "binary(su)"]
    );
    assert_eq!(package.meta.licenses, ["0BSD", "MIT"]);
    assert_eq!(package.meta.build_release, 7);
    assert_eq!(
        collected.warnings,
        ["/etc/a.conf is outside /usr and not packaged"]
    );
}

#[test]
fn packages_say_what_their_files_provide_and_need() {
    let root = Root::new();
    root.elf(
        "usr/lib/a/libin.so.1.2",
        &["-shared", "-fPIC", "-Wl,-soname,libin.so.1"],
    );
    root.link("usr/lib/a/libin.so.1", "libin.so.1.2");
    root.elf("usr/lib/plug.so", &["-shared", "-fPIC"]);
    let library = root.at("usr/lib/a/libin.so.1").display().to_string();
    root.elf(
        "usr/bin/a",
        &[
            "-Wl,--no-as-needed",
            &library,
            "-Wl,-rpath,$ORIGIN/../lib/a",
        ],
    );
    root.file(
        "usr/lib/pkgconfig/a.pc",
        "Requires: a b >= 1\nRequires.private: c\n",
        0o644,
    );
    root.file("usr/lib/cmake/A/AConfig.cmake", "", 0o644);
    root.file("usr/lib/cmake/A/a-b-config.cmake", "", 0o644);
    root.file(
        "usr/lib/python3.11/site-packages/A_b.dist-info/METADATA",
        "Name: A_b\nRequires-Dist: six\n\n",
        0o644,
    );
    root.file("usr/sbin/ad", "#!/usr/bin/perl\n", 0o755);
    let collected = root.collect(
        "rundeps: [binary(dash), name(a)]\nrundeps-exclude: ['^interpreter']\nbuilddeps: [pkgconfig(z), binary(q), autoconf]\ncheckdeps: [binary(q)]\npackages:\n    - \"%(name)-libs\":\n        provides-exclude: ['plug']\n        paths: [/usr/lib/*.so*]\n",
    );
    let main = package(&collected, "a");
    assert_eq!(
        texts(&main.meta.provides),
        ["binary(a)", "python(a-b)", "sysbinary(ad)"]
    );
    assert_eq!(
        texts(&main.meta.depends),
        [
            "binary(dash)",
            "python(six)",
            "soname(a/libin.so.1(x86_64))",
            "soname(libc.so.6(x86_64))"
        ]
    );
    let asked: Vec<String> = main
        .meta
        .build_depends
        .iter()
        .map(Dependency::in_recipe_words)
        .collect();
    assert_eq!(asked, ["autoconf", "binary(q)", "pkgconfig(z)"]);
    let devel = package(&collected, "a-devel");
    assert_eq!(
        texts(&devel.meta.provides),
        ["cmake(A)", "cmake(a-b)", "pkgconfig(a)"]
    );
    assert_eq!(
        texts(&devel.meta.depends),
        ["name(a)", "pkgconfig(b)", "pkgconfig(c)"]
    );
    assert_eq!(devel.meta.summary, "Development files for a");
    let libs = package(&collected, "a-libs");
    assert_eq!(texts(&libs.meta.provides), ["soname(a/libin.so.1(x86_64))"]);
    assert_eq!(libs.meta.summary, "s");
}

#[test]
fn empty_packages_are_not_made_and_told_when_they_wanted_files() {
    let root = Root::new();
    root.file("usr/bin/x", "", 0o755);
    let collected = root.collect("packages:\n    - b:\n        paths: [/usr/bin]\n    - c:\n        paths: [/usr/no]\n    - d:\n        rundeps: [x]\n");
    let names: Vec<&str> = collected
        .packages
        .iter()
        .map(|p| p.meta.name.as_str())
        .collect();
    assert_eq!(names, ["b"]);
    assert_eq!(
        collected.warnings,
        ["package c has no files and is not made"]
    );
}

#[test]
fn links_out_of_the_install_root_are_not_followed() {
    let root = Root::new();
    root.link("usr/share/host", "/etc");
    root.link(
        "usr/lib/python3.11/site-packages/x.dist-info/METADATA",
        "/etc/passwd",
    );
    let collected = root.collect("");
    assert_eq!(package(&collected, "a").layout.len(), 2);
    assert!(package(&collected, "a").files.is_empty());
}

/// The real tool's result, file by file: a root with the same paths must fall into the same packages.
#[test]
fn the_files_of_the_reference_fall_into_the_same_packages() {
    let Some(shared) = shared() else { return };
    for name in ["hello", "xz"] {
        let dir = shared.join("data/reference").join(name);
        let expected = std::fs::read_to_string(dir.join("expected.json")).unwrap();
        let expected: BTreeMap<String, Value> = serde_json::from_str(&expected).unwrap();
        let root = Root::new();
        for (path, kind, _) in expected.values().flat_map(files) {
            match path.as_str() {
                "lib/liblzma.so.5.4.1" => root.elf(
                    "usr/lib/liblzma.so.5.4.1",
                    &["-shared", "-fPIC", "-Wl,-soname,liblzma.so.5"],
                ),
                "bin/hello" | "bin/lzmadec" | "bin/lzmainfo" => {
                    root.elf(&format!("usr/{path}"), &[])
                }
                "bin/xz" | "bin/xzdec" => {
                    let library = root.at("usr/lib/liblzma.so.5.4.1");
                    if !library.exists() {
                        root.elf(
                            "usr/lib/liblzma.so.5.4.1",
                            &["-shared", "-fPIC", "-Wl,-soname,liblzma.so.5"],
                        );
                    }
                    root.elf(
                        &format!("usr/{path}"),
                        &["-Wl,--no-as-needed", library.to_str().unwrap()],
                    );
                }
                _ if kind == "symlink" => root.link(&format!("usr/{path}"), "x"),
                _ => root.file(&format!("usr/{path}"), &path, 0o644),
            }
        }
        let text = std::fs::read_to_string(dir.join("stone.yaml")).unwrap();
        let (recipe, _) = Recipe::parse(&text, name).unwrap();
        let collected = collect(&recipe, root.0.path(), &[], Arch::X86_64, 1, &|| ()).unwrap();
        let names: Vec<&String> = collected.packages.iter().map(|p| &p.meta.name).collect();
        assert_eq!(names, Vec::from_iter(expected.keys()));
        for package in &collected.packages {
            let wanted = &expected[&package.meta.name];
            let plain = |list: &[String]| -> Vec<String> {
                list.iter()
                    .filter(|text| !text.starts_with("interpreter("))
                    .cloned()
                    .collect()
            };
            for (key, found) in [
                ("provides", &package.meta.provides),
                ("depends", &package.meta.depends),
            ] {
                let list: Vec<String> = serde_json::from_value(wanted[key].clone()).unwrap();
                assert_eq!(
                    plain(&texts(found)),
                    plain(&list),
                    "{} {key}",
                    package.meta.name
                );
            }
            let mut found: Vec<&str> = package
                .layout
                .iter()
                .map(|entry| entry.path.as_str())
                .collect();
            found.sort_unstable();
            let paths: Vec<String> = files(wanted).into_iter().map(|(path, _, _)| path).collect();
            assert_eq!(found, paths);
        }
    }
}

fn files(package: &Value) -> Vec<(String, String, String)> {
    serde_json::from_value(package["files"].clone()).unwrap()
}

/// What does not come from files, held beside the manifests of a real distribution: texts, licences, what the recipe
/// and the templates say is needed, what was asked for to build.
#[test]
fn metadata_is_what_the_manifests_of_a_distribution_say() {
    let Some(shared) = shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (mut same, mut wrong) = (0, Vec::new());
    for (file, text) in crate::recipe::tests::recipes(dir.path(), &shared) {
        let manifest = dir.path().join(&file).with_file_name("manifest.x86_64.bin");
        let (Ok((recipe, _)), Ok(bytes)) = (Recipe::parse(&text, &file), std::fs::read(manifest))
        else {
            continue;
        };
        let around = Surroundings {
            install: dir.path().to_owned(),
            beside: Vec::new(),
        };
        for theirs in crate::stone::manifest::read(&bytes).unwrap() {
            if theirs.release != recipe.release || theirs.version != recipe.version {
                continue;
            }
            let ours = meta(
                &recipe,
                &theirs.name,
                &[],
                &around,
                (Arch::X86_64, 0),
                &|| (),
            )
            .unwrap();
            let lacking: Vec<&Dependency> = ours
                .depends
                .iter()
                .filter(|need| !theirs.depends.contains(need) && !theirs.provides.contains(need))
                .collect();
            let ours = Meta {
                depends: theirs.depends.clone(),
                provides: theirs.provides.clone(),
                ..ours.clone()
            };
            if ours == theirs && lacking.is_empty() {
                same += 1;
            } else {
                wrong.push(format!("{} {lacking:?}", theirs.name));
            }
        }
    }
    // Recipes edited after their manifest was made, without a new release: licences of libcap, `docbook` asked for by
    // seven, blanks at the ends of lines removed, descriptions reworded.
    assert_eq!((same, wrong.len()), (3462, 32), "{}", wrong.join("\n"));
    assert!(
        wrong.iter().all(|line| line.ends_with(" []")),
        "{}",
        wrong.join("\n")
    );
}
