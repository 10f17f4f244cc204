//! Secrets of many kinds, forty ways to go wrong, each at every loudness: none is printed.

use std::fs::File;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::support::{Workstation, environment};

const CANARY: &str = "canary-of-forty-paths";
/// Ways to go wrong; `CANARY` stands for the secret, `REGISTRY` for one that wants another password.
const PATHS: [&str; 40] = [
    "run --local --secret-env HF_TOKEN",
    "run --local --secret-env UNSET",
    "run --local --secret-env HF_TOKEN=CANARY",
    "run --local --secret-env HF_TOKEN --secret-env HF_TOKEN",
    "run --local --secret-env HF_TOKEN --name CANARY",
    "run --local --secret-env HF_TOKEN --memory CANARY",
    "run --local --secret-env HF_TOKEN --launch CANARY",
    "run --local --secret-env HF_TOKEN --target CANARY",
    "run --local --secret-env HF_TOKEN -- CANARY",
    "run --local --secret HF_TOKEN=CANARY",
    "run --local --secret /CANARY",
    "run --local --secret team/key=HF_TOKEN",
    "run --local --secret HF_TOKEN",
    "run --local -e API_TOKEN=CANARY",
    "status --target nowhere a-run",
    "run --local -e =CANARY",
    "run --local --dry-run --secret-env HF_TOKEN",
    "run --secret-env HF_TOKEN",
    "run --dry-run --secret-env HF_TOKEN",
    "run --target nowhere --secret-env HF_TOKEN",
    "run --target CANARY --secret-env HF_TOKEN",
    "run --detach --secret-env HF_TOKEN",
    "run",
    "secret set HF_TOKEN",
    "secret set HF_TOKEN=CANARY",
    "secret set --everywhere HF_TOKEN",
    "secret remove HF_TOKEN",
    "login --user ada REGISTRY",
    "login --user ada localhost:1",
    "logout REGISTRY",
    "doctor",
    "list --target lab",
    "status a-run --target lab",
    "logs a-run --target lab",
    "pull a-run --target lab",
    "cancel a-run --target lab",
    "lock --update",
    "files --all",
    "target list",
    "status nothing",
];

#[test]
fn forty_ways_to_go_wrong_tell_no_secret() {
    let registry = environment("NAUTA_TEST_REGISTRY_AUTH");
    let mut workstation = Workstation::new();
    let login = BASE64_STANDARD.encode(format!("ada:{CANARY}"));
    let home = workstation.project.join("../home");
    let write = |name: &str, text: &str| {
        let path = home.join(name);
        std::fs::create_dir_all(path.parent().expect("one")).expect("made");
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let auths = serde_json::json!({"auths": {&registry: {"auth": login}, "localhost:1": {"identitytoken": CANARY}}});
    write(".docker/config.json", &auths.to_string());
    let input = write("input", CANARY);
    let kubeconfig = write(
        "kubeconfig",
        &format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters:\n- {{name: a, cluster: {{server: \"https://127.0.0.1:1\"}}}}\n\
             users:\n- {{name: a, user: {{token: {CANARY}}}}}\ncontexts:\n- {{name: a, context: {{cluster: a, user: a}}}}\n"
        ),
    );
    workstation.configure(&format!("[targets.lab]\nkubeconfig = '{kubeconfig}'\nregistry = '{registry}/tests'\n"));
    // By digest: nobody has to be asked what it is.
    let base = format!("localhost:1/a@sha256:{}", "0".repeat(64));
    workstation.write("train.py", "").write("nauta.toml", &format!("[environment]\nbase = '{base}'\n"));
    workstation.set("HF_TOKEN", CANARY).set("DOCKER_HOST", "unix:///nowhere");
    workstation.set("HTTPS_PROXY", &format!("http://ada:{CANARY}@127.0.0.1:1")).set("NO_PROXY", "localhost,127.0.0.1");
    // A value in the project's own file, too.
    let broken = Workstation::new();
    broken.write("nauta.toml", &format!("[secrets]\nHF_TOKEN = '{CANARY}'\n"));
    let hears = |workstation: &Workstation, arguments: &[&str], trace: bool| {
        let mut command = workstation.command(arguments);
        command.stdin(File::open(&input).expect("readable"));
        if trace {
            command.env("NAUTA_LOG", "trace");
        }
        let output = command.output().expect("nauta starts");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let is_told = text.contains(CANARY) || text.contains(&login) || text.contains(&BASE64_STANDARD.encode(CANARY));
        assert!(!is_told, "{arguments:?}: {text}");
        text
    };
    let all_loudnesses = |path: &str| {
        let path = path.replace("REGISTRY", &registry).replace("CANARY", CANARY);
        let words: Vec<&str> = path.split(' ').collect();
        for loudness in [&["--quiet"][..], &[], &["--json"], &["-vv"]] {
            let _ = hears(&workstation, &[loudness, &words].concat(), false);
        }
        let _ = hears(&workstation, &words, true);
    };
    std::thread::scope(|scope| {
        for some in PATHS.chunks(10) {
            scope.spawn(|| some.iter().for_each(|path| all_loudnesses(path)));
        }
    });
    for verb in [&["run"][..], &["files"], &["pull", "x"]] {
        let text = hears(&broken, verb, true);
        assert!(text.contains("nauta.toml names secrets and holds no values"), "{text}");
    }
}
