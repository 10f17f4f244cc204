//! What `accelerate launch` has to be told on each machine, and reads from no variable: nauta writes it behind `launch`.

use std::ffi::OsString;

use crate::job::launch::accelerate;

/// A rank's place as `accelerate launch` wants it.
pub(in crate::supervisor) struct Machine<'a> {
    pub(in crate::supervisor) rank: u32,
    pub(in crate::supervisor) ranks: u32,
    /// How many processes each rank is to have.
    pub(in crate::supervisor) slots: u32,
    pub(in crate::supervisor) master: &'a str,
    pub(in crate::supervisor) port: &'a str,
    pub(in crate::supervisor) accelerators: u32,
}

/// Options by which the user has chosen what to train on.
const CHOICES: [&str; 7] =
    ["--multi_gpu", "--tpu", "--use_deepspeed", "--use_fsdp", "--use_megatron_lm", "--gpu_ids", "--config_file"];

/// The command with this rank's place in it, where it is `accelerate launch`. Of two options of a name the later one counts there:
/// what the user has written wins.
pub(in crate::supervisor) fn complete(command: &[OsString], machine: &Machine<'_>) -> Vec<OsString> {
    let words: Vec<&str> = command.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let Some(at) = accelerate(&words).filter(|_| machine.ranks > 1) else { return command.to_vec() };
    let (own, users) = (options(machine, &words[at..]), &command[at..]);
    command[..at].iter().cloned().chain(own.into_iter().map(OsString::from)).chain(users.iter().cloned()).collect()
}

fn options(machine: &Machine<'_>, users: &[&str]) -> Vec<String> {
    let is_given =
        |option: &str| users.iter().any(|word| word.replace('-', "_").starts_with(&option.replace('-', "_")));
    let mut options: Vec<String> = [
        ("--num_machines", machine.ranks.to_string()),
        ("--machine_rank", machine.rank.to_string()),
        ("--num_processes", machine.ranks.saturating_mul(machine.slots).to_string()),
        ("--main_process_ip", machine.master.to_owned()),
        ("--main_process_port", machine.port.to_owned()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect();
    // Else the processes of a rank without accelerators take no notice of the others'.
    if machine.accelerators == 0 && !CHOICES.iter().any(|choice| is_given(choice)) {
        options.push("--cpu".to_owned());
    }
    // Each rank runs the launcher already, which would else start them all by `pdsh`.
    if is_given("--use_deepspeed") || is_given("--config_file") {
        options.extend(["--deepspeed_multinode_launcher", "standard"].map(str::to_owned));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(command: &str, ranks: u32, slots: u32, accelerators: u32) -> String {
        let command: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        let machine = Machine { rank: 1, ranks, slots, master: "r-0.r", port: "29500", accelerators };
        complete(&command, &machine).join(" ".as_ref()).into_string().expect("text")
    }

    #[test]
    fn the_place_is_written_before_what_the_user_says() {
        let place =
            "--num_machines 2 --machine_rank 1 --num_processes 2 --main_process_ip r-0.r --main_process_port 29500";
        assert_eq!(
            completed("accelerate launch train.py", 2, 1, 0),
            format!("accelerate launch {place} --cpu train.py")
        );
        assert_eq!(
            completed("uv run accelerate launch --num_processes 4 train.py", 2, 1, 1),
            format!("uv run accelerate launch {place} --num_processes 4 train.py")
        );
        let several = completed("python3 -m accelerate.commands.launch --multi_gpu train.py", 2, 8, 8);
        assert!(
            several.contains("-m accelerate.commands.launch --num_machines 2") && several.contains("_processes 16")
        );
        let deepspeed = completed("accelerate-launch --use-deepspeed train.py", 2, 1, 0);
        assert!(deepspeed.contains("--deepspeed_multinode_launcher standard --use-deepspeed"), "{deepspeed}");
        assert!(!deepspeed.contains("--cpu"), "{deepspeed}");
    }

    #[test]
    fn other_commands_and_runs_of_one_rank_stay_as_they_are() {
        for command in
            ["python train.py", "accelerate config", "python train.py accelerate launch", "accelerate launch"]
        {
            assert_eq!(completed(command, 1, 1, 0), command);
        }
        assert_eq!(completed("python train.py accelerate launch", 2, 1, 0), "python train.py accelerate launch");
        assert_eq!(completed("accelerate env", 2, 1, 0), "accelerate env");
    }
}
