//! Events to text or JSON, results to stdout, failures to stderr.

use std::collections::BTreeMap;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::log_lines::{LogLines, printable};
use super::timings::{Span, Timings};
use crate::diagnosis::{Diagnosis, Failure, Kind};
use crate::event::{Event, Events, Phase, RankState, Stream};

/// Nothing is drawn for steps that take less than this.
const PATIENCE: Duration = Duration::from_millis(250);
/// Colours that ranks take turns with.
const RANK_COLOURS: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::Red];

/// Who reads the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A person.
    Text,
    /// A program: one JSON document, or one object per line where it goes on.
    Json,
}

/// Where everything is printed.
#[derive(Clone)]
pub struct Output(Arc<Mutex<Inner>>);

struct Inner {
    format: Format,
    quiet: bool,
    stdout: AutoStream<std::io::Stdout>,
    stderr: AutoStream<std::io::Stderr>,
    bar: Option<ProgressBar>,
    /// What bytes move for, since when, and how many had moved then.
    moving: Option<(String, Instant, u64)>,
    is_terminal: bool,
    timings: Timings,
    lines: BTreeMap<(u32, u8), LogLines>,
    /// Why a result could not be written.
    unwritten: Option<std::io::Error>,
}

/// A result that nobody got.
#[derive(Debug, thiserror::Error)]
#[error("the result cannot be written to standard output")]
pub struct UnwrittenResult(#[from] std::io::Error);

impl Diagnosis for UnwrittenResult {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        vec!["look at where the output goes: is there room, is it open?".to_owned()]
    }
}

const HEADING: Style = Style::new().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();
const FAINT: Style = Style::new().dimmed();

impl Output {
    /// Output for a person or a program; `choice` for colours (`NO_COLOR` and `CLICOLOR_FORCE` count in `Auto`).
    pub fn new(format: Format, quiet: bool, choice: ColorChoice) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self(Arc::new(Mutex::new(Inner {
            format,
            quiet,
            stdout: AutoStream::new(std::io::stdout(), choice),
            stderr: AutoStream::new(std::io::stderr(), choice),
            bar: None,
            moving: None,
            is_terminal,
            timings: Timings::begin(),
            lines: BTreeMap::new(),
            unwritten: None,
        })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Who reads.
    pub fn format(&self) -> Format {
        self.with(|inner| inner.format)
    }

    /// Where adapters report to.
    pub fn events(&self) -> Events {
        let output = self.clone();
        Events::new(move |event| {
            output.with(|inner| inner.event(&event));
            if let Event::Started { phase, detail } = event {
                output.wait_visibly(phase, detail);
            }
        })
    }

    /// Shows that something goes on, once it has taken longer than people like to wait in the dark.
    fn wait_visibly(&self, phase: Phase, detail: String) {
        let (is_terminal, begun) = self.with(|inner| (inner.is_terminal && !inner.quiet, inner.timings.begun(phase)));
        if !is_terminal {
            return;
        }
        let output = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(PATIENCE);
            output.with(|inner| {
                if begun.is_some() && inner.timings.begun(phase) == begun && inner.bar.is_none() {
                    let bar = spinner().with_prefix(name(phase)).with_message(printable(&detail));
                    bar.enable_steady_tick(Duration::from_millis(100));
                    inner.bar = Some(bar);
                }
            });
        });
    }

    /// A result: `text` for people, `document` for programs.
    pub fn result(&self, text: &str, document: &impl Serialize) {
        self.with(|inner| match inner.format {
            Format::Text => inner.out(text),
            Format::Json => inner.json(document),
        });
    }

    /// How long the steps took that are over.
    pub fn timings(&self) -> Vec<Span> {
        self.with(|inner| inner.timings.spans())
    }

    /// Words that are no result.
    pub fn narrate(&self, text: &str) {
        self.with(|inner| inner.narrate(text));
    }

    /// Says what went wrong and what to do about it.
    pub fn failure(&self, failure: &Failure) {
        self.with(|inner| inner.failure(failure));
    }

    /// Shows what was written without an end of line, and takes bars away; tells whether all results were written.
    pub fn finish(&self) -> Result<(), UnwrittenResult> {
        self.with(|inner| {
            inner.finish();
            inner.unwritten.take().map_or(Ok(()), |error| Err(error.into()))
        })
    }
}

impl Inner {
    fn out(&mut self, text: &str) {
        self.suspend();
        match self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush()) {
            Ok(()) => {}
            // Nobody reads any more (`nauta logs | head`): there is nobody to tell.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.quiet = true,
            Err(error) => self.unwritten = Some(error),
        }
    }

    fn json(&mut self, document: &impl Serialize) {
        let line = serde_json::to_string(document).unwrap_or_default();
        self.out(&format!("{line}\n"));
    }

    fn err(&mut self, text: &str) {
        self.suspend();
        let _ = self.stderr.write_all(text.as_bytes());
    }

    fn narrate(&mut self, text: &str) {
        if !self.quiet && self.format == Format::Text {
            self.err(&format!("{}\n", printable(text)));
        }
    }

    fn suspend(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn event(&mut self, event: &Event) {
        let took = self.timings.see(event);
        if self.format == Format::Json {
            if !matches!(event, Event::Progress { .. } | Event::BuildOutput { .. }) {
                self.json(event);
            }
            return;
        }
        match event {
            Event::Progress { phase, done, total, detail } => self.progress(*phase, *done, *total, detail),
            Event::Finished { phase, detail } => self.finished(*phase, detail, took),
            Event::BuildOutput { line } => self.narrate(&format!("{FAINT}  {}{FAINT:#}", printable(line))),
            Event::Note { text } => self.narrate(text),
            Event::Warning { text } => self.err(&format!("{WARNING}warning:{WARNING:#} {}\n", printable(text))),
            Event::Rank { rank, state } => self.rank(*rank, state),
            Event::Log { rank, stream, bytes, .. } => self.log(*rank, *stream, bytes),
            Event::Started { .. } | Event::LogCurrent { .. } => {}
            Event::LogGap { rank, message } => self.narrate(&format!("[{rank}] … {message} …")),
            Event::Output { path, size, .. } => {
                self.narrate(&format!("{FAINT}  received {path} ({}){FAINT:#}", bytes(*size)));
            }
        }
    }

    fn progress(&mut self, phase: Phase, done: u64, total: Option<u64>, detail: &str) {
        let begun = self.timings.begun(phase).map_or(Duration::ZERO, |begun| begun.elapsed());
        if self.quiet || !self.is_terminal || begun < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(spinner);
        bar.set_prefix(name(phase));
        if !matches!(&self.moving, Some((moving, ..)) if moving == detail) {
            self.moving = Some((detail.to_owned(), Instant::now(), done));
        }
        let (_, since, before) = self.moving.as_ref().expect("set just now");
        let amount = amount(done, total, done.saturating_sub(*before), since.elapsed());
        bar.set_message(format!("{} {amount}", printable(detail)));
        bar.tick();
    }

    fn finished(&mut self, phase: Phase, detail: &str, took: Option<Duration>) {
        let took =
            took.filter(|took| *took >= PATIENCE).map(|took| format!(" {FAINT}({:.1} s){FAINT:#}", took.as_secs_f32()));
        if !self.quiet {
            self.err(&format!(
                "{HEADING}{:>11}{HEADING:#} {}{}\n",
                name(phase),
                printable(detail),
                took.unwrap_or_default()
            ));
        }
    }

    fn rank(&mut self, rank: u32, state: &RankState) {
        match state {
            RankState::Ended(end) if !end.is_success() => self.narrate(&format!("[{rank}] {end}")),
            RankState::Pending { message } | RankState::Meeting { message } if !message.is_empty() => {
                self.narrate(&format!("{FAINT}[{rank}] {message}{FAINT:#}"));
            }
            _ => {}
        }
    }

    fn log(&mut self, rank: u32, stream: Stream, bytes: &[u8]) {
        let key = (rank, u8::from(stream == Stream::Stderr) + 2 * u8::from(stream == Stream::Supervisor));
        for line in self.lines.entry(key).or_default().push(bytes) {
            self.line(rank, stream, &line);
        }
    }

    fn line(&mut self, rank: u32, stream: Stream, line: &str) {
        let colour = RANK_COLOURS[rank as usize % RANK_COLOURS.len()].on_default();
        let prefix = format!("{colour}[{rank}]{colour:#} ");
        if stream == Stream::Supervisor {
            self.err(&format!("{prefix}{FAINT}nauta: {line}{FAINT:#}\n"));
        } else {
            self.out(&format!("{prefix}{line}\n"));
        }
    }

    fn finish(&mut self) {
        self.suspend();
        for ((rank, stream), mut lines) in std::mem::take(&mut self.lines) {
            let stream = if stream == 2 { Stream::Supervisor } else { Stream::Stdout };
            if let Some(line) = lines.take() {
                self.line(rank, stream, &line);
            }
        }
    }

    fn failure(&mut self, failure: &Failure) {
        self.finish();
        if self.format == Format::Json {
            let document = serde_json::json!({
                "schema": 1,
                "error": failure.to_string(),
                "kind": failure.kind().as_str(),
                "causes": failure.causes(),
                "hints": failure.hints(),
            });
            let _ = writeln!(self.stderr, "{document}");
            return;
        }
        let mut text = format!("{ERROR}error:{ERROR:#} {}\n", printable(&failure.to_string()));
        for cause in failure.causes() {
            text.push_str(&[" cause: ", &printable(&cause), "\n"].concat());
        }
        for hint in failure.hints() {
            let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{HINT} hint:{HINT:#} {}\n", printable(&hint)));
        }
        self.err(&text);
    }
}

/// How far something is, how fast, and how long it will take: `37 %, 48.0 MB/s, 9 s left`.
fn amount(done: u64, total: Option<u64>, moved: u64, took: Duration) -> String {
    let per_second = moved.saturating_mul(1000) / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut parts = Vec::new();
    if let Some(total) = total.filter(|total| *total > 0) {
        parts.push(format!("{} %", done * 100 / total));
    }
    // Steps of builds are counted too; only bytes have a rate.
    if moved > 1_000_000 && took > PATIENCE {
        parts.push(format!("{}/s", bytes(per_second)));
        if let Some(left) = total.and_then(|total| total.checked_sub(done)) {
            parts.push(format!("{} s left", left.div_ceil(per_second.max(1))));
        }
    }
    parts.join(", ")
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} {wide_msg}");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

pub(super) const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Check => "check",
        Phase::Snapshot => "snapshot",
        Phase::Environment => "environment",
        Phase::Push => "push",
        Phase::Submit => "submit",
        Phase::Start => "start",
        Phase::Run => "run",
        Phase::Collect => "collect",
    }
}

/// An amount of bytes for people.
#[must_use]
pub fn bytes(amount: u64) -> String {
    indicatif::BinaryBytes(amount).to_string()
}
