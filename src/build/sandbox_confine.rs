//! What the processes of a sandbox may not do: capabilities, system calls, resource limits. Called by its first process
//! when the root is made; everything here is inherited and cannot be taken back.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::sandbox::Limits;
use crate::fault::{Fault, Kind, Result};

/// Open files of one process: what many builds (Java, link-time optimisation) need, below the usual hard limit.
const OPEN_FILES_MAX: u64 = 65_536;

/// Namespaces that a process could make: with one of these flags `clone` and `unshare` are refused.
const NAMESPACE_FLAGS: [i32; 8] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    0x80, // CLONE_NEWTIME
];

/// Refused with EPERM. Most need a capability that is gone anyway; this is the second lock on the same door.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_open_by_handle_at,
];

/// Answered with ENOSYS, so that callers take their older way: clone3 hides its flags from filters, and io_uring goes
/// around all of them.
const UNKNOWN: &[libc::c_long] = &[libc::SYS_clone3, libc::SYS_io_uring_setup];

fn refused(what: &str, error: impl std::error::Error) -> Fault {
    Fault::new(Kind::Builder, format!("the sandbox cannot {what}")).because(&error)
}

/// Drops every capability for good, also for programs that uid 0 executes, and forbids gaining new ones.
pub(super) fn drop_capabilities() -> Result<()> {
    use rustix::thread::{CapabilitiesSecureBits as Bits, CapabilitySet, CapabilitySets};
    for capability in 0..64 {
        // SAFETY: prctl with integer arguments only.
        let done = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if done != 0 {
            break; // one past the last capability of this kernel
        }
    }
    rustix::thread::set_capabilities_secure_bits(
        Bits::NO_ROOT
            | Bits::NO_ROOT_LOCKED
            | Bits::NO_SETUID_FIXUP
            | Bits::NO_SETUID_FIXUP_LOCKED
            | Bits::KEEP_CAPS_LOCKED
            | Bits::NO_CAP_AMBIENT_RAISE
            | Bits::NO_CAP_AMBIENT_RAISE_LOCKED,
    )
    .map_err(|error| refused("lock its privileges", error))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)
        .map_err(|error| refused("drop its capabilities", error))?;
    rustix::thread::set_no_new_privs(true).map_err(|error| refused("set no_new_privs", error))
}

/// Resource limits of every process; a limit above the host's own stays at the host's.
pub(super) fn set_limits(limits: &Limits) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = [
        (Resource::Core, Some(0)),
        (Resource::Nofile, Some(OPEN_FILES_MAX)),
        (Resource::Nproc, limits.processes_max),
        (Resource::Data, limits.memory_bytes_max),
        (Resource::Cpu, limits.cpu_s_max),
        (Resource::Fsize, limits.file_bytes_max),
    ];
    for (resource, value) in wanted {
        let Some(value) = value else { continue };
        let value = value.min(getrlimit(resource).maximum.unwrap_or(u64::MAX));
        let limit = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, limit).map_err(|error| refused("set its resource limits", error))?;
    }
    Ok(())
}

fn when(conditions: Vec<seccompiler::Result<SeccompCondition>>) -> Option<SeccompRule> {
    let conditions = conditions.into_iter().collect::<seccompiler::Result<_>>();
    SeccompRule::new(conditions.ok()?).ok()
}

fn argument(
    index: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> seccompiler::Result<SeccompCondition> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
        .map_err(seccompiler::Error::from)
}

/// `chown` to an id that does not exist inside is taken as done: archives unpack, `install -o` works, and ownership in
/// packages is what the recipe means. To root or unchanged it is the kernel's own, so that configure tests stay true.
fn foreign_owner(owner: u8) -> Vec<SeccompRule> {
    let foreign = |index| {
        when(vec![
            argument(index, SeccompCmpOp::Ne, 0),
            argument(index, SeccompCmpOp::Ne, u64::from(u32::MAX)),
        ])
    };
    [foreign(owner), foreign(owner + 1)]
        .into_iter()
        .flatten()
        .collect()
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    action: SeccompAction,
) -> seccompiler::Result<BpfProgram> {
    let arch = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()?)
}

fn filters() -> seccompiler::Result<Vec<BpfProgram>> {
    let mut eperm: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let namespaces: Vec<SeccompRule> = NAMESPACE_FLAGS
        .iter()
        .filter_map(|flag| {
            let flag = *flag as u32 as u64;
            when(vec![argument(0, SeccompCmpOp::MaskedEq(flag), flag)])
        })
        .collect();
    eperm.insert(libc::SYS_unshare, namespaces.clone());
    // The lowest byte of clone's flags is the signal at exit, so the time namespace's bit means nothing there.
    eperm.insert(
        libc::SYS_clone,
        namespaces[..NAMESPACE_FLAGS.len() - 1].to_vec(),
    );
    if let Some(push_input) = when(vec![argument(1, SeccompCmpOp::Eq, libc::TIOCSTI)]) {
        eperm.insert(libc::SYS_ioctl, vec![push_input]);
    }
    let enosys = UNKNOWN.iter().map(|call| (*call, Vec::new())).collect();
    let mut chown = BTreeMap::from([
        (libc::SYS_fchown, foreign_owner(1)),
        (libc::SYS_fchownat, foreign_owner(2)),
    ]);
    #[cfg(target_arch = "x86_64")]
    chown.extend([
        (libc::SYS_chown, foreign_owner(1)),
        (libc::SYS_lchown, foreign_owner(1)),
    ]);
    Ok(vec![
        program(eperm, SeccompAction::Errno(libc::EPERM as u32))?,
        program(enosys, SeccompAction::Errno(libc::ENOSYS as u32))?,
        program(chown, SeccompAction::Errno(0))?,
    ])
}

/// Installs the system call filters: one stacked on the other, because each has a single action.
pub(super) fn filter_system_calls() -> Result<()> {
    let filters = filters().map_err(|error| refused("make its system call filters", error))?;
    filters
        .iter()
        .try_for_each(|filter| seccompiler::apply_filter(filter))
        .map_err(|error| {
            refused("install its system call filters", error)
                .next("use a kernel with CONFIG_SECCOMP_FILTER")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile() {
        assert_eq!(filters().unwrap().len(), 3);
    }
}
