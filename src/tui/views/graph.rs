//! The tree of a job's neighbours: upwards what it needs, downwards what needs it. Branches are asked for as they are
//! unfolded, so that a cone of a thousand recipes costs what is looked at.

use crate::admin::summit::JobPage;
use crate::admin::view::JobRef;
use crate::id::JobId;
use crate::tui::app::App;
use crate::tui::ask::Question;
use crate::tui::list::Line;
use crate::tui::page::{Branch, Sheet};
use crate::tui::table::{Column, Row, field, fixed, words};
use crate::tui::theme::{Ink, Sign};

/// Branches at most.
const BRANCHES_MAX: usize = 20_000;
/// How deep.
const DEPTH_MAX: u16 = 64;

/// The columns.
pub const COLUMNS: &[Column] = &[
    fixed("st", 2, 0),
    words("needs (above) and is needed by (below)", 30, 3, 0),
    fixed("job", 8, 2),
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

/// Takes the neighbours of a job: of the root both kinds, of a branch those of its own kind.
pub fn grow(branches: &mut Vec<Branch>, root: JobId, page: &JobPage) {
    if branches.is_empty() && page.job.id == root {
        let own = JobRef {
            id: page.job.id,
            recipe: page.job.recipe.clone(),
            state: page.job.state,
        };
        let above = page
            .detail
            .depends_on
            .iter()
            .map(|job| branch(job, 1, true));
        let below = page
            .detail
            .needed_by
            .iter()
            .map(|job| branch(job, 1, false));
        branches.extend(above.take(BRANCHES_MAX / 2));
        branches.push(Branch {
            open: true,
            known: true,
            ..branch(&own, 0, false)
        });
        branches.extend(below.take(BRANCHES_MAX / 2));
        return;
    }
    // A job may stand in the tree several times: all of them that wait for it get their branches.
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

/// The rows: places in the list of branches.
pub fn lines(sheet: &Sheet) -> Vec<Line> {
    (0..sheet.branches.len() as u64).map(Line::Row).collect()
}

/// One row.
pub fn row<'a>(app: &App, sheet: &'a Sheet, key: u64) -> Option<Row<'a>> {
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
    Some(Row::Fields(vec![
        field(sign, ink),
        field(
            format!("{indent}{fold} {way}{}", branch.recipe),
            if root { Ink::Strong } else { Ink::Plain },
        ),
        field(branch.job.to_string(), Ink::Faint),
        field(state.as_str(), ink),
    ]))
}
