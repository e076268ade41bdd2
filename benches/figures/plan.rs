//! The order: plans of the real recipes, cuts, makespans against their bounds, and the dispatcher under load.

#[path = "starvation.rs"]
mod starvation;

use std::path::Path;
use std::time::{Duration, Instant};

use super::table::Table;

use massif::actors::summit::reader::Repo;
use massif::id::{Arch, CommitId, HostId, JobId, Now, Stamp};
use massif::model::{Catalog, Entry, IsaLevel, Profile, Reading};
use massif::plan::simulate::{Ranking, SimJob, lower_bound, plain_bound, simulate};
use massif::plan::whole::{Ask, Known, Whole, equal_builders, plan};
use massif::plan::{
    BuilderSpec, Edges, Happened, Isolation, JobSpec, Planner, ProjectRules, Rebuild, Requirements,
    Schedule, Trust, picture,
};
use massif::stone::{Dependency, DependencyKind};

/// Prints the figures; those of real recipes need the bundle and the git program. With `--readme` the table goes into the README
/// and the plot into `docs/`.
pub fn run() {
    let readme = std::env::args().any(|arg| arg == "--readme");
    let mut table = Table::of("plan");
    let Some((_dir, path)) = super::intake::clone() else {
        println!("plan: skipped (needs ../shared/data/recipes/recipes.bundle and git)");
        return;
    };
    let commits = super::intake::commits(&path);
    let tip = *commits.last().unwrap();
    cold(&path, &mut table);
    other_commits(&path, &commits, &mut table);
    let repo = Repo::open(&path).unwrap();
    let catalog = repo
        .catalog(&"plan".parse().unwrap(), tip, Arch::X86_64, None)
        .unwrap();
    warm(&repo, &commits, &mut table);
    cuts(&catalog, &mut table);
    makespans(&catalog, readme, &mut table);
    dispatch(&mut table);
    twenty_thousand(&catalog, &mut table);
    starvation::run(&mut table);
    if readme {
        table.write();
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}

/// A process of its own, from its start to the last byte of its answer.
fn plan_process(path: &Path, more: &[&str]) -> (Duration, serde_json::Value) {
    let start = Instant::now();
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_massif"))
        .args(["plan", "--json", "--empty", "--edges", "manifest", "--git"])
        .arg(path)
        .args(more)
        .output()
        .unwrap();
    let took = start.elapsed();
    (took, serde_json::from_slice(&out.stdout).unwrap())
}

fn cold(path: &Path, table: &mut Table) {
    let median = |more: &[&str]| {
        let mut times: Vec<Duration> = (0..5).map(|_| plan_process(path, more).0).collect();
        percentile(&mut times, 0.5)
    };
    let (before, full) = (median(&["--search-steps", "0"]), median(&[]));
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    let peak_mib = usage.map_or(0, |usage| usage.max_rss() / 1024);
    let measured = format!(
        "{:.2} s, {:.2} s of it before the search; {peak_mib} MiB",
        full.as_secs_f64(),
        before.as_secs_f64()
    );
    table.row(
        "git objects of the tip to an ordered, simulated plan with its default search, a new process each time, 1,558 recipes",
        measured,
        "≤ 2.0 s, ≤ 0.5 s before the search; ≤ 150 MiB",
    );
}

/// The tip and five other commits.
fn other_commits(path: &Path, commits: &[CommitId], table: &mut Table) {
    let mut worst = Duration::ZERO;
    let mut cuts = Vec::new();
    for at in 0..6 {
        let commit = commits[(commits.len() - 1) * at / 5].to_string();
        let (took, plan) = plan_process(path, &["--commit", &commit]);
        worst = worst.max(took);
        let largest = plan["cycles"][0].clone();
        let count = |what: &str| largest[what].as_array().map_or(0, Vec::len);
        cuts.push(format!("{} of {}", count("cuts"), count("members")));
    }
    table.row(
        "the same at six commits spread over the bundle, the tip among them",
        format!(
            "{:.2} s at worst; cuts of the largest component: {}",
            worst.as_secs_f64(),
            cuts.join(", ")
        ),
        "",
    );
}

fn rules() -> ProjectRules {
    ProjectRules {
        profiles: vec!["main".parse().unwrap()],
        chosen: std::collections::BTreeMap::new(),
        priority: 0,
        rebuild: Rebuild::Broken,
        second_pass: false,
    }
}

fn planner(edges: Edges) -> Planner {
    let mut profile = Profile::laptop("main".parse().unwrap(), "main".parse().unwrap());
    profile.arch = Arch::X86_64;
    let mut planner = Planner::new(edges);
    planner.set_profile(&profile);
    planner
}

fn open_wanted(planner: &mut Planner, next: &mut u64) {
    for wanted in planner.jobs_wanted() {
        *next += 1;
        planner.open(&wanted.target, JobId(*next), &wanted.because);
    }
}

fn warm(repo: &Repo, commits: &[CommitId], table: &mut Table) {
    let project = "plan".parse().unwrap();
    let mut planner = planner(Edges::Manifest);
    planner.set_project(&project, rules());
    let mut last = repo
        .catalog(&project, commits[0], Arch::X86_64, None)
        .unwrap();
    let mut next = 0;
    planner.set_catalog(&last);
    open_wanted(&mut planner, &mut next);
    planner.settle(20_000);
    let mut times = Vec::new();
    for commit in &commits[1..] {
        let start = Instant::now();
        last = repo
            .catalog(&project, *commit, Arch::X86_64, Some(&last))
            .unwrap();
        planner.set_catalog(&last);
        open_wanted(&mut planner, &mut next);
        planner.settle(20_000);
        times.push(start.elapsed());
    }
    table.row(
        "next commit of the bundle with everything open, warm",
        format!(
            "{:.1} ms median of {}, {:.1} ms at worst",
            ms(percentile(&mut times, 0.5)),
            times.len(),
            ms(percentile(&mut times, 1.0))
        ),
        "≤ 50 ms median",
    );
}

/// Steps of search that are tried.
const STEPS: [u64; 8] = [
    0, 10_000, 30_000, 60_000, 100_000, 300_000, 600_000, 1_000_000,
];

/// Cuts of the largest component, its size, its lower bound and the time of settling, with this many steps.
fn cut(catalog: &Catalog, edges: Edges, steps: u64) -> (usize, usize, usize, Duration) {
    let mut planner = planner(edges);
    planner.set_project(&catalog.project, rules());
    planner.set_catalog(catalog);
    open_wanted(&mut planner, &mut 0);
    let start = Instant::now();
    planner.settle(steps);
    let took = start.elapsed();
    let cycles = planner.cycles(&"main".parse().unwrap());
    let largest = &cycles[0];
    (
        largest.cuts.len(),
        largest.members.len(),
        largest.cuts_min,
        took,
    )
}

fn cuts(catalog: &Catalog, table: &mut Table) {
    for (edges, name) in [(Edges::Manifest, "manifest"), (Edges::All, "all")] {
        let none = cut(catalog, edges, 0);
        let mut within = [none.0, none.0];
        let mut last = none;
        for steps in STEPS {
            if cfg!(debug_assertions) && steps > 30_000 {
                continue;
            }
            let found = cut(catalog, edges, steps);
            let search = found.3.saturating_sub(none.3);
            println!(
                "plan: cuts, --edges {name}, {steps} steps: {} of a component of {}, at least {} needed, {:.0} ms of search",
                found.0,
                found.1,
                found.2,
                ms(search)
            );
            for (best, limit_ms) in within.iter_mut().zip([100.0, 1_000.0]) {
                if ms(search) <= limit_ms {
                    *best = found.0.min(*best);
                    last = if found.0 <= last.0 { found } else { last };
                }
            }
        }
        table.row(
            &format!("cuts at the bundle's tip, `--edges {name}` (component of {})", none.1),
            format!(
                "{} within 100 ms of search, {} within 1 s, at least {} needed; {} without search (sifted)",
                within[0], within[1], last.2, none.0
            ),
            match edges {
                Edges::Manifest => "≤ 76 within 100 ms, ≤ 62 within 1 s",
                Edges::All => "measured",
            },
        );
    }
}

/// Seconds as `shared/tools/durations.py` spreads them: log-normal around a minute, a few giants.
fn known(catalog: &Catalog) -> std::collections::HashMap<String, Known> {
    let giants = [
        ("llvm", 5400.0),
        ("gcc", 5400.0),
        ("linux-desktop", 2400.0),
        ("firefox", 5400.0),
        ("chromium", 14400.0),
        ("qt6-webengine", 10800.0),
        ("webkitgtk", 6000.0),
        ("rust", 4500.0),
        ("libreoffice", 7200.0),
        ("thunderbird", 5000.0),
    ];
    let mut known = std::collections::HashMap::new();
    for entry in &catalog.entries {
        let name = entry.name().to_string();
        let giant = giants
            .iter()
            .find(|(giant, _)| *giant == name)
            .map(|(_, seconds)| *seconds);
        let mut chance = chance(&name);
        let normal =
            (-2.0 * chance().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * chance()).cos();
        let seconds = giant.unwrap_or_else(|| (60f64.ln() + 1.2 * normal).exp().clamp(5.0, 3600.0));
        let known_one = Known {
            seconds: Some(seconds),
            ..Known::default()
        };
        known.insert(name, known_one);
    }
    known
}

/// Numbers from 0 to 1 that follow from a name.
fn chance(name: &str) -> impl FnMut() -> f64 + use<> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut chance = massif::plan::cycles::chance::Chance::new(seed);
    move || chance.unit()
}

fn planned(catalog: &Catalog, edges: Edges) -> Whole {
    plan(&Ask {
        catalogs: vec![(Arch::X86_64, catalog.clone())],
        known: known(catalog),
        builders: equal_builders(4, &[Arch::X86_64]),
        empty: true,
        edges,
        steps: 300_000,
        ..Ask::default()
    })
}

fn makespans(catalog: &Catalog, draw: bool, table: &mut Table) {
    let whole = planned(catalog, Edges::Manifest);
    let counts = [1, 2, 4, 8, 16, 32, 64, 128];
    let names = [
        ("longest path (ours)", "#06c"),
        ("size first", "#c60"),
        ("first come", "#a0a"),
    ];
    let mut series: Vec<(&str, &str, Vec<(f64, f64)>)> = names
        .iter()
        .map(|(name, colour)| (*name, *colour, Vec::new()))
        .collect();
    series.push(("lower bound", "#080", Vec::new()));
    let mut worst = [0f64; 4];
    for count in counts {
        let builders = equal_builders(count, &[Arch::X86_64]);
        let bound = plain_bound(&whole.jobs, &builders);
        for (at, ranking) in [Ranking::LongestPath, Ranking::SizeFirst, Ranking::FirstCome]
            .into_iter()
            .enumerate()
        {
            let makespan = simulate(&whole.jobs, &builders, ranking).makespan_s;
            series[at].2.push((f64::from(count), makespan / 3600.0));
            if count >= 4 {
                worst[at] = worst[at].max(makespan / bound);
            }
        }
        series[3].2.push((f64::from(count), bound / 3600.0));
        let wrong = simulate(&off(&whole.jobs), &builders, Ranking::LongestPath).makespan_s;
        if count >= 4 {
            worst[3] = worst[3].max(wrong / bound);
        }
        println!(
            "plan: {count} builders, bound {bound:.0} s: ours {:.4}, with wrong estimates {:.4}",
            series[0].2.last().unwrap().1 * 3600.0 / bound,
            wrong / bound
        );
    }
    table.row(
        "makespan of a full rebuild over max(critical path, work / builders), known durations, 4 to 128 equal builders, at worst",
        format!(
            "{:.4}; size first {:.2}, first come {:.2}",
            worst[0], worst[1], worst[2]
        ),
        "≤ 1.005",
    );
    table.row(
        "the same with estimates off by a random factor of 0.5 to 2",
        format!("{:.4}", worst[3]),
        "≤ 1.02",
    );
    let svg = picture::lines(
        "hours of a full rebuild of the real recipes, by number of builders",
        &series,
    );
    if draw {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/makespan.svg");
        match std::fs::write(&file, svg) {
            Ok(()) => println!("plan: wrote docs/makespan.svg"),
            Err(error) => println!("plan: cannot write docs/makespan.svg: {error}"),
        }
    }
    let mut ratios = Vec::new();
    for whole in [whole, planned(catalog, Edges::All)] {
        let (jobs, builders) = mixed(&whole.jobs);
        let bound = lower_bound(&jobs, &builders);
        let makespan = simulate(&jobs, &builders, Ranking::LongestPath).makespan_s;
        ratios.push(format!("{:.4}", makespan / bound));
    }
    table.row(
        "makespan over its lower bound (docs/plan.md), 8 builders of 4 speeds, 2 of them too small for the heaviest tenth; the same with `--edges all`",
        ratios.join("; "),
        "≤ 1.10",
    );
}

/// Predictions that are wrong by a factor between a half and two.
fn off(jobs: &[SimJob]) -> Vec<SimJob> {
    let mut jobs = jobs.to_vec();
    for job in &mut jobs {
        let mut chance = chance(&job.label);
        job.predicted_s = job.actual_s * 2f64.powf(chance() * 2.0 - 1.0);
    }
    jobs
}

fn mixed(jobs: &[SimJob]) -> (Vec<SimJob>, Vec<BuilderSpec>) {
    let mut jobs = jobs.to_vec();
    let mut sorted: Vec<f64> = jobs.iter().map(|job| job.actual_s).collect();
    sorted.sort_by(f64::total_cmp);
    let heavy = sorted[sorted.len() * 9 / 10];
    for job in &mut jobs {
        job.needs.memory_mib = if job.actual_s >= heavy { 16_000 } else { 2_000 };
    }
    let mut builders = equal_builders(8, &[Arch::X86_64]);
    for (builder, speed) in builders
        .iter_mut()
        .zip([2.0, 2.0, 1.5, 1.5, 1.0, 1.0, 0.5, 0.5])
    {
        builder.speed = speed;
        builder.memory_mib = Some(if speed < 1.0 { 8_192 } else { 32_768 });
    }
    (jobs, builders)
}

fn twenty_thousand(catalog: &Catalog, table: &mut Table) {
    // A debug build is for trying the code.
    let copies = if cfg!(debug_assertions) { 2 } else { 13 };
    let mut large = Catalog {
        entries: Vec::new(),
        ..catalog.clone()
    };
    for copy in 0..copies {
        for entry in &catalog.entries {
            let Reading::Good(facts) = &entry.reading else {
                continue;
            };
            let mut facts = facts.as_ref().clone();
            let rename =
                |name: &Dependency| Dependency::new(name.kind, format!("{}-{copy}", name.name));
            facts.name = format!("{}-{copy}", facts.name).parse().unwrap();
            for need in &mut facts.needs {
                need.dependency = rename(&need.dependency);
            }
            // Cross-linked: each copy needs one recipe of the copy before.
            if copy > 0
                && let Some(need) = facts.needs.first_mut()
                && facts.packages.len() == 1
            {
                need.dependency =
                    Dependency::new(DependencyKind::Name, format!("zlib-{}", copy - 1));
            }
            for package in &mut facts.packages {
                package.name = format!("{}-{copy}", package.name);
                for name in package.provides.iter_mut().chain(&mut package.depends) {
                    *name = rename(name);
                }
            }
            large.entries.push(std::sync::Arc::new(Entry {
                dir: format!("{}-{copy}", entry.dir),
                tree: entry.tree,
                text: entry.text,
                reading: Reading::Good(Box::new(facts)),
            }));
        }
    }
    large.entries.sort_by(|a, b| a.dir.cmp(&b.dir));
    let time = |catalog: &Catalog, steps| {
        let ask = Ask {
            catalogs: vec![(Arch::X86_64, catalog.clone())],
            builders: equal_builders(16, &[Arch::X86_64]),
            empty: true,
            edges: Edges::Manifest,
            steps,
            ..Ask::default()
        };
        let start = Instant::now();
        std::hint::black_box(plan(&ask));
        start.elapsed()
    };
    let (small, big) = (time(catalog, 300_000), time(&large, 300_000));
    table.row(
        "plan of 20,000 recipes (the bundle's graph copied 13 times and cross-linked), default search",
        format!(
            "{:.2} s, {:.1} × the {:.2} s of {}",
            big.as_secs_f64(),
            big.as_secs_f64() / small.as_secs_f64(),
            small.as_secs_f64(),
            catalog.entries.len()
        ),
        "≤ 15 ×",
    );
}

fn clock(step: u64) -> Now {
    Now {
        wall: Stamp(step as i64 * 50),
        mono_ms: 1_000 + step * 50,
    }
}

/// Open jobs of the dispatcher's figure and its builders; a tenth in a debug build, which is for trying the code.
const LOAD: (u64, u32) = if cfg!(debug_assertions) {
    (20_000, 50)
} else {
    (200_000, 500)
};

/// Many open jobs, half of them ready, builders of 5 speeds and 3 sizes; every step one job ends and one comes.
fn dispatch(table: &mut Table) {
    let (jobs, builders) = LOAD;
    let mut chance = chance("dispatch");
    let mut schedule = Schedule::new();
    for number in 0..builders {
        let mut spec = equal_builders(1, &[Arch::X86_64]).remove(0);
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        spec.id = HostId(id);
        spec.slots = 1 + number % 3;
        spec.cores = 8 * spec.slots;
        spec.memory_mib = Some(8_192 * spec.slots);
        spec.speed = [0.5, 1.0, 1.0, 1.5, 2.0][number as usize % 5];
        schedule.take(Happened::Builder(spec), clock(0));
    }
    let mut job = |number: u64| JobSpec {
        job: JobId(number),
        label: "load".into(),
        account: format!("project-{}", number % 7).into(),
        needs: Requirements {
            arch: Arch::X86_64,
            level: IsaLevel::Baseline,
            trust: Trust::Trusted,
            isolation: Isolation::Sandbox,
            cores: 1 + (chance() * 4.0) as u32,
            memory_mib: (chance() * 12_000.0) as u32,
            disk_mib: (chance() * 8_000.0) as u32,
        },
        seconds: 5.0 + chance() * 600.0,
        path_s: 600.0 + chance() * 40_000.0,
        raise: 0,
    };
    for number in 0..jobs {
        schedule.take(Happened::Added(job(number)), clock(0));
        if number % 2 == 0 {
            schedule.take(Happened::Ready(JobId(number)), clock(0));
        }
    }
    let start = Instant::now();
    let mut running: std::collections::VecDeque<JobId> = schedule
        .decide(clock(0))
        .into_iter()
        .map(|a| a.job)
        .collect();
    let first = (running.len(), start.elapsed());
    let mut times = Vec::new();
    let (events, start) = (60_000u64, Instant::now());
    for step in 1..=events / 3 {
        let fresh = JobId(jobs + step);
        let ended = running.pop_front();
        let before = Instant::now();
        if let Some(ended) = ended {
            schedule.take(Happened::Gone(ended), clock(step));
            running.extend(schedule.decide(clock(step)).into_iter().map(|a| a.job));
        }
        times.push(before.elapsed());
        let spec = job(fresh.0);
        let before = Instant::now();
        schedule.take(Happened::Added(spec), clock(step));
        running.extend(schedule.decide(clock(step)).into_iter().map(|a| a.job));
        times.push(before.elapsed());
        let before = Instant::now();
        schedule.take(Happened::Ready(fresh), clock(step));
        running.extend(schedule.decide(clock(step)).into_iter().map(|a| a.job));
        times.push(before.elapsed());
    }
    let took = start.elapsed();
    table.row(
        &format!("pure `decide`, {jobs} open jobs, {builders} builders, one event each"),
        format!(
            "{:.0} events/s; p50 {:.3} ms, p99 {:.3} ms, {:.1} ms at worst; the first decision, which gives out {} jobs, {:.1} ms",
            events as f64 / took.as_secs_f64(),
            ms(percentile(&mut times, 0.5)),
            ms(percentile(&mut times, 0.99)),
            ms(percentile(&mut times, 1.0)),
            first.0,
            ms(first.1)
        ),
        "≥ 20,000 events/s, p99 ≤ 5 ms",
    );
}
