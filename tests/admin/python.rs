//! The PyPI `varlink` client against the fixed host.

use std::path::Path;
use std::process::Command;

use super::fixed::Fixed;
use crate::common::python::python;

fn varlink(python: &Path, arguments: &[&str]) -> (bool, String) {
    let out = Command::new(python)
        .args(["-m", "varlink.cli"])
        .args(arguments)
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    (out.status.success(), text)
}

#[test]
fn somebody_elses_client_lists_describes_and_calls() {
    let Some(python) = python() else { return };
    let host = Fixed::start();
    let address = format!("unix:{}", host.socket().display());
    let (_, text) = varlink(python, &["info", &address]);
    for name in [
        "io.massif.Host",
        "io.massif.Summit",
        "io.massif.Avalanche",
        "io.massif.Vessel",
        "org.varlink.service",
    ] {
        assert!(text.contains(name), "{text}");
        let (fine, description) = varlink(python, &["help", &format!("{address}/{name}")]);
        assert!(
            fine && description.contains(&format!("interface {name}")),
            "{description}"
        );
    }
    let (fine, text) = varlink(
        python,
        &["call", &format!("{address}/io.massif.Host.Status"), "{}"],
    );
    assert!(fine && text.contains("\"schema\": 1"), "{text}");
    let (_, text) = varlink(
        python,
        &[
            "call",
            &format!("{address}/io.massif.Summit.JobShow"),
            "{\"job\": \"nan\"}",
        ],
    );
    assert!(
        text.contains("io.massif.Summit.NotFound") && text.contains("no job nan"),
        "{text}"
    );
    let (fine, text) = varlink(
        python,
        &[
            "call",
            "--more",
            &format!("{address}/io.massif.Summit.JobLog"),
            "{\"job\": \"2\"}",
        ],
    );
    assert!(
        fine && text.contains("one") && text.contains("two"),
        "{text}"
    );
}

#[test]
fn the_python_example_reads_a_farm() {
    let Some(python) = python() else { return };
    let host = Fixed::start();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/admin.py");
    let out = Command::new(python)
        .arg(example)
        .arg(host.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(
        text.contains("nano 7.2-1 waiting: nothing provides pkgconfig(gtk4)"),
        "{text}"
    );
}
