//! `try`: packs a recipe's directory as it lies there, looks it over, has it built, and brings back what came out.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use sha2::Digest as _;

use super::Verdict;
use super::args;
use super::ask::Host;
use super::files::{copy, print_log};
use super::out::{Out, Style};
use super::text::whole_span;
use super::wait::{Progress, WORK_LOOK};
use crate::admin::summit;
use crate::admin::summit::{Tried, TryPage};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Digest, JobId};
use crate::limit;
use crate::recipe::Recipe;

/// Bytes of one piece of an upload: its base64 fits a request.
const PIECE_BYTES: usize = 512 * 1024;
/// A host that says `try again` is asked for this long.
const PATIENCE: Duration = Duration::from_secs(60);

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Kind::Usage, format!("cannot {what} {}", path.display())).because(error)
}

/// Every file below a directory, relative and sorted; version control is left out.
fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut rest) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(below) = rest.pop() {
        let at = dir.join(&below);
        for entry in fs::read_dir(&at).map_err(|error| cannot("read", &at, &error))? {
            let entry = entry.map_err(|error| cannot("read", &at, &error))?;
            let path = below.join(entry.file_name());
            let kind = entry
                .file_type()
                .map_err(|error| cannot("look at", &path, &error))?;
            if kind.is_dir() && entry.file_name() != ".git" {
                rest.push(path);
            } else if kind.is_file() || kind.is_symlink() {
                found.push(path);
            }
            if found.len() > limit::RECIPE_FILES_MAX {
                return Err(Fault::new(
                    Kind::Usage,
                    format!(
                        "{} holds more than {} files",
                        dir.display(),
                        limit::RECIPE_FILES_MAX
                    ),
                )
                .next("give the directory of one recipe"));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The directory as it travels to a builder: sorted, modes 644 or 755, times and owners 0, as the farm packs its own.
fn pack(dir: &Path) -> Result<Vec<u8>> {
    use std::os::unix::fs::PermissionsExt;
    let mut tar = tar::Builder::new(Vec::new());
    let mut room = limit::RECIPE_PACK_BYTES_MAX;
    for file in files_below(dir)? {
        let path = dir.join(&file);
        let meta = fs::symlink_metadata(&path).map_err(|error| cannot("look at", &path, &error))?;
        let mut header = tar::Header::new_ustar();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let added = if meta.is_symlink() {
            let target = fs::read_link(&path).map_err(|error| cannot("read", &path, &error))?;
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            tar.append_link(&mut header, &file, target)
        } else {
            room = room.checked_sub(meta.len()).ok_or_else(|| {
                let what = format!("{} is larger than a recipe may be", dir.display());
                Fault::new(Kind::Usage, what).next("large files belong into upstreams")
            })?;
            let bytes = fs::read(&path).map_err(|error| cannot("read", &path, &error))?;
            let runs = meta.permissions().mode() & 0o111 != 0;
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(if runs { 0o755 } else { 0o644 });
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, &file, bytes.as_slice())
        };
        added.map_err(|error| cannot("pack", &path, &error))?;
    }
    tar.into_inner()
        .map_err(|error| cannot("pack", dir, &error))
}

/// Reads the recipe and says what is worth mending; an error is a recipe that cannot be built at all.
fn look_over(dir: &Path, out: &Out) -> Result<()> {
    let file = dir.join("stone.yaml");
    let text = fs::read_to_string(&file).map_err(|error| {
        cannot("read", &file, &error).next("give the directory that holds the recipe's stone.yaml")
    })?;
    let (recipe, warnings) = Recipe::parse(&text, &file.display().to_string())?;
    let found = warnings
        .into_iter()
        .chain(crate::recipe::lint::lint(&recipe));
    for fault in found {
        if !matches!(out.style, Style::Json) {
            eprintln!("massif: worth mending: {fault}");
        }
    }
    Ok(())
}

async fn upload(host: &Host, bytes: &[u8]) -> Result<Digest> {
    let sha256 = Digest(sha2::Sha256::digest(bytes).into());
    let mut client = host.connect().await?;
    let mut offset = 0;
    for piece in bytes.chunks(PIECE_BYTES) {
        let ask = summit::RecipeUpload {
            sha256,
            size: bytes.len() as u64,
            offset,
            base64: base64::engine::general_purpose::STANDARD.encode(piece),
        };
        client.call(&ask).await?;
        offset += piece.len() as u64;
    }
    Ok(sha256)
}

pub(super) async fn try_recipe(host: &Host, wish: &args::Try, out: &Out) -> Result<Verdict> {
    look_over(&wish.recipe, out)?;
    if let Some(to) = &wish.out {
        fs::create_dir_all(to).map_err(|error| cannot("make", to, &error))?;
    }
    let recipe_tar = upload(host, &pack(&wish.recipe)?).await?;
    let ask = summit::Try {
        recipe_tar,
        profile: wish.profile.clone(),
        on: wish.on.clone(),
        channel: wish.channel.clone(),
    };
    let tried = begin(host, &ask).await?;
    let people = matches!(out.style, Style::People);
    let page = follow(host, &tried, people, out).await?;
    let failed = page.fault.is_some();
    let mut made = Vec::new();
    if !failed && wish.channel.is_none() {
        let ask = summit::JobArtefacts {
            job: tried.id.to_string(),
            try_no: Some(1),
        };
        let to = wish.out.clone().unwrap_or_else(|| PathBuf::from("."));
        let artefacts = host.ask(&ask).await?.artefacts;
        let progress = Progress::new(Some(artefacts.len() as u64));
        for (artefact, done) in artefacts.iter().zip(0..) {
            progress.now(&format!("bringing {}", artefact.name), done);
            copy(host, tried.id, artefact, &to).await?;
            made.push(to.join(&artefact.name).display().to_string());
        }
    }
    host.ask(&summit::TryDone { id: tried.id }).await?;
    match out.style {
        Style::Json => out.value(&serde_json::json!({
            "recipe": tried.recipe, "version": tried.version, "state": page.state, "text": page.text,
            "builder": page.builder, "blame": page.blame, "fault": page.fault, "files": made,
        }))?,
        Style::Ids => made.iter().for_each(|file| out.line(file)),
        Style::People => {
            made.iter().for_each(|file| out.line(format!("made {file}")));
            if let Some(text) = page.text.as_ref().filter(|_| page.state == "published") {
                out.line(format!("{} {} is {text}", tried.recipe, tried.version));
            }
        }
    }
    match page.fault {
        None => Ok(Verdict::Done),
        Some(fault) => {
            if people {
                let whose = page.blame.map_or("nobody", |blame| blame.as_str());
                eprintln!(
                    "massif: {} failed, by {whose}: {}",
                    tried.recipe, fault.what
                );
                if !fault.next.is_empty() {
                    eprintln!("next: {}", fault.next);
                }
            }
            Ok(Verdict::Negative)
        }
    }
}

/// Asks for a try; a host that has just started is given time to look around.
async fn begin(host: &Host, ask: &summit::Try) -> Result<summit::Tried> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match host.ask(ask).await {
            Err(fault) if fault.kind == Kind::TryAgain && std::time::Instant::now() < deadline => {
                tokio::time::sleep(WORK_LOOK).await;
            }
            answer => return answer,
        }
    }
}

/// Asks how a try stands. A host that goes away for a moment is waited for: tries outlive it.
struct Asker<'a> {
    host: &'a Host,
    id: JobId,
    client: Option<crate::net::admin::Client>,
}

impl<'a> Asker<'a> {
    fn new(host: &'a Host, id: JobId) -> Asker<'a> {
        Asker {
            host,
            id,
            client: None,
        }
    }

    async fn once(&mut self) -> Result<TryPage> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.host.connect().await?,
        };
        let page = client.call(&summit::TryShow { id: self.id }).await?;
        self.client = Some(client);
        Ok(page)
    }

    async fn show(&mut self) -> Result<TryPage> {
        let patience = std::time::Duration::from_secs(limit::ADMIN_RECONNECT_S);
        let deadline = std::time::Instant::now() + patience;
        loop {
            match self.once().await {
                Err(fault)
                    if matches!(fault.kind, Kind::Unreachable | Kind::TryAgain)
                        && std::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(WORK_LOOK).await;
                }
                answer => return answer,
            }
        }
    }
}

/// What a person sees of a try while it waits and runs.
struct Watched<'a> {
    tried: &'a Tried,
    progress: Progress,
    /// What was said last that stays.
    said: String,
    /// When a pipe heard last how far it is.
    told: Instant,
}

impl Watched<'_> {
    fn sees(&mut self, page: &TryPage) {
        let recipe = &self.tried.recipe;
        let stays = match (page.state.as_str(), &page.text, &page.builder) {
            ("waiting", Some(why), _) => format!("{recipe} waits: {why}"),
            ("building", _, Some(builder)) => format!("{recipe} builds on {builder}"),
            ("publishing", ..) => format!("{recipe} is being published"),
            _ => return,
        };
        if self.said != stays {
            self.progress.begins(&stays);
            self.said = stays;
            self.told = Instant::now();
        }
        self.progress
            .goes_on(&how_far(recipe.as_str(), page), &mut self.told);
    }
}

/// `nano: build on east, 12s of about 40s, 28s left`
fn how_far(recipe: &str, page: &TryPage) -> String {
    let on = |builder: &String| format!(" on {builder}");
    let doing = match page.state.as_str() {
        "building" => page.phase.as_deref().unwrap_or("starting"),
        "waiting" => {
            let why = page.text.as_deref().unwrap_or("for a builder");
            return format!("{recipe} waits: {why}");
        }
        state => state,
    };
    let builder = page.builder.as_ref().map_or_else(String::new, on);
    let far = match (page.took_s, page.expected_s) {
        (Some(took), Some(all)) if took <= all => format!(
            ", {} of about {}, {} left",
            whole_span(took),
            whole_span(all.ceil()),
            whole_span((all - took).ceil())
        ),
        (Some(took), Some(all)) => format!(
            ", {} longer than the {} that were predicted",
            whole_span(took - all),
            whole_span(all.ceil())
        ),
        (Some(took), None) => format!(", for {}; how long it takes is not known", whole_span(took)),
        (None, _) => String::new(),
    };
    format!("{recipe}: {doing}{builder}{far}")
}

/// Waits for the end of a try; its log goes to the terminal meanwhile, above the line that says how far it is.
async fn follow(host: &Host, tried: &Tried, log: bool, out: &Out) -> Result<TryPage> {
    let mut asker = Asker::new(host, tried.id);
    let mut watched = Watched {
        tried,
        progress: Progress::new(None),
        said: String::new(),
        told: Instant::now(),
    };
    let mut printed = false;
    loop {
        let page = asker.show().await?;
        if page.over {
            // A short one may be over before it was seen to run.
            if log && !printed && page.builder.is_some() {
                print_log(host, tried.id, out).await?;
            }
            return Ok(page);
        }
        watched.sees(&page);
        if page.state == "waiting" {
            // Who builds it next begins a log of its own.
            printed = false;
        }
        if log && !printed && page.state == "building" && page.log_bytes > 0 {
            printed = print_and_watch(host, &mut asker, &mut watched, out).await?;
        }
        tokio::time::sleep(WORK_LOOK).await;
    }
}

/// Prints the log to its end; false when the host went away meanwhile. The try lives on, and its log is printed anew.
async fn print_and_watch(
    host: &Host,
    asker: &mut Asker<'_>,
    watched: &mut Watched<'_>,
    out: &Out,
) -> Result<bool> {
    let mut printing = std::pin::pin!(print_log(host, watched.tried.id, out));
    loop {
        tokio::select! {
            done = &mut printing => return match done {
                Err(fault) if fault.kind == Kind::Unreachable => Ok(false),
                done => done.map(|()| true),
            },
            () = tokio::time::sleep(WORK_LOOK) => watched.sees(&asker.show().await?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_says_what_runs_how_much_of_it_is_done_and_what_is_left() {
        let of = |took_s, expected_s| TryPage {
            id: JobId(1),
            state: "building".into(),
            text: None,
            builder: Some("east".into()),
            phase: Some("build".into()),
            took_s,
            expected_s,
            log_bytes: 9,
            blame: None,
            fault: None,
            over: false,
        };
        for (took_s, expected_s, words) in [
            (
                Some(12.4),
                Some(40.0),
                "nano: build on east, 12s of about 40s, 28s left",
            ),
            (
                Some(52.9),
                Some(40.0),
                "nano: build on east, 12s longer than the 40s that were predicted",
            ),
            (
                Some(3.0),
                None,
                "nano: build on east, for 3s; how long it takes is not known",
            ),
            (None, None, "nano: build on east"),
        ] {
            assert_eq!(how_far("nano", &of(took_s, expected_s)), words);
        }
        let waits = TryPage {
            state: "waiting".into(),
            text: Some("all slots of east are busy".into()),
            builder: None,
            ..of(None, Some(40.0))
        };
        assert_eq!(
            how_far("nano", &waits),
            "nano waits: all slots of east are busy"
        );
    }
}
