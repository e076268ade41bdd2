//! `io.massif.Avalanche`: this host as a builder; its owner's view, also while summit is out of reach.

use super::summit::{Builder, LogPiece};
use super::{facts, methods};
use crate::id::JobId;

methods! {
    interface "io.massif.Avalanche"

    /// This builder: slots, disks, health.
    Show: View {} -> Builder;

    /// A piece of the log of a try that this builder made. With `more`: as it is written.
    Log: View more {
        /// The job's number.
        job: JobId,
        /// Which try.
        try_no: u32,
        /// From this byte on; a negative one counts from the end.
        offset: Option<i64>,
        /// Bytes in one answer at most.
        bytes_max: Option<u32>,
        /// Answer with the bytes in base64 instead of text.
        base64: Option<bool>,
    } -> LogPiece;
}
