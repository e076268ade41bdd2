//! Layers: what packages may do in a root, what is kept, and that the farm's files win over the machine's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use massif::build::base::Base;
use massif::build::layers::{Held, LayerWriter, Layers};
use massif::fault::Result;
use massif::id::Digest;

use super::{Place, out, run};

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

type Entries<'a> = &'a [(&'a str, &'a str)];

/// Adds a package of these files; a text that starts with `->` is a link.
fn add(layers: &Layers, n: u8, files: Entries<'_>) -> Digest {
    let fill = |writer: &mut LayerWriter| -> Result<()> {
        for (path, text) in files {
            match text.strip_prefix("->") {
                Some(target) => writer.symlink(Path::new(path), target)?,
                None => writer.file(
                    Path::new(path),
                    path.starts_with("bin"),
                    &mut text.as_bytes(),
                )?,
            }
        }
        Ok(())
    };
    drop(layers.add(&digest(n), fill).unwrap());
    digest(n)
}

#[tokio::test]
async fn packages_lie_over_the_machine_and_two_roots_share_them() {
    let place = Place::new();
    let layers = Layers::open(place.dir.path()).unwrap();
    let tool = add(
        &layers,
        1,
        &[
            ("bin/tool", "#!/bin/sh\necho tool of one\n"),
            ("share/x/a", "1"),
        ],
    );
    let other = add(&layers, 2, &[("bin/other", "->tool"), ("share/x/b", "2")]);
    let root = |packages: &[Digest]| -> Held { layers.root(&Base::Host, packages).unwrap() };
    let (both, one) = (root(&[tool, other]), root(&[tool]));
    assert!(both.warnings.is_empty());
    let scripts = ["tool; other 2>&1; ls /usr/share/x; echo y >> /usr/share/x/a"];
    let (first, second) = tokio::join!(
        run(place.spec_of(both.root.clone()), &scripts),
        run(place.spec_of(one.root.clone()), &scripts),
    );
    assert!(
        first.1.starts_with("tool of one\ntool of one\na\nb\n"),
        "{}",
        first.1
    );
    assert!(
        second.1.starts_with("tool of one\n") && !second.1.contains("b\n"),
        "{}",
        second.1
    );
    assert_eq!(
        fs::read_to_string(layers_file(&place, 1, "share/x/a")).unwrap(),
        "1"
    );
    // The loader's cache was made inside, once.
    assert!(
        both.root
            .loader_cache
            .as_ref()
            .is_some_and(|cache| cache.exists())
    );
}

fn layers_file(place: &Place, n: u8, path: &str) -> PathBuf {
    place
        .path("layers")
        .join(digest(n).to_string())
        .join("usr")
        .join(path)
}

#[test]
fn packages_that_cannot_be_in_one_root_are_refused_and_doubles_are_told() {
    let place = Place::new();
    let layers = Layers::open(place.dir.path()).unwrap();
    let a = add(&layers, 1, &[("share/x", "1"), ("share/same", "s")]);
    let b = add(&layers, 2, &[("share/x/inner", "2")]);
    let c = add(&layers, 3, &[("share/x", "other"), ("share/same", "s")]);
    let hiding = add(&layers, 4, &[("lib", "->lib64")]);
    let libc = add(&layers, 5, &[("lib/libc.so.6", "elf")]);
    let root = |base: &Base, packages: &[Digest]| layers.root(base, packages);
    assert!(
        root(&Base::Stones, &[a, b])
            .unwrap_err()
            .what
            .contains("share/x")
    );
    let held = root(&Base::Stones, &[a, c]).unwrap();
    assert_eq!(
        held.warnings,
        ["/usr/share/x is in more than one package; the last one counts"]
    );
    assert_eq!(
        fs::read_to_string(held.root.usr[0].join("share/x")).unwrap(),
        "other"
    );
    assert!(
        root(&Base::Host, &[hiding])
            .unwrap_err()
            .what
            .contains("/usr/lib")
    );
    assert!(
        root(&Base::Host, &[libc])
            .unwrap_err()
            .what
            .contains("C library")
    );
    assert!(root(&Base::Stones, &[hiding]).is_ok() && root(&Base::Stones, &[libc]).is_ok());
    for path in ["../x", "/x", "a/../../x", ""] {
        let done = layers.add(&digest(9), |writer| {
            writer.file(Path::new(path), false, &mut "x".as_bytes())
        });
        assert!(done.is_err(), "{path}");
    }
    let through = layers.add(&digest(9), |writer| {
        writer.symlink(Path::new("out"), "/tmp")?;
        writer.file(Path::new("out/x"), false, &mut "x".as_bytes())
    });
    assert!(through.is_err() && !layers.has(&digest(9)));
}

#[test]
fn room_is_made_of_what_is_not_in_use_and_half_made_layers_are_thrown_away() {
    let place = Place::new();
    let layers = Layers::open(place.dir.path()).unwrap();
    let (a, b) = (
        add(&layers, 1, &[("share/a", "aaaa")]),
        add(&layers, 2, &[("share/b", "bbbb")]),
    );
    let held = layers.root(&Base::Stones, &[a]).unwrap();
    layers.reclaim(u64::MAX).unwrap();
    assert!(layers.has(&a) && !layers.has(&b));
    drop(held);
    layers.reclaim(u64::MAX).unwrap();
    assert!(!layers.has(&a));
    let c = add(&layers, 3, &[("share/c", "c")]);
    fs::create_dir(place.path("layers/tmp-half")).unwrap();
    let after = Layers::open(place.dir.path()).unwrap();
    assert!(after.has(&c) && !place.path("layers/tmp-half").exists());
    after.seal().unwrap();
    // A layer of another boot counts when it was synced.
    let complete = place.path("layers").join(c.to_string()).join("complete");
    let text = fs::read_to_string(&complete).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let other_boot = text.replace(boot.trim(), "another");
    fs::write(&complete, &other_boot).unwrap();
    assert!(Layers::open(place.dir.path()).unwrap().has(&c));
    fs::write(
        &complete,
        other_boot.replace("\"on_disk\":true", "\"on_disk\":false"),
    )
    .unwrap();
    assert!(!Layers::open(place.dir.path()).unwrap().has(&c));
}

/// A library that this machine has for building, and that its compiler does not need itself.
fn machine_library() -> Option<(&'static str, &'static str)> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let known = [
        ("bz2", "bzlib.h"),
        ("form", "form.h"),
        ("expat", "expat.h"),
        ("menu", "menu.h"),
    ];
    known.into_iter().find(|(name, header)| {
        let there = [
            format!("{multiarch}/lib{name}.so"),
            format!("/usr/include/{header}"),
        ];
        there.iter().all(|path| Path::new(path).exists())
    })
}

/// Compiles with the machine's compiler, outside: the package that a recipe would have made.
fn farm_library(name: &str, soname: &str) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let (source, library) = (place.path().join("l.c"), place.path().join("l.so"));
    fs::write(&source, "int farm_says(void) { return 42; }\n").unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(format!("-Wl,-soname,{soname}"))
        .arg(&source)
        .status();
    assert!(status.unwrap().success(), "lib{name}");
    fs::read(library).unwrap()
}

#[tokio::test]
async fn the_farms_library_wins_over_the_machines_and_an_undeclared_one_is_not_found() {
    let Some((name, header)) = machine_library() else {
        println!("skipped: this machine has no development library to be hidden");
        return;
    };
    let place = Place::new();
    let layers = Layers::open(place.dir.path()).unwrap();
    let multiarch = PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let link = fs::read_link(multiarch.join(format!("lib{name}.so"))).unwrap();
    let stem = format!("lib{name}.so.");
    let version = link
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .strip_prefix(&stem)
        .unwrap()
        .to_string();
    let soname = format!("{stem}{}", version.split('.').next().unwrap());
    let bytes = farm_library(name, &soname);
    let fill = |writer: &mut LayerWriter| -> Result<()> {
        writer.file(
            Path::new(&format!("lib/{soname}")),
            true,
            &mut bytes.as_slice(),
        )?;
        writer.symlink(Path::new(&format!("lib/lib{name}.so")), &soname)?;
        writer.file(
            Path::new(&format!("include/{header}")),
            false,
            &mut "#define FARM 1\nint farm_says(void);\n".as_bytes(),
        )?;
        let pc = format!(
            "Name: {name}\nDescription: x\nVersion: 99.1\nLibs: -L/usr/lib -l{name}\nCflags: -I/usr/include\n"
        );
        writer.file(
            Path::new(&format!("lib/pkgconfig/{name}.pc")),
            false,
            &mut pc.as_bytes(),
        )
    };
    drop(layers.add(&digest(1), fill).unwrap());
    let with = layers.root(&Base::Host, &[digest(1)]).unwrap();
    let without = layers.root(&Base::Host, &[]).unwrap();
    let script = format!(
        "printf '#include <{header}>\\n#include <stdio.h>\\nint main(void) {{ printf(\"%%d\\\\n\", farm_says() + FARM); return 0; }}\\n' > p.c
         cc -o p p.c -l{name} && ./p && ldd ./p | grep -o '{soname} => [^ ]*'
         if type pkg-config >/dev/null 2>&1; then pkg-config --modversion {name}; else echo 99.1; fi
         as --version | head -1 | cut -c1-3; perl -e 'print \"perl\\n\"'; ls /usr/include/zlib.h /usr/local/bin 2>&1 | grep -c 'No such'"
    );
    let log = out(place.spec_of(with.root.clone()), &script).await;
    assert_eq!(
        log,
        format!("43\n{soname} => /usr/lib/{soname}\n99.1\nGNU\nperl\n2\n"),
        "{log}"
    );
    let script = format!(
        "echo '#include <{header}>' > p.c; cc -c p.c 2>&1 | grep -o 'No such file'; echo 'int main(){{}}' > q.c; cc q.c -l{name} 2>&1 | grep -o 'cannot find'; echo 'int main(){{}}' > q.c; cc q.c && ./a.out && echo fine"
    );
    let log = out(place.spec_of(without.root.clone()), &script).await;
    assert_eq!(log, "No such file\ncannot find\nfine\n");
}
