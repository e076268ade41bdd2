//! What an installed Python distribution is called and requires: its `METADATA` or `PKG-INFO`.

/// A distribution's own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribution {
    /// Its normalised name; `None` when the file names none.
    pub name: Option<String>,
    /// Normalised names of what it requires here: markers decided, extras left out.
    pub requires: Vec<String>,
}

/// Reads the headers. `version` is Python's (`3.11`), as the directory above says.
pub fn read(text: &str, version: &str) -> Distribution {
    let mut found = Distribution::default();
    for line in text.lines() {
        // Headers end at the first empty line; behind it stands the description.
        if line.is_empty() {
            break;
        }
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        if key.eq_ignore_ascii_case("Name") {
            found.name.get_or_insert(normal(value));
        } else if key.eq_ignore_ascii_case("Requires-Dist") {
            let (what, marker) = value.split_once(';').unwrap_or((value, ""));
            if applies(marker, version) {
                let what = what.trim();
                let end = what
                    .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
                    .unwrap_or(what.len());
                let name = normal(what.get(..end).unwrap_or(""));
                if !name.is_empty() {
                    found.requires.push(name);
                }
            }
        }
    }
    found
}

/// Lower case, runs of `-_.` become one `-`.
fn normal(name: &str) -> String {
    let mut out = String::new();
    for c in name.trim().chars() {
        match c {
            '-' | '_' | '.' if out.ends_with('-') => {}
            '-' | '_' | '.' => out.push('-'),
            c => out.push(c.to_ascii_lowercase()),
        }
    }
    out
}

/// Nesting of a marker's parentheses; real ones have two.
const DEPTH_MAX: usize = 32;

/// Decides an environment marker for Linux, CPython, no extra. What cannot be read applies: better one need too many.
fn applies(marker: &str, version: &str) -> bool {
    if marker.trim().is_empty() {
        return true;
    }
    let tokens = tokens(marker);
    let mut parser = Parser {
        tokens: &tokens,
        version,
    };
    match parser.or(0) {
        Some(result) if parser.tokens.is_empty() => result,
        _ => true,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Operator(String),
    Open,
    Close,
}

fn tokens(marker: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut chars = marker.chars().peekable();
    while let Some(c) = chars.next() {
        let more = |fits: fn(char) -> bool,
                    chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut word = String::from(c);
            while let Some(next) = chars.next_if(|next| fits(*next)) {
                word.push(next);
            }
            word
        };
        match c {
            '(' => found.push(Token::Open),
            ')' => found.push(Token::Close),
            '\'' | '"' => {
                found.push(Token::Text(
                    chars.by_ref().take_while(|next| *next != c).collect(),
                ));
            }
            '<' | '>' | '=' | '!' | '~' => {
                found.push(Token::Operator(more(|c| "<>=!~".contains(c), &mut chars)));
            }
            c if c.is_ascii_alphanumeric() || c == '_' => {
                let fits = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
                found.push(Token::Word(more(fits, &mut chars)));
            }
            _ => {}
        }
    }
    found
}

struct Parser<'t> {
    tokens: &'t [Token],
    version: &'t str,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Word(next)) if next == word);
        if found {
            self.tokens = self.tokens.get(1..).unwrap_or(&[]);
        }
        found
    }

    fn or(&mut self, depth: usize) -> Option<bool> {
        let mut result = self.and(depth)?;
        while self.eat("or") {
            result |= self.and(depth)?;
        }
        Some(result)
    }

    fn and(&mut self, depth: usize) -> Option<bool> {
        let mut result = self.one(depth)?;
        while self.eat("and") {
            result &= self.one(depth)?;
        }
        Some(result)
    }

    fn one(&mut self, depth: usize) -> Option<bool> {
        if self.tokens.first() == Some(&Token::Open) {
            if depth >= DEPTH_MAX {
                return None;
            }
            self.next();
            let inner = self.or(depth + 1)?;
            return (self.next() == Some(&Token::Close)).then_some(inner);
        }
        let (left, is_version) = self.value()?;
        let not = self.eat("not");
        let operator = if self.eat("in") {
            if not { "not in" } else { "in" }.to_owned()
        } else {
            match self.next()? {
                Token::Operator(operator) => operator.clone(),
                _ => return None,
            }
        };
        let (right, also_version) = self.value()?;
        Some(match operator.as_str() {
            "in" => right.contains(&left),
            "not in" => !right.contains(&left),
            other if is_version || also_version => compare_versions(&left, other, &right)?,
            "==" | "===" => left == right,
            "!=" => left != right,
            _ => return None,
        })
    }

    /// A text, or a variable's value and whether it is a version.
    fn value(&mut self) -> Option<(String, bool)> {
        let version = self.version.to_owned();
        let (value, is_version) = match self.next()? {
            Token::Text(text) => (text.clone(), false),
            Token::Word(word) => match word.as_str() {
                "python_version" => (version, true),
                "python_full_version" | "implementation_version" => (format!("{version}.0"), true),
                "os_name" | "os.name" => ("posix".into(), false),
                "sys_platform" | "sys.platform" => ("linux".into(), false),
                "platform_system" => ("Linux".into(), false),
                "platform_machine" => (std::env::consts::ARCH.into(), false),
                "platform_python_implementation" => ("CPython".into(), false),
                "implementation_name" => ("cpython".into(), false),
                "extra" => (String::new(), false),
                _ => return None,
            },
            Token::Operator(_) | Token::Open | Token::Close => return None,
        };
        Some((value, is_version))
    }
}

fn compare_versions(left: &str, operator: &str, right: &str) -> Option<bool> {
    let numbers = |text: &str| -> Vec<u64> {
        let parts = text.trim_end_matches(".*").split('.');
        parts.map_while(|part| part.parse().ok()).collect()
    };
    let (mut a, mut b) = (numbers(left), numbers(right));
    if right.ends_with(".*") {
        a.truncate(b.len());
    }
    let longest = a.len().max(b.len());
    a.resize(longest, 0);
    b.resize(longest, 0);
    Some(match operator {
        "==" | "===" => a == b,
        "!=" => a != b,
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        ">=" | "~=" => a >= b,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_decided_for_linux() {
        for (marker, expected) in [
            ("", true),
            ("python_version < \"3.12\"", true),
            ("python_version<'3.8'", false),
            ("python_full_version <= '3.11.0a6'", true),
            ("sys_platform == 'win32'", false),
            ("sys_platform == \"linux\" and (os_name != 'nt')", true),
            ("extra == 'test'", false),
            ("python_version >= '3.9' and extra == \"docs\"", false),
            (
                "platform_system in 'Windows Darwin' or implementation_name == 'cpython'",
                true,
            ),
            ("'win' not in sys_platform", true),
            ("what is this", true),
            ("((((", true),
        ] {
            assert_eq!(applies(marker, "3.11"), expected, "{marker}");
        }
    }

    #[test]
    fn headers_name_and_require() {
        let text = "Metadata-Version: 2.1\nName: Jaraco.Classes__x\nRequires-Dist: more_itertools\nRequires-Dist: Foo[bar] (>=1.0) ; python_version > '3'\nRequires-Dist: pytest; extra == 'test'\n\nRequires-Dist: no\n";
        let found = read(text, "3.11");
        assert_eq!(found.name.as_deref(), Some("jaraco-classes-x"));
        assert_eq!(found.requires, ["more-itertools", "foo"]);
    }
}
