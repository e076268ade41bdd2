//! Tests of `macros`.

use super::*;

fn macros() -> Macros {
    let mut macros = Macros::default();
    macros.define("name", "nano");
    macros.define("version", "8.7%.1");
    macros.define("jobs", "4");
    macros
}

fn expand(text: &str) -> Result<String> {
    let script = Script {
        text: text.into(),
        line: 20,
    };
    macros().script(&script, "n/nano/stone.yaml", &mut BTreeSet::new())
}

#[test]
fn the_table_is_in_order_and_calls_only_what_it_holds() {
    assert!(ACTIONS.is_sorted_by(|a, b| a.name < b.name));
    assert!(DEFINITIONS.is_sorted_by(|a, b| a.0 < b.0));
    assert!(DYNAMIC.is_sorted());
    let mut all = macros();
    for name in DYNAMIC {
        all.define(name, "x");
    }
    for action in ACTIONS {
        let script = Script {
            text: format!("%{}", action.name),
            line: 1,
        };
        let text = all.script(&script, "x", &mut BTreeSet::new()).unwrap();
        assert!(
            !text.contains('%') && !text.contains('\n'),
            "{}: {text}",
            action.name
        );
        for need in action.needs {
            assert!(need.parse::<crate::stone::Dependency>().is_ok(), "{need}");
        }
        for function in action.functions {
            assert!(FUNCTIONS.iter().any(|(name, _)| name == function));
        }
    }
    for (name, _) in DEFINITIONS {
        assert!(all.value(name).is_ok(), "{name}");
    }
}

#[test]
#[rustfmt::skip]
fn actions_become_the_commands_that_people_expect() {
    for (script, expected) in [
        ("%make check || :", r#"make VERBOSE=1 V=1 -j "4" check || :"#),
        ("%make_install PREFIX=/usr", r#"make VERBOSE=1 V=1 -j "4" install DESTDIR="/mason/install" PREFIX=/usr"#),
        ("%patch %(pkgdir)/a.patch -p2", "patch --forward --no-backup-if-mismatch -p1 -i /mason/recipe/pkg/a.patch -p2"),
        ("%cmake_build --target check", r#"cmake --build "${BUILDDIR:-massif-builddir}" --verbose --parallel "4" --target check"#),
        ("%cmake_install", r#"DESTDIR="/mason/install" cmake --install "${BUILDDIR:-massif-builddir}" --verbose"#),
        ("%meson_install", r#"DESTDIR="/mason/install" meson install --no-rebuild -C "${BUILDDIR:-massif-builddir}""#),
        ("RUST_BACKTRACE=1 nice %cargo_build -p a", r#"RUST_BACKTRACE=1 nice cargo build --verbose -j "4" --frozen --release --target x86_64-unknown-linux-gnu -p a"#),
        ("%cargo_install rg", r#"cargo_install "target/x86_64-unknown-linux-gnu/release" "nano" "/mason/install/usr/bin" rg"#),
        ("%pyproject_build", "python3 -m build --wheel --no-isolation"),
        ("%pyproject_install", r#"python3 -m installer --destdir="/mason/install" dist/*.whl"#),
        ("%install_bin a", r#"install -Dm00755 -t "/mason/install/usr/bin" a"#),
        ("%install_file a -t %(installroot)%(mandir)", "install -Dm00644 a -t /mason/install/usr/share/man"),
        ("%install_dir %(vendordir)", "install -dm00755 /usr/share/defaults"),
        ("%tmpfiles \"d /run/x\"", r#"append_line "/mason/install/usr/lib/tmpfiles.d/nano.conf" "d /run/x""#),
        ("%reconfigure_with_bash --x", "autoreconf --verbose --force --install; CONFIG_SHELL=\"$(command -v bash)\" ./configure --prefix=/usr --bindir=/usr/bin --sbindir=/usr/sbin --build=x86_64-aerynos-linux --host=x86_64-aerynos-linux --libdir=/usr/lib --mandir=/usr/share/man --infodir=/usr/share/info --datadir=/usr/share --sysconfdir=/etc --localstatedir=/var --sharedstatedir=/var/lib --libexecdir=/usr/lib/nano --x"),
        // What is no macro stays; a version is text and not expanded again.
        ("${f%%.so} ${f%.gz} 100 % ${x%/*} %(not this)", "${f%.so} ${f%.gz} 100 % ${x%/*} %(not this)"),
        ("%(_version) %(version)%(libsuffix)-", "8.7%.1 8.7%.1-"),
    ] {
        assert_eq!(expand(script).as_deref(), Ok(expected), "{script}");
    }
    let meson = expand("%meson -Da=b").unwrap();
    assert!(meson.starts_with("meson setup --buildtype=plain --wrap-mode=nodownload --prefix=/usr"));
    assert!(meson.ends_with(" \"${BUILDDIR:-massif-builddir}\" -Da=b"));
    let cmake = expand("%cmake_kf6 -DX=1").unwrap();
    assert!(cmake.contains("-DCMAKE_C_FLAGS_RELEASE=-DNDEBUG") && cmake.ends_with(" -DX=1"));
}

#[test]
fn unknown_macros_are_named_with_their_line_and_the_nearest() {
    for (script, told) in [
        (
            "\n%cmake_biuld",
            "n/nano/stone.yaml:21: unknown action %cmake_biuld; did you mean %cmake_build? a literal percent sign is %%",
        ),
        (
            "a\nb\n%(libdri)",
            "n/nano/stone.yaml:22: unknown definition %(libdri); did you mean %(libdir)?",
        ),
        (
            "printf '%s'",
            "n/nano/stone.yaml:20: unknown action %s; a literal percent sign is written %%, so %%s",
        ),
    ] {
        assert_eq!(expand(script).unwrap_err().to_string(), told);
        let script = Script {
            text: script.into(),
            line: 20,
        };
        assert_eq!(
            actions_in(&script, "n/nano/stone.yaml")
                .unwrap_err()
                .to_string(),
            told
        );
    }
}

#[test]
fn actions_called_by_actions_count() {
    let script = Script {
        text: "env A=b %cmake_kf6".into(),
        line: 1,
    };
    let found: Vec<&str> = actions_in(&script, "x").unwrap().into_iter().collect();
    assert_eq!(found, ["cmake", "cmake_kf6"]);
}

#[test]
fn package_fields_know_definitions_only() {
    assert_eq!(
        macros().field("%(name)-devel at 100%free").unwrap(),
        "nano-devel at 100%free"
    );
    assert!(macros().field("%(nome)").is_err());
}
