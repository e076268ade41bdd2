//! What the host that decides wants of the one that publishes, because somebody asked it to.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::id::{AttemptId, ChannelName, RecipeName, VersionId};
use crate::model::{Artefact, BlobRef, Who};

/// One deed or question. Append only: postcard writes the variant's position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Errand {
    /// These files become one version of the channel. They are fetched from whoever asks, over the same link.
    Import {
        /// The channel.
        channel: ChannelName,
        /// Package files: what they are called there, for people, and their bytes.
        files: Vec<(String, BlobRef)>,
        /// Who wants it.
        by: Who,
    },
    /// A new version with the content of an older one.
    RollBack {
        /// The channel.
        channel: ChannelName,
        /// Whose content.
        to: VersionId,
        /// Who wants it.
        by: Who,
    },
    /// Read every served file of the channel again and compare.
    Verify {
        /// The channel.
        channel: ChannelName,
    },
    /// What did this attempt make, as far as you have it?
    Artefacts {
        /// The attempt.
        attempt: AttemptId,
    },
}

/// What came of it. Append only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// Of an import or a rollback.
    Changed {
        /// The version that holds it now; the one before when nothing had to change.
        version: VersionId,
        /// Packages that came, changed or went.
        changed: u32,
        /// Sources whose packages went back or away.
        sources: Vec<RecipeName>,
    },
    /// Of `Verify`.
    Verified {
        /// Versions whose files were read.
        versions: u32,
        /// Package files whose hash was computed.
        packages: u32,
        /// Their bytes.
        bytes: u64,
        /// One line for each thing that is wrong.
        problems: Vec<String>,
    },
    /// Of `Artefacts`.
    Artefacts(Vec<Artefact>),
    /// Nothing.
    Failed(Fault),
}
