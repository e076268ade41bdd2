//! Comparisons of what is published with what was built again, and what they say of builders and recipes.

use crate::admin::views;
use crate::id::{ChannelName, Digest, JobId, ProfileName, ProjectName, RecipeName, Stamp};

use super::{ArtefactView, Blame, FaultView, MadeView};

views! {
    /// One comparison.
    pub struct ComparisonView {
        /// Its number.
        pub id: u64,
        /// `waiting`, `building`, `examining`, `done` or `failed`.
        pub state: String,
        /// What it waits for.
        pub text: Option<String>,
        /// It is at its end.
        pub over: bool,
        /// The recipe.
        pub recipe: RecipeName,
        /// Its project.
        pub project: ProjectName,
        /// What it was built for.
        pub profile: ProfileName,
        /// Version, release and build release.
        pub release: String,
        /// Where it is published.
        pub channel: ChannelName,
        /// The job that published it.
        pub job: JobId,
        /// Its try.
        pub try_no: u32,
        /// Who built what is published.
        pub publisher: String,
        /// Who builds it again.
        pub builder: Option<String>,
        /// Both are one host: this tells less.
        pub same_host: bool,
        /// What it is doing.
        pub phase: Option<String>,
        /// When it began.
        pub began: Stamp,
        /// Who wanted it.
        pub by: String,
        /// `same`, `container`, `metadata` or `files`: the worst of all differences; null before the end.
        pub level: Option<String>,
        /// A client gets the same either way.
        pub matches: Option<bool>,
        /// What all comparisons of this publication say together: `match`, `same_host`, `undecided`, `wrong_alone`, `varies`,
        /// `bases_differ`.
        pub judgement: Option<String>,
        /// The builder that was wrong alone.
        pub wrong: Option<String>,
        /// Files in either set.
        pub artefacts: u64,
        /// Those that are the same bytes.
        pub same: u64,
        /// Bytes of the published set.
        pub bytes: u64,
        /// What differs.
        pub differences: Vec<DifferenceView>,
        /// More of them, which are not listed.
        pub unlisted: u64,
        /// How many have which cause.
        pub causes: Vec<CauseView>,
        /// Rebuilt files that differ and are kept: `compare show ID --out DIR` copies them.
        pub evidence: Vec<EvidenceView>,
        /// What both sides stood on, where that was a builder's own; null: on packages alone, or before that was told.
        pub bases: Option<BasesView>,
        /// Whose failure, when it failed.
        pub blame: Option<Blame>,
        /// Why it failed.
        pub fault: Option<FaultView>,
    }

    /// What both sides of a comparison stood on.
    pub struct BasesView {
        /// The same tools on both sides: only then a difference is anybody's doing.
        pub same: bool,
        /// In words.
        pub text: String,
        /// The publisher's, a few letters of its hash.
        pub published: Option<String>,
        /// That of who built it again.
        pub rebuilt: Option<String>,
        /// Tools that are not the same.
        pub differences: Vec<BaseDifferenceView>,
    }

    /// A tool that two bases have in different versions.
    pub struct BaseDifferenceView {
        /// `system`, or the tool.
        pub part: String,
        /// The publisher's version, or some letters of its hash; null: it has none.
        pub published: Option<String>,
        /// That of who built it again.
        pub rebuilt: Option<String>,
    }

    /// What a base of a builder's own brings to its builds.
    pub struct BaseView {
        /// `host`, or the path of a directory.
        pub base: String,
        /// Some letters of the hash of all of it: two builders that show the same have the same tools.
        pub id: String,
        /// The distribution and its version.
        pub system: Option<String>,
        /// Its tools.
        pub parts: Vec<BasePartView>,
    }

    /// A tool of a base.
    pub struct BasePartView {
        /// Its name.
        pub name: String,
        /// As it says itself; null: it was not asked, or did not say.
        pub version: Option<String>,
        /// Which build of it: a hash of its build id, or of its bytes.
        pub sha256: Digest,
    }

    /// One thing that is not the same.
    pub struct DifferenceView {
        /// The file that it is in.
        pub artefact: String,
        /// The path below `/usr`; null: it is about the whole file.
        pub path: Option<String>,
        /// `date`, `path`, `order`, `bit`, `build_id`, `presence`, `link`, `mode`, `fields`, `packing`, `damage`, `content`.
        pub cause: String,
        /// Bytes of the published one.
        pub published_bytes: Option<u64>,
        /// Bytes of the rebuilt one.
        pub rebuilt_bytes: Option<u64>,
        /// The first byte that differs.
        pub offset: Option<u64>,
        /// The ELF section that it is in.
        pub section: Option<String>,
        /// In words.
        pub text: String,
    }

    /// Differences of one cause.
    pub struct CauseView {
        /// The cause.
        pub cause: String,
        /// How many.
        pub count: u64,
        /// The recipes that have them.
        pub recipes: Vec<String>,
    }

    /// A kept file.
    pub struct EvidenceView {
        /// Its job, for `ArtefactRead`.
        pub job: JobId,
        /// The file.
        pub file: ArtefactView,
    }

    /// How often something was right, over the comparisons that are kept.
    pub struct ScoreView {
        /// Publications that it took part in and that match.
        pub matches: u64,
        /// Those in which a builder was wrong alone; of a builder: itself.
        pub wrong: u64,
        /// Those that are open.
        pub undecided: u64,
        /// Those that come out differently each time.
        pub varies: u64,
        /// The last match.
        pub last_match: Option<Stamp>,
    }

    /// What comparisons say of a builder.
    pub struct BuilderProofView {
        /// Its score.
        pub score: ScoreView,
        /// The comparison that put it into quarantine.
        pub convicted_by: Option<u64>,
        /// When that was.
        pub convicted_at: Option<Stamp>,
        /// Matches that a builder for tests needs before a person may let it build for publication.
        pub rises_after: u32,
        /// Whose machine it is, where an operator said so.
        pub owner: Option<String>,
        /// What the bases of its own bring: who is to agree with it needs the same.
        pub bases: Vec<BaseView>,
        /// What it published since its last match and what is published still, the newest first.
        pub unproven: Vec<MadeView>,
    }

    /// What one level is worth.
    pub struct WorthView {
        /// The level.
        pub isa: String,
        /// Median of the processor time of a run.
        pub median_cpu_s: Option<f64>,
        /// How many times as fast as the first level, by processor time: the median of all turns; null: it is the first.
        pub ratio: Option<f64>,
        /// The true median lies between this...
        pub low: Option<f64>,
        /// ... and this ...
        pub high: Option<f64>,
        /// ... with this probability, 0 to 1.
        pub confidence: Option<f64>,
        /// The ratio by the clock on the wall.
        pub wall_ratio: Option<f64>,
        /// How far apart the middle half of its runs lies, as part of their median.
        pub spread: Option<f64>,
        /// `faster`, `slower`, `same` or `cannot_tell`.
        pub verdict: Option<String>,
    }

    /// What levels are worth for a recipe.
    pub struct MeasurementView {
        /// Its number.
        pub id: u64,
        /// `waiting`, `measuring`, `done` or `failed`.
        pub state: String,
        /// What it waits for.
        pub text: Option<String>,
        /// Nothing more happens to it.
        pub over: bool,
        /// The recipe's project.
        pub project: ProjectName,
        /// The recipe.
        pub recipe: RecipeName,
        /// Version, release and build release.
        pub release: String,
        /// The profile whose level the others are held against.
        pub profile: ProfileName,
        /// The builder.
        pub builder: Option<String>,
        /// The processor's name.
        pub processor: Option<String>,
        /// Cores that the slot had.
        pub cores: Option<u32>,
        /// What was run: `workload` or `check`.
        pub script: Option<String>,
        /// Runs of each level.
        pub runs: u32,
        /// When it began.
        pub began: Stamp,
        /// Who asked for it.
        pub by: String,
        /// What its builder does.
        pub phase: Option<String>,
        /// The levels, the first one first.
        pub levels: Vec<WorthView>,
        /// What it cannot say, in sentences.
        pub unsaid: Vec<String>,
        /// Whose doing it was that it failed.
        pub blame: Option<Blame>,
        /// Why it failed.
        pub fault: Option<FaultView>,
    }

    /// A layer that a recipe is built for.
    pub struct RecipeLevelView {
        /// The layer.
        pub profile: ProfileName,
        /// Its instruction set level.
        pub isa: String,
        /// Who chose it.
        pub by: String,
        /// When.
        pub since: Stamp,
        /// Why, in that person's words.
        pub why: Option<String>,
        /// The last measurement of that level.
        pub measurement: Option<u64>,
        /// What it found: how many times as fast.
        pub ratio: Option<f64>,
        /// At least.
        pub low: Option<f64>,
        /// At most.
        pub high: Option<f64>,
        /// In a word.
        pub verdict: Option<String>,
    }

    /// What comparisons say of a recipe.
    pub struct RecipeProofView {
        /// The layers that it is built for, and why.
        pub levels: Vec<RecipeLevelView>,
        /// Its score.
        pub score: ScoreView,
        /// It comes out differently by its nature: no builder is blamed for that.
        pub varies: bool,
        /// Its causes of differences.
        pub causes: Vec<CauseView>,
        /// Its last comparisons, the newest first.
        pub comparisons: Vec<u64>,
    }

    /// A profile that holds only chosen recipes above another one.
    pub struct LevelView {
        /// The profile.
        pub profile: ProfileName,
        /// The one below.
        pub over: ProfileName,
        /// Its instruction set level.
        pub isa: String,
        /// Where its packages are published.
        pub channel: ChannelName,
        /// The project whose recipes follow.
        pub project: ProjectName,
        /// Chosen recipes of that project.
        pub recipes: Vec<ChosenView>,
    }

    /// A recipe that is built for a layer too.
    pub struct ChosenView {
        /// The recipe.
        pub recipe: RecipeName,
        /// Who chose it.
        pub by: String,
        /// When.
        pub at: Stamp,
        /// Why, in that person's words.
        pub why: Option<String>,
    }

    /// What is compared in a channel.
    pub struct ChannelPolicyView {
        /// The channel.
        pub channel: ChannelName,
        /// Builders with nothing to do rebuild what is published there and compare.
        pub compare_idle: bool,
        /// So many other builders must come to the same before anything is published there; 0: none.
        pub require_match: u32,
        /// Why the farm cannot do that now; null: it can.
        pub lacks: Option<String>,
    }
}
