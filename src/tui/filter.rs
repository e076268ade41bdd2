//! Which rows are shown: one table of the forms that may be typed after `/`, from which both the reading of what was typed
//! and the help are made.

use regex::{Regex, RegexBuilder};

/// A form that may be typed after `/`.
pub struct Form {
    /// How it begins.
    pub lead: &'static str,
    /// An example, for the help.
    pub label: &'static str,
    /// What it shows.
    pub help: &'static str,
    read: fn(&str) -> Test,
}

/// The forms; the first whose beginning fits is meant. What may stand before each of them is [`INVERSE`].
pub const FORMS: &[Form] = &[
    Form {
        lead: "-f ",
        label: "/-f gc",
        help: "rows with these letters in their name, in this order",
        read: letters,
    },
    Form {
        lead: "-l ",
        label: "/-l k=v,k!=v",
        help: "rows by their labels, which are listed below",
        read: labels,
    },
    Form {
        lead: "",
        label: "/gcc",
        help: "rows with these words, or that fit this pattern",
        read: pattern,
    },
];
/// What turns each form around.
pub const INVERSE: Form = Form {
    lead: "!",
    label: "/!...",
    help: "rows that the form behind it does not show",
    read: pattern,
};

/// Bytes that a pattern may take once it is compiled.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A condition on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    key: String,
    equal: bool,
    value: String,
}

#[derive(Debug, Clone, Default)]
enum Test {
    #[default]
    All,
    Pattern(Regex),
    Letters(Vec<char>),
    Labels(Vec<Term>),
}

/// Which rows are shown.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    typed: String,
    inverse: bool,
    test: Test,
}

/// A pattern; what is none is meant as it stands.
fn pattern(words: &str) -> Test {
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .case_insensitive(true)
            .size_limit(PATTERN_BYTES_MAX)
            .build()
            .ok()
    };
    (!words.is_empty())
        .then(|| build(words).or_else(|| build(&regex::escape(words))))
        .flatten()
        .map_or(Test::All, Test::Pattern)
}

fn letters(words: &str) -> Test {
    let letters: Vec<char> = words
        .chars()
        .filter(|c| !c.is_whitespace())
        .flat_map(char::to_lowercase)
        .collect();
    match letters.is_empty() {
        true => Test::All,
        false => Test::Letters(letters),
    }
}

/// Conditions with commas between them. One that is not complete yet is none.
fn labels(words: &str) -> Test {
    let term = |given: &str| {
        let (key, value) = given.split_once('=')?;
        let (key, equal) = match key.strip_suffix('!') {
            Some(key) => (key, false),
            None => (key, true),
        };
        Some(Term {
            key: key.trim().to_lowercase(),
            equal,
            // Two signs mean the same as one.
            value: value.trim_start_matches('=').trim().to_lowercase(),
        })
    };
    let terms: Vec<Term> = words.split(',').filter_map(term).collect();
    match terms.is_empty() {
        true => Test::All,
        false => Test::Labels(terms),
    }
}

/// Whether these letters stand in the name, in this order, whatever stands between them.
fn has_letters(letters: &[char], name: &str) -> bool {
    let mut wanted = letters.iter();
    let mut next = wanted.next();
    for c in name.chars().flat_map(char::to_lowercase) {
        if next == Some(&c) {
            next = wanted.next();
        }
    }
    next.is_none()
}

impl Term {
    /// A row that has no such label does not fit, whatever it should be. Of several values each may be meant.
    fn takes(&self, label: Option<String>) -> bool {
        label.is_some_and(|label| {
            let label = label.to_lowercase();
            let any = label == self.value || label.split(',').any(|one| one.trim() == self.value);
            any == self.equal
        })
    }
}

impl Filter {
    /// What was typed after `/`.
    pub fn parse(typed: &str) -> Filter {
        let (inverse, rest) = match typed.strip_prefix(INVERSE.lead) {
            Some(rest) => (true, rest),
            None => (false, typed),
        };
        let form = FORMS.iter().find(|form| rest.starts_with(form.lead));
        // Who has typed the sign only goes on with it.
        let begun = FORMS
            .iter()
            .any(|form| form.lead.trim_end() == rest && !rest.is_empty());
        Filter {
            typed: typed.to_owned(),
            inverse,
            test: match form {
                Some(form) if !begun => {
                    (form.read)(rest.strip_prefix(form.lead).unwrap_or_default())
                }
                _ => Test::All,
            },
        }
    }

    /// Words or a pattern, as they stand: what is searched for in a log.
    pub fn pattern(words: &str) -> Filter {
        Filter {
            typed: words.to_owned(),
            inverse: false,
            test: pattern(words),
        }
    }

    /// As it was typed.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// Whether anything is filtered.
    pub fn is_on(&self) -> bool {
        !matches!(self.test, Test::All)
    }

    /// Whether a row of this name is shown, with these words and these labels.
    pub fn takes(
        &self,
        name: &str,
        words: impl FnOnce() -> String,
        label: impl Fn(&str) -> Option<String>,
    ) -> bool {
        let fits = match &self.test {
            Test::All => return true,
            Test::Pattern(pattern) => pattern.is_match(&words()),
            Test::Letters(letters) => has_letters(letters, name),
            Test::Labels(terms) => terms.iter().all(|term| term.takes(label(&term.key))),
        };
        fits != self.inverse
    }

    /// A label that is asked for and is none of these.
    pub fn unknown(&self, known: &[&str]) -> Option<&str> {
        let Test::Labels(terms) = &self.test else {
            return None;
        };
        let mut keys = terms.iter().map(|term| term.key.as_str());
        keys.find(|key| !known.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(typed: &str, name: &str) -> bool {
        let label = |key: &str| match key {
            "state" => Some("waiting".to_owned()),
            "project" => Some("Main".to_owned()),
            "builder" => Some(String::new()),
            "stream" => Some("stable,volatile".to_owned()),
            _ => None,
        };
        Filter::parse(typed).takes(name, || format!("{name} 7.2 waiting"), label)
    }

    #[test]
    fn filters_take_patterns_words_and_their_opposite() {
        for (typed, name, taken) in [
            ("", "anything", true),
            ("nano", "Nano", true),
            ("!nano", "nano", false),
            ("!nano", "zlib", true),
            ("^z.*ing$", "zlib", true),
            ("c++(", "libstdc++(x)", true),
            ("!", "anything", true),
        ] {
            assert_eq!(takes(typed, name), taken, "{typed:?} {name:?}");
        }
    }

    #[test]
    fn letters_are_looked_for_in_their_order_in_the_name_alone() {
        for (typed, name, taken) in [
            ("-f krnl", "kernel", true),
            ("-f KNL", "kernel", true),
            ("-f lnk", "kernel", false),
            ("-f waiting", "kernel", false),
            ("-f k n l", "kernel", true),
            ("-f kernell", "kernel", false),
            ("!-f krnl", "kernel", false),
            ("!-f krnl", "zlib", true),
            ("-f", "anything", true),
            ("-f ", "anything", true),
            ("-fno-lto", "gcc -fno-lto", true),
            ("-fno-lto", "gcc", false),
            ("-f é", "café", true),
        ] {
            assert_eq!(takes(typed, name), taken, "{typed:?} {name:?}");
        }
    }

    #[test]
    fn labels_are_compared_whole_and_what_is_not_complete_takes_all() {
        for (typed, taken) in [
            ("-l state=waiting", true),
            ("-l state==Waiting", true),
            ("-l state=wait", false),
            ("-l state!=building", true),
            ("-l state=waiting,project=main", true),
            ("-l state=waiting, project=base", false),
            ("-l builder=", true),
            ("-l builder=east", false),
            ("-l builder!=east", true),
            ("-l stream=stable", true),
            ("-l stream!=stable", false),
            ("-l nothing=x", false),
            ("-l nothing!=x", false),
            ("!-l state=waiting", false),
            ("-l", true),
            ("-l ", true),
            ("-l stat", true),
            ("-l ,,,", true),
        ] {
            assert_eq!(takes(typed, "kernel"), taken, "{typed:?}");
        }
        let filter = Filter::parse("-l state=x,colour=red");
        assert_eq!(filter.unknown(&["state"]), Some("colour"));
        assert_eq!(filter.unknown(&["state", "colour"]), None);
        assert_eq!(Filter::parse("colour=red").unknown(&["state"]), None);
    }

    #[test]
    fn every_form_of_the_table_is_read_as_its_example_says() {
        for form in FORMS {
            let typed = form.label.strip_prefix('/').unwrap();
            assert!(typed.starts_with(form.lead), "{}", form.label);
            let filter = Filter::parse(typed);
            let read = (form.read)(typed.strip_prefix(form.lead).unwrap());
            assert!(filter.is_on(), "{}", form.label);
            assert_eq!(
                std::mem::discriminant(&filter.test),
                std::mem::discriminant(&read),
                "{}",
                form.label
            );
        }
        assert!(Filter::parse("!gcc").inverse && INVERSE.label.starts_with("/!"));
    }

    #[test]
    fn what_is_searched_for_in_a_log_has_no_forms() {
        for words in ["-f x", "-l a=b", "!x"] {
            let filter = Filter::pattern(words);
            let found = format!("cc {words} y");
            assert!(filter.takes("", || found.clone(), |_| None), "{words}");
            assert!(!filter.takes("", || "else".to_owned(), |_| None), "{words}");
        }
    }
}
