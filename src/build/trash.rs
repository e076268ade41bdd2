//! Deleting without waiting: a rename into `trash/`, and one thread of the process that empties it. Sole writer of `trash/`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};

use super::layers::cannot;
use crate::fault::Result;

/// Moves a file or directory out of the way in an instant, into `state_dir/trash`, where it is deleted in the background.
/// What is not there is fine.
pub fn discard(state_dir: &Path, path: &Path) -> Result<()> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let trash = state_dir.join("trash");
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let to = trash.join(format!("{}.{serial}", std::process::id()));
    let moved = || -> io::Result<()> {
        fs::create_dir_all(&trash)?;
        let mut renamed = fs::rename(path, &to);
        if renamed
            .as_ref()
            .is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
        {
            // A directory changes its parent only for who may write to it.
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
            renamed = fs::rename(path, &to);
        }
        match renamed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => delete(path),
            // A directory of another's, or a name that a process of the same number left: delete in place.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => delete(path),
            Err(error) => Err(error),
            Ok(()) => {
                delete_later(to);
                Ok(())
            }
        }
    };
    moved().map_err(|e| cannot(format_args!("throw away {}", path.display()), e))
}

/// Deletes in the background what an earlier process left in `trash/`.
pub fn empty(state_dir: &Path) {
    for entry in fs::read_dir(state_dir.join("trash"))
        .into_iter()
        .flatten()
        .flatten()
    {
        delete_later(entry.path());
    }
}

fn delete_later(path: PathBuf) {
    static DOOMED: OnceLock<Mutex<mpsc::Sender<PathBuf>>> = OnceLock::new();
    let doomed = DOOMED.get_or_init(|| {
        let (sender, doomed) = mpsc::channel::<PathBuf>();
        std::thread::spawn(move || {
            for path in doomed {
                if let Err(error) = delete(&path) {
                    tracing::warn!("cannot delete {}: {error}", path.display());
                }
            }
        });
        Mutex::new(sender)
    });
    let sender = doomed
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    // Without the thread the path stays in the trash until the next start.
    let _ = sender.send(path);
}

/// Deletes a tree, also one with directories that nobody may enter. Never follows a link.
pub fn delete(path: &Path) -> io::Result<()> {
    match remove(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            remove(path)
        }
        done => done,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let done = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Makes every directory of a tree one that its owner may empty.
fn open_up(path: &Path) -> io::Result<()> {
    let mut rest = vec![path.to_owned()];
    while let Some(dir) = rest.pop() {
        if !fs::symlink_metadata(&dir)?.is_dir() {
            continue;
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                rest.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_with_closed_directories_goes_and_what_its_links_name_stays() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(place.path().join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(place.path(), tree.join("a/out")).unwrap();
        fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o000)).unwrap();
        discard(place.path(), &tree).unwrap();
        assert!(!tree.exists());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(300);
        while fs::read_dir(place.path().join("trash"))
            .unwrap()
            .next()
            .is_some()
        {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(place.path().join("kept").exists());
        discard(place.path(), &tree).unwrap();
    }
}
