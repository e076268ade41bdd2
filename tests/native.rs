//! Builds through the library's door: an order in, packages out, in a real sandbox on this machine's `/usr`.

mod examples;
mod refusals;
mod same;
mod upstreams;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use massif::build::cgroup::Confine;
use massif::build::layers::Layers;
use massif::build::native::{BuildContext, BuildEvent, Built, Failure, build};
use massif::build::sandbox::{Limits, SANDBOX_UID, use_helper};
use massif::build::upstream::{Mirror, Upstreams};
use massif::build::watch::Rules;
use massif::fault::{Fault, Kind};
use massif::id::{Arch, AttemptId, Digest, JobId};
use massif::model::order::{
    ArtefactKind, BlobRef, BuildOrder, Input, InputFrom, OrderLimits, ProfileSpec,
};
use massif::model::profile::Profile;
use massif::recipe::Recipe;
use massif::stone::{Dependency, Package};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

/// The files that come with the specification; `None`, said once, on a clone that has them not.
pub fn shared(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MASSIF_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{} is missing",
        path.display()
    );
    println!("skipped: {} is not there", path.display());
    None
}

pub fn recipes(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(part)
}

/// A builder with a state directory of its own.
pub struct Rig {
    pub dir: tempfile::TempDir,
    pub mirrors: Vec<Mirror>,
    pub cores: Vec<u32>,
    pub jobs: Option<u32>,
    pub epoch: i64,
    pub phase_s: Option<u64>,
    pub log_bytes: u64,
    pub cancel: CancellationToken,
    pub limits: Limits,
    pub rules: Rules,
    pub confine: Confine,
    blobs: Arc<Mutex<BTreeMap<Digest, PathBuf>>>,
    attempts: u64,
    /// What the last build told.
    pub events: Arc<Mutex<Vec<BuildEvent>>>,
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

impl Rig {
    pub fn new() -> Rig {
        use_helper(env!("CARGO_BIN_EXE_massif"));
        let dir = tempfile::Builder::new()
            .prefix("massif-native")
            .tempdir()
            .unwrap();
        Rig {
            dir,
            mirrors: shared("data/upstreams")
                .map(Mirror::Directory)
                .into_iter()
                .collect(),
            cores: Vec::new(),
            jobs: None,
            epoch: 1_700_000_000,
            phase_s: None,
            log_bytes: 1 << 30,
            cancel: CancellationToken::new(),
            limits: Limits::default(),
            rules: Rules::default(),
            confine: Confine::none("this test has none"),
            blobs: Arc::default(),
            attempts: 0,
            events: Arc::default(),
        }
    }

    /// Keeps bytes as a blob.
    fn blob(&self, bytes: &[u8]) -> BlobRef {
        let sha256 = digest(bytes);
        let path = self.dir.path().join("blobs").join(sha256.to_string());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        self.blobs.lock().unwrap().insert(sha256, path);
        BlobRef {
            sha256,
            size: bytes.len() as u64,
        }
    }

    /// The recipe's directory as summit packs it.
    fn pack(&self, recipe: &Path) -> BlobRef {
        let mut tar = tar::Builder::new(Vec::new());
        tar.mode(tar::HeaderMode::Deterministic);
        tar.append_dir_all("", recipe).unwrap();
        self.blob(&tar.into_inner().unwrap())
    }

    pub fn order(&mut self, recipe: &Path, inputs: &[PathBuf]) -> BuildOrder {
        self.attempts += 1;
        let text = std::fs::read_to_string(recipe.join("stone.yaml")).unwrap();
        let (read, _) = Recipe::parse(&text, "stone.yaml").unwrap();
        let profile = Profile::laptop("laptop".parse().unwrap(), "main".parse().unwrap());
        let inputs = inputs
            .iter()
            .map(|path| {
                let bytes = std::fs::read(path).unwrap();
                let blob = self.blob(&bytes);
                let package = Package::read(&mut std::io::Cursor::new(bytes)).unwrap();
                Input {
                    name: package.meta.name.parse().unwrap(),
                    sha256: blob.sha256,
                    size: blob.size,
                    from: InputFrom::Farm,
                }
            })
            .collect();
        BuildOrder {
            attempt: AttemptId {
                job: JobId(self.attempts),
                try_no: 1,
            },
            recipe: read.name.clone(),
            version: read.version.clone(),
            release: read.release,
            build_release: 1,
            profile: ProfileSpec::from(&profile),
            recipe_tar: self.pack(recipe),
            source_date_epoch: self.epoch,
            jobs: self.jobs,
            inputs,
            limits: OrderLimits {
                phase_s: self.phase_s,
                time_s: 7200,
                silence_s: 7200,
                log_bytes: self.log_bytes,
                memory_bytes: None,
            },
        }
    }

    pub fn context(&self, order: &BuildOrder) -> BuildContext {
        let state_dir = self.dir.path().to_owned();
        let blobs = self.blobs.clone();
        BuildContext {
            attempt_dir: state_dir.join("attempts").join(order.attempt.to_string()),
            log: state_dir.join("logs").join(order.attempt.to_string()),
            host: "test".into(),
            slot: 0,
            cores: self.cores.clone(),
            outer_uid: SANDBOX_UID,
            limits: self.limits,
            rules: self.rules,
            confine: self.confine.clone(),
            glance: Arc::new(|_, _| {}),
            layers: Layers::open(&state_dir).unwrap(),
            upstreams: Upstreams::new(state_dir.join("upstreams"), self.mirrors.clone()),
            git: Arc::new(|url| {
                Box::pin(
                    async move { Err(Fault::new(Kind::Network, format!("no mirror of {url}"))) },
                )
            }),
            blob: Arc::new(move |digest| {
                blobs
                    .lock()
                    .unwrap()
                    .get(&digest)
                    .cloned()
                    .unwrap_or_default()
            }),
            cancel: self.cancel.clone(),
            cache: None,
            cache_seen: Arc::new(|_| {}),
            state_dir,
        }
    }

    pub fn log(&self, order: &BuildOrder) -> String {
        let path = self.dir.path().join("logs").join(order.attempt.to_string());
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    }

    pub async fn run(&mut self, order: &BuildOrder) -> Result<Built, Failure> {
        let ctx = self.context(order);
        self.events.lock().unwrap().clear();
        let events = self.events.clone();
        build(&ctx, order, &move |event| {
            events.lock().unwrap().push(event)
        })
        .await
    }

    /// Builds a recipe's directory over these packages; where its artefacts lie.
    pub async fn build(&mut self, recipe: &Path, inputs: &[PathBuf]) -> Result<Made, Failure> {
        let order = self.order(recipe, inputs);
        let result = self.run(&order).await;
        if result.is_err() {
            println!("{}", self.log(&order));
        }
        let out = self.context(&order).out_dir();
        result.map(|built| Made { built, out })
    }

    /// A recipe directory of this `stone.yaml`.
    pub fn recipe(&self, name: &str, text: &str) -> PathBuf {
        let dir = self.dir.path().join("recipes").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let head = format!(
            "name: {name}\nversion: \"1\"\nrelease: 1\nhomepage: https://example.org\nsummary: x\ndescription: x\nlicense: MIT\n"
        );
        std::fs::write(dir.join("stone.yaml"), head + text).unwrap();
        dir
    }
}

/// What a build made.
pub struct Made {
    pub built: Built,
    pub out: PathBuf,
}

impl Made {
    pub fn stones(&self) -> Vec<PathBuf> {
        let stones = self
            .built
            .artefacts
            .iter()
            .filter(|file| file.kind == ArtefactKind::Stone);
        stones.map(|file| self.out.join(&file.name)).collect()
    }

    pub fn digests(&self) -> Vec<(String, Digest)> {
        self.built
            .artefacts
            .iter()
            .map(|file| (file.name.clone(), file.blob.sha256))
            .collect()
    }

    pub fn package(&self, name: &str) -> Package {
        let found = self.stones().into_iter().find_map(|path| {
            let package = Package::verify(&mut std::fs::File::open(path).unwrap()).unwrap();
            (package.meta.name == name).then_some(package)
        });
        found.unwrap_or_else(|| panic!("no package {name} in {:?}", self.built.artefacts))
    }
}

pub fn texts(dependencies: &[Dependency]) -> Vec<String> {
    dependencies.iter().map(ToString::to_string).collect()
}

pub fn arch() -> Arch {
    Arch::OF_THIS_PROGRAM
}
