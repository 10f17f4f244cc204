//! What a caller of `ssh` or `rsh` wants, as OpenSSH reads its command line. Options are about connections, which are made in
//! another way here, and mean nothing, but for `-n`.

/// Options of `ssh` and `rsh` that have a value.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";
/// Options that ask for something there is not: a terminal without a command, forwarding alone, a look at the program.
const MEANINGLESS: &str = "NVGQO";

/// What is to be run, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) host: String,
    /// The words, joined by spaces: a shell reads them.
    pub(super) command: String,
    /// Whether standard input goes along.
    pub(super) input: bool,
}

/// Reads the arguments behind the program's name.
pub(super) fn read(arguments: &[String]) -> Result<Wanted, String> {
    let mut words = arguments.iter();
    let (mut host, mut input) = (None, true);
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            if host.is_none() {
                host = Some(word.clone());
                continue;
            }
            // The command begins; whatever follows is its own.
            let command: Vec<&str> = std::iter::once(word).chain(words).map(String::as_str).collect();
            return wanted(host, &command, input);
        };
        if letters == "-" {
            if host.is_none() {
                host = words.next().cloned();
            }
            let command: Vec<&str> = words.map(String::as_str).collect();
            return wanted(host, &command, input);
        }
        if let Some(letter) = letters.chars().find(|letter| MEANINGLESS.contains(*letter)) {
            return Err(format!("-{letter} means nothing here: this is nauta's, and only runs commands on ranks"));
        }
        // Letters may stand together; one that has a value takes the rest, or the next word.
        let valued = letters.char_indices().find(|(_, letter)| WITH_VALUE.contains(*letter));
        let flags = valued.map_or(letters, |(at, _)| &letters[..at]);
        input &= !flags.contains('n');
        if let Some((at, letter)) = valued
            && letters.len() == at + letter.len_utf8()
            && words.next().is_none()
        {
            return Err(format!("-{letter} has no value"));
        }
    }
    wanted(host, &[], input)
}

fn wanted(host: Option<String>, command: &[&str], input: bool) -> Result<Wanted, String> {
    let host = host.ok_or("no host is named")?;
    if command.is_empty() {
        return Err("there is no command, and no terminal to give one".to_owned());
    }
    Ok(Wanted { host: bare(&host).to_owned(), command: command.join(" "), input })
}

/// A host without the user before it and what `ssh://` adds.
fn bare(host: &str) -> &str {
    let (host, is_url) = host.strip_prefix("ssh://").map_or((host, false), |rest| (rest, true));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    if is_url { host.split([':', '/']).next().unwrap_or(host) } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Wanted, String> {
        read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn command_lines_of_launchers_are_understood() {
        for (line, host, command, input) in [
            ("-x r-1 prted --daemonize", "r-1", "prted --daemonize", true),
            ("-o PasswordAuthentication=no -p 2222 r-0.r hostname -I", "r-0.r", "hostname -I", true),
            ("r-1 -p 22 -n hostname", "r-1", "hostname", false),
            ("-oBatchMode=yes -xnTp22 ada@r-1 ls -l", "r-1", "ls -l", false),
            ("-l ada r-1 -- -odd command", "r-1", "-odd command", true),
            ("-- r-1 ls -n", "r-1", "ls -n", true),
            ("ssh://ada@r-2:22/ cd /x; ./a.out", "r-2", "cd /x; ./a.out", true),
        ] {
            let wanted = Wanted { host: host.to_owned(), command: command.to_owned(), input };
            assert_eq!(of(line), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for (line, said) in
            [("r-1", "no command"), ("-p 22", "no host"), ("r-1 -p", "-p has no value"), ("-V", "-V means")]
        {
            assert!(of(line).is_err_and(|error| error.contains(said)), "{line}");
        }
    }
}
