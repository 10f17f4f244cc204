//! The main job: runs on the real Docker and the real cluster.

mod admission;
mod architecture;
pub(crate) mod cluster;
mod code;
mod delivery;
mod dockerfiles;
mod doctor;
mod elastic;
mod environment;
mod environments;
mod flood;
mod frameworks;
mod late_outputs;
mod launchers;
mod local;
mod lock;
mod log_archive;
mod log_loss;
mod log_volume;
mod logs;
mod private_indexes;
mod program_secrets;
mod programs;
mod restarts;
mod secrets;
mod shared;
mod stall;
mod together;
mod troubles;
pub(crate) mod truth;
mod tunnel;
mod uploads;
mod variables;
mod workspace;
mod writer;
mod written;

/// The digests of parameters that the ranks of the pytorch template print.
fn parameters(stdout: &str) -> Vec<String> {
    let mut all: Vec<String> =
        stdout.lines().filter_map(|line| line.split(": parameters ").nth(1).map(str::to_owned)).collect();
    all.sort();
    all
}

/// A directory with the pytorch template on an image that is there.
fn pytorch(base: &str) -> crate::support::Workstation {
    from_template("pytorch", base)
}

/// A directory with a template on an image that is there, and that has the packages.
fn from_template(name: &str, base: &str) -> crate::support::Workstation {
    let workstation = template_on(name, base);
    let text = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("packages")).collect();
    workstation.write("nauta.toml", &lines.join("\n"));
    workstation
}

/// A directory with a template as it is, but for the image, which no machine of the tests could fetch.
fn template_on(name: &str, base: &str) -> crate::support::Workstation {
    let workstation = crate::support::Workstation::new();
    let _ = workstation.succeeds(&["init", "--template", name]);
    let text = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
    let on_base = |line: &str| if line.starts_with("base") { format!("base = '{base}'") } else { line.to_owned() };
    let mut text: Vec<String> = text.lines().map(on_base).collect();
    let environment = text.iter().position(|line| line == "[environment]").expect("a section");
    text.insert(environment + 1, "ca_bundle = 'authorities.crt'".to_owned());
    std::fs::copy("/etc/ssl/certs/ca-certificates.crt", workstation.project.join("authorities.crt")).expect("copied");
    workstation.write("nauta.toml", &text.join("\n"));
    workstation
}
