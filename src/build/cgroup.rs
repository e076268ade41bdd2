//! Slots as control groups of the kernel's unified hierarchy (cgroup v2): a limit on memory and processes that the kernel
//! itself keeps, and a kill that reaches every process whatever it did. Used where a subtree was given to us; where none was,
//! resource limits and the watchdog do it alone. Everything here writes small files; nothing waits for long.
//!
//! Facts of the interface are from the kernel's Documentation/admin-guide/cgroup-v2.rst.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limit;

/// The controllers that make a difference to slots. `cpu` gives each slot its share where slots share cores.
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];
/// The group that this process itself moves to: a group with controllers for its children may hold no process.
const OWN: &str = "host";
/// Our two processes around a build's own.
const OWN_PROCESSES: u64 = 2;
/// A group that is younger may be empty because it is not used yet.
const NEW_GROUP: Duration = Duration::from_secs(60);
/// Between two looks whether a group is empty.
const LOOK: Duration = Duration::from_millis(1);

/// How slots are confined here. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Confine {
    base: Option<Arc<Base>>,
    means: Arc<str>,
}

#[derive(Debug)]
struct Base {
    /// The group below which each attempt gets one.
    dir: PathBuf,
    /// The controllers that groups below it have.
    controllers: Vec<String>,
}

/// A subtree that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subtree {
    /// Its directory.
    pub dir: PathBuf,
    /// The wanted controllers that it has.
    pub controllers: Vec<String>,
}

/// What a group may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Memory of all its processes.
    pub memory_bytes: Option<u64>,
    /// Its processes and threads.
    pub processes: Option<u64>,
}

/// One attempt's group; it is removed when dropped, once it is empty.
#[derive(Debug)]
pub struct Group {
    dir: PathBuf,
}

/// Where the unified hierarchy is mounted, and which part of it, out of `/proc/self/mountinfo`.
fn mounted(mountinfo: &str) -> Vec<(String, PathBuf)> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        if tail.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = head.split(' ').skip(3);
        let root = fields.next()?.to_string();
        Some((root, PathBuf::from(fields.next()?)))
    });
    mounts.collect()
}

/// The directory of the group of `/proc/self/cgroup`, by what is mounted; or why there is none.
fn own_dir(cgroup: &str, mountinfo: &str) -> Result<(String, PathBuf), String> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
    let own = own.ok_or("this kernel or container has no unified hierarchy")?;
    let mounts = mounted(mountinfo);
    if mounts.is_empty() {
        return Err("the unified hierarchy is not mounted".into());
    }
    let found = mounts.iter().find_map(|(root, at)| {
        let below = own.strip_prefix(root.trim_end_matches('/'))?;
        // `/a` is no part of `/ab`.
        let fits = below.is_empty() || below.starts_with('/') || root == "/";
        let below = below.trim_start_matches('/');
        fits.then(|| match below.is_empty() {
            true => at.clone(),
            false => at.join(below),
        })
    });
    let dir = found.ok_or_else(|| format!("its part {own} is not mounted here"))?;
    Ok((own.to_string(), dir))
}

/// Whether whoever manages the machine's groups gave this one away: what systemd marks with `Delegate=yes`.
fn is_marked(dir: &Path) -> bool {
    ["user.delegate", "trusted.delegate"].iter().any(|name| {
        let mut value = [0; 8];
        rustix::fs::getxattr(dir, *name, &mut value)
            .is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

/// The subtree that this process may use, or why it may not.
fn subtree(cgroup: &str, mountinfo: &str, is_root: bool) -> Result<Subtree, String> {
    let (own, dir) = own_dir(cgroup, mountinfo)?;
    let may = |name: &str| {
        let path = dir.join(name);
        rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_ok()
    };
    if !may("") || !may("cgroup.procs") || !may("cgroup.subtree_control") {
        return Err(format!("{} is not delegated to this user", dir.display()));
    }
    // Root may write anywhere, which says nothing. The root of a hierarchy (or of a container's) has no other manager:
    // a service manager puts its services below it.
    if is_root && own != "/" && !is_marked(&dir) {
        return Err(format!(
            "{} belongs to the service manager (no Delegate=yes)",
            dir.display()
        ));
    }
    if !dir.join("cgroup.kill").exists() && !kills_below(&dir) {
        return Err("this kernel is older than 5.14 (no cgroup.kill)".into());
    }
    let has = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let controllers = WANTED
        .iter()
        .filter(|wanted| has.split_whitespace().any(|has| has == **wanted))
        .map(ToString::to_string)
        .collect();
    Ok(Subtree { dir, controllers })
}

/// The root of the hierarchy cannot be killed itself, so a group below it is looked at.
fn kills_below(dir: &Path) -> bool {
    let probe = dir.join(format!("massif-probe.{}", std::process::id()));
    if fs::create_dir(&probe).is_err() {
        return false;
    }
    let kills = probe.join("cgroup.kill").exists();
    // An empty group is removed at once; one that is not is nobody's.
    fs::remove_dir(&probe).ok();
    kills
}

/// What this process may use, or why it may use nothing: for `doctor` and at the start of a builder.
pub fn look() -> Result<Subtree, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let is_root = rustix::process::geteuid().is_root();
    subtree(
        &read("/proc/self/cgroup"),
        &read("/proc/self/mountinfo"),
        is_root,
    )
}

/// What is done with a subtree that has these controllers, in words.
pub fn words(found: &Result<Subtree, String>) -> String {
    let alone = "resource limits per process and a watchdog on their sum";
    match found {
        Err(why) => format!("{alone}: {why}"),
        Ok(subtree) if subtree.controllers.is_empty() => format!(
            "cgroup v2 for the kill of a slot; {alone}, as {} has no controllers",
            subtree.dir.display()
        ),
        Ok(subtree) => {
            let missing: Vec<&str> = WANTED
                .into_iter()
                .filter(|wanted| !subtree.controllers.iter().any(|has| has == wanted))
                .collect();
            let missing = match missing.is_empty() {
                true => String::new(),
                false => format!(", without {}", missing.join(", ")),
            };
            format!(
                "cgroup v2 in {} with {}{missing}, and a watchdog",
                subtree.dir.display(),
                subtree.controllers.join(", ")
            )
        }
    }
}

/// Turns the controllers on for groups below `dir`. Our own processes make room first, where the kernel asks for it.
fn hand_down(dir: &Path, controllers: &[String]) -> io::Result<()> {
    if controllers.is_empty() {
        return Ok(());
    }
    // The true root has no type, and may hold processes and hand down.
    if dir.join("cgroup.type").exists() {
        let own = dir.join(OWN);
        make(&own)?;
        let inside = fs::read_to_string(dir.join("cgroup.procs"))?;
        for pid in inside.lines() {
            match fs::write(own.join("cgroup.procs"), pid) {
                // One that ended meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                moved => moved?,
            }
        }
    }
    let on: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
    fs::write(dir.join("cgroup.subtree_control"), on.join(" "))
}

/// Makes a group unless it is there.
fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// What a group is bounded by, as files and their texts.
fn settings(bounds: Bounds, controllers: &[String]) -> Vec<(&'static str, String)> {
    let has = |name: &str| controllers.iter().any(|has| has == name);
    let mut all = Vec::new();
    if let Some(bytes) = bounds.memory_bytes.filter(|_| has("memory")) {
        all.push(("memory.max", bytes.to_string()));
        // The whole slot or nothing: a compiler that is missing one child fails for reasons that tell nothing.
        all.push(("memory.oom.group", "1".to_string()));
        all.push(("memory.swap.max", "0".to_string()));
    }
    if let Some(count) = bounds.processes.filter(|_| has("pids")) {
        let count = count.saturating_add(OWN_PROCESSES);
        all.push(("pids.max", count.to_string()));
    }
    all
}

impl Confine {
    /// No groups, for this reason.
    pub fn none(why: &str) -> Confine {
        Confine {
            base: None,
            means: words(&Err(why.to_string())).into(),
        }
    }

    /// Looks at what this process was given and prepares it for the slots of this state directory. Blocking.
    pub fn open(state_dir: &Path) -> Confine {
        let found = look();
        let opened = match &found {
            Err(_) => None,
            Ok(subtree) => match hand_down(&subtree.dir, &subtree.controllers) {
                Ok(()) => Some(subtree.clone()),
                Err(error) => {
                    let why = format!("{} cannot be used: {error}", subtree.dir.display());
                    return Confine::none(&why);
                }
            },
        };
        let marker = super::sandbox_session::marker(state_dir);
        let (Some(subtree), Ok(marker)) = (opened, marker) else {
            return Confine {
                base: None,
                means: words(&found).into(),
            };
        };
        sweep(&subtree.dir);
        let dir = subtree.dir.join(format!("massif.{marker}"));
        Confine {
            means: words(&Ok(subtree.clone())).into(),
            base: Some(Arc::new(Base {
                dir,
                controllers: subtree.controllers,
            })),
        }
    }

    /// How slots are kept to their share here, and why not better.
    pub fn means(&self) -> String {
        self.means.to_string()
    }

    /// A group for one attempt; `None`: there are none here, or this one could not be made, which the log of the host says.
    pub fn group(&self, name: &str, bounds: Bounds) -> Option<Arc<Group>> {
        let base = self.base.as_ref()?;
        // Another massif may be sweeping: an empty base goes, and is made again.
        let made = (0..3).find_map(|_| base.group(name, bounds).ok());
        if made.is_none() {
            tracing::warn!(dir = %base.dir.display(), name, "cannot make a control group; the watchdog does it alone");
        }
        made.map(Arc::new)
    }
}

impl Base {
    fn group(&self, name: &str, bounds: Bounds) -> io::Result<Group> {
        make(&self.dir)?;
        if !self.controllers.is_empty() {
            let on: Vec<String> = self
                .controllers
                .iter()
                .map(|name| format!("+{name}"))
                .collect();
            fs::write(self.dir.join("cgroup.subtree_control"), on.join(" "))?;
        }
        let dir = self.dir.join(name);
        make(&dir)?;
        let group = Group { dir };
        for (file, text) in settings(bounds, &self.controllers) {
            match fs::write(group.dir.join(file), text) {
                // A machine without swap has no limit for it.
                Err(_) if file == "memory.swap.max" => {}
                written => written?,
            }
        }
        Ok(group)
    }
}

/// Removes groups of hosts that are gone. One that is not empty cannot be removed, so nothing that lives is touched; a new one is
/// left alone, for another host on this machine may be about to put its first process into it.
fn sweep(dir: &Path) {
    let is_old = |entry: &fs::DirEntry| {
        let made = entry.metadata().and_then(|known| known.modified());
        made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > NEW_GROUP))
    };
    let ours = fs::read_dir(dir).into_iter().flatten().flatten();
    for base in ours.filter(|entry| entry.file_name().to_string_lossy().starts_with("massif.")) {
        for group in fs::read_dir(base.path()).into_iter().flatten().flatten() {
            if group.file_type().is_ok_and(|kind| kind.is_dir()) && is_old(&group) {
                fs::remove_dir(group.path()).ok();
            }
        }
        if is_old(&base) {
            fs::remove_dir(base.path()).ok();
        }
    }
}

impl Group {
    /// Puts a process into it, and all that it starts from now on.
    pub fn add(&self, pid: i32) -> io::Result<()> {
        fs::write(self.dir.join("cgroup.procs"), pid.to_string())
    }

    /// Kills every process in it; returns at once.
    pub fn kill(&self) {
        // It is gone only when it was empty.
        fs::write(self.dir.join("cgroup.kill"), "1").ok();
    }

    /// Whether a process is in it. One that cannot be read holds none: it is gone.
    pub fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.dir.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// How often the kernel killed in it because it took more memory than it may.
    pub fn memory_kills(&self) -> u64 {
        let events = fs::read_to_string(self.dir.join("memory.events")).unwrap_or_default();
        let count = |line: &str| line.strip_prefix("oom_kill ")?.parse::<u64>().ok();
        events.lines().find_map(count).unwrap_or(0)
    }

    /// Returns when no process is in it, or after a while: what the kernel holds on to is seen by whoever uses it next.
    pub async fn emptied(&self) {
        let deadline = Instant::now() + Duration::from_millis(limit::SANDBOX_END_MS);
        // There is an event for it, which takes a watcher of files; a killed group is empty within a few looks.
        while self.is_populated() && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What is left is removed by the next start, or by the next host that starts beside this one.
        if fs::remove_dir(&self.dir).is_ok()
            && let Some(base) = self.dir.parent()
        {
            fs::remove_dir(base).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 0:21 / /sys rw - sysfs sysfs rw\n30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_own_group_is_found_below_what_is_mounted_of_it() {
        let dir = |cgroup: &str, mounts: &str| own_dir(cgroup, mounts).map(|(_, dir)| dir);
        let service = "0::/system.slice/massif.service\n";
        assert_eq!(
            dir(service, MOUNTS).unwrap(),
            Path::new("/sys/fs/cgroup/system.slice/massif.service")
        );
        assert_eq!(dir("0::/\n", MOUNTS).unwrap(), Path::new("/sys/fs/cgroup/"));
        // Both hierarchies at once, as older machines have them.
        let hybrid = "4:memory:/x\n1:name=systemd:/\n0::/here\n";
        let unified = "9 1 0:9 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n8 1 0:8 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            dir(hybrid, unified).unwrap(),
            Path::new("/sys/fs/cgroup/unified/here")
        );
        // A part of it, as containers without a namespace of their own see it.
        let part = "30 22 0:26 /box /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            dir("0::/box/a\n", part).unwrap(),
            Path::new("/sys/fs/cgroup/a")
        );
        for (cgroup, mounts) in [
            ("0::/boxes\n", part),
            ("4:memory:/x\n", MOUNTS),
            (service, ""),
            ("", "no mount at all\n - cgroup2\n"),
        ] {
            assert!(dir(cgroup, mounts).is_err(), "{cgroup:?} {mounts:?}");
        }
    }

    /// A directory that stands in for a mounted hierarchy.
    fn stand_in(controllers: &str) -> (tempfile::TempDir, String) {
        let place = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cgroup.procs", ""),
            ("cgroup.subtree_control", ""),
            ("cgroup.kill", ""),
            ("cgroup.type", "domain\n"),
            ("cgroup.controllers", controllers),
        ] {
            fs::write(place.path().join(file), text).unwrap();
        }
        let mounts = format!("1 1 0:1 / {} rw - cgroup2 c rw\n", place.path().display());
        (place, mounts)
    }

    #[test]
    fn what_is_delegated_is_used_with_the_controllers_that_it_has() {
        let (place, mounts) = stand_in("cpuset cpu io memory pids\n");
        let found = subtree("0::/\n", &mounts, true);
        let controllers = found.as_ref().unwrap().controllers.clone();
        assert_eq!(controllers, WANTED);
        let text = words(&found);
        assert!(text.starts_with("cgroup v2 in ") && text.contains("cpu, memory, pids, and"));
        hand_down(place.path(), &controllers).unwrap();
        let file = |name: &str| fs::read_to_string(place.path().join(name)).unwrap();
        assert_eq!(file("cgroup.subtree_control"), "+cpu +memory +pids");
        let base = Base {
            dir: place.path().join("massif.1"),
            controllers,
        };
        let bounds = Bounds {
            memory_bytes: Some(1 << 30),
            processes: Some(100),
        };
        let group = base.group("7.1", bounds).unwrap();
        for (name, text) in [
            ("memory.max", "1073741824"),
            ("memory.oom.group", "1"),
            ("pids.max", "102"),
        ] {
            assert_eq!(file(&format!("massif.1/7.1/{name}")), text, "{name}");
        }
        group.add(77).unwrap();
        assert_eq!(file("massif.1/7.1/cgroup.procs"), "77");
        fs::write(
            place.path().join("massif.1/7.1/memory.events"),
            "low 0\noom 3\noom_kill 2\n",
        )
        .unwrap();
        assert_eq!((group.memory_kills(), group.is_populated()), (2, false));
    }

    #[test]
    fn what_is_not_delegated_or_has_no_controllers_is_said() {
        let (_place, mounts) = stand_in("cpuset io\n");
        let bare = subtree("0::/\n", &mounts, true);
        assert!(
            words(&bare).contains("has no controllers"),
            "{}",
            words(&bare)
        );
        assert!(settings(Bounds::default(), &[]).is_empty());
        let (gone, mounts) = stand_in("memory\n");
        drop(gone);
        let text = words(&subtree("0::/\n", &mounts, true));
        assert!(text.contains("is not delegated"), "{text}");
        let (place, mounts) = stand_in("memory\n");
        fs::create_dir(place.path().join("a")).unwrap();
        for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.kill"] {
            fs::write(place.path().join("a").join(file), "").unwrap();
        }
        let text = words(&subtree("0::/a\n", &mounts, true));
        assert!(text.contains("no Delegate=yes"), "{text}");
        let text = words(&subtree("0::/a\n", &mounts, false));
        assert!(text.starts_with("cgroup v2 for the kill"), "{text}");
    }
}
