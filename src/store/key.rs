//! Keys as bytes whose order is the order of the keys. A tree's keys all have one type, so nothing marks the type.
//! The encoding is frozen by the tests below: a change would make every stored row unreachable.

use crate::id::{
    AttemptId, ChannelName, CommitId, Digest, HostId, HostName, JobId, PackageName, ProfileName,
    ProjectName, RecipeName, Seq, Stamp, VersionId,
};

/// A key of a tree. `write` then `read` gives the same key, and comparing the bytes compares the keys.
pub trait Key: Sized {
    /// Appends the key's bytes.
    fn write(&self, to: &mut Vec<u8>);

    /// Takes one key from the front; `None` when the bytes are no such key.
    fn read(from: &mut &[u8]) -> Option<Self>;

    /// All bytes of this key.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16);
        self.write(&mut bytes);
        bytes
    }

    /// The key that these bytes are, with nothing left over.
    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let key = Self::read(&mut bytes)?;
        bytes.is_empty().then_some(key)
    }
}

/// For trees with one row.
impl Key for () {
    fn write(&self, _: &mut Vec<u8>) {}
    fn read(_: &mut &[u8]) -> Option<()> {
        Some(())
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}

macro_rules! number_key {
    ($($type:ty),*) => {$(
        impl Key for $type {
            fn write(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_be_bytes());
            }
            fn read(from: &mut &[u8]) -> Option<Self> {
                take(from).map(<$type>::from_be_bytes)
            }
        }
    )*};
}
number_key!(u8, u16, u32, u64);

macro_rules! wrapped_key {
    ($($type:ident),*) => {$(
        impl Key for $type {
            fn write(&self, to: &mut Vec<u8>) {
                self.0.write(to);
            }
            fn read(from: &mut &[u8]) -> Option<Self> {
                Key::read(from).map($type)
            }
        }
    )*};
}
wrapped_key!(JobId, VersionId, Seq);

impl<const N: usize> Key for [u8; N] {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self);
    }
    fn read(from: &mut &[u8]) -> Option<Self> {
        take(from)
    }
}
wrapped_key!(Digest, HostId, CommitId);

impl Key for Stamp {
    /// The sign bit is turned round, so that times before 1970 come first.
    fn write(&self, to: &mut Vec<u8>) {
        ((self.0 as u64) ^ (1 << 63)).write(to);
    }
    fn read(from: &mut &[u8]) -> Option<Self> {
        u64::read(from).map(|raw| Stamp((raw ^ (1 << 63)) as i64))
    }
}

impl Key for AttemptId {
    fn write(&self, to: &mut Vec<u8>) {
        self.job.write(to);
        self.try_no.write(to);
    }
    fn read(from: &mut &[u8]) -> Option<Self> {
        Some(AttemptId {
            job: Key::read(from)?,
            try_no: Key::read(from)?,
        })
    }
}

/// A NUL inside a text is written `00 ff` and its end `00 01`, so that a shorter text comes before a longer one that
/// begins with it, whatever key follows in a pair.
impl Key for String {
    fn write(&self, to: &mut Vec<u8>) {
        write_text(self, to);
    }
    fn read(from: &mut &[u8]) -> Option<String> {
        let mut text = Vec::new();
        loop {
            let (&byte, rest) = from.split_first()?;
            *from = rest;
            if byte != 0 {
                text.push(byte);
                continue;
            }
            let (&mark, rest) = from.split_first()?;
            *from = rest;
            match mark {
                0x01 => return String::from_utf8(text).ok(),
                0xff => text.push(0),
                _ => return None,
            }
        }
    }
}

fn write_text(text: &str, to: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        to.push(byte);
        if byte == 0 {
            to.push(0xff);
        }
    }
    to.extend_from_slice(&[0x00, 0x01]);
}

macro_rules! name_key {
    ($($type:ident),*) => {$(
        impl Key for $type {
            fn write(&self, to: &mut Vec<u8>) {
                write_text(self.as_str(), to);
            }
            fn read(from: &mut &[u8]) -> Option<Self> {
                String::read(from)?.parse().ok()
            }
        }
    )*};
}
name_key!(
    ProjectName,
    RecipeName,
    PackageName,
    ProfileName,
    ChannelName,
    HostName
);

impl<A: Key, B: Key> Key for (A, B) {
    fn write(&self, to: &mut Vec<u8>) {
        self.0.write(to);
        self.1.write(to);
    }
    fn read(from: &mut &[u8]) -> Option<Self> {
        Some((A::read(from)?, B::read(from)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn write(&self, to: &mut Vec<u8>) {
        self.0.write(to);
        self.1.write(to);
        self.2.write(to);
    }
    fn read(from: &mut &[u8]) -> Option<Self> {
        Some((A::read(from)?, B::read(from)?, C::read(from)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_bytes_are_frozen() {
        let attempt = AttemptId {
            job: JobId(258),
            try_no: 3,
        };
        assert_eq!(
            attempt.to_bytes(),
            [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3],
            "an attempt"
        );
        assert_eq!(
            Stamp(-1).to_bytes(),
            [0x7f, 255, 255, 255, 255, 255, 255, 255]
        );
        assert_eq!("a\0b".to_string().to_bytes(), [97, 0, 255, 98, 0, 1]);
        let name: RecipeName = "xz".parse().unwrap();
        assert_eq!((name, 7u32).to_bytes(), [120, 122, 0, 1, 0, 0, 0, 7]);
        assert!(().to_bytes().is_empty());
    }

    #[test]
    fn texts_sort_as_bytes_do_whatever_follows() {
        let mut pairs: Vec<(String, u64)> = ["a", "ab", "a\0", "a\u{1}", "", "b"]
            .iter()
            .flat_map(|text| [0, 1, u64::MAX].map(|number| (text.to_string(), number)))
            .collect();
        pairs.sort();
        let bytes: Vec<_> = pairs.iter().map(Key::to_bytes).collect();
        assert!(bytes.is_sorted());
        for (pair, bytes) in pairs.iter().zip(&bytes) {
            assert_eq!(<(String, u64)>::from_bytes(bytes).as_ref(), Some(pair));
        }
    }

    #[test]
    fn bytes_that_are_no_key_are_none_and_never_a_panic() {
        assert_eq!(JobId::from_bytes(&[1, 2, 3]), None);
        assert_eq!(JobId::from_bytes(&[0; 9]), None);
        assert_eq!(String::from_bytes(&[97]), None);
        assert_eq!(String::from_bytes(&[97, 0]), None);
        assert_eq!(String::from_bytes(&[97, 0, 7]), None);
        assert_eq!(String::from_bytes(&[0xff, 0, 1]), None);
        assert_eq!(RecipeName::from_bytes(b"../x\x00\x01"), None);
    }
}
