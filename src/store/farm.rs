//! The farm's rows: the trees that summit alone writes, and the farm read back from them.

use serde::{Deserialize, Serialize};

use super::{Row, Store, WriteSet};
use crate::fault::{Fault, Result};
use crate::id::{
    AttemptId, ChannelName, Digest, HostId, HostName, JobId, PackageName, ProfileName, ProjectName,
    RecipeName,
};
use crate::model::cache::CacheRule;
use crate::model::isa::Measurement;
use crate::model::level::ChoiceKey;
use crate::model::{
    Alarm, Attempt, BasePackage, BaseSeen, BuildOrder, BuilderStop, BuiltWith, Change, Choice,
    Comparison, Conviction, Farm, Hold, HostOwner, Job, Layer, Measures, Policy, Profile, Project,
    ProjectPriority, ProofPolicy, RecipeLimit, RiseRule, StoodOn, Usage,
};

impl Row for Project {
    const TREE: &'static str = "project";
    const SHAPE: u8 = 1;
    type Key = ProjectName;
    fn key(&self) -> ProjectName {
        self.name.clone()
    }
    fn blobs(&self) -> Vec<Digest> {
        self.tip.iter().map(|tip| tip.catalog).collect()
    }
}

impl Row for Profile {
    const TREE: &'static str = "profile";
    const SHAPE: u8 = 1;
    type Key = ProfileName;
    fn key(&self) -> ProfileName {
        self.name.clone()
    }
}

impl Row for Job {
    const TREE: &'static str = "job";
    const SHAPE: u8 = 1;
    type Key = JobId;
    fn key(&self) -> JobId {
        self.id
    }
}

impl Row for Attempt {
    const TREE: &'static str = "attempt";
    const SHAPE: u8 = 1;
    type Key = AttemptId;
    fn key(&self) -> AttemptId {
        self.id
    }
}

/// A recipe that a person stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeHold {
    /// The project.
    pub project: ProjectName,
    /// The recipe.
    pub recipe: RecipeName,
    /// The hold.
    pub hold: Hold,
}

impl Row for RecipeHold {
    const TREE: &'static str = "recipe_hold";
    const SHAPE: u8 = 1;
    type Key = (ProjectName, RecipeName);
    fn key(&self) -> Self::Key {
        (self.project.clone(), self.recipe.clone())
    }
}

/// A host that is or was part of the farm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHost {
    /// Its key.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
}

impl Row for KnownHost {
    const TREE: &'static str = "host";
    const SHAPE: u8 = 1;
    type Key = HostId;
    fn key(&self) -> HostId {
        self.id
    }
}

impl Row for BasePackage {
    const TREE: &'static str = "base_package";
    const SHAPE: u8 = 1;
    type Key = PackageName;
    fn key(&self) -> PackageName {
        self.name.clone()
    }
}

/// What an attempt used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptUsage {
    /// The attempt.
    pub attempt: AttemptId,
    /// What it used.
    pub usage: Usage,
}

impl Row for AttemptUsage {
    const TREE: &'static str = "usage";
    const SHAPE: u8 = 1;
    type Key = AttemptId;
    fn key(&self) -> AttemptId {
        self.attempt
    }
}

impl Row for Measures {
    const TREE: &'static str = "measures";
    const SHAPE: u8 = 1;
    type Key = AttemptId;
    fn key(&self) -> AttemptId {
        self.attempt
    }
}

impl Row for BuiltWith {
    const TREE: &'static str = "built_with";
    const SHAPE: u8 = 1;
    type Key = AttemptId;
    fn key(&self) -> AttemptId {
        self.attempt
    }
}

impl Row for Alarm {
    const TREE: &'static str = "alarm";
    const SHAPE: u8 = 1;
    type Key = (String, String);
    fn key(&self) -> Self::Key {
        Alarm::key(self)
    }
}

impl Row for Policy {
    const TREE: &'static str = "policy";
    const SHAPE: u8 = 1;
    type Key = ProjectName;
    fn key(&self) -> ProjectName {
        self.project.clone()
    }
}

impl Row for ProjectPriority {
    const TREE: &'static str = "project_priority";
    const SHAPE: u8 = 1;
    type Key = ProjectName;
    fn key(&self) -> ProjectName {
        self.project.clone()
    }
}

impl Row for RecipeLimit {
    const TREE: &'static str = "recipe_limit";
    const SHAPE: u8 = 1;
    type Key = (ProjectName, RecipeName);
    fn key(&self) -> (ProjectName, RecipeName) {
        (self.project.clone(), self.recipe.clone())
    }
}

impl Row for BuilderStop {
    const TREE: &'static str = "builder_stop";
    const SHAPE: u8 = 1;
    type Key = HostId;
    fn key(&self) -> HostId {
        self.builder
    }
}

impl Row for Comparison {
    const TREE: &'static str = "comparison";
    const SHAPE: u8 = 1;
    type Key = u64;
    fn key(&self) -> u64 {
        self.id
    }
}

impl Row for BaseSeen {
    const TREE: &'static str = "base_seen";
    const SHAPE: u8 = 1;
    type Key = Digest;
    fn key(&self) -> Digest {
        self.digest()
    }
}

impl Row for StoodOn {
    const TREE: &'static str = "stood_on";
    const SHAPE: u8 = 1;
    type Key = AttemptId;
    fn key(&self) -> AttemptId {
        self.attempt
    }
}

impl Row for ProofPolicy {
    const TREE: &'static str = "proof_policy";
    const SHAPE: u8 = 1;
    type Key = ChannelName;
    fn key(&self) -> ChannelName {
        self.channel.clone()
    }
}

impl Row for RiseRule {
    const TREE: &'static str = "rise_rule";
    const SHAPE: u8 = 1;
    type Key = ();
    fn key(&self) {}
}

impl Row for CacheRule {
    const TREE: &'static str = "cache_rule";
    const SHAPE: u8 = 1;
    type Key = ProfileName;
    fn key(&self) -> ProfileName {
        self.profile.clone()
    }
}

impl Row for HostOwner {
    const TREE: &'static str = "host_owner";
    const SHAPE: u8 = 1;
    type Key = HostId;
    fn key(&self) -> HostId {
        self.host
    }
}

impl Row for Conviction {
    const TREE: &'static str = "conviction";
    const SHAPE: u8 = 1;
    type Key = HostId;
    fn key(&self) -> HostId {
        self.builder
    }
}

impl Row for Layer {
    const TREE: &'static str = "layer";
    const SHAPE: u8 = 1;
    type Key = ProfileName;
    fn key(&self) -> ProfileName {
        self.profile.clone()
    }
}

impl Row for Choice {
    const TREE: &'static str = "level_choice";
    const SHAPE: u8 = 1;
    type Key = ChoiceKey;
    fn key(&self) -> ChoiceKey {
        Choice::key(self)
    }
}

impl Row for Measurement {
    const TREE: &'static str = "isa_measurement";
    const SHAPE: u8 = 1;
    type Key = u64;
    fn key(&self) -> u64 {
        self.id
    }
}

/// A part of the order of an attempt, compressed: what it was built from, so that it can be built again just so. Written by
/// summit before the order is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRow {
    /// The attempt.
    pub attempt: AttemptId,
    /// From 0.
    pub part: u32,
    /// The packed recipe, in the first part.
    pub recipe_tar: Option<Digest>,
    /// Bytes of this part.
    pub bytes: Vec<u8>,
}

/// A part of an order is as long as a row can be with what stands beside it.
const ORDER_BYTES_PER_ROW: usize = 7 * 1024;
/// Rows that one commit forgets.
const ORDER_ROWS_PER_COMMIT: usize = 1_000;
/// Bytes of an order as it is sent; the largest real build root has 700 packages and takes some 120 KiB.
const ORDER_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Row for OrderRow {
    const TREE: &'static str = "order";
    const SHAPE: u8 = 1;
    type Key = (AttemptId, u32);
    fn key(&self) -> Self::Key {
        (self.attempt, self.part)
    }
    fn blobs(&self) -> Vec<Digest> {
        self.recipe_tar.into_iter().collect()
    }
}

/// The rows of an order.
pub fn order_rows(order: &BuildOrder) -> Result<Vec<OrderRow>> {
    let unkept =
        |error: &dyn std::error::Error| Fault::bug("an order has no stored form").because(error);
    let plain = postcard::to_stdvec(order).map_err(|error| unkept(&error))?;
    let packed = zstd::bulk::compress(&plain, 3).map_err(|error| unkept(&error))?;
    let parts = packed.chunks(ORDER_BYTES_PER_ROW).zip(0..);
    let rows = parts.map(|(bytes, part)| OrderRow {
        attempt: order.attempt,
        part,
        recipe_tar: (part == 0).then_some(order.recipe_tar.sha256),
        bytes: bytes.to_vec(),
    });
    Ok(rows.collect())
}

/// What an attempt was built from; `None`: it was ordered before that was kept.
pub fn order_of(store: &Store, attempt: AttemptId) -> Result<Option<BuildOrder>> {
    let mut packed = Vec::new();
    for row in store.scan_within::<OrderRow, _>(&attempt) {
        packed.extend(row?.bytes);
    }
    if packed.is_empty() {
        return Ok(None);
    }
    let unread = |error: &dyn std::error::Error| {
        Fault::bug(format!("the order of attempt {attempt} cannot be read")).because(error)
    };
    let plain = zstd::bulk::decompress(&packed, ORDER_BYTES_MAX).map_err(|error| unread(&error))?;
    postcard::from_bytes(&plain)
        .map(Some)
        .map_err(|error| unread(&error))
}

/// Forgets the orders of the attempts that are over.
pub fn forget_orders(store: &Store, is_over: impl Fn(AttemptId) -> bool) -> Result<()> {
    let mut set = WriteSet::new();
    let mut rows = 0;
    for row in store.scan::<OrderRow>() {
        let row = row?;
        if !is_over(row.attempt) {
            continue;
        }
        set.delete::<OrderRow>(&row.key());
        rows += 1;
        if rows == ORDER_ROWS_PER_COMMIT {
            store.commit(std::mem::replace(&mut set, WriteSet::new()))?;
            rows = 0;
        }
    }
    match rows {
        0 => Ok(()),
        _ => store.commit(set),
    }
}

/// The rows of a change, ready to be committed with the events that caused it.
pub fn writes(change: &Change) -> WriteSet {
    let mut set = WriteSet::new();
    for name in &change.projects_gone {
        set.delete::<Project>(name);
        set.delete::<Policy>(name);
        set.delete::<ProjectPriority>(name);
    }
    change.projects.iter().for_each(|row| {
        set.put(row);
    });
    for name in &change.profiles_gone {
        set.delete::<Profile>(name);
    }
    change.profiles.iter().for_each(|row| {
        set.put(row);
    });
    change.jobs.iter().for_each(|row| {
        set.put(row);
    });
    change.attempts.iter().for_each(|row| {
        set.put(row);
    });
    for ((project, recipe), hold) in &change.recipe_holds {
        match hold {
            Some(hold) => set.put(&RecipeHold {
                project: project.clone(),
                recipe: recipe.clone(),
                hold: hold.clone(),
            }),
            None => set.delete::<RecipeHold>(&(project.clone(), recipe.clone())),
        };
    }
    for (id, name) in &change.hosts {
        set.put(&KnownHost {
            id: *id,
            name: name.clone(),
        });
    }
    change.base_packages.iter().for_each(|row| {
        set.put(row);
    });
    for (attempt, usage) in &change.usages {
        set.put(&AttemptUsage {
            attempt: *attempt,
            usage: *usage,
        });
    }
    for (job, attempts) in &change.jobs_gone {
        set.delete::<Job>(job);
        for attempt in attempts {
            set.delete::<Attempt>(attempt);
            set.delete::<AttemptUsage>(attempt);
            set.delete::<Measures>(attempt);
            set.delete::<StoodOn>(attempt);
        }
    }
    change.policies.iter().for_each(|row| {
        set.put(row);
    });
    for row in &change.priorities {
        match row.priority {
            0 => set.delete::<ProjectPriority>(&row.key()),
            _ => set.put(row),
        };
    }
    change.measures.iter().for_each(|row| {
        set.put(row);
    });
    for limit in &change.recipe_limits {
        match limit.time_s {
            Some(_) => set.put(limit),
            None => set.delete::<RecipeLimit>(&limit.key()),
        };
    }
    change.alarms.iter().for_each(|row| {
        set.put(row);
    });
    for key in &change.alarms_gone {
        set.delete::<Alarm>(key);
    }
    for attempt in &change.built_with_gone {
        set.delete::<BuiltWith>(attempt);
    }
    change.built_with.iter().for_each(|row| {
        set.put(row);
    });
    for stop in &change.builder_stops {
        if stop.is_none() {
            set.delete::<BuilderStop>(&stop.builder);
        } else {
            set.put(stop);
        }
    }
    for id in &change.proof.comparisons_gone {
        set.delete::<Comparison>(id);
    }
    for digest in &change.proof.bases_gone {
        set.delete::<BaseSeen>(digest);
    }
    change.proof.bases.iter().for_each(|row| {
        set.put(row);
    });
    for attempt in &change.proof.stood_on_gone {
        set.delete::<StoodOn>(attempt);
    }
    change.proof.stood_on.iter().for_each(|row| {
        set.put(row);
    });
    change.proof.comparisons.iter().for_each(|row| {
        set.put(row);
    });
    change.proof.policies.iter().for_each(|row| {
        set.put(row);
    });
    change.proof.rise_rule.iter().for_each(|row| {
        set.put(row);
    });
    change.caches.iter().for_each(|row| {
        set.put(row);
    });
    change.proof.owners.iter().for_each(|row| {
        set.put(row);
    });
    for builder in &change.proof.convictions_gone {
        set.delete::<Conviction>(builder);
    }
    change.proof.convictions.iter().for_each(|row| {
        set.put(row);
    });
    for layer in &change.level.layers {
        set.put(layer);
    }
    // Dropped and chosen anew in one batch stays chosen.
    for key in &change.level.choices_gone {
        set.delete::<Choice>(key);
    }
    for choice in &change.level.choices {
        set.put(choice);
    }
    for id in &change.measurements_gone {
        set.delete::<Measurement>(id);
    }
    for measurement in &change.measurements {
        set.put(measurement);
    }
    set
}

/// The farm as the rows tell it; `seq` is left to whoever reads the log of events.
pub fn load(store: &Store) -> Result<Farm> {
    let mut change = Change::default();
    for row in store.scan::<Project>() {
        change.projects.push(row?);
    }
    for row in store.scan::<Profile>() {
        change.profiles.push(row?);
    }
    for row in store.scan::<Job>() {
        change.jobs.push(row?);
    }
    for row in store.scan::<Attempt>() {
        change.attempts.push(row?);
    }
    for row in store.scan::<RecipeHold>() {
        let RecipeHold {
            project,
            recipe,
            hold,
        } = row?;
        change.recipe_holds.push(((project, recipe), Some(hold)));
    }
    for row in store.scan::<KnownHost>() {
        let KnownHost { id, name } = row?;
        change.hosts.push((id, name));
    }
    for row in store.scan::<BasePackage>() {
        change.base_packages.push(row?);
    }
    for row in store.scan::<AttemptUsage>() {
        let AttemptUsage { attempt, usage } = row?;
        change.usages.push((attempt, usage));
    }
    for row in store.scan::<Policy>() {
        change.policies.push(row?);
    }
    for row in store.scan::<ProjectPriority>() {
        change.priorities.push(row?);
    }
    for row in store.scan::<RecipeLimit>() {
        change.recipe_limits.push(row?);
    }
    for row in store.scan::<Measures>() {
        change.measures.push(row?);
    }
    for row in store.scan::<BuilderStop>() {
        change.builder_stops.push(row?);
    }
    for row in store.scan::<Comparison>() {
        change.proof.comparisons.push(row?);
    }
    for row in store.scan::<BaseSeen>() {
        change.proof.bases.push(row?);
    }
    for row in store.scan::<StoodOn>() {
        change.proof.stood_on.push(row?);
    }
    for row in store.scan::<ProofPolicy>() {
        change.proof.policies.push(row?);
    }
    for row in store.scan::<RiseRule>() {
        change.proof.rise_rule = Some(row?);
    }
    for row in store.scan::<CacheRule>() {
        change.caches.push(row?);
    }
    for row in store.scan::<HostOwner>() {
        change.proof.owners.push(row?);
    }
    for row in store.scan::<Conviction>() {
        change.proof.convictions.push(row?);
    }
    for row in store.scan::<Layer>() {
        change.level.layers.push(row?);
    }
    for row in store.scan::<Choice>() {
        change.level.choices.push(row?);
    }
    for row in store.scan::<Measurement>() {
        change.measurements.push(row?);
    }
    for row in store.scan::<Alarm>() {
        change.alarms.push(row?);
    }
    for row in store.scan::<BuiltWith>() {
        change.built_with.push(row?);
    }
    let mut farm = Farm::default();
    farm.adopt(change);
    Ok(farm)
}
