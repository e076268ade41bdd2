//! What a `.pc` file requires, as `pkg-config --print-requires --print-requires-private` would say, without its versions.

use std::collections::HashMap;

/// Variables in variables deeper than this refer to themselves.
const DEPTH_MAX: usize = 16;
/// A text after expansion; far above what is real.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Names of the modules that this file requires, public ones first, in their order.
pub fn requires(text: &str) -> Vec<String> {
    let mut variables: HashMap<&str, &str> = HashMap::new();
    let (mut public, mut private) = (Vec::new(), Vec::new());
    let joined = text.replace("\\\r\n", "").replace("\\\n", "");
    for line in joined.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || "_.-".contains(c)));
        let Some((name, rest)) = end.and_then(|end| line.split_at_checked(end)) else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(value) = rest.strip_prefix('=') {
            variables.insert(name, value.trim());
        } else if let Some(value) = rest.strip_prefix(':') {
            match name {
                "Requires" => public = modules(&expand(value, &variables, 0)),
                "Requires.private" => private = modules(&expand(value, &variables, 0)),
                _ => {}
            }
        }
    }
    public.extend(private);
    public
}

fn expand(text: &str, variables: &HashMap<&str, &str>, depth: usize) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            return out;
        };
        if depth < DEPTH_MAX && out.len() < TEXT_BYTES_MAX {
            let value = variables.get(name).copied().unwrap_or("");
            out.push_str(&expand(value, variables, depth + 1));
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// `a >= 1.2, b c=3` names a, b and c.
fn modules(list: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(list.len() + 16);
    let mut before = ' ';
    for c in list.chars() {
        let operator = |c: char| matches!(c, '<' | '>' | '=' | '!');
        if operator(c) != operator(before) {
            spaced.push(' ');
        }
        spaced.push(if c == ',' { ' ' } else { c });
        before = c;
    }
    let mut names = Vec::new();
    let mut words = spaced.split_whitespace();
    while let Some(word) = words.next() {
        if word.starts_with(['<', '>', '=', '!']) {
            // The version that the operator asks for.
            words.next();
        } else {
            names.push(word.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_read_without_versions() {
        for (text, expected) in [
            (
                "Name: a\nRequires: b >= 1.0, c\nRequires.private: d=2 e\n",
                vec!["b", "c", "d", "e"],
            ),
            (
                "x=libz\nRequires: ${x} ${nothing} # zlib\nLibs: -lz\n",
                vec!["libz"],
            ),
            (
                "Requires:\nRequires.private: \\\n a,\\\n b\n",
                vec!["a", "b"],
            ),
            ("loop=${loop}\nRequires: ${loop}x", vec!["x"]),
            (
                "Requires.internal: q\nRequires: gtk+-3.0>=3.10,glib-2.0",
                vec!["gtk+-3.0", "glib-2.0"],
            ),
            ("", vec![]),
        ] {
            assert_eq!(requires(text), expected, "{text}");
        }
    }

    #[test]
    fn variables_that_multiply_stay_small() {
        let mut text = String::from("a0=xxxxxxxxxx\n");
        for n in 1..16 {
            let before = format!("${{a{}}}", n - 1);
            text.push_str(&format!("a{n}={}\n", before.repeat(10)));
        }
        text.push_str("Requires: ${a15}\n");
        assert_eq!(requires(&text).len(), 1);
    }
}
