//! Pictures of a plan as text: the graph for graphviz, the graph and the run as SVG. Every name is escaped.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use super::whole::Whole;
use crate::id::RecipeName;

/// Text that means only itself in XML.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Text that means only itself between quotes in dot.
fn dot_text(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    plain
        .collect::<String>()
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
}

/// A colour of its own for each name, the same every time.
fn hue(text: &str) -> u32 {
    text.bytes().fold(17u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    }) % 360
}

/// The edges on the critical path.
fn critical(whole: &Whole) -> BTreeSet<(u32, u32)> {
    let path = &whole.outcome.critical_path;
    path.iter()
        .copied()
        .zip(path.iter().copied().skip(1))
        .collect()
}

fn name_of(whole: &Whole) -> HashMap<u32, &RecipeName> {
    whole
        .rows
        .iter()
        .filter_map(|row| Some((row.job?, &row.target.recipe)))
        .collect()
}

/// The graph of what is built, for graphviz: providers to what is built with them, the critical path red, cuts dashed.
pub fn dot(whole: &Whole) -> String {
    let names = name_of(whole);
    let critical = critical(whole);
    let on_path: BTreeSet<u32> = whole.outcome.critical_path.iter().copied().collect();
    let mut out = String::from(
        "digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n",
    );
    let mut jobs: Vec<(&u32, &&RecipeName)> = names.iter().collect();
    jobs.sort();
    for (job, name) in jobs {
        let colour = if on_path.contains(job) {
            ", color=red, penwidth=2"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "  j{job} [label=\"{}\"{colour}];",
            dot_text(name.as_str())
        );
    }
    for (to, job) in (0..).zip(&whole.jobs) {
        for from in &job.before {
            let colour = if critical.contains(&(*from, to)) {
                " [color=red, penwidth=2]"
            } else {
                ""
            };
            let _ = writeln!(out, "  j{from} -> j{to}{colour};");
        }
    }
    let places: HashMap<&RecipeName, u32> = names.iter().map(|(job, name)| (*name, *job)).collect();
    for cut in whole.cycles.iter().flat_map(|cycle| &cycle.cuts) {
        if let (Some(to), Some(from)) = (
            places.get(&cut.recipe.recipe),
            places.get(&cut.provider.recipe),
        ) {
            let _ = writeln!(
                out,
                "  j{from} -> j{to} [style=dashed, color=gray, constraint=false];"
            );
        }
    }
    out.push_str("}\n");
    out
}

/// The graph as SVG: a column for each step from the beginning, the critical path red.
pub fn svg(whole: &Whole) -> String {
    const WIDE: f64 = 170.0;
    const HIGH: f64 = 18.0;
    let names = name_of(whole);
    let critical = critical(whole);
    let before: Vec<Vec<u32>> = whole.jobs.iter().map(|job| job.before.clone()).collect();
    let mut column = vec![0usize; before.len()];
    for job in super::cycles::topological(&before) {
        let behind = before.get(job as usize).into_iter().flatten();
        let deepest = behind
            .filter_map(|b| column.get(*b as usize))
            .max()
            .map_or(0, |deepest| deepest + 1);
        if let Some(place) = column.get_mut(job as usize) {
            *place = deepest;
        }
    }
    let mut filled: BTreeMap<usize, usize> = BTreeMap::new();
    let mut spots: Vec<(f64, f64)> = Vec::with_capacity(column.len());
    for column in &column {
        let row = filled.entry(*column).or_insert(0);
        spots.push((*column as f64 * WIDE + 10.0, *row as f64 * HIGH + 30.0));
        *row += 1;
    }
    let width = filled
        .keys()
        .max()
        .map_or(0.0, |last| (*last as f64 + 1.0) * WIDE)
        + 20.0;
    let height = filled
        .values()
        .max()
        .map_or(0.0, |most| *most as f64 * HIGH)
        + 50.0;
    let mut out = head(width, height);
    // Lines of a graph this dense hide everything: only those of the critical path and of its neighbours are drawn.
    let on_path: BTreeSet<u32> = whole.outcome.critical_path.iter().copied().collect();
    for (to, all) in (0..).zip(&before) {
        for from in all {
            let red = critical.contains(&(*from, to));
            if !(red || on_path.contains(&to) && all.len() < 12) && whole.jobs.len() > 200 {
                continue;
            }
            let spot = |job: u32| spots.get(job as usize).copied().unwrap_or_default();
            let ((x1, y1), (x2, y2)) = (spot(*from), spot(to));
            let style = if red {
                "stroke=\"#c00\" stroke-width=\"2\""
            } else {
                "stroke=\"#999\" stroke-width=\"0.5\""
            };
            let _ = writeln!(
                out,
                "<line x1=\"{:.0}\" y1=\"{:.0}\" x2=\"{x2:.0}\" y2=\"{:.0}\" {style}/>",
                x1 + WIDE - 40.0,
                y1 - 4.0,
                y2 - 4.0
            );
        }
    }
    for (job, (x, y)) in (0..).zip(&spots) {
        let Some(name) = names.get(&job) else {
            continue;
        };
        let fill = if on_path.contains(&job) {
            "#c00"
        } else {
            "#333"
        };
        let _ = writeln!(
            out,
            "<text x=\"{x:.0}\" y=\"{y:.0}\" fill=\"{fill}\">{}</text>",
            xml(name.as_str())
        );
    }
    out.push_str("</svg>\n");
    out
}

/// The simulated run: a lane per slot, the critical path outlined in red.
pub fn gantt(whole: &Whole, builders: &[super::BuilderSpec]) -> String {
    const WIDE: f64 = 1400.0;
    const HIGH: f64 = 20.0;
    const LEFT: f64 = 120.0;
    let names = name_of(whole);
    let on_path: BTreeSet<u32> = whole.outcome.critical_path.iter().copied().collect();
    let lanes: BTreeSet<(u32, u32)> = whole
        .outcome
        .ran
        .iter()
        .flatten()
        .map(|ran| (ran.builder, ran.slot))
        .collect();
    let lane: HashMap<(u32, u32), usize> = lanes.iter().copied().zip(0..).collect();
    let end = whole.outcome.makespan_s.max(1.0);
    let mut out = head(WIDE + LEFT + 20.0, lanes.len() as f64 * HIGH + 60.0);
    for ((builder, slot), row) in &lane {
        let name = builders
            .get(*builder as usize)
            .map_or(String::new(), |builder| builder.name.to_string());
        let y = *row as f64 * HIGH + 34.0;
        let _ = writeln!(
            out,
            "<text x=\"4\" y=\"{y:.0}\" fill=\"#333\">{} {slot}</text>",
            xml(&name)
        );
    }
    for (job, ran) in (0..).zip(&whole.outcome.ran) {
        let Some(ran) = ran else { continue };
        let row = lane.get(&(ran.builder, ran.slot)).copied().unwrap_or(0);
        let name = names.get(&job).map_or("", |name| name.as_str());
        let x = LEFT + ran.start_s / end * WIDE;
        let width = ((ran.end_s - ran.start_s) / end * WIDE).max(0.2);
        let y = row as f64 * HIGH + 20.0;
        let stroke = if on_path.contains(&job) {
            " stroke=\"#c00\" stroke-width=\"1.5\""
        } else {
            ""
        };
        let title = format!("{name}: {:.0} s to {:.0} s", ran.start_s, ran.end_s);
        let _ = writeln!(
            out,
            "<rect x=\"{x:.2}\" y=\"{y:.0}\" width=\"{width:.2}\" height=\"16\" fill=\"hsl({},55%,70%)\"{stroke}><title>{}</title></rect>",
            hue(name),
            xml(&title)
        );
        if width > name.len() as f64 * 6.5 {
            let _ = writeln!(
                out,
                "<text x=\"{:.2}\" y=\"{:.0}\" fill=\"#222\">{}</text>",
                x + 3.0,
                y + 12.0,
                xml(name)
            );
        }
    }
    let y = lanes.len() as f64 * HIGH + 44.0;
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{y:.0}\" fill=\"#333\">0 s to {end:.0} s; no order is faster than {:.0} s</text>",
        whole.outcome.lower_bound_s
    );
    out.push_str("</svg>\n");
    out
}

/// Lines over a logarithmic axis of builder counts: (name, colour, points of (builders, value)).
pub fn lines(title: &str, series: &[(&str, &str, Vec<(f64, f64)>)]) -> String {
    const WIDE: f64 = 640.0;
    const HIGH: f64 = 360.0;
    let all = || series.iter().flat_map(|(.., points)| points);
    let left = all()
        .map(|(x, _)| x.max(1.0).ln())
        .fold(f64::INFINITY, f64::min);
    let right = all()
        .map(|(x, _)| x.max(1.0).ln())
        .fold(left + 1e-9, f64::max);
    let top = all().map(|(_, y)| *y).fold(1e-9, f64::max);
    let at = |x: f64, y: f64| {
        (
            60.0 + (x.max(1.0).ln() - left) / (right - left) * WIDE,
            40.0 + (1.0 - y / top) * HIGH,
        )
    };
    let mut out = head(WIDE + 240.0, HIGH + 100.0);
    let _ = writeln!(
        out,
        "<text x=\"60\" y=\"20\" fill=\"#333\">{}</text>",
        xml(title)
    );
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let (_, y) = at(1.0, value);
        let _ = writeln!(
            out,
            "<line x1=\"60\" y1=\"{y:.0}\" x2=\"{:.0}\" y2=\"{y:.0}\" stroke=\"#ddd\"/><text x=\"2\" y=\"{y:.0}\" fill=\"#333\">{value:.0}</text>",
            60.0 + WIDE
        );
    }
    let counts: BTreeSet<u64> = all().map(|(x, _)| *x as u64).collect();
    for count in counts {
        let (x, y) = at(count as f64, 0.0);
        let _ = writeln!(
            out,
            "<text x=\"{x:.0}\" y=\"{:.0}\" fill=\"#333\">{count}</text>",
            y + 18.0
        );
    }
    for (row, (name, colour, points)) in series.iter().enumerate() {
        let path: Vec<String> = points
            .iter()
            .map(|(x, y)| at(*x, *y))
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            path.join(" ")
        );
        let y = 50 + row * 18;
        let _ = writeln!(
            out,
            "<text x=\"{:.0}\" y=\"{y}\" fill=\"{colour}\">{}</text>",
            WIDE + 80.0,
            xml(name)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn head(width: f64, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    )
}
