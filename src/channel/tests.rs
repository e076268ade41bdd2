//! Publishing, importing and rolling back, as values.

use std::sync::Arc;

use super::*;
use crate::id::{HostId, JobId};
use crate::stone::container::TableWriter;
use crate::stone::repository;

fn attempt(job: u64) -> AttemptId {
    AttemptId {
        job: JobId(job),
        try_no: 1,
    }
}

fn expected(source: &str, release: u64, build_release: u64) -> crate::model::Expectation {
    crate::model::Expectation {
        attempt: attempt(1),
        builder: HostId([1; 32]),
        source: source.parse().unwrap(),
        version: "1.0".into(),
        release,
        build_release,
        arch: Arch::X86_64,
        channel: "main".parse().unwrap(),
    }
}

/// A package `source/name release build_release`; its hash follows from these.
fn package(text: &str) -> Arc<PublishedPackage> {
    let mut words = text.split(['/', ' ']);
    let mut word = || words.next().unwrap();
    let (source, name) = (word().to_string(), word().to_string());
    let meta = Meta {
        name,
        version: "1.0".into(),
        release: word().parse().unwrap(),
        build_release: word().parse().unwrap(),
        arch: Arch::X86_64,
        summary: String::new(),
        description: String::new(),
        source,
        homepage: String::new(),
        licenses: Vec::new(),
        depends: Vec::new(),
        provides: Vec::new(),
        conflicts: Vec::new(),
        build_depends: Vec::new(),
        uri: None,
        hash: None,
        size: None,
    };
    let hash = xxhash_rust::xxh3::xxh3_128(text.as_bytes()).to_be_bytes();
    let mut sha256 = [0; 32];
    sha256[..16].copy_from_slice(&hash);
    let file = BlobRef {
        sha256: Digest(sha256),
        size: 7,
    };
    let mut tables = TableWriter::new().unwrap();
    Arc::new(PublishedPackage::new(&mut tables, &meta, file).unwrap())
}

fn packages(texts: &[&str]) -> Vec<Arc<PublishedPackage>> {
    texts.iter().map(|text| package(text)).collect()
}

fn channel() -> ChannelState {
    ChannelState::created("main".parse().unwrap(), Arch::X86_64, Stamp(0))
}

/// Publishes, and says what changed (`+` came, `~` changed, `-` went).
fn publish(state: &mut ChannelState, texts: &[&str]) -> Result<String> {
    let made = packages(texts);
    let first = &made[0].meta;
    let expected = expected(&first.source, first.release, first.build_release);
    let Some(change) = state.weigh_built(&expected, &made, Stamp(1))? else {
        return Ok("nothing".into());
    };
    state.adopt(&change);
    Ok(edits(&change))
}

fn edits(change: &Change) -> String {
    let sign = |edit: &Edit| match (edit.before, edit.after) {
        (None, _) => '+',
        (_, None) => '-',
        _ => '~',
    };
    let words = change.step.edits.iter();
    let words: Vec<String> = words.map(|e| format!("{}{}", sign(e), e.name)).collect();
    words.join(" ")
}

fn content(state: &ChannelState) -> Vec<String> {
    let of = |p: &Arc<PublishedPackage>| {
        format!("{} {}-{}", p.name, p.meta.release, p.meta.build_release)
    };
    state.packages.iter().map(of).collect()
}

#[test]
fn publishing_a_source_replaces_all_of_its_packages() {
    let mut state = channel();
    let first = publish(&mut state, &["nano/nano 1 1", "nano/nano-doc 1 1"]).unwrap();
    assert_eq!(first, "+nano +nano-doc");
    assert_eq!(publish(&mut state, &["xz/xz 5 1"]).unwrap(), "+xz");
    let second = publish(&mut state, &["nano/nano 2 1", "nano/nano-dbginfo 2 1"]).unwrap();
    assert_eq!(second, "~nano +nano-dbginfo -nano-doc");
    assert_eq!(content(&state), ["nano 2-1", "nano-dbginfo 2-1", "xz 5-1"]);
    assert_eq!(state.newest(), VersionId(4));
    let version = &state.steps.last().unwrap().version;
    assert_eq!((version.changed, version.packages), (3, 3));
    assert_eq!(version.parent, Some(VersionId(3)));
    assert_eq!(
        version.cause.to_string(),
        "nano 1.0-2-1 built by attempt 1.1"
    );
}

#[test]
fn the_same_files_again_make_no_version() {
    let mut state = channel();
    publish(&mut state, &["nano/nano 1 1"]).unwrap();
    assert_eq!(publish(&mut state, &["nano/nano 1 1"]).unwrap(), "nothing");
    assert_eq!(state.newest(), VersionId(2));
}

#[test]
fn releases_and_build_releases_only_go_up() {
    let mut state = channel();
    publish(&mut state, &["nano/nano 35 2"]).unwrap();
    let lower = publish(&mut state, &["nano/nano 34 9"]).unwrap_err();
    assert_eq!(lower.kind, Kind::Recipe);
    assert!(
        lower.what.contains("lower than the published release 35"),
        "{lower}"
    );
    assert!(lower.next.contains("36"), "{lower}");
    let other = publish(&mut state, &["nano/nano 35 1"]).unwrap_err();
    assert_eq!(other.kind, Kind::Conflict);
    assert_eq!(publish(&mut state, &["nano/nano 35 3"]).unwrap(), "~nano");
}

#[test]
fn a_name_belongs_to_the_source_that_published_it() {
    let mut state = channel();
    publish(&mut state, &["nano/nano 1 1"]).unwrap();
    let fault = publish(&mut state, &["pico/nano 2 1"]).unwrap_err();
    assert!(fault.what.contains("belongs to nano"), "{fault}");
    let twice = publish(&mut state, &["xz/xz 1 1", "xz/xz 1 2"]).unwrap_err();
    assert!(twice.what.contains("two packages are named xz"), "{twice}");
}

#[test]
fn an_import_adds_to_the_same_release_and_replaces_a_lower_one() {
    let mut state = channel();
    let by = || Who::Uid(0);
    let mut import = |texts: &[&str]| -> Result<String> {
        let change = state.weigh_import(&packages(texts), by(), Stamp(2))?;
        Ok(change.map_or("nothing".into(), |change| {
            state.adopt(&change);
            edits(&change)
        }))
    };
    assert_eq!(
        import(&["nano/nano 1 1", "xz/xz 3 1"]).unwrap(),
        "+nano +xz"
    );
    assert_eq!(import(&["nano/nano-dbginfo 1 1"]).unwrap(), "+nano-dbginfo");
    assert_eq!(import(&["nano/nano 2 1"]).unwrap(), "~nano -nano-dbginfo");
    assert_eq!(import(&["nano/nano 2 1"]).unwrap(), "nothing");
    assert!(import(&["nano/nano 1 5"]).is_err());
    assert!(import(&["a/a 1 1", "a/b 2 1"]).is_err());
}

#[test]
fn a_rollback_is_a_new_version_with_the_older_content() {
    let mut state = channel();
    publish(&mut state, &["nano/nano 1 1", "nano/nano-doc 1 1"]).unwrap();
    publish(&mut state, &["xz/xz 5 1"]).unwrap();
    let then = content(&state);
    publish(&mut state, &["nano/nano 2 1"]).unwrap();
    publish(&mut state, &["nano/nano 3 1"]).unwrap();
    let found = packages(&["nano/nano 1 1", "nano/nano-doc 1 1"]);
    let found = found.into_iter().map(|p| (p.file.sha256, p)).collect();
    let back = |state: &ChannelState, to| {
        state.weigh_rollback(VersionId(to), &found, Who::Uid(0), Stamp(3))
    };
    let change = back(&state, 3).unwrap().unwrap();
    assert_eq!(edits(&change), "~nano +nano-doc");
    let sources: Vec<&str> = change.sources.iter().map(|s| s.as_str()).collect();
    assert_eq!(sources, ["nano"]);
    state.adopt(&change);
    assert_eq!((content(&state), state.newest()), (then, VersionId(6)));
    assert!(back(&state, 6).unwrap().is_none(), "the newest already");
    assert!(back(&state, 3).unwrap().is_none(), "the same content");
    assert_eq!(back(&state, 9).unwrap_err().kind, Kind::NotFound);
    // To the beginning: empty.
    let change = back(&state, 1).unwrap().unwrap();
    assert_eq!(edits(&change), "-nano -nano-doc -xz");
}

#[test]
fn the_newest_fifty_and_the_named_are_served() {
    let mut state = channel();
    for release in 1..=60 {
        publish(&mut state, &[&format!("nano/nano {release} 1")]).unwrap();
    }
    state.tags.insert("first".into(), VersionId(2));
    let served = state.served();
    assert_eq!(served.len(), 51);
    assert!(served.contains(&VersionId(2)) && served.contains(&VersionId(12)));
    assert!(!served.contains(&VersionId(11)));
    let root = state.root_index();
    assert_eq!(root.streams["volatile"].history, "61");
    assert_eq!(root.tags["first"].history, "2");
    assert_eq!(root.history.len(), 51);
    let json = serde_json::to_string(&channel().root_index()).unwrap();
    assert_eq!(
        json,
        r#"{"formats":{"v0":{}},"streams":{"volatile":{"format":"v0","history":"1"}},"tags":{},"history":{"1":{"format":"v0"}}}"#
    );
}

#[test]
fn pool_paths_are_those_of_the_vendors_farm() {
    for (text, path) in [
        (
            "nano/nano 35 1",
            "pool/v0/n/nano/nano-1.0-35-1-x86_64.stone",
        ),
        (
            "libX11/libx11 1 1",
            "pool/v0/libx/libx11/libx11-1.0-1-1-x86_64.stone",
        ),
        ("lib3/lib3 1 1", "pool/v0/l/lib3/lib3-1.0-1-1-x86_64.stone"),
        ("7zip/7zip 1 1", "pool/v0/7/7zip/7zip-1.0-1-1-x86_64.stone"),
    ] {
        let package = package(text);
        assert_eq!(package.pool, path);
        assert_eq!(package.meta.uri, Some(format!("../../../{path}")));
        let again = PublishedPackage::from_entries(vec![package.entry.clone()]).unwrap();
        assert_eq!(again, [(*package).clone()]);
    }
    let mut odd = package("a/a 1 1").meta.clone();
    odd.version = "1/../../2".into();
    assert!(pool::pool_path(&"a".parse().unwrap(), &odd).is_err());
}

#[test]
fn the_map_of_packages_agrees_with_a_plain_one() {
    let mut map = PackageMap::default();
    let mut plain = BTreeMap::new();
    let mut state = 12345_u32;
    for round in 0..1_500_u32 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let name = format!("p{}", state >> 23);
        if round % 3 == 2 {
            map.remove(Arch::X86_64, &name);
            plain.remove(&name);
        } else {
            let package = package(&format!("s/{name} {round} 1"));
            map.insert(package.clone());
            plain.insert(name.clone(), package);
        }
        assert_eq!(map.get(Arch::X86_64, &name), plain.get(&name));
        assert_eq!(map.len(), plain.len());
    }
    assert!(map.len() > 100);
    let both = map.of_arch(Arch::X86_64).zip(plain.values());
    assert_eq!(both.filter(|(a, b)| a == b).count(), plain.len());
    assert_eq!(map.of_arch(Arch::Aarch64).count(), 0);
    let index = repository::assemble(map.iter().map(|p| &*p.entry)).unwrap();
    assert_eq!(repository::read(&index).unwrap().len(), map.len());
}
