//! Host ids for people: five words to read aloud, and a grouped text whose every block tells a typing error.

use crate::id::{BadId, HostId};

/// First syllables: 16 consonants by 4 vowels. No letters that are easily heard as one another (c, q, w, x, y; e as i).
const HEADS: [char; 16] = [
    'b', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'z',
];
/// Second syllables: 8 consonants by 4 vowels, so that a word has 11 bits.
const TAILS: [char; 8] = ['b', 'd', 'g', 'k', 'l', 'm', 'n', 'r'];
const VOWELS: [char; 4] = ['a', 'i', 'o', 'u'];
/// Digits and capitals without I, L, O and U, which are read as others.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Digits of a block before its check digit.
const BLOCK: usize = 13;
/// Digits of a printed group.
const GROUP: usize = 7;

/// The word of an 11-bit number: two syllables. All 2,048 differ.
fn word(number: u16) -> String {
    let pick = |letters: &[char], at: u16| letters.get(usize::from(at) % letters.len()).copied();
    [
        pick(&HEADS, number >> 7),
        pick(&VOWELS, number >> 5),
        pick(&TAILS, number >> 2),
        pick(&VOWELS, number),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Five words for the first 55 bits of the id: enough that nobody can make a key with the same ones.
pub fn words(id: &HostId) -> String {
    let bits =
        id.0.iter()
            .take(8)
            .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    let numbers = [53, 42, 31, 20, 9].map(|shift| word((bits >> shift) as u16 & 0x7ff));
    numbers.join(" ")
}

/// Rounds of the hash behind the words of a pair: some 10 ms. Whoever wants to stand between two hosts needs two keys of his
/// own whose pairs have the same words, which 55 bits alone would not make dear enough.
const PAIR_ROUNDS: u32 = 1 << 16;

/// Five words for two hosts that are to trust each other: the same on both sides.
pub fn pair_words(a: &HostId, b: &HostId) -> String {
    use sha2::{Digest, Sha256};
    let (first, second) = if a < b { (a, b) } else { (b, a) };
    let seed = [b"massif pair 1".as_slice(), &first.0, &second.0].concat();
    let mut hash: [u8; 32] = Sha256::digest(&seed).into();
    for _ in 0..PAIR_ROUNDS {
        hash = Sha256::digest([hash.as_slice(), &seed].concat()).into();
    }
    words(&HostId(hash))
}

/// Eight groups of seven digits: 256 bits in base 32, each 13 digits followed by their check digit.
pub fn grouped(id: &HostId) -> String {
    let mut digits: Vec<u8> = Vec::with_capacity(56);
    for block in values(id).chunks(BLOCK) {
        digits.extend(block);
        digits.push(check(block));
    }
    let mut text = String::with_capacity(63);
    for (at, digit) in digits.iter().enumerate() {
        if at > 0 && at % GROUP == 0 {
            text.push('-');
        }
        text.push(
            DIGITS
                .get(usize::from(*digit))
                .copied()
                .map_or('?', char::from),
        );
    }
    text
}

/// Reads what `grouped` prints, as people type it: small letters, missing or other separators, O for 0, I and L for 1.
pub fn parse_grouped(text: &str) -> Result<HostId, BadId> {
    let bad = |expected| BadId {
        text: text.chars().take(80).collect(),
        expected,
    };
    let mut digits = Vec::with_capacity(56);
    for c in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
        let c = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let value = DIGITS.iter().position(|digit| char::from(*digit) == c);
        digits.push(
            value.ok_or_else(|| bad("a host's grouped id (it has a character that no id has)"))?
                as u8,
        );
    }
    if digits.len() != 4 * (BLOCK + 1) {
        return Err(bad("a host's grouped id (56 letters and digits)"));
    }
    let mut values: Vec<u8> = Vec::with_capacity(52);
    for block in digits.chunks(BLOCK + 1) {
        let (body, found) = block.split_at(BLOCK);
        if found != [check(body)] {
            return Err(bad(
                "a host's grouped id (a check digit does not fit: look for a typing error)",
            ));
        }
        values.extend(body);
    }
    let mut id = [0u8; 32];
    let mut bits = 0u32;
    let mut count = 0;
    let mut out = id.iter_mut();
    for value in values {
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            if let Some(byte) = out.next() {
                *byte = (bits >> count) as u8;
            }
            bits &= (1 << count) - 1;
        }
    }
    // 52 digits hold 260 bits; the last four say nothing.
    if bits == 0 {
        Ok(HostId(id))
    } else {
        Err(bad("a host's grouped id"))
    }
}

/// The id in 52 values of five bits.
fn values(id: &HostId) -> Vec<u8> {
    let mut values = Vec::with_capacity(52);
    let mut bits = 0u32;
    let mut count = 0;
    for byte in id.0 {
        bits = bits << 8 | u32::from(byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            values.push((bits >> count) as u8 & 31);
        }
    }
    values.push((bits << (5 - count)) as u8 & 31);
    values
}

/// Sum of the digits, each times another power of a generator of GF(32): every single wrong digit and every swap of two
/// is seen.
fn check(block: &[u8]) -> u8 {
    double(block.iter().fold(0, |sum, digit| double(sum) ^ digit))
}

/// Times x in GF(32), modulo x^5 + x^2 + 1.
fn double(value: u8) -> u8 {
    let shifted = value << 1;
    if shifted & 0x20 == 0 {
        shifted
    } else {
        shifted ^ 0x25
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_id() -> HostId {
        let mut id = [0; 32];
        (0..32).for_each(|at| id[at] = (at as u8).wrapping_mul(37) ^ 0x5c);
        HostId(id)
    }

    #[test]
    fn all_words_differ() {
        let all: std::collections::BTreeSet<String> = (0..2_048).map(word).collect();
        assert_eq!(all.len(), 2_048);
    }

    /// People have these on paper: they never change.
    #[test]
    fn words_and_groups_are_frozen() {
        assert_eq!(words(&some_id()), "jubu sodi mudu nako jobi");
        assert_eq!(
            grouped(&some_id()),
            "BHWHCCY-8WP15YX-X0H5V5Y-1FATEWB-62KHQ3Q-1AQ43S6-4R6FBPM-3D18KGB"
        );
    }

    #[test]
    fn a_grouped_id_reads_back_as_people_type_it() {
        let id = some_id();
        let text = grouped(&id);
        assert_eq!(parse_grouped(&text), Ok(id));
        let typed = text
            .to_lowercase()
            .replace('-', " ")
            .replace('0', "o")
            .replace('1', "l");
        assert_eq!(parse_grouped(&typed), Ok(id));
        assert_eq!(
            parse_grouped(&grouped(&HostId([0xff; 32]))),
            Ok(HostId([0xff; 32]))
        );
    }

    #[test]
    fn every_single_error_and_every_swap_is_seen() {
        let text = grouped(&some_id()).replace('-', "");
        for at in 0..text.len() {
            for other in DIGITS {
                let mut wrong = text.clone().into_bytes();
                if wrong[at] != *other {
                    wrong[at] = *other;
                    assert!(
                        parse_grouped(&String::from_utf8(wrong).unwrap()).is_err(),
                        "digit {at}"
                    );
                }
            }
            let mut swapped = text.clone().into_bytes();
            if at + 1 < text.len() && swapped[at] != swapped[at + 1] {
                swapped.swap(at, at + 1);
                assert!(
                    parse_grouped(&String::from_utf8(swapped).unwrap()).is_err(),
                    "swap {at}"
                );
            }
        }
        for text in ["", "abc", &"0".repeat(57), "é"] {
            assert!(parse_grouped(text).is_err());
        }
    }
}
