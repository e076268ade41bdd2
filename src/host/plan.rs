//! `massif plan --git`: a plan of a bare repository, without a farm. Reads files.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::actors::summit::reader::Repo;
use crate::admin::view::{CycleView, FaultView, PlanJobView, PlanView, UnresolvedView};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Arch, CommitId, HostId, HostName, RecipeName};
use crate::limit;
use crate::model::IsaLevel;
pub use crate::plan::Edges;
use crate::plan::whole::{Ask, Known, Row, Whole, equal_builders};
use crate::plan::{BuilderSpec, Isolation, Trust, whole};
use crate::stone::{Meta, repository};

/// What was typed.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// A work tree or a bare repository.
    pub git: PathBuf,
    /// A full commit id or a branch; `None`: what HEAD names.
    pub commit: Option<String>,
    /// Files in the index format: what is published.
    pub indexes: Vec<PathBuf>,
    /// A JSON object: recipe name to seconds, or to an object with `seconds`, `memory_mib`, `disk_mib`.
    pub durations: Option<PathBuf>,
    /// So many builders that are all alike.
    pub builders: Option<u32>,
    /// A JSON array of builders.
    pub builders_file: Option<PathBuf>,
    /// Build everything.
    pub empty: bool,
    /// Which edges count.
    pub edges: Edges,
    /// Effort of the search for cuts.
    pub steps: Option<u64>,
    /// For these; none: x86_64.
    pub archs: Vec<Arch>,
}

/// The plan of a repository as its rows and as a whole.
pub fn plan(options: &PlanOptions) -> Result<(Vec<PlanJobView>, PlanView)> {
    let (whole, builders) = whole_plan(options)?;
    let rows = whole
        .rows
        .iter()
        .map(|row| row_view(row, &whole, &builders))
        .collect();
    Ok((rows, view(&whole)))
}

/// The plan and the builders that it was simulated with.
pub fn whole_plan(options: &PlanOptions) -> Result<(Whole, Vec<BuilderSpec>)> {
    let archs = match options.archs.as_slice() {
        [] => vec![Arch::X86_64],
        archs => archs.to_vec(),
    };
    let repo = Repo::open(&options.git)?;
    let commit = match options.commit.as_deref().map(str::parse::<CommitId>) {
        Some(Ok(commit)) => commit,
        Some(Err(_)) => repo.tip(options.commit.as_deref())?,
        None => repo.tip(None)?,
    };
    let project = "plan"
        .parse()
        .map_err(|_| Fault::bug("a fixed name does not parse"))?;
    let mut catalogs = Vec::new();
    for arch in &archs {
        catalogs.push((*arch, repo.catalog(&project, commit, *arch, None)?));
    }
    let mut published: Vec<Meta> = Vec::new();
    for path in &options.indexes {
        let bytes = read(path)?;
        let metas = repository::read(&bytes).map_err(|fault| Fault {
            what: format!("{}: {}", path.display(), fault.what),
            ..fault
        })?;
        published.extend(metas);
    }
    let builders = match (&options.builders_file, options.builders) {
        (Some(path), _) => read_builders(path)?,
        (None, count) => equal_builders(count.unwrap_or(4).min(limit::PLAN_BUILDERS_MAX), &archs),
    };
    let known = match &options.durations {
        Some(path) => read_durations(path)?,
        None => HashMap::new(),
    };
    let ask = Ask {
        catalogs,
        published,
        known,
        builders,
        empty: options.empty,
        edges: options.edges,
        steps: options.steps.unwrap_or(limit::PLAN_STEPS),
    };
    Ok((whole::plan(&ask), ask.builders))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: &std::io::Error| {
        Fault::new(Kind::Operator, format!("cannot read {}", path.display())).because(error)
    };
    let size = std::fs::metadata(path)
        .map_err(|error| failed(&error))?
        .len();
    if size > limit::STONE_TABLE_BYTES_MAX {
        return Err(Fault::new(
            Kind::Operator,
            format!("{} has {size} bytes", path.display()),
        )
        .next("give an index or a JSON file; neither is that large"));
    }
    std::fs::read(path).map_err(|error| failed(&error))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    serde_json::from_slice(&read(path)?).map_err(|error| {
        Fault::new(Kind::Usage, format!("{} is not {what}", path.display())).because(&error)
    })
}

/// Seconds alone, or all that is known. Any number is read; what cannot be a duration counts as absent.
#[derive(Deserialize)]
#[serde(untagged)]
enum Duration {
    Seconds(f64),
    All {
        seconds: Option<f64>,
        memory_mib: Option<u32>,
        disk_mib: Option<u32>,
    },
    // Null, or something that is no duration.
    Absent(serde::de::IgnoredAny),
}

fn read_durations(path: &Path) -> Result<HashMap<String, Known>> {
    let all: HashMap<String, Duration> =
        read_json(path, "a JSON object of recipe names and seconds")?;
    let known = |duration| match duration {
        Duration::Seconds(seconds) => Known {
            seconds: Some(seconds),
            ..Known::default()
        },
        Duration::All {
            seconds,
            memory_mib,
            disk_mib,
        } => Known {
            seconds,
            memory_mib,
            disk_mib,
        },
        Duration::Absent(_) => Known::default(),
    };
    Ok(all
        .into_iter()
        .map(|(name, duration)| (name, known(duration)))
        .collect())
}

/// A builder as a file describes it; only its name is needed.
#[derive(Deserialize)]
struct BuilderEntry {
    name: HostName,
    speed: Option<f64>,
    slots: Option<u32>,
    cores: Option<u32>,
    memory_mib: Option<u32>,
    disk_mib: Option<u32>,
    archs: Option<Vec<Arch>>,
}

fn read_builders(path: &Path) -> Result<Vec<BuilderSpec>> {
    let entries: Vec<BuilderEntry> = read_json(
        path,
        "a JSON array of builders ({name, speed, slots, cores, memory_mib, disk_mib, archs})",
    )?;
    let numbered = (1u32..)
        .zip(entries)
        .take(limit::PLAN_BUILDERS_MAX as usize);
    Ok(numbered
        .map(|(number, entry)| {
            let mut id = [0; 32];
            for (place, byte) in id.iter_mut().zip(number.to_be_bytes()) {
                *place = byte;
            }
            let slots = entry.slots.unwrap_or(1).min(limit::PLAN_BUILDERS_MAX);
            BuilderSpec {
                id: HostId(id),
                name: entry.name,
                archs: entry.archs.unwrap_or_else(|| vec![Arch::X86_64]),
                level: IsaLevel::V4,
                trust: Trust::Trusted,
                isolation: Isolation::Machine,
                slots,
                cores: entry.cores.unwrap_or(u32::MAX),
                memory_mib: Some(entry.memory_mib.unwrap_or(u32::MAX)),
                // Its share, as a builder that is told nothing gives it.
                slot_memory_mib: entry.memory_mib.map(|mib| mib / slots.max(1)),
                disk_mib: Some(entry.disk_mib.unwrap_or(u32::MAX)),
                disk_whole_mib: None,
                speed: entry.speed.unwrap_or(1.0),
                away: None,
            }
        })
        .collect())
}

fn row_view(row: &Row, whole: &Whole, builders: &[BuilderSpec]) -> PlanJobView {
    let ran = row
        .job
        .and_then(|job| whole.outcome.ran.get(job as usize).copied().flatten());
    let builder = ran.and_then(|ran| builders.get(ran.builder as usize));
    PlanJobView {
        recipe: row.target.recipe.clone(),
        project: None,
        profile: row.target.profile.clone(),
        version: row.version.clone(),
        release: row.release,
        reasons: row.reasons.clone(),
        depends_on: row.depends_on.clone(),
        start_s: ran.map(|ran| ran.start_s),
        end_s: ran.map(|ran| ran.end_s),
        builder: builder.map(|builder| builder.name.to_string()),
        faults: row.faults.iter().map(FaultView::from).collect(),
        unresolved: row
            .unresolved
            .iter()
            .map(|name| name.in_recipe_words())
            .collect(),
    }
}

fn view(whole: &Whole) -> PlanView {
    let mut unresolved: BTreeMap<String, Vec<RecipeName>> = BTreeMap::new();
    for row in &whole.rows {
        for name in &row.unresolved {
            unresolved
                .entry(name.in_recipe_words())
                .or_default()
                .push(row.target.recipe.clone());
        }
    }
    let names: HashMap<u32, &RecipeName> = whole
        .rows
        .iter()
        .filter_map(|row| Some((row.job?, &row.target.recipe)))
        .collect();
    let path = whole
        .outcome
        .critical_path
        .iter()
        .filter_map(|job| names.get(job));
    PlanView {
        rows: whole.rows.len() as u64,
        builds: whole.jobs.len() as u64,
        cycles: whole.cycles.iter().map(CycleView::from).collect(),
        unresolved: unresolved
            .into_iter()
            .map(|(dependency, recipes)| UnresolvedView {
                dependency,
                recipes,
            })
            .collect(),
        critical_path: path.map(|name| (*name).clone()).collect(),
        makespan_s: Some(whole.outcome.makespan_s),
        lower_bound_s: Some(whole.outcome.lower_bound_s),
        makespan_here_s: None,
        estimates: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn durations_of_every_kind_are_read_and_what_is_none_counts_as_absent() {
        let (_dir, path) = file(
            r#"{"a": 12.5, "b": 0, "c": -4, "d": null, "e": "long", "f": {"seconds": 3, "memory_mib": 100}, "g": [1]}"#,
        );
        let known = read_durations(&path).unwrap();
        let seconds = |name: &str| known[name].seconds;
        assert_eq!(
            (seconds("a"), seconds("b"), seconds("c")),
            (Some(12.5), Some(0.0), Some(-4.0))
        );
        assert_eq!(
            (seconds("d"), seconds("e"), seconds("g")),
            (None, None, None)
        );
        assert_eq!(
            (seconds("f"), known["f"].memory_mib),
            (Some(3.0), Some(100))
        );
        for wrong in ["", "[]", "{\"a\":", "\u{feff}{}"] {
            let (_dir, path) = file(wrong);
            let fault = read_durations(&path).unwrap_err();
            assert_eq!(fault.kind, Kind::Usage, "{wrong}: {fault}");
        }
    }

    #[test]
    fn builders_need_a_name_and_nothing_else() {
        let (_dir, path) = file(
            r#"[{"name": "one"}, {"name": "two", "speed": -1, "slots": 4000000000, "archs": ["aarch64"]}]"#,
        );
        let builders = read_builders(&path).unwrap();
        assert_eq!(builders.len(), 2);
        assert!(builders[1].slots <= limit::PLAN_BUILDERS_MAX && builders[1].pace() > 0.0);
        assert_ne!(builders[0].id, builders[1].id);
        for wrong in [r#"[{"speed": 1}]"#, r#"[{"name": "a b"}]"#, "{}"] {
            let (_dir, path) = file(wrong);
            assert_eq!(
                read_builders(&path).unwrap_err().kind,
                Kind::Usage,
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_damaged_index_and_a_repository_that_is_none_are_told_by_their_paths() {
        let (dir, path) = file("no index");
        let status = std::process::Command::new("git")
            .args(["init", "--quiet", "--bare", "-b", "main"])
            .arg(dir.path().join("empty.git"))
            .status();
        let mut options = PlanOptions {
            git: dir.path().join("nowhere"),
            indexes: vec![path],
            ..PlanOptions::default()
        };
        assert!(plan(&options).is_err());
        if status.is_ok_and(|status| status.success()) {
            // A repository without a commit is told as one, before the index is looked at.
            options.git = dir.path().join("empty.git");
            assert!(plan(&options).is_err());
        }
        let fault = read(&dir.path().join("absent")).unwrap_err();
        assert!(fault.what.contains("absent"), "{fault}");
    }
}
