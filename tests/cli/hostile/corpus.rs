//! Projects that mean no good, as a clone or an archive could bring them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// What must never be seen in anything that nauta says.
pub(super) const CANARY: &str = "CANARY-9b1f";
/// What no line may begin with: a name with a line of its own.
pub(super) const FORGED: &str = "FORGED-LINE";
/// The run that projects bring.
pub(super) const RUN: &str = "demo-abcde";

/// A project, in a folder beside which others lie.
pub(super) struct Hostile {
    pub(super) name: &'static str,
    /// Puts it into an empty folder; the second one is outside, with a file `secret`.
    pub(super) make: fn(&Path, &Path),
    /// What `nauta run --local` says, with its hint, before it comes to Docker; nothing where it gets that far.
    pub(super) refusal: Option<&'static str>,
}

const fn refused(name: &'static str, refusal: &'static str, make: fn(&Path, &Path)) -> Hostile {
    Hostile { name, make, refusal: Some(refusal) }
}

const fn harmless(name: &'static str, make: fn(&Path, &Path)) -> Hostile {
    Hostile { name, make, refusal: None }
}

fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("has one")).expect("made");
    fs::write(path, text).expect("written");
}

fn link(root: &Path, path: &str, to: impl AsRef<Path>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("has one")).expect("made");
    symlink(to, path).expect("linked");
}

fn fifo(root: &Path, path: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("has one")).expect("made");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
}

fn bundle(root: &Path, path: impl std::fmt::Display) {
    write(root, "nauta.toml", format!("[environment]\nbase = 'x'\nca_bundle = '{path}'\n"));
}

fn record(root: &Path, folder: &str, edit: impl Fn(String) -> String) {
    write(root, &format!("runs/{folder}/.nauta/record.json"), edit(include_str!("../record.json").to_owned()));
}

fn pair() -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["x".to_owned()]).expect("a name");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

const BUNDLE: &str = "cannot take the certificates in";
const SETTINGS: &str = "nauta.toml`";
const RULES: &str = "cannot read the rules in";
const RUNS: &str = "is a link, and outputs stay in the project";

/// All of them.
pub(super) const PROJECTS: &[Hostile] = &[
    refused("a bundle outside", BUNDLE, |root, _| bundle(root, "../outside/secret")),
    refused("a bundle outside, by its whole name", BUNDLE, |root, out| bundle(root, out.join("secret").display())),
    refused("a bundle outside, by a link", BUNDLE, |root, _| {
        link(root, "ca.crt", "../outside/secret");
        bundle(root, "ca.crt");
    }),
    refused("a bundle outside, by a link to a folder", BUNDLE, |root, _| {
        link(root, "certs", "../outside");
        bundle(root, "certs/secret");
    }),
    refused("a key as bundle", BUNDLE, |root, _| {
        write(root, "ca.crt", pair().1 + CANARY);
        bundle(root, "ca.crt");
    }),
    refused("a key behind a certificate", BUNDLE, |root, _| {
        let (certificate, key) = pair();
        write(root, "ca.crt", certificate + &key);
        bundle(root, "ca.crt");
    }),
    refused("an endless bundle", BUNDLE, |root, _| {
        link(root, "ca.crt", "/dev/zero");
        bundle(root, "ca.crt");
    }),
    refused("a pipe as bundle", BUNDLE, |root, _| {
        fifo(root, "ca.crt");
        bundle(root, "ca.crt");
    }),
    refused("endless settings", SETTINGS, |root, _| link(root, "nauta.toml", "/dev/zero")),
    refused("a pipe of settings", SETTINGS, |root, _| fifo(root, "nauta.toml")),
    refused("large settings", SETTINGS, |root, _| write(root, "nauta.toml", "# x\n".repeat(2_600_000))),
    refused("settings outside", SETTINGS, |root, _| link(root, "nauta.toml", "../outside/secret")),
    refused("settings that nest", SETTINGS, |root, _| {
        write(root, "nauta.toml", format!("a = {}", "[".repeat(400_000)));
    }),
    refused("endless rules", RULES, |root, _| link(root, ".gitignore", "/dev/urandom")),
    refused("endless rules in a folder", RULES, |root, _| link(root, "sub/deep/.nautaignore", "/dev/zero")),
    refused("a pipe of rules", RULES, |root, _| fifo(root, ".dockerignore")),
    refused("large rules", RULES, |root, _| write(root, ".gitignore", "*.bin\n".repeat(2_000_000))),
    refused("rules outside", RULES, |root, _| link(root, ".gitignore", "../outside/secret")),
    refused("rules that lead in a circle", RULES, |root, _| link(root, ".gitignore", ".gitignore")),
    harmless("many rules", |root, _| {
        let rules: Vec<String> = (0..60_000).map(|i| format!("*.{i}")).collect();
        write(root, ".gitignore", rules.join("\n"));
    }),
    refused("an endless lock", "nauta.lock`", |root, _| link(root, "nauta.lock", "/dev/zero")),
    refused("a pipe as lock", "nauta.lock`", |root, _| fifo(root, "nauta.lock")),
    refused("a lock outside", "nauta.lock`", |root, _| link(root, "nauta.lock", "../outside/secret")),
    refused("runs outside", RUNS, |root, _| link(root, "runs", "../outside")),
    refused("runs elsewhere in the project", RUNS, |root, _| link(root, "runs", ".git")),
    harmless("a run outside", |root, out| {
        record(out, "x", |text| text);
        link(root, &format!("runs/{RUN}"), out.join("runs/x"));
    }),
    harmless("nauta's own folder outside", |root, out| {
        write(out, "own/record.json", include_str!("../record.json"));
        link(root, &format!("runs/{RUN}/.nauta"), out.join("own"));
    }),
    harmless("an endless record", |root, _| link(root, &format!("runs/{RUN}/.nauta/record.json"), "/dev/zero")),
    harmless("a pipe as record", |root, _| fifo(root, &format!("runs/{RUN}/.nauta/record.json"))),
    harmless("a large record", |root, _| record(root, RUN, |text| text + &" ".repeat(10_000_000))),
    harmless("a record that nests", |root, _| record(root, RUN, |_| "[".repeat(1_000_000))),
    harmless("a record that climbs", |root, _| {
        record(root, RUN, |text| text.replace(RUN, "../../outside/x"));
        record(root, "other", |text| text.replace(RUN, "../../outside/x"));
    }),
    harmless("a record of very many ranks", |root, _| {
        record(root, RUN, |text| text.replace("\"nodes\": 2", "\"nodes\": 4294967295"));
    }),
    harmless("a record that draws", |root, _| {
        let drawn = "\\u001b]52;c;aGk=\\u0007\\u009b2J\\u202e\\ufeff\\u200b\\nFORGED-LINE";
        record(root, RUN, |text| {
            text.replace("\"sh\"", &format!("\"{drawn}\"")).replace("\"local\"", &format!("\"{drawn}\""))
        });
    }),
    harmless("a command that draws", |root, _| {
        record(root, RUN, |text| text.replace("\"sh\"", "\"\\u001b]0;x\\u0007\\u009b2J\\u202e\\nFORGED-LINE\""));
    }),
    harmless("a log outside", |root, _| {
        record(root, RUN, |text| text);
        link(root, &format!("runs/{RUN}/.nauta/rank-0.journal"), "../../../../outside/secret");
        link(root, &format!("runs/{RUN}/.nauta/rank-1.journal"), "/dev/zero");
    }),
    harmless("a pipe as log", |root, _| {
        record(root, RUN, |text| text.replace("\"code\": 0", "\"code\": null"));
        fifo(root, &format!("runs/{RUN}/.nauta/rank-0.journal"));
        fifo(root, &format!("runs/{RUN}/.nauta/rank-0.parts"));
    }),
    harmless("names that draw", |root, _| {
        let names: [&[u8]; 12] = [
            b"\x1b]52;c;aGk=\x07",
            b"\x1b]0;title\x07.env",
            b"\x1b[2J\x1b[31mred",
            b"\xc2\x9b2J",
            b"two\nFORGED-LINE",
            b"cr\rFORGED-LINE",
            "bidi\u{202e}txt.exe".as_bytes(),
            "\u{feff}bom".as_bytes(),
            "zero\u{200b}width".as_bytes(),
            "tag\u{e0041}\u{e007f}".as_bytes(),
            b"\xff\xfe latin",
            b"-rf",
        ];
        for name in names {
            fs::write(root.join(OsStr::from_bytes(name)), "x").expect("written");
            fs::create_dir(root.join(OsStr::from_bytes(&[name, b".d"].concat()))).expect("made");
        }
        nix::unistd::mkfifo(&root.join("\x1b[2J\u{200b}fifo\nFORGED-LINE"), nix::sys::stat::Mode::S_IRWXU)
            .expect("made");
        write(root, "\x1b]0;x\x07.pem", "withheld");
    }),
    harmless("rules that draw", |root, _| {
        write(root, ".gitignore", "\x1b]0;x\x07*.py\n\u{202e}*\n*.txt\x1b[2J\n");
        write(root, "a.txt\x1b[2J", "");
    }),
    harmless("settings that draw", |root, _| {
        write(
            root,
            "nauta.toml",
            "[project]\nname = \"\\u001b]0;x\\u0007\"\n[run]\ntarget = \"\\u001b[2J\\u202e\\nFORGED-LINE\"\n",
        );
    }),
    refused("a program of the user's name", SETTINGS, |root, _| {
        write(root, "nauta.toml", "[run\nx = \"\u{1b}]0;x\u{7}\u{202e}\"");
        for name in ["git", "docker-credential-pass", "login2"] {
            write(root, name, format!("#!/bin/sh\ntouch ../outside/ran-{name}\necho {CANARY}\n"));
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).expect("set");
        }
    }),
    harmless("a repository's own configuration", |root, _| {
        write(
            root,
            ".git/config",
            "[core]\n\tfsmonitor = touch ../outside/ran-fsmonitor\n\tpager = touch ../outside/ran-pager\n",
        );
        write(root, ".git/hooks/post-checkout", "#!/bin/sh\ntouch ../outside/ran-hook\n");
        fifo(root, ".git/HEAD");
        link(root, ".git/info/exclude", "/dev/zero");
    }),
    refused("a Dockerfile outside", "cannot read `Dockerfile`", |root, _| {
        link(root, "Dockerfile", "../outside/secret");
    }),
    harmless("an endless Dockerfile", |root, _| link(root, "Dockerfile", "/dev/zero")),
    refused("a Dockerfile outside, by name", "it is outside the project", |root, _| {
        write(root, "nauta.toml", "[environment]\ndockerfile = '../outside/secret'\n");
    }),
    refused("a large Dockerfile", "cannot read `Dockerfile`", |root, _| {
        write(root, "Dockerfile", "# x\n".repeat(600_000));
    }),
    refused("requirements outside, by name", "is neither in the project nor in a Git repository", |root, _| {
        write(root, "nauta.toml", "[environment]\nrequirements = '../outside/secret'\n");
    }),
    refused("requirements outside, by a link", "which is not sent", |root, _| {
        link(root, "deps.txt", "../outside/secret");
        write(root, "nauta.toml", "[environment]\nrequirements = 'deps.txt'\n");
    }),
    harmless("links that lead everywhere", |root, out| {
        link(root, "out", out);
        link(root, "secret", out.join("secret"));
        link(root, "zero", "/dev/zero");
        link(root, "loop", "loop");
        link(root, "up", "..");
        fifo(root, "fifo");
        fifo(root, "requirements.txt");
        fifo(root, "environment.yml");
        link(root, "pyproject.toml", "/dev/zero");
        link(root, "uv.lock", "/dev/zero");
    }),
    harmless("a deep tree", |root, _| {
        // Beyond PATH_MAX, as an archive's members can be made one below the other.
        let mut folder = cap_std::fs::Dir::open_ambient_dir(root, cap_std::ambient_authority()).expect("open");
        for _ in 0..700 {
            folder.create_dir("deeper").expect("made");
            folder = folder.open_dir("deeper").expect("open");
        }
        folder.write("bottom", "x").expect("written");
    }),
];
