//! `massif demo`: a whole farm in a new directory builds the example recipes, and says how a client installs the result.

use crate::config::HostOptions;
use crate::fault::{Fault, Result};

/// Runs a host with the example recipes; returns when everything is published.
pub fn demo(_options: HostOptions) -> Result<()> {
    Err(Fault::bug("the demo comes with its recipes"))
}
