//! A farm for screens: values as a host would answer them, in three situations.

use massif::admin::view::{
    BuilderView, CertView, ConeView, EventView, JobView, PastView, PeerView, ProfileView,
    StatusView, TicketView,
};
use massif::fault::{Fault, Kind, Result};
use massif::id::{Now, Seq, Stamp};
use massif::tui::ask::{Action, Changed, Found, Past, Piece, Question, Ran, Reply, Wanted};
use massif::tui::data::{Link, News};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What the farm is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// Some things are built, some wait, one failed.
    Normal,
    /// Nothing was ever done.
    Empty,
    /// A disk is low, a build is stalled, the host is away.
    Trouble,
}

/// 2026-11-22T10:00:00Z.
pub const NOW: Now = Now {
    wall: Stamp(1_795_341_600_000),
    mono_ms: 100_000,
};

pub fn from<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value:#}"))
}

fn at(ago_s: i64) -> Value {
    json!(Stamp(NOW.wall.0 - ago_s * 1_000).to_string())
}

pub fn status(situation: Situation) -> StatusView {
    let counts = match situation {
        Situation::Empty => [0; 8],
        _ => [2, 1, 2, 1, 3, 1, 1, 0],
    };
    let words = [
        "waiting",
        "ready",
        "building",
        "publishing",
        "published",
        "failed",
        "cancelled",
        "superseded",
    ];
    let jobs: serde_json::Map<String, Value> = words
        .iter()
        .zip(counts)
        .map(|(word, count)| ((*word).to_owned(), json!(count)))
        .collect();
    let alarms = match situation {
        Situation::Trouble => json!([
            {"kind": "builder_low", "subject": "east", "text": "builder east is low: /var/lib/massif has 312 MiB free, full in 9m", "next": "free space there, or massif builder drain east", "since": null},
            {"kind": "builder_stalled", "subject": "west", "text": "builder west is stalled: gcc says nothing for 52m and uses no processor", "next": "massif builder show west", "since": null},
        ]),
        _ => json!([]),
    };
    from(json!({
        "schema": 1, "host": {"id": "07".repeat(32), "name": "crest", "version": "0.1.0", "roles": ["summit", "vessel"]},
        "addresses": {"admin": "/var/lib/massif/admin.sock", "quic": "0.0.0.0:7481", "http": "0.0.0.0:7480"},
        "jobs": jobs, "alarms": alarms, "time": at(0), "uptime_s": 86_400.0, "seq": 412, "right": "admin",
        "published_last_hour": if situation == Situation::Empty { 0 } else { 3 },
        "end_p50_s": if situation == Situation::Normal { json!(1_800.0) } else { Value::Null },
        "end_p90_s": if situation == Situation::Normal { json!(4_500.0) } else { Value::Null },
        "critical_path": match situation {
            Situation::Normal => json!({"recipes": ["curl", "git", "kernel"], "builds": 5, "seconds": 1_560.0}),
            _ => Value::Null,
        },
    }))
}

fn job(id: u64, recipe: &str, version: &str, state: &str, more: Value) -> Value {
    let mut job = json!({
        "id": id, "project": "main", "recipe": recipe, "version": version, "release": 3, "build_release": 1,
        "profile": "default", "state": state, "because": "newer release", "waits_for": [], "attempts": [],
        "commit": "0123456789abcdef0123456789abcdef01234567", "hold": null, "priority": 120.0 + id as f64,
        "estimate_s": 240.0, "created": at(3_600 + id as i64), "ended": null,
    });
    for (name, value) in more.as_object().unwrap() {
        job[name] = value.clone();
    }
    job
}

fn attempt(try_no: u32, builder: &str, state: &str, started: i64, ended: Option<i64>) -> Value {
    json!({
        "try_no": try_no, "builder": builder, "state": state, "started": at(started), "ended": ended.map(at),
        "blame": null, "why": null, "phase": "build", "log_bytes": 48_200,
    })
}

fn failed(try_no: u32, blame: &str, why: &str, started: i64, ended: i64) -> Value {
    let mut attempt = attempt(try_no, "west", "failed", started, Some(ended));
    attempt["blame"] = json!(blame);
    attempt["why"] = json!(why);
    attempt
}

pub fn jobs(situation: Situation) -> Vec<JobView> {
    if situation == Situation::Empty {
        return Vec::new();
    }
    let silent = if situation == Situation::Trouble {
        3_300
    } else {
        95
    };
    let rows = [
        job(
            31,
            "gcc",
            "15.2.0",
            "building",
            json!({"attempts": [attempt(1, "west", "building", silent, None)], "estimate_s": 2_700.0}),
        ),
        job(
            32,
            "nano",
            "8.4",
            "building",
            json!({"attempts": [attempt(1, "east", "building", 80, None)], "estimate_s": 120.0}),
        ),
        job(
            33,
            "zlib",
            "1.3.1",
            "publishing",
            json!({"attempts": [attempt(1, "east", "built", 60, Some(20))]}),
        ),
        job(
            34,
            "curl",
            "8.11.0",
            "ready",
            json!({"waits_for": [{"kind": "slot", "text": "both slots of east and the slot of west are busy"}]}),
        ),
        job(
            35,
            "git",
            "2.47.0",
            "waiting",
            json!({"waits_for": [{"kind": "job", "text": "curl 8.11.0-3 is not published (job 34)"}, {"kind": "job", "text": "zlib 1.3.1-3 is being published (job 33)"}]}),
        ),
        job(
            36,
            "kernel",
            "6.12",
            "waiting",
            json!({"hold": {"owner": "ann", "reason": "wait for the fix of #4411", "since": at(7_200), "expires": null}, "waits_for": [{"kind": "hold", "text": "held by ann: wait for the fix of #4411"}], "estimate_s": null}),
        ),
        job(
            30,
            "vim",
            "9.1",
            "failed",
            json!({"attempts": [failed(1, "builder", "east has no space left on /var/lib/massif", 1_900, 1_800), failed(2, "recipe", "build ended with code 2: error: implicit declaration of function 'strlcpy'", 900, 840)], "ended": at(840), "waits_for": [{"kind": "failed", "text": "build ended with code 2"}]}),
        ),
        job(
            29,
            "bash",
            "5.3",
            "published",
            json!({"attempts": [attempt(1, "east", "published", 2_000, Some(1_700))], "ended": at(1_690)}),
        ),
        job(
            28,
            "ncurses",
            "6.5",
            "published",
            json!({"attempts": [attempt(1, "west", "published", 2_600, Some(2_400))], "ended": at(2_390)}),
        ),
        job(
            27,
            "readline",
            "8.3",
            "published",
            json!({"attempts": [attempt(1, "east", "published", 3_300, Some(3_200))], "ended": at(3_190)}),
        ),
        job(
            26,
            "emacs",
            "30.1",
            "cancelled",
            json!({"because": "asked for by ann", "ended": at(5_000)}),
        ),
    ];
    rows.into_iter().map(from).collect()
}

/// The last hour of a builder.
fn history(free: u64) -> Value {
    let moments = (0..30_u64).map(|number| {
        json!({
            "at": at(3_600 - number as i64 * 120), "verdict": if number == 20 { "low" } else { "fit" },
            "free_bytes": free + (30 - number) * 1_000_000_000, "memory_free_bytes": 41_000_000_000_u64,
            "load": (number % 9) as f64 * 2.0, "pressure_cpu": 0.1, "busy": number % 3,
        })
    });
    Value::Array(moments.collect())
}

pub fn builders(situation: Situation) -> Vec<BuilderView> {
    if situation == Situation::Empty {
        return Vec::new();
    }
    let trouble = situation == Situation::Trouble;
    let slot = |slot: u32, job: Option<u64>, recipe: &str| {
        json!({
            "slot": slot, "job": job, "try_no": job.map(|_| 1), "recipe": job.map(|_| recipe), "phase": job.map(|_| "build"),
            "since": job.map(|_| at(95)), "progress": job.map(|_| 0.66),
            "silent_s": job.map(|_| if trouble { 3_120.0 } else { 4.0 }), "cpu_s": job.map(|_| 412.0),
            "memory_peak_bytes": job.map(|_| 1_900_000_000_u64),
        })
    };
    let builder = |name: &str, number: u8, verdict: &str, free: u64, slots: Vec<Value>| {
        let evidence = match verdict {
            "low" => vec!["/var/lib/massif has 312 MiB free and fills at 0.6 MiB/s"],
            "stalled" => {
                vec!["gcc (job 31) says nothing for 52m, uses no processor and moves no bytes"]
            }
            _ => vec![],
        };
        json!({
            "id": format!("{number:02x}").repeat(32), "name": name, "trust": "trusted", "verdict": verdict,
            "evidence": evidence, "last_heard_s": if verdict == "away" { 642.0 } else { 2.4 }, "slots": slots,
            "holds": if verdict == "away" { json!([{"owner": "uid 1000 (ann)", "reason": "draining: new disk", "since": at(4_000), "expires": null}]) } else { json!([]) },
            "score": {"matches": 12, "wrong": u64::from(verdict == "stalled"), "undecided": u64::from(verdict == "low"), "varies": 0, "last_match": at(7_300)},
            "disks": [{"path": "/var/lib/massif", "free_bytes": free, "total_bytes": 480_000_000_000_u64, "free_inodes": 31_000_000,
                "full_in_s": if verdict == "low" { json!(540.0) } else { Value::Null }}],
            "arch": "x86_64", "levels": ["x86_64"], "features": [], "cores": 16, "memory_total_bytes": 64_000_000_000_u64, "memory_free_bytes": 41_000_000_000_u64,
            "pressure_cpu": 0.12, "pressure_memory": 0.0, "pressure_io": 0.03, "load": 14.2, "reclaimed_bytes": 0, "parked": 0, "temperature_c": null,
            "caches": [{"profile": "default", "program": "ccache", "present": true, "hits": 412, "misses": 88, "hit_rate": 0.824, "bytes": 1_200_000_000_u64, "bytes_max": 5_368_709_120_u64, "directory": "caches/default.*"}],
            "history": history(free),
        })
    };
    let rows = [
        builder(
            "east",
            1,
            if trouble { "low" } else { "fit" },
            if trouble {
                327_155_712
            } else {
                210_000_000_000
            },
            vec![slot(0, Some(32), "nano"), slot(1, None, "")],
        ),
        builder(
            "west",
            2,
            if trouble { "stalled" } else { "fit" },
            350_000_000_000,
            vec![slot(0, Some(31), "gcc")],
        ),
        builder("north", 3, "away", 90_000_000_000, vec![slot(0, None, "")]),
    ];
    let count = if trouble { 3 } else { 2 };
    rows.into_iter().take(count).map(from).collect()
}

fn link(up: bool, rtt: f64) -> Value {
    json!({
        "up": up, "address": up.then_some("10.0.0.7:7443"), "since_s": up.then_some(7_260.0), "last_heard_s": if up { 1.2 } else { 642.0 },
        "round_trip_ms": up.then_some(rtt), "sent_datagrams": up.then_some(48_120), "lost_datagrams": up.then_some(12),
        "sent_bytes": up.then_some(4_100_000), "received_bytes": up.then_some(912_000_000_u64), "clock_offset_s": up.then_some(-0.3), "certificate_until": up.then(|| at(-7_000_000)),
        "protocol": up.then_some("massif/1"), "version": up.then_some("0.1.0"), "reconnects": 2,
        "last_end": if up { Value::Null } else { json!("nothing was heard for 10 s") }, "last_failure": null,
    })
}

pub fn peers(situation: Situation) -> Vec<PeerView> {
    if situation == Situation::Empty {
        return Vec::new();
    }
    let trouble = situation == Situation::Trouble;
    let peer = |name: &str, number: u8, role: &str, state: &str, link: Value| {
        let approved = state != "waiting";
        from(json!({
            "id": format!("{number:02x}").repeat(32), "name": name, "role": role, "trust": if name == "south" { "test" } else { "trusted" },
            "rights": (role == "operator").then_some("operate"), "state": state, "by": approved.then_some("uid 0"),
            "at": approved.then(|| at(80_000)), "since": at(86_400), "how": "invitation 5f2a by uid 0",
            "words": "absurd-copper lantern-mimic velvet", "grouped": "ABCD-EFGH-IJKL-MNOP", "addresses": [], "link": link,
        }))
    };
    vec![
        peer("east", 1, "avalanche", "approved", link(true, 0.4)),
        peer("west", 2, "avalanche", "approved", link(true, 143.0)),
        peer("north", 3, "avalanche", "approved", link(!trouble, 21.5)),
        peer("ann", 4, "operator", "approved", link(false, 0.0)),
        peer("south", 5, "avalanche", "waiting", link(true, 18.2)),
        peer("old", 6, "avalanche", "revoked", link(false, 0.0)),
    ]
}

pub fn tickets(situation: Situation) -> Vec<TicketView> {
    if situation == Situation::Empty {
        return Vec::new();
    }
    let ticket = |id: &str, state: &str, left: i64| {
        from(json!({
            "id": id, "role": "avalanche", "trust": "trusted", "rights": "view", "name": (state == "open").then_some("spare"),
            "pre_approved": false, "uses": 1, "used": u32::from(state == "used"), "wrong": 0, "made": at(600), "by": "uid 0",
            "until": at(-left), "state": state,
        }))
    };
    vec![ticket("5f2b", "open", 540), ticket("5f2a", "used", -300)]
}

fn card() -> CertView {
    from(json!({
        "id": "07".repeat(32), "name": "crest", "words": "harbor-timid magnet-rust olive", "grouped": "QRST-UVWX-YZ23-4567",
        "addresses": ["10.0.0.1:7443"], "card": "massif-card-1.AQ",
    }))
}

fn profiles(situation: Situation) -> Vec<ProfileView> {
    if situation == Situation::Empty {
        return Vec::new();
    }
    vec![from(json!({
        "name": "default", "arch": "x86_64", "isa": "x86_64", "toolchain": "gnu", "executor": "native", "base": "host", "channel": "main",
        "remotes": [], "phase_s_max": null, "log_bytes_max": 1_000_000,
    }))]
}

fn cone() -> ConeView {
    from(json!({
        "needs": 2, "needed_by": 1, "critical_s": 1_560.0,
        "critical_path": [{"id": 34, "recipe": "curl", "state": "ready"}, {"id": 35, "recipe": "git", "state": "waiting"}, {"id": 36, "recipe": "kernel", "state": "waiting"}],
        "cycles": [{"members": ["curl", "git", "zlib"], "cuts_lower_bound": 1, "bootstrap_needs": [],
            "cuts": [{"recipe": "zlib", "provider": "git", "dependency": "binary(git)", "served_by": "published"}]}],
    }))
}

/// The farm as it was after event 409.
fn past(situation: Situation) -> Past {
    let mut then = jobs(situation);
    then.retain(|job| job.id.0 < 35);
    for job in &mut then {
        (job.priority, job.estimate_s) = (None, None);
    }
    let event = events(situation)
        .into_iter()
        .find(|event| event.seq.0 == 409);
    Past {
        view: PastView {
            seq: Seq(409),
            at: event.as_ref().map(|event| event.at),
            event,
            last: Seq(412),
            jobs: [
                ("waiting", 1),
                ("building", 2),
                ("publishing", 1),
                ("published", 3),
                ("failed", 1),
            ]
            .map(|(word, count)| (word.to_owned(), count))
            .into(),
            published_last_hour: 2,
            projects: Vec::new(),
            builders: builders(situation)
                .into_iter()
                .map(|builder| massif::admin::view::BuilderView {
                    verdict: "unknown".into(),
                    trust: "unknown".into(),
                    disks: Vec::new(),
                    memory_free_bytes: None,
                    memory_total_bytes: None,
                    last_heard_s: None,
                    pressure_cpu: None,
                    pressure_io: None,
                    pressure_memory: None,
                    load: None,
                    history: Vec::new(),
                    score: None,
                    ..builder
                })
                .collect(),
            alarms: Vec::new(),
            unknown: vec![
                "which alarms there were".into(),
                "disks, memory, load and verdicts of builders".into(),
            ],
        },
        jobs: then,
    }
}

pub fn events(situation: Situation) -> Vec<EventView> {
    if situation == Situation::Empty {
        return Vec::new();
    }
    let rows = [
        (
            405,
            3_190,
            "crest",
            "published",
            "attempt 27.1 is version 11 of main",
            Some(27),
        ),
        (
            406,
            2_390,
            "crest",
            "published",
            "attempt 28.1 is version 12 of main",
            Some(28),
        ),
        (
            407,
            1_690,
            "crest",
            "published",
            "attempt 29.1 is version 13 of main",
            Some(29),
        ),
        (
            408,
            840,
            "farm",
            "attempt_ended",
            "attempt 30.2 ended without packages (recipe): build ended with code 2",
            Some(30),
        ),
        (
            409,
            300,
            "ann",
            "held",
            "job 36 held: wait for the fix of #4411",
            Some(36),
        ),
        (
            410,
            200,
            "farm",
            "tip_moved",
            "project main is at 0123456789: 6 recipes changed, 1558 in all, 0 faulty",
            None,
        ),
        (
            411,
            95,
            "farm",
            "assigned",
            "attempt 31.1 goes to slot 0 of west",
            Some(31),
        ),
        (
            412,
            80,
            "farm",
            "assigned",
            "attempt 32.1 goes to slot 0 of east",
            Some(32),
        ),
    ];
    rows.into_iter()
        .map(|(seq, ago, actor, kind, text, job)| {
            from(json!({
                "seq": seq, "at": at(ago), "actor": actor, "kind": kind, "text": text, "cause": null, "job": job,
                "try_no": job.map(|_| 1), "subject": null, "hash": "ab".repeat(32),
            }))
        })
        .collect()
}

/// What the connection would bring, in order.
pub fn news(situation: Situation) -> Vec<News> {
    let mut news = vec![
        News::Status(Box::new(status(situation))),
        News::Link(Link::Live),
        News::Events {
            seq: massif::id::Seq(412),
            events: events(situation),
            gap: false,
        },
        News::Builders(builders(situation)),
        News::Peers {
            peers: peers(situation),
            tickets: tickets(situation),
            card: Some(Box::new(card())),
        },
        News::Profiles(profiles(situation)),
        News::ReadingBegins,
        News::Jobs(jobs(situation)),
        News::ReadingEnds,
    ];
    if situation == Situation::Trouble {
        news.push(News::Lost {
            why: "lost /var/lib/massif/admin.sock during io.massif.Host.Watch".into(),
            pause_ms: 5_000,
        });
    }
    news
}

/// A build's log.
pub const LOG: &str = "==> nano 8.4-3 (build release 1), attempt 32.1, profile default, on east slot 0\n\
==> [   0.011] fetch\n==> [   0.420] setup\nchecking for gcc... gcc\nchecking whether the C compiler works... yes\n\
==> [   3.902] build\nmake  all-recursive\n  CC       browser.o\n  CC       chars.o\n\
browser.c:118:9: error: implicit declaration of function 'strlcpy'\nmake[1]: *** [Makefile:512: browser.o] Error 1\n";

fn nothing(what: &str) -> Fault {
    Fault::new(Kind::NotFound, format!("no {what}"))
        .next("`massif recipe list` shows what there is")
}

/// What the host would answer.
pub fn answer(situation: Situation, question: &Question) -> Result<Reply> {
    if situation == Situation::Trouble
        && !matches!(question, Question::Log { .. } | Question::Why(_))
    {
        return Err(Fault::new(
            Kind::Unreachable,
            "the host that served /var/lib/massif/admin.sock is gone",
        )
        .next("start it with `massif up --dir /var/lib/massif`"));
    }
    let empty = situation == Situation::Empty;
    Ok(match question {
        Question::Job(_) if empty => return Err(nothing("job of that number")),
        Question::Job(id) => {
            let all = jobs(situation);
            let job = all.iter().find(|job| job.id == *id).unwrap_or(&all[0]);
            Reply::Job(Box::new(from(json!({
                "job": job,
                "detail": {
                    "evidence": if situation == Situation::Normal { json!([]) } else { json!(["cc1plus sleeps in futex_wait"]) },
                    "depends_on": [{"id": 33, "recipe": "zlib", "state": "publishing"}, {"id": 34, "recipe": "curl", "state": "ready"}],
                    "needed_by": [{"id": 36, "recipe": "kernel", "state": "waiting"}],
                    "artefacts": [{"name": "nano-8.4-3-1-x86_64.stone", "kind": "stone", "size": 712_000, "sha256": "cd".repeat(32), "try_no": 1}],
                    "priority_terms": [{"name": "what waits for it", "value": 140.0}, {"name": "age", "value": 12.5}],
                    "phases": [{"name": "fetch", "started": at(80), "took_s": 0.4, "log_offset": 90}, {"name": "build", "started": at(70), "took_s": null, "log_offset": 200}],
                },
            }))))
        }
        Question::Cone(_) if empty => return Err(nothing("job of that number")),
        Question::Cone(job) => match answer(situation, &Question::Job(*job))? {
            Reply::Job(page) => Reply::Cone {
                page,
                cone: Some(Box::new(cone())),
            },
            other => other,
        },
        Question::Past(_) => Reply::Past(Box::new(past(situation))),
        Question::PastWhy(_, thing) => return answer(situation, &Question::Why(thing.clone())),
        Question::Run(words) => Reply::Ran(Ran {
            code: Some(0),
            text: format!("what massif {} prints", words.join(" ")),
        }),
        Question::Act(Action::Run { words, .. }) => Reply::Ran(Ran {
            code: Some(0),
            text: format!("massif {} is done\nand more of it", words.join(" ")),
        }),
        Question::Why(_) if empty => {
            return Err(nothing("job, recipe, builder or channel of that name"));
        }
        Question::Why(thing) => Reply::Why(Box::new(from(json!({
            "thing": thing, "kind": "job", "state": "waiting", "summary": "git waits for curl and zlib.",
            "reasons": [
                {"kind": "job", "text": "zlib 1.3.1-3 is being published (job 33)", "have": null, "need": null, "whose": "farm", "next": null},
                {"kind": "job", "text": "curl 8.11.0-3 is not published (job 34)", "have": "8.10.1-2", "need": "8.11.0-3", "whose": "farm", "next": "massif why 34"},
            ],
            "builders": [
                {"builder": "east", "verdict": "postpone", "failed": [{"kind": "disk", "text": "too little disk", "have": "312 MiB", "need": "4.0 GiB", "whose": "operator", "next": null}]},
                {"builder": "west", "verdict": "fits", "failed": []},
            ],
            "cheapest": "a second slot on west would start it 12m earlier",
            "time_limit": {"time_s": 86_400, "from": "default", "text": "nobody said anything else, and it was never built"},
            "silence_limit": {"time_s": 3_600, "from": "default", "text": "it was never built"},
            "start_p50_s": 300.0, "start_p90_s": 900.0, "end_p50_s": 540.0, "end_p90_s": 1_300.0,
        })))),
        Question::Recipes if empty => Reply::Recipes(Vec::new()),
        Question::Recipes => Reply::Recipes(vec![
            recipe("nano", true),
            recipe("zlib", true),
            recipe("broken", false),
        ]),
        Question::Recipe(_) if empty => return Err(nothing("recipe of that name")),
        Question::Recipe(_) => Reply::Recipe {
            recipe: Box::new(recipe("nano", true)),
            detail: Some(Box::new(from(json!({
                "description": "A small editor for terminals.", "homepage": "https://nano-editor.org",
                "upstreams": [{"kind": "archive", "url": "https://nano-editor.org/dist/v8/nano-8.4.tar.xz", "sha256": "ef".repeat(32), "reference": null, "cached": true}],
                "needs": [
                    {"dependency": "pkgconfig(ncursesw)", "kind": "pkgconfig", "origin": "build", "from": "recipe", "provider": "ncurses"},
                    {"dependency": "binary(msgfmt)", "kind": "binary", "origin": "build", "from": "nothing", "provider": null},
                ],
                "packages": [{"name": "nano", "summary": "Editor", "provides": ["binary(nano)"], "depends": ["soname(libncursesw.so.6(x86_64))"]}],
                "groups": ["n"], "architectures": [], "toolchain": null, "networking": false, "build_systems": ["autotools"],
                "time_limit": {"time_s": 5_400, "from": "history", "text": "ten times the 540 s of its longest build, within bounds"},
                "silence_limit": {"time_s": 800, "from": "history", "text": "four times the 200 s that it was ever idle, within bounds"},
                "from_manifest": true, "changed": null, "jobs": [32],
            })))),
            changes: vec![from(
                json!({"commit": "0123456789abcdef0123456789abcdef01234567", "author": "Ann", "at": at(200), "title": "nano: update to 8.4", "body": ""}),
            )],
            proof: Some(Box::new(from(json!({
                "levels": [{"profile": "v3", "isa": "x86_64-v3x", "by": "ann", "since": at(900), "why": "a third faster", "measurement": 12, "ratio": 1.31, "low": 1.29, "high": 1.33, "verdict": "faster"}],
                "score": {"matches": 8, "wrong": 1, "undecided": 0, "varies": 0, "last_match": at(600)},
                "varies": false, "causes": [{"cause": "build_id", "count": 2, "recipes": ["nano"]}], "comparisons": [7, 5],
            })))),
        },
        Question::Builder(_) if empty => Reply::Builder(None),
        Question::Builder(_) => Reply::Builder(Some(Box::new(from(json!({
            "score": {"matches": 41, "wrong": 0, "undecided": 1, "varies": 2, "last_match": at(600)},
            "convicted_by": null, "convicted_at": null, "rises_after": 0, "owner": "Ann", "bases": [], "unproven": [],
        }))))),
        Question::Channels if empty => Reply::Channels(Vec::new()),
        Question::Channels => Reply::Channels(vec![from(json!({
            "name": "main", "version": 13, "packages": 1_904, "size": 6_200_000_000_u64, "streams": {"volatile": 13, "stable": 9},
            "tags": {"2026-10": 4}, "url": "http://crest:7480/main", "path": "/var/lib/massif/public/main",
        }))]),
        Question::Channel(_) if empty => Reply::Channel {
            versions: Vec::new(),
            packages: Vec::new(),
        },
        Question::Channel(_) => Reply::Channel {
            versions: vec![
                version(13, "attempt 29.1 (bash 5.3-3)", &["bash", "bash-docs"]),
                version(12, "rollback to 9 by ann", &["ncurses"]),
                version(11, "created", &[]),
            ],
            packages: vec![from(
                json!({"name": "nano", "version": "8.4", "release": 3, "build_release": 1, "arch": "x86_64", "source": "nano", "sha256": "cd".repeat(32), "size": 712_000, "summary": "Editor"}),
            )],
        },
        Question::Version { id, .. } => Reply::Difference(vec![
            Changed {
                name: "bash".into(),
                before: Some(format!("5.3-{}", id.0 - 11)),
                after: Some("5.3-3".into()),
            },
            Changed {
                name: "bash-docs".into(),
                before: None,
                after: Some("5.3-3".into()),
            },
            Changed {
                name: "bash-with-a-long-name".into(),
                before: Some("5.2.37-1.2".into()),
                after: None,
            },
        ]),
        Question::Older(_) => Reply::Older(Vec::new()),
        Question::Log { offset, .. } => {
            let all = if empty { "" } else { LOG };
            let from = usize::try_from(*offset).unwrap_or(0).min(all.len());
            Reply::Log(Piece {
                offset: from as u64,
                bytes: all.as_bytes()[from..].to_vec(),
                end: situation != Situation::Trouble || from == all.len(),
                try_no: 1,
                missing: None,
            })
        }
        Question::Search { pattern, .. } => Reply::Found(Found {
            wanted: pattern.clone(),
            lines: LOG
                .find("browser.c")
                .map(|at| at as u64)
                .into_iter()
                .filter(|_| *pattern == Wanted::Errors)
                .collect(),
            words: Vec::new(),
            looked: LOG.len() as u64,
            end: true,
        }),
        Question::Act(action) => Reply::Done(format!("done: {}", action.command())),
    })
}

fn recipe(name: &str, good: bool) -> massif::admin::view::RecipeView {
    let fault = json!({"kind": "recipe", "what": "unknown key `buildep`", "causes": [], "next": "did you mean builddeps?", "place": {"file": "b/broken/stone.yaml", "line": 12, "column": 1}});
    from(json!({
        "project": "main", "name": name, "dir": format!("{}/{name}", &name[..1]), "version": good.then_some("8.4"), "release": good.then_some(3),
        "summary": if good { "Small and friendly" } else { "" }, "licenses": ["GPL-3.0-or-later"],
        "published": good.then(|| json!({"version": "8.3", "release": 2, "build_release": 1, "channel": "main"})),
        "job": good.then_some(32), "state": good.then_some("building"), "fault": if good { Value::Null } else { fault }, "warnings": [],
    }))
}

fn version(id: u64, cause: &str, changed: &[&str]) -> massif::admin::view::ChannelVersionView {
    from(json!({
        "id": id, "parent": id - 1, "at": at(1_690), "cause": cause, "packages": 1_904, "changed": changed,
        "streams": if id == 13 { vec!["volatile"] } else { vec![] }, "tags": [], "served": true,
    }))
}
