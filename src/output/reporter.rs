//! Events to text or JSON, results to stdout, failures to stderr.

mod logs;
mod ranks;

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use indicatif::ProgressBar;
use serde::Serialize;

use super::folding::WINDOW;
use super::live::Live;
use super::log_lines::printable;
use super::logs::Logs;
use super::progress::{PATIENCE, amount, bytes, name, spinner};
use super::shown::{json_shown, lines_shown, shown};
use super::timings::{Span, Timings};
use super::waits::Waits;
use crate::diagnosis::{Diagnosis, Failure, Kind};
use crate::event::{Event, Events, Phase};
use crate::secret::Mask;

/// Who reads the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A person.
    Text,
    /// A program: one JSON document, or one object per line where it goes on.
    Json,
}

/// How logs look, and where they go.
#[derive(Debug, Default)]
pub struct LogStyle {
    /// As the program wrote it, byte for byte: standard output and standard error each to its own, and nothing else.
    pub raw: bool,
    /// Each line begins with its time, in UTC.
    pub timestamps: bool,
    /// Into this file, without colours.
    pub file: Option<File>,
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
    logs: Logs,
    log_style: LogStyle,
    live: Live,
    /// What ranks wait for that are not up yet: drawn in place where somebody looks on, and else said once each.
    starting: Waits,
    /// Whether somebody comes back for lines and bars that wait.
    is_awaited: bool,
    /// What nothing that is printed may hold.
    mask: Mask,
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
        let stdout = AutoStream::new(std::io::stdout(), choice);
        Self(Arc::new(Mutex::new(Inner {
            format,
            quiet,
            stderr: AutoStream::new(std::io::stderr(), choice),
            bar: None,
            moving: None,
            is_terminal,
            timings: Timings::begin(),
            // For a person at a terminal only: programs want every rank's lines.
            logs: Logs::new(std::io::stdout().is_terminal()),
            log_style: LogStyle::default(),
            live: Live::new(stdout.current_choice() != ColorChoice::Never),
            stdout,
            starting: Waits::default(),
            is_awaited: false,
            mask: Mask::default(),
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

    /// What nothing that is printed may hold.
    pub fn mask(&self) -> Mask {
        self.with(|inner| inner.mask.clone())
    }

    /// Where adapters report to.
    pub fn events(&self) -> Events {
        let output = self.clone();
        Events::new(move |event| {
            if output.with(|inner| inner.event(&event)) {
                output.unfold_in_time();
            }
            if let Event::Started { phase, detail } = event {
                output.wait_visibly(phase, detail);
            }
        })
    }

    /// Logs look like this from now on.
    pub fn style_logs(&self, style: LogStyle) {
        self.with(|inner| {
            inner.logs.style(style.timestamps, inner.logs.folds() && style.file.is_none());
            inner.log_style = style;
        });
    }

    /// Shows lines when they have waited long enough for others like them, and bars.
    fn unfold_in_time(&self) {
        let output = self.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(WINDOW);
                let nothing_waits = output.with(|inner| {
                    let due = inner.logs.due(Instant::now());
                    inner.lines(due);
                    inner.draw_bars();
                    inner.is_awaited = inner.waits();
                    !inner.is_awaited
                });
                if nothing_waits {
                    return;
                }
            }
        });
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
                    let bar = spinner().with_prefix(name(phase)).with_message(shown(&detail));
                    bar.enable_steady_tick(Duration::from_millis(100));
                    inner.bar = Some(bar);
                }
            });
        });
    }

    /// A result: `text` for people, `document` for programs. Names in it have gone through [`shown`], so that each is on one
    /// line; whatever else is in it, it does nothing to a terminal.
    pub fn result(&self, text: &str, document: &impl Serialize) {
        self.with(|inner| match inner.format {
            Format::Text => inner.out(&lines_shown(text)),
            Format::Json => inner.json(document),
        });
    }

    /// A result that other programs read as it is, a script or a manifest: safe at a terminal, and byte for byte elsewhere.
    pub fn data(&self, text: &str, document: &impl Serialize) {
        self.with(|inner| match inner.format {
            Format::Text if std::io::stdout().is_terminal() => {
                let lines: Vec<String> = text.split('\n').map(printable).collect();
                inner.out(&lines.join("\n"));
            }
            Format::Text => inner.out(text),
            Format::Json => inner.json(document),
        });
    }

    /// What is wrong with a command line, in the words of who read it; arguments in it may be names of files.
    pub fn usage(&self, text: &str) {
        let lines: Vec<String> = text.split('\n').map(printable).collect();
        self.with(|inner| inner.err(&lines.join("\n")));
    }

    /// How long the steps took that are over.
    pub fn timings(&self) -> Vec<Span> {
        self.with(|inner| inner.timings.spans())
    }

    /// How long nauta has been at work, in seconds.
    pub fn took(&self) -> f64 {
        self.with(|inner| inner.timings.took())
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
        let text = self.mask.apply(text);
        let written = self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush());
        self.written(written);
    }

    fn written(&mut self, outcome: std::io::Result<()>) {
        match outcome {
            Ok(()) => {}
            // Nobody reads any more (`nauta logs | head`): there is nobody to tell.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.quiet = true,
            Err(error) => self.unwritten = Some(error),
        }
    }

    fn json(&mut self, document: &impl Serialize) {
        let line = json_shown(&serde_json::to_string(document).unwrap_or_default());
        self.out(&format!("{line}\n"));
    }

    fn err(&mut self, text: &str) {
        self.suspend();
        let _ = self.stderr.write_all(self.mask.apply(text).as_bytes());
    }

    fn narrate(&mut self, text: &str) {
        self.say(&shown(text));
    }

    /// What matters less.
    fn mention(&mut self, text: &str) {
        self.say(&format!("{FAINT}{}{FAINT:#}", shown(text)));
    }

    fn say(&mut self, safe: &str) {
        if !self.quiet && self.format == Format::Text {
            self.err(&format!("{safe}\n"));
        }
    }

    fn suspend(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let erased = self.live.take_away();
        self.written(erased);
    }

    /// Shows an event; tells whether somebody has to come back for a line that waits.
    fn event(&mut self, event: &Event) -> bool {
        if let (Event::Log { rank, stream, time, bytes }, Format::Text) = (event, self.format) {
            return self.log(*rank, *stream, *time, bytes);
        }
        let due = self.due_before(event);
        self.lines(due);
        self.show(event);
        if self.is_terminal && self.bar.is_none() && self.format == Format::Text {
            self.draw_waits();
        }
        false
    }

    fn show(&mut self, event: &Event) {
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
            // A build's own colours stay.
            Event::BuildOutput { line } => self.say(&format!("{FAINT}  {}{FAINT:#}", printable(line))),
            Event::Note { text } => self.narrate(text),
            Event::Warning { text } => self.err(&format!("{WARNING}warning:{WARNING:#} {}\n", shown(text))),
            Event::Rank { rank, state } => self.rank(*rank, state),
            Event::Log { .. } | Event::Started { .. } | Event::LogCurrent { .. } => {}
            Event::LogGap { rank, message } => self.narrate(&format!("[{rank}] … {message} …")),
            Event::Output { path, size, .. } => {
                self.mention(&format!("  received {path} ({})", bytes(*size)));
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
        bar.set_message(format!("{} {amount}", self.mask.apply(&shown(detail))));
        bar.tick();
    }

    fn finished(&mut self, phase: Phase, detail: &str, took: Option<Duration>) {
        let took =
            took.filter(|took| *took >= PATIENCE).map(|took| format!(" {FAINT}({:.1} s){FAINT:#}", took.as_secs_f32()));
        if !self.quiet && !detail.is_empty() {
            self.err(&format!(
                "{HEADING}{:>11}{HEADING:#} {}{}\n",
                name(phase),
                shown(detail),
                took.unwrap_or_default()
            ));
        }
    }

    fn finish(&mut self) {
        let cleared = self.live.clear();
        self.written(cleared);
        self.suspend();
        let rest = self.logs.rest();
        self.lines(rest);
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
            self.err(&format!("{}\n", json_shown(&document.to_string())));
            return;
        }
        let mut text = format!("{ERROR}error:{ERROR:#} {}\n", shown(&failure.to_string()));
        for cause in failure.causes() {
            text.push_str(&[" cause: ", &shown(&cause), "\n"].concat());
        }
        for hint in failure.hints() {
            let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{HINT} hint:{HINT:#} {}\n", shown(&hint)));
        }
        self.err(&text);
    }
}
