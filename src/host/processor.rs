//! What the processor of this machine can do: by what it says of itself (cpuid), never by its name.

/// The features that levels are made of and that this processor has, by the names that the kernel's `/proc/cpuinfo` has for
/// them, where there are such.
#[cfg(target_arch = "x86_64")]
pub(super) fn features() -> Vec<String> {
    macro_rules! seen {
        ($($feature:tt),* $(,)?) => {
            [$(($feature, std::arch::is_x86_feature_detected!($feature))),*]
        };
    }
    let seen = seen![
        "sse3",
        "ssse3",
        "sse4.1",
        "sse4.2",
        "popcnt",
        "cmpxchg16b",
        "avx",
        "avx2",
        "bmi1",
        "bmi2",
        "f16c",
        "fma",
        "lzcnt",
        "movbe",
        "aes",
        "pclmulqdq",
        "rdrand",
        "xsaveopt",
        "avx512f",
        "avx512bw",
        "avx512cd",
        "avx512dq",
        "avx512vl",
        "avx512vnni",
        "avx512bf16",
        "sha",
        "vaes",
        "gfni",
        "adx",
        "rdseed",
    ];
    let mut found: Vec<String> = seen
        .into_iter()
        .filter(|(_, has)| *has)
        .map(|(feature, _)| feature.to_string())
        .collect();
    if has_fsgsbase() {
        found.push("fsgsbase".into());
    }
    found.sort();
    found
}

/// Leaf 7, EBX bit 0: the standard library has no name for it, because programs need not ask.
#[cfg(target_arch = "x86_64")]
fn has_fsgsbase() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & 1 == 1
}

/// Levels above the baseline exist on x86_64 only.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn features() -> Vec<String> {
    Vec::new()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    #[test]
    fn what_cpuid_says_is_what_the_kernel_says() {
        let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else {
            return;
        };
        let Some(line) = text.lines().find(|line| line.starts_with("flags")) else {
            return;
        };
        let kernel: Vec<&str> = line.split_whitespace().collect();
        let found = super::features();
        for feature in [
            "avx2", "bmi2", "fma", "fsgsbase", "aes", "avx512f", "avx512vl",
        ] {
            let has = found.iter().any(|known| known == feature);
            assert_eq!(has, kernel.contains(&feature), "{feature}");
        }
    }
}
