//! Pictures of a plan as text: the graph for graphviz, the graph and the run as SVG. Every name is escaped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What the pictures of a plan show.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sketch {
    /// What is built.
    pub jobs: Vec<Drawn>,
    /// Places of the jobs that each have to wait for the one before, and take longest together.
    pub critical_path: Vec<u32>,
    /// Opened edges: what is built before its provider, and the provider.
    pub cuts: Vec<(u32, u32)>,
    /// When the last one ends, in seconds.
    pub end_s: f64,
    /// No order is faster, in seconds.
    pub bound_s: f64,
}

/// One job in a picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Drawn {
    /// What it is called.
    pub name: String,
    /// Places of what is built before it.
    pub before: Vec<u32>,
    /// Its builder, start and end in seconds; `None`: it never starts.
    pub run: Option<(String, f64, f64)>,
}

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
fn critical(sketch: &Sketch) -> BTreeSet<(u32, u32)> {
    let path = &sketch.critical_path;
    path.iter()
        .copied()
        .zip(path.iter().copied().skip(1))
        .collect()
}

/// The graph of what is built, for graphviz: providers to what is built with them, the critical path red, cuts dashed.
pub fn dot(sketch: &Sketch) -> String {
    let critical = critical(sketch);
    let on_path: BTreeSet<u32> = sketch.critical_path.iter().copied().collect();
    let mut out = String::from(
        "digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n",
    );
    for (job, drawn) in (0..).zip(&sketch.jobs) {
        let colour = match on_path.contains(&job) {
            true => ", color=red, penwidth=2",
            false => "",
        };
        let _ = writeln!(
            out,
            "  j{job} [label=\"{}\"{colour}];",
            dot_text(&drawn.name)
        );
    }
    for (to, drawn) in (0..).zip(&sketch.jobs) {
        for from in &drawn.before {
            let colour = match critical.contains(&(*from, to)) {
                true => " [color=red, penwidth=2]",
                false => "",
            };
            let _ = writeln!(out, "  j{from} -> j{to}{colour};");
        }
    }
    for (to, from) in &sketch.cuts {
        let _ = writeln!(
            out,
            "  j{from} -> j{to} [style=dashed, color=gray, constraint=false];"
        );
    }
    out.push_str("}\n");
    out
}

/// The graph as SVG: a column for each step from the beginning, the critical path red.
pub fn svg(sketch: &Sketch) -> String {
    const WIDE: f64 = 170.0;
    const HIGH: f64 = 18.0;
    let critical = critical(sketch);
    let before: Vec<Vec<u32>> = sketch.jobs.iter().map(|job| job.before.clone()).collect();
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
    let on_path: BTreeSet<u32> = sketch.critical_path.iter().copied().collect();
    for (to, all) in (0..).zip(&before) {
        for from in all {
            let red = critical.contains(&(*from, to));
            if !(red || on_path.contains(&to) && all.len() < 12) && sketch.jobs.len() > 200 {
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
    for ((job, (x, y)), drawn) in (0..).zip(&spots).zip(&sketch.jobs) {
        let fill = if on_path.contains(&job) {
            "#c00"
        } else {
            "#333"
        };
        let _ = writeln!(
            out,
            "<text x=\"{x:.0}\" y=\"{y:.0}\" fill=\"{fill}\">{}</text>",
            xml(&drawn.name)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// A run with its lane: as many lanes for a builder as it does things at once.
struct Lane<'a> {
    job: u32,
    row: usize,
    name: &'a str,
    start_s: f64,
    end_s: f64,
}

/// Every run in a lane, and the builder of each lane.
fn lanes(sketch: &Sketch) -> (Vec<Lane<'_>>, Vec<&str>) {
    let mut runs: Vec<(&str, f64, f64, u32, &str)> = (0..)
        .zip(&sketch.jobs)
        .filter_map(|(job, drawn)| {
            let (builder, start_s, end_s) = drawn.run.as_ref()?;
            Some((builder.as_str(), *start_s, *end_s, job, drawn.name.as_str()))
        })
        .collect();
    runs.sort_by(|a, b| a.0.cmp(b.0).then(a.1.total_cmp(&b.1)).then(a.3.cmp(&b.3)));
    let (mut laid, mut builders, mut free_at) = (Vec::new(), Vec::new(), Vec::new());
    let mut first = 0;
    for (builder, start_s, end_s, job, name) in runs {
        if builders.last() != Some(&builder) {
            first = builders.len();
        }
        let idle = |free: &f64| *free <= start_s + 1e-6;
        let row = match free_at.iter().skip(first).position(idle) {
            Some(row) => first + row,
            None => {
                builders.push(builder);
                free_at.push(0.0);
                builders.len() - 1
            }
        };
        if let Some(free) = free_at.get_mut(row) {
            *free = end_s;
        }
        laid.push(Lane {
            job,
            row,
            name,
            start_s,
            end_s,
        });
    }
    (laid, builders)
}

/// The simulated run: a lane for each thing that a builder does at once, the critical path outlined in red.
pub fn gantt(sketch: &Sketch) -> String {
    const WIDE: f64 = 1400.0;
    const HIGH: f64 = 20.0;
    const LEFT: f64 = 120.0;
    let on_path: BTreeSet<u32> = sketch.critical_path.iter().copied().collect();
    let (runs, builders) = lanes(sketch);
    let end = sketch.end_s.max(1.0);
    let mut out = head(WIDE + LEFT + 20.0, builders.len() as f64 * HIGH + 60.0);
    for (row, builder) in builders.iter().enumerate() {
        let y = row as f64 * HIGH + 34.0;
        let _ = writeln!(
            out,
            "<text x=\"4\" y=\"{y:.0}\" fill=\"#333\">{}</text>",
            xml(builder)
        );
    }
    for run in &runs {
        let name = run.name;
        let x = LEFT + run.start_s / end * WIDE;
        let width = ((run.end_s - run.start_s) / end * WIDE).max(0.2);
        let y = run.row as f64 * HIGH + 20.0;
        let stroke = match on_path.contains(&run.job) {
            true => " stroke=\"#c00\" stroke-width=\"1.5\"",
            false => "",
        };
        let title = format!("{name}: {:.0} s to {:.0} s", run.start_s, run.end_s);
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
    let y = builders.len() as f64 * HIGH + 44.0;
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{y:.0}\" fill=\"#333\">0 s to {end:.0} s; no order is faster than {:.0} s</text>",
        sketch.bound_s
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch() -> Sketch {
        let job = |name: &str, before: &[u32], run: Option<(f64, f64)>| Drawn {
            name: name.into(),
            before: before.into(),
            run: run.map(|(start, end)| ("east".into(), start, end)),
        };
        Sketch {
            jobs: vec![
                job("a", &[], Some((0.0, 5.0))),
                job("<b>\"", &[0], Some((5.0, 9.0))),
                job("c", &[], Some((1.0, 6.0))),
                job("stuck", &[2], None),
            ],
            critical_path: vec![0, 1],
            cuts: vec![(2, 1)],
            end_s: 9.0,
            bound_s: 8.0,
        }
    }

    #[test]
    fn the_graph_marks_the_critical_path_and_what_was_cut() {
        let text = dot(&sketch());
        for line in [
            "j1 [label=\"<b>\\\"\", color=red, penwidth=2];",
            "j0 -> j1 [color=red, penwidth=2];",
            "j2 -> j3;",
            "j1 -> j2 [style=dashed",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        let text = svg(&sketch());
        assert!(text.contains("&lt;b&gt;&quot;</text>"), "{text}");
        assert!(text.contains(">stuck</text>"), "{text}");
    }

    #[test]
    fn what_a_builder_does_at_once_gets_lanes_of_its_own() {
        let plan = sketch();
        let (runs, builders) = lanes(&plan);
        assert_eq!(builders, ["east", "east"]);
        let rows: Vec<(&str, usize)> = runs.iter().map(|run| (run.name, run.row)).collect();
        assert_eq!(rows, [("a", 0), ("c", 1), ("<b>\"", 0)]);
        let text = gantt(&plan);
        assert!(
            text.contains("0 s to 9 s; no order is faster than 8 s"),
            "{text}"
        );
        assert!(!text.contains("stuck"), "{text}");
        assert_eq!(gantt(&Sketch::default()).matches("<text").count(), 1);
    }
}
