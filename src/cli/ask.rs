//! Finding the host, asking it, and turning pages.

use std::path::PathBuf;

use super::args::Global;
use crate::admin::Method;
use crate::admin::{summit, vessel};
use crate::fault::Result;
use crate::limit;
use crate::net::admin::{Client, Places, remote, socket_path, state_dir};

/// Where the host that we ask can be reached.
#[derive(Debug)]
pub(super) struct Host {
    socket: PathBuf,
    /// Another machine's, by its name in the directory of known hosts.
    afar: Option<(PathBuf, String)>,
}

impl Host {
    /// The host of these options and this environment.
    pub(super) fn find(global: &Global) -> Result<Host> {
        let places = Places::of_this_process();
        let afar = match &global.host {
            Some(name) => Some((state_dir(global.dir.as_deref(), &places)?, name.clone())),
            None => None,
        };
        let mut socket = socket_path(global.dir.as_deref(), &places)?;
        // Somebody who runs no farm of their own means the machine's.
        let system = PathBuf::from("/run/massif/admin.sock");
        if global.dir.is_none() && !socket.exists() && system.exists() {
            socket = system;
        }
        Ok(Host { socket, afar })
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Client> {
        match &self.afar {
            Some((dir, name)) => remote::connect(dir, name).await,
            None => Client::connect(&self.socket).await,
        }
    }

    /// One question on a connection of its own.
    pub(super) async fn ask<M: Method>(&self, ask: &M) -> Result<M::Reply> {
        self.connect().await?.call(ask).await
    }
}

/// A listing that comes in pages.
pub(super) trait Pages: Method + Clone {
    /// One row.
    type Row;
    /// Asks for the page after this.
    fn turn(&mut self, after: Option<String>, limit: u32);
    /// What a page holds, and where the next one begins.
    fn open(page: Self::Reply) -> (Vec<Self::Row>, Option<String>);
}

macro_rules! pages {
    ($($ask:ty, $row:ty, $rows:ident;)*) => { $(
        impl Pages for $ask {
            type Row = $row;
            fn turn(&mut self, after: Option<String>, limit: u32) {
                self.after = after;
                self.limit = Some(limit);
            }
            fn open(page: Self::Reply) -> (Vec<Self::Row>, Option<String>) {
                (page.$rows, page.next)
            }
        }
    )* };
}

pages! {
    summit::JobList, crate::admin::view::JobView, jobs;
    summit::RecipeList, crate::admin::view::RecipeView, recipes;
    vessel::ChannelVersions, crate::admin::view::ChannelVersionView, versions;
    vessel::PackageList, crate::admin::view::PackageView, packages;
}

/// All rows of a listing, or the first `rows_max`.
pub(super) async fn all<M: Pages>(
    host: &Host,
    ask: &M,
    rows_max: Option<usize>,
) -> Result<Vec<M::Row>> {
    let mut client = host.connect().await?;
    let mut ask = ask.clone();
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let wanted = rows_max.map_or(usize::MAX, |rows_max| rows_max.saturating_sub(rows.len()));
        let limit = wanted.min(limit::ADMIN_PAGE_ROWS_MAX);
        ask.turn(after, u32::try_from(limit).unwrap_or(u32::MAX));
        let (page, next) = M::open(client.call(&ask).await?);
        rows.extend(page.into_iter().take(wanted));
        match next {
            Some(next) if rows_max.is_none_or(|rows_max| rows.len() < rows_max) => {
                after = Some(next)
            }
            _ => return Ok(rows),
        }
    }
}

/// One JSON object with the fields of both: a row, and what only `show` tells.
pub(super) fn joined<A: serde::Serialize, B: serde::Serialize>(
    row: &A,
    detail: &B,
) -> Result<serde_json::Value> {
    let value =
        |error: serde_json::Error| crate::fault::Fault::bug("cannot write JSON").because(&error);
    let mut row = serde_json::to_value(row).map_err(value)?;
    let detail = serde_json::to_value(detail).map_err(value)?;
    if let (Some(row), serde_json::Value::Object(detail)) = (row.as_object_mut(), detail) {
        for (name, field) in detail {
            // A name that both have is the row's: its shape is what scripts know from the list.
            row.entry(name).or_insert(field);
        }
    }
    Ok(row)
}
