//! Links between the pages lead somewhere.

use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The names that a page's headings can be linked by, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let (mut found, mut heading) = (Vec::new(), None::<String>);
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => heading.iter_mut().for_each(|heading| heading.push_str(&text)),
            Event::End(TagEnd::Heading(_)) => {
                let title = heading.take().unwrap_or_default().to_lowercase();
                let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                found.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
            }
            _ => {}
        }
    }
    found
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    for folder in ["docs", "templates", "tests"] {
        pages(&root.join(folder), &mut all);
    }
    let (mut count, mut dead) = (0, Vec::new());
    for page in &all {
        let text = std::fs::read_to_string(page).expect("readable");
        for event in Parser::new(&text) {
            let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event else { continue };
            if dest_url.contains("://") {
                continue;
            }
            count += 1;
            let (file, anchor) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
            let to = if file.is_empty() { page.clone() } else { page.parent().expect("has one").join(file) };
            let leads = to.exists()
                && (anchor.is_empty()
                    || std::fs::read_to_string(&to).is_ok_and(|text| anchors(&text).iter().any(|name| name == anchor)));
            if !leads {
                dead.push(format!("{}: {dest_url}", page.display()));
            }
        }
    }
    assert!(count > 10, "{count}");
    assert_eq!(dead, Vec::<String>::new());
}
