//! The admin interface as values: what may be asked of a host, what it answers, and the errors, in Varlink's shape.
//! Four interfaces, one per actor, each a module here; the rows in the answers are in `view`. Neither sockets nor actors:
//! `net::admin` carries these, the actors answer them, `cli` and `tui` ask.
//!
//! A method is one line in a `methods!` table: its right, its parameters, its answer. From that line come the typed
//! request and reply, the `Call` enum that an actor matches on, and the description that every Varlink client can read.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::{Fault, Kind, Result};
use crate::id::HostId;
use crate::model::Who;

pub mod avalanche;
pub mod host;
pub mod idl;
mod idl_types;
pub mod summit;
pub mod vessel;
pub mod view;
mod wire;

pub use wire::{ErrorReply, Request, Response, fault_from_error};

/// Version of the JSON that this program prints and answers: fields are added to it, never renamed. Printed by
/// `status` and by `--version --json`.
pub const SCHEMA: u32 = 1;

/// What a caller may do. Each right includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Look.
    View,
    /// Change what the farm does: build, hold, retry.
    Operate,
    /// Change what the farm is: projects, profiles, the store, who belongs to it.
    Admin,
}

impl Right {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Right::View => "view",
            Right::Operate => "operate",
            Right::Admin => "admin",
        }
    }
}

/// Who asks, as the kernel told us, or as a key proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id; 0 when unknown.
    pub pid: i32,
    /// What that user may do here.
    pub right: Right,
    /// For the event log: `root`, `ann`, or `uid 1000` when the id has no name.
    pub name: String,
    /// An operator at another host, by key; then the ids above mean nothing.
    pub key: Option<HostId>,
}

impl Caller {
    /// The caller as the cause of an event.
    pub fn who(&self) -> Who {
        match self.key {
            Some(key) => Who::Key(key),
            None => Who::Uid(self.uid),
        }
    }

    /// A refusal that names the right that is missing, when it is.
    pub fn must(&self, need: Right, method: &str) -> Result<()> {
        if self.right >= need {
            return Ok(());
        }
        let what = format!(
            "{} may {} here, and {method} needs the right to {}",
            self.name,
            self.right.as_str(),
            need.as_str()
        );
        Err(Fault::new(Kind::NotPermitted, what).next(match need {
            Right::View | Right::Operate => {
                "ask to be added to the group `massif`, or run it as root or as the farm's owner"
            }
            Right::Admin => "run it as root or as the user that runs the farm",
        }))
    }
}

/// One method of an interface: its request type implements this.
pub trait Method: Serialize + DeserializeOwned {
    /// Full name, for example `io.massif.Summit.JobList`.
    const NAME: &'static str;
    /// What the caller must be allowed to do.
    const RIGHT: Right;
    /// Whether it may be called with `more`, and then answers many times.
    const STREAMS: bool;
    /// Whether an answer may take minutes: it reads every file of something.
    const SLOW: bool;
    /// What it answers.
    type Reply: Serialize + DeserializeOwned;

    /// The answer, ready to be sent. Taking the request's type, it cannot be another method's answer.
    fn reply(&self, reply: &Self::Reply) -> Result<Reply> {
        Reply::of::<Self>(reply)
    }
}

/// An answer in its final form: the JSON object of a reply's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(String);

impl Reply {
    /// The answer of this method.
    ///
    /// # Errors
    ///
    /// A value that JSON cannot hold, which is a bug of ours.
    pub fn of<M: Method>(reply: &M::Reply) -> Result<Reply> {
        match serde_json::to_string(reply) {
            Ok(text) => Ok(Reply(text)),
            Err(error) => {
                Err(Fault::bug(format!("cannot write the answer of {}", M::NAME)).because(&error))
            }
        }
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// A call of any of the four interfaces: its actor answers it.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// `io.massif.Host`
    Host(host::Call),
    /// `io.massif.Summit`
    Summit(summit::Call),
    /// `io.massif.Avalanche`
    Avalanche(avalanche::Call),
    /// `io.massif.Vessel`
    Vessel(vessel::Call),
}

/// Why a request is not a call of ours, in Varlink's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadCall {
    /// No interface of that name here.
    NoInterface(String),
    /// The interface has no such method.
    NoMethod(String),
    /// A parameter is missing, unknown or of another type; the text says which and why.
    BadParameters(String),
}

impl Call {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// See [`BadCall`].
    pub fn parse(
        method: &str,
        parameters: serde_json::Value,
    ) -> std::result::Result<Call, BadCall> {
        let Some((interface, name)) = method.rsplit_once('.') else {
            return Err(BadCall::NoMethod(method.to_owned()));
        };
        match interface {
            host::INTERFACE => host::Call::parse(name, parameters).map(Call::Host),
            summit::INTERFACE => summit::Call::parse(name, parameters).map(Call::Summit),
            avalanche::INTERFACE => avalanche::Call::parse(name, parameters).map(Call::Avalanche),
            vessel::INTERFACE => vessel::Call::parse(name, parameters).map(Call::Vessel),
            _ => Err(BadCall::NoInterface(interface.to_owned())),
        }
    }

    /// Name, right and description of the method.
    pub fn facts(&self) -> &'static Facts {
        match self {
            Call::Host(call) => call.facts(),
            Call::Summit(call) => call.facts(),
            Call::Avalanche(call) => call.facts(),
            Call::Vessel(call) => call.facts(),
        }
    }
}

/// What is known of a method without calling it.
#[derive(Debug)]
pub struct Facts {
    /// Full name.
    pub name: &'static str,
    /// Name within its interface.
    pub short: &'static str,
    /// What the caller must be allowed to do.
    pub right: Right,
    /// Whether it may be called with `more`.
    pub streams: bool,
    /// Whether an answer may take minutes.
    pub slow: bool,
    /// Its description, line by line.
    pub about: &'static [&'static str],
    /// Type of its parameters: an object.
    pub input: &'static zlink::idl::Type<'static>,
    /// Type of its answer: an object.
    pub output: &'static zlink::idl::Type<'static>,
}

/// All methods of all interfaces.
pub fn all_methods() -> impl Iterator<Item = &'static Facts> {
    [
        host::METHODS,
        summit::METHODS,
        avalanche::METHODS,
        vessel::METHODS,
    ]
    .into_iter()
    .flatten()
}

fn read_parameters<M: Method>(parameters: serde_json::Value) -> std::result::Result<M, BadCall> {
    let parameters = match parameters {
        serde_json::Value::Null => serde_json::Value::Object(serde_json::Map::new()),
        other => other,
    };
    serde_json::from_value(parameters).map_err(|error| BadCall::BadParameters(error.to_string()))
}

/// An interface: `Name: Right { parameters } -> Reply`, `more` after the right when it streams, `slow` when it may
/// take minutes.
macro_rules! methods {
    (
        $(#[$about:meta])* interface $interface:literal
        $(
            $(#[doc = $doc:literal])+
            $name:ident: $right:ident $($flag:ident)? { $( $(#[$field_meta:meta])* $field:ident: $type:ty, )* } -> $reply:ty;
        )*
    ) => {
        /// Name of the interface.
        pub const INTERFACE: &str = $interface;
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, zlink::introspect::Type)]
            #[serde(deny_unknown_fields)]
            pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }

            impl $crate::admin::Method for $name {
                const NAME: &'static str = concat!($interface, ".", stringify!($name));
                const RIGHT: $crate::admin::Right = $crate::admin::Right::$right;
                const STREAMS: bool = methods!(@streams $($flag)?);
                const SLOW: bool = methods!(@slow $($flag)?);
                type Reply = $reply;
            }
        )*

        /// A call of this interface.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Call { $( $(#[doc = $doc])+ $name($name), )* }

        impl Call {
            /// Reads the method of this name.
            pub(super) fn parse(name: &str, parameters: serde_json::Value) -> Result<Call, $crate::admin::BadCall> {
                match name {
                    $( stringify!($name) => $crate::admin::read_parameters(parameters).map(Call::$name), )*
                    _ => Err($crate::admin::BadCall::NoMethod(format!("{INTERFACE}.{name}"))),
                }
            }

            /// Name, right and description of the method.
            pub fn facts(&self) -> &'static $crate::admin::Facts {
                match self {
                    $( Call::$name(_) => {
                        static FACTS: $crate::admin::Facts = facts!($name, $($doc),+);
                        &FACTS
                    } )*
                }
            }
        }

        /// All methods, in the order of their description.
        pub const METHODS: &[$crate::admin::Facts] = &[ $( facts!($name, $($doc),+) ),* ];
    };
    (@streams more) => { true };
    (@streams $($other:ident)?) => { false };
    (@slow slow) => { true };
    (@slow $($other:ident)?) => { false };
}

macro_rules! facts {
    ($name:ident, $($doc:literal),+) => {
        $crate::admin::Facts {
            name: <$name as $crate::admin::Method>::NAME,
            short: stringify!($name),
            right: <$name as $crate::admin::Method>::RIGHT,
            streams: <$name as $crate::admin::Method>::STREAMS,
            slow: <$name as $crate::admin::Method>::SLOW,
            about: &[$($doc),+],
            input: <$name as zlink::introspect::Type>::TYPE,
            output: <<$name as $crate::admin::Method>::Reply as zlink::introspect::Type>::TYPE,
        }
    };
}

/// Types that appear in answers by name, with what serde and the interface description need.
macro_rules! views {
    ($( $(#[$meta:meta])* pub $kind:ident $name:ident { $($body:tt)* } )*) => {
        $(
            #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, zlink::introspect::CustomType)]
            $(#[$meta])*
            pub $kind $name { $($body)* }
        )*
        /// Every type of this file, for the interface descriptions.
        pub(in crate::admin) const TYPES: &[&zlink::idl::CustomType<'static>] =
            &[ $( <$name as zlink::introspect::CustomType>::CUSTOM_TYPE ),* ];
    };
}

/// Whole answers: their fields are the reply's parameters.
macro_rules! replies {
    ($( $(#[$meta:meta])* pub struct $name:ident { $($body:tt)* } )*) => {
        $(
            #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, zlink::introspect::Type)]
            $(#[$meta])*
            pub struct $name { $($body)* }
        )*
    };
}

pub(in crate::admin) use {facts, methods, replies, views};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_strictly_and_without_needless_parameters() {
        let call = Call::parse(
            "io.massif.Summit.JobList",
            serde_json::json!({"states": ["failed"]}),
        );
        let Ok(Call::Summit(summit::Call::JobList(ask))) = call else {
            panic!("{call:?}")
        };
        assert_eq!(ask.states, [view::JobState::Failed]);
        assert!(Call::parse("io.massif.Host.Status", serde_json::Value::Null).is_ok());
        for (method, parameters) in [
            ("io.massif.Summit.JobList", serde_json::json!({"state": []})),
            ("io.massif.Summit.JobShow", serde_json::json!({})),
            ("io.massif.Summit.JobShow", serde_json::json!([])),
            ("io.massif.Summit.JobShow", serde_json::json!({"job": 7})),
        ] {
            let bad = Call::parse(method, parameters);
            assert!(matches!(bad, Err(BadCall::BadParameters(_))), "{bad:?}");
        }
        assert_eq!(
            Call::parse("io.massif.Summit.Nix", serde_json::Value::Null),
            Err(BadCall::NoMethod("io.massif.Summit.Nix".into()))
        );
        assert_eq!(
            Call::parse("nix.Nix", serde_json::Value::Null),
            Err(BadCall::NoInterface("nix".into()))
        );
        assert_eq!(
            Call::parse("", serde_json::Value::Null),
            Err(BadCall::NoMethod(String::new()))
        );
    }

    #[test]
    fn looking_needs_no_right_and_changing_does() {
        for facts in all_methods() {
            let looks = [
                "List",
                "Show",
                "History",
                "Log",
                "Artefacts",
                "Read",
                "Versions",
                "Verify",
                "Status",
                "Doctor",
                "Watch",
                "Audit",
                "Why",
                "Plan",
                "Search",
                "Levels",
            ];
            let reads = looks.iter().any(|end| facts.short.ends_with(end));
            assert_eq!(facts.right == Right::View, reads, "{}", facts.name);
            assert!(!facts.about.is_empty());
        }
        let caller = Caller {
            key: None,
            uid: 7,
            gid: 7,
            pid: 1,
            right: Right::View,
            name: "ann".into(),
        };
        assert_eq!(
            caller
                .must(Right::Operate, "Build")
                .unwrap_err()
                .exit_code(),
            4
        );
        assert!(caller.must(Right::View, "JobList").is_ok());
    }
}
