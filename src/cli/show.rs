//! Words and tones for the rows that several verbs print.

use super::out::Tone;
use super::text;
use crate::admin::view::{
    AttemptView, BaseView, CacheView, CauseView, FaultView, HoldView, JobState, JobView,
    ReasonView, ReleaseView, ScoreView,
};
use crate::fault::Fault;
use crate::id::Stamp;

pub(super) fn tone_of_job(state: JobState) -> Tone {
    match state {
        JobState::Waiting => Tone::Plain,
        JobState::Ready => Tone::Strong,
        JobState::Building | JobState::Publishing => Tone::Busy,
        JobState::Published => Tone::Good,
        JobState::Failed => Tone::Bad,
        JobState::Cancelled | JobState::Superseded => Tone::Faint,
    }
}

pub(super) fn tone_of_verdict(word: &str) -> Tone {
    match word {
        "ok" | "fit" | "fits" => Tone::Good,
        "bad" | "stalled" | "quarantined" | "decline" => Tone::Bad,
        "warning" | "low" | "away" | "draining" | "postpone" => Tone::Warn,
        _ => Tone::Faint,
    }
}

/// `7.2-1`, or `7.2-1.3` when it was built again.
pub(crate) fn release(version: &str, release: u64, build_release: u64) -> String {
    match build_release {
        0 | 1 => format!("{version}-{release}"),
        _ => format!("{version}-{release}.{build_release}"),
    }
}

pub(crate) fn published(view: &ReleaseView) -> String {
    format!(
        "{} in {}",
        release(&view.version, view.release, view.build_release),
        view.channel
    )
}

/// The one thing to know about a job in a list: why it waits, what it does, why it failed.
pub(crate) fn job_note(job: &JobView) -> String {
    let last = job.attempts.last();
    match job.state {
        JobState::Waiting | JobState::Ready => match (&job.hold, job.waits_for.as_slice()) {
            (Some(hold), _) => hold_text(hold),
            (None, []) => String::new(),
            (None, [one]) => one.text.clone(),
            (None, [one, rest @ ..]) => format!("{} (and {} more)", one.text, rest.len()),
        },
        JobState::Building | JobState::Publishing => match last {
            Some(attempt) => format!(
                "{} on {}",
                attempt.phase.as_deref().unwrap_or("starting"),
                attempt.builder
            ),
            None => String::new(),
        },
        JobState::Failed => last.map(failure).unwrap_or_default(),
        JobState::Published | JobState::Cancelled | JobState::Superseded => job.because.clone(),
    }
}

/// `recipe: build ended with code 2`
pub(crate) fn failure(attempt: &AttemptView) -> String {
    let why = attempt.why.as_deref().unwrap_or("no reason was recorded");
    match attempt.blame {
        Some(blame) => format!("{}: {why}", blame.as_str()),
        None => why.to_owned(),
    }
}

pub(crate) fn hold_text(hold: &HoldView) -> String {
    match hold.expires {
        Some(expires) => format!(
            "held by {}: {} (until {})",
            hold.owner,
            hold.reason,
            moment(expires)
        ),
        None => format!("held by {}: {}", hold.owner, hold.reason),
    }
}

/// `2026-11-21 20:20:49`, in UTC.
pub(crate) fn moment(at: Stamp) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(time)) if text.as_bytes().get(10) == Some(&b'T') => {
            format!("{day} {time}")
        }
        _ => text,
    }
}

/// How long something took, or has taken until now.
pub(crate) fn took(from: Stamp, to: Option<Stamp>) -> String {
    took_until(from, to, now())
}

/// The same at a moment that is given.
pub(crate) fn took_until(from: Stamp, to: Option<Stamp>, now: Stamp) -> String {
    text::span(to.unwrap_or(now).seconds_since(from))
}

/// The wall clock of this machine, for ages only.
pub(super) fn now() -> Stamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Stamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// An error in a row, in one sentence.
pub(crate) fn fault_text(view: &FaultView) -> String {
    Fault::from(view.clone()).to_string()
}

/// `text (have 2 GiB, need 8 GiB)`; the amounts once.
pub(crate) fn reason_text(reason: &ReasonView) -> String {
    let mut out = reason.text.clone();
    let told = |amount: &Option<String>| amount.as_ref().is_some_and(|amount| out.contains(amount));
    if told(&reason.have) && told(&reason.need) {
        return out;
    }
    match (&reason.have, &reason.need) {
        (Some(have), Some(need)) => out.push_str(&format!(" (have {have}, need {need})")),
        (Some(have), None) => out.push_str(&format!(" (have {have})")),
        (None, Some(need)) => out.push_str(&format!(" (need {need})")),
        (None, None) => {}
    }
    out
}

/// How long a build may take, and who says so.
pub(super) fn time_limit(limit: &crate::admin::view::TimeLimitView) -> String {
    format!("{} ({})", text::span(limit.time_s as f64), limit.text)
}

/// `3 jobs`, `1 job`
pub(crate) fn count(number: impl TryInto<u64>, one: &str) -> String {
    match number.try_into() {
        Ok(1) => format!("1 {one}"),
        Ok(number) => format!("{number} {one}s"),
        Err(_) => format!("many {one}s"),
    }
}

/// How good predictions have been, in words.
pub(super) fn accuracy(known: &crate::admin::view::AccuracyView) -> String {
    format!(
        "{} builds so far, nine of ten within a factor of {:.2}, the middle one took {:.2} of what was predicted",
        known.builds, known.factor_p90, known.middle
    )
}

fn matches(number: u64) -> String {
    match number {
        1 => "1 match".into(),
        many => format!("{many} matches"),
    }
}

/// What a base of a builder's own brings, in a line: the tools that say their versions stand for the others.
pub(crate) fn base(base: &BaseView) -> String {
    let told = base.parts.iter().filter_map(|part| {
        let version = part.version.as_ref()?;
        Some(format!("{} {version}", part.name))
    });
    let told: Vec<String> = told.collect();
    let system = base.system.as_deref().unwrap_or("a system without a name");
    let (of, id) = (&base.base, &base.id);
    match told.is_empty() {
        true => format!("{of} ({id}): {system}, {} tools", base.parts.len()),
        false => format!("{of} ({id}): {system}, {}", told.join(", ")),
    }
}

/// What comparisons say of a builder, in a line.
pub(crate) fn builder_score(score: &ScoreView) -> String {
    let mut words = vec![matches(score.matches)];
    for (number, word) in [
        (score.wrong, "wrong alone"),
        (score.undecided, "undecided"),
        (score.varies, "of recipes that vary"),
    ] {
        if number > 0 {
            words.push(format!("{number} {word}"));
        }
    }
    if let Some(last) = score.last_match {
        words.push(format!("the last at {}", moment(last)));
    }
    words.join(", ")
}

/// What comparisons say of a recipe, in a line.
pub(crate) fn recipe_score(score: &ScoreView) -> String {
    let mut words = vec![matches(score.matches)];
    if score.wrong > 0 {
        words.push(format!("a builder was wrong alone in {}", score.wrong));
    }
    if score.undecided > 0 {
        words.push(format!("{} undecided", score.undecided));
    }
    words.join(", ")
}

/// Causes of differences, in a line.
pub(crate) fn causes(causes: &[CauseView]) -> String {
    let words = causes.iter().map(|cause| match cause.count {
        1 => cause.cause.replace('_', " "),
        many => format!("{} ({many})", cause.cause.replace('_', " ")),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// What a compiler cache of a builder did, in a line.
pub(crate) fn cache(cache: &CacheView) -> String {
    if !cache.present {
        let program = &cache.program;
        return format!(
            "{program} for {}: its build roots do not have it",
            cache.profile
        );
    }
    let served = match cache.hit_rate {
        Some(rate) => format!(
            "served {:.0} % of {} compilations",
            rate * 100.0,
            cache.hits + cache.misses
        ),
        None => "nothing was compiled".into(),
    };
    let bytes = cache.bytes.map_or_else(|| "?".into(), text::bytes);
    format!(
        "{} for {}: {served}, {bytes} of {}",
        cache.program,
        cache.profile,
        text::bytes(cache.bytes_max)
    )
}
