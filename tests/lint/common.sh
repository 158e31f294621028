# shellcheck shell=bash
# What the lint scripts share: telling violations, and proving that each rule can fail. Sourced.
violations=0

# report RULE MESSAGE: one violation.
report() {
  printf '%s: %s\n' "$1" "$2"
  violations=$((violations + 1))
}

# report_lines RULE < lines "file:line: what": each is a violation.
report_lines() {
  local line
  while IFS= read -r line; do report "$1" "$line"; done
}

# make_copy ROOT: a copy of what is checked, without .git and build, in $copy; goes away when the script ends.
make_copy() {
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  (cd "$1" && tar -cf - --exclude=./.git --exclude=./build --exclude=./shared .) | tar -xf - -C "$copy"
}

proofs=0 unproven=0

# The function that a proof runs over the copy: of a large check the part that is meant.
part=

# prove NAME PATTERN FILE TEXT: with TEXT appended to FILE of the copy, $part must tell a violation in a line that holds
# PATTERN. The file is as it was afterwards.
prove() {
  local name=$1 pattern=$2 file=$3 text=$4 was
  was=$(mktemp)
  mkdir -p "$(dirname "$copy/$file")"
  if [ -e "$copy/$file" ]; then cp -p "$copy/$file" "$was"; else rm "$was"; fi
  printf '%s\n' "$text" >>"$copy/$file"
  prove_as_it_is "$name" "$pattern"
  if [ -e "$was" ]; then mv "$was" "$copy/$file"; else rm "$copy/$file"; fi
}

# prove_as_it_is NAME PATTERN: the same for a copy in which the violation lies already.
prove_as_it_is() {
  proofs=$((proofs + 1))
  if ! "$part" "$copy" | grep -F -- "$2" >/dev/null; then
    echo "this lint cannot fail: a planted violation was not found: $1"
    unproven=$((unproven + 1))
  fi
}

# finish NAME: the script's end and its exit status.
finish() {
  printf '%s: %d violations; %d planted violations, %d of them missed\n' "$1" "$violations" "$proofs" "$unproven"
  [ "$violations" -eq 0 ] && [ "$unproven" -eq 0 ] && [ "$proofs" -gt 0 ]
}
