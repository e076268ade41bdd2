//! The verbs that are a host, or need one's directory without a host: `up`, `serve`, `demo`, `init`, offline `store`.
//! They read the configuration, put the command line on top, and hand over to `crate::host`.

use std::path::{Path, PathBuf};

use super::Verdict;
use super::args::{self, Global, HostArgs, RoleArg};
use super::events::show_check;
use super::out::Out;
use crate::admin::view::DoctorView;
use crate::config::{Config, FILE, Front, HostOptions};
use crate::fault::{Fault, Kind, Result};
use crate::host;
use crate::model::Role;
use crate::net::admin::{Places, socket_path, state_dir};

pub(super) fn up(up: &args::Up, global: &Global) -> Result<Verdict> {
    let options = options(&up.host, global, None)?;
    if !super::dash::fronts(up) {
        return host::run(options).map(|()| Verdict::Done);
    }
    let options = HostOptions {
        front: Front::Dashboard,
        ..options
    };
    let looks = up.looks.clone();
    let dir = state_dir(global.dir.as_deref(), &Places::of_this_process())?;
    let front = move |socket: PathBuf| super::dash::front(&looks, socket, dir.clone());
    host::run_behind(options, front).map(|()| Verdict::Done)
}

/// Where the log goes while a dashboard has the terminal.
pub(super) fn log_file(global: &Global) -> Option<PathBuf> {
    let dir = state_dir(global.dir.as_deref(), &Places::of_this_process()).ok()?;
    Some(dir.join("massif.log"))
}

pub(super) fn serve(serve: &args::Serve, global: &Global) -> Result<Verdict> {
    let mut options = options(&serve.host, global, None)?;
    options.config.builder.drain_on_term |= serve.drain_on_term;
    let file = options.dir.join(FILE);
    if !file.exists() {
        return Err(
            Fault::new(Kind::Operator, format!("{} is missing", file.display()))
                .next("write one with `massif init --role ROLE`, or run `massif up`"),
        );
    }
    host::run(options).map(|()| Verdict::Done)
}

pub(super) fn demo(demo: &args::Demo, global: &Global) -> Result<Verdict> {
    let options = options(&demo.host, global, Some(demo_dir))?;
    host::demo(options).map(|()| Verdict::Done)
}

/// A new directory below the system's place for temporary ones; it is left for others to look at.
fn demo_dir() -> Result<PathBuf> {
    let dir = tempfile::Builder::new()
        .prefix("massif-demo-")
        .tempdir()
        .map_err(|error| {
            Fault::new(Kind::Operator, "cannot make a directory for the demo")
                .because(&error)
                .next("give one with --dir")
        })?;
    Ok(dir.keep())
}

/// The configuration of the directory with the command line on top.
fn options(
    host: &HostArgs,
    global: &Global,
    otherwise: Option<fn() -> Result<PathBuf>>,
) -> Result<HostOptions> {
    let places = Places::of_this_process();
    let given = match (&global.dir, otherwise) {
        (Some(dir), _) => Some(whole(dir)?),
        (None, Some(otherwise)) => Some(otherwise()?),
        (None, None) => None,
    };
    let dir = state_dir(given.as_deref(), &places)?;
    let socket = socket_path(given.as_deref(), &places)?;
    let mut config = read_config(&dir)?;
    if let Some(listen) = host.listen {
        config.listen = listen;
    }
    if let Some(http) = host.http {
        config.http = http;
    }
    if let Some(slots) = host.slots {
        config.slots = slots;
    }
    for mirror in &host.mirrors {
        config.mirrors.push(if mirror.contains("://") {
            mirror.clone()
        } else {
            super::repository::absolute(Path::new(mirror))?
        });
    }
    if let Some(poll) = host.poll {
        config.poll_s = poll.as_secs();
    }
    if let Some(lease) = host.lease {
        config.lease_s = lease.as_secs();
    }
    if let Some(limit) = host.upload_limit {
        config.upload_bytes_s = Some(limit);
    }
    config.check()?;
    Ok(HostOptions {
        dir,
        socket,
        config,
        front: Front::Headless,
    })
}

/// The options of a directory that joins a farm. Without a configuration it becomes a builder's, which dials and needs no
/// address that others know.
pub(super) fn join_options(host: &HostArgs, global: &Global, role: Role) -> Result<HostOptions> {
    let options = options(host, global, None)?;
    if options.dir.join(FILE).exists() {
        return Ok(options);
    }
    let mut config = options.config;
    config.roles = vec![role];
    if host.listen.is_none() {
        config.listen = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    }
    if host.http.is_none() {
        config.http = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    }
    Ok(HostOptions { config, ..options })
}

fn whole(dir: &Path) -> Result<PathBuf> {
    std::path::absolute(dir).map_err(|error| {
        Fault::new(Kind::Usage, format!("{} is no directory", dir.display())).because(&error)
    })
}

fn read_config(dir: &Path) -> Result<Config> {
    let file = dir.join(FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => Config::parse(&text, &file.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
        Err(error) => Err(
            Fault::new(Kind::Operator, format!("cannot read {}", file.display()))
                .because(&error)
                .next("run it as the user that owns the directory"),
        ),
    }
}

pub(super) fn init(init: &args::Init, global: &Global, out: &Out) -> Result<Verdict> {
    let dir = state_dir(global.dir.as_deref(), &Places::of_this_process())?;
    let file = dir.join(FILE);
    let failed = |error: &std::io::Error| {
        Fault::new(Kind::Operator, format!("cannot write {}", file.display()))
            .because(error)
            .next("check that you may write there")
    };
    if file.exists() {
        return Err(
            Fault::new(Kind::Conflict, format!("{} exists", file.display()))
                .next("edit it, or give another --dir"),
        );
    }
    let mut roles = Vec::new();
    for role in &init.roles {
        let role = match role {
            RoleArg::Summit => Role::Summit,
            RoleArg::Avalanche => Role::Avalanche,
            RoleArg::Vessel => Role::Vessel,
        };
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    std::fs::create_dir_all(&dir).map_err(|error| failed(&error))?;
    let mut written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .map_err(|error| failed(&error))?;
    std::io::Write::write_all(&mut written, Config::template(&roles).as_bytes())
        .and_then(|()| written.sync_all())
        .map_err(|error| failed(&error))?;
    if out.json() {
        out.value(&serde_json::json!({ "path": file }))?;
    } else {
        out.line(format!(
            "wrote {}; look at it, then run `massif serve --dir {}`",
            file.display(),
            dir.display()
        ));
    }
    Ok(Verdict::Done)
}

/// Whether this verb works on a store that nobody serves.
pub(super) fn is_offline(store: &args::Store) -> bool {
    match store {
        args::Store::Restore { .. } | args::Store::Dump { .. } | args::Store::Load { .. } => true,
        args::Store::Check | args::Store::Backup { .. } => false,
    }
}

pub(super) fn store(store: &args::Store, global: &Global, out: &Out) -> Result<Verdict> {
    let dir = state_dir(global.dir.as_deref(), &Places::of_this_process())?;
    let said = match store {
        args::Store::Check | args::Store::Backup { .. } => {
            return show_check(&host::store_check(&dir)?, out);
        }
        args::Store::Restore { file } => host::store_restore(&dir, file.as_deref())?,
        args::Store::Dump { file } => host::store_dump(&dir, file)?,
        args::Store::Load { file } => host::store_load(&dir, file)?,
    };
    if out.json() {
        out.value(&serde_json::json!({ "done": said }))?;
    } else {
        out.line(said);
    }
    Ok(Verdict::Done)
}

/// The checks that need no running host.
pub(super) fn doctor(global: &Global) -> Result<Vec<DoctorView>> {
    let dir = state_dir(global.dir.as_deref(), &Places::of_this_process())?;
    Ok(host::doctor(&dir))
}
