
use builtin;
use str;

set edit:completion:arg-completer[nauta] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'nauta'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'nauta'= {
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand init 'Begin a project: from a template, or with what is in the directory'
            cand run 'Run a program on this workstation or on a cluster'
            cand list 'List runs: those of this project, and those of the target''s namespace'
            cand status 'Say where a run stands, rank by rank, and why it waits'
            cand logs 'Show what a run''s ranks wrote'
            cand pull 'Bring a run''s outputs from the mailbox to runs/RUN/'
            cand cancel 'End a run and remove what it has on the cluster or in Docker; outputs that arrived stay'
            cand login 'Keep a login for a registry'
            cand logout 'Forget a login for a registry'
            cand target 'Add, list or choose targets: clusters to run on'
            cand doctor 'Look at everything that a run needs, and say what is missing and how to get it'
            cand template 'List, show or copy templates'
            cand completions 'Print the completion script for a shell'
            cand version 'Say which nauta this is'
            cand man 'Write man pages into a folder'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'nauta;init'= {
            cand -t 'The template''s name (`nauta template list`)'
            cand --template 'The template''s name (`nauta template list`)'
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;run'= {
            cand -n 'How many ranks'
            cand --nodes 'How many ranks'
            cand --target 'Run on a target of your configuration'
            cand --name 'What the run''s name begins with; the project''s name where absent'
            cand -e 'A variable for the program'
            cand --env 'A variable for the program'
            cand --cpu 'Processors of each rank, such as 2 or 500m'
            cand --memory 'Main memory of each rank, such as 8Gi'
            cand --gpus 'Accelerators of each rank'
            cand --template 'Put a template''s files into this directory first, if it is empty'
            cand --color 'When to use colours'
            cand --local 'Run with Docker on this workstation'
            cand -d 'Submit to the cluster and return'
            cand --detach 'Submit to the cluster and return'
            cand --dry-run 'Print the cluster''s manifests and submit nothing (the image is pushed: they name it)'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;list'= {
            cand --target 'The target whose runs to list'
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;status'= {
            cand --target 'The target it is on'
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;logs'= {
            cand --rank 'Only this rank'
            cand --since 'Only what is younger (30s, 10m, 2h, 1d), or was written after a time (2026-11-23T14:00:00Z)'
            cand --tail 'Only the last lines of each rank; with -f, what follows as well'
            cand --target 'The target it is on'
            cand --color 'When to use colours'
            cand -f 'Go on until the run ends'
            cand --follow 'Go on until the run ends'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;pull'= {
            cand --target 'The target it is on'
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;cancel'= {
            cand --target 'The target it is on'
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;login'= {
            cand -u 'Your name there'
            cand --user 'Your name there'
            cand --store 'Where it is kept'
            cand --ca 'Certificates (PEM) to trust for it'
            cand --color 'When to use colours'
            cand --password-stdin 'Read the password from standard input, though it is a terminal'
            cand --plain-http 'The registry is reached without TLS although it is not this machine'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;logout'= {
            cand --store 'Where it is kept'
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;target'= {
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand add 'Add a target, or replace it'
            cand list 'List the targets'
            cand use 'Choose the target of runs that name none (`local` for Docker)'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'nauta;target;add'= {
            cand --registry 'The registry as this workstation sees it, with an optional prefix'
            cand --kubeconfig 'The kubeconfig file; kubectl''s where absent'
            cand --context 'The context of the kubeconfig'
            cand --namespace 'The namespace'
            cand --registry-from-nodes 'The registry''s host as the nodes pull from it, where it differs'
            cand --registry-from-pods 'The registry''s host as pods reach it, where it differs'
            cand --plain-http 'A host of the registry that is reached without TLS'
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;target;list'= {
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;target;use'= {
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;target;help'= {
            cand add 'Add a target, or replace it'
            cand list 'List the targets'
            cand use 'Choose the target of runs that name none (`local` for Docker)'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'nauta;target;help;add'= {
        }
        &'nauta;target;help;list'= {
        }
        &'nauta;target;help;use'= {
        }
        &'nauta;target;help;help'= {
        }
        &'nauta;doctor'= {
            cand --target 'The target to look at'
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;template'= {
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand list 'List the templates'
            cand show 'Print a template''s files'
            cand copy 'Copy a template to your own, to change it'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'nauta;template;list'= {
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;template;show'= {
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;template;copy'= {
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;template;help'= {
            cand list 'List the templates'
            cand show 'Print a template''s files'
            cand copy 'Copy a template to your own, to change it'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'nauta;template;help;list'= {
        }
        &'nauta;template;help;show'= {
        }
        &'nauta;template;help;copy'= {
        }
        &'nauta;template;help;help'= {
        }
        &'nauta;completions'= {
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;version'= {
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;man'= {
            cand --color 'When to use colours'
            cand --json 'Print JSON: one document, or one object per line where it goes on'
            cand -q 'Say only results, warnings and errors'
            cand --quiet 'Say only results, warnings and errors'
            cand -v 'Trace what nauta does, on stderr (twice for more)'
            cand --verbose 'Trace what nauta does, on stderr (twice for more)'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'nauta;help'= {
            cand init 'Begin a project: from a template, or with what is in the directory'
            cand run 'Run a program on this workstation or on a cluster'
            cand list 'List runs: those of this project, and those of the target''s namespace'
            cand status 'Say where a run stands, rank by rank, and why it waits'
            cand logs 'Show what a run''s ranks wrote'
            cand pull 'Bring a run''s outputs from the mailbox to runs/RUN/'
            cand cancel 'End a run and remove what it has on the cluster or in Docker; outputs that arrived stay'
            cand login 'Keep a login for a registry'
            cand logout 'Forget a login for a registry'
            cand target 'Add, list or choose targets: clusters to run on'
            cand doctor 'Look at everything that a run needs, and say what is missing and how to get it'
            cand template 'List, show or copy templates'
            cand completions 'Print the completion script for a shell'
            cand version 'Say which nauta this is'
            cand man 'Write man pages into a folder'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'nauta;help;init'= {
        }
        &'nauta;help;run'= {
        }
        &'nauta;help;list'= {
        }
        &'nauta;help;status'= {
        }
        &'nauta;help;logs'= {
        }
        &'nauta;help;pull'= {
        }
        &'nauta;help;cancel'= {
        }
        &'nauta;help;login'= {
        }
        &'nauta;help;logout'= {
        }
        &'nauta;help;target'= {
            cand add 'Add a target, or replace it'
            cand list 'List the targets'
            cand use 'Choose the target of runs that name none (`local` for Docker)'
        }
        &'nauta;help;target;add'= {
        }
        &'nauta;help;target;list'= {
        }
        &'nauta;help;target;use'= {
        }
        &'nauta;help;doctor'= {
        }
        &'nauta;help;template'= {
            cand list 'List the templates'
            cand show 'Print a template''s files'
            cand copy 'Copy a template to your own, to change it'
        }
        &'nauta;help;template;list'= {
        }
        &'nauta;help;template;show'= {
        }
        &'nauta;help;template;copy'= {
        }
        &'nauta;help;completions'= {
        }
        &'nauta;help;version'= {
        }
        &'nauta;help;man'= {
        }
        &'nauta;help;help'= {
        }
    ]
    $completions[$command]
}
