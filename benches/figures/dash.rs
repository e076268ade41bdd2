//! The dashboard: key to changed frame, one draw, bytes to the terminal and processor of an idle and a busy farm, the end
//! and the search of a log, the start to the first frame, and a step back in time. The farm has 10,000 jobs and 500
//! builders; time is told to it, so that a minute takes a moment.

use std::io::{BufRead, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use massif::actors::log_search::Search;
use massif::actors::past::Folds;
use massif::admin::summit::JobLogSearch;
use massif::admin::view::{BuilderView, JobView};
use massif::id::{AttemptId, HostId, JobId, Now, Seq, Stamp, VersionId};
use massif::model::{Because, Event, Target, Who};
use massif::net::admin::Client;
use massif::store::events::Chain;
use massif::store::{Options, Store, WriteSet};
use massif::tui::app::{App, Input};
use massif::tui::data::{Link, News};
use massif::tui::keys::Key;
use massif::tui::theme::Theme;
use massif::tui::{draw, terminal};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::json;

use super::table::Table;

const JOBS: u64 = 10_000;
const BUILDERS: u64 = 500;
/// Changes between two frames of a farm with 200 events a second and four frames a second.
const CHANGES: u64 = 50;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// A number that only tries have.
const TRY: u64 = (1 << 62) + 7;
const BEGAN: i64 = 1_795_341_600_000;

fn at(ms: u64) -> Now {
    Now {
        wall: Stamp(BEGAN + i64::try_from(ms).unwrap_or(0)),
        mono_ms: ms,
    }
}

fn job(id: u64, round: u64) -> JobView {
    let building = (id + round).is_multiple_of(20);
    let state = match (id + round) % 20 {
        0 => "building",
        1..3 => "ready",
        3..12 => "waiting",
        12 => "failed",
        _ => "published",
    };
    let stamp = Stamp(BEGAN - 60_000).to_string();
    let attempts = if building {
        json!([{"try_no": 1, "builder": format!("b{:03}", id % BUILDERS), "state": "building", "started": stamp,
            "ended": null, "blame": null, "why": null, "phase": "build", "log_bytes": round * 4_000}])
    } else {
        json!([])
    };
    let value = json!({
        "id": id, "project": "main", "recipe": format!("recipe-{id}"), "version": "1.2.3", "release": 4, "build_release": 1,
        "profile": "default", "state": state, "because": "newer release",
        "waits_for": [{"kind": "job", "text": format!("recipe-{} 1.2.3-4 is not published (job {})", id / 2, id / 2)}],
        "attempts": attempts, "commit": COMMIT, "hold": null,
        "priority": (id % 977) as f64, "estimate_s": 120.0, "created": stamp, "ended": null,
    });
    serde_json::from_value(value).expect("a job")
}

fn builder(number: u64) -> BuilderView {
    let value = json!({
        "id": format!("{number:064x}"), "name": format!("b{number:03}"), "trust": "trusted", "verdict": "fit", "evidence": [],
        "last_heard_s": 1.0, "holds": [], "slots": [], "disks": [], "arch": "x86_64", "levels": ["x86_64"], "features": [], "cores": 16,
        "memory_total_bytes": null, "memory_free_bytes": null, "pressure_cpu": null, "pressure_memory": null,
        "pressure_io": null, "load": null, "temperature_c": null, "reclaimed_bytes": 0, "parked": 0, "confined_by": null,
        "caches": [], "history": [], "score": null,
    });
    serde_json::from_value(value).expect("a builder")
}

fn farm(size: (u16, u16), jobs: u64) -> App {
    let mut app = App::new(Theme::default(), size, at(0));
    app.hear(News::Link(Link::Live));
    app.hear(News::ReadingBegins);
    app.hear(News::Jobs((1..=jobs).map(|id| job(id, 0)).collect()));
    app.hear(News::ReadingEnds);
    app.hear(News::Builders((0..BUILDERS).map(builder).collect()));
    app.input(Input::Key(Key::Char('2')));
    app
}

fn at_99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times
        .get(times.len() * 99 / 100)
        .copied()
        .unwrap_or_default()
}

/// Keys while the farm is busy: the time from the key to the bytes of the frame.
fn keys(table: &mut Table) {
    let mut app = farm((200, 60), JOBS);
    let mut shown = Buffer::empty(Rect::ZERO);
    let typed = ['j', 'k', '>', '<', 'r', 'j', 'o', 'j', '3', '2', '1', '2'];
    let (mut times, mut draws) = (Vec::new(), Vec::new());
    for round in 0..200_u64 {
        app.tick(at(round * 250));
        let changed = (0..CHANGES).map(|number| job(1 + (round * CHANGES + number) % JOBS, round));
        app.hear(News::Jobs(changed.collect()));
        let key = typed[round as usize % typed.len()];
        let since = Instant::now();
        app.input(Input::Key(Key::Char(key)));
        let drawing = Instant::now();
        let next = draw::render(&app);
        draws.push(drawing.elapsed());
        std::hint::black_box(terminal::frame(&shown, &next));
        times.push(since.elapsed());
        shown = next;
    }
    let ms = |times: &mut [Duration]| format!("p99 {:.2} ms", at_99(times).as_secs_f64() * 1e3);
    table.row(
        &format!("key to changed frame, {JOBS} jobs, {BUILDERS} builders, 200 events/s, 200×60"),
        ms(&mut times),
        "≤ 16 ms",
    );
    table.row("draw of one frame at 200×60", ms(&mut draws), "≤ 4 ms");
    let mut many = farm((200, 60), 10 * JOBS);
    many.tick(at(250));
    let mut draws: Vec<Duration> = (0..100)
        .map(|_| {
            let drawing = Instant::now();
            std::hint::black_box(draw::render(&many));
            drawing.elapsed()
        })
        .collect();
    table.row(
        "the same with ten times the jobs, all of them off screen",
        ms(&mut draws),
        "the same: nothing grows with them",
    );
}

/// What a minute costs that nobody touches: the JSON of the changes is read, as the connection reads it.
fn minute(table: &mut Table, name: &str, busy: bool, page: char) {
    let mut app = farm((120, 40), JOBS);
    if !busy {
        app.hear(News::ReadingBegins);
        app.hear(News::Jobs(
            (1..=200).map(|id| job(id * 20 + 5, 0)).collect(),
        ));
        app.hear(News::ReadingEnds);
    }
    app.input(Input::Key(Key::Char(page)));
    let mut shown = draw::render(&app);
    let mut bytes = 0;
    let mut work = Duration::ZERO;
    for quarter in 1..=240_u64 {
        let told = busy.then(|| {
            let changed: Vec<JobView> = (0..CHANGES)
                .map(|number| job(1 + (quarter * CHANGES + number) % JOBS, quarter))
                .collect();
            serde_json::to_string(&changed).expect("JSON")
        });
        let since = Instant::now();
        let news = told.map(|told| News::Jobs(serde_json::from_str(&told).expect("jobs")));
        app.now = at(quarter * 250);
        if let Some(news) = news {
            app.hear(news);
        }
        // A sign of life, as a host gives it.
        if quarter % 40 == 0 {
            app.hear(News::Events {
                events: Vec::new(),
                gap: false,
                seq: massif::id::Seq(0),
            });
        }
        if busy || quarter % 4 == 0 {
            app.tick(at(quarter * 250));
            let next = draw::render(&app);
            bytes += terminal::frame(&shown, &next).len();
            shown = next;
        }
        work += since.elapsed();
    }
    table.row(
        &format!("{name}: bytes to the terminal at 120×40; processor of the dashboard"),
        format!(
            "{:.2} kB/s; {:.2} % of a core",
            bytes as f64 / 60.0 / 1e3,
            work.as_secs_f64() / 60.0 * 100.0
        ),
        match busy {
            true => "≤ 20 kB/s; ≤ 3 %",
            false => "≤ 1 kB/s",
        },
    );
}

/// The search of a large log, where it lies.
fn search(table: &mut Table) {
    let size: usize = if cfg!(debug_assertions) {
        32 << 20
    } else {
        1 << 30
    };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    log_file(&path, size);
    for (name, pattern) in [("words", Some("the needle".to_owned())), ("errors", None)] {
        let mut offset = 0;
        let mut found = 0;
        let since = Instant::now();
        loop {
            let wish = JobLogSearch {
                job: JobId(1).to_string(),
                try_no: None,
                pattern: pattern.clone(),
                phases: None,
                offset: Some(offset),
            };
            let places = Search::of(&wish)
                .and_then(|search| search.run(&path, 1))
                .expect("a search");
            found += places.lines.len();
            offset = places.looked;
            if places.end {
                break;
            }
        }
        table.row(
            &format!(
                "search for {name} in a log of {} MiB, by the host",
                size >> 20
            ),
            format!(
                "{:.0} MB/s, {found} found",
                size as f64 / since.elapsed().as_secs_f64() / 1e6
            ),
            "≥ 500 MB/s",
        );
    }
}

/// A log's file of this many bytes; a line of the search stands at its end.
fn log_file(path: &std::path::Path, size: usize) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    let line = b"  CC       src/module/some_file_of_a_build.o -O2 -g -fstack-protector-strong\n";
    for _ in 0..size / line.len() {
        file.write_all(line).expect("a write");
    }
    file.write_all(b"browser.c:118: the needle\n")
        .expect("a write");
    file.flush().expect("a write");
}

/// A real farm of this program, asked over its socket: the dashboard's start to its first frame, and a large log at its end.
fn real_farm(table: &mut Table) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut farm = Command::new(env!("CARGO_BIN_EXE_massif"))
        .args([
            "up",
            "--headless",
            "--slots",
            "0",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ])
        .arg("--dir")
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a farm");
    let mut ready = String::new();
    let out = farm.stdout.take().expect("its output");
    std::io::BufReader::new(out)
        .read_line(&mut ready)
        .expect("a line");
    assert!(ready.starts_with("ready "), "{ready}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let socket = dir.path().join("admin.sock");
    let mut starts: Vec<Duration> = (0..20).map(|_| start(&socket)).collect();
    table.row(
        "start of the process to its first frame, in a terminal of its own",
        format!("p99 {:.1} ms", at_99(&mut starts).as_secs_f64() * 1e3),
        "≤ 100 ms",
    );
    let size: usize = if cfg!(debug_assertions) {
        32 << 20
    } else {
        1 << 30
    };
    // A try that is over: its log is read by the same lines as a job's, and it needs no job.
    let logs = dir.path().join("logs");
    std::fs::create_dir_all(&logs).expect("a directory");
    log_file(&logs.join(format!("{TRY}.1.log")), size);
    let mut opens: Vec<Duration> = runtime.block_on(async {
        let mut times = Vec::new();
        for _ in 0..20 {
            let since = Instant::now();
            let mut client = Client::connect(&socket).await.expect("a connection");
            let ask = massif::admin::avalanche::Log {
                job: JobId(TRY),
                try_no: 1,
                offset: Some(-262_144),
                bytes_max: Some(262_144),
                base64: Some(true),
            };
            let told = client.call(&ask).await;
            times.push(since.elapsed());
            assert!(told.is_ok_and(|piece| piece.end), "the end of the log");
        }
        times
    });
    table.row(
        &format!(
            "a log of {} MiB opened at its end, over the socket",
            size >> 20
        ),
        format!("p99 {:.1} ms", at_99(&mut opens).as_secs_f64() * 1e3),
        "≤ 100 ms",
    );
    farm.kill().expect("an end");
    farm.wait().expect("an end");
}

/// The dashboard in a terminal of its own, until something of its first frame is there.
fn start(socket: &std::path::Path) -> Duration {
    let size = portable_pty::PtySize {
        rows: 40,
        cols: 120,
        pixel_width: 0,
        pixel_height: 0,
    };
    let pair = portable_pty::native_pty_system()
        .openpty(size)
        .expect("a terminal");
    let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_massif"));
    command.args(["dash", "--no-mouse", "--dir"]);
    command.arg(socket.parent().expect("a directory"));
    command.env("TERM", "xterm-256color");
    let mut read = pair.master.try_clone_reader().expect("a reader");
    let since = Instant::now();
    let mut child = pair.slave.spawn_command(command).expect("a dashboard");
    drop(pair.slave);
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while !seen.windows(6).any(|words| words == b"Events") {
        let count = read.read(&mut piece).expect("a frame");
        assert!(count > 0, "it ended without a frame");
        seen.extend_from_slice(&piece[..count]);
    }
    let took = since.elapsed();
    child.kill().ok();
    child.wait().ok();
    took
}

/// The farm as it was: a long log folded from its start, then steps back and forth beside it.
fn past(table: &mut Table) {
    let jobs: u64 = if cfg!(debug_assertions) {
        2_000
    } else {
        50_000
    };
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path(), &Options::default()).expect("a store");
    let mut chain = Chain::load(&store).expect("a log");
    let mut last = Seq(0);
    for some in (1..=jobs).collect::<Vec<u64>>().chunks(500) {
        let mut set = WriteSet::new();
        for number in some {
            for event in life(*number) {
                let bytes = postcard::to_stdvec(&(&Who::Farm, &event)).expect("bytes");
                last = chain.append(&mut set, Stamp(BEGAN), bytes);
            }
        }
        store.commit(set).expect("a commit");
    }
    let folds = Folds::new(store);
    let since = Instant::now();
    let farm = loop {
        match folds.farm(last) {
            Ok(farm) => break farm,
            Err(fault) => assert_eq!(fault.kind, massif::fault::Kind::TryAgain),
        }
    };
    assert_eq!(farm.jobs.len() as u64, jobs);
    table.row(
        &format!("the farm as it was after event {last}, folded from the start"),
        format!("{:.0} ms", since.elapsed().as_secs_f64() * 1e3),
        "",
    );
    let mut steps: Vec<Duration> = (1..200)
        .map(|back| {
            let since = Instant::now();
            folds
                .farm(Seq(last.0 - back * 37))
                .expect("an earlier farm");
            since.elapsed()
        })
        .collect();
    table.row(
        "a step back in that log",
        format!("p99 {:.1} ms", at_99(&mut steps).as_secs_f64() * 1e3),
        "",
    );
}

/// What happens to a job: it is planned, given to a builder, built and published.
fn life(number: u64) -> [Event; 5] {
    let attempt = AttemptId {
        job: JobId(number),
        try_no: 1,
    };
    [
        Event::Planned {
            job: JobId(number),
            target: Target {
                project: "main".parse().expect("a name"),
                recipe: format!("recipe-{}", number % 4_000)
                    .parse()
                    .expect("a name"),
                profile: "default".parse().expect("a name"),
            },
            version: "1.2.3".into(),
            release: number,
            build_release: 1,
            commit: COMMIT.parse().expect("a commit"),
            dir: "r/recipe".into(),
            tree: COMMIT.parse().expect("a commit"),
            because: Because::Missing,
        },
        Event::Assigned {
            attempt,
            builder: HostId([7; 32]),
            slot: 0,
            build_release: 1,
        },
        Event::Accepted { attempt },
        Event::Built {
            attempt,
            artefacts: 3,
            bytes: 1_000,
        },
        Event::Published {
            attempt,
            channel: "main".parse().expect("a name"),
            version: VersionId(number),
        },
    ]
}

/// All of it; with `--readme` the table goes into the README.
pub fn run() {
    let mut table = Table::of("dash");
    // First, while this process is small: starting another one takes longer the larger it is.
    real_farm(&mut table);
    keys(&mut table);
    minute(&mut table, "idle farm, queue", false, '2');
    minute(&mut table, "idle farm, first page", false, '1');
    minute(&mut table, "busy farm, queue", true, '2');
    minute(&mut table, "busy farm, first page", true, '1');
    search(&mut table);
    past(&mut table);
    table.finish();
}
