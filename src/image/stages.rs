//! The images that a Dockerfile takes: those that its stages begin with, and those that it copies or mounts files from.

use std::collections::BTreeMap;
use std::ops::Range;

use parse_dockerfile::{ArgInstruction, Dockerfile, Flag, Instruction, UnescapedString, parse};

use super::ImageReference;

/// The images, without those that are stages themselves or are named by variables without a value. None where the
/// Dockerfile cannot be understood: whoever builds it says why. `args` are the build's.
pub(super) fn bases(text: &str, args: &BTreeMap<String, String>) -> Vec<String> {
    let Ok(dockerfile) = parse(text) else { return Vec::new() };
    images(&dockerfile, text, args).into_iter().map(|image| image.name).collect()
}

/// The same Dockerfile with other names for its images, where `pin` gives one.
pub(super) fn pinned(text: &str, args: &BTreeMap<String, String>, pin: impl Fn(&str) -> Option<String>) -> String {
    let Ok(dockerfile) = parse(text) else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for Image { name, at } in images(&dockerfile, text, args) {
        if let Some(pinned) = pin(&name) {
            out.push_str(&text[done..at.start]);
            out.push_str(&pinned);
            done = at.end;
        }
    }
    out + &text[done..]
}

/// An image and where it is named.
struct Image {
    name: String,
    at: Range<usize>,
}

fn images(dockerfile: &Dockerfile<'_>, text: &str, args: &BTreeMap<String, String>) -> Vec<Image> {
    let mut variables = BTreeMap::new();
    let mut stages: Vec<String> = Vec::new();
    let mut images = Vec::new();
    for instruction in &dockerfile.instructions {
        match instruction {
            Instruction::Arg(arg) if stages.is_empty() => declare(arg, args, &mut variables),
            Instruction::From(from) => {
                if let Some(name) = image_name(&from.image.value, &variables)
                    && name != "scratch"
                    && !is_stage(&name, &stages)
                {
                    images.push(Image { name, at: from.image.span.start..from.image.span.end });
                }
                // A stage without a name counts, too: no stage has this one.
                stages.push(from.as_.as_ref().map_or_else(String::new, |(_, stage)| stage.value.to_ascii_lowercase()));
            }
            Instruction::Copy(copy) => images.extend(copied_from(&copy.options, text, &stages)),
            Instruction::Run(run) => images.extend(mounted_from(&run.options, text, &stages)),
            _ => {}
        }
    }
    images
}

fn is_stage(name: &str, stages: &[String]) -> bool {
    stages.iter().any(|stage| !stage.is_empty() && stage.eq_ignore_ascii_case(name))
}

/// What a name is once its variables have their values.
fn image_name(text: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    if !text.contains('$') {
        return Some(text.to_owned());
    }
    expand(text, variables).filter(|name| name == "scratch" || name.parse::<ImageReference>().is_ok())
}

fn copied_from(flags: &[Flag<'_>], text: &str, stages: &[String]) -> Option<Image> {
    let flag = flags.iter().find(|flag| flag.name.value.eq_ignore_ascii_case("from"))?;
    let value = literal(flag.value.as_ref()?, text)?;
    image(&text[value.clone()], value, stages)
}

fn mounted_from<'t>(flags: &'t [Flag<'_>], text: &'t str, stages: &'t [String]) -> impl Iterator<Item = Image> + 't {
    let mounts = flags.iter().filter(|flag| flag.name.value.eq_ignore_ascii_case("mount"));
    mounts.filter_map(|flag| {
        let value = literal(flag.value.as_ref()?, text)?;
        let mut start = value.start;
        for part in text[value].split(',') {
            if let Some(name) = part.strip_prefix("from=") {
                return image(name, start + "from=".len()..start + part.len(), stages);
            }
            start += part.len() + 1;
        }
        None
    })
}

/// Where a value stands that is written without escapes, and is no variable's.
fn literal(value: &UnescapedString<'_>, text: &str) -> Option<Range<usize>> {
    let at = value.span.start..value.span.end;
    (text.get(at.clone())? == value.value && !value.value.contains('$')).then_some(at)
}

fn image(name: &str, at: Range<usize>, stages: &[String]) -> Option<Image> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let is_image = !is_number && !is_stage(name, stages) && name.parse::<ImageReference>().is_ok();
    is_image.then(|| Image { name: name.to_owned(), at })
}

/// Notes what an `ARG` before the first stage declares: the build's value, else its default.
fn declare(arg: &ArgInstruction<'_>, args: &BTreeMap<String, String>, variables: &mut BTreeMap<String, String>) {
    for word in shlex::split(&arg.arguments.value).unwrap_or_default() {
        let (name, default) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        let given = args.get(name).cloned();
        if let Some(value) = given.or_else(|| expand(default?, variables)) {
            variables.insert(name.to_owned(), value);
        }
    }
}

/// `$NAME`, `${NAME}`, `${NAME:-else}` and `${NAME:+other}` with their values, as builders replace them; `None` where one has
/// none, or stands in a form that only some builders know.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, variable)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(inner) = variable.strip_prefix('{') {
            let end = closing(inner)?;
            out.push_str(&braced(&inner[..end], variables)?);
            rest = &inner[end + 1..];
        } else {
            let end = name_length(variable);
            out.push_str(variables.get(&variable[..end])?);
            rest = &variable[end..];
        }
    }
    out.push_str(rest);
    Some(out)
}

fn braced(inner: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let (name, form) = inner.split_at(name_length(inner));
    let value = variables.get(name);
    let full = value.filter(|value| !value.is_empty());
    match form {
        "" => value.cloned(),
        _ if form.starts_with(":-") => full.cloned().or_else(|| expand(&form[2..], variables)),
        _ if form.starts_with('-') => value.cloned().or_else(|| expand(&form[1..], variables)),
        _ if form.starts_with(":+") => full.map_or(Some(String::new()), |_| expand(&form[2..], variables)),
        _ if form.starts_with('+') => value.map_or(Some(String::new()), |_| expand(&form[1..], variables)),
        _ => None,
    }
}

/// Where the brace is that closes the one before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    text.bytes().position(|byte| {
        open += usize::from(byte == b'{');
        let closes = byte == b'}' && open == 0;
        open -= usize::from(byte == b'}' && open > 0);
        closes
    })
}

fn name_length(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    #[test]
    fn bases_are_pinned_and_all_else_stays() {
        let text = "# syntax=docker/dockerfile:1\nARG V=1\nFROM python:3.12 AS Build # no comment\nFROM scratch\n\
            FROM build\nRUN <<E\nfrom x import y\nFROM z\nE\nFROM --platform=linux/amd64 \\\n  b.example:5000/c\n\
            FROM $W\nFROM python:3.12";
        let text = text.replace(" # no comment", "");
        assert_eq!(bases(&text, &none()), ["python:3.12", "b.example:5000/c", "python:3.12"]);
        let pin = |name: &str| name.starts_with("python").then(|| "python@sha256:1".to_owned());
        assert_eq!(pinned(&text, &none(), pin), text.replace("python:3.12", "python@sha256:1"));
        assert_eq!(pinned("FORM x", &none(), pin), "FORM x");
    }

    #[test]
    fn variables_of_a_name_have_the_builds_values_or_their_defaults() {
        let text = "ARG REGISTRY=r.example:5000\nARG TAG=\"2\" NAME=\nARG IMAGE=$REGISTRY/field/base:${TAG}\n\
            FROM ${IMAGE} AS one\nARG REGISTRY\nFROM ${REGISTRY}/${NAME:-x}${UNSET:+y}:1\nFROM x-$TARGETARCH\nFROM ${STAGE:-one}";
        assert_eq!(bases(text, &none()), ["r.example:5000/field/base:2", "r.example:5000/x:1"]);
        let args = BTreeMap::from([("REGISTRY".to_owned(), "localhost:5001".to_owned())]);
        assert_eq!(bases(text, &args), ["localhost:5001/field/base:2", "localhost:5001/x:1"]);
        let pin = |name: &str| name.ends_with("base:2").then(|| "pinned".to_owned());
        assert_eq!(pinned(text, &args, pin), text.replace("FROM ${IMAGE}", "FROM pinned"));
    }

    #[test]
    fn images_that_files_come_from_count() {
        let text = "FROM a AS one\nCOPY --from=ghcr.io/astral-sh/uv:0.5 /uv /bin/\nCOPY --from=one / /\n\
            COPY --chown=1 --from=0 / /\nRUN --mount=type=bind,from=b:1,target=/b --mount=from=one,target=/c true\n";
        assert_eq!(bases(text, &none()), ["a", "ghcr.io/astral-sh/uv:0.5", "b:1"]);
        let pin = |name: &str| Some(format!("{name}@d"));
        let expected = text.replace("FROM a ", "FROM a@d ").replace("uv:0.5", "uv:0.5@d").replace("b:1", "b:1@d");
        assert_eq!(pinned(text, &none(), pin), expected);
    }
}
