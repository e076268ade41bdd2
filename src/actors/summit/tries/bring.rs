//! What another host made of a try, fetched into this host's directory of the attempt, where its owner reads it. It is a cache:
//! the builder keeps everything until the owner has it.

use std::path::Path;

use super::{Standing, State};
use crate::actors::avalanche::builder;
use crate::actors::desk::blocking;
use crate::actors::links::Links;
use crate::actors::summit::state::Done;
use crate::actors::{post, summit};
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, HostId, JobId};
use crate::limit;
use crate::model::{Artefact, Blame};
use crate::store::Blobs;

impl State {
    /// Fetches what another host made of a try; `Msg::TryCame` says how that went.
    pub(super) fn bring_back(
        &mut self,
        from: HostId,
        attempt: AttemptId,
        artefacts: Vec<Artefact>,
    ) {
        let (Some(trial), Some(links)) = (
            self.trials.0.get_mut(&attempt.job),
            self.args.post.links.clone(),
        ) else {
            return;
        };
        let here = matches!(trial.standing, Standing::Built) && !trial.made.is_empty();
        if here || std::mem::replace(&mut trial.coming, true) {
            return;
        }
        trial.phase = Some("coming back".into());
        let dir = self.args.dir.clone();
        tokio::spawn(async move {
            let came = bring(&links, &dir, (from, attempt), artefacts).await;
            // A summit that was restarted meanwhile is told by the builder again.
            if let Some(summit) = post::find::<summit::Msg>(post::names::SUMMIT) {
                summit
                    .cast(summit::Msg::TryCame(from, attempt, Box::new(came)))
                    .ok();
            }
        });
    }

    /// What another host made of a try is here, or could not be fetched.
    pub async fn trial_came(
        &mut self,
        from: HostId,
        attempt: AttemptId,
        came: Result<Vec<Artefact>>,
    ) -> Done<()> {
        let Some(trial) = self.trials.0.get_mut(&attempt.job) else {
            builder::discard(&self.args.dir, attempt);
            return Ok(());
        };
        trial.coming = false;
        if trial.builder != Some(from) || trial.is_over() {
            return Ok(());
        }
        match came {
            Ok(made) => {
                trial.made = made;
                trial.stand(Standing::Built);
            }
            Err(fault) => trial.failed(Blame::Network, fault),
        }
        self.keep_trial(attempt.job).await
    }

    /// What another host made of a try, as far as it is here.
    pub fn trial_made(&self, id: JobId) -> Vec<Artefact> {
        let trial = self.trials.0.get(&id);
        trial.map(|trial| trial.made.clone()).unwrap_or_default()
    }
}

/// All files of an attempt of that host, or none of them.
async fn bring(
    links: &Links,
    dir: &Path,
    (from, attempt): (HostId, AttemptId),
    artefacts: Vec<Artefact>,
) -> Result<Vec<Artefact>> {
    for artefact in &artefacts {
        let name = &artefact.name;
        let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        if !plain || artefact.blob.size > limit::STONE_FILE_BYTES_MAX {
            let what = format!("a builder says that it made a file {name:?} of a try");
            return Err(Fault::new(Kind::Builder, what).next("look at that builder"));
        }
    }
    let out = builder::out_dir(dir, attempt);
    let coming = builder::attempt_dir(dir, attempt).join("coming");
    let (made_out, made_coming) = (out.clone(), coming.clone());
    let failed = |path: &Path, error: &std::io::Error| {
        Fault::new(Kind::Operator, format!("cannot keep {}", path.display()))
            .because(error)
            .next("look at the disk of the state directory")
    };
    let blobs = blocking(move || {
        std::fs::create_dir_all(&made_out).map_err(|error| failed(&made_out, &error))?;
        std::fs::create_dir_all(&made_coming).map_err(|error| failed(&made_coming, &error))?;
        Blobs::open(&made_coming)
    })
    .await?;
    for artefact in &artefacts {
        links
            .fetch_blob(from, Some(attempt), artefact.blob, &blobs)
            .await?;
    }
    blocking(move || {
        for artefact in &artefacts {
            // Two files of the same bytes are one there.
            let (here, to) = (blobs.path(&artefact.blob.sha256), out.join(&artefact.name));
            std::fs::copy(&here, &to).map_err(|error| failed(&to, &error))?;
        }
        std::fs::remove_dir_all(&coming).map_err(|error| failed(&coming, &error))?;
        Ok(artefacts)
    })
    .await
}
