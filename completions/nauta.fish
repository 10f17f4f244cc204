complete --keep-order --exclusive --command nauta --arguments "(NAUTA_COMPLETE=fish nauta -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
