//! What was measured, as the README shows it.

use std::path::Path;

/// Rows of one group of figures; its place in the README is between two markers with its name.
pub struct Table {
    name: &'static str,
    rows: Vec<[String; 3]>,
    said: Vec<String>,
}

impl Table {
    /// Of this group.
    pub fn of(name: &'static str) -> Table {
        Table {
            name,
            rows: Vec::new(),
            said: Vec::new(),
        }
    }

    /// One more figure, printed at once.
    pub fn row(&mut self, what: &str, measured: String, bar: &str) {
        println!("{}: {what}: {measured} (bar: {bar})", self.name);
        self.rows.push([what.into(), measured, bar.into()]);
    }

    /// What a command printed, below the table.
    pub fn said(&mut self, command: &str, text: &str) {
        let lines = text.lines().map(str::trim_end);
        let text = lines.collect::<Vec<_>>().join("\n");
        println!("$ {command}\n{text}");
        self.said.push(format!("\n```\n$ {command}\n{text}\n```\n"));
    }

    /// With `--readme`: puts the table between its markers.
    pub fn finish(&self) {
        if std::env::args().any(|arg| arg == "--readme") {
            self.write();
        }
    }

    /// Puts the table between its markers in the README.
    pub fn write(&self) {
        let name = self.name;
        let begin_mark = format!("<!-- figures of {name}: begin -->");
        let end_mark = format!("<!-- figures of {name}: end -->");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let (Some(begin), Some(end)) = (text.find(&begin_mark), text.find(&end_mark)) else {
            return println!("{name}: README.md has no markers {begin_mark} and {end_mark}");
        };
        let mut rows = String::from("| what | measured | bar |\n|---|---|---|\n");
        for [what, measured, bar] in &self.rows {
            rows += &format!("| {what} | {measured} | {bar} |\n");
        }
        rows.extend(self.said.iter().map(String::as_str));
        let text = format!("{}{begin_mark}\n{rows}{}", &text[..begin], &text[end..]);
        match std::fs::write(&file, text) {
            Ok(()) => println!("{name}: wrote the table into README.md"),
            Err(error) => println!("{name}: cannot write README.md: {error}"),
        }
    }
}
