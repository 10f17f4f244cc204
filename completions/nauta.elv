set edit:completion:arg-completer[nauta] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) NAUTA_COMPLETE="elvish" nauta -- $@words) | to-lines
}
