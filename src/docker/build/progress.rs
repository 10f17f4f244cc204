//! What the builders say, as events, and as an error when they fail.

use std::collections::{BTreeMap, VecDeque};

use bollard::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog, VertexStatus};

use crate::docker::error::DockerError;
use crate::docker::hints::{is_about_trust, wants_index_login};
use crate::event::{Event, Events, Phase};

/// How many of a step's last lines an error shows.
const LAST_LINES: usize = 20;
/// The longest line that is passed on, in bytes; the rest of it is cut into further lines.
const MAX_LINE: usize = 16 * 1024;

/// A build as far as it has come.
#[derive(Default)]
pub(super) struct Progress {
    /// Steps in the order in which they were first heard of.
    steps: Vec<Step>,
    /// Where a vertex of BuildKit is in `steps`.
    by_digest: BTreeMap<String, usize>,
    /// How many steps the classic builder has announced.
    announced: Option<u64>,
}

#[derive(Default)]
struct Step {
    name: String,
    done: bool,
    failed: bool,
    /// Bytes of a line that has not ended yet.
    partial: Vec<u8>,
    last_lines: VecDeque<String>,
    /// Bytes that have come, and all of them, by what they are of.
    transfers: BTreeMap<String, (i64, i64)>,
    /// The first line that tells of each kind of cause, which may be far above the last words.
    causes: [Option<String>; 2],
}

impl Progress {
    /// A message of BuildKit.
    pub(super) fn buildkit(&mut self, status: StatusResponse, events: &Events) {
        for vertex in status.vertexes {
            self.vertex(&vertex, events);
        }
        self.transfers(&status.statuses, events);
        for log in status.logs {
            self.log(&log, events);
        }
        for warning in status.warnings {
            let line = format!("warning: {}", String::from_utf8_lossy(&warning.short));
            events.send(Event::BuildOutput { line });
        }
    }

    fn vertex(&mut self, vertex: &Vertex, events: &Events) {
        // Loading the Dockerfile and the context are no steps to anybody but BuildKit.
        if vertex.name.starts_with("[internal]") {
            return;
        }
        let index = self.step_of(&vertex.digest);
        let step = &mut self.steps[index];
        let begins = step.name.is_empty() && vertex.started.is_some();
        let ends = !step.done && vertex.completed.is_some();
        if vertex.started.is_some() {
            step.name = one_line(&vertex.name);
        }
        step.done |= ends;
        step.failed |= !vertex.error.is_empty() && !vertex.error.contains("context canceled");
        if begins || ends {
            let detail =
                if vertex.cached { format!("{} (cached)", one_line(&vertex.name)) } else { one_line(&vertex.name) };
            self.report(detail, events);
        }
    }

    /// How far the bytes are that a step fetches: a base may have gigabytes.
    fn transfers(&mut self, statuses: &[VertexStatus], events: &Events) {
        let mut moved = None;
        for status in statuses.iter().filter(|status| status.total > 0) {
            let index = self.step_of(&status.vertex);
            self.steps[index].transfers.insert(status.id.clone(), (status.current, status.total));
            moved = Some(index);
        }
        let Some(step) = moved.map(|index| &self.steps[index]).filter(|step| !step.done && !step.name.is_empty())
        else {
            return;
        };
        let (current, total) = step.transfers.values().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        let detail = format!("{}: {} of {} MB", step.name, current / 1_000_000, total / 1_000_000);
        self.report(detail, events);
    }

    fn step_of(&mut self, digest: &str) -> usize {
        if let Some(index) = self.by_digest.get(digest) {
            return *index;
        }
        self.steps.push(Step::default());
        self.by_digest.insert(digest.to_owned(), self.steps.len() - 1);
        self.steps.len() - 1
    }

    fn log(&mut self, log: &VertexLog, events: &Events) {
        let index = self.step_of(&log.vertex);
        self.steps[index].output(&log.msg, events);
    }

    /// A message of the classic builder.
    pub(super) fn classic(&mut self, stream: Option<&str>, status: Option<&str>, id: Option<&str>, events: &Events) {
        if let Some(text) = stream {
            if let Some((number, total, instruction)) = classic_step(text) {
                self.announced = Some(total);
                self.end_step(events);
                self.steps.push(Step { name: one_line(instruction), ..Step::default() });
                self.report(format!("[{number}/{total}] {}", one_line(instruction)), events);
            } else if !is_classic_noise(text)
                && let Some(step) = self.steps.last_mut()
            {
                step.output(without_colour(text).as_bytes(), events);
            }
        } else if let Some(status) = status {
            let detail = id.map_or_else(|| status.to_owned(), |id| format!("{id}: {status}"));
            self.report(one_line(&detail), events);
        }
    }

    fn end_step(&mut self, events: &Events) {
        if let Some(step) = self.steps.last_mut() {
            step.done = true;
            step.end_line(events);
        }
    }

    fn report(&self, detail: String, events: &Events) {
        let done = self.steps.iter().filter(|step| step.done).count() as u64;
        let total = self.announced.or(Some(self.steps.len() as u64));
        events.send(Event::Progress { phase: Phase::Environment, done, total, detail });
    }

    /// All has been said: lines without an end are lines, too.
    pub(super) fn finish(&mut self, events: &Events) {
        for step in &mut self.steps {
            step.end_line(events);
        }
    }

    /// Why the build failed.
    pub(super) fn failure(mut self, message: &str, code: Option<i64>) -> DockerError {
        self.finish(&Events::none());
        let code = exit_code(message).or(code);
        // Without an exit code no command ran: the Dockerfile or the base image is at fault.
        let failed = self.steps.iter().rposition(|step| step.failed).or_else(|| self.steps.len().checked_sub(1));
        match (code, failed) {
            _ if message.contains("no space left on device") => {
                DockerError::DiskFull { what: "build the image".to_owned() }
            }
            (Some(code), Some(index)) => {
                let step = self.steps.swap_remove(index);
                let lines = step.last_words();
                DockerError::BuildFailed { step: step.name, code: Some(code), lines }
            }
            (None, failed) => {
                let step = failed.map(|index| self.steps.swap_remove(index).name);
                // BuildKit's own errands (such as `copy /context /`) are nothing that the user wrote.
                let step = step.filter(|step| !step.is_empty() && !step.starts_with("copy /"));
                let message = message.rsplit("failed to create LLB definition: ").next().unwrap_or(message);
                DockerError::BuildRefused { step, message: message.trim().to_owned() }
            }
            (Some(_), None) => DockerError::BuildRefused { step: None, message: message.trim().to_owned() },
        }
    }
}

impl Step {
    /// Its last lines, and before them those that tell of a cause.
    fn last_words(&self) -> Vec<String> {
        let causes = self.causes.iter().flatten().filter(|cause| !self.last_lines.contains(cause));
        causes.chain(&self.last_lines).cloned().collect()
    }

    fn output(&mut self, bytes: &[u8], events: &Events) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(events),
                _ if self.partial.len() >= MAX_LINE => {
                    self.end_line(events);
                    self.partial.push(*byte);
                }
                _ => self.partial.push(*byte),
            }
        }
    }

    fn end_line(&mut self, events: &Events) {
        if self.partial.is_empty() {
            return;
        }
        let line = visible(&String::from_utf8_lossy(&std::mem::take(&mut self.partial)));
        if self.last_lines.len() == LAST_LINES {
            self.last_lines.pop_front();
        }
        for (cause, tells) in self.causes.iter_mut().zip([is_about_trust, wants_index_login]) {
            if cause.is_none() && tells(&line) {
                *cause = Some(line.clone());
            }
        }
        self.last_lines.push_back(line.clone());
        events.send(Event::BuildOutput { line });
    }
}

/// The classic builder paints what commands write to stderr, whether anybody wants colours or not.
fn without_colour(text: &str) -> String {
    text.replace("\u{1b}[91m", "").replace("\u{1b}[0m", "")
}

/// What a terminal would show of a line: the text behind the last carriage return (a progress bar's last state).
fn visible(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    line.rsplit('\r').next().unwrap_or(line).to_owned()
}

/// An instruction as one line of bearable length: without its mounts, and with what matters of a long one, its end.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 120;
    let words: Vec<&str> = text.split_whitespace().filter(|word| !word.starts_with("--mount=")).collect();
    let line = words.join(" ");
    let surplus = line.chars().count().saturating_sub(LONGEST);
    match line.split_once("RUN ").filter(|_| surplus > 0) {
        Some((before, command)) => format!("{before}RUN … {}", command.chars().skip(surplus).collect::<String>()),
        None => line,
    }
}

/// `Step 2/5 : RUN make` as its parts.
fn classic_step(text: &str) -> Option<(u64, u64, &str)> {
    let (numbers, instruction) = text.strip_prefix("Step ")?.split_once(" : ")?;
    let (number, total) = numbers.split_once('/')?;
    Some((number.parse().ok()?, total.parse().ok()?, instruction))
}

/// The classic builder's words about its containers and images, which are nobody's output.
fn is_classic_noise(text: &str) -> bool {
    let text = text.trim();
    ["--->", "Removing intermediate container ", "Successfully built ", "Successfully tagged "]
        .iter()
        .any(|words| text.starts_with(words))
        || text.is_empty()
}

/// The exit code at the end of a builder's message.
fn exit_code(message: &str) -> Option<i64> {
    ["exit code: ", "non-zero code: "]
        .iter()
        .filter_map(|words| message.rsplit_once(words))
        .find_map(|(_, code)| code.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn recorder() -> (Events, Arc<Mutex<Vec<String>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let events = Events::new(move |event| {
            sink.lock().unwrap().push(match event {
                Event::Progress { done, total, detail, .. } => format!("{done}/{} {detail}", total.unwrap()),
                Event::BuildOutput { line } => format!("> {line}"),
                other => format!("{other:?}"),
            });
        });
        (events, seen)
    }

    #[test]
    fn the_classic_builders_words_become_steps_and_lines() {
        let (events, seen) = recorder();
        let mut progress = Progress::default();
        for text in [
            "Step 1/2 : FROM base",
            "\n",
            " ---> 0123456789ab\n",
            "Step 2/2 : RUN make",
            " ---> Running in 0123456789ab\n",
            "10%\r20%\r",
            "30%\nhalf a",
            "\u{1b}[91m line\n\u{1b}[0mlast",
        ] {
            progress.classic(Some(text), None, None, &events);
        }
        let error = progress.failure("The command '/bin/sh -c make' returned a non-zero code: 2", Some(2));
        let expected = ["0/2 [1/2] FROM base", "1/2 [2/2] RUN make", "> 30%", "> half a line"];
        assert_eq!(*seen.lock().unwrap(), expected);
        let DockerError::BuildFailed { step, code, lines } = error else { panic!("{error}") };
        assert_eq!((step.as_str(), code), ("RUN make", Some(2)));
        assert_eq!(lines, ["30%", "half a line", "last"]);
    }

    #[test]
    fn a_message_without_an_exit_code_is_a_refusal() {
        let mut progress = Progress::default();
        progress.classic(Some("Step 1/1 : FROM nowhere"), None, None, &Events::none());
        let error = progress.failure("pull access denied for nowhere", None);
        assert_eq!(error.to_string(), "the image cannot be built, in `FROM nowhere`: pull access denied for nowhere");
    }

    #[test]
    fn exit_codes_are_found_at_the_end_of_messages() {
        assert_eq!(exit_code("executor failed running [/bin/sh -c exit 3]: exit code: 3"), Some(3));
        assert_eq!(exit_code("process \"/bin/sh -c x\" did not complete successfully: exit code: 137"), Some(137));
        assert_eq!(exit_code("exit code: unknown"), None);
    }
}
