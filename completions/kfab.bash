# Completion of kfab for bash. It knows nothing itself: `kfab __complete` answers from the tables that kfab parses by
# and from the manifest on the line. The first line of the answer says files, dirs, nospace or none.
_kfab() {
  local line=${COMP_LINE:0:COMP_POINT} program=${1/#\~\//$HOME/} directive answer words=()
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  # bash also breaks words at = : @, and replaces only what stands after the last break: $2. What stands before it
  # must go from each candidate.
  local current=${words[${#words[@]} - 1]} before=
  [[ $current == *"$2" ]] && before=${current%"$2"}
  COMPREPLY=()
  {
    IFS= read -r directive
    while IFS= read -r answer; do
      answer=${answer%%$'\t'*}
      COMPREPLY+=("${answer#"$before"}")
    done
  } < <("$program" __complete $((${#words[@]} - 1)) "${words[@]}" 2>/dev/null)
  case $directive in
    files) compopt -o filenames; while IFS= read -r answer; do COMPREPLY+=("$answer"); done < <(compgen -f -- "$2") ;;
    dirs) compopt -o filenames; while IFS= read -r answer; do COMPREPLY+=("$answer"); done < <(compgen -d -- "$2") ;;
    nospace) compopt -o nospace ;;
  esac
}
complete -F _kfab kfab
