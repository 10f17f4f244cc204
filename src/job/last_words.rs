//! Why a program failed, as its last words say: a traceback's last line, a panic, an exception that nobody caught; and what is
//! usually to be done about it.
//!
//! Launchers report their workers' failures in tables and tracebacks of their own: what the workers said before counts.

/// So much of the end of each stream is remembered, in bytes: the reports of torchrun for some workers.
const KEPT: usize = 32 * 1024;
/// The longest quote, in characters.
const LONGEST: usize = 240;

/// The end of what a rank's program wrote.
#[derive(Debug, Default)]
pub struct LastWords {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Why a program failed, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// One line of what it wrote.
    pub words: String,
    /// The Python module that it did not find: what can be done about that, the project tells.
    pub missing_module: Option<String>,
    /// What can be done.
    pub advice: Option<String>,
}

/// What of the project an advice is about.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The file that names its dependencies.
    pub dependencies: Option<String>,
    /// The modules and packages in its folder.
    pub modules: Vec<String>,
}

impl LastWords {
    /// Takes what came next on standard error, or on standard output.
    pub fn push(&mut self, is_stderr: bool, bytes: &[u8]) {
        let kept = if is_stderr { &mut self.stderr } else { &mut self.stdout };
        kept.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT)..]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }

    /// What they say of the failure; standard error first.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        [&self.stderr, &self.stdout].into_iter().find_map(|bytes| cause(&String::from_utf8_lossy(bytes)))
    }
}

/// How good a line is as the cause of all: one that only tells of another process's failure is worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Launcher,
    Consequence,
    Own,
}

/// What a launcher says of its workers.
const LAUNCHERS: [&str; 3] = ["ChildFailedError", "subprocess.CalledProcessError", "ProcessExitedException"];
/// What is said when another rank is gone.
const CONSEQUENCES: [&str; 6] = [
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "remote process exited",
    "SignalException",
    "recvValue failed",
];

/// Why a program failed that wrote this.
#[must_use]
pub fn cause(text: &str) -> Option<Cause> {
    let lines: Vec<String> = text.lines().map(bare).collect();
    let mut best: Option<(Rank, String)> = None;
    let mut at = 0;
    while at < lines.len() {
        let (words, next) = found_at(&lines, at);
        if let Some(words) = words.filter(|words| !words.is_empty()) {
            let rank = rank_of(&words);
            if best.as_ref().is_none_or(|(known, _)| rank >= *known) {
                best = Some((rank, words));
            }
        }
        at = next;
    }
    let (_, words) = best?;
    let missing_module = quoted_after(&words, "No module named ").map(str::to_owned);
    let advice = if missing_module.is_some() { None } else { advice(&words) };
    Some(Cause { words: cut(&words), missing_module, advice })
}

fn rank_of(words: &str) -> Rank {
    let has = |all: &[&str]| all.iter().any(|part| words.contains(part));
    match () {
        () if has(&LAUNCHERS) => Rank::Launcher,
        () if has(&CONSEQUENCES) => Rank::Consequence,
        () => Rank::Own,
    }
}

/// What a line and those behind it say of a failure, and where to look next.
fn found_at(lines: &[String], at: usize) -> (Option<String>, usize) {
    let line = lines[at].as_str();
    let below = |from: usize| lines.get(from).map(|line| line.trim()).unwrap_or_default();
    if line.trim_start_matches(['+', '|', ' ']).starts_with("Traceback (most recent call last):") {
        // Frames are indented; what follows them is the exception.
        let exception = (at + 1..lines.len()).find(|next| !lines[*next].starts_with([' ', '\t', '|', '+']));
        return exception.map_or((None, lines.len()), |next| (Some(with_message(lines, next)), next + 1));
    }
    if ["SyntaxError: ", "IndentationError: ", "TabError: "].iter().any(|name| line.starts_with(name)) {
        return (Some(line.to_owned()), at + 1);
    }
    if let Some((_, panic)) = line.split_once(" panicked at ").filter(|_| line.starts_with("thread '")) {
        // The message is on the next line, or between the words as it was before Rust 1.73.
        let message = if panic.ends_with(':') { format!(" {}", below(at + 1)) } else { String::new() };
        return (Some(format!("panicked at {panic}{message}")), at + 1);
    }
    if let Some(thrown) = line.strip_prefix("terminate called after throwing an instance of ") {
        let what = below(at + 1).strip_prefix("what():").map(|what| format!(": {}", what.trim()));
        return (Some(format!("{}{}", thrown.trim_matches('\''), what.unwrap_or_default())), at + 1);
    }
    if line.starts_with("There are not enough slots available") {
        return (Some(format!("{line} {}", below(at + 1))), at + 1);
    }
    let is_said = ["panic: ", "fatal: ", "fatal error: ", "error: "].iter().any(|word| begins_with(line, word));
    (is_said.then(|| line.to_owned()), at + 1)
}

fn begins_with(line: &str, word: &str) -> bool {
    line.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word))
}

/// An exception's line; of one that says nothing on its own line, the next one too.
fn with_message(lines: &[String], at: usize) -> String {
    let line = lines[at].trim_end();
    let next = lines.get(at + 1).map(|next| next.trim()).unwrap_or_default();
    if line.ends_with(':') && !line.contains(' ') { format!("{line} {next}") } else { line.to_owned() }
}

/// A line without colours, and without what launchers put before the lines of their workers.
fn bare(line: &str) -> String {
    let line = line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
    let line = anstream::adapter::strip_str(line).to_string();
    let worker = line.strip_prefix('[').and_then(|rest| {
        let (name, rest) = rest.split_once("]:")?;
        let digits = name.strip_prefix("rank").or_else(|| name.strip_prefix("default"))?;
        let is_worker = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
        is_worker.then(|| rest.strip_prefix(' ').unwrap_or(rest).to_owned())
    });
    worker.unwrap_or(line).replace('\0', "")
}

fn cut(words: &str) -> String {
    match words.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}\u{2026}", &words[..at]),
        None => words.to_owned(),
    }
}

/// Names of modules, and of the packages that have them, where these differ.
const PACKAGES: [(&str, &str); 10] = [
    ("PIL", "pillow"),
    ("cv2", "opencv-python-headless"),
    ("sklearn", "scikit-learn"),
    ("skimage", "scikit-image"),
    ("yaml", "pyyaml"),
    ("bs4", "beautifulsoup4"),
    ("dateutil", "python-dateutil"),
    ("dotenv", "python-dotenv"),
    ("google.protobuf", "protobuf"),
    ("pytorch_lightning", "pytorch-lightning"),
];

/// What can be done about a failure that says this.
fn advice(words: &str) -> Option<String> {
    let has = |part: &str| words.contains(part);
    if has("CUDA out of memory") {
        return Some("a smaller batch, or fewer processes on each accelerator".to_owned());
    }
    if has("NCCL built in") || has("ProcessGroupNCCL is only supported with GPUs") {
        return Some("the backend `gloo` works without accelerators; `--gpus N` asks for some".to_owned());
    }
    if has("Address already in use") || has("EADDRINUSE") {
        return Some(
            "another process has this port; `-e MASTER_PORT=29501` sets the one that ranks meet at".to_owned(),
        );
    }
    if has("not enough slots") {
        return Some("`--slots N` says how many processes each rank is to have".to_owned());
    }
    // Python says so of a bare name only when a folder of PATH was closed to it.
    let program = quoted_after(words, "Permission denied: ").filter(|name| !name.contains('/'))?;
    Some(format!(
        "`{program}` may be in a folder of PATH that the run's user cannot enter, such as one below /root: put it elsewhere"
    ))
}

/// What stands in quotes behind these words.
fn quoted_after<'a>(words: &'a str, before: &str) -> Option<&'a str> {
    let rest = words.split_once(before)?.1.strip_prefix('\'')?;
    rest.split_once('\'').map(|(name, _)| name).filter(|name| !name.is_empty())
}

impl Surroundings {
    /// What can be done about a module that Python does not find.
    #[must_use]
    pub fn advice(&self, module: &str) -> String {
        let top = module.split('.').next().unwrap_or(module);
        if self.modules.iter().any(|own| own == top) {
            return format!(
                "`{top}` is in the project, and not where Python looks: `-e PYTHONPATH=.` adds the project's folder"
            );
        }
        let named = PACKAGES.iter().find(|(name, _)| *name == module || *name == top).map(|(_, package)| *package);
        let package = named.unwrap_or(top);
        let file = self.dependencies.as_deref().unwrap_or("requirements.txt");
        let verb = if self.dependencies.is_some() { "add" } else { "name" };
        let place = if self.dependencies.is_some() { "to" } else { "in a" };
        format!("{verb} `{package}` {place} {file}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (String, String) {
        let surroundings =
            Surroundings { dependencies: Some("requirements.txt".to_owned()), modules: vec!["mingpt".to_owned()] };
        let Some(Cause { words, missing_module, advice }) = cause(text) else { return Default::default() };
        let of_module = missing_module.map(|module| surroundings.advice(&module));
        (words, of_module.or(advice).unwrap_or_default())
    }

    fn words(text: &str) -> String {
        of(text).0
    }

    #[test]
    fn a_traceback_ends_in_the_cause() {
        let text = "epoch 1\nTraceback (most recent call last):\n  File \"/workspace/a.py\", line 3, in <module>\n    f()\n\
                    \x20   ~^^\n  File \"/workspace/a.py\", line 1, in f\n    1 / 0\nZeroDivisionError: division by zero\n";
        assert_eq!(words(text), "ZeroDivisionError: division by zero");
        // The last of several, whatever the first was.
        let chained = format!(
            "{text}\nDuring handling of the above exception, another exception occurred:\n\n\
            Traceback (most recent call last):\n  File \"a.py\", line 9, in <module>\n    raise Error\nmy.pkg.Error\nbye\n"
        );
        assert_eq!(words(&chained), "my.pkg.Error");
        let syntax = "  File \"/workspace/train.py\", line 1\n    x =\n       ^\nSyntaxError: invalid syntax\n";
        assert_eq!(words(syntax), "SyntaxError: invalid syntax");
        // Colours, workers' prefixes, and a bar that was not at its end.
        let decorated = "10%|#\r20%|##\r[rank1]: Traceback (most recent call last):\n[rank1]:   File \"t.py\", line 2\n\
                         [rank1]:     f()\n[rank1]: \x1b[31mValueError\x1b[0m: bad\n";
        assert_eq!(words(decorated), "ValueError: bad");
        assert_eq!(words("all is well\nloss 0.5\n"), "");
        assert_eq!(words("Traceback (most recent call last):\n  File \"a.py\", line 1\n"), "", "it was cut off");
    }

    /// As torchrun 2.x prints it.
    const TORCHRUN: &str = "Traceback (most recent call last):
  File \"/workspace/train.py\", line 12, in <module>
    main()
RuntimeError: The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 0
E1123 12:00:01.000000 12 torch/distributed/elastic/multiprocessing/api.py:869] failed (exitcode: 1) local_rank: 0 (pid: 31) of binary: /usr/bin/python3
Traceback (most recent call last):
  File \"/usr/local/bin/torchrun\", line 8, in <module>
    sys.exit(main())
  File \"/usr/lib/python3/dist-packages/torch/distributed/launcher/api.py\", line 264, in launch_agent
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError: 
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
  <NO_OTHER_FAILURES>
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-23_12:00:01
  rank      : 1 (local_rank: 0)
  exitcode  : 1 (pid: 31)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============================================================
";

    #[test]
    fn what_a_worker_said_counts_and_not_its_launcher() {
        assert!(words(TORCHRUN).starts_with("RuntimeError: The size of tensor a (3)"));
        let gone = "Traceback (most recent call last):\n  File \"t.py\", line 1\n    x\nKeyError: 'lr'\n\
                    Traceback (most recent call last):\n  File \"t.py\", line 1\n    y\n\
                    RuntimeError: [pair.cc:553] Connection closed by peer [10.0.0.2]:4711\n";
        assert_eq!(words(gone), "KeyError: 'lr'");
        // Where the launcher is all that speaks, it is quoted.
        let own = TORCHRUN.split_once("E1123").map_or("", |(_, rest)| rest);
        assert!(words(own).contains("ChildFailedError"), "{}", words(own));
    }

    #[test]
    fn other_languages_have_their_last_words_too() {
        for (text, expected) in [
            (
                "\nthread 'main' (17) panicked at src/main.rs:4:5:\nindex out of bounds: the len is 3 but the index is 7\nnote: run with `RUST_BACKTRACE=1`\n",
                "panicked at src/main.rs:4:5: index out of bounds: the len is 3 but the index is 7",
            ),
            ("thread 'main' panicked at 'boom', src/main.rs:2:5\n", "panicked at 'boom', src/main.rs:2:5"),
            (
                "terminate called after throwing an instance of 'std::runtime_error'\n  what():  no such device\nAborted\n",
                "std::runtime_error: no such device",
            ),
            (
                "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\n",
                "panic: runtime error: index out of range",
            ),
            ("first\nfatal: last words", "fatal: last words"),
            ("Error: cannot open `data.bin`\n", "Error: cannot open `data.bin`"),
        ] {
            assert_eq!(words(text), expected);
        }
    }

    #[test]
    fn what_is_usual_has_an_advice() {
        let raised =
            |line: &str| of(&format!("Traceback (most recent call last):\n  File \"t.py\", line 1\n    x\n{line}\n")).1;
        for (line, advice) in [
            ("ModuleNotFoundError: No module named 'einops'", "add `einops` to requirements.txt"),
            ("ModuleNotFoundError: No module named 'sklearn.svm'", "add `scikit-learn` to requirements.txt"),
            ("ModuleNotFoundError: No module named 'mingpt'", "`-e PYTHONPATH=.`"),
            ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "smaller batch"),
            ("RuntimeError: Distributed package doesn't have NCCL built in", "`gloo`"),
            ("OSError: [Errno 98] Address already in use", "MASTER_PORT"),
            (
                "torch.distributed.DistNetworkError: The server socket has failed to listen (errno: 98, EADDRINUSE).",
                "MASTER_PORT",
            ),
            ("PermissionError: [Errno 13] Permission denied: 'tool'", "below /root"),
        ] {
            assert!(raised(line).contains(advice), "{line}: {}", raised(line));
        }
        assert_eq!(raised("PermissionError: [Errno 13] Permission denied: '../data'"), "");
        let slots = "--------------------------------------------------------------------------\nThere are not enough slots available in the system to satisfy the 4\nslots that were requested by the application:\n\n  python3\n";
        let (said, advice) = of(slots);
        assert!(said.ends_with("to satisfy the 4 slots that were requested by the application:"), "{said}");
        assert!(advice.contains("--slots N"));
        let bare = cause("Traceback (most recent call last):\n  x\nModuleNotFoundError: No module named 'yaml'\n");
        let missing = bare.and_then(|cause| cause.missing_module).expect("a module");
        assert_eq!(Surroundings::default().advice(&missing), "name `pyyaml` in a requirements.txt");
    }

    #[test]
    fn little_is_kept_of_much() {
        let mut last = LastWords::default();
        for n in 0..100_000 {
            last.push(false, format!("line {n}\n").as_bytes());
            last.push(true, &[b'x'; 300]);
        }
        assert!(last.stdout.len() <= 2 * KEPT && last.stderr.len() <= 2 * KEPT);
        last.push(false, b"Traceback (most recent call last):\n  x\nValueError: ");
        last.push(false, "\u{e4}".repeat(9999).as_bytes());
        let cause = last.cause().expect("a cause");
        assert_eq!(cause.words.chars().count(), LONGEST + 1);
    }
}
