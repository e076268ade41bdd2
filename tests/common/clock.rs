//! Another clock for a process: a small library that it is started with.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Moves the clock of whoever loads it.
pub const CLOCK: &str = r#"#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
static int real(clockid_t id, struct timespec *at) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    return next(id, at);
}
int clock_gettime(clockid_t id, struct timespec *at) {
    int failed = real(id, at);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += LATER;
    return failed;
}
time_t time(time_t *to) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (to) *to = at.tv_sec;
    return at.tv_sec;
}
int gettimeofday(struct timeval *restrict to, void *restrict zone) {
    struct timespec at;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &at);
    to->tv_sec = at.tv_sec;
    to->tv_usec = at.tv_nsec / 1000;
    return 0;
}
"#;

/// The library for a clock that is so many seconds late, in this directory; for `LD_PRELOAD`.
pub fn library(work: &Path, later_s: i64) -> PathBuf {
    made(work, "", later_s)
}

fn made(work: &Path, more: &str, later_s: i64) -> PathBuf {
    let source = work.join("clock.c");
    let library = work.join(format!("clock{later_s}.so"));
    std::fs::write(&source, format!("{CLOCK}{more}")).unwrap();
    let later = format!("-DLATER=({later_s})");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", &later, "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{errors}");
    library
}

/// Moves the times of files that were written since `SINCE` along with the clock: what is written on that day is of that day.
const TIMES: &str = r#"
#include <fcntl.h>
#include <sys/stat.h>
#include <utime.h>
#define REAL(name) ({ static __typeof__(&name) next; if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name); next; })
static time_t shown(time_t at) { return at >= SINCE ? at + (LATER) : at; }
static time_t kept(time_t at) { return at >= SINCE + (LATER) ? at - (LATER) : at; }
#define SHOW(to) do { (to)->st_atim.tv_sec = shown((to)->st_atim.tv_sec); (to)->st_mtim.tv_sec = shown((to)->st_mtim.tv_sec); (to)->st_ctim.tv_sec = shown((to)->st_ctim.tv_sec); } while (0)
#define LOOK(name, type, parameters, arguments) \
    int name parameters { int failed = REAL(name) arguments; if (!failed) SHOW(to); return failed; }
LOOK(stat, stat, (const char *restrict path, struct stat *restrict to), (path, to))
LOOK(lstat, stat, (const char *restrict path, struct stat *restrict to), (path, to))
LOOK(fstat, stat, (int file, struct stat *to), (file, to))
LOOK(fstatat, stat, (int dir, const char *restrict path, struct stat *restrict to, int flags), (dir, path, to, flags))
LOOK(stat64, stat64, (const char *restrict path, struct stat64 *restrict to), (path, to))
LOOK(lstat64, stat64, (const char *restrict path, struct stat64 *restrict to), (path, to))
LOOK(fstat64, stat64, (int file, struct stat64 *to), (file, to))
LOOK(fstatat64, stat64, (int dir, const char *restrict path, struct stat64 *restrict to, int flags), (dir, path, to, flags))
int statx(int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict to) {
    int failed = REAL(statx)(dir, path, flags, mask, to);
    if (!failed) {
        to->stx_atime.tv_sec = shown(to->stx_atime.tv_sec);
        to->stx_btime.tv_sec = shown(to->stx_btime.tv_sec);
        to->stx_ctime.tv_sec = shown(to->stx_ctime.tv_sec);
        to->stx_mtime.tv_sec = shown(to->stx_mtime.tv_sec);
    }
    return failed;
}
static const struct timespec *keep(const struct timespec at[2], struct timespec to[2]) {
    if (!at) return 0;
    for (int i = 0; i < 2; i++) {
        to[i] = at[i];
        if (at[i].tv_nsec != UTIME_NOW && at[i].tv_nsec != UTIME_OMIT) to[i].tv_sec = kept(at[i].tv_sec);
    }
    return to;
}
int utimensat(int dir, const char *path, const struct timespec at[2], int flags) {
    struct timespec to[2];
    return REAL(utimensat)(dir, path, keep(at, to), flags);
}
int futimens(int file, const struct timespec at[2]) {
    struct timespec to[2];
    return REAL(futimens)(file, keep(at, to));
}
int utimes(const char *path, const struct timeval at[2]) {
    struct timespec to[2];
    if (at) for (int i = 0; i < 2; i++) { to[i].tv_sec = at[i].tv_sec; to[i].tv_nsec = at[i].tv_usec * 1000; }
    return utimensat(AT_FDCWD, path, at ? to : 0, 0);
}
int utime(const char *path, const struct utimbuf *at) {
    struct timespec to[2] = {{at ? at->actime : 0, 0}, {at ? at->modtime : 0, 0}};
    return utimensat(AT_FDCWD, path, at ? to : 0, 0);
}
"#;

/// Where the C library's loader looks for libraries that every program gets, and a place of the same length below `/usr`.
const PRELOAD: (&[u8], &[u8]) = (b"/etc/ld.so.preload", b"/usr/ld.so.preload");

/// The layer that a builder keeps above this machine's `/usr` for base `host`, once it has made it.
pub fn mask(state_dir: &Path) -> Option<PathBuf> {
    let layers = std::fs::read_dir(state_dir.join("layers")).ok()?;
    let mut layers = layers.flatten().map(|entry| entry.path());
    // While it is made it has another name.
    let is_mask = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("mask-") && path.join("complete").exists() && path.join("hidden").exists()
    };
    Some(layers.find(is_mask)?.join("usr"))
}

/// Puts every program that runs in builds of a builder over base `host` on a clock that is so many seconds late, and what they
/// write, too: its loader, in that layer, loads a library into each of them. The builder builds nothing yet; its own process
/// has the clock that it was started with.
pub fn builds_later(usr: &Path, work: &Path, later_s: i64) {
    let loader = std::fs::canonicalize("/lib64/ld-linux-x86-64.so.2").unwrap();
    let mut bytes = std::fs::read(&loader).unwrap();
    let places: Vec<usize> = bytes
        .windows(PRELOAD.0.len())
        .enumerate()
        .filter(|(_, window)| *window == PRELOAD.0)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 1, "this loader preloads from elsewhere");
    bytes[places[0]..][..PRELOAD.1.len()].copy_from_slice(PRELOAD.1);
    let ours = usr.join(loader.strip_prefix("/usr").unwrap());
    std::fs::create_dir_all(ours.parent().unwrap()).unwrap();
    std::fs::write(&ours, bytes).unwrap();
    open(&ours, 0o755);
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let more = format!("#define SINCE {}L\n{TIMES}", since.as_secs());
    let library = made(work, &more, later_s);
    std::fs::copy(library, usr.join("lib/massif-clock.so")).unwrap();
    open(&usr.join("lib/massif-clock.so"), 0o755);
    std::fs::write(usr.join("ld.so.preload"), "/usr/lib/massif-clock.so\n").unwrap();
    open(&usr.join("ld.so.preload"), 0o644);
}

fn open(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
