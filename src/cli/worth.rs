//! `compare --isa`: what processor levels are worth, as text, JSON and a picture.

use std::fmt::Write;
use std::path::Path;

use super::Verdict;
use super::args;
use super::ask::Host;
use super::comparing::{LOOK, Looked, until_over};
use super::out::{Out, Style, Table, Tone, cell, plain};
use crate::admin::summit;
use crate::admin::view::{MeasurementView, RecipeLevelView, WorthView};
use crate::fault::{Fault, Kind, Result};
use crate::net::admin::Client;

/// Measurements of many recipes that are under way at a time: each takes a whole builder, and the next ones wait there.
const AT_A_TIME: usize = 4;

pub(super) async fn isa(host: &Host, wish: &args::Compare, out: &Out) -> Result<Verdict> {
    let Some(recipe) = &wish.package else {
        if wish.measure {
            measure_missing(host, wish, out).await?;
        }
        let ask = summit::IsaList {
            project: wish.project.clone(),
            recipe: None,
            limit: wish.top,
        };
        let found = host.ask(&ask).await?.measurements;
        if let Some(path) = &wish.svg {
            write_picture(path, &found)?;
        }
        list(&found, out)?;
        return Ok(Verdict::Done);
    };
    let begun = host.ask(&wanted(wish, recipe)).await?;
    if wish.no_wait {
        match out.style {
            Style::Json => out.value(&begun)?,
            Style::Ids => out.line(begun.id.to_string()),
            Style::People => out.line(format!(
                "measurement {}: {} {}",
                begun.id, begun.recipe, begun.release
            )),
        }
        return Ok(Verdict::Done);
    }
    let ask = summit::IsaShow { id: begun.id };
    let done = until_over(host, &ask, out, |reply| {
        let one = &reply.measurement;
        Looked {
            over: one.over,
            waits_for: one.text.as_deref().filter(|_| one.state == "waiting"),
        }
    });
    let done = done.await?.measurement;
    if let Some(path) = &wish.svg {
        write_picture(path, std::slice::from_ref(&done))?;
    }
    print(&done, out)?;
    Ok(match done.state.as_str() {
        "done" => Verdict::Done,
        _ => Verdict::Negative,
    })
}

fn wanted(wish: &args::Compare, recipe: &str) -> summit::IsaMeasure {
    summit::IsaMeasure {
        recipe: recipe.to_owned(),
        levels: wish.levels.clone(),
        runs: wish.runs,
        on: wish.on.clone(),
    }
}

/// Published recipes of a project that were not measured as they are published now, by name.
async fn missing(client: &mut Client, wish: &args::Compare) -> Result<Vec<String>> {
    let list = summit::IsaList {
        project: wish.project.clone(),
        recipe: None,
        limit: Some(u32::try_from(crate::limit::ADMIN_PAGE_ROWS_MAX).unwrap_or(u32::MAX)),
    };
    let known = client.call(&list).await?.measurements;
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let ask = summit::RecipeList {
            project: wish.project.clone(),
            text: None,
            faulty: None,
            after,
            limit: None,
        };
        let page = client.call(&ask).await?;
        for recipe in page.recipes {
            let Some(is) = recipe.published else { continue };
            let release = format!("{}-{}-{}", is.version, is.release, is.build_release);
            let measured = known.iter().any(|one| {
                one.recipe == recipe.name && one.release == release && one.state != "failed"
            });
            if !measured {
                found.push(recipe.name.to_string());
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// Has what is missing measured, some at a time; what cannot be measured is said and is no failure of the others.
async fn measure_missing(host: &Host, wish: &args::Compare, out: &Out) -> Result<()> {
    let mut client = host.connect().await?;
    let mut left = missing(&mut client, wish).await?;
    left.truncate(wish.top.map_or(usize::MAX, |top| top as usize));
    left.reverse();
    let say = |text: String| {
        if out.style == Style::People {
            eprintln!("massif: {text}");
        }
    };
    let mut under_way: Vec<u64> = Vec::new();
    loop {
        while (wish.no_wait || under_way.len() < AT_A_TIME)
            && let Some(recipe) = left.pop()
        {
            match client.call(&wanted(wish, &recipe)).await {
                Ok(begun) => under_way.push(begun.id),
                Err(fault) => say(format!("{recipe} is not measured: {}", fault.what)),
            }
        }
        if under_way.is_empty() || wish.no_wait {
            return Ok(());
        }
        let mut still = Vec::new();
        for id in under_way {
            let one = client.call(&summit::IsaShow { id }).await?.measurement;
            match &one.fault {
                _ if !one.over => still.push(id),
                Some(fault) => say(format!("{} is not measured: {}", one.recipe, fault.what)),
                None => say(format!(
                    "{} is measured; {} are left",
                    one.recipe,
                    left.len()
                )),
            }
        }
        under_way = still;
        tokio::time::sleep(LOOK).await;
    }
}

fn tone(level: &WorthView) -> Tone {
    match level.verdict.as_deref() {
        Some("faster") => Tone::Good,
        Some("slower") => Tone::Bad,
        Some("cannot_tell") => Tone::Warn,
        _ => Tone::Plain,
    }
}

fn words(level: &WorthView) -> String {
    let range = |low: Option<f64>, high: Option<f64>| match (low, high) {
        (Some(low), Some(high)) => format!("{low:.3} to {high:.3}"),
        _ => String::new(),
    };
    match (level.verdict.as_deref(), level.ratio) {
        (Some("cannot_tell"), Some(ratio)) => {
            format!("cannot tell: {ratio:.3}, {}", range(level.low, level.high))
        }
        (Some(word), Some(ratio)) => {
            format!(
                "{word}: {ratio:.3} times as fast, {}",
                range(level.low, level.high)
            )
        }
        _ => "what the others are held against".into(),
    }
}

fn print(view: &MeasurementView, out: &Out) -> Result<()> {
    match out.style {
        Style::Json => return out.value(view),
        Style::Ids => out.line(view.id.to_string()),
        Style::People => {
            out.field("measurement", format!("{}, {}", view.id, view.state));
            out.field(
                "recipe",
                format!("{} {} of {}", view.recipe, view.release, view.project),
            );
            if let Some(fault) = &view.fault {
                let by = view
                    .blame
                    .map_or_else(String::new, |blame| format!("{}: ", blame.as_str()));
                out.field("failed", format!("{by}{}", fault.what));
                out.field("next", &fault.next);
            }
            if let (Some(script), Some(builder)) = (&view.script, &view.builder) {
                let processor = view.processor.as_deref().unwrap_or("?");
                let cores = view.cores.unwrap_or(0);
                out.field(
                    "measured",
                    format!("its {script}, {} times for each level, on {builder} ({processor}, {cores} cores)", view.runs),
                );
            }
            for level in &view.levels {
                let time = level.median_cpu_s.map_or_else(String::new, |seconds| {
                    format!("{seconds:.3} s of processor time; ")
                });
                out.field(&level.isa, format!("{time}{}", words(level)));
                if let (Some(sure), Some(wall), Some(spread)) =
                    (level.confidence, level.wall_ratio, level.spread)
                {
                    out.field(
                        "",
                        format!(
                            "sure to {:.1} %; by the clock {wall:.3}; the middle half of its runs is {:.1} % apart",
                            sure * 100.0,
                            spread * 100.0
                        ),
                    );
                }
            }
            for line in &view.unsaid {
                out.field("but", line);
            }
        }
    }
    Ok(())
}

fn list(all: &[MeasurementView], out: &Out) -> Result<()> {
    match out.style {
        Style::Json => return out.value(&all),
        Style::Ids => all.iter().for_each(|view| out.line(view.id.to_string())),
        Style::People => {
            let mut table = Table::new()
                .number("id")
                .column("recipe")
                .column("release")
                .column("level")
                .number("times as fast")
                .column("between")
                .column("in a word")
                .column("measured on")
                .words("by running");
            for view in all {
                let head = |level: &str| {
                    [
                        plain(view.id),
                        cell(&view.recipe, Tone::Strong),
                        plain(&view.release),
                        plain(level),
                    ]
                };
                let builder = || plain(view.builder.as_deref().unwrap_or_default());
                if view.levels.is_empty() {
                    let why = match &view.fault {
                        Some(fault) => fault.what.clone(),
                        None => view.text.clone().unwrap_or_default(),
                    };
                    let [id, recipe, release, level] = head("");
                    let (none, empty) = (plain(""), plain(""));
                    let state = cell(&view.state, Tone::Busy);
                    table.row([
                        id,
                        recipe,
                        release,
                        level,
                        none,
                        empty,
                        state,
                        builder(),
                        plain(why),
                    ]);
                }
                for level in view.levels.iter().skip(1) {
                    let [id, recipe, release, isa] = head(&level.isa);
                    let number = |value: Option<f64>| {
                        value.map_or_else(String::new, |value| format!("{value:.3}"))
                    };
                    table.row([
                        id,
                        recipe,
                        release,
                        isa,
                        plain(number(level.ratio)),
                        plain(format!("{} and {}", number(level.low), number(level.high))),
                        cell(
                            level.verdict.clone().unwrap_or_default().replace('_', " "),
                            tone(level),
                        ),
                        builder(),
                        plain(view.script.as_deref().unwrap_or_default()),
                    ]);
                }
            }
            if all.is_empty() {
                eprintln!("massif: nothing was measured yet; massif compare --isa RECIPE does");
            }
            out.table(&table);
        }
    }
    Ok(())
}

/// What `recipe show` says of the levels that a recipe is built for.
pub(super) fn of_recipe(levels: &[RecipeLevelView], out: &Out) {
    for level in levels {
        let why = level
            .why
            .as_ref()
            .map_or_else(String::new, |why| format!(": {why}"));
        let measured = match (
            level.measurement,
            level.ratio,
            level.low,
            level.high,
            &level.verdict,
        ) {
            (Some(id), Some(ratio), Some(low), Some(high), Some(word)) => format!(
                "; measurement {id}: {} ({ratio:.3} times as fast, {low:.3} to {high:.3})",
                word.replace('_', " ")
            ),
            _ => "; not measured".into(),
        };
        let since = super::show::moment(level.since);
        out.field(
            &format!("for {}", level.profile),
            format!("{} by {} since {since}{why}{measured}", level.isa, level.by),
        );
    }
}

/// Text that may stand in XML.
fn safe(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A bar for each level of each recipe, with the interval that the true value lies in.
fn picture(all: &[MeasurementView]) -> String {
    let rows: Vec<(&MeasurementView, &WorthView)> = all
        .iter()
        .flat_map(|view| view.levels.iter().skip(1).map(move |level| (view, level)))
        .collect();
    let largest = rows
        .iter()
        .filter_map(|(_, level)| level.high)
        .fold(1.25, f64::max);
    let (left, wide, step) = (260.0, 520.0, 26.0);
    let x = |ratio: f64| left + ratio.clamp(0.0, largest) / largest * wide;
    let height = 50.0 + step * rows.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"820\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"20\">times as fast as the level below, with the interval of the median</text>\n"
    );
    for (at, (view, level)) in rows.iter().enumerate() {
        let y = 36.0 + step * at as f64;
        let colour = match level.verdict.as_deref() {
            Some("faster") => "#2a7",
            Some("slower") => "#c43",
            Some("same") => "#79b",
            _ => "#bbb",
        };
        let (ratio, low, high) = (
            level.ratio.unwrap_or(0.0),
            level.low.unwrap_or(0.0),
            level.high.unwrap_or(0.0),
        );
        let name = safe(&format!("{} {}", view.recipe, level.isa));
        let middle = y + 8.0;
        // Writing to a text does not fail.
        let _ = write!(
            svg,
            "<text x=\"10\" y=\"{:.0}\">{name}</text>\n<rect x=\"{left}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>\n\
<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.0}\" y2=\"{middle:.0}\" stroke=\"black\"/>\n<text x=\"{:.1}\" y=\"{:.0}\">{ratio:.3}</text>\n",
            y + 12.0,
            x(ratio) - left,
            x(low),
            x(high),
            x(high) + 6.0,
            y + 12.0,
        );
    }
    let one = x(1.0);
    let _ = write!(
        svg,
        "<line x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"30\" y2=\"{:.0}\" stroke=\"#555\" stroke-dasharray=\"3 3\"/>\n</svg>\n",
        height - 8.0
    );
    svg
}

fn write_picture(path: &Path, all: &[MeasurementView]) -> Result<()> {
    std::fs::write(path, picture(all)).map_err(|error| {
        Fault::new(Kind::Operator, format!("cannot write {}", path.display()))
            .because(&error)
            .next("choose another file")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_a_bar_for_each_level_and_holds_no_tags_of_names() {
        let level = |isa: &str, ratio: Option<f64>| WorthView {
            isa: isa.into(),
            median_cpu_s: Some(2.0),
            ratio,
            low: ratio.map(|ratio| ratio - 0.01),
            high: ratio.map(|ratio| ratio + 0.01),
            confidence: Some(0.993),
            wall_ratio: ratio,
            spread: Some(0.01),
            verdict: ratio.map(|_| "faster".into()),
        };
        let view = MeasurementView {
            id: 1,
            state: "done".into(),
            text: None,
            over: true,
            project: "p".parse().unwrap(),
            recipe: "zlib".parse().unwrap(),
            release: "1-1-1".into(),
            profile: "default".parse().unwrap(),
            builder: None,
            processor: None,
            cores: None,
            script: None,
            runs: 12,
            began: crate::id::Stamp(0),
            by: "p".into(),
            phase: None,
            levels: vec![
                level("x86_64", None),
                level("<v3x>", Some(1.3)),
                level("v4", Some(1.4)),
            ],
            unsaid: Vec::new(),
            blame: None,
            fault: None,
        };
        let svg = picture(&[view]);
        assert_eq!(svg.matches("height=\"16\"").count(), 2, "{svg}");
        assert!(
            svg.contains("&lt;v3x&gt;") && !svg.contains("<v3x>"),
            "{svg}"
        );
        assert!(svg.ends_with("</svg>\n"), "{svg}");
    }
}
