//! Measures what a processor level is worth: one order is built for each level in a sandbox of its own, and then the recipe's
//! workload runs in all of them in turns, on the same cores.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};

use super::blame::{End, Ended};
use super::log::{self, Log};
use super::prepare::Places;
use super::run::Run;
use super::{BuildContext, BuildEvent, Failure, Stage};
use crate::build::layers::Held;
use crate::build::sandbox::{LogReader, Session, Step};
use crate::build::watch::Dog;
use crate::fault::{Fault, Kind};
use crate::limit;
use crate::model::isa::{IsaRun, RUN_S_MAX, Timed};
use crate::model::order::{BuildOrder, Usage};
use crate::model::{Blame, IsaLevel};
use crate::recipe::Recipe;
use crate::recipe::script::{self, Scripts};

/// What the script of a measurement is called, among the scripts of the phases.
const WORKLOAD: &str = "workload";

/// A level that was built, with all that keeps its sandbox.
struct Built {
    recipe: Recipe,
    scripts: Scripts,
    places: Places,
    held: Held,
    session: Session,
}

/// One level of a measurement.
struct Side {
    level: IsaLevel,
    ctx: BuildContext,
    order: BuildOrder,
}

/// Builds an order for each of these levels and runs its workload in turns; the first level is what others are held against.
/// Nothing that it makes stays.
pub async fn measure(
    ctx: &BuildContext,
    order: &BuildOrder,
    levels: &[IsaLevel],
    runs: u32,
    events: &(dyn Fn(BuildEvent) + Send + Sync),
) -> std::result::Result<(IsaRun, Usage), Failure> {
    let (log, dog) = super::run::watched(ctx, order)?;
    let hear = super::run::heard(&dog, events);
    let events: super::Events<'_> = &hear;
    let sides: Vec<Side> = levels
        .iter()
        .zip(0..)
        .map(|(level, at)| side(ctx, order, *level, at))
        .collect();
    let group = ctx.group(order.attempt);
    let mut all: Vec<Run<'_>> = sides
        .iter()
        .map(|side| {
            let mut run = Run::new(&side.ctx, &side.order, &log, events, &dog);
            run.group.clone_from(&group);
            run
        })
        .collect();
    for run in &all {
        run.header();
    }
    let measured = whole(&sides, &mut all, runs, &log, events, &dog).await;
    let mut usage = Usage::default();
    for run in &mut all {
        run.leave_stage();
        usage.cpu_ms = Some(usage.cpu_ms.unwrap_or(0) + run.usage.cpu_ms.unwrap_or(0));
        usage.memory_bytes = usage.memory_bytes.max(run.usage.memory_bytes);
    }
    let wall_ms = all.first().map(|run| run.begun.elapsed().as_millis());
    usage.wall_ms = wall_ms.and_then(|ms| u64::try_from(ms).ok());
    match measured {
        Ok(run) => {
            usage.log_bytes = Some(log.close());
            Ok((run, usage))
        }
        Err((at, end)) => {
            let Some(run) = all.get(at) else {
                return Err(super::run::no_log(
                    &ctx.log,
                    &std::io::Error::other("no level"),
                ));
            };
            let end = run.settle_blame(end);
            let tail = log.last_lines();
            run.landmark(&format!("failed, by {}: {}", end.blame, end.fault));
            usage.log_bytes = Some(log.close());
            Err(Failure {
                blame: end.blame,
                stage: run.stage,
                code: end.code,
                cancelled: end.cancelled,
                fault: end.fault,
                tail,
                phases: Vec::new(),
                evidence: end.evidence,
                usage,
            })
        }
    }
}

fn side(ctx: &BuildContext, order: &BuildOrder, level: IsaLevel, at: usize) -> Side {
    let mut order = order.clone();
    order.profile.level = level;
    // Time that a phase may take is its profile's; a run of the workload has a bound of its own.
    let ctx = BuildContext {
        attempt_dir: ctx.attempt_dir.join(format!("level-{at}")),
        ..ctx.clone()
    };
    Side { level, ctx, order }
}

/// An end, and of which level.
type Of<T> = std::result::Result<T, (usize, End)>;

async fn whole(
    sides: &[Side],
    all: &mut [Run<'_>],
    runs: u32,
    log: &Log,
    events: super::Events<'_>,
    dog: &Dog,
) -> Of<IsaRun> {
    let mut built = Vec::new();
    let mut readers = Vec::new();
    for (at, run) in all.iter_mut().enumerate() {
        let (one, reader) = open(run).await.map_err(|end| (at, end))?;
        events(BuildEvent::Started {
            init_pid: one.session.init_pid(),
        });
        built.push(one);
        readers.push(reader);
    }
    let reading = join_all(
        readers
            .into_iter()
            .map(|reader| log::pump(reader, log, events)),
    );
    let work = async move {
        let done = build_and_run(sides, all, &mut built, runs).await;
        for one in built {
            // Nothing of it is needed; what cannot be killed shows when the slot is used again. Its root goes after it.
            let _ = one.session.kill().await;
        }
        done
    };
    let (done, _) = join(work, reading).await;
    dog.leave(Duration::from_secs(limit::SILENCE_S_MAX));
    done
}

/// A sandbox with everything unpacked in it.
async fn open(run: &mut Run<'_>) -> Ended<(Built, LogReader)> {
    let places = Places::make(run.ctx)?;
    let (recipe, scripts, held) = run.prepare(&places).await?;
    let spec = run.spec(&places, &held, recipe.options.networking);
    let (session, reader) = Session::start_in(spec, run.group.clone()).await?;
    let built = Built {
        recipe,
        scripts,
        places,
        held,
        session,
    };
    Ok((built, reader))
}

async fn build_and_run(
    sides: &[Side],
    all: &mut [Run<'_>],
    built: &mut [Built],
    runs: u32,
) -> Of<IsaRun> {
    let mut script = "";
    for (at, (run, one)) in all.iter_mut().zip(built.iter_mut()).enumerate() {
        script = build_one(run, one).await.map_err(|end| (at, end))?;
    }
    let load = load_percent();
    let mut levels: Vec<Timed> = sides
        .iter()
        .map(|side| Timed {
            level: side.level,
            cpu_ms: Vec::new(),
            wall_ms: Vec::new(),
        })
        .collect();
    // The first turn warms caches and is not counted.
    for turn in 0..=runs {
        let count = levels.len();
        for place in 0..count {
            // Each turn begins with another level, so that what is slow at the beginning of a turn is nobody's.
            let at = (place + turn as usize) % count.max(1);
            let (Some(run), Some(one), Some(timed)) =
                (all.get_mut(at), built.get_mut(at), levels.get_mut(at))
            else {
                continue;
            };
            let (cpu_ms, wall_ms) = run_once(run, one, turn).await.map_err(|end| (at, end))?;
            if turn > 0 {
                timed.cpu_ms.push(cpu_ms);
                timed.wall_ms.push(wall_ms);
            }
        }
    }
    let cores = all.first().map_or(0, Run::jobs);
    Ok(IsaRun {
        script: script.into(),
        levels,
        processor: processor(),
        cores,
        load_percent: load,
    })
}

/// Runs the phases of one level and makes its workload ready; what is run, by the recipe's word for it.
async fn build_one(run: &mut Run<'_>, one: &mut Built) -> Ended<&'static str> {
    let idle_max = Duration::from_secs(run.order.limits.silence_s);
    run.dog.follow(one.session.init_pid(), idle_max);
    run.fit(
        &one.recipe,
        &mut one.scripts,
        &one.held.root,
        &one.places,
        &mut one.session,
    )
    .await?;
    let setting = run
        .fitted
        .clone()
        .unwrap_or_else(|| run.setting(&one.recipe));
    let (word, text) = match script::workload(&one.recipe, &setting)? {
        Some(found) => found,
        None => {
            return Err(Fault::new(
                Kind::Recipe,
                format!(
                    "{} has neither a workload nor a check to measure",
                    run.order.recipe
                ),
            )
            .next("give it a `workload` that does what it is used for, for a second or more")
            .into());
        }
    };
    let path = one.places.scripts.join(WORKLOAD);
    std::fs::write(&path, text).map_err(|error| super::prepare::disk(&path, &error))?;
    let phases = one.scripts.phases.clone();
    for phase in phases
        .iter()
        .filter(|phase| phase.phase != script::Phase::Check)
    {
        let stage = super::run::stage_of(phase.phase);
        run.enter(stage);
        let step = run.step(stage, &one.scripts.work_dir, &one.scripts);
        let phase_s = run.order.limits.phase_s;
        let end = run.run_step(&mut one.session, step, phase_s).await?;
        if !end.ok() {
            return Err(run.phase_failed(stage, end.exit));
        }
    }
    Ok(word)
}

/// One run of the workload; its processor time and its time by the clock.
async fn run_once(run: &mut Run<'_>, one: &mut Built, turn: u32) -> Ended<(u64, u64)> {
    let idle_max = Duration::from_secs(run.order.limits.silence_s);
    run.dog.follow(one.session.init_pid(), idle_max);
    run.enter(Stage::Check);
    let step = Step {
        name: WORKLOAD.into(),
        argv: vec![
            "/usr/bin/bash".into(),
            format!("{}/{WORKLOAD}", super::run::SCRIPTS),
        ],
        cwd: PathBuf::from(&one.scripts.work_dir),
        env: one.scripts.env.clone().into_iter().collect(),
        banner: run.mark(&format!(
            "workload, turn {turn}, {:?}",
            run.order.profile.level
        )),
    };
    let begun = Instant::now();
    let longest = run.order.limits.phase_s.unwrap_or(RUN_S_MAX).min(RUN_S_MAX);
    let end = run.run_step(&mut one.session, step, Some(longest)).await;
    let end = end.map_err(|mut end| {
        if begun.elapsed() >= Duration::from_secs(longest) && !end.cancelled {
            end.blame = Blame::Recipe;
            end.fault = Fault::new(
                Kind::Recipe,
                format!(
                    "the workload of {} did not end in {longest} s",
                    run.order.recipe
                ),
            )
            .next("give it less to do: it is run many times");
        }
        end
    })?;
    if !end.ok() {
        let mut failed = run.phase_failed(Stage::Check, end.exit);
        failed.fault.what = failed.fault.what.replacen("check", "the workload", 1);
        return Err(failed);
    }
    Ok((end.cpu_ms, end.wall_ms))
}

/// What the kernel calls the processor.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = line.and_then(|line| line.split_once(':'));
    let name = name.map_or("a processor without a name", |(_, name)| name.trim());
    name.chars().filter(char::is_ascii).take(120).collect()
}

fn load_percent() -> Option<u32> {
    use procfs::Current;
    let load = procfs::LoadAverage::current().ok()?.one;
    // Our own build was part of it: one for each core is left out.
    Some((load * 100.0) as u32)
}
