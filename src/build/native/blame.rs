//! Whose doing the end of a build was: what a fault's kind says, corrected by the evidence on the machine.

use std::path::Path;

use super::run::Run;
use super::{LANDMARK, Stage};
use crate::build::sandbox::Exit;
use crate::build::watch::{Alarm, Bark};
use crate::fault::{Fault, Kind};
use crate::model::IsaLevel;
use crate::model::who::Blame;

/// Below this, whatever went wrong is the disk's doing.
const DISK_FULL_BYTES: u64 = 16 * 1024 * 1024;
const DISK_FULL_INODES: u64 = 100;
/// The signal of an instruction that the processor does not know.
const SIGILL: i32 = 4;
/// What helps when a slot's memory is too small.
const MORE_MEMORY: &str =
    "give the builder fewer slots or more memory (slot_memory_mib), or the recipe fewer jobs";

/// Why a build ended before its time.
pub(super) struct End {
    pub(super) blame: Blame,
    pub(super) fault: Fault,
    pub(super) code: Option<i32>,
    pub(super) cancelled: bool,
    pub(super) evidence: Vec<String>,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        let blame = match fault.kind {
            Kind::Recipe | Kind::Usage => Blame::Recipe,
            Kind::Upstream => Blame::Upstream,
            Kind::Network | Kind::Unreachable => Blame::Network,
            Kind::Operator | Kind::NotPermitted => Blame::Operator,
            Kind::Builder | Kind::Conflict | Kind::NotFound | Kind::TryAgain | Kind::Bug => {
                Blame::Builder
            }
        };
        End {
            blame,
            fault,
            code: None,
            cancelled: false,
            evidence: Vec::new(),
        }
    }
}

pub(super) type Ended<T> = std::result::Result<T, End>;

impl Run<'_> {
    pub(super) fn out_of_time(&self, what: &str) -> End {
        let limits = self.order.limits;
        let text = match limits.phase_s {
            Some(phase_s) if phase_s < limits.time_s => {
                format!(
                    "{what} took longer than the {phase_s} s that a phase may, or the whole than {} s",
                    limits.time_s
                )
            }
            _ => format!(
                "{what} was not done when the build had taken {} s",
                limits.time_s
            ),
        };
        Fault::new(Kind::Recipe, text)
            .next("see in the log what it waits for; a recipe that needs longer says so in its constraints.yaml, or you do with `massif recipe limit NAME --time 12h`; how long a phase may take is its profile's")
            .into()
    }

    /// The end of a build at which its watchdog barked: what it saw goes into the log too.
    pub(super) fn barked(&self, what: &str, bark: Bark) -> End {
        let (kind, text, next) = match bark.alarm {
            Alarm::Stalled { idle, on_disk } => {
                let text = format!(
                    "{what} of {} stalled: no output, no processor time, no input or output for {} s (its limit is {} s)",
                    self.order.recipe,
                    idle.as_secs(),
                    self.order.limits.silence_s
                );
                if on_disk {
                    (
                        Kind::Builder,
                        format!("{text}; a process waits for a disk"),
                        "look at the disks of this builder and at the kernel's log",
                    )
                } else if self.stage == Stage::Prepare {
                    (
                        Kind::Builder,
                        format!("{text}; nothing of the recipe ran yet"),
                        "look at the disks and the network of this builder",
                    )
                } else if self.stage == Stage::Package {
                    (
                        Kind::Builder,
                        format!("{text}; the recipe's phases were over"),
                        "look at the disks of this builder and at the kernel's log",
                    )
                } else {
                    (
                        Kind::Recipe,
                        text,
                        "see in the log, or with `massif job show`, what its processes waited for",
                    )
                }
            }
            Alarm::Memory { bytes, max } => (
                Kind::Builder,
                format!(
                    "{what} of {} took {} MiB of memory, the slot has {} MiB",
                    self.order.recipe,
                    bytes >> 20,
                    max >> 20
                ),
                MORE_MEMORY,
            ),
            Alarm::Processes { count } => (
                Kind::Recipe,
                format!(
                    "{what} of {} kept {count} processes, as many as a slot may have",
                    self.order.recipe
                ),
                "a recipe that needs them needs a larger slot_processes; see in the log what starts them",
            ),
        };
        let end: End = Fault::new(kind, text).next(next).into();
        self.witnessed(end, bark.evidence)
    }

    /// The same end, with what was seen before it.
    pub(super) fn witnessed(&self, mut end: End, mut evidence: Vec<String>) -> End {
        let lines = self.log.last_lines();
        evidence.push("last lines:".into());
        evidence.extend(lines.iter().rev().take(6).rev().cloned());
        for line in &evidence {
            self.log.say(&format!("{LANDMARK} {line}"));
        }
        end.evidence = evidence;
        end
    }

    pub(super) fn phase_failed(&self, stage: Stage, exit: Exit) -> End {
        let (code, text) = match exit {
            Exit::Code(code) => (code, format!("ended with code {code}")),
            Exit::Signal(signal) => (128 + signal, format!("was ended by signal {signal}")),
        };
        let mut fault = Fault::new(
            Kind::Recipe,
            format!("{} of {} {text}", stage.as_str(), self.order.recipe),
        )
        .next(format!(
            "read the end of its log: massif job log {}",
            self.order.attempt.job
        ));
        fault.causes.extend(self.log.last_lines().last().cloned());
        End {
            code: Some(code),
            ..fault.into()
        }
    }

    /// The kernel ended what took more than its control group may have.
    fn over_memory(&self, mut end: End, kills: u64) -> End {
        let max = self.ctx.rules.memory_bytes.unwrap_or(0);
        end.blame = Blame::Builder;
        end.fault.kind = Kind::Builder;
        end.fault.causes.insert(0, end.fault.what.clone());
        end.fault.what = format!(
            "{} took more memory than the {} MiB that the slot has: the kernel ended it ({kills} processes killed)",
            self.order.recipe,
            max >> 20
        );
        end.fault.next = MORE_MEMORY.into();
        end
    }

    /// A full disk, and a process that the kernel killed for want of memory, are never the recipe's doing.
    pub(super) fn settle_blame(&self, mut end: End) -> End {
        if end.cancelled || end.blame == Blame::Operator || !end.evidence.is_empty() {
            return end;
        }
        if let Some(group) = self.group.as_ref().filter(|group| group.memory_kills() > 0) {
            return self.over_memory(end, group.memory_kills());
        }
        // A process that the limit of one stopped before the watchdog saw it says so in words of its own, or dies of it.
        let slot = self.ctx.rules.memory_bytes;
        if let (Some(took), Some(max)) = (self.usage.memory_bytes, slot)
            && end.blame == Blame::Recipe
            && took > max
        {
            end.blame = Blame::Builder;
            end.fault.kind = Kind::Builder;
            end.fault.causes.insert(0, end.fault.what.clone());
            end.fault.what = format!(
                "a process of {} took {} MiB of memory, the slot has {} MiB",
                self.order.recipe,
                took >> 20,
                max >> 20
            );
            end.fault.next = MORE_MEMORY.into();
            return end;
        }
        let lines = self.log.last_lines();
        let said = |text: &str| lines.iter().any(|line| line.contains(text));
        // What is built for a level runs where that level runs. Below a level it is the program's own doing: compilers end
        // what cannot happen with an illegal instruction on purpose.
        let level = self.order.profile.level;
        if level > IsaLevel::Baseline
            && end.blame == Blame::Recipe
            && (end.code == Some(128 + SIGILL) || said("Illegal instruction"))
        {
            end.blame = Blame::Builder;
            end.fault.kind = Kind::Builder;
            end.fault.causes.insert(0, end.fault.what.clone());
            end.fault.what = format!(
                "{} died of an illegal instruction: the processor of {} does not have what {} asks for, or not as it says",
                self.order.recipe, self.ctx.host, self.order.profile.name
            );
            end.fault.next = "compare `processor` in massif builder show with its cpuid; [builder] isa = [..] in its massif.toml sets what it may build for".into();
            return end;
        }
        let full = is_full(&self.ctx.attempt_dir) || end.fault.is_no_room();
        let why = if full || said("No space left on device") {
            "the builder's disk is full"
        } else if is_read_only(&self.ctx.attempt_dir) {
            "the builder's disk became read-only"
        } else if said("Input/output error") {
            "the builder's disk cannot be read or written"
        } else if end.blame == Blame::Recipe
            && (end.code == Some(128 + 9)
                || said("Cannot allocate memory")
                || said("memory exhausted")
                || said("Killed signal terminated program"))
        {
            "the builder had too little memory"
        } else {
            return end;
        };
        end.blame = Blame::Builder;
        // A full disk costs no try, and nor does one that cannot be written to.
        end.fault.kind = match why.contains("full") || why.contains("read-only") {
            true => Kind::TryAgain,
            false => Kind::Builder,
        };
        end.fault.causes.insert(0, end.fault.what.clone());
        end.fault.what = why.to_owned();
        end.fault.next = match why.contains("read-only") {
            true => "look in the kernel's log of this builder; the job is tried again by itself",
            false => "make room on this builder; the job is tried again by itself",
        }
        .to_owned();
        end
    }
}

pub(super) fn missing(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(
        Kind::Builder,
        format!("cannot read the package {}", path.display()),
    )
    .because(error)
    .next("look at the disk of this builder; the package is fetched anew for the next try")
}

pub(super) fn cancelled() -> End {
    End {
        cancelled: true,
        ..Fault::new(Kind::Operator, "the build was cancelled").into()
    }
}

/// What a kernel does to a file system with errors. The recipe's own words are no evidence: its root is read-only anyway.
pub(in crate::build) fn is_read_only(dir: &Path) -> bool {
    rustix::fs::statvfs(dir)
        .is_ok_and(|disk| disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

pub(in crate::build) fn is_full(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|disk| {
        let counts_inodes = disk.f_files > 0;
        disk.f_bavail.saturating_mul(disk.f_frsize) < DISK_FULL_BYTES
            || counts_inodes && disk.f_favail < DISK_FULL_INODES
    })
}
