//! The envelopes of Varlink: a request, a response, and errors that carry a `Fault` both ways without loss.

use serde::{Deserialize, Serialize};

use super::view::{FaultKind, FaultView, PlaceView};
use super::{BadCall, Reply, avalanche, host, summit, vessel};
use crate::fault::{Fault, Kind};

/// A request as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Full name of the method.
    pub method: String,
    /// Its parameters; null stands for none.
    #[serde(default)]
    pub parameters: serde_json::Value,
    /// Many answers are welcome.
    #[serde(default, skip_serializing_if = "is_not")]
    pub more: bool,
    /// No answer is wanted.
    #[serde(default, skip_serializing_if = "is_not")]
    pub oneway: bool,
}

fn is_not(flag: &bool) -> bool {
    !flag
}

/// A response as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Response {
    /// The answer, or the error's facts.
    #[serde(default)]
    pub parameters: serde_json::Value,
    /// More responses follow.
    #[serde(default)]
    pub continues: bool,
    /// Full name of the error, when it is one.
    #[serde(default)]
    pub error: Option<String>,
}

/// An error as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorReply {
    /// Full name of the error.
    pub error: String,
    /// Its facts.
    pub parameters: serde_json::Value,
}

/// The facts of every error of ours: one error per kind, named after it, in each interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, zlink::introspect::Type)]
pub(super) struct ErrorFacts {
    /// What happened.
    what: String,
    /// What caused it, outermost first.
    causes: Vec<String>,
    /// The next step; empty when none is known.
    next: String,
    /// Where in a file.
    place: Option<PlaceView>,
}

/// Names of the errors, in the order of `FaultKind`.
pub(super) const ERRORS: [(FaultKind, &str); 12] = [
    (FaultKind::Usage, "Usage"),
    (FaultKind::Operator, "Operator"),
    (FaultKind::Recipe, "Recipe"),
    (FaultKind::Builder, "Builder"),
    (FaultKind::Network, "Network"),
    (FaultKind::Upstream, "Upstream"),
    (FaultKind::Unreachable, "Unreachable"),
    (FaultKind::NotPermitted, "NotPermitted"),
    (FaultKind::Conflict, "Conflict"),
    (FaultKind::NotFound, "NotFound"),
    (FaultKind::TryAgain, "TryAgain"),
    (FaultKind::Bug, "Bug"),
];

/// The interface that every Varlink service has.
pub(super) const SERVICE: &str = "org.varlink.service";

impl Reply {
    /// The response on the wire, without the NUL at its end.
    pub fn to_wire(&self, continues: bool) -> String {
        let json = self.as_json();
        if continues {
            format!("{{\"parameters\":{json},\"continues\":true}}")
        } else {
            format!("{{\"parameters\":{json}}}")
        }
    }
}

impl ErrorReply {
    /// The error of this interface that says what the fault says.
    pub fn of(interface: &str, fault: &Fault) -> ErrorReply {
        let view = FaultView::from(fault);
        let interface = match interface {
            host::INTERFACE | summit::INTERFACE | avalanche::INTERFACE | vessel::INTERFACE => {
                interface
            }
            _ => host::INTERFACE,
        };
        let name = ERRORS
            .iter()
            .find(|(kind, _)| *kind == view.kind)
            .map_or("Bug", |(_, name)| name);
        ErrorReply {
            error: format!("{interface}.{name}"),
            parameters: serde_json::json!({
                "what": view.what, "causes": view.causes, "next": view.next, "place": view.place,
            }),
        }
    }

    /// Varlink's own error for a request that is none of ours.
    pub fn bad_call(bad: &BadCall) -> ErrorReply {
        let (name, parameters) = match bad {
            BadCall::NoInterface(interface) => (
                "InterfaceNotFound",
                serde_json::json!({ "interface": interface }),
            ),
            BadCall::NoMethod(method) => {
                ("MethodNotFound", serde_json::json!({ "method": method }))
            }
            BadCall::BadParameters(parameter) => (
                "InvalidParameter",
                serde_json::json!({ "parameter": parameter }),
            ),
        };
        ErrorReply {
            error: format!("{SERVICE}.{name}"),
            parameters,
        }
    }

    /// Varlink's own error for a method that streams, called without `more`.
    pub fn expected_more() -> ErrorReply {
        ErrorReply {
            error: format!("{SERVICE}.ExpectedMore"),
            parameters: serde_json::json!({}),
        }
    }
}

/// What an error response means.
pub fn fault_from_error(error: &str, parameters: serde_json::Value) -> Fault {
    let name = error.rsplit('.').next().unwrap_or_default();
    if let Some(name) = error.strip_prefix("org.varlink.service.") {
        return fault_from_service_error(name, &parameters);
    }
    let kind = ERRORS
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(kind, _)| *kind);
    match (kind, serde_json::from_value::<ErrorFacts>(parameters)) {
        (Some(kind), Ok(facts)) => FaultView {
            kind,
            what: facts.what,
            causes: facts.causes,
            next: facts.next,
            place: facts.place,
        }
        .into(),
        _ => Fault::new(
            Kind::Bug,
            format!("the host answered with an unknown error, {error}"),
        )
        .next("use a massif of the same version as the host's"),
    }
}

fn fault_from_service_error(name: &str, parameters: &serde_json::Value) -> Fault {
    let text = |key: &str| {
        parameters
            .get(key)
            .and_then(|value| value.as_str())
            .unwrap_or("?")
            .to_owned()
    };
    match name {
        "InterfaceNotFound" => {
            Fault::new(Kind::Usage, format!("no interface {}", text("interface")))
                .next("see `massif call` for all methods")
        }
        "MethodNotFound" | "MethodNotImplemented" => {
            Fault::new(Kind::Usage, format!("no method {}", text("method")))
                .next("see `massif call` for all methods")
        }
        "InvalidParameter" => Fault::new(
            Kind::Usage,
            format!("bad parameters: {}", text("parameter")),
        ),
        "PermissionDenied" => Fault::new(Kind::NotPermitted, "the host refuses this"),
        "ExpectedMore" => Fault::new(Kind::Usage, "this method only answers with `more`"),
        _ => Fault::new(
            Kind::Bug,
            format!("the host answered with an unknown error, {name}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_every_kind_survives_the_wire() {
        for (kind, _) in ERRORS {
            let mut fault =
                Fault::new(kind.into(), "bad thing")
                    .next("mend it")
                    .at("a/stone.yaml", 3, 9);
            fault.causes = vec!["one".into(), "two".into()];
            let reply = ErrorReply::of(summit::INTERFACE, &fault);
            assert_eq!(fault_from_error(&reply.error, reply.parameters), fault);
        }
    }

    #[test]
    fn unknown_errors_are_faults_and_no_panic() {
        for error in [
            "",
            "x",
            "io.massif.Summit.Bug",
            "org.varlink.service.X",
            "org.varlink.service.MethodNotFound",
        ] {
            assert!(
                !fault_from_error(error, serde_json::Value::Null)
                    .what
                    .is_empty()
            );
        }
    }
}
