//! `massif demo`: a whole farm in a new directory builds the example recipes, and says how a client installs the result.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use super::Host;
use super::serving::runtime;
use crate::admin::host::{Call as HostCall, Status};
use crate::admin::summit::{Call as SummitCall, JobList, Jobs, ProjectAdd};
use crate::admin::vessel::{
    Call as VesselCall, Imported, PackageImport, PackageImportBase, PackageList, Packages,
};
use crate::admin::view::{JobState, JobView};
use crate::admin::{Call, Caller, Method, Right};
use crate::build::handmade::{self, HandmadeFile};
use crate::config::{Front, HTTP_DEFAULT, HostOptions, LISTEN_DEFAULT};
use crate::fault::{Fault, Kind, Result};
use crate::id::Arch;
use crate::net::admin::Answer;
use crate::stone::{Dependency, DependencyKind, Meta};

/// The example recipes, carried in the program so that the demo needs no checkout. A test holds them against the folder.
pub const EXAMPLES: &[(&str, &[u8])] = &[
    (
        "README.md",
        include_bytes!("../../examples/recipes/README.md"),
    ),
    (
        "c/counts/pkg/counts.c",
        include_bytes!("../../examples/recipes/c/counts/pkg/counts.c"),
    ),
    (
        "c/counts/stone.yaml",
        include_bytes!("../../examples/recipes/c/counts/stone.yaml"),
    ),
    (
        "e/egg/pkg/egg",
        include_bytes!("../../examples/recipes/e/egg/pkg/egg"),
    ),
    (
        "e/egg/stone.yaml",
        include_bytes!("../../examples/recipes/e/egg/stone.yaml"),
    ),
    (
        "h/handbook/pkg/handbook.txt.in",
        include_bytes!("../../examples/recipes/h/handbook/pkg/handbook.txt.in"),
    ),
    (
        "h/handbook/stone.yaml",
        include_bytes!("../../examples/recipes/h/handbook/stone.yaml"),
    ),
    (
        "h/hen/pkg/hen",
        include_bytes!("../../examples/recipes/h/hen/pkg/hen"),
    ),
    (
        "h/hen/stone.yaml",
        include_bytes!("../../examples/recipes/h/hen/stone.yaml"),
    ),
    (
        "s/stencil/pkg/stencil",
        include_bytes!("../../examples/recipes/s/stencil/pkg/stencil"),
    ),
    (
        "s/stencil/stone.yaml",
        include_bytes!("../../examples/recipes/s/stencil/stone.yaml"),
    ),
    (
        "t/tally/pkg/Makefile",
        include_bytes!("../../examples/recipes/t/tally/pkg/Makefile"),
    ),
    (
        "t/tally/pkg/tally.c",
        include_bytes!("../../examples/recipes/t/tally/pkg/tally.c"),
    ),
    (
        "t/tally/pkg/tally.h",
        include_bytes!("../../examples/recipes/t/tally/pkg/tally.h"),
    ),
    (
        "t/tally/pkg/tally.pc.in",
        include_bytes!("../../examples/recipes/t/tally/pkg/tally.pc.in"),
    ),
    (
        "t/tally/stone.yaml",
        include_bytes!("../../examples/recipes/t/tally/stone.yaml"),
    ),
    (
        "w/welcome/pkg/welcome",
        include_bytes!("../../examples/recipes/w/welcome/pkg/welcome"),
    ),
    (
        "w/welcome/stone.yaml",
        include_bytes!("../../examples/recipes/w/welcome/stone.yaml"),
    ),
];

/// The half of the cycle that comes from elsewhere.
const SEED: &str = "e/egg/pkg/egg";
/// Longest time without any job that ends or begins.
const STALL: Duration = Duration::from_secs(300);

/// Runs a host with the example recipes; returns when everything is published. On a terminal it goes on serving until
/// Ctrl-C, so that the lines that it prints can be tried.
pub fn demo(options: HostOptions) -> Result<()> {
    runtime()?.block_on(run(options))
}

async fn run(mut options: HostOptions) -> Result<()> {
    options.front = Front::Headless;
    // The usual ports may be a real farm's.
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    if options.config.http == HTTP_DEFAULT.parse().unwrap_or(free) {
        options.config.http = free;
    }
    if options.config.listen == LISTEN_DEFAULT.parse().unwrap_or(free) {
        options.config.listen = free;
    }
    let began = Instant::now();
    let recipes = options.dir.join("recipes");
    let again = recipes.exists();
    println!("a farm in {}", options.dir.display());
    let host = Host::start(&options).await?;
    let outcome = act(&host, &options, again, &recipes).await;
    let outcome = match outcome {
        Ok(packages) => {
            finish(&host, &options, &packages, began.elapsed());
            if std::io::stdout().is_terminal() {
                // Heard from before it is said. Without a handler Ctrl-C would end the process at once, which loses nothing.
                let interrupted = signal(SignalKind::interrupt());
                println!("\nIt goes on serving until Ctrl-C.");
                if let Ok(mut interrupted) = interrupted {
                    interrupted.recv().await;
                }
            }
            Ok(())
        }
        Err(fault) => Err(fault),
    };
    host.stop().await;
    outcome
}

async fn ask<M: Method>(host: &Host, method: M, call: impl FnOnce(M) -> Call) -> Result<M::Reply> {
    let uid = nix::unistd::geteuid().as_raw();
    let gid = nix::unistd::getegid().as_raw();
    let caller = Caller {
        key: None,
        uid,
        gid,
        pid: 0,
        right: Right::Admin,
        name: "demo".into(),
    };
    match host
        .desk
        .clone()
        .handle(caller, call(method), false)
        .await?
    {
        Answer::One(reply) => serde_json::from_str(reply.as_json()).map_err(|error| {
            Fault::bug(format!("the answer of {} cannot be read", M::NAME)).because(&error)
        }),
        Answer::Stream(_) => Err(Fault::bug(format!("{} answered as a stream", M::NAME))),
    }
}

async fn act(host: &Host, options: &HostOptions, again: bool, recipes: &Path) -> Result<Packages> {
    if !again {
        commit_examples(recipes)?;
        println!("seven example recipes committed in {}", recipes.display());
        println!("looking at what this machine provides to builds ...");
        let base = PackageImportBase {
            name: "demo-base".into(),
            dir: "/".into(),
            channel: None,
        };
        let imported: Imported = ask(host, base, |call| {
            Call::Vessel(VesselCall::PackageImportBase(call))
        })
        .await?;
        for package in imported.import.added {
            println!(
                "package {} stands for what this machine provides",
                package.name
            );
        }
        let seed = seed(&options.dir)?;
        let files = vec![seed.display().to_string()];
        let wish = PackageImport {
            files,
            channel: None,
        };
        ask(host, wish, |call| {
            Call::Vessel(VesselCall::PackageImport(call))
        })
        .await?;
        println!("package egg 1.0.0-1 imported: an older egg, to open the cycle of hen and egg");
        let name = "demo"
            .parse()
            .map_err(|error| Fault::bug("the demo has no name").because(&error))?;
        let add = ProjectAdd {
            name,
            url: recipes.display().to_string(),
            branch: None,
            build_all: Some(true),
        };
        ask(host, add, |call| Call::Summit(SummitCall::ProjectAdd(call))).await?;
    }
    wait(host).await?;
    let wish = PackageList {
        channel: None,
        version: None,
        text: None,
        after: None,
        limit: None,
    };
    ask(host, wish, |call| {
        Call::Vessel(VesselCall::PackageList(call))
    })
    .await
}

/// Shows what runs until every job is at its end; fails when one failed, or when nothing moves any more.
async fn wait(host: &Host) -> Result<()> {
    let live = std::io::stderr().is_terminal();
    let bar = if live {
        ProgressBar::new(0)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("[{bar:24}] {pos}/{len} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut told: BTreeMap<crate::id::JobId, JobState> = BTreeMap::new();
    let mut moved = Instant::now();
    loop {
        let wish = JobList {
            states: Vec::new(),
            recipe: None,
            project: None,
            after: None,
            limit: None,
        };
        let Jobs { jobs, .. } =
            ask(host, wish, |call| Call::Summit(SummitCall::JobList(call))).await?;
        let mut running = Vec::new();
        for job in jobs.iter().rev() {
            if let Some(text) = news(job, &mut told) {
                moved = Instant::now();
                bar.suspend(|| println!("{text}"));
            }
            if job.state == JobState::Building {
                let phase = job
                    .attempts
                    .last()
                    .and_then(|attempt| attempt.phase.clone())
                    .unwrap_or_default();
                running.push(format!("{} {phase}", job.recipe));
            }
        }
        let over = jobs.iter().filter(|job| job.state.is_final()).count();
        bar.set_length(jobs.len() as u64);
        bar.set_position(over as u64);
        let status = ask(host, Status {}, |call| Call::Host(HostCall::Status(call)));
        let left = status.await?.status.end_p50_s.filter(|_| over < jobs.len());
        let left = left.map_or_else(String::new, |left| match left {
            ..120.0 => format!("; about {:.0} s left", left.max(1.0)),
            _ => format!("; about {:.0} min left", left / 60.0),
        });
        bar.set_message(running.join(", ") + &left);
        if !jobs.is_empty() && over == jobs.len() {
            bar.finish_and_clear();
            let failed = jobs
                .iter()
                .find(|job| job.state != JobState::Published && job.state != JobState::Superseded);
            return failed.map_or(Ok(()), |job| Err(failure(job)));
        }
        if moved.elapsed() > STALL {
            bar.finish_and_clear();
            let waits = jobs.iter().find(|job| !job.state.is_final());
            return Err(waits.map_or_else(|| Fault::bug("nothing was planned"), failure));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A line when a job's state is another than before.
fn news(job: &JobView, told: &mut BTreeMap<crate::id::JobId, JobState>) -> Option<String> {
    if told.insert(job.id, job.state) == Some(job.state) {
        return None;
    }
    let what = format!("{} {}-{}", job.recipe, job.version, job.release);
    match job.state {
        JobState::Waiting => {
            let why = job.waits_for.first().map_or("", |wait| wait.text.as_str());
            Some(format!("  waiting    {what}: {why}"))
        }
        JobState::Building => Some(format!("  building   {what}")),
        JobState::Published => Some(format!("  published  {what}")),
        JobState::Failed => Some(format!("  failed     {what}")),
        JobState::Ready | JobState::Publishing | JobState::Cancelled | JobState::Superseded => None,
    }
}

fn failure(job: &JobView) -> Fault {
    let why = job
        .waits_for
        .first()
        .map_or_else(String::new, |wait| format!(": {}", wait.text));
    let what = format!(
        "{} {}-{} is {}{why}",
        job.recipe,
        job.version,
        job.release,
        job.state.as_str()
    );
    Fault::new(Kind::Builder, what).next("`massif doctor` says what this machine lacks")
}

fn finish(host: &Host, options: &HostOptions, packages: &Packages, took: Duration) {
    println!(
        "\n{} packages are published after {:.1} s:",
        packages.packages.len(),
        took.as_secs_f64()
    );
    for package in &packages.packages {
        println!(
            "  {:<16} {}-{}-{}  {}",
            package.name, package.version, package.release, package.build_release, package.summary
        );
    }
    let dir = options.dir.display();
    println!(
        "\nA client installs them with the distribution's package manager:\n  moss -D ROOT repo add demo http://{} --root-index version=stream/volatile,channel=main,arch={}\n  moss -D ROOT install -y counts",
        host.http,
        Arch::OF_THIS_PROGRAM
    );
    println!(
        "\nLook around, change a recipe in {dir}/recipes, commit, and see it built:\n  massif up --dir {dir}\n  massif --dir {dir} status\n  massif --dir {dir} recipe show tally\n  massif --dir {dir} job log counts"
    );
}

/// An egg that was laid elsewhere.
fn seed(dir: &Path) -> Result<tempfile::TempPath> {
    let content = EXAMPLES
        .iter()
        .find(|(path, _)| *path == SEED)
        .map_or(&[][..], |(_, content)| content);
    let meta = Meta {
        name: "egg".into(),
        version: "1.0.0".into(),
        release: 1,
        build_release: 1,
        arch: Arch::OF_THIS_PROGRAM,
        summary: "Hatches hens".into(),
        description: "An egg that was laid elsewhere.".into(),
        source: "egg".into(),
        homepage: "https://example.org/egg".into(),
        licenses: vec!["Apache-2.0".into()],
        depends: Vec::new(),
        provides: vec![Dependency::new(DependencyKind::Binary, "egg")],
        conflicts: Vec::new(),
        build_depends: Vec::new(),
        uri: None,
        hash: None,
        size: None,
    };
    handmade::write(
        dir,
        &meta,
        &[HandmadeFile {
            path: "bin/egg".into(),
            executable: true,
            content,
        }],
    )
}

/// Makes a git repository of the examples, with their files checked out so that a person can go on from there.
fn commit_examples(dir: &Path) -> Result<()> {
    let failed = |error: &dyn std::error::Error| {
        Fault::new(
            Kind::Operator,
            format!("cannot make the example repository in {}", dir.display()),
        )
        .because(error)
    };
    for (path, content) in EXAMPLES {
        let file = dir.join(path);
        std::fs::create_dir_all(file.parent().unwrap_or(dir)).map_err(|error| failed(&error))?;
        std::fs::write(&file, content).map_err(|error| failed(&error))?;
    }
    let options = gix::open::Options::isolated();
    let repo = gix::ThreadSafeRepository::init_opts(
        dir,
        gix::create::Kind::WithWorktree,
        gix::create::Options::default(),
        options,
    )
    .map_err(|error| failed(&error))?
    .to_thread_local();
    let empty = repo.empty_tree().id;
    let mut editor = repo.edit_tree(empty).map_err(|error| failed(&error))?;
    for (path, content) in EXAMPLES {
        let blob = repo.write_blob(content).map_err(|error| failed(&error))?;
        editor
            .upsert(*path, gix::objs::tree::EntryKind::Blob, blob)
            .map_err(|error| failed(&error))?;
    }
    let tree = editor.write().map_err(|error| failed(&error))?.detach();
    let who = gix::actor::Signature {
        name: "massif demo".into(),
        email: "demo@example.org".into(),
        time: gix::date::Time::now_utc(),
    };
    let commit = gix::objs::Commit {
        tree,
        parents: Vec::new().into(),
        author: who.clone(),
        committer: who,
        encoding: None,
        message: "Add the example recipes".into(),
        extra_headers: Vec::new(),
    };
    let id = repo.write_object(&commit).map_err(|error| failed(&error))?;
    let git = dir.join(".git");
    std::fs::create_dir_all(git.join("refs/heads")).map_err(|error| failed(&error))?;
    std::fs::write(git.join("refs/heads/main"), format!("{id}\n"))
        .map_err(|error| failed(&error))?;
    let mut index = repo
        .index_from_tree(&tree)
        .map_err(|error| failed(&error))?;
    index
        .write(gix::index::write::Options::default())
        .map_err(|error| failed(&error))?;
    Ok(())
}
