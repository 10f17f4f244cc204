//! What a caller of `pdsh` wants: one command on many hosts, with their names before what they say.

/// Options of `pdsh` that have a value.
const WITH_VALUE: &str = "wxRfltugXMa";

/// What is to be run, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// In order; a host's place is its `%n`.
    pub(super) hosts: Vec<String>,
    /// The words, joined by spaces, with `%h`, `%n`, `%u` and `%%` for each host to fill in.
    command: String,
    /// How many at a time.
    pub(super) at_once: usize,
    /// Whether the exit code is the largest of all.
    pub(super) code_of_all: bool,
    /// Whether lines begin with their host.
    pub(super) named: bool,
}

/// Reads the arguments behind the program's name.
pub(super) fn read(arguments: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted { hosts: Vec::new(), command: String::new(), at_once: 32, code_of_all: false, named: true };
    let (mut without, mut words) = (Vec::new(), arguments.iter().peekable());
    while let Some(letters) = words.peek().and_then(|word| word.strip_prefix('-')).filter(|it| !it.is_empty()) {
        words.next();
        if letters == "-" {
            break;
        }
        let valued = letters.char_indices().find(|(_, letter)| WITH_VALUE.contains(*letter));
        let flags = valued.map_or(letters, |(at, _)| &letters[..at]);
        wanted.code_of_all |= flags.contains('S');
        wanted.named &= !flags.contains('N');
        let Some((at, letter)) = valued else { continue };
        let rest = &letters[at + letter.len_utf8()..];
        let value = if rest.is_empty() { words.next().map_or("", String::as_str) } else { rest };
        match letter {
            _ if value.is_empty() => return Err(format!("-{letter} has no value")),
            'w' => wanted.hosts.extend(list(value)),
            'x' => without.extend(list(value)),
            'f' => wanted.at_once = value.parse().ok().filter(|n| *n > 0).ok_or("-f wants a number")?,
            'R' if value != "ssh" => return Err(format!("-R {value}: there is only `ssh` here, which is nauta's")),
            _ => {}
        }
    }
    wanted.hosts.retain(|host| !without.contains(host));
    wanted.command = words.map(String::as_str).collect::<Vec<_>>().join(" ");
    match (wanted.hosts.is_empty(), wanted.command.is_empty()) {
        (true, _) => Err("no host is named (-w)".to_owned()),
        (_, true) => Err("there is no command, and no terminal to give one".to_owned()),
        _ => Ok(wanted),
    }
}

/// Hosts between commas, without a user before or a kind of connection.
fn list(value: &str) -> impl Iterator<Item = String> {
    value.split(',').filter(|host| !host.is_empty()).map(|host| {
        let host = host.rsplit_once(':').map_or(host, |(_, host)| host);
        host.rsplit_once('@').map_or(host, |(_, host)| host).to_owned()
    })
}

impl Wanted {
    /// The command for a host, which is the `place`th from 0.
    pub(super) fn command_for(&self, host: &str, place: usize) -> String {
        let mut text = String::with_capacity(self.command.len());
        let mut characters = self.command.chars();
        while let Some(character) = characters.next() {
            match (character, if character == '%' { characters.next() } else { None }) {
                ('%', Some('h')) => text.push_str(host),
                ('%', Some('n')) => text.push_str(&place.to_string()),
                ('%', Some('u')) => text.push_str("nauta"),
                ('%', Some('%')) => text.push('%'),
                (character, next) => text.extend([Some(character), next].into_iter().flatten()),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Wanted, String> {
        read(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn deepspeeds_command_line_is_understood() {
        let exports = "export PYTHONPATH=\"/workspace\"; ";
        let wanted =
            of(&["-S", "-f", "1024", "-w", "r-0.r,r-1.r", exports, "cd /workspace;", "python3", "--node_rank=%n"]);
        let wanted = wanted.expect("understood");
        assert_eq!((wanted.hosts.len(), wanted.at_once, wanted.code_of_all, wanted.named), (2, 1024, true, true));
        let command = "export PYTHONPATH=\"/workspace\";  cd /workspace; python3 --node_rank=1";
        assert_eq!(wanted.command_for("r-1.r", 1), command);
    }

    #[test]
    fn hosts_and_placeholders() {
        let wanted =
            of(&["-NRssh", "-w", "a,ssh:u@b", "-wc", "-x", "c", "echo", "-w", "%h %n %% %x %"]).expect("understood");
        assert_eq!((wanted.hosts.as_slice(), wanted.named), (&["a".to_owned(), "b".to_owned()][..], false));
        assert_eq!(wanted.command_for("b", 1), "echo -w b 1 % %x %");
        for (words, said) in [
            (&["-w"][..], "-w has no value"),
            (&["-w", "a"], "no command"),
            (&["ls"], "no host"),
            (&["-f", "0", "-w", "a", "ls"], "-f wants"),
            (&["-R", "exec", "-w", "a", "ls"], "only `ssh`"),
        ] {
            assert!(of(words).is_err_and(|error| error.contains(said)), "{words:?}");
        }
    }
}
