//! What a conda environment file reads: the `pip:` section in it names what pip would.

use serde_json::Value;

use super::gather::{Gatherer, Shape, resolve};
use super::requirements::{named, take_named};
use super::value::{Reason, Trouble};
use crate::snapshot::SnapshotError;

pub(super) fn gather(gatherer: &mut Gatherer<'_>, path: &str) -> Result<(), SnapshotError> {
    let file = resolve(&gatherer.project, path);
    let own = Reason::new("the project", None, "");
    let Some(real) = gatherer.take(&file, Shape::Named, &own)? else { return Ok(()) };
    let Some(text) = gatherer.read(&real, &own) else { return Ok(()) };
    let lines = match pip_lines(&text) {
        Ok(lines) => lines,
        Err(why) => {
            gatherer.problem(&file, &own, Trouble::Malformed(why));
            return Ok(());
        }
    };
    // conda runs pip where the file is.
    let folder = file.parent().unwrap_or(&file).to_owned();
    for line in lines {
        if let Some(found) = named(&line) {
            let number = text.lines().position(|text| text.contains(&line)).map(|at| at + 1);
            take_named(gatherer, &found, &folder, &folder, &Reason::new(path, number, line))?;
        }
    }
    Ok(())
}

/// The lines that conda hands to pip.
fn pip_lines(text: &str) -> Result<Vec<String>, String> {
    let file: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let dependencies = file["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pips = dependencies.iter().filter_map(|one| one.get("pip")?.as_array()).flatten();
    Ok(pips.filter_map(Value::as_str).map(|line| line.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pip_section_is_found() {
        let text =
            "name: x\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n    - -r requirements.txt\n    - idna\n";
        assert_eq!(pip_lines(text), Ok(vec!["-r requirements.txt".to_owned(), "idna".to_owned()]));
        assert_eq!(pip_lines("dependencies: [numpy]\n"), Ok(Vec::new()));
        assert!(pip_lines("a: [").is_err());
    }
}
