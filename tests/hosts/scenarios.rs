//! Random short lives of farms: hosts and links go and come back at random moments, and in the end every job is published
//! exactly once and every log is whole. `MASSIF_SEED=N` repeats one of them on a farm of its own; `MASSIF_SCENARIOS=N` says how
//! many there are.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::building::{add, check_all};
use super::relay::{Dice, Relay, Weather};
use super::rig::{Node, Place};
use crate::common::repo::Repo;

/// Farms that live at the same time.
const FARMS: u64 = 4;

/// A summit that also publishes, and two builders, one of them behind a relay. Many scenarios run on it one after another.
struct Small {
    crest: Node,
    relay: Relay,
    builders: [Node; 2],
    repo: Repo,
    _place: Place,
}

impl Small {
    fn new(seed: u64) -> Small {
        let place = Place::new();
        let crest = place.summit("1s");
        let relay = Relay::to(crest.port, seed);
        let through = relay.address.to_string();
        let mut builders = [
            place.builder(&crest, "east", &["--address", &through]),
            place.builder(&crest, "west", &[]),
        ];
        for builder in &mut builders {
            builder.serves();
        }
        let mut repo = Repo::new();
        add(&mut repo, "first", "");
        repo.commit("Add the first");
        crest.ok(&["project", "add", "test", &repo.url()]);
        crest.published("first");
        Small {
            crest,
            relay,
            builders,
            repo,
            _place: place,
        }
    }

    fn check(&self) {
        let both: Vec<&Node> = self.builders.iter().collect();
        check_all(&self.crest, &both);
    }

    /// One scenario: some recipes, and some things that happen while they are built.
    fn live(&mut self, seed: u64) {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let names: Vec<String> = (0..1 + dice.roll(2))
            .map(|at| format!("s{seed}x{at}"))
            .collect();
        for name in &names {
            let tenths = 1 + dice.roll(9);
            let build = format!("build       : |\n    echo begun; sleep 0.{tenths}; echo done\n");
            add(&mut self.repo, name, &build);
        }
        self.repo.commit("Add some more");
        self.crest.ok(&["project", "refresh", "test"]);
        for _ in 0..1 + dice.roll(2) {
            std::thread::sleep(Duration::from_millis(dice.roll(700)));
            self.happen(&mut dice);
        }
        self.relay.weather(Weather::default());
        for name in &names {
            self.crest.published(name);
        }
    }

    fn happen(&mut self, dice: &mut Dice) {
        let pause = Duration::from_millis(dice.roll(1_200));
        match dice.roll(8) {
            0 => {
                self.crest.kill();
                std::thread::sleep(pause);
                self.crest.up();
            }
            1 => {
                self.crest.stop();
                std::thread::sleep(pause);
                self.crest.up();
            }
            which @ 2..=3 => {
                let builder = &mut self.builders[(which - 2) as usize];
                match dice.roll(2) {
                    0 => builder.kill(),
                    _ => {
                        builder.stop();
                    }
                }
                std::thread::sleep(pause);
                builder.up();
            }
            4 => {
                self.relay.cut(true);
                std::thread::sleep(pause);
                self.relay.cut(false);
            }
            5 => {
                let inward = dice.roll(2) == 0;
                self.relay.weather(Weather {
                    cut_in: inward,
                    cut_out: !inward,
                    ..Weather::default()
                });
                std::thread::sleep(pause);
                self.relay.weather(Weather::default());
            }
            6 => self.relay.weather(Weather {
                delay: Duration::from_millis(dice.roll(30)),
                jitter: Duration::from_millis(dice.roll(30)),
                lost_permille: dice.roll(80),
                twice_permille: dice.roll(80),
                ..Weather::default()
            }),
            _ => self.relay.rebind(),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_goes_away_in_whatever_order_every_job_is_published_once() {
    if let Some(seed) = number("MASSIF_SEED") {
        let mut farm = Small::new(seed);
        farm.live(seed);
        return farm.check();
    }
    // Builds of the program without optimisation are for its authors, who know how to ask for more.
    let few = if cfg!(debug_assertions) { 8 } else { 200 };
    let count = number("MASSIF_SCENARIOS").unwrap_or(few);
    let began = Instant::now();
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for lane in 0..FARMS.min(count) {
            let failed = &failed;
            scope.spawn(move || {
                let seeds: Vec<u64> = (1..=count).filter(|seed| seed % FARMS == lane).collect();
                let mut at = 0;
                let all = std::panic::AssertUnwindSafe(|| {
                    let mut farm = Small::new(lane + 1);
                    for seed in &seeds {
                        at = *seed;
                        farm.live(*seed);
                    }
                    farm.check();
                });
                if std::panic::catch_unwind(all).is_err() {
                    println!("scenario with seed {at} failed: MASSIF_SEED={at} repeats it");
                    failed.lock().unwrap().push(at);
                }
            });
        }
    });
    println!(
        "{count} scenarios, {FARMS} at a time: {:?}",
        began.elapsed()
    );
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "scenarios with these seeds failed: {failed:?}"
    );
}
