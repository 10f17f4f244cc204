//! What a Dockerfile of the user's own says: the files it copies.

use parse_dockerfile::{Flag, Instruction, Source, parse};

/// Something of the project that a Dockerfile reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    /// As it is written, a pattern perhaps; `.` is the whole project.
    pub(super) path: String,
    /// The line, from 1.
    pub(super) line: Option<usize>,
    /// What is written there.
    pub(super) text: String,
}

/// The sources of a Dockerfile's `COPY` and `ADD` instructions and of its bind mounts that come from the project; what cannot be
/// understood (variables) is the whole project: building once too often is right, once too rarely is not.
pub(super) fn copied_sources(text: &str) -> Vec<Copied> {
    let whole = |line, text: &str| Copied { path: ".".to_owned(), line, text: text.to_owned() };
    let Ok(dockerfile) = parse(text) else { return vec![whole(None, "")] };
    let mut sources = Vec::new();
    for instruction in &dockerfile.instructions {
        // What a stage leaves for those that build on it, another one of the same file may be.
        let instruction = match instruction {
            Instruction::Onbuild(later) => &*later.instruction,
            now => now,
        };
        let (word, found) = match instruction {
            Instruction::Copy(copy) if flag(&copy.options, "from").is_some() => continue,
            Instruction::Copy(copy) => ("COPY", &copy.src),
            Instruction::Add(add) => ("ADD", &add.src),
            Instruction::Run(run) => {
                let line = Some(line_at(text, run.run.span.start));
                let mounts = run.options.iter().filter_map(mounted);
                sources.extend(mounts.map(|path| Copied { path, line, text: "RUN --mount=type=bind".to_owned() }));
                continue;
            }
            _ => continue,
        };
        for source in found {
            let Source::Path(path) = source else { continue };
            let line = Some(line_at(text, path.span.start));
            let says = format!("{word} {}", path.value);
            match &*path.value {
                unclear if unclear.contains(['$', '<']) => sources.push(whole(line, &says)),
                url if url.contains("://") || url.starts_with("git@") => {}
                path => sources.push(Copied { path: path.to_owned(), line, text: says }),
            }
        }
    }
    sources
}

fn line_at(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count() + 1
}

fn flag<'f>(flags: &'f [Flag<'_>], name: &str) -> Option<&'f str> {
    let flag = flags.iter().find(|flag| flag.name.value.eq_ignore_ascii_case(name))?;
    Some(flag.value.as_ref().map_or("", |value| &value.value))
}

/// What of the build context a bind mount shows: all of it where it has no source of its own.
fn mounted(flag: &Flag<'_>) -> Option<String> {
    let value = flag.value.as_ref().map_or("", |value| &*value.value);
    let is_bind = value.contains("type=bind") || !value.contains("type=");
    if !flag.name.value.eq_ignore_ascii_case("mount") || !is_bind || value.contains("from=") {
        return None;
    }
    let source = value.split(',').find_map(|part| part.strip_prefix("source=").or_else(|| part.strip_prefix("src=")));
    Some(source.filter(|source| !source.contains('$')).unwrap_or(".").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_sources_are_found_and_doubt_means_everything() {
        let found = |text: &str| copied_sources(&format!("FROM x\n{text}"));
        let sources = |text: &str| found(text).into_iter().map(|one| one.path).collect::<Vec<_>>().join(",");
        assert_eq!(sources("COPY requirements.txt ./\nRUN x"), "requirements.txt");
        assert_eq!(sources("COPY --chown=1:1 a b/*.txt /x\nADD https://e.com/x /y"), "a,b/*.txt");
        assert_eq!(sources("COPY --from=build /a /b"), "");
        assert_eq!(sources("COPY a \\\n  c /x"), "a,c");
        assert_eq!(sources("COPY [\"a b\", \"/x\"]"), "a b");
        assert_eq!(sources("COPY .streamlit/ ./a/../b a//b /x"), ".streamlit/,./a/../b,a//b");
        assert_eq!(sources("RUN --mount=type=cache,target=/c x"), "");
        assert_eq!(sources("RUN --mount=type=bind,source=uv.lock,target=/uv.lock x"), "uv.lock");
        assert_eq!(sources("RUN --mount=from=build,source=/a,target=/b x"), "");
        assert_eq!(sources("RUN <<END\nCOPY all of it\nEND\nCOPY a /x"), "a");
        for everything in ["COPY $X /app", "RUN --mount=type=bind,target=/x y", "COPY"] {
            assert_eq!(sources(everything), ".", "{everything}");
        }
        assert_eq!(sources("ONBUILD COPY a /x"), "a");
        assert_eq!(found("\nCOPY a \\\n  b /x")[1].line, Some(4));
    }
}
