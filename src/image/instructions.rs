//! What a Dockerfile of the user's own says: the images it is built on, and the files it copies.

use parse_dockerfile::{Dockerfile, Flag, FromInstruction, Instruction, Source, parse};

/// The images that a Dockerfile's stages begin with, without those that are stages themselves or are named by a variable.
/// None where the Dockerfile cannot be understood: whoever builds it says why.
pub(super) fn bases(text: &str) -> Vec<String> {
    let Ok(dockerfile) = parse(text) else { return Vec::new() };
    froms(&dockerfile).map(|from| from.image.value.clone().into_owned()).collect()
}

/// The same Dockerfile with other names for its bases, where `pin` gives one.
pub(super) fn pinned(text: &str, pin: impl Fn(&str) -> Option<String>) -> String {
    let Ok(dockerfile) = parse(text) else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for from in froms(&dockerfile) {
        if let Some(pinned) = pin(&from.image.value) {
            out.push_str(&text[done..from.image.span.start]);
            out.push_str(&pinned);
            done = from.image.span.end;
        }
    }
    out + &text[done..]
}

fn froms<'d>(dockerfile: &'d Dockerfile<'_>) -> impl Iterator<Item = &'d FromInstruction<'d>> {
    let mut stages = Vec::new();
    dockerfile.instructions.iter().filter_map(move |instruction| {
        let Instruction::From(from) = instruction else { return None };
        let name = &*from.image.value;
        let is_image = name != "scratch" && !name.contains('$') && !stages.contains(&name.to_ascii_lowercase());
        stages.extend(from.as_.as_ref().map(|(_, stage)| stage.value.to_ascii_lowercase()));
        is_image.then_some(from)
    })
}

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

    #[test]
    fn bases_are_pinned_and_all_else_stays() {
        let text = "# syntax=docker/dockerfile:1\nARG V=1\nFROM python:3.12 AS Build # no comment\nFROM scratch\nFROM build\n\
            RUN <<E\nfrom x import y\nFROM z\nE\nFROM --platform=linux/amd64 \\\n  b.example:5000/c\nFROM a:$V\nFROM python:3.12";
        assert_eq!(bases(&text.replace(" # no comment", "")), ["python:3.12", "b.example:5000/c", "python:3.12"]);
        let text = text.replace(" # no comment", "");
        let pin = |name: &str| name.starts_with("python").then(|| "python@sha256:1".to_owned());
        assert_eq!(pinned(&text, pin), text.replace("python:3.12", "python@sha256:1"));
        assert_eq!(pinned("FORM x", pin), "FORM x");
    }
}
