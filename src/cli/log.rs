//! What the process says on standard error: the log, and last words.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sets up the log (`MASSIF_LOG`, for example `info,massif::net=debug`), last words, and the one TLS provider.
/// `quiet` is for verbs that only ask: they log warnings.
pub(super) fn start(quiet: bool) {
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
    // Somebody who calls us as a library may have set these already: theirs stand.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(super::out::colours_welcome(std::io::stderr().is_terminal()))
        .try_init();
    let _ = rustls::crypto::ring::default_provider().install_default();
    last_words();
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
