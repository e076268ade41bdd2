//! What a build may not do, and whose fault each end is.

use std::time::{Duration, Instant};

use massif::build::native::Stage;
use massif::model::who::Blame;

use super::{Rig, digest};

#[tokio::test]
async fn a_phase_that_fails_is_the_recipes_fault_with_its_code_and_last_lines() {
    let mut rig = Rig::new();
    let recipe = rig.recipe(
        "breaks",
        "build: |\n    echo 'about to break' >&2\n    exit 7\n",
    );
    let failure = rig.build(&recipe, &[]).await.err().unwrap();
    assert_eq!(
        (failure.blame, failure.stage, failure.code),
        (Blame::Recipe, Stage::Build, Some(7))
    );
    assert!(
        failure.tail.iter().any(|line| line == "about to break"),
        "{:?}",
        failure.tail
    );
    assert!(
        failure.fault.next.contains("massif job log"),
        "{}",
        failure.fault
    );
}

#[tokio::test]
async fn a_library_that_only_the_machine_has_is_not_there() {
    let mut rig = Rig::new();
    let source = "build: |\n    echo '#include <HEADER>' > a.c\n    %(cc) -c a.c\n";
    let mut tried = 0;
    for header in ["zlib.h", "ncurses.h", "openssl/ssl.h", "curl/curl.h"] {
        if std::path::Path::new("/usr/include").join(header).exists() {
            tried += 1;
            let recipe = rig.recipe("undeclared", &source.replace("HEADER", header));
            let failure = rig.build(&recipe, &[]).await.err().unwrap();
            assert_eq!(
                (failure.blame, failure.stage),
                (Blame::Recipe, Stage::Build)
            );
            assert!(
                failure.tail.iter().any(|line| line.contains(header)),
                "{:?}",
                failure.tail
            );
        }
    }
    println!("{tried} headers of this machine are hidden");
}

#[tokio::test]
async fn a_library_of_the_farm_wins_over_another_version_on_the_machine() {
    let mut rig = Rig::new();
    // The machine's own, if it has one, is version 1.something of the same name.
    let library = rig.recipe(
        "farmz",
        r#"build: |
    echo 'const char *zlibVersion(void) { return "999-of-the-farm"; }' > z.c
    echo '#define ZLIB_VERSION "999-of-the-farm"' > zlib.h
    echo 'const char *zlibVersion(void);' >> zlib.h
    %(cc) -fPIC -shared -Wl,-soname,libz.so.1 -o libz.so.1 z.c
    printf 'Name: zlib\nDescription: x\nVersion: 999\nLibs: -L/usr/lib -lz\n' > zlib.pc
install: |
    %install_file zlib.h %(installroot)%(includedir)/zlib.h
    %install_exe libz.so.1 %(installroot)%(libdir)/libz.so.1
    ln -s libz.so.1 %(installroot)%(libdir)/libz.so
    %install_file zlib.pc %(installroot)%(libdir)/pkgconfig/zlib.pc
"#,
    );
    let stones = rig.build(&library, &[]).await.unwrap().stones();
    let program = rig.recipe(
        "uses-z",
        r#"builddeps:
    - pkgconfig(zlib)
build: |
    echo '#include <zlib.h>' > a.c
    echo '#include <stdio.h>' >> a.c
    echo 'int main(void) { puts(ZLIB_VERSION); puts(zlibVersion()); return 0; }' >> a.c
    %(cc) a.c -lz -o a
    if command -v pkg-config; then test "$(pkg-config --modversion zlib)" = 999; fi
install: |
    %install_bin a
check: |
    test "$(./a | tr '\n' ' ')" = '999-of-the-farm 999-of-the-farm '
"#,
    );
    let made = rig.build(&program, &stones).await.unwrap();
    assert_eq!(
        made.package("uses-z")
            .meta
            .depends
            .iter()
            .filter(|needed| needed.name.starts_with("libz.so.1"))
            .count(),
        1
    );
}

#[tokio::test]
async fn wrong_bytes_and_hostile_archives_are_the_upstreams_fault() {
    let mut rig = Rig::new();
    let file = rig.dir.path().join("a.tar");
    std::fs::write(&file, "not what was promised").unwrap();
    let url = format!("file://{}", file.display());
    let wanted = digest(b"something else");
    let recipe = rig.recipe("wrong", &format!("upstreams:\n    - {url} : {wanted}\n"));
    let failure = rig.build(&recipe, &[]).await.err().unwrap();
    assert_eq!(
        (failure.blame, failure.stage),
        (Blame::Upstream, Stage::Prepare)
    );
    assert!(
        failure.fault.to_string().contains(&wanted.to_string()),
        "{}",
        failure.fault
    );

    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.as_gnu_mut().unwrap().name[..7].copy_from_slice(b"../evil");
    header.set_cksum();
    tar.append(&header, &b"x"[..]).unwrap();
    let bytes = tar.into_inner().unwrap();
    std::fs::write(&file, &bytes).unwrap();
    let recipe = rig.recipe(
        "hostile",
        &format!("upstreams:\n    - {url} : {}\n", digest(&bytes)),
    );
    let failure = rig.build(&recipe, &[]).await.err().unwrap();
    assert_eq!(
        (failure.blame, failure.stage),
        (Blame::Upstream, Stage::Prepare)
    );
    assert!(failure.fault.what.contains("`..`"), "{}", failure.fault);
}

#[tokio::test]
async fn the_network_is_there_only_for_recipes_that_ask_for_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut rig = Rig::new();
    let build = format!("build: |\n    exec 3<> /dev/tcp/127.0.0.1/{port}\n");
    let recipe = rig.recipe("offline", &build);
    let failure = rig.build(&recipe, &[]).await.err().unwrap();
    assert_eq!(
        (failure.blame, failure.stage),
        (Blame::Recipe, Stage::Build)
    );
    let install =
        "install: |\n    echo text > file\n    %install_file file %(installroot)/usr/share/file\n";
    let recipe = rig.recipe("online", &format!("networking: true\n{build}{install}"));
    rig.build(&recipe, &[]).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_build_ends_at_once_and_is_nobodys_failure() {
    let mut rig = Rig::new();
    let recipe = rig.recipe("sleeps", "build: |\n    sleep 5000 & sleep 5000\n");
    let order = rig.order(&recipe, &[]);
    let (cancel, log) = (rig.cancel.clone(), rig.context(&order).log);
    let cancelled = tokio::spawn(async move {
        while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("sleep 5000")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.cancel();
        Instant::now()
    });
    let failure = rig.run(&order).await.err().unwrap();
    assert!(
        failure.cancelled && failure.blame == Blame::Operator,
        "{failure:?}"
    );
    let took = cancelled.await.unwrap().elapsed();
    assert!(took < Duration::from_secs(120), "{took:?}");
}

#[tokio::test]
async fn a_phase_that_takes_too_long_is_ended() {
    let mut rig = Rig::new();
    rig.phase_s = Some(2);
    let recipe = rig.recipe("slow", "setup: |\n    sleep 300\n");
    let failure = rig.build(&recipe, &[]).await.err().unwrap();
    assert_eq!(
        (failure.blame, failure.stage, failure.code),
        (Blame::Recipe, Stage::Setup, None)
    );
    assert!(failure.fault.what.contains("2 s"), "{}", failure.fault);
}

#[tokio::test]
async fn a_log_that_grows_too_large_keeps_its_head_and_its_end() {
    let mut rig = Rig::new();
    rig.log_bytes = 100_000;
    let recipe = rig.recipe(
        "talks",
        "build: |\n    set +x\n    for i in {1..400000}; do echo \"line $i\"; done\n    echo the-last-word\n    exit 1\n",
    );
    let order = rig.order(&recipe, &[]);
    let failure = rig.run(&order).await.err().unwrap();
    let log = rig.log(&order);
    assert!(log.contains("line 1\n") && log.contains("log limit of 100000 bytes reached"));
    assert!(
        log.contains("the-last-word") && log.len() < 1_300_000,
        "{}",
        log.len()
    );
    assert_eq!(
        failure.tail.last().map(String::as_str),
        Some("the-last-word")
    );
}

#[tokio::test]
async fn a_full_disk_is_never_the_recipes_fault() {
    let mut rig = Rig::new();
    let recipe = rig.recipe(
        "fills",
        "build: |\n    echo 'cc1: No space left on device' >&2\n    exit 1\n",
    );
    let failure = rig.build(&recipe, &[]).await.err().unwrap();
    assert_eq!(failure.blame, Blame::Builder);
    assert!(
        failure.fault.what.contains("disk is full"),
        "{}",
        failure.fault
    );
}
