//! Names that tell what a program has made beside its results: caches, and data sets that it has downloaded.

use crate::snapshot::{CACHE_FOLDERS, ENVIRONMENT_MARKS};

/// What a folder's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Any,
    /// It can be made again, and nobody wants it.
    Cache,
    /// It holds data, perhaps prepared by the program.
    Data,
    /// It holds what a library downloads.
    Download,
}

/// Caches of languages, tools and frameworks, besides those that no project sends: in one, such a folder may be meant.
const CACHES: &[&str] = &[
    ".git",
    ".cache",
    ".venv",
    ".eggs",
    ".hypothesis",
    ".triton",
    ".nv",
    ".keras",
    ".cargo",
    ".conda",
    ".npm",
    ".local",
    ".config",
    ".matplotlib",
    ".theano",
    ".inductor_cache",
    "torchinductor_nauta",
];
/// The file that marks a folder as a cache (Cache Directory Tagging Specification).
const MARKER: &str = "CACHEDIR.TAG";
const DATA: &[&str] = &["data", "dataset", "datasets", "downloads"];
/// Folders that torchvision, TensorFlow Datasets, NLTK, torchtext and Hugging Face make.
const DOWNLOADS: &[&str] = &[
    "MNIST",
    "FashionMNIST",
    "KMNIST",
    "QMNIST",
    "EMNIST",
    "cifar-10-batches-py",
    "cifar-100-python",
    "caltech101",
    "caltech256",
    "celeba",
    "flowers-102",
    "food-101",
    "gtsrb",
    "imagenette2",
    "oxford-iiit-pet",
    "stl10_binary",
    "tiny-imagenet-200",
    "VOCdevkit",
    "LibriSpeech",
    "SpeechCommands",
    "tensorflow_datasets",
    "nltk_data",
    "aclImdb",
    "wikitext-2",
    "wikitext-103",
];
/// How the folders of Hugging Face's cache begin.
const HUB: [&str; 3] = ["models--", "datasets--", "spaces--"];
const CACHED_FILES: [&str; 4] = [".pyc", ".pyo", ".swp", ".lock"];
/// What data sets come in, and results rarely do.
const ARCHIVES: &[&str] =
    &[".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar", ".parquet", ".arrow", ".tfrecord", ".mdb"];

/// What a folder's name says.
pub(super) fn folder(name: &str) -> Kind {
    if CACHE_FOLDERS.contains(&name) || CACHES.contains(&name) || name.ends_with(".egg-info") {
        Kind::Cache
    } else if DOWNLOADS.contains(&name) || HUB.iter().any(|start| name.starts_with(start)) {
        Kind::Download
    } else if DATA.iter().any(|data| name.eq_ignore_ascii_case(data)) {
        Kind::Data
    } else {
        Kind::Any
    }
}

/// Whether the folder that has this name in it is a cache.
pub(super) fn marks_cache(name: &str) -> bool {
    name == MARKER || ENVIRONMENT_MARKS.contains(&name)
}

/// Whether a file of this name is of no use elsewhere.
pub(super) fn is_cached_file(name: &str) -> bool {
    CACHED_FILES.iter().any(|end| name.ends_with(end)) || name == ".DS_Store"
}

/// Whether a file of this name is rather downloaded than made, if it is large.
pub(super) fn is_archive(name: &str) -> bool {
    ARCHIVES.iter().any(|end| name.ends_with(end))
}
