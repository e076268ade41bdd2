//! The interface descriptions that `GetInterfaceDescription` answers with, made from the same tables as the code.

use std::collections::BTreeSet;
use std::fmt::Write;

use zlink::idl::{CustomType, Field, Type};

use super::wire::{ERRORS, ErrorFacts};
use super::{Facts, avalanche, host, summit, vessel, view};

/// All interfaces with their methods and what they are for.
pub const INTERFACES: [(&str, &[Facts], &str); 4] = [
    (
        host::INTERFACE,
        host::METHODS,
        "The host itself, its events and its store.",
    ),
    (
        summit::INTERFACE,
        summit::METHODS,
        "Projects, recipes, profiles, plans, jobs and builders.",
    ),
    (
        avalanche::INTERFACE,
        avalanche::METHODS,
        "This host as a builder.",
    ),
    (
        vessel::INTERFACE,
        vessel::METHODS,
        "Channels, their versions, and packages.",
    ),
];

/// The description of an interface of ours; `None` for any other name.
pub fn describe(interface: &str) -> Option<String> {
    let (name, methods, about) = INTERFACES.iter().find(|(name, _, _)| *name == interface)?;
    let mut out = format!("# {about}\ninterface {name}\n");
    for custom in types_of(methods) {
        write_custom(&mut out, custom);
    }
    for method in *methods {
        write_method(&mut out, method);
    }
    for (_, error) in ERRORS {
        out.push_str("\nerror ");
        out.push_str(error);
        write_fields(&mut out, <ErrorFacts as zlink::introspect::Type>::TYPE);
        out.push('\n');
    }
    Some(out)
}

/// The named types that these methods use, directly or within another, by name.
fn types_of(methods: &[Facts]) -> Vec<&'static CustomType<'static>> {
    let mut wanted: Vec<&Type<'_>> = vec![<ErrorFacts as zlink::introspect::Type>::TYPE];
    for method in methods {
        wanted.extend([method.input, method.output]);
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    while let Some(kind) = wanted.pop() {
        match kind {
            Type::Optional(inner) | Type::Array(inner) | Type::Map(inner) => wanted.push(inner),
            Type::Object(fields) => wanted.extend(fields.iter().map(Field::ty)),
            Type::Custom(name) => {
                if !seen.insert(name.as_str().to_owned()) {
                    continue;
                }
                let Some(custom) = view::types().find(|custom| custom.name() == name.as_str())
                else {
                    continue;
                };
                if let Some(object) = custom.as_object() {
                    wanted.extend(object.fields().map(Field::ty));
                }
                found.push(custom);
            }
            Type::Bool
            | Type::Int
            | Type::Float
            | Type::String
            | Type::ForeignObject
            | Type::Any
            | Type::Enum(_) => {}
        }
    }
    found.sort_by_key(|custom| custom.name().to_string());
    found
}

fn write_custom(out: &mut String, custom: &CustomType<'_>) {
    // Writing to a String cannot fail, here and below.
    if let Some(object) = custom.as_object() {
        for comment in object.comments() {
            let _ = write!(out, "\n# {}", comment.text().trim());
        }
        let _ = write!(out, "\ntype {} ", object.name());
        write_field_list(out, object.fields());
    } else if let Some(choice) = custom.as_enum() {
        for comment in choice.comments() {
            let _ = write!(out, "\n# {}", comment.text().trim());
        }
        let words: Vec<String> = choice
            .variants()
            .map(|variant| variant.name().to_string())
            .collect();
        let _ = write!(out, "\ntype {} ({})", choice.name(), words.join(", "));
    }
    out.push('\n');
}

fn write_method(out: &mut String, method: &Facts) {
    out.push('\n');
    for line in method.about {
        let _ = writeln!(out, "# {}", line.trim());
    }
    let _ = writeln!(out, "# Needs the right to {}.", method.right.as_str());
    let _ = write!(out, "method {}", method.short);
    write_fields(out, method.input);
    out.push_str(" -> ");
    write_fields(out, method.output);
    out.push('\n');
}

fn write_fields(out: &mut String, object: &Type<'_>) {
    match object {
        Type::Object(fields) => write_field_list(out, fields.iter()),
        _ => out.push_str("()"),
    }
}

fn write_field_list<'a>(out: &mut String, fields: impl Iterator<Item = &'a Field<'a>>) {
    out.push('(');
    let mut first = true;
    for field in fields {
        out.push_str(if first { "\n" } else { ",\n" });
        first = false;
        for comment in field.comments() {
            let _ = writeln!(out, "  # {}", comment.text().trim());
        }
        let _ = write!(out, "  {}: {}", field.name(), field.ty());
    }
    out.push_str(if first { ")" } else { "\n)" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_description_parses_and_names_nothing_that_it_does_not_define() {
        for (name, methods, _) in INTERFACES {
            let text = describe(name).unwrap();
            let parsed = zlink::idl::Interface::try_from(text.as_str())
                .unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
            assert_eq!(parsed.methods().count(), methods.len(), "{name}");
            assert_eq!(parsed.errors().count(), ERRORS.len(), "{name}");
            let defined: BTreeSet<String> = parsed
                .custom_types()
                .map(|custom| custom.name().to_string())
                .collect();
            for custom in parsed.custom_types().filter_map(CustomType::as_object) {
                for field in custom.fields() {
                    check_defined(field.ty(), &defined);
                }
            }
            for method in parsed.methods() {
                method
                    .inputs()
                    .chain(method.outputs())
                    .for_each(|field| check_defined(field.ty(), &defined));
            }
        }
        assert_eq!(describe("io.massif.Nothing"), None);
    }

    fn check_defined(kind: &Type<'_>, defined: &BTreeSet<String>) {
        match kind {
            Type::Optional(inner) | Type::Array(inner) | Type::Map(inner) => {
                check_defined(inner, defined)
            }
            Type::Custom(name) => assert!(defined.contains(name.as_str()), "{name}"),
            _ => {}
        }
    }

    #[test]
    fn enums_say_in_the_description_what_they_say_in_json() {
        let text = describe(summit::INTERFACE).unwrap();
        let words: Vec<&str> = view::JobState::ALL
            .iter()
            .map(|state| state.as_str())
            .collect();
        assert!(
            text.contains(&format!("type JobState ({})", words.join(", "))),
            "{text}"
        );
        for state in view::JobState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
