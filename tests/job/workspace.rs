//! What programs make where they run comes back: from the working directory, without a word of nauta's in the program.

use std::path::Path;

use super::cluster::{Cleanup, shell};
use super::restarts::two_that_are_up;
use super::truth::faults::delete_pod;
use crate::support::{Workstation, environment};

/// Everything below a folder but nauta's own, with what files hold and where links lead.
fn all(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    collect(folder, "", &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        let (path, name) = (entry.path(), format!("{prefix}{}", entry.file_name().display()));
        if name == ".nauta" {
            continue;
        }
        match (std::fs::read_link(&path), std::fs::read_to_string(&path)) {
            (Ok(target), _) => found.push(format!("{name} -> {}", target.display())),
            (_, Ok(text)) => found.push(format!("{name}: {}", text.trim())),
            _ => collect(&path, &format!("{name}/"), found),
        }
    }
}

fn local(script: &str, more: &str) -> Workstation {
    let (workstation, base) = (Workstation::new(), environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    workstation.write("job.sh", script);
    let file =
        format!("[project]\nname = 'shell'\n[environment]\nbase = '{base}'\n[run]\ncommand = 'sh job.sh'\n{more}");
    workstation.write("nauta.toml", &file);
    workstation
}

#[test]
fn what_ranks_make_where_they_run_comes_back_once() {
    let script = "
        echo changed >> log.txt; chmod 600 kept.txt; echo same > model.pt
        mkdir -p out/deep ../data __pycache__ data/MNIST/raw && echo $NAUTA_RANK > out/deep/rank.txt
        echo big > data/MNIST/raw/train; echo little > data/made.csv; echo x > __pycache__/a.pyc; echo x > ../data/x
        echo weights > out/epoch1.ckpt; ln -s epoch1.ckpt out/last.ckpt; ln -s /etc/passwd out/away; ln -s $PWD/out/deep out/near
        echo explicit > $NAUTA_OUTPUTS/explicit; ln -s explicit $NAUTA_OUTPUTS/link; pwd";
    let workstation = local(script, "");
    workstation.write(".gitignore", "*.pt\nout/\n");
    workstation.write("log.txt", "before\n");
    workstation.write("kept.txt", "kept\n");
    let done = workstation.succeeds(&["run", "--local", "-n", "2"]);
    assert!(done.stdout.contains("[1] /workspace/shell"), "{}", done.stdout);
    assert!(done.stderr.contains("`out/away` is not taken: it is a link that leads elsewhere"), "{}", done.stderr);
    let left = "`data/MNIST/` (1 file, 4 B) stays behind, as it looks like data that was downloaded; \
        `--outputs data/MNIST/` brings it";
    assert_eq!(done.stderr.matches(left).count(), 1, "{}", done.stderr);
    let expected = [
        "data/made.csv: little",
        "explicit: explicit",
        "link -> explicit",
        "log.txt: before\nchanged",
        "model.pt: same",
        "out/deep/rank.txt: 0",
        "out/epoch1.ckpt: weights",
        "out/last.ckpt -> epoch1.ckpt",
        "out/near -> deep",
        "rank-1/explicit: explicit",
        "rank-1/link -> explicit",
        "rank-1/out/deep/rank.txt: 1",
    ];
    assert_eq!(all(&workstation.only_run()), expected);
}

#[test]
fn what_comes_back_is_the_users_to_say() {
    let script = "mkdir -p data/MNIST logs; for f in data/MNIST/x logs/a b.txt c.tmp; do echo $f > $f; done";
    let workstation = local(script, "[outputs]\nexclude = ['logs/']\nranks = [1]\n");
    let run = |arguments: &[&str]| {
        let done = workstation.succeeds(&[&["run", "--local", "-n", "2"], arguments].concat());
        let run = workstation.only_run();
        let found = all(&run);
        std::fs::remove_dir_all(run).expect("removed");
        (found, done.stderr)
    };
    let (found, _) = run(&["--outputs", "data/MNIST", "--outputs", "!*.tmp"]);
    assert_eq!(found, ["rank-1/b.txt: b.txt", "rank-1/data/MNIST/x: data/MNIST/x"]);
    let file = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
    workstation.write("nauta.toml", &file.replace("exclude", "max_file_size = '5'\nexclude"));
    let (found, said) = run(&["--outputs", "c.tmp"]);
    assert_eq!(found, ["rank-1/c.tmp: c.tmp"]);
    let left =
        "`b.txt` (6 B) stays behind, as `outputs.max_file_size` allows no larger files; `--outputs b.txt` brings it";
    assert_eq!(said.matches(left).count(), 1, "{said}");
    workstation.write("nauta.toml", &file.replace("exclude", "workspace = false\nexclude"));
    assert_eq!(run(&[]).0, Vec::<String>::new());
    let wrong = workstation.nauta(&["run", "--local", "--outputs", "[z-a]"]);
    assert!(wrong.code == 125 && wrong.stderr.contains("invalid pattern `[z-a]`"), "{wrong:?}");
}

/// What stays behind is said by whoever brings the rest, and told in JSON.
#[test]
fn pulling_says_what_stayed_behind() {
    let workstation = shell("mkdir -p data/MNIST; for f in data/MNIST/x a b c; do echo $f > $f; done");
    let file = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
    workstation.write("nauta.toml", &format!("{file}[outputs]\nmax_rank_files = 2\n"));
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let looks = "`data/MNIST/` (1 file, 13 B) stays behind, as it looks like data that was downloaded; \
        `--outputs data/MNIST/` brings it";
    let many = "`c` (2 B) stays behind, as `outputs.max_rank_files` allows no more files; `--outputs c` brings it";
    let is_told = |said: &str| [looks, many].iter().all(|words| said.matches(words).count() == 1);
    let ran = workstation.succeeds(&["run", "-n", "1"]);
    assert!(is_told(&ran.stderr), "{ran:?}");
    let folder = workstation.only_run();
    assert_eq!(all(&folder), ["a: a", "b: b"]);
    std::fs::remove_file(folder.join("a")).expect("removed");
    let pulled = workstation.succeeds(&["pull"]);
    assert!(is_told(&pulled.stderr), "{pulled:?}");
    let place = format!("runs/{}", folder.file_name().expect("a name").display());
    assert_eq!(pulled.stdout, format!("received 1 file in {place}; complete\n"));
    let pulled = workstation.succeeds(&["pull", "--json"]).stdout;
    let left: serde_json::Value = serde_json::from_str(pulled.lines().last().expect("a line")).expect("JSON");
    let expected = serde_json::json!([
        { "rank": 0, "path": "c", "files": 1, "bytes": 2, "by": "max-rank-files" },
        { "rank": 0, "path": "data/MNIST/", "files": 1, "bytes": 13, "by": "looks" },
    ]);
    let mut found = left["left_out"].as_array().expect("a list").clone();
    found.sort_by_key(|left| left["path"].to_string());
    assert_eq!(serde_json::Value::Array(found), expected);
}

/// A script in a folder of its own imports the project's package; a path of the workstation leads to the same file.
#[test]
fn a_package_is_importable_and_paths_stay_right() {
    let (workstation, base) = (Workstation::new(), environment("NAUTA_TEST_IMAGE_PYTHON"));
    workstation.write("nauta.toml", &format!("[project]\nname = 'tiny'\n[environment]\nbase = '{base}'\n"));
    workstation.write("setup.py", "from setuptools import setup\nsetup(name='tiny')\n");
    workstation.write("tiny/__init__.py", "answer = 42\n");
    workstation.write("conf/a.txt", "a setting\n");
    let script = "import sys, tiny\nprint(tiny.answer, open(sys.argv[1]).read().strip(), sys.argv[1])\n\
        open('result.txt', 'w').write('done')\n";
    workstation.write("projects/x.py", script);
    let path = workstation.project.join("conf/a.txt").display().to_string();
    let done = workstation.succeeds(&["run", "--local", "--", "python3", "projects/x.py", &path]);
    assert!(done.stdout.contains("42 a setting /workspace/tiny/conf/a.txt"), "{}", done.stdout);
    assert_eq!(all(&workstation.only_run()), ["result.txt: done"]);
}

/// A rank's pod goes; the one in its place finds files and links where the program had made them.
#[test]
fn a_pod_in_the_place_of_a_lost_one_finds_what_was_made() {
    let script =
        "if [ $NAUTA_ATTEMPT = 2 ]; then readlink last.ckpt; readlink $NAUTA_OUTPUTS/last; cat last.ckpt log.txt; exit 0; fi
        echo weights of rank $NAUTA_RANK > epoch1.ckpt; ln -s epoch1.ckpt last.ckpt; echo line >> log.txt
        echo x > $NAUTA_OUTPUTS/x; ln -s x $NAUTA_OUTPUTS/last
        sleep 5; echo up; sleep 600";
    let workstation = shell(script);
    workstation.write("log.txt", "before\n");
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let (child, lines, name) = two_that_are_up(&workstation);
    delete_pod(&name, 1, false);
    let rest: Vec<String> = lines.collect();
    let done = child.wait_with_output().expect("ended");
    assert!(done.status.success(), "{rest:?} {}", String::from_utf8_lossy(&done.stderr));
    for rank in 0..2 {
        let own: Vec<&str> = rest.iter().filter_map(|line| line.strip_prefix(&*format!("[{rank}] "))).collect();
        let weights = format!("weights of rank {rank}");
        assert_eq!(own, ["epoch1.ckpt", "x", &weights, "before", "line"], "{rest:?}");
    }
    let expected = [
        "epoch1.ckpt: weights of rank 0",
        "last -> x",
        "last.ckpt -> epoch1.ckpt",
        "log.txt: before\nline",
        "rank-1/epoch1.ckpt: weights of rank 1",
        "rank-1/last -> x",
        "x: x",
        "rank-1/x: x",
    ];
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(all(&workstation.only_run()), expected);
}
