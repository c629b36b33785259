//! Sizes as Kubernetes writes them: `1048576`, `500Mi`, `10G`.

const UNITS: [(&str, u64); 11] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("", 1),
];

/// Reads a whole number of bytes, with a unit or without.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let (number, unit) = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(*unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        for (text, size) in
            [("0", 0), ("1048576", 1 << 20), ("500Mi", 500 << 20), ("10G", 10_000_000_000), ("1k", 1_000)]
        {
            assert_eq!(parse(text), Some(size), "{text}");
        }
        for text in
            ["", "Gi", "-1", "+1", "1.5Gi", "1 Gi", "1GB", "1gi", "99999999999999999999", "99999999999Pi"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
