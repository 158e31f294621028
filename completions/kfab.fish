# Completion of kfab for fish. It knows nothing itself: `kfab __complete` answers from the tables that kfab parses by
# and from the manifest on the line. The first line of the answer says files, dirs, nospace or none.
function __kfab_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answers (command $words[1] __complete (count $words) $words "$current" 2>/dev/null)
    for answer in $answers[2..-1]
        echo $answer
    end
    switch "$answers[1]"
        case files
            __fish_complete_path "$current"
        case dirs
            __fish_complete_directories "$current"
    end
end
complete -c kfab -f -a '(__kfab_complete)'
