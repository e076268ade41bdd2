//! The same recipe gives the same bytes, whoever builds it, where, when and on how many cores.

use super::{Rig, recipes};

/// Builds in a fresh state directory with these cores; digests of all artefacts.
async fn digests(dir: &str, cores: Vec<u32>, jobs: u32) -> Vec<(String, massif::id::Digest)> {
    let mut rig = Rig::new();
    rig.cores = cores;
    rig.jobs = Some(jobs);
    rig.build(&recipes(dir), &[]).await.unwrap().digests()
}

#[tokio::test]
async fn a_library_is_the_same_on_one_core_and_on_two() {
    let one = digests("examples/recipes/t/tally", vec![0], 1).await;
    let two = digests("examples/recipes/t/tally", Vec::new(), 7).await;
    assert_eq!(one, two);
}
