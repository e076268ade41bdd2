//! What is done before the first phase: the recipe's files, its upstreams, and the sources as the phases find them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::{BuildContext, BuildEvent, Events};
use crate::build::archive::{self, Owner, Unpack};
use crate::build::gitsource::{self, Export};
use crate::build::upstream::Progress;
use crate::fault::{Fault, Kind, Result};
use crate::recipe::Recipe;
use crate::recipe::types::{Archive, GitSource, Upstream};

/// Between two events about bytes.
const TELL: Duration = Duration::from_millis(250);

/// The directories of one attempt, as the host sees them.
pub(super) struct Places {
    pub(super) recipe: PathBuf,
    pub(super) sources: PathBuf,
    pub(super) build: PathBuf,
    pub(super) install: PathBuf,
    pub(super) scripts: PathBuf,
    pub(super) tmp: PathBuf,
    pub(super) out: PathBuf,
}

impl Places {
    /// Makes them, empty. What a dead attempt of the same name left is in the way and is an error of the caller.
    pub(super) fn make(ctx: &BuildContext) -> Result<Places> {
        let at = |name: &str| ctx.attempt_dir.join(name);
        let places = Places {
            recipe: at("recipe"),
            sources: at("sourcedir"),
            build: at("build"),
            install: at("install"),
            scripts: at("scripts"),
            tmp: at("tmp"),
            out: ctx.out_dir(),
        };
        std::fs::create_dir_all(&ctx.attempt_dir)
            .map_err(|error| disk(&ctx.attempt_dir, &error))?;
        for dir in places.all() {
            std::fs::create_dir(dir).map_err(|error| disk(dir, &error))?;
            // Whatever the umask of the host is, the sandbox's user reads them.
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
                .map_err(|error| disk(dir, &error))?;
        }
        Ok(places)
    }

    fn all(&self) -> [&PathBuf; 7] {
        [
            &self.recipe,
            &self.sources,
            &self.build,
            &self.install,
            &self.scripts,
            &self.tmp,
            &self.out,
        ]
    }

    /// Those that nobody needs once the artefacts are written.
    pub(super) fn workings(&self) -> [&PathBuf; 6] {
        [
            &self.recipe,
            &self.sources,
            &self.build,
            &self.install,
            &self.scripts,
            &self.tmp,
        ]
    }
}

pub(super) fn disk(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Kind::Builder, format!("cannot write {}", path.display()))
        .because(error)
        .next("look at the disk of this builder and at the rights of its state directory")
}

/// Who the sandbox's files belong to on this host.
pub(super) fn owner(ctx: &BuildContext) -> Owner {
    nix::unistd::geteuid()
        .is_root()
        .then_some((ctx.outer_uid, ctx.outer_uid))
}

/// Unpacks the recipe's directory and reads its `stone.yaml`.
pub(super) fn recipe(tar: &Path, places: &Places, file: &str) -> Result<(Recipe, Vec<Fault>)> {
    let what = Unpack::new(tar, "the recipe's directory", &places.recipe);
    archive::unpack(&what, &mut |_| true)?;
    let path = places.recipe.join("stone.yaml");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Fault::new(Kind::Recipe, format!("cannot read {file}")).because(&error))?;
    Recipe::parse(&text, file)
}

/// Events about moved bytes, a few a second.
struct Teller<'a> {
    events: Events<'a>,
    last: std::sync::Mutex<Instant>,
}

impl Teller<'_> {
    fn tell(&self, what: &str, bytes: u64, of: Option<u64>) {
        if let Ok(mut last) = self.last.try_lock()
            && last.elapsed() >= TELL
        {
            *last = Instant::now();
            (self.events)(BuildEvent::Moved {
                what: what.to_owned(),
                bytes,
                of,
            });
        }
    }
}

/// Fetches every archive of the recipe into the cache, several at once; in the order of the recipe.
pub(super) async fn fetch(
    ctx: &BuildContext,
    recipe: &Recipe,
    events: Events<'_>,
) -> Result<Vec<Option<PathBuf>>> {
    let teller = Teller {
        events,
        last: std::sync::Mutex::new(Instant::now()),
    };
    let teller = &teller;
    let fetches = recipe.upstreams.iter().map(|upstream| async move {
        let Upstream::Archive(archive) = upstream else {
            return Ok(None);
        };
        let what = format!("fetching {}", archive.file_name);
        let told = |progress: Progress| teller.tell(&what, progress.bytes, progress.of);
        ctx.upstreams
            .fetch(&archive.url, archive.sha256, &told)
            .await
            .map(Some)
    });
    try_join_all(fetches).await
}

/// Puts the sources where the phases look for them: files in `sourcedir`, unpacked trees below the build root.
pub(super) async fn sources(
    ctx: &BuildContext,
    recipe: &Recipe,
    fetched: Vec<Option<PathBuf>>,
    places: &Places,
    build_root: &Path,
    events: Events<'_>,
) -> Result<()> {
    for (upstream, file) in recipe.upstreams.iter().zip(fetched) {
        match (upstream, file) {
            (Upstream::Archive(archive), Some(file)) => {
                place(&file, &below(&places.sources, &archive.file_name)?)?;
                if archive.unpack {
                    unpack(ctx, archive, file, build_root, events).await?;
                }
            }
            (Upstream::Git(git), _) => checkout(ctx, git, build_root, events).await?,
            (Upstream::Archive(archive), None) => {
                return Err(Fault::bug(format!("{} was not fetched", archive.url)));
            }
        }
    }
    Ok(())
}

/// A path below `dir` for a name that a recipe gave, which may not lead out of it.
pub(super) fn below(dir: &Path, name: &str) -> Result<PathBuf> {
    let plain = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !plain {
        return Err(Fault::new(
            Kind::Recipe,
            format!("the directory {name:?} leads out of the build root"),
        )
        .next("name a directory below it, without `..` and without a slash at its start"));
    }
    Ok(dir.join(name))
}

/// The same bytes under another name: a link where the file system allows it.
fn place(file: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        std::fs::create_dir_all(dir).map_err(|error| disk(dir, &error))?;
    }
    if std::fs::hard_link(file, to).is_err() {
        std::fs::copy(file, to).map_err(|error| disk(to, &error))?;
    }
    Ok(())
}

/// Runs something blocking while its progress is told; the work stops when the build is cancelled.
async fn watched<T: Send + 'static>(
    what: &str,
    events: Events<'_>,
    bytes: Arc<AtomicU64>,
    work: impl std::future::Future<Output = Result<T>>,
) -> Result<T> {
    let mut work = std::pin::pin!(work);
    let mut tick = tokio::time::interval(TELL);
    tick.tick().await;
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = tick.tick() => {
                let bytes = bytes.load(Ordering::Relaxed);
                events(BuildEvent::Moved { what: what.to_owned(), bytes, of: None });
            }
        }
    }
}

async fn unpack(
    ctx: &BuildContext,
    archive: &Archive,
    file: PathBuf,
    build_root: &Path,
    events: Events<'_>,
) -> Result<()> {
    let into = below(build_root, &archive.directory)?;
    let (name, strip, owner) = (archive.file_name.clone(), archive.strip_dirs, owner(ctx));
    let moved = Arc::new(AtomicU64::new(0));
    let (count, cancel) = (moved.clone(), ctx.cancel.clone());
    let work = tokio::task::spawn_blocking(move || {
        let what = Unpack::new(&file, &name, &into)
            .stripping(strip)
            .owned_by(owner);
        archive::unpack(&what, &mut |bytes| {
            count.store(bytes, Ordering::Relaxed);
            !cancel.is_cancelled()
        })
    });
    let work = async {
        match work.await {
            Ok(result) => result,
            Err(error) => Err(Fault::bug("unpacking ended oddly").because(&error)),
        }
    };
    watched(
        &format!("unpacking {}", archive.file_name),
        events,
        moved,
        work,
    )
    .await
    .map(|_| ())
}

async fn checkout(
    ctx: &BuildContext,
    git: &GitSource,
    build_root: &Path,
    events: Events<'_>,
) -> Result<()> {
    let what = Export {
        url: git.url.clone(),
        commit: git.commit,
        into: below(build_root, &git.directory)?,
        owner: owner(ctx),
    };
    let moved = Arc::new(AtomicU64::new(0));
    let (count, cancel) = (moved.clone(), ctx.cancel.clone());
    let told = Arc::new(move |bytes| {
        count.store(bytes, Ordering::Relaxed);
        !cancel.is_cancelled()
    });
    let work = gitsource::export(&ctx.git, what, told);
    watched(&format!("fetching {}", git.url), events, moved, work)
        .await
        .map(|_| ())
}
