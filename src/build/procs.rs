//! The processes below one process, read from `/proc`: what they used, what they wait for, what they hold open. Everything
//! below the first process of a pid namespace stays below it, also what forks away, so nothing is missed.

use std::fs;

use rustix::process::Pid;

/// Processes that are looked at; a fork bomb is told by far fewer.
const PROCESSES_MAX: usize = 8_192;
/// Clock ticks of `/proc/PID/stat` in a second: fixed at 100 in what the kernel shows to programs.
const TICKS_PER_S: u64 = 100;

/// One process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// As the host numbers it.
    pub pid: i32,
    /// Whose child it is.
    pub parent: i32,
    /// How deep below the first.
    pub depth: u32,
    /// Name of its program.
    pub name: String,
    /// `R` running, `S` sleeping, `D` waiting for a disk, `Z` dead...
    pub state: char,
    /// Processor time of it and of all children that it waited for.
    pub cpu_ms: u64,
    /// Its own processor time.
    pub own_cpu_ms: u64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Its threads.
    pub threads: u32,
}

/// What `/proc/PID/stat` says.
fn parse_stat(pid: i32, depth: u32, text: &str, page_bytes: u64) -> Option<Process> {
    // The name may hold anything, also spaces and brackets; it ends at the last bracket.
    let (head, rest) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_string();
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<i64>().ok();
    let ticks = |at: usize| Some(u64::try_from(number(at)?).unwrap_or(0) * 1000 / TICKS_PER_S);
    let own = ticks(11)? + ticks(12)?;
    Some(Process {
        pid,
        parent: i32::try_from(number(1)?).ok()?,
        depth,
        name,
        state: fields.first()?.chars().next()?,
        cpu_ms: own + ticks(13)? + ticks(14)?,
        own_cpu_ms: own,
        memory_bytes: u64::try_from(number(21)?).unwrap_or(0) * page_bytes,
        threads: u32::try_from(number(17)?).unwrap_or(0),
    })
}

fn children(pid: i32, threads: u32) -> Vec<i32> {
    let of_thread = |thread: i32| -> Vec<i32> {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children"));
        let text = text.unwrap_or_default();
        text.split_ascii_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    if threads <= 1 {
        return of_thread(pid);
    }
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let numbers = tasks.into_iter().flatten().flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .flat_map(of_thread)
        .collect()
}

/// Live processes of this machine whose file of this name below `/proc/PID` (`cmdline`, `environ`) holds these bytes. What may
/// not be read holds nothing, and a zombie has neither.
pub fn that_hold(file: &str, wanted: &str) -> Vec<Pid> {
    let holds = |bytes: &[u8]| {
        let mut parts = bytes.windows(wanted.len().max(1));
        parts.any(|part| part == wanted.as_bytes())
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| holds(&bytes)))
        .filter_map(Pid::from_raw)
        .collect()
}

/// The process and all below it, parents before their children. Those that end meanwhile are left out.
pub fn tree(first: i32) -> Vec<Process> {
    let page_bytes = procfs::page_size();
    let mut found = Vec::new();
    let mut rest = vec![(first, 0)];
    while let Some((pid, depth)) = rest.pop() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        let Some(process) = stat
            .ok()
            .and_then(|text| parse_stat(pid, depth, &text, page_bytes))
        else {
            continue;
        };
        if found.len() >= PROCESSES_MAX {
            break;
        }
        rest.extend(
            children(pid, process.threads)
                .into_iter()
                .rev()
                .map(|child| (child, depth + 1)),
        );
        found.push(process);
    }
    found
}

/// Bytes that these processes, and the children that they waited for, read and wrote so far by any system call.
/// What may not be read counts as nothing.
pub fn moved_bytes(processes: &[Process]) -> u64 {
    let of = |process: &Process| -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/io", process.pid)).unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let (name, value) = line.split_once(": ")?;
                matches!(name, "rchar" | "wchar").then(|| value.parse::<u64>().ok())?
            })
            .fold(0, u64::saturating_add)
    };
    processes.iter().map(of).fold(0, u64::saturating_add)
}

/// Memory of these processes with shared pages counted once, as far as the kernel tells; slower than the resident sizes.
pub fn proportional_bytes(processes: &[Process]) -> u64 {
    let of = |process: &Process| -> u64 {
        let path = format!("/proc/{}/smaps_rollup", process.pid);
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
            .map_or(process.memory_bytes, |kib| kib * 1024)
    };
    processes.iter().map(of).fold(0, u64::saturating_add)
}

/// What the process is asleep in, as the kernel names it.
fn wait_channel(pid: i32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/wchan")) {
        Ok(text) if !text.is_empty() && text != "0" => text,
        Ok(_) | Err(_) => "-".into(),
    }
}

/// Open files of a process that tell something: pipes and standard streams of the log are left out.
fn open_files(pid: i32, max: usize) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    let mut files: Vec<String> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string()))
        .filter(|name| name != "/dev/null" && !name.starts_with("anon_inode"))
        .collect();
    files.sort();
    files.dedup();
    files.truncate(max);
    files
}

fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<&str> = text.split('\0').filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(60).collect()
}

/// A line for each process: number, state, wait channel, memory, processor time, command, and its open files below.
pub fn evidence(processes: &[Process], lines_max: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for process in processes.iter().skip(1) {
        if lines.len() + 2 > lines_max {
            lines.push(format!("... {} processes in all", processes.len()));
            break;
        }
        let indent = "  ".repeat(process.depth.saturating_sub(1).min(8) as usize);
        lines.push(format!(
            "{indent}{} {} {} {} MiB {:.1} s: {}",
            process.pid,
            process.state,
            wait_channel(process.pid),
            process.memory_bytes >> 20,
            process.own_cpu_ms as f64 / 1000.0,
            match command_line(process.pid) {
                line if line.is_empty() => process.name.clone(),
                line => line,
            }
        ));
        let files = open_files(process.pid, 6);
        if !files.is_empty() && lines.len() + 1 < lines_max {
            lines.push(format!("{indent}  open: {}", files.join(" ")));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_move_the_fields() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 3 0 99 1000 5 18446744073709551615";
        let process = parse_stat(7, 2, text, 4096).unwrap();
        assert_eq!((process.name.as_str(), process.state), ("a) b (c", 'S'));
        assert_eq!((process.own_cpu_ms, process.cpu_ms), (2000, 2500));
        assert_eq!((process.memory_bytes, process.threads), (5 * 4096, 3));
        for bad in ["", "7", "7 (x", "7 (x) S", "7 (x) S a b c"] {
            assert!(parse_stat(7, 0, bad, 4096).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn children_and_their_children_are_found() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 2000 & sleep 2000; wait"])
            .spawn()
            .unwrap();
        let own = i32::try_from(child.id()).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(300);
        let found = loop {
            let found = tree(own);
            if found
                .iter()
                .filter(|process| process.name == "sleep")
                .count()
                == 2
            {
                break found;
            }
            assert!(std::time::Instant::now() < deadline, "{found:?}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        assert!(
            evidence(&found, 10)
                .iter()
                .any(|line| line.contains("sleep 2000"))
        );
        for process in found.iter().rev() {
            let pid = rustix::process::Pid::from_raw(process.pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
        child.wait().unwrap();
    }
}
