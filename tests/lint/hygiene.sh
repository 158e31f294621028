#!/bin/bash
# What no file of the repository may hold, and what every one must be. hygiene.sh [ROOT]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
root=${1:-$(cd "$here/../.." && pwd)}
longest=600

# All files, as paths below the root; scratch that git ignores is none of them.
files() {
  if git -C "$1" rev-parse --show-toplevel >/dev/null 2>&1 && [ -e "$1/.git" ]; then
    git -C "$1" ls-files -co --exclude-standard | while IFS= read -r file; do [ -f "$1/$file" ] && printf '%s\n' "$file"; done
  else
    (cd "$1" && find . -type f -not -path './.git/*' -not -path './build/*' -not -path './shared/*' | sed 's|^\./||')
  fi | sort
}

# matches ROOT REGEX FILES...: file:line:text, binary files aside.
matches() { (cd "$1" && shift && regex=$1 && shift && grep -InE -- "$regex" "$@" /dev/null || true); }

# The letters in brackets keep these lines from being found themselves.
words='\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b'
registries='(pypi[.]org|pythonhosted[.]org|npmjs[.]org|crates[.]io|proxy[.]golang[.]org|rubygems[.]org|anaconda[.]org|registry-1[.]docker|ghcr[.]io|quay[.]io|(deb|security)[.]debian[.]org|archive[.]ubuntu[.]com)'
workplace='(^|[^[:alnum:]_.~/$}-])/(wor[k]|roo[t])/|/tmp/kfab-helper[s]'

bad_texts() {
  local list
  mapfile -t list < <(files "$1")
  matches "$1" "$words" "${list[@]}" | sed 's/$/   <- unfinished work/'
  matches "$1" "$registries" "${list[@]}" | sed 's/$/   <- a package registry/'
  matches "$1" "$workplace" "${list[@]}" | sed 's/$/   <- a path of somebody'"'"'s machine/'
  matches "$1" '[[:blank:]]+$|'$'\r''$' "${list[@]}" | grep -E '^[^:]*\.(cpp|hpp|inc|cu|cuh|sh|cmake|yaml|json|txt):' | sed 's/:\([0-9]*\):.*/:\1: blanks at the end of the line/' || true
}

bad_modes() {
  (
    cd "$1"
    local shebang executable
    shebang=$(files . | tr '\n' '\0' | xargs -0 awk 'FNR == 1 { if (/^#!/) print FILENAME; nextfile }' | sort)
    executable=$(find . -type f -perm -u+x -not -path './.git/*' -not -path './build/*' -not -path './shared/*' | sed 's|^\./||' | sort | comm -12 - <(files .))
    comm -23 <(echo "$shebang") <(echo "$executable") | sed '/^$/d; s/$/: has a #! line and is not executable/'
    comm -13 <(echo "$shebang") <(echo "$executable") | sed '/^$/d; s/$/: is executable and has no #! line/'
  )
}

bad_lengths() {
  files "$1" | grep -E '^(lib|commands|cli|tests|scripts|cmake)/.*\.(cpp|hpp|inc|cu|cuh|sh|cmake)$' | (cd "$1" && xargs wc -l) |
    awk -v most=$longest '$2 != "total" && $1 > most { print $2 ": " $1 " lines, more than " most ": what is the second room called?" }'
}

bad_codes() {
  (
    cd "$1"
    local names
    cat lib/base/codes/*.inc | grep -oE '^KF_CODE\([0-9]+' | sort | uniq -d | sed 's/^KF_CODE(/code /; s/$/ is given twice/'
    names=$(grep -hoE '^KF_CODE\([0-9]+, *[a-z]+, *[a-z0-9_]+' lib/base/codes/*.inc | sed 's/.*, *//' | sort)
    uniq -d <<<"$names" | sed 's/$/ names two codes/'
    comm -23 <(printf '%s\n' "$names" | sort -u) <(grep -rhoE '\bcode::[a-z0-9_]+' lib commands cli --include='*.cpp' --include='*.hpp' --include='*.inc' | sed 's/code:://' | sort -u) |
      sed 's/$/: a code that nothing ever gives/'
    for inc in lib/base/codes/*.inc; do
      [ "$inc" = lib/base/codes/all.inc ] || grep -qF "base/codes/${inc##*/}" lib/base/codes/all.inc || echo "$inc is not in all.inc"
    done
  )
}

bad_shell() {
  command -v shellcheck >/dev/null || return 0
  local scripts=() file
  while IFS= read -r file; do
    case $(head -n 1 "$1/$file" | tr -d '\0') in
      '#!'*bash | '#!'*/sh | '# shellcheck shell='*) scripts+=("$file") ;;
    esac
  done < <(files "$1" | grep -vE '\.(cpp|hpp|inc|yaml|json|md|scd|csv)$')
  (cd "$1" && shellcheck -x -P SCRIPTDIR -S warning -f gcc "${scripts[@]}" || true)
}

check() {
  report_lines texts < <(bad_texts "$1")
  report_lines modes < <(bad_modes "$1")
  report_lines lengths < <(bad_lengths "$1")
  report_lines codes < <(bad_codes "$1")
  report_lines shellcheck < <(bad_shell "$1")
}

check "$root"
command -v shellcheck >/dev/null || echo "SKIPPED in part: shellcheck is not installed, so shell scripts were not looked at" >&2

make_copy "$root"
part=bad_texts
prove "unfinished work" 'unfinished work' lib/base/text.cpp "// TOD""O: later"
prove "a registry" 'a package registry' README.md "see https://pypi"".org/x"
prove "a workplace path" "somebody's machine" scripts/demo "cd /wor""k/main"
prove "blanks at the end" 'blanks at the end' lib/base/text.cpp "int x;  "
part=bad_modes
prove "a script that cannot run" 'scripts/new: has a #! line and is not' scripts/new '#!/bin/sh'
chmod +x "$copy/VERSION"
prove_as_it_is "an executable that is none" 'VERSION: is executable'
part=bad_lengths
prove "a long file" 'second room' lib/base/long.cpp "$(seq 601)"
part=bad_codes
prove "a number given twice" 'code 9001 is given twice' lib/base/codes/internal.inc 'KF_CODE(9001, error, other, "cause of it", "step")'
prove "a name given twice" 'internal names two codes' lib/base/codes/internal.inc 'KF_CODE(9998, error, internal, "cause of it", "step")'
prove "a code that nothing gives" 'unheard_of: a code that nothing' lib/base/codes/internal.inc 'KF_CODE(9998, error, unheard_of, "cause of it", "step")'
prove "a table left out" 'extra.inc is not in all.inc' lib/base/codes/extra.inc '// nothing'
part=bad_shell
if command -v shellcheck >/dev/null; then
  find "$copy" -type f \( -path '*/scripts/*' -o -path '*/tests/*' -o -name '*.sh' \) -delete   # looking at one will do
  mkdir -p "$copy/scripts"
  printf '#!/bin/bash\ncd /tmp\nrm $1\n[ $x = 1 ]\n' >"$copy/scripts/bad"
  chmod +x "$copy/scripts/bad"
  prove_as_it_is "a script that shellcheck refuses" 'scripts/bad'
fi
finish hygiene
