//! What stays here, held against what Git says of the same tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use nauta::snapshot::{Content, GitUser, Origin, take};

use crate::support::random::Random;
use crate::support::{Workstation, figure, number};

/// Folders and files of every tree.
const FOLDERS: [&str; 7] = ["", "a", "src", "src/a", "src/data", "data", "data/deep"];
const FILES: [&str; 8] = ["b", "x.log", "keep.txt", "sp ace", "[x]", "#h", "{a,b}", "ä.txt"];

/// Lines of ignore files; `N` is a name.
const LINES: [&str; 34] = [
    "N",
    "N/",
    "/N",
    "N/N",
    "N/*",
    "/N/**",
    "**/N",
    "N/**/N",
    "*",
    "*.log",
    "?",
    "[x]",
    "[[]x]",
    "\\[x]",
    "[!a-k]",
    "!N",
    "!/N/",
    "!N/N",
    "!*.txt",
    "#h",
    "\\#h",
    "N  ",
    "sp\\ ace",
    "{a,b}",
    "N\r",
    "*.[lt]*",
    "[[:alpha:]]",
    "[a",
    "/",
    "!",
    "**",
    "a**",
    "*/N/",
    "\u{feff}N",
];

fn git(folder: &Path, home: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "core.quotePath=false"]).args(arguments).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    let done = command.output().expect("git starts");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// A home whose Git is read as the workstation's is.
fn user(home: &Path) -> GitUser {
    let files = vec![home.join(".config/git/config"), home.join(".gitconfig")];
    GitUser { home: Some(home.to_owned()), files, ignore: Some(home.join(".config/git/ignore")) }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("has one")).expect("created");
    fs::write(path, text).expect("written");
}

/// The files that nauta takes.
fn taken(root: &Path, home: &Path) -> BTreeSet<String> {
    let snapshot =
        take(Origin { root: root.to_owned(), git: user(home), ..Origin::default() }, None).expect("readable");
    let files = snapshot.entries().filter(|entry| entry.content != Content::Directory);
    files.map(|entry| entry.display()).collect()
}

/// The files that Git would take: tracked ones, and those that it does not ignore.
fn of_git(root: &Path, home: &Path) -> BTreeSet<String> {
    let listed = git(root, home, &["ls-files", "-co", "--exclude-standard", "-z"]);
    listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

/// Random trees, rules in all of Git's places, and files that it tracks nonetheless: nauta takes what Git does.
#[test]
fn what_git_ignores_stays_here_and_nothing_else() {
    let seed = number("NAUTA_TEST_SEED", 20);
    figure(&format!("seed {seed}"));
    let mut random = Random::new(seed);
    for case in 0..number("NAUTA_TEST_IGNORES", 40) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (root, home) = (temp.path().join("project"), temp.path().join("home"));
        for folder in FOLDERS {
            for file in FILES {
                write(&root.join(folder).join(file), "");
            }
        }
        git(temp.path(), &home, &["init", "-q", "project"]);
        let mut said = String::new();
        let places =
            [".gitignore", "src/.gitignore", "data/.gitignore", ".git/info/exclude"].map(|place| root.join(place));
        for place in places.into_iter().chain([home.join(".config/git/ignore")]) {
            let lines: Vec<String> = (0..random.below(4)).map(|_| line(&mut random)).collect();
            let text = lines.join("\n") + if random.below(2) == 0 { "\n" } else { "" };
            said.extend([&place.display().to_string(), ": ", &format!("{text:?}"), "\n"]);
            write(&place, &text);
        }
        for _ in 0..random.below(3) {
            let path = format!("{}/{}", random.pick(&FOLDERS[1..]), random.pick(&FILES));
            git(&root, &home, &["-c", "index.version=4", "add", "-f", "--", &format!(":(literal){path}")]);
            said.extend(["tracked: ", &path, "\n"]);
        }
        assert_eq!(taken(&root, &home), of_git(&root, &home), "case {case}, seed {seed}\n{said}");
    }
}

fn line(random: &mut Random) -> String {
    let names = ["a", "src", "data", "deep", "b", "x.log", "keep.txt"];
    let line = random.pick(&LINES).to_string();
    line.chars().map(|c| if c == 'N' { random.pick(&names).to_string() } else { c.to_string() }).collect()
}

/// A working tree of another repository, a submodule and a clone in the project have Git's folder elsewhere or rules of their own.
#[test]
fn repositories_in_all_forms_have_their_own_rules() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let (main, home) = (temp.path().join("main"), temp.path().join("home"));
    let git = |folder: &Path, arguments: &[&str]| git(folder, &home, arguments);
    write(
        &home.join(".gitconfig"),
        "[user]\n\tname = t\n\temail = t@t\n[protocol \"file\"]\n\tallow = always\n[core]\n\texcludesFile = \"~/every where\"\n",
    );
    write(&home.join("every where"), "*.global\n");
    for name in ["main", "library"] {
        git(temp.path(), &["init", "-q", name]);
        write(&temp.path().join(name).join("own.py"), "");
        git(&temp.path().join(name), &["add", "."]);
        git(&temp.path().join(name), &["commit", "-qm", "one"]);
    }
    git(&main, &["submodule", "--quiet", "add", "../library", "sub"]);
    git(&main, &["init", "-q", "clone"]);
    git(&main, &["worktree", "add", "-q", "../tree"]);
    write(&main.join(".git/info/exclude"), "*.excluded\n");
    write(&main.join(".gitignore"), "*.log\n");
    write(&main.join(".git/modules/sub/info/exclude"), "*.sub\n");
    let names = ["x.log", "x.excluded", "x.global", "x.sub", "x.py"];
    let tree = temp.path().join("tree");
    for place in [main.clone(), main.join("sub"), main.join("clone"), tree.clone()] {
        for name in names {
            write(&place.join(name), "");
        }
    }
    let told = |place: &Path| -> Vec<String> {
        let taken = taken(place, &home).into_iter().filter(|path| path.contains("x."));
        taken.collect()
    };
    let expected = [
        "clone/x.excluded",
        "clone/x.log",
        "clone/x.py",
        "clone/x.sub",
        "sub/x.excluded",
        "sub/x.log",
        "sub/x.py",
        "x.py",
        "x.sub",
    ];
    assert_eq!(told(&main), expected);
    assert_eq!(told(&main.join("sub")), ["x.excluded", "x.log", "x.py"], "the project is the submodule");
    assert_eq!(
        told(&tree),
        ["x.log", "x.py", "x.sub"],
        "the list is that of the repository, and its .gitignore is not committed"
    );
    // The file that leads to Git's own folder says where that is on this workstation.
    assert!(!taken(&tree, &home).contains(".git") && !taken(&main, &home).contains("sub/.git"));
}

/// What is judged by what is in it is judged anew when that changes.
#[test]
fn environments_are_told_by_what_is_in_them() {
    let workstation = Workstation::new();
    workstation.write("train.py", "").write("tools-env/bin/activate", "").write("venv/model.py", "").write("lab/x", "");
    let all = || workstation.succeeds(&["files", "--all"]).stdout.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        all(),
        ["lab", "tools-env", "train.py", "venv", "lab/x", "tools-env/bin", "tools-env/bin/activate", "venv/model.py"]
    );
    workstation.write("tools-env/pyvenv.cfg", "home = /usr/bin\n").write("lab/conda-meta/history", "");
    for _ in 0..2 {
        assert_eq!(all(), ["train.py", "venv", "venv/model.py"]);
    }
    let why = workstation.succeeds(&["files", "--why", "tools-env/bin/activate"]).stdout;
    assert!(why.contains("`tools-env` is an environment, since it has `pyvenv.cfg`"), "{why}");
    workstation.write(".nautaignore", "!/lab/\n");
    assert_eq!(
        all(),
        [
            ".nautaignore",
            "lab",
            "train.py",
            "venv",
            "lab/conda-meta",
            "lab/x",
            "lab/conda-meta/history",
            "venv/model.py"
        ]
    );
    std::fs::remove_file(workstation.project.join("tools-env/pyvenv.cfg")).expect("removed");
    assert!(all().contains(&"tools-env/bin/activate".to_owned()), "{:?}", all());
}

/// `.nautaignore` has the last word, also about what is in a folder that something else leaves out.
#[test]
fn a_line_of_nautaignore_reaches_into_folders_that_are_left_out() {
    let workstation = Workstation::new();
    workstation.write("train.py", "").write(".gitignore", "data/\n").write(".dockerignore", "notes\n");
    workstation.write("data/a.bin", "").write("data/b.bin", "").write("notes/x.md", "").write("runs/old/x", "");
    std::fs::create_dir(workstation.project.join(".git")).expect("created");
    let all = || {
        let text = workstation.succeeds(&["files", "--all"]).stdout;
        let files = text.lines().filter(|path| !path.starts_with('.')).map(str::to_owned);
        files.collect::<Vec<_>>()
    };
    assert_eq!(all(), ["train.py"]);
    workstation.write(".nautaignore", "!data/a.bin\n!notes/none.md\n!/runs/old/x\n");
    assert_eq!(all(), ["data", "runs", "train.py", "data/a.bin", "runs/old", "runs/old/x"]);
    // A folder that was entered for nothing is none, until there is something.
    workstation.write("notes/none.md", "");
    assert_eq!(all(), ["data", "notes", "runs", "train.py", "data/a.bin", "notes/none.md", "runs/old", "runs/old/x"]);
    std::fs::remove_file(workstation.project.join("data/a.bin")).expect("removed");
    assert!(!all().contains(&"data".to_owned()), "{:?}", all());
}

/// Lines that take nothing back, pointers of Git LFS, and files that grow are told.
#[test]
fn what_is_not_what_it_looks_like_is_told() {
    let mut workstation = Workstation::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    workstation.write("train.py", "").write("weights.bin", pointer).write("data/x.csv", "");
    workstation.write(".gitignore", "data/\n!data/x.csv\n");
    let idle = ".gitignore:2 `!data/x.csv` has no effect: data/ is left out by .gitignore:1 `data/`";
    let files = workstation.succeeds(&["files"]).stdout;
    assert!(files.contains(idle) && files.contains("(`git lfs pull` fetches it): weights.bin"), "{files}");
    workstation.set("DOCKER_HOST", "unix:///no/such/socket");
    for _ in 0..2 {
        let said = workstation.nauta(&["run", "--local"]).stderr;
        assert!(said.contains(&format!("warning: {idle}")), "{said}");
        assert!(said.contains("warning: `weights.bin`: a Git LFS pointer is sent in place of the file"), "{said}");
    }
    assert!(workstation.nauta(&["run", "--local"]).stderr.matches("Git LFS").count() == 1);
}
