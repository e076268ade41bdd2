//! Tests of `yaml`.

use proptest::prelude::*;

use super::*;
use crate::fault::Kind;
use crate::recipe::types::Upstream;

const RECIPE: &str =
    "name: a\nversion: 1.10\nrelease: 3\nhomepage: h\nlicense: MIT\nsummary: s\ndescription: d\n";

fn parse(text: &str) -> Result<(Recipe, Vec<Fault>)> {
    Recipe::parse(text, "a/stone.yaml")
}

fn with(more: &str) -> (Recipe, Vec<Fault>) {
    parse(&format!("{RECIPE}{more}")).unwrap()
}

#[test]
fn a_version_keeps_its_source_text() {
    for version in ["1.10", "\"1.10\"", "'1.10'", "1.10 # a comment"] {
        let text = RECIPE.replace("1.10", version);
        assert_eq!(parse(&text).unwrap().0.version, "1.10");
    }
    assert_eq!(
        parse(&RECIPE.replace("1.10", "2024_01")).unwrap().0.version,
        "2024_01"
    );
}

#[test]
#[rustfmt::skip]
fn faults_say_where_and_what_to_do() {
    let good = "a".repeat(64);
    for (change, told) in [
        (("version: 1.10\n", ""), "a/stone.yaml:1:1: version is missing; add a line `version : ...`"),
        (("release: 3", "relese: 3"), "a/stone.yaml:3:1: release is missing; is `relese` meant to be `release`?"),
        (("release: 3", "release:"), "a/stone.yaml:3:1: release has no value; write `release : ...`"),
        (("1.10", "v1.10"), "a/stone.yaml:2:10: version \"v1.10\" does not start with a digit; drop the letters before the number"),
        (("release: 3", "release: 0"), "a/stone.yaml:3:10: release \"0\" is not a whole number from 1 on; start with 1 and add 1 for every change"),
        (("release: 3", "release: [3]"), "a/stone.yaml:3:10: release is a list, not a text; write `release : text`"),
        (("name: a", "name: a/b"), "a/stone.yaml:1:7: name: \"a/b\" is not a recipe name (letters, digits, - _ . +); rename the recipe"),
        (("summary: s", "summary: s\nbuilddeps: zlib"), "a/stone.yaml:7:12: builddeps is a text, not a list; write each item of builddeps on a line of its own behind a dash"),
        (("summary: s", "summary: s\nbuilddeps:\n    - binary(x"), "a/stone.yaml:8:7: builddeps: \"binary(x\" is not a dependency (NAME or one of name soname pkgconfig interpreter cmake python binary sysbinary pkgconfig32 with (NAME)); write a package name, or pkgconfig(NAME), cmake(NAME), binary(NAME)"),
        (("summary: s", "summary: s\nsummary: t"), "a/stone.yaml:7:1: summary is given twice; keep one of the two"),
        (("summary: s", "summary: s\ntoolchain: gcc"), "a/stone.yaml:7:12: toolchain is neither llvm nor gnu; write gnu for gcc and binutils, or leave the key out"),
        (("summary: s", "summary: s\nemul32: maybe"), "a/stone.yaml:7:9: emul32 is neither true nor false; write `emul32 : true` or `emul32 : false`"),
        (("summary: s", "summary: s\ntuning:\n    - optimise"), "a/stone.yaml:8:7: unknown tuning group optimise; did you mean optimize?"),
        (("summary: s", "summary: s\nupstreams:\n    - https://x/y.tar.gz : abc"), "a/stone.yaml:8:28: \"abc\" is not a SHA-256 (64 lower-case hexadecimal digits); take it from `sha256sum FILE`"),
        (("summary: s", "summary: s\nupstreams:\n    - git|https://x/y : main"), "a/stone.yaml:8:25: ref \"main\" is not a full commit id; a tag or branch can move: write what `git ls-remote https://x/y main` says, 40 digits"),
        (("summary: s", &format!("summary: s\nupstreams:\n    - https://x/y :\n        hash: {good}\n        unpackdir: ../z")), "a/stone.yaml:10:20: \"../z\" is not a directory below the build root; write a relative path without `..`"),
        (("summary: s", "summary: s\nrundeps-exclude:\n    - name("), "a/stone.yaml:8:7: rundeps-exclude: \"name(\" is not a regular expression: regex parse error:\n    name(\n        ^\nerror: unclosed group; escape parentheses and dots with a backslash"),
        (("summary: s", "summary: s\n  packages:"), "a/stone.yaml:7:11: this is not YAML: mapping values are not allowed in this context; check the indentation and the quotes there and on the line before"),
    ] {
        let fault = parse(&RECIPE.replacen(change.0, change.1, 1)).unwrap_err();
        assert_eq!(fault.kind, Kind::Recipe);
        assert_eq!(fault.to_string(), told);
    }
    assert_eq!(parse("").unwrap_err().what, "the recipe is empty");
    assert_eq!(parse("- a").unwrap_err().what, "the recipe is a list, not a map");
}

#[test]
fn unknown_keys_are_told_with_the_nearest_and_ignored() {
    let (_, warnings) =
        with("buildeps:\n    - zlib\npackages:\n    - a-libs:\n        path:\n            - /x\n");
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "a/stone.yaml:8:1: unknown key buildeps, ignored; did you mean builddeps?",
            "a/stone.yaml:12:9: unknown key path, ignored; did you mean paths?",
        ]
    );
}

#[test]
fn upstreams_have_many_forms() {
    let (h, c) = ("a".repeat(64), "b".repeat(40));
    let (recipe, warnings) = with(&format!(
        "upstreams:\n    - https://x/a-1.tar.gz?q=1 : {h}\n    - https://x/b.zip :\n        hash : {h}\n        rename: c.zip\n        unpack: \"false\"\n        stripdirs: 0\n    - git|https://x/d.git : {c}\n    - git|https://x/e:\n        ref: {c} # v1\n        clonedir: f/g\n"
    ));
    assert!(warnings.is_empty());
    let seen: Vec<String> = recipe
        .upstreams
        .iter()
        .map(|upstream| match upstream {
            Upstream::Archive(a) => format!(
                "{} {} {} {}",
                a.file_name, a.strip_dirs, a.unpack, a.directory
            ),
            Upstream::Git(g) => format!("{} {} {}", g.url, g.file_name, g.directory),
        })
        .collect();
    assert_eq!(
        seen,
        [
            "a-1.tar.gz 1 true a-1.tar.gz",
            "c.zip 0 false c.zip",
            "https://x/d.git d.git d.git",
            "https://x/e e f/g"
        ]
    );
    assert_eq!(recipe.work_directory(), "a-1.tar.gz");
}

#[test]
fn packages_keep_their_order_and_know_the_definitions() {
    let (recipe, _) = with(
        "packages:\n    - \"%(name)-libs\":\n        summary: Libraries of %(name)\n        paths:\n            - /usr/lib/*.so.*\n            - /usr/bin/x: exe\n        rundeps:\n            - \"%(name)\"\n    - b:\n    - \"%(name)-libs\":\n        paths: [\"%(libdir)/y\"]\n",
    );
    let names: Vec<&str> = recipe
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(names, ["a-libs", "b", "a-libs"]);
    assert_eq!(
        recipe.packages[0].summary.as_deref(),
        Some("Libraries of a")
    );
    assert_eq!(recipe.packages[0].paths[1].kind, PathKind::Exe);
    assert_eq!(recipe.packages[2].paths[0].glob, "/usr/lib/y");
    assert_eq!(recipe.packages[0].run_deps[0].to_string(), "name(a)");
}

#[test]
fn tuning_has_three_forms_and_options_two() {
    let (recipe, warnings) = with(
        "tuning:\n    - lto: full\n    - nosemantic\n    - harden: false\nnetworking: \"true\"\nstrip: false\n",
    );
    let seen: Vec<&Setting> = recipe.tuning.iter().map(|switch| &switch.setting).collect();
    assert_eq!(
        seen,
        [&Setting::Choice("full".into()), &Setting::On, &Setting::Off]
    );
    assert!(recipe.options.networking && !recipe.options.strip && recipe.options.debug);
    assert!(warnings.is_empty());
}

#[test]
fn scripts_know_their_first_line() {
    let (recipe, _) = with("setup: |\n\n    true\nbuild: make\ninstall:\n");
    let line = |script: &Option<Script>| script.as_ref().map(|script| script.line);
    assert_eq!(line(&recipe.steps.setup), Some(9));
    assert_eq!(line(&recipe.steps.build), Some(11));
    assert_eq!(line(&recipe.steps.install), None);
}

#[test]
fn bombs_end_in_a_fault() {
    let mut laughs = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for pair in ["ab", "bc", "cd", "de", "ef", "fg"] {
        let (from, to) = pair.split_at(1);
        laughs.push_str(&format!(
            "{to}: &{to} [{}]\n",
            vec![format!("*{from}"); 9].join(", ")
        ));
    }
    assert_eq!(
        parse(&laughs).unwrap_err().what,
        "the recipe holds too many values"
    );
    let mut nested = String::from("a: &a [[[[[[[[]]]]]]]]\n");
    for pair in ["ab", "bc", "cd", "de"] {
        let (from, to) = pair.split_at(1);
        nested.push_str(&format!("{to}: &{to} [[[[[[[[*{from}]]]]]]]]\n"));
    }
    assert_eq!(
        parse(&nested).unwrap_err().what,
        "lists and maps are nested too deeply"
    );
    assert!(parse(&"[".repeat(10_000)).is_err());
    assert!(parse(&"x".repeat(limit::RECIPE_BYTES_MAX + 1)).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(name|version|packages|- |: |\\||%\\(|[a-z&*\\[\\]{}\"'#\n \t-]){0,80}") {
        let whole = format!("{RECIPE}{text}");
        for text in [text, whole] {
            if let Ok((recipe, warnings)) = parse(&text) {
                let facts = crate::recipe::facts(&recipe, None, warnings);
                prop_assert!(facts.is_ok() || facts.is_err());
            }
        }
    }
}
