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

/// The sources of a Dockerfile's `COPY` and `ADD` instructions that come from the project; a wildcard counts as the folder it
/// is in, and what cannot be understood (variables, mounts of the project) as the whole project: building once too often is
/// right, once too rarely is not.
pub(super) fn copied_sources(text: &str) -> Vec<String> {
    let whole = || vec![String::new()];
    let Ok(dockerfile) = parse(text) else { return whole() };
    let mut sources = Vec::new();
    for instruction in &dockerfile.instructions {
        let found = match instruction {
            Instruction::Copy(copy) if flag(&copy.options, "from").is_some() => continue,
            Instruction::Copy(copy) => &copy.src,
            Instruction::Add(add) => &add.src,
            Instruction::Run(run) if run.options.iter().any(mounts_project) => return whole(),
            _ => continue,
        };
        for source in found {
            match source {
                Source::Path(path) if path.value.contains(['$', '[', '<']) => return whole(),
                Source::Path(path) if !path.value.contains("://") => sources.push(source_folder(&path.value)),
                _ => {}
            }
        }
    }
    sources
}

fn flag<'f>(flags: &'f [Flag<'_>], name: &str) -> Option<&'f str> {
    let flag = flags.iter().find(|flag| flag.name.value.eq_ignore_ascii_case(name))?;
    Some(flag.value.as_ref().map_or("", |value| &value.value))
}

/// A bind mount without a source of its own shows the build context.
fn mounts_project(flag: &Flag<'_>) -> bool {
    let value = flag.value.as_ref().map_or("", |value| &*value.value);
    let is_bind = value.contains("type=bind") || !value.contains("type=");
    flag.name.value.eq_ignore_ascii_case("mount") && is_bind && !value.contains("from=")
}

/// `a/b*/c` is in `a`; `./a/` is `a`; `.` is the whole project, which is the empty path.
fn source_folder(path: &str) -> String {
    let fixed = path.find(['*', '?']).map_or(path, |wildcard| path[..wildcard].rsplit_once('/').map_or("", |(f, _)| f));
    fixed.trim_start_matches("./").trim_matches('/').trim_end_matches("/.").trim_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_sources_are_found_and_doubt_means_everything() {
        let sources = |text: &str| copied_sources(&format!("FROM x\n{text}")).join(",");
        assert_eq!(sources("COPY requirements.txt ./\nRUN x"), "requirements.txt");
        assert_eq!(sources("COPY --chown=1:1 a b/*.txt /x\nADD https://e.com/x /y"), "a,b");
        assert_eq!(sources("COPY --from=build /a /b"), "");
        assert_eq!(sources("COPY a \\\n  c /x"), "a,c");
        assert_eq!(sources("COPY [\"a b\", \"/x\"]"), "a b");
        assert_eq!(sources("RUN --mount=type=cache,target=/c x"), "");
        assert_eq!(sources("RUN <<END\nCOPY all of it\nEND\nCOPY a /x"), "a");
        for everything in [
            "COPY . /app",
            "COPY ./ /app",
            "COPY $X /app",
            "COPY *.py /app/",
            "RUN --mount=type=bind,target=/x y",
            "COPY",
        ] {
            assert_eq!(copied_sources(&format!("FROM x\n{everything}")), [""], "{everything}");
        }
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
