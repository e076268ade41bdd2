//! Where a host's state and its admin socket are, and how a socket is reached whose path is longer than the kernel takes.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// What the environment says about places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// The effective user is root.
    pub root: bool,
    /// `XDG_STATE_HOME`
    pub state_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`
    pub runtime_dir: Option<PathBuf>,
    /// `HOME`
    pub home: Option<PathBuf>,
}

impl Places {
    /// Of this process.
    pub fn of_this_process() -> Places {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        Places {
            root: nix::unistd::geteuid().is_root(),
            state_home: absolute("XDG_STATE_HOME"),
            runtime_dir: absolute("XDG_RUNTIME_DIR"),
            home: absolute("HOME"),
        }
    }
}

/// The state directory: the one given, else `/var/lib/massif` for root and `$XDG_STATE_HOME/massif` for others.
///
/// # Errors
///
/// No directory is given and the environment names none.
pub fn state_dir(given: Option<&Path>, places: &Places) -> Result<PathBuf> {
    if let Some(dir) = given {
        return Ok(dir.to_owned());
    }
    if places.root {
        return Ok("/var/lib/massif".into());
    }
    let state = places
        .state_home
        .clone()
        .or_else(|| Some(places.home.as_ref()?.join(".local/state")));
    state.map(|state| state.join("massif")).ok_or_else(|| {
        Fault::new(
            Kind::Usage,
            "no state directory: neither XDG_STATE_HOME nor HOME is set",
        )
        .next("give one with --dir")
    })
}

/// The admin socket: `admin.sock` in the given directory, else `/run/massif/admin.sock` for root and
/// `$XDG_RUNTIME_DIR/massif/admin.sock` for others (in the state directory when there is no such variable).
///
/// # Errors
///
/// As [`state_dir`].
pub fn socket_path(given: Option<&Path>, places: &Places) -> Result<PathBuf> {
    match (given, places.root, &places.runtime_dir) {
        (Some(dir), _, _) => Ok(dir.join("admin.sock")),
        (None, true, _) => Ok("/run/massif/admin.sock".into()),
        (None, false, Some(runtime)) => Ok(runtime.join("massif/admin.sock")),
        (None, false, None) => Ok(state_dir(None, places)?.join("admin.sock")),
    }
}

/// A path that `bind` and `connect` take, and what keeps it valid.
pub(super) struct ShortPath {
    /// At most [`limit::SOCKET_PATH_BYTES_MAX`] bytes.
    pub(super) path: PathBuf,
    /// The path goes through this descriptor.
    _dir: Option<std::fs::File>,
}

/// The same socket under a path that the kernel takes: through a descriptor of its directory when it is too long.
pub(super) fn short_path(path: &Path) -> std::io::Result<ShortPath> {
    if path.as_os_str().len() <= limit::SOCKET_PATH_BYTES_MAX {
        return Ok(ShortPath {
            path: path.to_owned(),
            _dir: None,
        });
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let dir = std::fs::File::open(parent)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    Ok(ShortPath {
        path,
        _dir: Some(dir),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_given_directory_then_root_then_the_environment() {
        let ann = Places {
            root: false,
            state_home: None,
            runtime_dir: Some("/run/user/7".into()),
            home: Some("/home/ann".into()),
        };
        let root = Places {
            root: true,
            ..ann.clone()
        };
        let bare = Places {
            runtime_dir: None,
            state_home: Some("/s".into()),
            ..ann.clone()
        };
        let given = Some(Path::new("/d"));
        for (dir, places, state, socket) in [
            (given, &root, "/d", "/d/admin.sock"),
            (None, &root, "/var/lib/massif", "/run/massif/admin.sock"),
            (
                None,
                &ann,
                "/home/ann/.local/state/massif",
                "/run/user/7/massif/admin.sock",
            ),
            (None, &bare, "/s/massif", "/s/massif/admin.sock"),
        ] {
            assert_eq!(state_dir(dir, places).unwrap(), Path::new(state));
            assert_eq!(socket_path(dir, places).unwrap(), Path::new(socket));
        }
        assert_eq!(
            state_dir(None, &Places::default()).unwrap_err().exit_code(),
            2
        );
    }

    #[test]
    fn a_path_that_is_too_long_goes_through_its_directory() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("x".repeat(100)).join("y".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let path = deep.join("admin.sock");
        let short = short_path(&path).unwrap();
        assert!(short.path.as_os_str().len() <= limit::SOCKET_PATH_BYTES_MAX);
        let _listener = std::os::unix::net::UnixListener::bind(&short.path).unwrap();
        assert!(path.exists());
        assert!(
            std::os::unix::net::UnixStream::connect(short_path(&path).unwrap().path).is_err()
                || path.exists()
        );
    }
}
