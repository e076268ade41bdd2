//! A host that answers fixed values, so that socket and command line are tested without a farm.

use std::path::{Path, PathBuf};

use massif::admin::view::*;
use massif::admin::{Call, Caller, Method, host, summit, vessel};
use massif::fault::{Fault, Kind, Result};
use massif::id::Stamp;
use massif::net::admin::{Answer, Listener, Piece, serve};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A running host; it stops with this value.
pub struct Fixed {
    pub dir: tempfile::TempDir,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fixed {
    /// Serves `admin.sock` in a directory of its own, in a thread of its own.
    pub fn start() -> Fixed {
        let dir = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let path = dir.path().join("admin.sock");
        let (ready, wait) = std::sync::mpsc::channel();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = Listener::bind(&path).unwrap();
                ready.send(()).unwrap();
                serve(listener, handle, stopped).await;
            });
        });
        wait.recv().unwrap();
        Fixed {
            dir,
            stop,
            thread: Some(thread),
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Fixed {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

pub fn job(id: u64, recipe: &str, state: JobState) -> JobView {
    JobView {
        id: massif::id::JobId(id),
        project: "demo".parse().unwrap(),
        recipe: recipe.parse().unwrap(),
        version: "7.2".into(),
        release: 1,
        build_release: 1,
        profile: "default".parse().unwrap(),
        state,
        because: "missing".into(),
        waits_for: match state {
            JobState::Waiting => vec![WaitView {
                kind: "dep_wait".into(),
                text: "nothing provides pkgconfig(gtk4)".into(),
            }],
            _ => Vec::new(),
        },
        attempts: match state {
            JobState::Failed => vec![AttemptView {
                try_no: 1,
                builder: "here".into(),
                state: "failed".into(),
                started: Stamp(1_795_294_849_000),
                ended: Some(Stamp(1_795_294_851_500)),
                blame: Some(Blame::Recipe),
                why: Some("build ended with code 2\u{1b}[31m".into()),
                phase: Some("build".into()),
                log_bytes: 1234,
            }],
            _ => Vec::new(),
        },
        commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
        hold: None,
        priority: Some(1.0),
        estimate_s: None,
        created: Stamp(1_795_294_849_000),
        ended: None,
    }
}

fn jobs() -> Vec<JobView> {
    vec![
        job(3, "nano", JobState::Waiting),
        job(2, "ncurses", JobState::Failed),
        job(1, "hello", JobState::Published),
    ]
}

fn find(name: &str) -> Result<JobView> {
    jobs()
        .into_iter()
        .find(|job| job.id.to_string() == name || job.recipe.as_str() == name)
        .ok_or_else(|| {
            Fault::new(Kind::NotFound, format!("no job {name}"))
                .next("did you mean nano?")
                .at("a\u{7}b", 1, 2)
        })
}

fn status() -> StatusView {
    StatusView {
        schema: massif::admin::SCHEMA,
        host: HostView {
            id: massif::id::HostId([7; 32]),
            name: "here".parse().unwrap(),
            version: "0.1.0".into(),
            roles: vec!["summit".into(), "avalanche".into(), "vessel".into()],
        },
        addresses: AddressesView {
            admin: "/d/admin.sock".into(),
            quic: None,
            http: Some("127.0.0.1:7480".into()),
        },
        jobs: JobState::ALL
            .iter()
            .map(|state| (state.as_str().to_owned(), 0))
            .collect(),
        alarms: vec![AlarmView {
            kind: "disk_low".into(),
            subject: Some("here".into()),
            text: "2 GiB free".into(),
            next: "free some space".into(),
            since: None,
        }],
        time: Stamp(1_795_294_849_000),
        uptime_s: 3.0,
        seq: massif::id::Seq(9),
        right: "admin".into(),
        published_last_hour: 1,
        end_p50_s: None,
        end_p90_s: None,
        estimates: None,
        critical_path: None,
    }
}

fn event(seq: u64) -> EventView {
    EventView {
        seq: massif::id::Seq(seq),
        at: Stamp(1_795_294_849_000),
        actor: "farm".into(),
        kind: "published".into(),
        text: "hello 2.10-1 is in main".into(),
        cause: None,
        job: Some(massif::id::JobId(1)),
        try_no: Some(1),
        subject: None,
        hash: massif::id::Digest([1; 32]),
    }
}

/// Long work, half an hour old, so that what is left does not jump while somebody looks.
fn works() -> Vec<WorkView> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = i64::try_from(now.unwrap().as_millis()).unwrap();
    let work = |kind: &str, unit: &str, done, total| WorkView {
        kind: kind.into(),
        unit: unit.into(),
        done,
        total: Some(total),
        began: Stamp(now_ms - 1_800_000),
    };
    vec![
        work("store_backup", "rows", 1_000, 4_000),
        work("package_import", "files", 1, 3),
    ]
}

fn word(file: &str) -> PathBuf {
    format!("{file}.go").into()
}

/// Ends long work on this file.
pub fn go_on(file: &str) {
    std::fs::write(word(file), "").unwrap();
}

/// The next work on it is long again.
pub fn wait_again(file: &str) {
    std::fs::remove_file(word(file)).unwrap();
}

async fn told_to_go_on(file: &str) {
    while !word(file).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

pub async fn handle(_caller: Caller, call: Call, more: bool) -> Result<Answer> {
    match call {
        Call::Host(host::Call::Status(ask)) => ask
            .reply(&host::HostStatus { status: status() })
            .map(Answer::One),
        Call::Host(host::Call::Watch(ask)) => {
            let events = |list: Vec<EventView>| host::Events {
                seq: massif::id::Seq(list.len() as u64),
                events: list,
                gap: false,
                more: false,
            };
            if !more {
                return ask.reply(&events(vec![event(1)])).map(Answer::One);
            }
            let (send, receive) = mpsc::channel(4);
            tokio::spawn(async move {
                for seq in 1.. {
                    if send
                        .send(ask.reply(&events(vec![event(seq)])).map(Piece::More))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            });
            Ok(Answer::Stream(receive))
        }
        Call::Summit(call) => summit_call(call, more),
        Call::Host(host::Call::WorkList(ask)) => {
            ask.reply(&host::Works { works: works() }).map(Answer::One)
        }
        Call::Host(host::Call::StoreBackup(ask)) => {
            let path = ask.path.clone().unwrap_or_default();
            told_to_go_on(&path).await;
            let backup = BackupView {
                path,
                size: 2_048,
                sha256: massif::id::Digest([2; 32]),
                seq: massif::id::Seq(9),
                rows: 4_000,
            };
            ask.reply(&host::StoreCopy { backup }).map(Answer::One)
        }
        Call::Vessel(vessel::Call::PackageImport(ask)) if ask.files[0].ends_with("/slow.stone") => {
            told_to_go_on(&ask.files[0]).await;
            let import = ImportView {
                channel: "main".parse().unwrap(),
                version: Some(massif::id::VersionId(7)),
                added: Vec::new(),
                present: 0,
            };
            ask.reply(&vessel::Imported { import }).map(Answer::One)
        }
        Call::Vessel(vessel::Call::PackageImport(ask)) => Err(Fault::new(
            Kind::Conflict,
            format!("{} is there already", ask.files.join(" ")),
        )),
        other => Err(Fault::new(
            Kind::NotFound,
            format!("{} is not answered here", other.facts().name),
        )),
    }
}

fn summit_call(call: summit::Call, more: bool) -> Result<Answer> {
    match call {
        summit::Call::JobList(ask) => {
            // Pages of two, so that the client has to ask again.
            let from: usize = ask.after.as_deref().unwrap_or("0").parse().unwrap();
            let wanted: Vec<JobView> = jobs()
                .into_iter()
                .filter(|job| ask.states.is_empty() || ask.states.contains(&job.state))
                .collect();
            let page = wanted.iter().skip(from).take(2).cloned().collect();
            let next = (from + 2 < wanted.len()).then(|| (from + 2).to_string());
            ask.reply(&summit::Jobs {
                jobs: page,
                next,
                seq: massif::id::Seq(9),
            })
            .map(Answer::One)
        }
        summit::Call::JobShow(ask) => {
            let detail = JobDetail {
                depends_on: Vec::new(),
                needed_by: Vec::new(),
                artefacts: Vec::new(),
                priority_terms: Vec::new(),
                phases: Vec::new(),
                start_p50_s: None,
                start_p90_s: None,
                end_p50_s: None,
                end_p90_s: None,
                evidence: Vec::new(),
            };
            ask.reply(&summit::JobPage {
                job: find(&ask.job)?,
                detail,
            })
            .map(Answer::One)
        }
        summit::Call::JobLog(ask) => {
            let piece = |offset: u64, text: &str, end| summit::LogPiece {
                offset,
                text: Some(text.to_owned()),
                base64: None,
                next: offset + text.len() as u64,
                end,
                try_no: 1,
                complete: true,
                missing_bytes: Some(0),
                on: None,
            };
            if !more {
                return ask.reply(&piece(0, "one\n", false)).map(Answer::One);
            }
            let (send, receive) = mpsc::channel(4);
            tokio::spawn(async move {
                // The client may be gone: then nobody wants the rest.
                let _ = send
                    .send(ask.reply(&piece(0, "one\n", false)).map(Piece::More))
                    .await;
                let _ = send
                    .send(
                        ask.reply(&piece(4, "two \u{1b}]0;x\u{7}\n", true))
                            .map(Piece::Last),
                    )
                    .await;
            });
            Ok(Answer::Stream(receive))
        }
        summit::Call::Build(ask) => {
            let builds = ask.names.iter().map(|name| {
                find(name).map(|job| BuildView {
                    recipe: job.recipe,
                    project: job.project,
                    profile: job.profile,
                    outcome: if job.state == JobState::Published {
                        "published".into()
                    } else {
                        "attached".into()
                    },
                    job: (job.state != JobState::Published).then_some(job.id),
                    text: format!("{name} is queued"),
                })
            });
            let builds = builds.collect::<Result<Vec<BuildView>>>()?;
            ask.reply(&summit::Builds { builds }).map(Answer::One)
        }
        other => Err(Fault::new(
            Kind::NotFound,
            format!("{other:?} is not answered here"),
        )),
    }
}
