//! Projects: their watchers, and catalogs as they come in.

use std::sync::Arc;

use ractor::ActorProcessingErr;

use super::mirror::Mirror;
use super::state::{Done, State, number};
use super::watcher::{Heard, Settings, Watcher};
use super::{Msg, reader};
use crate::fault::{Fault, Result};
use crate::id::{Arch, ProjectName};
use crate::limit;
use crate::model::{Catalog, Event, Reading, Tip, Who};
use crate::plan::ProjectRules;

impl State {
    /// Takes a project's recorded catalog up and starts to watch its repository.
    pub async fn know_project(&mut self, name: &ProjectName) {
        let Some(project) = self.farm.projects.get(name).cloned() else {
            return;
        };
        self.planner.set_project(name, self.rules(name));
        let mut previous = None;
        if let Some(tip) = &project.tip {
            let (blobs, digest) = (self.args.blobs.clone(), tip.catalog);
            let read = tokio::task::spawn_blocking(move || {
                reader::decode(&blobs.read(&digest, limit::CATALOG_BYTES_MAX as u64)?)
            });
            match read.await {
                Ok(Ok(catalog)) => {
                    let catalog = Arc::new(catalog);
                    self.planner.set_catalog(&catalog);
                    self.catalogs.insert(name.clone(), catalog.clone());
                    previous = Some(catalog);
                }
                Ok(Err(fault)) => {
                    tracing::warn!(project = %name, %fault, "the kept catalog cannot be read; the repository will be read again")
                }
                Err(error) => {
                    tracing::warn!(project = %name, %error, "reading the kept catalog broke off")
                }
            }
        }
        let me = self.me.clone();
        let settings = Settings {
            project: name.clone(),
            url: project.url.clone(),
            branch: project.branch.clone(),
            arch: Arch::OF_THIS_PROGRAM,
            poll: self.args.poll,
            fetching: super::mirror::Fetching::default(),
            mirrors: self.args.dir.join("mirrors"),
        };
        // A summit that restarts starts its own watchers.
        let report = Arc::new(move |heard| {
            me.cast(Msg::Heard(heard)).ok();
        });
        match Watcher::start(settings, previous, report) {
            Ok(watcher) => {
                self.watchers.insert(name.clone(), watcher);
                self.faults.remove(&format!("project {name}"));
            }
            Err(fault) => {
                tracing::warn!(project = %name, %fault, "cannot watch");
                self.faults.insert(format!("project {name}"), fault);
            }
        }
    }

    /// What the planner is told of a project: built for all profiles, for layers what was chosen, and again as its policy says.
    pub fn rules(&self, project: &ProjectName) -> ProjectRules {
        let policy = self.farm.policies.get(project);
        let (layers, whole) = self
            .farm
            .profiles
            .keys()
            .cloned()
            .partition::<Vec<_>, _>(|profile| self.farm.layers.contains_key(profile));
        let chosen = layers.into_iter().map(|layer| {
            let all = self.farm.chosen(&layer, project);
            let recipes = all.map(|choice| choice.recipe.clone()).collect();
            (layer, recipes)
        });
        ProjectRules {
            profiles: whole,
            chosen: chosen.collect(),
            priority: self.farm.priority(project),
            rebuild: policy.map(|policy| policy.rebuild).unwrap_or_default(),
            second_pass: policy.is_some_and(|policy| policy.second_pass),
        }
    }

    /// A watcher has looked.
    pub async fn heard(&mut self, heard: Heard) -> Done<()> {
        match heard {
            Heard::TipMoved {
                project,
                catalog,
                notes,
            } => {
                for note in notes {
                    tracing::info!(%project, note);
                }
                self.tip_moved(project, catalog).await?;
            }
            Heard::IntakeFault { project, fault } => {
                tracing::warn!(%project, %fault, "intake");
                self.faults.insert(format!("project {project}"), fault);
                *self.intakes.entry(project).or_default() += 1;
            }
            Heard::IntakeMended { project } => {
                self.faults.remove(&format!("project {project}"));
                *self.intakes.entry(project).or_default() += 1;
            }
        }
        Ok(())
    }

    async fn tip_moved(&mut self, name: ProjectName, catalog: Arc<Catalog>) -> Done<()> {
        let Some(project) = self.farm.projects.get(&name) else {
            return Ok(());
        };
        let first = project.tip.is_none();
        let before = self.catalogs.get(&name).cloned();
        let (blobs, bytes) = (self.args.blobs.clone(), catalog.clone());
        let blob = tokio::task::spawn_blocking(move || blobs.put_bytes(&reader::encode(&bytes)?))
            .await
            .map_err(ActorProcessingErr::from)??;
        let recipes = u32::try_from(catalog.entries.len()).unwrap_or(u32::MAX);
        let faulty = catalog
            .entries
            .iter()
            .filter(|entry| matches!(entry.reading, Reading::Faulty { .. }))
            .count();
        let tip = Tip {
            commit: catalog.commit,
            catalog: blob.sha256,
            at: crate::actors::now().wall,
            recipes,
            faulty: u32::try_from(faulty).unwrap_or(u32::MAX),
        };
        let opens = first && catalog.entries.len() <= limit::FIRST_INTAKE_BUILDS_MAX;
        let changed = differing(before.as_deref(), &catalog);
        self.catalogs.insert(name.clone(), catalog.clone());
        self.planner.set_catalog(&catalog);
        let event = Event::TipMoved {
            project: name.clone(),
            tip,
            changed,
            opens,
        };
        // In one commit with it: nothing else would find them again.
        let mut events = self.mended_by_manifests(&name, before.as_deref());
        number(&mut events, self.farm.last_job);
        events.insert(0, (Who::Farm, event));
        self.record(events).await?;
        crate::actors::kill_point("summit:tip-recorded");
        self.replan = true;
        self.faults.remove(&format!("project {name}"));
        *self.intakes.entry(name).or_default() += 1;
        Ok(())
    }

    /// Forgets a project that was removed.
    pub fn forget_project(&mut self, name: &ProjectName, url: &str) {
        self.watchers.remove(name);
        self.catalogs.remove(name);
        self.intakes.remove(name);
        self.planner.remove_project(name);
        self.faults.remove(&format!("project {name}"));
        self.replan = true;
        self.remove_mirror(url);
    }

    /// Removes the mirror of this URL unless another project is read from it.
    fn remove_mirror(&self, url: &str) {
        let mirrors = self.args.dir.join("mirrors");
        let Ok(mirror) = Mirror::of(url, &mirrors) else {
            return;
        };
        let is_used = self.farm.projects.values().any(|project| {
            Mirror::of(&project.url, &mirrors).is_ok_and(|other| other.path() == mirror.path())
        });
        if !is_used {
            tokio::spawn(async move {
                if let Err(fault) = mirror.remove().await {
                    tracing::warn!(%fault, "the mirror of a removed project stays");
                }
            });
        }
    }

    /// The fault of a project's last intake.
    pub fn project_fault(&self, name: &ProjectName) -> Option<&Fault> {
        self.faults.get(&format!("project {name}"))
    }

    /// Looks at a project's remote now.
    pub fn refresh(&self, name: &ProjectName) -> Result<()> {
        match self.watchers.get(name) {
            Some(watcher) => {
                let mut asked = watcher.refresh();
                let me = self.me.clone();
                let name = name.clone();
                // A look that finds nothing new reports nothing else; the intake counts all the same.
                tokio::spawn(async move {
                    if let Ok(Ok(_)) = (&mut asked).await {
                        me.cast(Msg::Heard(Heard::IntakeMended { project: name }))
                            .ok();
                    }
                });
                Ok(())
            }
            None => Err(self
                .project_fault(name)
                .cloned()
                .unwrap_or_else(|| Fault::bug("the project has no watcher"))),
        }
    }
}

/// Recipes that came, changed or went.
fn differing(before: Option<&Catalog>, now: &Catalog) -> u32 {
    let Some(before) = before else {
        return u32::try_from(now.entries.len()).unwrap_or(u32::MAX);
    };
    let (mut old, mut new) = (
        before.entries.iter().peekable(),
        now.entries.iter().peekable(),
    );
    let mut count = 0;
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return count,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.dir.cmp(&b.dir),
        };
        count += match order {
            std::cmp::Ordering::Less => u32::from(old.next().is_some()),
            std::cmp::Ordering::Greater => u32::from(new.next().is_some()),
            std::cmp::Ordering::Equal => {
                let (a, b) = (old.next(), new.next());
                u32::from(a.map(|entry| entry.tree) != b.map(|entry| entry.tree))
            }
        };
    }
}
