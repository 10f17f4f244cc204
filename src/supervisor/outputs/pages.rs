//! The list of a rank's outputs as it is in the mailbox: pages that stay as they are, and a short rest that goes with the index.
//! Small pages are joined when as much has come behind them, so that no entry is sent more than a few times.

use super::catalogue::{Catalogue, Reader, Tail};
use crate::sync::{PAGE_FILES, PageRef};

/// So many changes go with the index itself.
const INLINE: usize = 500;
/// So many overtaken entries in pages are no reason yet to make them anew.
const FEW: usize = 2 * PAGE_FILES;

/// The pages that are in the mailbox.
#[derive(Clone, Default)]
pub(super) struct Pages(Vec<Written>);

#[derive(Clone)]
struct Written {
    /// Number of the last change in it.
    to: u64,
    len: usize,
    reference: PageRef,
}

/// What has to be written.
pub(super) struct Plan {
    /// So many of the pages stay.
    keep: usize,
    /// Pages behind them: the JSON, the number of its last change, and how many entries it has.
    pub(super) new: Vec<(Vec<u8>, u64, usize)>,
}

impl Pages {
    /// The number of the last change that is in a page.
    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, |page| page.to)
    }

    /// What an index says of them.
    pub(super) fn references(&self) -> Vec<PageRef> {
        self.0.iter().map(|page| page.reference.clone()).collect()
    }

    /// What to write so that the rest is short.
    pub(super) fn plan(&self, catalogue: &mut Catalogue) -> Plan {
        let mut keep = self.0.len();
        if catalogue.superseded > FEW.max(catalogue.len()) && keep > 0 {
            (keep, catalogue.superseded) = (0, 0);
        } else {
            let mut joined = catalogue.count(self.end());
            if joined <= INLINE {
                return Plan { keep, new: Vec::new() };
            }
            while let Some(page) = keep.checked_sub(1).map(|last| &self.0[last]) {
                if page.len >= PAGE_FILES || page.len > joined {
                    break;
                }
                joined += page.len;
                keep -= 1;
            }
        }
        let mut at = keep.checked_sub(1).map_or(0, |last| self.0[last].to);
        let mut new = Vec::new();
        while at < catalogue.end() {
            let part = catalogue.part(Reader::Mailbox, at, catalogue.end(), Tail::default());
            at = part.next;
            if part.len > 0 {
                new.push((part.json, part.next, part.len));
            }
        }
        Plan { keep, new }
    }

    /// What a plan comes to, whose new pages are now in the mailbox.
    pub(super) fn after(&self, plan: &Plan, references: Vec<PageRef>) -> Self {
        let kept = self.0[..plan.keep].iter().cloned();
        let new = plan.new.iter().zip(references);
        let new = new.map(|((_, to, len), reference)| Written { to: *to, len: *len, reference });
        Self(kept.chain(new).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::digest::Digest;
    use crate::sync::{File, Page};
    use proptest::prelude::*;

    fn file(path: u32, version: u32) -> File {
        let digest = Digest::of(version.to_be_bytes());
        File {
            path: path.to_string(),
            size: 0,
            mode: 0,
            modified: version.into(),
            digest,
            chunks: Vec::new(),
            link: None,
            origin: crate::sync::Origin::Outputs,
        }
    }

    /// What somebody reads who applies pages and rest in their order.
    fn read(store: &BTreeMap<Digest, Vec<u8>>, pages: &Pages, catalogue: &Catalogue) -> BTreeMap<String, i64> {
        let mut files = BTreeMap::new();
        let rest = catalogue.part(Reader::Mailbox, pages.end(), catalogue.end(), Tail::default()).json;
        for json in pages.references().iter().map(|page| &store[&page.blob]).chain([&rest]) {
            let page: Page = serde_json::from_slice(json).expect("a page");
            files.extend(page.files.into_iter().map(|file| (file.path, file.modified)));
            files.retain(|path, _| !page.removed.contains(path));
        }
        files
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn the_pages_say_what_the_catalogue_says(rounds in prop::collection::vec((0_u32..15_000, 0_u32..3_000, any::<bool>()), 1..16)) {
            let (mut catalogue, mut pages, mut store) = (Catalogue::default(), Pages::default(), BTreeMap::new());
            let (mut model, mut sent) = (BTreeMap::new(), 0);
            for (version, (start, count, removes)) in rounds.iter().enumerate() {
                let version = u32::try_from(version).expect("few");
                for path in *start..start + count {
                    if *removes {
                        catalogue.remove(&path.to_string());
                        model.remove(&path.to_string());
                    } else {
                        catalogue.list(file(path, version));
                        model.insert(path.to_string(), i64::from(version));
                    }
                }
                let plan = pages.plan(&mut catalogue);
                let references = plan.new.iter().map(|(json, _, len)| {
                    let blob = Digest::of(json);
                    store.insert(blob.clone(), json.clone());
                    sent += len;
                    PageRef { blob, size: json.len() as u64 }
                }).collect();
                pages = pages.after(&plan, references);
                prop_assert!(catalogue.count(pages.end()) <= INLINE);
                prop_assert_eq!(&read(&store, &pages, &catalogue), &model);
            }
            let changes: u32 = rounds.iter().map(|(_, count, _)| count).sum();
            prop_assert!(sent <= 8 * changes as usize + 2 * FEW, "{sent} for {changes}");
        }
    }
}
