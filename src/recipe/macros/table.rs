//! The one table of macros: every action and definition that a recipe's scripts may call, in the order of the alphabet.
//!
//! An action's text is one shell line, so that it also works behind `env`, `nice`, `find -exec`, in a pipe and in a
//! comment; words that follow it in the recipe become arguments of its last command. What needs more than a line is a
//! function that the script's head defines when an action uses it. Everything runs under errexit, pipefail, nounset.

/// `%name` in a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// The word behind the percent sign.
    pub name: &'static str,
    /// What stands in its place; may call definitions and other actions. Lines are joined by spaces.
    pub text: &'static str,
    /// Dependency texts that a recipe needs to build when a phase calls it.
    pub needs: &'static [&'static str],
    /// Shell functions that its text calls, by their name in `FUNCTIONS`.
    pub functions: &'static [&'static str],
}

const fn action(name: &'static str, text: &'static str, needs: &'static [&'static str]) -> Action {
    Action {
        name,
        text,
        needs,
        functions: &[],
    }
}

const fn calling(
    name: &'static str,
    text: &'static str,
    needs: &'static [&'static str],
    functions: &'static [&'static str],
) -> Action {
    Action {
        name,
        text,
        needs,
        functions,
    }
}

const AUTOTOOLS: &[&str] = &["binary(autoconf)", "binary(automake)"];
const AUTORECONF: &[&str] = &["binary(autoconf)", "binary(automake)", "binary(autopoint)"];
const CMAKE: &[&str] = &["binary(cmake)", "binary(ninja)"];
const KF6: &[&str] = &["binary(cmake)", "binary(ninja)", "cmake(ECM)", "cmake(Qt6)"];
const MESON: &[&str] = &["binary(cmake)", "binary(meson)", "binary(pkgconf)"];
const PYTHON: &[&str] = &["binary(python3)", "python(setuptools)"];

/// Every action.
#[rustfmt::skip]
pub const ACTIONS: &[Action] = &[
    action("autogen", "NOCONFIGURE=1 ./autogen.sh; %configure", AUTORECONF),
    action("autogen_with_bash", "NOCONFIGURE=1 bash ./autogen.sh; %configure_with_bash", AUTORECONF),
    action("bazel_build", r#"bazel build --jobs="%(jobs)" --verbose_failures"#, &["binary(bazel)"]),
    action("bazel_fetch", "bazel fetch", &["binary(bazel)"]),
    action("cargo_build", r#"cargo build --verbose -j "%(jobs)" %(options_cargo_release)"#, &["binary(cargo)"]),
    action("cargo_fetch", "cargo fetch --verbose --locked", &["binary(cargo)"]),
    calling("cargo_install", r#"cargo_install "%(cargo_target_dir)" "%(name)" "%(installroot)%(bindir)""#, &["binary(cargo)"], &["cargo_install"]),
    action("cargo_test", r#"cargo test --verbose -j "%(jobs)" %(options_cargo_release) --workspace"#, &["binary(cargo)"]),
    // There is no compiler cache in our build roots: identical inputs are not built twice in the first place.
    action("ccache_stats", ":", &[]),
    action("ccache_zero", ":", &[]),
    action("cmake", r#"cmake -B "${BUILDDIR:-%(builddir)}" %(options_cmake)"#, CMAKE),
    action("cmake_build", r#"cmake --build "${BUILDDIR:-%(builddir)}" --verbose --parallel "%(jobs)""#, CMAKE),
    action("cmake_install", r#"DESTDIR="%(installroot)" cmake --install "${BUILDDIR:-%(builddir)}" --verbose"#, CMAKE),
    action("cmake_kf6", "%cmake %(options_cmake_kf6)", KF6),
    action("cmake_qt6", "%cmake %(options_cmake_qt6)", &["binary(cmake)", "binary(ninja)", "cmake(Qt6)"]),
    action("cmake_test", r#"ctest --test-dir "${BUILDDIR:-%(builddir)}" --parallel "%(jobs)" --verbose --output-on-failure"#, &["binary(cmake)", "binary(ctest)"]),
    // dash runs configure in half the time of bash; a base without it gets bash.
    action("configure", r#"CONFIG_SHELL="$(command -v dash || command -v bash)" ./configure %(options_configure)"#, AUTOTOOLS),
    action("configure_with_bash", r#"CONFIG_SHELL="$(command -v bash)" ./configure %(options_configure)"#, AUTOTOOLS),
    action("export_docbook_catalogs", r#"export XML_CATALOG_FILES="%(vendordir)/docbook/docbook-dtd/catalog %(vendordir)/docbook/docbook-xsl/catalog %(vendordir)/docbook/docbook5-xml/catalog %(sysconfdir)/xml/catalog""#, &[]),
    action("gem_build", "gem build *.gemspec", &["binary(gem)"]),
    action("gem_install", r#"geminstalldir="$(gem env gemdir)"; gem install --local --force --ignore-dependencies --no-user-install --bindir "%(installroot)%(bindir)" --install-dir "%(installroot)${geminstalldir}" *.gem"#, &["binary(gem)"]),
    action("go_mod", "go mod download", &["binary(go)"]),
    action("gtk_update_icon_cache", r#"gtk-update-icon-cache -f -t "%(installroot)%(datadir)/icons/hicolor""#, &[]),
    action("install_bin", r#"install -Dm00755 -t "%(installroot)%(bindir)""#, &[]),
    action("install_dir", "install -dm00755", &[]),
    action("install_exe", "install -Dm00755", &[]),
    action("install_file", "install -Dm00644", &[]),
    action("make", r#"make VERBOSE=1 V=1 -j "%(jobs)""#, &["binary(make)"]),
    action("make_install", r#"%make install DESTDIR="%(installroot)""#, &["binary(make)"]),
    action("meson", r#"meson setup %(options_meson) "${BUILDDIR:-%(builddir)}""#, MESON),
    action("meson_build", r#"meson compile --verbose -j "%(jobs)" -C "${BUILDDIR:-%(builddir)}""#, MESON),
    action("meson_install", r#"DESTDIR="%(installroot)" meson install --no-rebuild -C "${BUILDDIR:-%(builddir)}""#, MESON),
    action("meson_test", r#"meson test --no-rebuild --print-errorlogs --verbose -C "${BUILDDIR:-%(builddir)}""#, MESON),
    action("ninja", r#"ninja -v -j "%(jobs)" -C "${BUILDDIR:-%(builddir)}""#, &["binary(ninja)"]),
    action("ninja_install", r#"DESTDIR="%(installroot)" ninja -v -j "%(jobs)" -C "${BUILDDIR:-%(builddir)}" install"#, &["binary(ninja)"]),
    action("ninja_test", r#"ninja -v -j "%(jobs)" -C "${BUILDDIR:-%(builddir)}" test"#, &["binary(ninja)"]),
    // The file comes last, so that words of the recipe behind it are options: a later -pN or -d DIR counts.
    action("patch", "patch --forward --no-backup-if-mismatch -p1 -i", &["binary(patch)"]),
    action("perl_setup", r#"perl Makefile.PL PREFIX="%(prefix)" INSTALLDIRS=vendor INSTALLVENDORARCH="$(perl -MConfig -e 'print $Config{vendorarch}')" INSTALLVENDORLIB="$(perl -MConfig -e 'print $Config{vendorlib}')" DESTDIR="%(installroot)""#, &["binary(perl)"]),
    action("pyproject_build", "python3 -m build --wheel --no-isolation", &["binary(python3)", "python-build", "python-wheel"]),
    action("pyproject_install", r#"python3 -m installer --destdir="%(installroot)" dist/*.whl"#, &["binary(python3)", "python-installer"]),
    action("python_compile", r#"python3 -m compileall -q -f -s "%(installroot)" -p / "%(installroot)""#, &["binary(python3)"]),
    action("python_install", r#"python3 setup.py install --root="%(installroot)" --prefix="%(prefix)""#, PYTHON),
    action("python_setup", "python3 setup.py build", PYTHON),
    action("qmake_qt5", r#"qmake QMAKE_STRIP= QMAKE_CFLAGS_RELEASE="${CFLAGS}" QMAKE_CXXFLAGS_RELEASE="${CXXFLAGS}" QMAKE_LFLAGS_RELEASE="${LDFLAGS}" QMAKE_CC="${CC}" QMAKE_CXX="${CXX}" QMAKE_LINK="${CXX}" PREFIX="%(prefix)" LIBDIR="%(libdir)""#, &["binary(make)", "binary(qmake)"]),
    action("reconfigure", "autoreconf --verbose --force --install; %configure", AUTORECONF),
    action("reconfigure_with_bash", "autoreconf --verbose --force --install; %configure_with_bash", AUTORECONF),
    calling("sysusers", r#"append_line "%(installroot)%(sysusersdir)/%(name).conf""#, &[], &["append_line"]),
    calling("tmpfiles", r#"append_line "%(installroot)%(tmpfilesdir)/%(name).conf""#, &[], &["append_line"]),
];

/// Shell functions for the head of a script, by name.
pub const FUNCTIONS: &[(&str, &str)] = &[
    (
        "append_line",
        // A line of tmpfiles.d or sysusers.d; the words are joined as echo would.
        r#"append_line() {
    mkdir -p "${1%/*}"
    printf '%s\n' "${*:2}" >> "$1"
}"#,
    ),
    (
        "cargo_install",
        // Without names the program is named like the recipe.
        r#"cargo_install() {
    local from="$1" fallback="$2" to="$3" program
    shift 3
    if [ "$#" -eq 0 ]; then set -- "$fallback"; fi
    for program in "$@"; do install -Dm00755 "$from/$program" -t "$to"; done
}"#,
    ),
];

/// Every definition whose value is fixed; the others come from the recipe, the profile and the slot.
#[rustfmt::skip]
pub const DEFINITIONS: &[(&str, &str)] = &[
    ("bashcompletionsdir", "%(datadir)/bash-completion/completions"),
    ("bindir", "%(prefix)/bin"),
    // The toolchain's triplet as its distribution configured it; configure scripts only need both to be equal.
    ("build_platform", "x86_64-aerynos-linux"),
    ("builddir", "massif-builddir"),
    ("cargo_profile", "release"),
    ("cargo_target_dir", "target/%(target_triple)/%(cargo_profile)"),
    ("completionsdir", "%(bashcompletionsdir)"),
    ("datadir", "%(prefix)/share"),
    ("docdir", "%(datadir)/doc"),
    ("elvishcompletionsdir", "%(datadir)/elvish/lib"),
    ("fishcompletionsdir", "%(datadir)/fish/vendor_completions.d"),
    ("host_platform", "x86_64-aerynos-linux"),
    ("includedir", "%(prefix)/include"),
    ("infodir", "%(datadir)/info"),
    ("installroot", "/mason/install"),
    ("libdir", "%(prefix)/lib%(libsuffix)"),
    ("libexecdir", "%(libdir)/%(name)"),
    ("libsuffix", ""),
    ("localedir", "%(datadir)/locale"),
    ("localstatedir", "/var"),
    ("mandir", "%(datadir)/man"),
    ("options_cargo_release", "--frozen --release --target %(target_triple)"),
    ("options_cmake", "-G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-DNDEBUG -DCMAKE_CXX_FLAGS_RELEASE=-DNDEBUG -DCMAKE_INSTALL_DO_STRIP=OFF -DCMAKE_INSTALL_PREFIX=%(prefix) -DCMAKE_INSTALL_LIBDIR=lib%(libsuffix) -DCMAKE_VERBOSE_MAKEFILE=ON -DLIB_SUFFIX=%(libsuffix)"),
    ("options_cmake_kf6", "%(options_cmake_qt6) -DKDE_INSTALL_LIBDIR=lib%(libsuffix) -DKDE_INSTALL_LIBEXECDIR=lib%(libsuffix) -DKDE_INSTALL_SYSCONFDIR=%(vendordir) -DKDE_INSTALL_USE_QT_SYS_PATHS=ON"),
    ("options_cmake_qt6", "-DBUILD_TESTING=OFF -DBUILD_WITH_QT6=ON -DQT_MAJOR_VERSION=6 -DINSTALL_ARCHDATADIR=lib%(libsuffix)/qt6 -DINSTALL_DATADIR=share/qt6 -DINSTALL_MKSPECSDIR=lib%(libsuffix)/qt6/mkspecs -DINSTALL_LIBEXECDIR=lib%(libsuffix)/qt6"),
    ("options_configure", "--prefix=%(prefix) --bindir=%(bindir) --sbindir=%(sbindir) --build=%(build_platform) --host=%(host_platform) --libdir=%(libdir) --mandir=%(mandir) --infodir=%(infodir) --datadir=%(datadir) --sysconfdir=%(sysconfdir) --localstatedir=%(localstatedir) --sharedstatedir=%(sharedstatedir) --libexecdir=%(libexecdir)"),
    ("options_meson", "--buildtype=plain --wrap-mode=nodownload --prefix=%(prefix) --bindir=%(bindir) --datadir=%(datadir) --includedir=%(includedir) --infodir=%(infodir) --libdir=lib%(libsuffix) --libexecdir=lib%(libsuffix)/%(name) --localedir=%(localedir) --localstatedir=%(localstatedir) --mandir=%(mandir) --sbindir=%(sbindir) --sharedstatedir=%(sharedstatedir) --sysconfdir=%(sysconfdir)"),
    ("pkgdir", "/mason/recipe/pkg"),
    ("prefix", "/usr"),
    ("runstatedir", "/run"),
    ("sbindir", "%(prefix)/sbin"),
    ("sharedstatedir", "/var/lib"),
    ("sourcedir", "/mason/sourcedir"),
    ("sysconfdir", "/etc"),
    ("sysusersdir", "%(prefix)/lib/sysusers.d"),
    // rustc's word for the platform, which is not the C toolchain's.
    ("target_triple", "x86_64-unknown-linux-gnu"),
    ("tmpfilesdir", "%(prefix)/lib/tmpfiles.d"),
    ("udevrulesdir", "%(prefix)/lib/udev/rules.d"),
    ("vendordir", "%(datadir)/defaults"),
    ("zshcompletionsdir", "%(datadir)/zsh/site-functions"),
];
