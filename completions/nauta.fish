# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_nauta_global_optspecs
    string join \n json q/quiet v/verbose color= h/help V/version
end

function __fish_nauta_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_nauta_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_nauta_using_subcommand
    set -l cmd (__fish_nauta_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c nauta -n "__fish_nauta_needs_command" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_needs_command" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_needs_command" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_needs_command" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_needs_command" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "init" -d 'Begin a project: from a template, or with what is in the directory'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "run" -d 'Run a program on this workstation or on a cluster'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "list" -d 'List runs: those of this project, and those of the target\'s namespace'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "status" -d 'Say where a run stands, rank by rank, and why it waits'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "logs" -d 'Show what a run\'s ranks wrote'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "pull" -d 'Bring a run\'s outputs from the mailbox to runs/RUN/'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "cancel" -d 'End a run and remove what it has on the cluster or in Docker; outputs that arrived stay'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "login" -d 'Keep a login for a registry'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "logout" -d 'Forget a login for a registry'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "target" -d 'Add, list or choose targets: clusters to run on'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "doctor" -d 'Look at everything that a run needs, and say what is missing and how to get it'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "template" -d 'List, show or copy templates'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "completions" -d 'Print the completion script for a shell'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "version" -d 'Say which nauta this is'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "man" -d 'Write man pages into a folder'
complete -c nauta -n "__fish_nauta_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nauta -n "__fish_nauta_using_subcommand init" -s t -l template -d 'The template\'s name (`nauta template list`)' -r
complete -c nauta -n "__fish_nauta_using_subcommand init" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand init" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand init" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand init" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand init" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand run" -s n -l nodes -d 'How many ranks' -r
complete -c nauta -n "__fish_nauta_using_subcommand run" -l target -d 'Run on a target of your configuration' -r
complete -c nauta -n "__fish_nauta_using_subcommand run" -l name -d 'What the run\'s name begins with; the project\'s name where absent' -r
complete -c nauta -n "__fish_nauta_using_subcommand run" -s e -l env -d 'A variable for the program' -r
complete -c nauta -n "__fish_nauta_using_subcommand run" -l cpu -d 'Processors of each rank, such as 2 or 500m' -r
complete -c nauta -n "__fish_nauta_using_subcommand run" -l memory -d 'Main memory of each rank, such as 8Gi' -r
complete -c nauta -n "__fish_nauta_using_subcommand run" -l gpus -d 'Accelerators of each rank' -r
complete -c nauta -n "__fish_nauta_using_subcommand run" -l template -d 'Put a template\'s files into this directory first, if it is empty' -r
complete -c nauta -n "__fish_nauta_using_subcommand run" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand run" -l local -d 'Run with Docker on this workstation'
complete -c nauta -n "__fish_nauta_using_subcommand run" -s d -l detach -d 'Submit to the cluster and return'
complete -c nauta -n "__fish_nauta_using_subcommand run" -l dry-run -d 'Print the cluster\'s manifests and submit nothing (the image is pushed: they name it)'
complete -c nauta -n "__fish_nauta_using_subcommand run" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand run" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand run" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand run" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand list" -l target -d 'The target whose runs to list' -r
complete -c nauta -n "__fish_nauta_using_subcommand list" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand list" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand list" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand list" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand list" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand status" -l target -d 'The target it is on' -r
complete -c nauta -n "__fish_nauta_using_subcommand status" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand status" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand status" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand status" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand status" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand logs" -l rank -d 'Only this rank' -r
complete -c nauta -n "__fish_nauta_using_subcommand logs" -l since -d 'Only what is younger (30s, 10m, 2h, 1d), or was written after a time (2026-11-23T14:00:00Z)' -r
complete -c nauta -n "__fish_nauta_using_subcommand logs" -l tail -d 'Only the last lines of each rank; with -f, what follows as well' -r
complete -c nauta -n "__fish_nauta_using_subcommand logs" -l target -d 'The target it is on' -r
complete -c nauta -n "__fish_nauta_using_subcommand logs" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand logs" -s f -l follow -d 'Go on until the run ends'
complete -c nauta -n "__fish_nauta_using_subcommand logs" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand logs" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand logs" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand logs" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand pull" -l target -d 'The target it is on' -r
complete -c nauta -n "__fish_nauta_using_subcommand pull" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand pull" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand pull" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand pull" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand pull" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand pull" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand cancel" -l target -d 'The target it is on' -r
complete -c nauta -n "__fish_nauta_using_subcommand cancel" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand cancel" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand cancel" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand cancel" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand cancel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand cancel" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand login" -s u -l user -d 'Your name there' -r
complete -c nauta -n "__fish_nauta_using_subcommand login" -l store -d 'Where it is kept' -r -f -a "keyring\t'The system\'s keyring, else Docker\'s credential helper'
docker-config\t'Docker\'s config.json, readable for you'"
complete -c nauta -n "__fish_nauta_using_subcommand login" -l ca -d 'Certificates (PEM) to trust for it' -r -F
complete -c nauta -n "__fish_nauta_using_subcommand login" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand login" -l password-stdin -d 'Read the password from standard input, though it is a terminal'
complete -c nauta -n "__fish_nauta_using_subcommand login" -l plain-http -d 'The registry is reached without TLS although it is not this machine'
complete -c nauta -n "__fish_nauta_using_subcommand login" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand login" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand login" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand login" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand logout" -l store -d 'Where it is kept' -r -f -a "keyring\t'The system\'s keyring, else Docker\'s credential helper'
docker-config\t'Docker\'s config.json, readable for you'"
complete -c nauta -n "__fish_nauta_using_subcommand logout" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand logout" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand logout" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand logout" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand logout" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand logout" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand target; and not __fish_seen_subcommand_from add list use help" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand target; and not __fish_seen_subcommand_from add list use help" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand target; and not __fish_seen_subcommand_from add list use help" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand target; and not __fish_seen_subcommand_from add list use help" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand target; and not __fish_seen_subcommand_from add list use help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand target; and not __fish_seen_subcommand_from add list use help" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand target; and not __fish_seen_subcommand_from add list use help" -f -a "add" -d 'Add a target, or replace it'
complete -c nauta -n "__fish_nauta_using_subcommand target; and not __fish_seen_subcommand_from add list use help" -f -a "list" -d 'List the targets'
complete -c nauta -n "__fish_nauta_using_subcommand target; and not __fish_seen_subcommand_from add list use help" -f -a "use" -d 'Choose the target of runs that name none (`local` for Docker)'
complete -c nauta -n "__fish_nauta_using_subcommand target; and not __fish_seen_subcommand_from add list use help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -l registry -d 'The registry as this workstation sees it, with an optional prefix' -r
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -l kubeconfig -d 'The kubeconfig file; kubectl\'s where absent' -r
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -l context -d 'The context of the kubeconfig' -r
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -l namespace -d 'The namespace' -r
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -l registry-from-nodes -d 'The registry\'s host as the nodes pull from it, where it differs' -r
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -l registry-from-pods -d 'The registry\'s host as pods reach it, where it differs' -r
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -l plain-http -d 'A host of the registry that is reached without TLS' -r
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from add" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from list" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from list" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from use" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from use" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from use" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from use" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from use" -s h -l help -d 'Print help'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from use" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add a target, or replace it'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the targets'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from help" -f -a "use" -d 'Choose the target of runs that name none (`local` for Docker)'
complete -c nauta -n "__fish_nauta_using_subcommand target; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nauta -n "__fish_nauta_using_subcommand doctor" -l target -d 'The target to look at' -r
complete -c nauta -n "__fish_nauta_using_subcommand doctor" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand doctor" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand doctor" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand doctor" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand doctor" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand template; and not __fish_seen_subcommand_from list show copy help" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand template; and not __fish_seen_subcommand_from list show copy help" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand template; and not __fish_seen_subcommand_from list show copy help" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand template; and not __fish_seen_subcommand_from list show copy help" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand template; and not __fish_seen_subcommand_from list show copy help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand template; and not __fish_seen_subcommand_from list show copy help" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand template; and not __fish_seen_subcommand_from list show copy help" -f -a "list" -d 'List the templates'
complete -c nauta -n "__fish_nauta_using_subcommand template; and not __fish_seen_subcommand_from list show copy help" -f -a "show" -d 'Print a template\'s files'
complete -c nauta -n "__fish_nauta_using_subcommand template; and not __fish_seen_subcommand_from list show copy help" -f -a "copy" -d 'Copy a template to your own, to change it'
complete -c nauta -n "__fish_nauta_using_subcommand template; and not __fish_seen_subcommand_from list show copy help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from list" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from list" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from show" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from show" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from copy" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from copy" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from copy" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from copy" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from copy" -s h -l help -d 'Print help'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from copy" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the templates'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from help" -f -a "show" -d 'Print a template\'s files'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from help" -f -a "copy" -d 'Copy a template to your own, to change it'
complete -c nauta -n "__fish_nauta_using_subcommand template; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nauta -n "__fish_nauta_using_subcommand completions" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand completions" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand completions" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand completions" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nauta -n "__fish_nauta_using_subcommand completions" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand version" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand version" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand version" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand version" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand version" -s h -l help -d 'Print help'
complete -c nauta -n "__fish_nauta_using_subcommand version" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand man" -l color -d 'When to use colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c nauta -n "__fish_nauta_using_subcommand man" -l json -d 'Print JSON: one document, or one object per line where it goes on'
complete -c nauta -n "__fish_nauta_using_subcommand man" -s q -l quiet -d 'Say only results, warnings and errors'
complete -c nauta -n "__fish_nauta_using_subcommand man" -s v -l verbose -d 'Trace what nauta does, on stderr (twice for more)'
complete -c nauta -n "__fish_nauta_using_subcommand man" -s h -l help -d 'Print help'
complete -c nauta -n "__fish_nauta_using_subcommand man" -s V -l version -d 'Print version'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "init" -d 'Begin a project: from a template, or with what is in the directory'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "run" -d 'Run a program on this workstation or on a cluster'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "list" -d 'List runs: those of this project, and those of the target\'s namespace'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "status" -d 'Say where a run stands, rank by rank, and why it waits'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "logs" -d 'Show what a run\'s ranks wrote'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "pull" -d 'Bring a run\'s outputs from the mailbox to runs/RUN/'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "cancel" -d 'End a run and remove what it has on the cluster or in Docker; outputs that arrived stay'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "login" -d 'Keep a login for a registry'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "logout" -d 'Forget a login for a registry'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "target" -d 'Add, list or choose targets: clusters to run on'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "doctor" -d 'Look at everything that a run needs, and say what is missing and how to get it'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "template" -d 'List, show or copy templates'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "completions" -d 'Print the completion script for a shell'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "version" -d 'Say which nauta this is'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "man" -d 'Write man pages into a folder'
complete -c nauta -n "__fish_nauta_using_subcommand help; and not __fish_seen_subcommand_from init run list status logs pull cancel login logout target doctor template completions version man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nauta -n "__fish_nauta_using_subcommand help; and __fish_seen_subcommand_from target" -f -a "add" -d 'Add a target, or replace it'
complete -c nauta -n "__fish_nauta_using_subcommand help; and __fish_seen_subcommand_from target" -f -a "list" -d 'List the targets'
complete -c nauta -n "__fish_nauta_using_subcommand help; and __fish_seen_subcommand_from target" -f -a "use" -d 'Choose the target of runs that name none (`local` for Docker)'
complete -c nauta -n "__fish_nauta_using_subcommand help; and __fish_seen_subcommand_from template" -f -a "list" -d 'List the templates'
complete -c nauta -n "__fish_nauta_using_subcommand help; and __fish_seen_subcommand_from template" -f -a "show" -d 'Print a template\'s files'
complete -c nauta -n "__fish_nauta_using_subcommand help; and __fish_seen_subcommand_from template" -f -a "copy" -d 'Copy a template to your own, to change it'
