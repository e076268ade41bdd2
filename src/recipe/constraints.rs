//! `constraints.yaml` beside a recipe: what its author knows of its build and the farm would have to learn the hard way.

use serde::{Deserialize, Serialize};

use super::macros::Macros;
use super::node::{self, Node};
use super::reader::{Reader, get};
use crate::fault::{Fault, Result};
use crate::limit;

/// The file's name.
pub const FILE: &str = "constraints.yaml";
/// What may stand in it.
const KEYS: [&str; 4] = ["cores", "disk", "memory", "time"];

/// What a build asks of its builder, whatever was measured. `None`: nothing is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Constraints {
    /// So much memory at least.
    pub memory_mib: Option<u32>,
    /// So much free disk at least.
    pub disk_mib: Option<u32>,
    /// The whole build may take so long, in seconds, and no longer.
    pub time_s: Option<u64>,
    /// So many cores at least: several slots of a builder when one has fewer.
    pub cores: Option<u32>,
}

impl Constraints {
    /// Reads the text of the file; `file` is only for faults. The second value is oddities worth telling the author.
    ///
    /// # Errors
    ///
    /// `Kind::Recipe` with a place: not YAML, not a map, an amount that is none or beyond what there is.
    pub fn parse(text: &str, file: &str) -> Result<(Constraints, Vec<Fault>)> {
        let says_nothing =
            |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        if text.lines().all(says_nothing) {
            return Ok((Constraints::default(), Vec::new()));
        }
        let root = node::read(text, file)?;
        let mut reader = Reader {
            file,
            warnings: Vec::new(),
            macros: Macros::default(),
        };
        let top = reader.map(&root, FILE)?;
        reader.check_keys(top, &KEYS)?;
        let amount = |key: &str| get(top, key).map(|node| reader.mib(node, key)).transpose();
        let constraints = Constraints {
            memory_mib: amount("memory")?,
            disk_mib: amount("disk")?,
            time_s: get(top, "time")
                .map(|node| reader.seconds(node))
                .transpose()?,
            cores: get(top, "cores")
                .map(|node| reader.cores(node))
                .transpose()?,
        };
        Ok((constraints, reader.warnings))
    }
}

impl Reader<'_> {
    fn mib(&self, node: &Node<'_>, key: &str) -> Result<u32> {
        let text = self.text(node, key)?;
        size_mib(&text).ok_or_else(|| {
            self.fault(node, format!("{key}: {text:?} is no size"))
                .next("write a whole number with a unit: 512MiB, 8GiB or 1TiB")
        })
    }

    fn cores(&self, node: &Node<'_>) -> Result<u32> {
        let text = self.text(node, "cores")?;
        match text.trim().parse::<u32>() {
            Ok(cores @ 1..=limit::CORES_MAX) => Ok(cores),
            _ => Err(self
                .fault(node, format!("cores: {text:?} is no number of cores"))
                .next(format!("write a whole number, 1 to {}", limit::CORES_MAX))),
        }
    }

    fn seconds(&self, node: &Node<'_>) -> Result<u64> {
        let text = self.text(node, "time")?;
        let span = crate::id::parse_span(&text).map_err(|why| {
            self.fault(node, format!("time: {why}"))
                .next("write 90m or 6h")
        })?;
        match span.as_secs() {
            seconds @ 1..=limit::ATTEMPT_S_MAX => Ok(seconds),
            _ => {
                let most = limit::ATTEMPT_S_MAX / 3_600;
                Err(self
                    .fault(
                        node,
                        format!("time: {text} is outside of what a build may take"),
                    )
                    .next(format!("write 1s to {most}h")))
            }
        }
    }
}

/// Mebibytes of a size with its unit; `None`: it is none, or more than there is.
fn size_mib(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "MiB" | "M" => 1,
        "GiB" | "G" => 1 << 10,
        "TiB" | "T" => 1 << 20,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_recipe_asks_for_is_read() {
        let of = |text: &str| Constraints::parse(text, "l/llvm/constraints.yaml");
        let (asked, warnings) = of("memory: 12GiB\ndisk : 40 G\ntime: 6h\ncores: 8\n").unwrap();
        assert_eq!(
            asked,
            Constraints {
                memory_mib: Some(12 << 10),
                disk_mib: Some(40 << 10),
                time_s: Some(6 * 3_600),
                cores: Some(8),
            }
        );
        assert!(warnings.is_empty());
        assert_eq!(of("# nothing yet\n\n").unwrap().0, Constraints::default());
        let (_, warnings) = of("memory: 1G\nmemroy: 2G\n").unwrap();
        assert!(warnings[0].to_string().contains("memory"), "{warnings:?}");
    }

    #[test]
    fn what_is_no_amount_is_refused_with_its_place() {
        for (text, what) in [
            ("memory: lots\n", "memory: \"lots\" is no size"),
            ("memory: 12\n", "is no size"),
            ("disk: -1G\n", "is no size"),
            ("disk: 99999999TiB\n", "is no size"),
            ("time: soon\n", "is no time span"),
            ("time: 0s\n", "outside of what a build may take"),
            ("time: 100d\n", "outside of what a build may take"),
            ("cores: 0\n", "is no number of cores"),
            ("cores: 2.5\n", "is no number of cores"),
            ("cores: all\n", "is no number of cores"),
            ("cores: 99999\n", "is no number of cores"),
            ("- memory\n", "constraints.yaml"),
            ("memory: [1G]\n", "memory"),
        ] {
            let fault = Constraints::parse(text, "l/llvm/constraints.yaml").unwrap_err();
            assert!(fault.what.contains(what), "{text:?}: {fault}");
            assert_eq!(fault.kind, crate::fault::Kind::Recipe);
            assert!(
                fault.to_string().contains("l/llvm/constraints.yaml:"),
                "{fault}"
            );
        }
    }
}
