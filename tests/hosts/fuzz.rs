//! Bytes that nobody made with care: frames, tickets, cards and envelopes from good ones that were damaged, for a bounded time.
//! What is read again must be what it is; nothing may panic. A failure prints the smallest bytes that still fail.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use massif::limit;
use massif::net::card::{Card, TicketLine};
use massif::net::wire;
use sha2::{Digest as _, Sha256};

use super::relay::Dice;

/// For each target; `MASSIF_FUZZ_S` makes it longer.
fn time() -> Duration {
    let given = std::env::var("MASSIF_FUZZ_S").ok();
    Duration::from_secs(given.and_then(|text| text.parse().ok()).unwrap_or(3))
}

/// The frozen messages of the wire, without their lengths.
fn messages() -> Vec<Vec<u8>> {
    let text = include_str!("../../src/net/wire_1.txt");
    let mut all = Vec::new();
    for line in text.lines() {
        let mut line = line.to_string();
        for byte in ["aa", "bb", "cc", "dd", "ee"] {
            line = line.replace(&format!("[32x{byte}]"), &byte.repeat(32));
        }
        let digits = line.as_bytes().chunks(2);
        let bytes: Vec<u8> = digits
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect();
        all.push(bytes[4..].to_vec());
    }
    all
}

fn damaged(good: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let pick = |dice: &mut Dice| good[dice.roll(good.len() as u64) as usize].clone();
    let mut bytes = pick(dice);
    for _ in 0..dice.roll(6) {
        let at = dice.roll(bytes.len() as u64 + 1) as usize;
        match dice.roll(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.roll(5) as usize],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, dice.roll(256) as u8),
            4 if at < bytes.len() => drop(bytes.remove(at)),
            // A length that nobody has the memory for.
            5 => drop(bytes.splice(at..at, [0xff; 9].into_iter().chain([1]))),
            _ => {
                let other = pick(dice);
                let from = dice.roll(other.len() as u64) as usize;
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
        }
    }
    bytes
}

/// Feeds a target until the time is over; what fails is made as small as it goes.
fn feed(good: &[Vec<u8>], target: impl Fn(&[u8])) {
    let fails = |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err();
    let began = Instant::now();
    let mut dice = Dice(0x5eed);
    let mut count = 0u64;
    while began.elapsed() < time() {
        let mut bytes = damaged(good, &mut dice);
        count += 1;
        if !fails(&bytes) {
            continue;
        }
        let mut step = bytes.len().max(1);
        while step > 0 {
            let mut at = 0;
            while at < bytes.len() {
                let mut less = bytes.clone();
                less.drain(at..(at + step).min(less.len()));
                match fails(&less) {
                    true => bytes = less,
                    false => at += step,
                }
            }
            step /= 2;
        }
        panic!("input {count} fails; the smallest like it is {bytes:02x?}");
    }
    println!("{count} inputs");
    assert!(count > 100, "too slow to find anything: {count}");
}

#[test]
fn envelopes_that_are_read_are_what_they_say_and_nothing_else_is_read() {
    feed(&messages(), |bytes| {
        if let Ok(envelope) = wire::decode(bytes) {
            let again = wire::encode(&envelope).unwrap();
            // Not the bytes that came: a number may be written longer than it has to be. Nor the values: NaN is not NaN.
            let twice = wire::encode(&wire::decode(&again[4..]).unwrap()).unwrap();
            assert_eq!(twice, again);
        }
    });
}

#[test]
fn frames_of_any_length_are_read_or_refused_before_memory_is_taken_for_them() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let framed: Vec<Vec<u8>> = messages()
        .into_iter()
        .map(|body| [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], &body].concat())
        .collect();
    feed(&framed, |bytes| {
        runtime.block_on(async {
            let mut from = bytes;
            for _ in 0..16 {
                match wire::read(&mut from, limit::FRAME_BYTES_MAX).await {
                    Ok(Some(_)) => {}
                    Ok(None) => return assert!(from.is_empty()),
                    Err(_) => return,
                }
            }
        });
    });
}

fn lines() -> Vec<Vec<u8>> {
    let ticket = "massif-join-1.Ag0xMC4wLjAuMTo3NDQzEWZhcm0uZXhhbXBsZTo3NDQzAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMFY3Jlc3QEBAQEBAQFBQUFBQUFBQUFBQUFBQUFAcahy_6_aEkgp1I";
    let card =
        "massif-card-1.AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMFY3Jlc3QBCls6OjFdOjc0NDP_U0bp";
    vec![ticket.as_bytes().to_vec(), card.as_bytes().to_vec()]
}

fn parse(text: &str) {
    if let Ok(ticket) = text.parse::<TicketLine>() {
        assert_eq!(ticket.to_string().parse::<TicketLine>().unwrap(), ticket);
    }
    if let Ok(card) = text.parse::<Card>() {
        assert_eq!(card.to_string().parse::<Card>().unwrap(), card);
    }
}

#[test]
fn tickets_and_cards_that_are_read_are_what_they_say() {
    let good = lines();
    feed(&good, |bytes| parse(&String::from_utf8_lossy(bytes)));
    // Behind the check sum, which no damage passes.
    let bodies: Vec<Vec<u8>> = good
        .iter()
        .map(|line| {
            let text = std::str::from_utf8(line).unwrap();
            let (_, body) = text.split_once('.').unwrap();
            let bytes = URL_SAFE_NO_PAD.decode(body).unwrap();
            bytes[..bytes.len() - 4].to_vec()
        })
        .collect();
    feed(&bodies, |bytes| {
        let sum = Sha256::digest(bytes);
        let summed = URL_SAFE_NO_PAD.encode([bytes, &sum[..4]].concat());
        parse(&format!("massif-join-1.{summed}"));
        parse(&format!("massif-card-1.{summed}"));
    });
}
