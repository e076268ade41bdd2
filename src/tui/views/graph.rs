//! The tree of a job's neighbours: upwards what it needs, downwards what needs it, the longest way marked, and the
//! circles among them with their cuts. Branches are asked for as they are unfolded, so that a cone of a thousand recipes
//! costs what is looked at.

use super::queue::whole_span;
use crate::admin::summit::JobPage;
use crate::admin::view::{ConeView, CycleView, JobRef};
use crate::id::JobId;
use crate::tui::app::App;
use crate::tui::ask::{Question, Reply};
use crate::tui::list::Line;
use crate::tui::page::{Branch, Sheet};
use crate::tui::table::{Column, Row, field, fixed, number, words};
use crate::tui::theme::{Ink, Sign};

/// Branches at most.
const BRANCHES_MAX: usize = 20_000;
/// How deep.
const DEPTH_MAX: u16 = 64;
/// Keys from here on are circles and their cuts; below are places in the list of branches.
const CIRCLE: u64 = 1 << 40;
/// Cuts of one circle that have a row.
const CUTS_MAX: usize = 1_000;

/// The columns.
pub const COLUMNS: &[Column] = &[
    fixed("st", 2, 0),
    words("needs (above) and is needed by (below)", 30, 3, 0),
    number("job", 8, 2),
    fixed("state", 11, 1),
];

fn branch(job: &JobRef, depth: u16, needs: bool) -> Branch {
    Branch {
        job: job.id,
        recipe: job.recipe.to_string(),
        state: job.state,
        depth,
        needs,
        open: false,
        known: false,
    }
}

/// The tree of a job whose neighbours alone are known.
fn planted(page: &JobPage) -> Vec<Branch> {
    let own = JobRef {
        id: page.job.id,
        recipe: page.job.recipe.clone(),
        state: page.job.state,
    };
    let above = page.detail.depends_on.iter();
    let below = page.detail.needed_by.iter();
    let mut branches: Vec<Branch> = above
        .map(|job| branch(job, 1, true))
        .take(BRANCHES_MAX / 2)
        .collect();
    branches.push(Branch {
        open: true,
        known: true,
        ..branch(&own, 0, false)
    });
    branches.extend(
        below
            .map(|job| branch(job, 1, false))
            .take(BRANCHES_MAX / 2),
    );
    branches
}

/// Takes the neighbours of the root. What was unfolded stays so where it still is, and a person stays where they stand.
pub fn grow(sheet: &mut Sheet, root: JobId, page: &JobPage) {
    if page.job.id != root {
        return;
    }
    let at = |key: u64| usize::try_from(key).unwrap_or(usize::MAX);
    let stood = sheet.spot.key.and_then(|key| sheet.branches.get(at(key)));
    let stood = stood.map(|branch| (branch.job, branch.depth, branch.needs));
    let old = std::mem::take(&mut sheet.branches);
    for new in planted(page) {
        let same = |was: &Branch| (was.job, was.depth, was.needs) == (new.job, 1, new.needs);
        let found = (new.depth == 1)
            .then(|| old.iter().position(same))
            .flatten();
        let room = sheet.branches.len() < BRANCHES_MAX;
        match found.and_then(|from| old.get(from..)) {
            Some([was, rest @ ..]) if room => {
                sheet.branches.push(Branch {
                    state: new.state,
                    ..was.clone()
                });
                let own = rest.iter().take_while(|branch| branch.depth > 1);
                sheet.branches.extend(own.cloned());
            }
            _ => sheet.branches.push(new),
        }
    }
    let place = stood.and_then(|stood| {
        let here = |branch: &Branch| (branch.job, branch.depth, branch.needs) == stood;
        sheet.branches.iter().position(here)
    });
    if let Some(place) = place {
        sheet.spot.key = Some(place as u64);
    }
}

/// Takes the neighbours of a branch that is open: those of its own kind. A job may stand in the tree several times: all of
/// them that wait for it get their branches.
pub fn branch_out(branches: &mut Vec<Branch>, page: &JobPage) {
    let mut at = 0;
    while let Some(found) = branches.get(at) {
        let wanted = found.job == page.job.id && found.open && !found.known && found.depth > 0;
        if wanted {
            let (depth, needs) = (found.depth + 1, found.needs);
            let jobs = if needs {
                &page.detail.depends_on
            } else {
                &page.detail.needed_by
            };
            if let Some(found) = branches.get_mut(at) {
                found.known = true;
            }
            let room = BRANCHES_MAX.saturating_sub(branches.len());
            let more: Vec<Branch> = jobs
                .iter()
                .take(room)
                .map(|job| branch(job, depth, needs))
                .collect();
            branches.splice(at + 1..at + 1, more);
        }
        at += 1;
    }
}

/// A branch whose neighbours nobody told is folded again: it must not look as if it had none.
pub fn fold_unanswered(branches: &mut [Branch]) {
    for branch in branches {
        branch.open &= branch.known;
    }
}

/// Whether a person stands on something that folds; the root does not.
pub fn folds(app: &App) -> bool {
    let key = app.sheet().key().and_then(|key| usize::try_from(key).ok());
    let branch = key.and_then(|key| app.sheet().branches.get(key));
    branch.is_some_and(|branch| (1..DEPTH_MAX).contains(&branch.depth))
}

/// Folds or unfolds the branch that a person stands on.
pub fn toggle(app: &mut App) {
    let Some(key) = app.sheet().key().and_then(|key| usize::try_from(key).ok()) else {
        return;
    };
    let Some(sheet) = app.stack.last_mut() else {
        return;
    };
    let Some(found) = sheet.branches.get_mut(key) else {
        return;
    };
    if found.depth == 0 || found.depth >= DEPTH_MAX {
        return;
    }
    found.open = !found.open;
    let question = (found.open && !found.known).then_some(Question::Job(found.job));
    if !found.open {
        // What is folded is forgotten: it is asked for again when it is unfolded.
        found.known = false;
        let depth = found.depth;
        let end = sheet
            .branches
            .iter()
            .skip(key + 1)
            .position(|branch| branch.depth <= depth || branch.depth == 0)
            .map_or(sheet.branches.len(), |count| key + 1 + count);
        sheet.branches.drain(key + 1..end);
    }
    sheet.made_of = None;
    if let Some(question) = question {
        app.ask_for_page(question);
    }
}

/// What lies around the job, when it is known.
fn cone(sheet: &Sheet) -> Option<&ConeView> {
    match &sheet.content {
        Some(Reply::Cone { cone, .. }) => cone.as_deref(),
        _ => None,
    }
}

fn is_critical(sheet: &Sheet, job: JobId) -> bool {
    cone(sheet).is_some_and(|cone| cone.critical_path.iter().any(|on| on.id == job))
}

/// The longest way in a sentence.
fn longest(app: &App, cone: &ConeView) -> String {
    let sign = app.theme.sign(Sign::Critical);
    if cone.critical_path.len() < 2 {
        let (up, down) = (cone.needs, cone.needed_by);
        return format!("Longest way: only itself; {up} to publish before it, {down} after it");
    }
    let into = format!(" {} ", app.theme.sign(Sign::Into));
    let names: Vec<&str> = cone
        .critical_path
        .iter()
        .map(|job| job.recipe.as_str())
        .collect();
    format!(
        "Longest way {sign} {} builds, {}: {}",
        names.len(),
        whole_span(cone.critical_s),
        names.join(&into)
    )
}

/// The rows: places in the list of branches, then circles and their cuts.
pub fn lines(app: &App, sheet: &Sheet) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(cone(sheet).map(|cone| Line::Heading(longest(app, cone))));
    lines.extend((0..sheet.branches.len() as u64).map(Line::Row));
    let cycles = cone(sheet).map_or(&[][..], |cone| &cone.cycles);
    for (cycle, at) in cycles.iter().zip(0_u64..) {
        let count = cycle.members.len();
        lines.push(Line::Heading(format!(
            "Circle of {count} that need one another: {} it",
            match cycle.cuts.len() {
                1 => "1 cut opens".to_owned(),
                cuts => format!("{cuts} cuts open"),
            }
        )));
        let cuts = cycle.cuts.len().min(CUTS_MAX) as u64;
        lines.extend((0..=cuts).map(|cut| Line::Row(CIRCLE + (at << 20) + cut)));
    }
    lines
}

fn circle(sheet: &Sheet, key: u64) -> Option<(&CycleView, u64)> {
    let key = key.checked_sub(CIRCLE)?;
    let cycle = cone(sheet)?.cycles.get(usize::try_from(key >> 20).ok()?)?;
    Some((cycle, key & 0xf_ffff))
}

/// A circle's members, or one of its cuts.
fn circle_row<'a>(cycle: &'a CycleView, at: u64) -> Option<Row<'a>> {
    let Some(cut) = at.checked_sub(1) else {
        let names: Vec<&str> = cycle.members.iter().map(|name| name.as_str()).collect();
        return Some(Row::Words(vec![field(names.join(" "), Ink::Plain)]));
    };
    let cut = cycle.cuts.get(usize::try_from(cut).ok()?)?;
    let (served, ink) = match &cut.served_by {
        Some(served) => (format!("; from {served} meanwhile"), Ink::Plain),
        None => ("; nothing stands in: it waits".to_owned(), Ink::Warn),
    };
    Some(Row::Words(vec![
        field("  cut  ", Ink::Faint),
        field(cut.recipe.as_str(), Ink::Strong),
        field(" is built before ", Ink::Faint),
        field(cut.provider.as_str(), Ink::Strong),
        field(format!(": {}", cut.dependency), Ink::Plain),
        field(served, ink),
    ]))
}

/// One row.
pub fn row<'a>(app: &App, sheet: &'a Sheet, key: u64) -> Option<Row<'a>> {
    if let Some((cycle, at)) = circle(sheet, key) {
        return circle_row(cycle, at);
    }
    let branch = sheet.branches.get(usize::try_from(key).ok()?)?;
    let state = app
        .shown()
        .job(branch.job)
        .map_or(branch.state, |job| job.state);
    let (sign, ink) = app.theme.state(state);
    let fold = match (branch.depth, branch.open) {
        (0, _) => app.theme.sign(Sign::Leaf),
        (_, true) => app.theme.sign(Sign::Open),
        (_, false) => app.theme.sign(Sign::Folded),
    };
    let way = match (branch.depth, branch.needs) {
        (0, _) => "",
        (_, true) => "needs ",
        (_, false) => "for ",
    };
    let indent = "  ".repeat(usize::from(branch.depth.min(DEPTH_MAX)));
    let root = branch.depth == 0;
    let critical = is_critical(sheet, branch.job);
    let mark = match critical {
        true => app.theme.sign(Sign::Critical),
        false => " ",
    };
    Some(Row::Fields(vec![
        field(sign, ink),
        field(
            format!("{mark}{indent}{fold} {way}{}", branch.recipe),
            match (root, critical) {
                (true, _) => Ink::Strong,
                (false, true) => Ink::Warn,
                (false, false) => Ink::Plain,
            },
        ),
        field(branch.job.to_string(), Ink::Faint),
        field(state.as_str(), ink),
    ]))
}
