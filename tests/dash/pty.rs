//! The real program on a pseudo terminal against a running farm: keys in, screen out; resized, and the farm killed under it.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use massif::tui::terminal;

use crate::common::farm::{Farm, MASSIF, PATIENCE};

/// A terminal with the program on it.
pub struct Screen {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    parser: Arc<Mutex<vt100::Parser>>,
    raw: Arc<Mutex<Vec<u8>>>,
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols: columns,
        pixel_width: 0,
        pixel_height: 0,
    }
}

fn command(program: &str, arguments: &[&str]) -> CommandBuilder {
    let mut command = CommandBuilder::new(program);
    command.args(arguments);
    command.env("TERM", "xterm-256color");
    command.env("LANG", "C.UTF-8");
    command.env_remove("LC_ALL");
    command.env_remove("NO_COLOR");
    command.env_remove("MASSIF_THEME");
    command
}

/// Whether it ends in time.
fn ends(child: &mut Box<dyn Child + Send + Sync>) -> Option<u32> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.exit_code());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

impl Screen {
    pub fn open(columns: u16, rows: u16, arguments: &[&str]) -> Screen {
        Screen::run(columns, rows, MASSIF, arguments)
    }

    fn run(columns: u16, rows: u16, program: &str, arguments: &[&str]) -> Screen {
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        let child = pair.slave.spawn_command(command(program, arguments));
        let child = child.unwrap();
        drop(pair.slave);
        let parser = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (screen, all) = (parser.clone(), raw.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                screen.lock().unwrap().process(&bytes[..read]);
                all.lock().unwrap().extend_from_slice(&bytes[..read]);
            }
        });
        Screen {
            keys: pair.master.take_writer().unwrap(),
            master: pair.master,
            child,
            parser,
            raw,
        }
    }

    pub fn text(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    /// All bytes that the program has written so far.
    pub fn raw(&self) -> Vec<u8> {
        self.raw.lock().unwrap().clone()
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    #[track_caller]
    pub fn until(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if fits(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "never {what}:\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.parser
            .lock()
            .unwrap()
            .screen_mut()
            .set_size(rows, columns);
        self.master.resize(size(columns, rows)).unwrap();
    }

    pub fn ended(&mut self) -> u32 {
        ends(&mut self.child).unwrap_or_else(|| panic!("it does not end:\n{}", self.text()))
    }

    fn gave_back(&self) {
        let deadline = Instant::now() + PATIENCE;
        let whole = |raw: &[u8]| {
            let text = String::from_utf8_lossy(raw).into_owned();
            ["\x1b[?1049l", "\x1b[?25h", "\x1b[?1000l", "\x1b[?2004l"]
                .iter()
                .all(|end| text.contains(end))
        };
        while !whole(&self.raw.lock().unwrap()) {
            assert!(Instant::now() < deadline, "the terminal was not given back");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub fn project(farm: &Farm) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let done = std::process::Command::new("git")
            .arg("-C")
            .arg(dir.path())
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.org",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    let place = dir.path().join("n/needy");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(
        place.join("stone.yaml"),
        "name: needy\nversion: 1.0\nrelease: 1\nhomepage: https://example.org\nsummary: Needs what nobody has\ndescription: It waits\nlicense: MIT\nbuilddeps:\n    - pkgconfig(nobody-has-this)\ninstall: |\n    true\n",
    )
    .unwrap();
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    farm.ok(&["project", "add", "main", dir.path().to_str().unwrap()]);
    dir
}

#[test]
fn a_person_looks_acts_resizes_and_the_farm_dies_under_the_dashboard() {
    let mut farm = Farm::start();
    let _recipes = project(&farm);
    let dir = farm.dir().to_str().unwrap().to_owned();
    let mut screen = Screen::open(80, 24, &["dash", "--dir", &dir]);
    screen.until("live", |text| {
        text.contains("live") && text.contains("1 wait")
    });
    screen.press("2");
    screen.until("the queue", |text| {
        text.contains("needy") && text.contains("nobody-has-this")
    });
    screen.press("w");
    // The row and the keys of the queue have these words too; its `1/1` is not there.
    screen.until("why", |text| {
        text.contains("why ")
            && text.contains("pkgconfig(nobody-has-this)")
            && !text.contains("1/1")
    });
    // A letter that comes together with it would make it another key.
    screen.press("\x1b");
    screen.until("the queue again", |text| text.contains("1/1"));
    screen.press("H");
    screen.until("a question for a reason", |text| text.contains("reason:"));
    screen.press("for the test\r");
    screen.until("a question", |text| {
        text.contains("the same: massif job hold")
    });
    screen.press("y");
    screen.until("held", |text| text.contains("is held"));
    let jobs = farm.until(&["job", "list"], |jobs| jobs[0]["hold"].is_object());
    assert_eq!(jobs[0]["hold"]["reason"], "for the test");
    screen.resize(130, 40);
    screen.press("1");
    screen.until("two halves", |text| {
        text.contains("Last events") && text.contains("Builders 1")
    });
    screen.resize(40, 10);
    screen.until("too small", |text| text.contains("too small"));
    screen.resize(80, 24);
    screen.until("back", |text| text.contains("1 Farm"));
    farm.kill();
    screen.until("lost", |text| {
        text.contains("LOST") && text.contains("trying again")
    });
    farm.up();
    screen.until("live again", |text| {
        text.contains("live") && !text.contains("LOST")
    });
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    screen.gave_back();
    farm.stop();
}

#[test]
fn the_terminal_is_given_back_on_signals() {
    let farm = Farm::start();
    let dir = farm.dir().to_str().unwrap();
    for signal in [
        nix::sys::signal::Signal::SIGTERM,
        nix::sys::signal::Signal::SIGHUP,
    ] {
        let mut screen = Screen::open(80, 24, &["dash", "--dir", dir]);
        screen.until("live", |text| text.contains("live"));
        let pid = i32::try_from(screen.child.process_id().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
        screen.ended();
        screen.gave_back();
    }
}

#[test]
fn a_farm_shows_itself_on_a_terminal_and_stops_when_it_is_left() {
    let made = tempfile::tempdir().unwrap();
    let dir = made.path().join("farm");
    let dir = dir.to_str().unwrap();
    let mut screen = Screen::open(
        100,
        30,
        &[
            "up",
            "--dir",
            dir,
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ],
    );
    screen.until("live", |text| {
        text.contains("live") && text.contains("No alarms")
    });
    screen.press("q");
    screen.until("a question", |text| {
        text.contains("leaving it stops the farm")
    });
    screen.press("n");
    screen.until("no question", |text| {
        !text.contains("leaving it stops the farm")
    });
    screen.press("qy");
    assert_eq!(screen.ended(), 0);
    screen.gave_back();
    let log = std::fs::read_to_string(made.path().join("farm/massif.log")).unwrap_or_default();
    assert!(!log.contains('\u{1b}'), "{log}");
}

#[test]
fn without_a_terminal_it_prints_once() {
    let farm = Farm::start();
    for arguments in [&["dash"][..], &["status"], &["dash", "--once"]] {
        let text = farm.ok(arguments);
        assert!(
            text.is_ascii() && text.contains("No alarms") && text.contains("waiting"),
            "{text}"
        );
    }
    let json = farm.json(&["dash", "--once", "--format", "json"]);
    assert_eq!(json["schema"], 1);
    assert!(
        json["jobs"].is_array()
            && json["builders"].is_array()
            && json["status"]["jobs"].is_object()
    );
    let picture = farm.dir().join("farm.svg");
    farm.ok(&[
        "dash",
        "--svg",
        picture.to_str().unwrap(),
        "--size",
        "90x25",
    ]);
    let picture = std::fs::read_to_string(picture).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("No alarms"));
    let output = std::process::Command::new(MASSIF)
        .args(["dash", "--dir", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
}

/// Says to the test below that it runs on a terminal of its own.
const BREAK_OFF: &str = "MASSIF_TEST_BREAK_OFF";

/// What the next test runs on a terminal; by itself it does nothing.
#[test]
fn breaks_off_while_the_terminal_is_taken() {
    if std::env::var_os(BREAK_OFF).is_none() {
        return;
    }
    terminal::guard_panics();
    let broken = std::thread::Builder::new()
        .name("dash".into())
        .spawn(|| {
            let _taken = terminal::Terminal::take(true).unwrap();
            panic!("broken on purpose");
        })
        .unwrap();
    broken.join().unwrap_err();
}

#[test]
fn a_panic_gives_the_terminal_back() {
    let exe = std::env::current_exe().unwrap();
    let told = format!("{BREAK_OFF}=1");
    let arguments = [
        told.as_str(),
        exe.to_str().unwrap(),
        "--exact",
        "dash::pty::breaks_off_while_the_terminal_is_taken",
        "--nocapture",
    ];
    let mut screen = Screen::run(100, 24, "env", &arguments);
    assert_eq!(screen.ended(), 0, "{}", screen.text());
    screen.gave_back();
    // Its last words are on the screen that it left behind, not on the one that it gave back.
    screen.until("the last words", |text| text.contains("broken on purpose"));
}

#[test]
fn a_shell_stops_it_and_brings_it_back() {
    let farm = Farm::start();
    let dir = farm.dir().to_str().unwrap();
    let shell = ["PS1=ready> ", "bash", "--norc", "--noprofile", "-i"];
    let mut screen = Screen::run(80, 24, "env", &shell);
    // What is typed before a prompt is there is typed for whoever still has the terminal. No command has the prompt's words in
    // it, so each prompt can be counted.
    let prompts = |count: usize| move |text: &str| text.matches("ready>").count() == count;
    screen.until("the shell", prompts(1));
    screen.press(&format!("{MASSIF} dash --dir {dir}\r"));
    screen.until("live", |text| {
        text.contains("1 Farm") && text.contains("live")
    });
    screen.press("\x1a");
    screen.until("the shell again", |text| {
        text.contains("Stopped") && prompts(2)(text)
    });
    screen.gave_back();
    screen.press("fg\r");
    screen.until("the dashboard again", |text| {
        text.contains("1 Farm") && text.contains("live") && !text.contains("ready>")
    });
    screen.press("2");
    screen.until("that it hears", |text| text.contains("no jobs yet"));
    screen.press("q");
    screen.until("the shell after its end", |text| {
        prompts(3)(text) && !text.contains("1 Farm")
    });
    screen.press("exit 7\r");
    assert_eq!(screen.ended(), 7);
}

#[test]
fn a_terminal_that_stops_reading_holds_nothing_up() {
    let farm = Farm::start();
    let pair = native_pty_system().openpty(size(200, 60)).unwrap();
    let arguments = ["dash", "--dir", farm.dir().to_str().unwrap()];
    let child = pair.slave.spawn_command(command(MASSIF, &arguments));
    let mut child = child.unwrap();
    let mut keys = pair.master.take_writer().unwrap();
    // Nobody reads what each of these draws; a terminal holds some kilobytes.
    for key in "1234567".chars().cycle().take(140) {
        keys.write_all(key.to_string().as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    keys.write_all(b"q").unwrap();
    let ended = ends(&mut child);
    child.kill().ok();
    assert_eq!(ended, Some(0));
}
