//! A program that carries a whole farm inside: it watches one repository, says what it publishes, and stops when all of it
//! is there.
//!
//!     cargo run --release --example all_in_one -- STATE_DIRECTORY REPOSITORY

use std::path::PathBuf;
use std::time::Duration;

use massif::admin::host::Watch;
use massif::admin::summit::{JobList, ProjectAdd};
use massif::admin::view::JobState;
use massif::config::{Config, Front, HostOptions};
use massif::fault::{Fault, Kind, Result};
use massif::host::Host;
use massif::net::admin::Client;

fn main() -> std::process::ExitCode {
    // The farm runs its sandboxes and its git fetches through hidden verbs of the program that carries it.
    match std::env::args().nth(1).as_deref() {
        Some("__sandbox") => return massif::build::sandbox_init::main(),
        Some("__fetch") => return massif::actors::summit::fetch::run(),
        _ => {}
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    match runtime.block_on(farm()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            std::process::ExitCode::from(fault.exit_code())
        }
    }
}

async fn farm() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err(Fault::new(
            Kind::Usage,
            "all_in_one STATE_DIRECTORY REPOSITORY",
        ));
    };
    let dir = PathBuf::from(dir);
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config {
        listen: any,
        http: any,
        poll_s: 1,
        ..Config::default()
    };
    let options = HostOptions {
        socket: dir.join("admin.sock"),
        dir,
        config,
        front: Front::Headless,
    };
    let host = Host::start(&options).await?;
    println!("{}", host.ready_line());

    // The same interface that the command line and the dashboard use.
    let mut client = Client::connect(&host.socket).await?;
    let name = "example".parse().expect("a plain word is a name");
    client
        .call(&ProjectAdd {
            name,
            url,
            branch: None,
            build_all: Some(true),
        })
        .await?;
    let mut events = Client::connect(&host.socket)
        .await?
        .stream(&Watch {
            since: Some(massif::id::Seq(0)),
            limit: None,
        })
        .await?;
    while let Some(page) = events.next().await? {
        for event in &page.events {
            println!("{} {}", event.seq, event.text);
        }
        let everything = JobList {
            states: Vec::new(),
            recipe: None,
            project: None,
            after: None,
            limit: None,
        };
        let answer = client.call(&everything).await?;
        let jobs = answer.jobs;
        if let Some(failed) = jobs.iter().find(|job| job.state == JobState::Failed) {
            return Err(Fault::new(
                Kind::Recipe,
                format!("{} failed", failed.recipe),
            ));
        }
        // What has happened up to this answer is printed first.
        if page.seq >= answer.seq && !jobs.is_empty() && jobs.iter().all(|job| job.state.is_final())
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    host.stop().await;
    Ok(())
}
