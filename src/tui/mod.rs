//! The dashboard: a client of the admin interface like any other. A pure core (`app` and what it names: state, input and
//! news go in, effects and a buffer of cells come out) with a thin shell around it: `link` and `asking` talk to the host,
//! `shell` owns the terminal, `once` prints.

mod acting;
mod answers;
pub mod app;
pub mod ask;
pub mod asking;
pub mod command;
pub mod data;
pub mod doc;
pub mod draw;
pub mod filter;
mod here;
pub mod hunt;
pub mod kept;
pub mod keys;
pub mod link;
pub mod list;
pub mod log;
mod offered;
pub mod once;
pub mod page;
pub mod past;
pub mod pen;
mod press;
mod prompt;
pub mod run;
pub mod shell;
pub mod svg;
pub mod table;
pub mod terminal;
pub mod theme;
pub mod views;
