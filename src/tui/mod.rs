//! The dashboard: a client of the admin interface like any other. A pure core (`app` and what it names: state, input and
//! news go in, effects and a buffer of cells come out) with a thin shell around it: `link` asks the host, `shell` owns the
//! terminal, `once` prints.

pub mod app;
pub mod ask;
pub mod command;
pub mod data;
pub mod doc;
pub mod draw;
mod here;
pub mod keys;
pub mod link;
pub mod list;
pub mod log;
pub mod once;
pub mod page;
pub mod past;
pub mod pen;
mod press;
pub mod run;
pub mod shell;
pub mod svg;
pub mod table;
pub mod terminal;
pub mod theme;
pub mod views;
