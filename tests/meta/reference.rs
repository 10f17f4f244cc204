//! What is generated from the code: reference pages, the schema, completion scripts. `NAUTA_TEST_UPDATE=1` writes them.

use std::fmt::Write;
use std::path::Path;

use clap::{Command, CommandFactory};
use nauta::env_vars::EnvVar;

use crate::support::Workstation;

/// Asserts that a kept file is what the code says, or makes it so.
pub(crate) fn keep(path: &str, content: &str) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("NAUTA_TEST_UPDATE").is_some() {
        std::fs::write(&kept, content).expect("written");
    }
    let now = std::fs::read_to_string(&kept).unwrap_or_default();
    assert!(now == content, "{path} is stale: run the same test with `NAUTA_TEST_UPDATE=1`");
}

#[test]
fn the_page_of_the_command_line() {
    fn describe(command: &mut Command, name: &str, page: &mut String) {
        let help = command.clone().bin_name(name).term_width(100).render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let _ = write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
        for verb in command.get_subcommands_mut().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
            let name = format!("{name} {}", verb.get_name());
            describe(verb, &name, page);
        }
    }
    let mut page =
        "# Command line\n\nGenerated from the code; `nauta VERB --help` and the man pages say the same.\n".to_owned();
    let mut cli = nauta::cli::Cli::command();
    cli.build();
    describe(&mut cli, "nauta", &mut page);
    keep("docs/reference/cli.md", &page);
}

#[test]
fn the_page_of_environment_variables() {
    let mut page = "# Environment variables\n\nGenerated from the code.\n".to_owned();
    let mut list = |title: &str, text: &str, variables: &[EnvVar]| {
        let _ = write!(page, "\n## {title}\n\n{text}\n\n| name | meaning |\n|---|---|\n");
        for EnvVar { name, meaning } in variables {
            let _ = writeln!(page, "| `{name}` | {meaning} |");
        }
    };
    list("On the workstation", "Read by `nauta`.", nauta::env_vars::WORKSTATION);
    list(
        "In a rank",
        "Set by nauta for its supervisor; the program sees them too, but for those that only the supervisor may know.",
        nauta::env_vars::SUPERVISOR,
    );
    list(
        "For the program",
        "Set by the supervisor, unless the user has set them (`run.env`, `--env`): the user's win, but for those of which it says that nothing \
         replaces them, which a run refuses. `run.variables` (`--variables`) says which there are; [what reads them](../frameworks.md).",
        nauta::env_vars::PROGRAM,
    );
    list("Slurm's", "With `--variables slurm` and `--variables jax`; nothing replaces them.", nauta::env_vars::SLURM);
    list("MPI's", "With `--variables mpi`; nothing replaces them.", nauta::env_vars::MPI);
    keep("docs/reference/environment-variables.md", &page);
}

#[test]
fn the_page_of_labels_paths_and_ports() {
    fn constants(items: &[syn::Item], page: &mut String) {
        page.push_str("\n| what | value | meaning |\n|---|---|---|\n");
        for item in items {
            let syn::Item::Const(item) = item else { continue };
            let value = match &*item.expr {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => text.value(),
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(number), .. }) => number.to_string(),
                _ => continue,
            };
            let meaning = meaning(&item.attrs).replace("[`MANAGED_BY`]", "`app.kubernetes.io/managed-by`");
            let _ = writeln!(
                page,
                "| {} | `{value}` | {meaning} |",
                item.ident.to_string().to_lowercase().replace('_', " ")
            );
        }
    }
    fn meaning(attributes: &[syn::Attribute]) -> String {
        let line = |attribute: &syn::Attribute| match &attribute.meta {
            syn::Meta::NameValue(syn::MetaNameValue {
                value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
                ..
            }) => Some(text.value().trim().to_owned()),
            _ => None,
        };
        attributes.iter().filter_map(line).collect::<Vec<_>>().join(" ")
    }
    let file = syn::parse_file(include_str!("../../src/layout.rs")).expect("Rust");
    let mut page = "# Labels, paths and ports\n\nGenerated from the code.\n\n## Inside a rank's container\n".to_owned();
    constants(&file.items, &mut page);
    let labels = file.items.iter().find_map(|item| match item {
        syn::Item::Mod(module) if module.ident == "label" => module.content.as_ref(),
        _ => None,
    });
    page.push_str("\n## Labels and annotations\n\nOn everything that nauta makes, in Docker and in Kubernetes.\n");
    constants(&labels.expect("the module of labels").1, &mut page);
    keep("docs/reference/labels.md", &page);
}

#[test]
fn the_schema_of_nauta_toml() {
    let schema = schemars::schema_for!(nauta::settings::ProjectFile);
    keep("docs/reference/nauta.schema.json", &(serde_json::to_string_pretty(&schema).expect("JSON") + "\n"));
}

#[test]
fn the_completion_scripts() {
    let workstation = Workstation::new();
    for (shell, file) in [
        ("bash", "nauta.bash"),
        ("zsh", "_nauta"),
        ("fish", "nauta.fish"),
        ("powershell", "_nauta.ps1"),
        ("elvish", "nauta.elv"),
    ] {
        keep(&format!("completions/{file}"), &workstation.succeeds(&["completions", shell]).stdout);
    }
}

#[test]
fn the_page_of_exit_codes_knows_every_kind() {
    use nauta::diagnosis::Kind;
    let page = include_str!("../../docs/reference/exit-codes.md");
    for kind in [Kind::Input, Kind::Usage, Kind::Unavailable, Kind::JobFailed, Kind::Bug, Kind::Interrupted] {
        assert!(page.contains(&format!("| {} |", kind.exit_code())), "{kind:?}");
        let json = include_str!("../../docs/reference/json.md");
        assert!(json.contains(&format!("`{}`", kind.as_str())), "{kind:?}");
    }
}

#[test]
fn the_page_of_configuration_knows_every_key() {
    fn keys(schema: &serde_json::Value, found: &mut Vec<String>) {
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            found.push(key.clone());
            keys(value, found);
        }
        schema["$defs"].as_object().into_iter().flatten().for_each(|(_, value)| keys(value, found));
    }
    let page = include_str!("../../docs/reference/configuration.md");
    let mut found = Vec::new();
    for schema in
        [schemars::schema_for!(nauta::settings::ProjectFile), schemars::schema_for!(nauta::settings::UserFile)]
    {
        keys(schema.as_value(), &mut found);
    }
    assert!(found.len() > 20, "{found:?}");
    for key in found {
        let known = [format!("`{key}"), format!(".{key}`"), format!(".{key}.")].iter().any(|text| page.contains(text));
        assert!(known, "docs/reference/configuration.md says nothing of `{key}`");
    }
}
