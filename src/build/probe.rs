//! What this kernel and machine allow, for `doctor`: each finding is a sentence and a cure.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::cgroup;
use super::sandbox::{Limits, Root, SANDBOX_UID, Session, Spec, Step};
use super::sandbox_root::mounts_below_usr;
use crate::fault::{Fault, Result};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at: `user namespaces`, `strip`...
    pub name: String,
    /// How it is.
    pub state: FindingState,
    /// What was found, one line.
    pub text: String,
    /// How to mend it; empty when there is nothing to mend.
    pub cure: String,
}

/// How a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    /// As it should be.
    Good,
    /// Builds work, something is missing.
    Warning,
    /// No build can run here.
    Broken,
    /// Could not be found out.
    Unknown,
}

impl Finding {
    fn new(name: &str, state: FindingState, text: impl Into<String>) -> Finding {
        Finding {
            name: name.into(),
            state,
            text: text.into(),
            cure: String::new(),
        }
    }

    fn cure(mut self, cure: impl Into<String>) -> Finding {
        self.cure = cure.into();
        self
    }
}

/// Programs of the machine that builds over base `host` use, and what is missed without them.
const TOOLS: &[(&[&str], FindingState, &str, &str)] = &[
    (
        &["bash"],
        FindingState::Broken,
        "phases are bash scripts",
        "bash",
    ),
    (
        &["cc", "gcc", "clang"],
        FindingState::Warning,
        "recipes that compile will wait for a compiler",
        "gcc",
    ),
    (
        &["make"],
        FindingState::Warning,
        "recipes that use make will wait for it",
        "make",
    ),
    (
        &["ld"],
        FindingState::Warning,
        "recipes that link will wait for a linker",
        "binutils",
    ),
    (
        &["strip"],
        FindingState::Warning,
        "packages keep their debug information",
        "binutils",
    ),
    (
        &["objcopy"],
        FindingState::Warning,
        "packages get no separate debug information",
        "binutils",
    ),
    (
        &["ldconfig"],
        FindingState::Warning,
        "programs in a build root may find the machine's libraries first",
        "libc-bin or glibc",
    ),
    (
        &["pkg-config", "pkgconf"],
        FindingState::Warning,
        "configure scripts that need pkg-config will fail",
        "pkgconf",
    ),
];

/// Looks at this machine; blocking, some tens of milliseconds. Starts a sandbox for a moment, as `state_dir`'s builds
/// would, with a runtime of its own: the question is asked by a host and, where none runs, by the command line.
pub fn probe(state_dir: &Path) -> Vec<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let mut findings = vec![match runtime {
        Ok(runtime) => runtime.block_on(sandbox(state_dir)),
        Err(error) => Finding::new("sandbox", FindingState::Unknown, error.to_string()),
    }];
    findings.push(mounts());
    findings.push(cgroups());
    findings.extend(tools());
    findings
}

/// One root with the machine's `/usr` under an empty layer: user namespaces, overlay, `/proc` and system call filters in one.
async fn sandbox(state_dir: &Path) -> Finding {
    let start = Instant::now();
    match try_sandbox(state_dir).await {
        Ok(()) => {
            let ms = start.elapsed().as_millis();
            let text = format!(
                "a build root with its own namespaces, overlay and /proc was made and left in {ms} ms"
            );
            Finding::new("sandbox", FindingState::Good, text)
        }
        Err(fault) => {
            let text = Fault {
                next: String::new(),
                ..fault.clone()
            }
            .to_string();
            Finding::new("sandbox", FindingState::Broken, text).cure(fault.next)
        }
    }
}

async fn try_sandbox(state_dir: &Path) -> Result<()> {
    let made = |e: std::io::Error| {
        Fault::new(
            crate::fault::Kind::Operator,
            format!("cannot write to {}", state_dir.display()),
        )
        .because(&e)
        .next("give the directory to the user that runs massif, or name another with --dir")
    };
    let layer = tempfile::Builder::new()
        .prefix("probe-")
        .tempdir_in(state_dir)
        .map_err(made)?;
    fs::set_permissions(
        layer.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .map_err(made)?;
    let spec = Spec {
        state_dir: state_dir.to_owned(),
        root: Root {
            usr: vec![layer.path().to_owned(), PathBuf::from("/usr")],
            ..Root::default()
        },
        binds: Vec::new(),
        outer_uid: SANDBOX_UID,
        network: false,
        cores: Vec::new(),
        limits: Limits::default(),
    };
    let (mut session, _log) = Session::start(spec).await?;
    let step = Step {
        name: "probe".into(),
        argv: vec!["/bin/sh".into(), "-c".into(), "exit 0".into()],
        cwd: "/".into(),
        env: Vec::new(),
        banner: String::new(),
    };
    let end = session.run(step).await?;
    session.finish().await?;
    match end.ok() {
        true => Ok(()),
        false => Err(Fault::bug(format!(
            "/bin/sh ended oddly in a build root: {:?}",
            end.exit
        ))),
    }
}

fn mounts() -> Finding {
    let below = mounts_below_usr();
    let root = rustix::process::geteuid().is_root();
    match (below.is_empty(), root) {
        (true, _) => Finding::new("mounts below /usr", FindingState::Good, "none"),
        (false, true) => {
            let text = format!("{} will not be seen in build roots", below.join(" "));
            Finding::new("mounts below /usr", FindingState::Warning, text)
        }
        (false, false) => {
            let text = format!(
                "{}: an ordinary user cannot overlay a /usr that holds mounts",
                below.join(" ")
            );
            Finding::new("mounts below /usr", FindingState::Broken, text)
                .cure("unmount them, run massif as root, or use a base directory")
        }
    }
}

/// The subtree of the unified hierarchy that this process was given, with its controllers.
fn cgroups() -> Finding {
    const NAME: &str = "cgroup v2";
    let cure = "run massif as a systemd service with Delegate=yes; until then limits are per process and watched";
    let found = cgroup::look();
    let text = format!("slots are kept to their share by {}", cgroup::words(&found));
    let all = found.is_ok_and(|subtree| {
        let has = |wanted| subtree.controllers.iter().any(|has| has == wanted);
        has("memory") && has("pids")
    });
    match all {
        true => Finding::new(NAME, FindingState::Good, text),
        false => Finding::new(NAME, FindingState::Warning, text).cure(cure),
    }
}

fn tools() -> Vec<Finding> {
    let there = |name: &str| {
        ["/usr/bin", "/usr/sbin"]
            .iter()
            .any(|dir| Path::new(dir).join(name).exists())
    };
    TOOLS
        .iter()
        .map(
            |(names, weight, missed, package)| match names.iter().find(|name| there(name)) {
                Some(name) => {
                    Finding::new(names[0], FindingState::Good, format!("{name} is there"))
                }
                None => Finding::new(
                    names[0],
                    *weight,
                    format!("missing: {missed} over base host"),
                )
                .cure(format!("install {package}")),
            },
        )
        .collect()
}

/// What to do when the kernel refuses user namespaces, as far as its settings tell.
pub(super) fn namespaces_cure() -> String {
    let setting = |path: &str| {
        fs::read_to_string(path)
            .ok()
            .map(|text| text.trim().to_string())
    };
    let cures = [
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "sysctl user.max_user_namespaces=15000",
        ),
        (
            "/proc/sys/user/max_net_namespaces",
            "0",
            "sysctl user.max_net_namespaces=15000",
        ),
    ];
    let found = cures
        .iter()
        .find(|(path, value, _)| setting(path).as_deref() == Some(value));
    match found {
        Some((_, _, cure)) => format!("allow them: {cure}"),
        None => "allow user namespaces; a container needs `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined`".into(),
    }
}
