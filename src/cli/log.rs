//! What the process says on standard error: the log, and last words.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;

/// Where the log goes.
pub(super) enum To {
    /// Standard error; `quiet` is for verbs that only ask: they log warnings.
    Stderr {
        /// Warnings only.
        quiet: bool,
    },
    /// This file, because a dashboard has the terminal.
    File(Option<PathBuf>),
    /// Nowhere: the dashboard shows what went wrong.
    Nowhere,
}

/// Sets up the log (`MASSIF_LOG`, for example `info,massif::net=debug`), last words, and the one TLS provider.
pub(super) fn start(to: To) {
    let quiet = matches!(to, To::Stderr { quiet: true });
    let filter = std::env::var("MASSIF_LOG")
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| {
            EnvFilter::new(if quiet {
                "warn"
            } else {
                "info,quinn=warn,rustls=warn,gix=warn"
            })
        });
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    // Somebody who calls us as a library may have set these already: theirs stand.
    let _ = match to {
        To::Stderr { .. } => log
            .with_writer(super::wait::Stderr::default)
            .with_ansi(super::out::colours_welcome(std::io::stderr().is_terminal()))
            .try_init(),
        To::File(path) => log
            .with_ansi(false)
            .with_writer(move || append_to(path.as_deref()))
            .try_init(),
        To::Nowhere => log.with_writer(std::io::sink).try_init(),
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    last_words();
}

/// The file, opened for each line: the directory may come into being after the first of them.
fn append_to(path: Option<&Path>) -> Box<dyn std::io::Write> {
    let file = path.and_then(|path| {
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true).open(path).ok()
    });
    match file {
        Some(file) => Box::new(file),
        None => Box::new(std::io::sink()),
    }
}

/// A panic is one line with its place and what to do; supervisors restart what it took down.
fn last_words() {
    std::panic::set_hook(Box::new(|info| {
        let words = info.payload();
        let words = words
            .downcast_ref::<&str>()
            .map(|words| (*words).to_owned())
            .or_else(|| words.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "unknown".to_owned());
        let place = info
            .location()
            .map_or_else(String::new, ToString::to_string);
        let thread = std::thread::current()
            .name()
            .unwrap_or("unnamed")
            .to_owned();
        tracing::error!(%place, thread, "panic: {}; please report this", super::text::line(&words));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            tracing::error!("{}", std::backtrace::Backtrace::force_capture());
        }
    }));
}
