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
    let source = work.join("clock.c");
    let library = work.join(format!("clock{later_s}.so"));
    std::fs::write(&source, CLOCK).unwrap();
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
