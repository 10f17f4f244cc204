//! What nauta is built of: from where, and under which licences. `.deny.toml` says which; cargo-deny reads it too, and knows
//! advisories besides.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::process::Command;

use serde_json::Value;

/// Where all of it comes from.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[test]
fn all_that_is_built_in_comes_from_one_registry_and_is_known_by_its_digest() {
    for lock in [include_str!("../../Cargo.lock"), include_str!("../../fuzz/Cargo.lock")] {
        let lock: toml::Table = lock.parse().expect("cargo's own");
        for package in lock["package"].as_array().expect("a list") {
            let text = |key: &str| package.get(key).and_then(toml::Value::as_str).unwrap_or_default();
            let is_ours = ["nauta", "nauta-fuzz"].contains(&text("name")) && text("source").is_empty();
            assert!(is_ours || text("source") == CRATES_IO && text("checksum").len() == 64, "{package}");
        }
    }
}

#[test]
fn all_that_is_built_in_has_a_licence_that_is_allowed() {
    let rules: toml::Table = include_str!("../../.deny.toml").parse().expect("TOML");
    let allowed = rules["licenses"]["allow"].as_array().expect("a list");
    let allowed: BTreeSet<&str> = allowed.iter().filter_map(toml::Value::as_str).collect();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments = ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", &host];
    let output = Command::new(cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    assert!(packages.len() > 100, "{}", packages.len());
    for package in packages {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence, &allowed), "{} {}: `{licence}`", package["name"], package["version"]);
    }
}

/// Whether an SPDX expression leaves a choice of licences that are all allowed.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "_WITH_");
    let words: Vec<String> = spaced.split_whitespace().map(|word| word.replace("_WITH_", " WITH ")).collect();
    let mut rest = words.iter().map(String::as_str).peekable();
    any_of(&mut rest, allowed) && rest.next().is_none()
}

fn any_of<'w>(rest: &mut Peekable<impl Iterator<Item = &'w str>>, allowed: &BTreeSet<&str>) -> bool {
    let mut found = all_of(rest, allowed);
    while rest.next_if_eq(&"OR").is_some() {
        found |= all_of(rest, allowed);
    }
    found
}

fn all_of<'w>(rest: &mut Peekable<impl Iterator<Item = &'w str>>, allowed: &BTreeSet<&str>) -> bool {
    let mut found = one(rest, allowed);
    while rest.next_if_eq(&"AND").is_some() {
        found &= one(rest, allowed);
    }
    found
}

fn one<'w>(rest: &mut Peekable<impl Iterator<Item = &'w str>>, allowed: &BTreeSet<&str>) -> bool {
    match rest.next() {
        Some("(") => any_of(rest, allowed) & rest.next_if_eq(&")").is_some(),
        Some(licence) => allowed.contains(licence),
        None => false,
    }
}

#[test]
fn expressions_are_read_as_they_are_meant() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]);
    for fine in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/GPL-2.0",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception",
        "GPL-3.0 AND X OR MIT AND Apache-2.0",
    ] {
        assert!(is_allowed(fine, &allowed), "{fine}");
    }
    for not in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT MIT", "MIT WITH X", "(GPL-3.0 OR X) AND MIT"] {
        assert!(!is_allowed(not, &allowed) || not == "{not}");
    }
}
