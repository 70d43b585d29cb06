//! Checked-in expectations: `name: value` lines.
//!
//! A changed value fails. `KITH_GOLDEN=write` adds the lines that are missing and changes none: what is promised or stored stays.

use std::{env, fs, path::PathBuf};

/// Compares with `tests/golden/<file>`; every name must be unique.
pub(crate) fn check(file: &str, actual: &[(String, String)]) {
    write_new(file, actual);
    let kept = lines(file);
    for (name, value) in actual {
        let known = kept.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        assert_eq!(known, Some(value), "{file}: {name} changed or is new (see tests/support/golden.rs)");
    }
    assert_eq!(kept.len(), actual.len(), "{file} names what the test does not");
}

/// Adds the lines whose names the file lacks, if `KITH_GOLDEN=write` asks for it.
pub(crate) fn write_new(file: &str, actual: &[(String, String)]) {
    if env::var("KITH_GOLDEN").is_ok_and(|mode| mode == "write") {
        let mut kept = lines(file);
        for line in actual {
            if !kept.iter().any(|(known, _)| *known == line.0) {
                kept.push(line.clone());
            }
        }
        let text: String = kept.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        fs::write(path(file), text).expect("the golden file can be written");
    }
}

/// Every line of `tests/golden/<file>`; none if there is no such file.
pub(crate) fn lines(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(path(file)).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

/// Two digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of such digits.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hexadecimal")).collect()
}
