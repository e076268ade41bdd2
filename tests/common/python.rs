//! A Python with the packages that the independent readers need, in a virtual environment below the build directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The interpreter; `None` when there is no Python or no package index here, which under CI is a failure.
pub fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(make).as_deref()
}

fn make() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = venv.join("bin/python3");
    let works = || {
        let imports = Command::new(&python)
            .args(["-c", "import varlink, xxhash, zstandard"])
            .output();
        imports.is_ok_and(|output| output.status.success())
    };
    if works() {
        return Some(python.clone());
    }
    let run = |program: &Path, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let place = venv.to_str()?;
    let pip = venv.join("bin/pip");
    let packages = ["install", "--quiet", "varlink", "xxhash", "zstandard"];
    // A package index may fail to answer once.
    let made = (0..3).any(|_| {
        run(Path::new("python3"), &["-m", "venv", place]) && run(&pip, &packages) && works()
    });
    if made {
        return Some(python);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "no Python with varlink, xxhash and zstandard could be made"
    );
    println!("skipped: no Python with varlink, xxhash and zstandard here");
    None
}
