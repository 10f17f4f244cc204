//! Any bytes as what others say of images, and as Dockerfiles.

use std::collections::BTreeMap;

use super::compose::{Image, compose, config_of, select_platform};
use super::{ImageReference, instructions, stages};

/// A manifest and, behind a byte 0, a configuration. What is composed on an image is an image.
pub(crate) fn documents(bytes: &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == 0);
    let (manifest, config) = cut.map_or((bytes, bytes), |at| (&bytes[..at], &bytes[at + 1..]));
    let _ = (config_of(manifest), select_platform(manifest, "amd64"));
    let Ok(image) = Image::from_documents(manifest, config) else { return };
    let Ok(composed) = compose(&image, "p", &[], &[("label", "value")]) else { return };
    let again = Image::from_documents(&composed.manifest, &composed.config).expect("our own");
    assert_eq!(again.layers, image.layers);
}

/// A Dockerfile says the same where its bases are named as before, and has others where they are pinned.
pub(crate) fn dockerfile(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let none = BTreeMap::new();
    let bases = stages::bases(&text, &none);
    assert_eq!(stages::pinned(&text, &none, |_| None), text);
    // A name may have been broken into lines, and is whole afterwards.
    assert_eq!(stages::bases(&stages::pinned(&text, &none, |name| Some(name.to_owned())), &none), bases);
    let pinned = stages::pinned(&text, &none, |_| Some("pinned".to_owned()));
    assert!(bases.is_empty() || pinned.contains("pinned"));
    let _ = instructions::copied_sources(&text);
}

/// A file of requirements.
pub(crate) fn requirements(bytes: &[u8]) {
    super::inputs::fuzz_requirements(&String::from_utf8_lossy(bytes));
}

/// A name says the same once it is written anew.
pub(crate) fn name(bytes: &[u8]) {
    let Ok(reference) = String::from_utf8_lossy(bytes).parse::<ImageReference>() else { return };
    let again: ImageReference = reference.to_string().parse().expect("our own");
    assert_eq!(again, reference);
    assert!(!reference.to_string().contains(char::is_control));
}
