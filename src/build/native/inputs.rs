//! Input packages as layers: each stone of the order is unpacked once into the layer cache.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::build::layers::{LayerWriter, Layers};
use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;
use crate::stone::{LayoutEntry, Node, Package};

/// Contents up to this size that several paths share are kept in memory between them.
const SHARED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Unpacks the stone at `path` into the cache unless it is there; blocking.
pub fn add_stone(layers: &Layers, sha256: Digest, path: &Path) -> Result<()> {
    if layers.has(&sha256) {
        return Ok(());
    }
    layers.add(&sha256, |writer| {
        let file = File::open(path).map_err(|error| {
            Fault::new(
                Kind::Builder,
                format!("cannot read the package {}", path.display()),
            )
            .because(&error)
        })?;
        let mut from = BufReader::new(file);
        let package = Package::read(&mut from)?;
        unpack(&package, &mut from, writer)
    })
}

fn unpack(
    package: &Package,
    from: &mut (impl Read + Seek),
    writer: &mut LayerWriter,
) -> Result<()> {
    let mut wanted: HashMap<_, Vec<&LayoutEntry>> = HashMap::new();
    for entry in &package.layout {
        match &entry.node {
            Node::Directory => writer.directory(Path::new(&entry.path))?,
            Node::Symlink(target) => writer.symlink(Path::new(&entry.path), target)?,
            Node::Regular(hash) => wanted.entry(*hash).or_default().push(entry),
            // A build root has its own devices, and nothing real ships any.
            Node::CharDevice | Node::BlockDevice | Node::Fifo | Node::Socket => {}
        }
    }
    package.unpack(from, &mut |file, content| {
        let Some(entries) = wanted.get(&file.hash) else {
            return Ok(());
        };
        match entries.as_slice() {
            [only] => write(writer, only, content),
            several => {
                let mut spool = spool(content, file.size)?;
                for entry in several {
                    spool
                        .seek(SeekFrom::Start(0))
                        .map_err(|error| spool_fault(&error))?;
                    write(writer, entry, &mut spool)?;
                }
                Ok(())
            }
        }
    })
}

fn write(writer: &mut LayerWriter, entry: &LayoutEntry, content: &mut dyn Read) -> Result<()> {
    writer.file(Path::new(&entry.path), entry.mode & 0o111 != 0, content)
}

trait Spool: Read + Seek {}
impl<T: Read + Seek> Spool for T {}

fn spool_fault(error: &std::io::Error) -> Fault {
    Fault::new(
        Kind::Builder,
        "cannot keep a content of a package for its second path",
    )
    .because(error)
}

fn spool(content: &mut dyn Read, size: u64) -> Result<Box<dyn Spool>> {
    let mut filled = || -> std::io::Result<Box<dyn Spool>> {
        if size <= SHARED_BYTES_MAX {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            return Ok(Box::new(Cursor::new(bytes)));
        }
        let mut file = tempfile::tempfile()?;
        std::io::copy(content, &mut file)?;
        file.flush()?;
        Ok(Box::new(file))
    };
    filled().map_err(|error| spool_fault(&error))
}
