//! `io.massif.Summit`: projects, recipes, profiles, plans, jobs and builders.

use super::view::{
    ArtefactView, Blame, BuildView, BuilderProofView, BuilderView, CauseView, ChangeView,
    ChannelPolicyView, ComparisonView, ConeView, FaultView, JobDetail, JobState, JobView,
    LevelView, MeasurementView, PastView, PlanJobView, PlanView, ProfileView, ProjectView,
    RecipeDetail, RecipeProofView, RecipeView, TimeLimitView, WhyView,
};
use super::{facts, methods, replies};
use crate::id::{ChannelName, Digest, JobId, ProfileName, ProjectName, RecipeName, Seq};

replies! {
    /// All projects.
    pub struct Projects {
        /// By name.
        pub projects: Vec<ProjectView>,
    }

    /// One project.
    pub struct Project {
        /// It.
        pub project: ProjectView,
    }

    /// A look at the remote was ordered.
    pub struct Ordered {
        /// The project as it is now.
        pub project: ProjectView,
        /// Done when the project's `intakes` has reached this.
        pub intake: u64,
    }

    /// Some recipes.
    pub struct Recipes {
        /// By name.
        pub recipes: Vec<RecipeView>,
        /// Ask for the next page with this; null: there is none.
        pub next: Option<String>,
    }

    /// One recipe.
    pub struct Recipe {
        /// In short.
        pub recipe: RecipeView,
        /// The rest; null when it cannot be read.
        pub detail: Option<RecipeDetail>,
    }

    /// How long builds of one recipe may take.
    pub struct RecipeLimit {
        /// It; null: there is no profile that it is built for.
        pub limit: Option<TimeLimitView>,
    }

    /// Changes of one recipe.
    pub struct Changes {
        /// The newest first.
        pub changes: Vec<ChangeView>,
    }

    /// All profiles.
    pub struct Profiles {
        /// By name.
        pub profiles: Vec<ProfileView>,
    }

    /// One profile.
    pub struct Profile {
        /// It.
        pub profile: ProfileView,
    }

    /// One page of a plan.
    pub struct PlanPage {
        /// Rows in the order of building.
        pub jobs: Vec<PlanJobView>,
        /// Ask for the next page with this; null: there is none.
        pub next: Option<String>,
        /// The plan as a whole: in the first page only.
        pub plan: Option<PlanView>,
    }

    /// What was ordered.
    pub struct Builds {
        /// One row per recipe and profile.
        pub builds: Vec<BuildView>,
    }

    /// Some jobs.
    pub struct Jobs {
        /// The newest first.
        pub jobs: Vec<JobView>,
        /// Ask for the next page with this; null: there is none.
        pub next: Option<String>,
        /// The farm's last event when these rows were read: watch from here.
        pub seq: Seq,
    }

    /// One job.
    pub struct Job {
        /// It.
        pub job: JobView,
    }

    /// One job with its neighbours.
    pub struct JobPage {
        /// It.
        pub job: JobView,
        /// The rest.
        pub detail: JobDetail,
    }

    /// A piece of a log.
    pub struct LogPiece {
        /// Where the piece begins, in bytes.
        pub offset: u64,
        /// The piece; what is not UTF-8 is replaced. Null when `base64` was asked for.
        pub text: Option<String>,
        /// The piece's bytes, if asked for.
        pub base64: Option<String>,
        /// Where the next piece begins.
        pub next: u64,
        /// The log is complete and this is its end.
        pub end: bool,
        /// Which try it is of.
        pub try_no: u32,
        /// All of the log is here, wherever this piece stands in it.
        pub complete: bool,
        /// Bytes at its end that its builder has still; null: not known, or the build goes on.
        pub missing_bytes: Option<u64>,
        /// That builder; null: nothing is missing that is known to be elsewhere.
        pub on: Option<String>,
    }

    /// Places in a log.
    pub struct LogPlaces {
        /// Where the lines begin that were found, in bytes.
        pub lines: Vec<u64>,
        /// The words of those lines, cut; of landmarks only.
        pub words: Vec<String>,
        /// Everything before this byte was looked at: search on from here.
        pub looked: u64,
        /// That is the end of the log, and the log is complete.
        pub end: bool,
        /// Which try it is of.
        pub try_no: u32,
    }

    /// Files that a job made.
    pub struct Artefacts {
        /// By name.
        pub artefacts: Vec<ArtefactView>,
    }

    /// A piece of a file.
    pub struct FilePiece {
        /// Where the piece begins, in bytes.
        pub offset: u64,
        /// The piece's bytes.
        pub base64: String,
        /// Bytes of the whole file.
        pub size: u64,
    }

    /// Why something is as it is.
    pub struct Answer {
        /// The answer.
        pub why: WhyView,
    }

    /// The farm as it was.
    pub struct Past {
        /// All but the jobs: in the first page only.
        pub past: Option<PastView>,
        /// Jobs as they stood then, the newest first. What the log does not hold is null.
        pub jobs: Vec<JobView>,
        /// Ask for the next page with this; null: there is none.
        pub next: Option<String>,
    }

    /// What lies around a job.
    pub struct Cone {
        /// It.
        pub cone: ConeView,
    }

    /// All builders.
    pub struct Builders {
        /// By name.
        pub builders: Vec<BuilderView>,
    }

    /// One builder.
    pub struct Builder {
        /// It.
        pub builder: BuilderView,
    }

    /// How much of an upload is there.
    pub struct Uploaded {
        /// Bytes so far.
        pub have: u64,
    }

    /// A comparison that began.
    pub struct Comparing {
        /// Its number.
        pub id: u64,
        /// The recipe.
        pub recipe: RecipeName,
        /// Version, release and build release.
        pub release: String,
        /// Who built what is published.
        pub publisher: String,
    }

    /// Some comparisons.
    pub struct Comparisons {
        /// Those under way, then the others, the newest first.
        pub comparisons: Vec<ComparisonView>,
        /// Differences of all that are kept, by cause.
        pub causes: Vec<CauseView>,
    }

    /// One comparison.
    pub struct OneComparison {
        /// It.
        pub comparison: ComparisonView,
    }

    /// What comparisons say of a builder.
    pub struct BuilderProof {
        /// It.
        pub proof: BuilderProofView,
    }

    /// What comparisons say of a recipe.
    pub struct RecipeProof {
        /// It.
        pub proof: RecipeProofView,
    }

    /// Some measurements.
    pub struct Measurements {
        /// They.
        pub measurements: Vec<MeasurementView>,
    }

    /// One measurement.
    pub struct OneMeasurement {
        /// It.
        pub measurement: MeasurementView,
    }

    /// The layers, with what is chosen of one project.
    pub struct Levels {
        /// By name.
        pub levels: Vec<LevelView>,
    }

    /// What a builder for tests needs before it may rise.
    pub struct RiseReply {
        /// So many matches.
        pub after: u32,
    }

    /// What is compared in a channel.
    pub struct ChannelPolicyReply {
        /// It.
        pub policy: ChannelPolicyView,
    }

    /// A try that began.
    pub struct Tried {
        /// Its number.
        pub id: JobId,
        /// Its recipe.
        pub recipe: RecipeName,
        /// The recipe's version.
        pub version: String,
    }

    /// How a try stands.
    pub struct TryPage {
        /// Its number.
        pub id: JobId,
        /// `waiting`, `building`, `publishing`, `built`, `published` or `failed`.
        pub state: String,
        /// What it waits for, or where it is published.
        pub text: Option<String>,
        /// Who builds it.
        pub builder: Option<String>,
        /// What it is doing.
        pub phase: Option<String>,
        /// Seconds since its builder was given it, while it has it.
        pub took_s: Option<f64>,
        /// Seconds that the build should take in all, by what is known of the recipe or of others like it.
        pub expected_s: Option<f64>,
        /// Bytes of its log so far.
        pub log_bytes: u64,
        /// Whose failure, when it failed.
        pub blame: Option<Blame>,
        /// Why it failed.
        pub fault: Option<FaultView>,
        /// It is at its end.
        pub over: bool,
    }
}

methods! {
    interface "io.massif.Summit"

    /// Watches a git repository of recipes. Returns at once; the first intake is done when `intake` is reached.
    ProjectAdd: Admin {
        /// A name for it.
        name: ProjectName,
        /// Any URL that git fetches from, or a directory.
        url: String,
        /// Null: the remote's default branch.
        branch: Option<String>,
        /// Build everything that is missing, however much it is.
        build_all: Option<bool>,
    } -> Ordered;

    /// All projects.
    ProjectList: View {} -> Projects;

    /// One project.
    ProjectShow: View {
        /// Its name.
        name: String,
    } -> Project;

    /// Looks at the remote now. Returns at once; done when `intake` is reached.
    ProjectRefresh: Operate {
        /// Its name.
        name: String,
    } -> Ordered;

    /// Says when a project's recipes are built again although nobody changed them.
    ProjectPolicy: Admin {
        /// Its name.
        name: String,
        /// `default`, `none`, `direct` or `transitive`; null: as it is.
        rebuild: Option<String>,
        /// Build what was built before its provider, because of a cycle, once more; null: as it is.
        second_pass: Option<bool>,
        /// Its share of the builders beside other projects, from 1 on; null: as it is.
        weight: Option<u32>,
        /// How far up it stands among projects that provide the same name; 0 is normal, the highest is taken; null: as it is.
        priority: Option<i32>,
    } -> Project;

    /// Chooses recipes of a project for a layer, or drops them from it.
    ProjectLevel: Admin {
        /// The project's name.
        name: String,
        /// The layer: a profile that lies above another one.
        profile: ProfileName,
        /// The recipes.
        recipes: Vec<String>,
        /// They are built for it no more.
        remove: Option<bool>,
        /// Why, for whoever asks later.
        why: Option<String>,
    } -> Levels;

    /// What is chosen for which layer.
    ProjectLevels: View {
        /// The project's name.
        name: String,
    } -> Levels;

    /// Forgets a project: its waiting jobs are cancelled, what it published stays.
    ProjectRemove: Admin {
        /// Its name.
        name: String,
    } -> Project;

    /// Recipes by name, the faulty ones too.
    RecipeList: View {
        /// Only of this project.
        project: Option<ProjectName>,
        /// Only those whose name or summary holds this text.
        text: Option<String>,
        /// Only those that cannot be read.
        faulty: Option<bool>,
        /// `next` of the page before.
        after: Option<String>,
        /// Rows at most.
        limit: Option<u32>,
    } -> Recipes;

    /// What git, the recipe and its manifest say.
    RecipeShow: View {
        /// Its name, or `PROJECT/NAME` when several projects have one.
        name: String,
    } -> Recipe;

    /// Decides how long a recipe's builds may take on this farm, whatever the recipe says; from its next attempt on.
    RecipeLimitSet: Operate {
        /// Its name, or `PROJECT/NAME` when several projects have one.
        name: String,
        /// The whole build, in seconds; null: as if nothing had been decided.
        time_s: Option<u64>,
    } -> RecipeLimit;

    /// Commits that touched a recipe.
    RecipeHistory: View {
        /// Its name, or `PROJECT/NAME`.
        name: String,
        /// Rows at most; 20 unless given.
        limit: Option<u32>,
    } -> Changes;

    /// Adds a build target, or changes it.
    ProfileAdd: Admin {
        /// All of it.
        profile: ProfileView,
        /// It holds only recipes that are chosen for it, and lies above this profile; null: it holds everything.
        #[serde(default)]
        over: Option<ProfileName>,
    } -> Profile;

    /// All profiles.
    ProfileList: View {} -> Profiles;

    /// One profile.
    ProfileShow: View {
        /// Its name.
        name: String,
    } -> Profile;

    /// What would be built, in which order and why.
    Plan: View {
        /// Only these recipes and what they need; empty: all that is missing or newer.
        #[serde(default)]
        names: Vec<String>,
        /// Build these again although they are published.
        rebuild: Option<bool>,
        /// Only for this profile; null: the default one.
        profile: Option<ProfileName>,
        /// Play it with this many builders; null: with those that are here.
        builders: Option<u32>,
        /// `manifest` or `all`; null: `all`.
        edges: Option<String>,
        /// `next` of the page before.
        after: Option<String>,
        /// Rows at most.
        limit: Option<u32>,
    } -> PlanPage;

    /// Makes jobs now.
    Build: Operate {
        /// Recipes, or `PROJECT/NAME`.
        #[serde(default)]
        names: Vec<String>,
        /// Everything that is missing or newer; `names` is empty then.
        all: Option<bool>,
        /// Build again although it is published, with the next build release.
        rebuild: Option<bool>,
        /// Only for this profile; null: every profile of the project.
        profile: Option<ProfileName>,
    } -> Builds;

    /// Jobs, the newest first.
    JobList: View {
        /// Only in these states; empty: in any.
        #[serde(default)]
        states: Vec<JobState>,
        /// Only of this recipe.
        recipe: Option<RecipeName>,
        /// Only of this project.
        project: Option<ProjectName>,
        /// `next` of the page before.
        after: Option<String>,
        /// Rows at most.
        limit: Option<u32>,
    } -> Jobs;

    /// Several jobs at once, as `JobList` shows them; those that do not exist are left out.
    JobsShow: View {
        /// Their numbers.
        jobs: Vec<JobId>,
    } -> Jobs;

    /// One job with its tries, reasons, neighbours and artefacts.
    JobShow: View {
        /// Its number, or a recipe: its newest job.
        job: String,
    } -> JobPage;

    /// A piece of an attempt's log. With `more`: all of it from `offset`, and then each piece as it is written.
    JobLog: View more {
        /// Its number, or a recipe: its newest job.
        job: String,
        /// Which try; null: the last.
        try_no: Option<u32>,
        /// From this byte on; a negative one counts from the end.
        offset: Option<i64>,
        /// Bytes in one answer at most.
        bytes_max: Option<u32>,
        /// Answer with the bytes in base64 instead of text.
        base64: Option<bool>,
    } -> LogPiece;

    /// Searches a log where it lies and answers with offsets: a part of a large one, then ask on from `looked`.
    JobLogSearch: View {
        /// Its number, or a recipe: its newest job.
        job: String,
        /// Which try; null: the last.
        try_no: Option<u32>,
        /// A regular expression, in any case; null: what looks like an error.
        pattern: Option<String>,
        /// Lines where a phase begins instead.
        phases: Option<bool>,
        /// From this byte on.
        offset: Option<u64>,
    } -> LogPlaces;

    /// What a job made.
    JobArtefacts: View {
        /// Its number, or a recipe: its newest job.
        job: String,
        /// Which try; null: the last that made something.
        try_no: Option<u32>,
    } -> Artefacts;

    /// A piece of a file that a job made.
    ArtefactRead: View {
        /// Its number.
        job: JobId,
        /// Which try.
        try_no: u32,
        /// The file's name.
        name: String,
        /// From this byte on.
        offset: u64,
        /// Bytes at most.
        bytes_max: Option<u32>,
    } -> FilePiece;

    /// Tries a failed or cancelled job again.
    JobRetry: Operate {
        /// Its number, or a recipe: its newest job.
        job: String,
    } -> Job;

    /// Stops a job for good; a running try is killed.
    JobCancel: Operate {
        /// Its number, or a recipe: its newest job.
        job: String,
        /// Why.
        reason: Option<String>,
    } -> Job;

    /// Keeps a job from starting until it is released.
    JobHold: Operate {
        /// Its number, or a recipe: its newest job.
        job: String,
        /// Why.
        reason: String,
        /// Release it by itself after so many seconds.
        expires_s: Option<u64>,
    } -> Job;

    /// Ends a hold.
    JobRelease: Operate {
        /// Its number, or a recipe: its newest job.
        job: String,
    } -> Job;

    /// Moves a job forward, or back with a negative number.
    JobRaise: Operate {
        /// Its number, or a recipe: its newest job.
        job: String,
        /// How much to add to its priority; 100 unless given.
        by: Option<i64>,
    } -> Job;

    /// All reasons why a job, recipe, builder, package, channel or project is as it is.
    Why: View {
        /// A job's number, or a name; `builder:NAME` and the like when several things have it.
        thing: String,
    } -> Answer;

    /// All builders with their slots, disks and verdicts.
    BuilderList: View {} -> Builders;

    /// One builder.
    BuilderShow: View {
        /// Its name, or the start of its id.
        name: String,
    } -> Builder;

    /// Lets a builder finish what it does and gives it nothing new, until it is resumed.
    BuilderDrain: Operate {
        /// Its name, or the start of its id.
        name: String,
        /// What still runs after so many seconds is given back.
        deadline_s: Option<u64>,
        /// Why.
        reason: Option<String>,
    } -> Builder;

    /// Ends a drain.
    BuilderResume: Operate {
        /// Its name, or the start of its id.
        name: String,
    } -> Builder;

    /// Gives a builder known-good recipes only, until one of them comes out well; what it makes of them is thrown away.
    BuilderQuarantine: Operate {
        /// Its name, or the start of its id.
        name: String,
        /// Why.
        reason: Option<String>,
    } -> Builder;

    /// Ends a quarantine.
    BuilderRelease: Operate {
        /// Its name, or the start of its id.
        name: String,
    } -> Builder;

    /// Builds what a builder published since its last match again, as far as it is published still.
    BuilderRebuild: Operate {
        /// Its name, or the start of its id.
        name: String,
    } -> Builds;

    /// Says how many matches a builder for tests needs before a person may let it build for publication.
    BuilderRise: Admin {
        /// So many; 0: a person decides without any.
        after: u32,
    } -> RiseReply;

    /// Says whose machine a builder is: comparisons prefer a builder of another owner.
    BuilderOwner: Admin {
        /// Its name, or the start of its id.
        name: String,
        /// A person or a group; empty: nobody in particular.
        owner: String,
    } -> BuilderProof;

    /// What comparisons say of a builder.
    BuilderProofShow: View {
        /// Its name, or the start of its id.
        name: String,
    } -> BuilderProof;

    /// What comparisons say of a recipe.
    RecipeProofShow: View {
        /// Its name, or `PROJECT/NAME`.
        name: String,
    } -> RecipeProof;

    /// Builds what is published once more, from what it was built from, publishes it nowhere, and compares.
    Compare: Operate {
        /// A package, or a recipe.
        package: String,
        /// On which builder; null: on another one than it was built on, if there is one.
        on: Option<String>,
        /// Only in this channel.
        channel: Option<ChannelName>,
    } -> Comparing;

    /// Builds what is published for each level, runs its workload in turns, and says what each level is worth.
    IsaMeasure: Operate {
        /// A recipe, or a package.
        recipe: String,
        /// Levels beside that of its profile; empty: all that a builder here runs.
        #[serde(default)]
        levels: Vec<String>,
        /// Runs of each; 12 unless given.
        runs: Option<u32>,
        /// On which builder; null: on any that has nothing to do.
        on: Option<String>,
    } -> Comparing;

    /// Measurements: those under way, then the newest of each recipe, what gains most first.
    IsaList: View {
        /// Only of this project.
        project: Option<ProjectName>,
        /// Only of this recipe.
        recipe: Option<RecipeName>,
        /// Rows at most; 100 unless given.
        limit: Option<u32>,
    } -> Measurements;

    /// One measurement.
    IsaShow: View {
        /// Its number.
        id: u64,
    } -> OneMeasurement;

    /// Comparisons, and their differences by cause.
    CompareList: View {
        /// Only of this recipe.
        recipe: Option<RecipeName>,
        /// Rows at most; 100 unless given.
        limit: Option<u32>,
    } -> Comparisons;

    /// One comparison.
    CompareShow: View {
        /// Its number.
        id: u64,
    } -> OneComparison;

    /// Says what is compared in a channel without being asked, and before something is published there.
    ChannelPolicy: Admin {
        /// Its name.
        channel: String,
        /// Builders with nothing to do rebuild what is published there and compare; null: as it is.
        compare_idle: Option<bool>,
        /// So many other builders must come to the same before anything is published there; null: as it is.
        require_match: Option<u32>,
    } -> ChannelPolicyReply;

    /// What is compared in a channel without being asked.
    ChannelPolicyShow: View {
        /// Its name.
        channel: String,
    } -> ChannelPolicyReply;

    /// Takes a piece of a packed recipe directory, for `Try`. Pieces come in order.
    RecipeUpload: Operate {
        /// SHA-256 of the whole.
        sha256: Digest,
        /// Bytes of the whole.
        size: u64,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        base64: String,
    } -> Uploaded;

    /// Builds a recipe that is in no repository. What it makes stays with its owner, or goes to a channel of their own.
    Try: Operate {
        /// SHA-256 of its packed directory, which was uploaded.
        recipe_tar: Digest,
        /// For what; null: the first profile.
        profile: Option<ProfileName>,
        /// On which builder; null: on any.
        on: Option<String>,
        /// Publish it there; never a channel of the farm's profiles.
        channel: Option<ChannelName>,
    } -> Tried;

    /// How a try stands.
    TryShow: View {
        /// Its number.
        id: JobId,
    } -> TryPage;

    /// Forgets a try: what it made is thrown away, and it is stopped if it still runs.
    TryDone: Operate {
        /// Its number.
        id: JobId,
    } -> TryPage;

    /// The farm as it stood after an event: the log of events, folded up to there by the farm's own rules.
    PastShow: View slow {
        /// The event; 0: before the first.
        at: Seq,
        /// Only jobs that stood in these states; empty: all.
        #[serde(default)]
        states: Vec<JobState>,
        /// `next` of the page before.
        after: Option<String>,
        /// Rows at most.
        limit: Option<u32>,
    } -> Past;

    /// Why something was as it was after an event, as far as the log of events tells.
    PastWhy: View slow {
        /// The event.
        at: Seq,
        /// A job's number, a recipe or a builder.
        thing: String,
    } -> Answer;

    /// The longest way through what a job needs and what needs it, and the circles among them with their cuts.
    ConeShow: View {
        /// Its number, or a recipe: its newest job.
        job: String,
    } -> Cone;
}
