//! What the tool's output tells beside being the log: stages and progress. Part of `boulder.rs`.

use crate::build::native::Stage;

/// The stage that a line of the tool's output begins, if it does.
pub(super) fn stage_in(line: &str) -> Option<Stage> {
    let plain = without_colours(line);
    let word = plain
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty() && !word.contains("x86") && *word != "aarch64")
        .find(|word| word.parse::<u64>().is_err())?;
    // Its own lines stand behind a frame; what recipes print does not.
    let framed = plain
        .trim_start()
        .chars()
        .next()
        .is_some_and(|c| !c.is_ascii_alphanumeric());
    match (framed, word) {
        (true, "Prepare" | "Fetch" | "Install_dependencies") => Some(Stage::Prepare),
        (true, "Setup") => Some(Stage::Setup),
        (true, "Build") => Some(Stage::Build),
        (true, "Install") => Some(Stage::Install),
        (true, "Check") => Some(Stage::Check),
        (true, "Package" | "Packaging" | "Analyzing" | "Emitting") => Some(Stage::Package),
        _ => None,
    }
}

/// Text of a line that is shown while it is the newest.
const SHOWN_CHARS: usize = 80;

/// How far it is, as far as a line tells: the counts of build programs (`[12/80]`, `[ 15%]`); before the recipe's phases, the
/// line itself.
pub(super) fn progress_in(line: &str, early: bool) -> Option<String> {
    let plain = without_colours(line);
    // A frame with the phase's letter may stand before it.
    let text = plain.rsplit('\u{2502}').next().unwrap_or(&plain).trim();
    let counted = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .and_then(|(count, _)| {
            let is_number = |text: &str| text.trim().parse::<u32>().is_ok();
            match (count.split_once('/'), count.strip_suffix('%')) {
                (Some((at, of)), _) if is_number(at) && is_number(of) => {
                    Some(format!("step {} of {}", at.trim(), of.trim()))
                }
                (_, Some(share)) if is_number(share) => Some(format!("{} %", share.trim())),
                _ => None,
            }
        });
    let whole = || text.chars().take(SHOWN_CHARS).collect::<String>();
    counted.or_else(|| (early && !text.is_empty()).then(whole))
}

/// Whether a line says that some host could not be reached, in the words of the libraries that the tool fetches with.
pub(super) fn unreached(line: &str) -> bool {
    const WORDS: [&str; 8] = [
        "error sending request",
        "error trying to connect",
        "dns error",
        "failed to lookup address",
        "connection refused",
        "connection reset",
        "network is unreachable",
        "timed out",
    ];
    let line = line.to_lowercase();
    WORDS.iter().any(|word| line.contains(word))
}

/// A line without escape sequences.
fn without_colours(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            for c in rest.by_ref() {
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_lines_tell_the_stage_and_what_recipes_print_does_not() {
        for (line, stage) in [
            (
                "\u{1b}[2m│\u{1b}[0m \u{1b}[33mSetup\u{1b}[0m │",
                Some(Stage::Setup),
            ),
            ("• x86_64 │ Build", Some(Stage::Build)),
            ("│Install│ cp a b", Some(Stage::Install)),
            ("│ Check", Some(Stage::Check)),
            ("│Package│", Some(Stage::Package)),
            ("Build files have been written to: /mason", None),
            ("│A│ Build", None),
            ("", None),
        ] {
            assert_eq!(stage_in(line), stage, "{line:?}");
        }
    }

    #[test]
    fn counts_of_build_programs_are_progress_and_so_is_what_comes_before_the_phases() {
        for (line, early, told) in [
            ("│B│ [12/80] CC a.o", false, Some("step 12 of 80")),
            ("[ 15%] Building C object", false, Some("15 %")),
            ("[x/y] odd", false, None),
            ("[", false, None),
            ("cc -c a.c", false, None),
            (
                "Installed \u{1b}[1mbash\u{1b}[0m",
                true,
                Some("Installed bash"),
            ),
            ("  ", true, None),
        ] {
            assert_eq!(progress_in(line, early).as_deref(), told, "{line:?}");
        }
    }

    #[test]
    fn a_host_that_was_not_reached_is_told_from_a_package_that_nobody_has() {
        assert!(unreached(
            "error: error sending request for url (https://x/stone.index)"
        ));
        assert!(unreached(
            "tcp connect error: Connection refused (os error 111)"
        ));
        assert!(!unreached("install: no package found: pkgconfig(nosuch)"));
    }
}
