//! Why a job does not run: all reasons, every builder with every test that it fails, and the cheapest change.

use super::book::{Doing, JobRow, Schedule};
use super::decide::{is_refused, slips_in};
use super::fleet::{Builder, BuilderIx};
use super::{BuilderSpec, RAISE_STEP_S, Requirements, slots_for};
use crate::id::{JobId, Now, Stamp};
use crate::plan::why::{
    BuilderFit, FailedTest, Forecast, Passes, Reason, Term, Test, Verdict, Wait, WaitKind, Why,
};

/// Jobs ahead are counted up to here; beyond it, it is "more than".
const AHEAD_MAX: usize = 1_000;
/// How far the ninth tenth of predictions lies from the middle, as long as nothing better was learned.
const SPREAD: f64 = 1.6;

impl Schedule {
    /// Everything about a job that is known here. `waits` is what the planner says it waits for. `None`: no such job.
    pub fn explain(&self, job: JobId, waits: &[Wait], now: Now) -> Option<Why> {
        self.explain_with(job, waits, now, |_, _| None)
    }

    /// The same; `lifts` knows in how many seconds a reason of this kind, about this job, lifts, as far as it is not known here.
    pub fn explain_with(
        &self,
        job: JobId,
        waits: &[Wait],
        now: Now,
        lifts: impl Fn(WaitKind, Option<JobId>) -> Option<f64>,
    ) -> Option<Why> {
        let row = self.jobs.get(&job)?;
        let mut why = Why {
            subject: format!("job {job} {}", row.spec.label),
            job: Some(job),
            verdict: Verdict::Ready,
            headline: String::new(),
            reasons: Vec::new(),
            builders: self.fits(row, now.mono_ms),
            priority: self.terms(row, now.mono_ms),
            cheapest: None,
            start: None,
            end: None,
        };
        if let Doing::Running {
            builder, since_ms, ..
        } = row.doing
        {
            self.explain_running(&mut why, row, builder, since_ms, now);
            return Some(why);
        }
        why.reasons.extend(waits.iter().map(reason_of));
        why.reasons.extend(self.stops(row, now.mono_ms));
        why.reasons
            .extend(self.fleet_reasons(row, &why.builders, now.mono_ms));
        for reason in &mut why.reasons {
            reason.lifts_in_s = reason.lifts_in_s.or_else(|| lifts(reason.kind, reason.job));
        }
        why.reasons.sort_by(|a, b| {
            let key = |reason: &Reason| reason.lifts_in_s.unwrap_or(f64::INFINITY);
            key(a).total_cmp(&key(b)).then(a.kind.cmp(&b.kind))
        });
        why.verdict = verdict(&why);
        why.cheapest = self.cheapest(row, &why);
        self.foresee(&mut why, row, waits, now);
        why.headline = headline(&why);
        Some(why)
    }

    fn explain_running(&self, why: &mut Why, row: &JobRow, ix: BuilderIx, since_ms: u64, now: Now) {
        let ran_s = now.mono_ms.saturating_sub(since_ms) as f64 / 1000.0;
        let takes_s = self
            .fleet
            .get(ix)
            .map_or(0.0, |b| b.takes_ms(row.spec.seconds) as f64 / 1000.0);
        let name = self.builder_name(ix);
        why.verdict = Verdict::Running;
        why.headline = format!("runs on {name} for {}", duration(ran_s));
        why.end = Some(Forecast {
            p50: after(now.wall, (takes_s - ran_s).max(0.0)),
            p90: after(now.wall, (takes_s * SPREAD - ran_s).max(0.0)),
        });
    }

    /// What a person or the farm put in the way.
    fn stops(&self, row: &JobRow, now_ms: u64) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if let Some(hold) = &self.farm_hold {
            reasons.push(Reason {
                kind: WaitKind::Farm,
                text: format!("the whole farm is held: {hold}"),
                next: "release the farm".into(),
                job: None,
                lifts_in_s: None,
            });
        }
        if let Some(hold) = &row.hold {
            reasons.push(Reason {
                kind: WaitKind::Hold,
                text: format!("held: {hold}"),
                next: format!("run `massif job release {}`", row.spec.job),
                job: None,
                lifts_in_s: None,
            });
        }
        if row.not_before_ms > now_ms {
            let left_s = (row.not_before_ms - now_ms) as f64 / 1000.0;
            reasons.push(Reason {
                kind: WaitKind::BackOff,
                text: format!(
                    "backs off for {} more after a failure that was not the recipe's",
                    duration(left_s)
                ),
                next: String::new(),
                job: None,
                lifts_in_s: Some(left_s),
            });
        }
        reasons
    }

    /// What the builders have to do with it.
    fn fleet_reasons(&self, row: &JobRow, fits: &[BuilderFit], now_ms: u64) -> Vec<Reason> {
        let plain = |kind, text: String, next: &str, lifts_in_s| Reason {
            kind,
            text,
            next: next.into(),
            job: None,
            lifts_in_s,
        };
        if self.fleet.builders.iter().all(|builder| builder.gone) {
            return vec![plain(
                WaitKind::NoBuilder,
                "the farm has no builder".into(),
                "join one: `massif invite`",
                None,
            )];
        }
        if fits.iter().all(|fit| fit.verdict == Verdict::Decline) {
            let count = fits.len();
            return vec![plain(
                WaitKind::NoFit,
                match count {
                    1 => "the only builder can never run it".into(),
                    _ => format!("none of {count} builders can ever run it"),
                },
                "",
                None,
            )];
        }
        let mut reasons = Vec::new();
        let away: Vec<String> = self.away_but_fitting(&row.spec.needs);
        if !away.is_empty() {
            let text = format!("would fit, but takes no work: {}", away.join("; "));
            reasons.push(plain(
                WaitKind::BuilderAway,
                text,
                "resume one of them",
                None,
            ));
        }
        if !matches!(row.doing, Doing::Queued(_))
            || fits.iter().any(|fit| fit.verdict == Verdict::Ready)
        {
            if let Doing::Queued(_) = row.doing {
                reasons.extend(self.patience(row, now_ms));
            }
            return reasons;
        }
        reasons.extend(self.short_of_disk(&row.spec.needs));
        let soonest = fits
            .iter()
            .filter_map(|fit| fit.free_in_s)
            .min_by(f64::total_cmp);
        let able = fits
            .iter()
            .filter(|fit| fit.verdict != Verdict::Decline)
            .count();
        // A builder that has room now is kept for somebody else, which is another reason.
        let mut there = self.fleet.builders.iter().filter(|builder| !builder.gone);
        let room = there.any(|builder| builder.fits_now(&row.spec.needs));
        if let Some(soonest) = soonest.filter(|seconds| *seconds > 0.0 || !room) {
            let free = if soonest <= 0.0 {
                "at any moment: what runs there takes longer than predicted".to_string()
            } else if soonest < 1.0 {
                "at any moment".to_string()
            } else {
                format!("in about {}", duration(soonest))
            };
            let text = match able {
                1 => format!("the one builder that would do is busy; it is free {free}"),
                _ => format!("all {able} builders that would do are busy; one is free {free}"),
            };
            reasons.push(plain(WaitKind::Busy, text, "", Some(soonest)));
        }
        reasons.extend(self.order_reasons(row, soonest.unwrap_or(0.0)));
        for (ix, builder) in (0..).zip(&self.fleet.builders) {
            if let Some(reservation) = builder.reserved.as_ref().filter(|r| r.job != row.spec.job)
                && builder.fits_now(&row.spec.needs)
            {
                let left_s = reservation.at_ms.saturating_sub(now_ms) as f64 / 1000.0;
                let text = format!(
                    "{} is kept free for job {}, which comes first",
                    self.builder_name(ix),
                    reservation.job
                );
                reasons.push(Reason {
                    job: Some(reservation.job),
                    ..plain(WaitKind::Reserved, text, "", Some(left_s))
                });
            }
        }
        reasons
    }

    /// Nobody has the room, and somebody had it with less on its disk.
    fn short_of_disk(&self, needs: &Requirements) -> Option<Reason> {
        let known = || self.fleet.builders.iter().filter(|builder| !builder.gone);
        if known().any(|builder| builder.fits_ever(needs)) {
            return None;
        }
        let short: Vec<String> = known()
            .filter(|builder| builder.lacks_room_only_now(needs))
            .map(|builder| {
                let free = builder.spec.disk_mib.unwrap_or(0);
                format!("{} has {free} MiB free", builder.spec.name)
            })
            .collect();
        (!short.is_empty()).then(|| Reason {
            kind: WaitKind::Busy,
            text: format!("needs {} MiB of disk: {}", needs.disk_mib, short.join(", ")),
            next: "make room on one of them".into(),
            job: None,
            lifts_in_s: None,
        })
    }

    /// A builder is free, and the job does not take it.
    fn patience(&self, row: &JobRow, now_ms: u64) -> Option<Reason> {
        let ix = self.patient.iter().next()?;
        let builder = self.fleet.get(*ix)?;
        let here_s = builder.takes_ms(row.spec.seconds) as f64 / 1000.0;
        let ends = self
            .fleet
            .faster_ends(builder.speed())
            .filter_map(|(_, ends)| ends.first());
        let free_ms = ends.map(|(end, ..)| *end).min()?;
        let left_s = free_ms.saturating_sub(now_ms) as f64 / 1000.0;
        Some(Reason {
            kind: WaitKind::BetterBuilder,
            text: format!(
                "{} is free and would need {}; a faster builder is free in about {}",
                self.builder_name(*ix),
                duration(here_s),
                duration(left_s)
            ),
            next: String::new(),
            job: None,
            lifts_in_s: Some(left_s),
        })
    }

    fn order_reasons(&self, row: &JobRow, soonest_s: f64) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let Doing::Queued(place) = row.doing else {
            return reasons;
        };
        let key = place.key - self.queue.used(place.account);
        let ahead = self.queue.before(key, AHEAD_MAX);
        if ahead > 0 {
            let more = if ahead == AHEAD_MAX { "more than " } else { "" };
            reasons.push(Reason {
                kind: WaitKind::Order,
                text: match ahead {
                    1 => "1 ready job comes first".into(),
                    _ => format!("{more}{ahead} ready jobs come first"),
                },
                next: format!("run `massif job raise {}`", row.spec.job),
                job: None,
                lifts_in_s: Some(soonest_s + self.ahead_s(row, ahead)),
            });
        }
        let lag = self.queue.used(place.account) - self.queue.least_used().unwrap_or(0);
        if lag > 0 && ahead > 0 {
            let name = self
                .accounts
                .get(place.account as usize)
                .map_or("", |account| &account.name);
            reasons.push(Reason {
                kind: WaitKind::Share,
                text: format!(
                    "{name} used {} more than its share",
                    duration(lag as f64 / 1000.0)
                ),
                next: "raise its weight".into(),
                job: None,
                lifts_in_s: None,
            });
        }
        reasons
    }

    /// Predicted time until this many average jobs went through the builders that could run this one.
    fn ahead_s(&self, row: &JobRow, ahead: usize) -> f64 {
        let mean = self.open_s / self.jobs.len().max(1) as f64;
        ahead as f64 * mean / self.fleet.capacity(&row.spec.needs).max(0.01)
    }

    /// Every builder, and what it lacks.
    fn fits(&self, row: &JobRow, now_ms: u64) -> Vec<BuilderFit> {
        let needs = &row.spec.needs;
        let known = (0..)
            .zip(&self.fleet.builders)
            .filter(|(_, builder)| !builder.gone);
        let mut fits: Vec<BuilderFit> = known
            .map(|(ix, builder)| {
                let mut failed: Vec<FailedTest> = builder
                    .failed_tests(needs)
                    .into_iter()
                    .map(|(test, passes)| failed_test(builder, needs, test, passes))
                    .collect();
                if let Some((_, until, why)) = row.refusals.iter().find(|(other, ..)| *other == ix)
                    && is_refused(row, ix, now_ms)
                {
                    failed.push(FailedTest {
                        test: Test::Refusal,
                        have: why.to_string(),
                        need: format!(
                            "asked again in {}",
                            duration((*until - now_ms) as f64 / 1000.0)
                        ),
                        passes: Passes::Later,
                    });
                }
                if let Some(reservation) = builder
                    .reserved
                    .as_ref()
                    .filter(|_| !slips_in(row, builder, now_ms))
                {
                    failed.push(FailedTest {
                        test: Test::Reservation,
                        have: format!("kept free for job {}", reservation.job),
                        need: "to end before that one starts".into(),
                        passes: Passes::Later,
                    });
                }
                let never = failed.iter().any(|test| test.passes == Passes::Never);
                BuilderFit {
                    builder: builder.spec.name.to_string(),
                    verdict: match (never, failed.is_empty()) {
                        (true, _) => Verdict::Decline,
                        (false, true) => Verdict::Ready,
                        (false, false) => Verdict::Postpone,
                    },
                    failed,
                    free_in_s: builder
                        .free_at(needs, now_ms)
                        .filter(|_| builder.takes_work())
                        .map(|(at, _)| at.saturating_sub(now_ms) as f64 / 1000.0),
                }
            })
            .collect();
        fits.sort_by(|a, b| a.builder.cmp(&b.builder));
        fits
    }

    fn away_but_fitting(&self, needs: &Requirements) -> Vec<String> {
        let known = self
            .fleet
            .builders
            .iter()
            .filter(|builder| builder.fits_ever(needs));
        known
            .filter_map(|builder| {
                Some(format!(
                    "{} ({})",
                    builder.spec.name,
                    builder.spec.away.as_ref()?
                ))
            })
            .collect()
    }

    /// The terms of the job's priority.
    fn terms(&self, row: &JobRow, now_ms: u64) -> Vec<Term> {
        let term = |name: &str, seconds: f64, text: String| Term {
            name: name.into(),
            seconds,
            text,
        };
        let mut terms = vec![term(
            "path",
            row.spec.path_s,
            "predicted time to the end of the longest chain behind it".into(),
        )];
        if row.spec.raise != 0 {
            let seconds = f64::from(row.spec.raise) * RAISE_STEP_S as f64;
            terms.push(term(
                "raise",
                seconds,
                format!("{} steps, set by a person", row.spec.raise),
            ));
        }
        let used = self.queue.used(row.account) - self.queue.least_used().unwrap_or(0);
        if used > 0 {
            let name = self
                .accounts
                .get(row.account as usize)
                .map_or("", |account| &account.name);
            let text =
                format!("{name} used that much more over its weight than the one that used least");
            terms.push(term("share", -(used as f64) / 1000.0, text));
        }
        if matches!(row.doing, Doing::Queued(_)) && row.due_ms <= now_ms {
            let waited = duration(now_ms.saturating_sub(row.ready_ms) as f64 / 1000.0);
            terms.push(term(
                "overdue",
                1e9,
                format!("waited {waited}, longer than its limit: goes first"),
            ));
        }
        terms.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        terms
    }

    /// The least that has to change for it to start.
    fn cheapest(&self, row: &JobRow, why: &Why) -> Option<String> {
        let first = |kind| {
            why.reasons
                .iter()
                .find(|reason| reason.kind == kind && !reason.next.is_empty())
        };
        let blockers = [
            WaitKind::Dependency,
            WaitKind::Bootstrap,
            WaitKind::FailedJob,
            WaitKind::Recipe,
            WaitKind::Hold,
            WaitKind::Farm,
            WaitKind::NoBuilder,
        ];
        if let Some(reason) = blockers.into_iter().find_map(first) {
            return Some(reason.next.clone());
        }
        if why
            .reasons
            .iter()
            .any(|reason| reason.kind == WaitKind::NoFit)
        {
            // The builder that fails the fewest tests for good, and there what it lacks.
            let never = |fit: &BuilderFit| {
                fit.failed
                    .iter()
                    .filter(|test| test.passes == Passes::Never)
                    .count()
            };
            let nearest = why.builders.iter().min_by_key(|fit| never(fit))?;
            let lacks: Vec<String> = nearest
                .failed
                .iter()
                .filter(|test| test.passes == Passes::Never)
                .map(|test| format!("{} {} (has {})", test.test.as_str(), test.need, test.have))
                .collect();
            return Some(format!(
                "give {} {}, or join a builder that has it",
                nearest.builder,
                lacks.join(" and ")
            ));
        }
        let away = why
            .reasons
            .iter()
            .any(|reason| reason.kind == WaitKind::BuilderAway);
        let later = why
            .reasons
            .iter()
            .any(|reason| reason.kind == WaitKind::Order);
        match (away, later) {
            (true, _) => Some(format!(
                "resume {}",
                self.away_but_fitting(&row.spec.needs).first()?
            )),
            (false, true) => Some(format!("run `massif job raise {}`", row.spec.job)),
            (false, false) => None,
        }
    }

    fn foresee(&self, why: &mut Why, row: &JobRow, waits: &[Wait], now: Now) {
        let endless = why.verdict == Verdict::Decline
            || why.reasons.iter().any(|r| {
                r.lifts_in_s.is_none()
                    && r.job.is_none()
                    && !matches!(r.kind, WaitKind::Share | WaitKind::BuilderAway)
            });
        if endless {
            return;
        }
        // The jobs that it waits for end first; those that wait themselves are not looked through here: `simulate` does that.
        let mut start_s: f64 = 0.0;
        for wait in waits {
            let Some(other) = wait.job.and_then(|job| self.jobs.get(&job)) else {
                continue;
            };
            let left = match other.doing {
                Doing::Running {
                    builder, since_ms, ..
                } => {
                    let takes = self
                        .fleet
                        .get(builder)
                        .map_or(0, |b| b.takes_ms(other.spec.seconds));
                    (since_ms + takes).saturating_sub(now.mono_ms) as f64 / 1000.0
                }
                Doing::Blocked | Doing::Stopped | Doing::Queued(_) => other.spec.seconds,
            };
            start_s = start_s.max(left);
        }
        let own = why.reasons.iter().filter_map(|reason| reason.lifts_in_s);
        start_s = own.fold(start_s, f64::max);
        let speed = self
            .fleet
            .builders
            .iter()
            .filter(|b| b.fits_ever(&row.spec.needs))
            .map(Builder::speed);
        let takes_s = row.spec.seconds / speed.fold(0.01, f64::max);
        why.start = Some(Forecast {
            p50: after(now.wall, start_s),
            p90: after(now.wall, start_s * SPREAD),
        });
        why.end = Some(Forecast {
            p50: after(now.wall, start_s + takes_s),
            p90: after(now.wall, (start_s + takes_s) * SPREAD),
        });
    }

    fn builder_name(&self, ix: BuilderIx) -> String {
        self.fleet
            .get(ix)
            .map(|builder| builder.spec.name.to_string())
            .unwrap_or_default()
    }
}

fn reason_of(wait: &Wait) -> Reason {
    Reason {
        kind: wait.kind,
        text: wait.text.clone(),
        next: wait.next.clone(),
        job: wait.job,
        lifts_in_s: None,
    }
}

fn verdict(why: &Why) -> Verdict {
    let never = |reason: &Reason| match reason.kind {
        WaitKind::Dependency
        | WaitKind::Bootstrap
        | WaitKind::NoFit
        | WaitKind::NoBuilder
        | WaitKind::Recipe
        | WaitKind::FailedJob => true,
        WaitKind::Job
        | WaitKind::Hold
        | WaitKind::BackOff
        | WaitKind::Busy
        | WaitKind::Order
        | WaitKind::Reserved
        | WaitKind::Share
        | WaitKind::BuilderAway
        | WaitKind::BetterBuilder
        | WaitKind::Farm => false,
    };
    if why.reasons.iter().any(never) {
        Verdict::Decline
    } else if why.reasons.is_empty() {
        Verdict::Ready
    } else {
        Verdict::Postpone
    }
}

fn headline(why: &Why) -> String {
    match (why.verdict, why.reasons.first()) {
        (Verdict::Ready, _) | (_, None) => "starts with the next decision".into(),
        (Verdict::Decline, Some(_)) => {
            // What never lifts decides, whatever else lifts before.
            let last = why
                .reasons
                .iter()
                .rev()
                .find(|reason| reason.lifts_in_s.is_none());
            format!(
                "waits, and not for time: {}",
                last.map_or("", |reason| &reason.text)
            )
        }
        (_, Some(first)) => format!("waits: {}", first.text),
    }
}

fn failed_test(builder: &Builder, needs: &Requirements, test: Test, passes: Passes) -> FailedTest {
    let spec = &builder.spec;
    let amount = |total: Option<u32>, free: i64| match (total, passes) {
        (None, _) => "unknown".to_string(),
        (Some(total), Passes::Never) => format!("{total} MiB"),
        (Some(total), Passes::Later) => format!("{free} of {total} MiB free"),
    };
    let slots = spec.slots_for(needs);
    let several = match passes {
        Passes::Later if slots > 1 => format!(" ({slots} slots)"),
        Passes::Later | Passes::Never => String::new(),
    };
    let (have, need) = match test {
        Test::Architecture => {
            let archs: Vec<&str> = spec.archs.iter().map(|arch| arch.as_str()).collect();
            (archs.join(", "), needs.arch.to_string())
        }
        Test::IsaLevel => (
            format!("{:?}", spec.level).to_lowercase(),
            format!("{:?}", needs.level).to_lowercase(),
        ),
        Test::Trust => (
            format!("{:?}", spec.trust).to_lowercase(),
            format!("{:?}", needs.trust).to_lowercase(),
        ),
        Test::Isolation => (
            format!("{:?}", spec.isolation).to_lowercase(),
            format!("{:?}", needs.isolation).to_lowercase(),
        ),
        Test::Cores => (
            match passes {
                Passes::Never => spec.cores.to_string(),
                Passes::Later => format!("{} of {} free", builder.free.cores.max(0), spec.cores),
            },
            format!("{}{several}", needs.cores),
        ),
        Test::Memory => (
            amount(spec.memory_mib, builder.free.memory_mib),
            format!("{} MiB{several}", needs.memory_mib),
        ),
        Test::Disk => (
            match spec.disk_whole_mib {
                Some(whole) => format!("{} of {whole} MiB free", builder.free.disk_mib.max(0)),
                None => amount(spec.disk_mib, builder.free.disk_mib),
            },
            format!("{} MiB", needs.disk_mib),
        ),
        Test::Slot => (
            format!("{} of {} free", builder.free.slots.max(0), spec.slots),
            match slots {
                0 | 1 => "1".into(),
                _ => format!("{slots}, {}", slots_because(spec, needs)),
            },
        ),
        Test::TakesWork => {
            let away = if builder.gone {
                "gone"
            } else {
                spec.away.as_deref().unwrap_or("")
            };
            (away.to_string(), "a builder that takes work".into())
        }
        Test::Refusal | Test::Reservation => (String::new(), String::new()),
    };
    FailedTest {
        test,
        have,
        need,
        passes,
    }
}

/// Why a job takes more than one slot of a builder.
fn slots_because(spec: &BuilderSpec, needs: &Requirements) -> String {
    let all = (spec.slots, spec.cores, spec.slot_memory_mib);
    let by_cores = slots_for(all, (needs.cores, 0)) > 1;
    let by_memory = slots_for(all, (1, needs.memory_mib)) > 1;
    let cores = by_cores.then(|| format!("{} cores", needs.cores));
    let memory = by_memory.then(|| format!("{} MiB of memory", needs.memory_mib));
    let asked: Vec<String> = cores.into_iter().chain(memory).collect();
    format!("because it asks for {}", asked.join(" and "))
}

fn after(wall: Stamp, seconds: f64) -> Stamp {
    Stamp(
        wall.0
            .saturating_add((seconds.max(0.0) * 1000.0).min(1e15) as i64),
    )
}

/// Seconds in words that a person reads at a glance.
fn duration(seconds: f64) -> String {
    let whole = seconds.clamp(0.0, 1e15).round() as u64;
    match whole {
        0..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min", whole / 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}
