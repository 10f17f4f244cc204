//! Any bytes as Docker's contexts, and as an image that it gives out.

use std::collections::HashSet;

use super::endpoint;
use super::saved::SavedImage;
use crate::digest::Digest;

/// A context's description, a configuration that names one, and a host.
pub(crate) fn context(bytes: &[u8]) {
    endpoint::try_context(bytes);
}

/// An archive that is to have the layers `one` and `two`: what is given out is what was asked for.
pub(crate) fn saved_image(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let diff_ids = vec![Digest::of("one"), Digest::of("two")];
    let wanted: HashSet<Digest> = diff_ids.iter().cloned().collect();
    let saved = SavedImage::new("image", diff_ids.clone(), wanted, folder.path().to_owned(), Box::new(drop));
    if let Ok(image) = saved.read(bytes) {
        assert_eq!(image.diff_ids, diff_ids);
        assert!(!image.config.is_empty());
    }
}
