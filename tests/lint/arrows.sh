#!/bin/bash
# Who may include whom, who may end the process, write escape codes or read the clock: the walls of ARCHITECTURE.md.
# Every library's headers lie in one include path, so the compiler does not hold them. arrows.sh [ROOT]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
root=${1:-$(cd "$here/../.." && pwd)}

# folder: the folders whose headers it may include, itself aside. Must say the same as kfab_library() in CMakeLists.txt.
allowed() {
  cat <<'TABLE'
base:
json: base
nodeset: base
term: base
ssh: base json
manifest: base nodeset json
fleet: ssh nodeset json base
provision: manifest json base
validation: manifest json base
redfish: json base
store: json base
readiness: manifest store nodeset json base
report: readiness store manifest nodeset term json base
agent: base json
commands: readiness report provision validation fleet store manifest nodeset ssh json term base
cli: commands readiness report provision validation fleet store manifest nodeset ssh json term base
TABLE
}

# What both sides of the wire read: the agent's only header for others.
shared_headers='agent/protocol.hpp'

# Third-party headers: a regular expression, then the folders that alone may use it, in sources and never in headers.
third_party() {
  cat <<'TABLE'
^yaml-cpp/ manifest
^nlohmann/ json
^libssh2 ssh
^openssl/ ssh
^asio ssh fleet
^openssl ssh
^sqlite3 store
^curl/ redfish
^zlib\.h fleet
^CLI/ cli
^fmt/ base json nodeset term ssh manifest fleet provision validation redfish store readiness report agent commands cli
TABLE
}

# Files outside cli that may end a process: the agent's own main, and children between fork and exec.
may_end='^(lib/agent/main\.cpp|lib/agent/process\.cpp|lib/agent/jobs/fork_away\.cpp|lib/agent/tests/test_process\.cpp|lib/ssh/program\.cpp)$'

sources() { (cd "$1" && find lib commands cli -type f \( -name '*.cpp' -o -name '*.hpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.inc' \) | sort); }

bad_includes() {
  sources "$1" | (cd "$1" && xargs awk -v allowed="$(allowed)" -v third="$(third_party)" -v shared="$shared_headers" '
    BEGIN {
      n = split(allowed, rows, "\n")
      for (i = 1; i <= n; i++) {
        split(rows[i], sides, ":"); known[sides[1]] = 1; may[sides[1], sides[1]] = 1
        m = split(sides[2], uses, " "); for (j = 1; j <= m; j++) may[sides[1], uses[j]] = 1
      }
      parties = split(third, rows, "\n")
      for (i = 1; i <= parties; i++) { split(rows[i], words, " "); pattern[i] = words[1]; folders[i] = " " substr(rows[i], length(words[1]) + 2) " " }
    }
    FNR == 1 {
      split(FILENAME, path, "/"); folder = path[1] == "lib" ? path[2] : path[1]
      header = FILENAME ~ /\.(hpp|cuh)$/
      if (!(folder in known)) print FILENAME ": the folder " folder " is in no row of the table of arrows"
    }
    !/^[ \t]*#[ \t]*include[ \t]*[<"]/ { next }
    {
      name = $0; sub(/^[^<"]*[<"]/, "", name); sub(/[>"].*$/, "", name); quoted = $0 ~ /include[ \t]*"/
      place = FILENAME ":" FNR ": "
      for (i = 1; i <= parties; i++) if (name ~ pattern[i]) {
        if (index(folders[i], " " folder " ") == 0) print place "<" name "> may only be used in" folders[i]
        else if (header) print place "<" name "> is third-party and stands in a header"
        else if (name ~ /^fmt/ && FILENAME ~ /\.cu$/) print place "<" name "> does not compile in CUDA sources"
        next
      }
      if (!quoted) {
        if (name ~ /\// && name !~ /^(sys|netinet|arpa|net|linux|gnu|bits)\//) print place "<" name "> is of a library that no row of the table knows"
        next
      }
      if (name !~ /\//) next   # beside the file itself, or made by the build; the compiler finds it or does not
      split(name, parts, "/"); to = parts[1]
      if (name == shared && folder != "json" && folder != "base") next
      if (!((folder, to) in may)) print place folder " may not include \"" name "\""
    }')
}

cmake_differences() {
  local theirs ours
  theirs=$(cmake_rows "$1")
  ours=$(allowed | awk -F: '{ n = split($2, to, " "); for (i = 1; i <= n; i++) print $1, to[i] }' | grep -vE '^(agent|cli|redfish) ' | sort)
  diff <(printf '%s\n' "$theirs") <(printf '%s\n' "$ours") | sed -n 's/^< /CMakeLists.txt alone says: /p; s/^> /arrows.sh alone says: /p' || true
}

# "folder used" for each use that CMakeLists.txt declares.
cmake_rows() {
  tr '\n' ' ' <"$1/CMakeLists.txt" | grep -oE 'kfab_library\([^)]*\)' | sed -E 's/kfab_library\(//; s/\)//; s/FOLDER +[a-z]+//' |
    awk '{ uses = 0; for (i = 2; i <= NF; i++) { if ($i == "USES") uses = 1; else if (uses && $1 != "redfish") print $1, $i } }' | sort
}

# code FILES...: the lines without // comments, as file:line:text.
code() { awk '{ text = $0; sub(/\/\/.*$/, "", text); if (text !~ /^[ \t]*$/) print FILENAME ":" FNR ":" text }' "$@"; }

bad_effects() {
  (
    cd "$1"
    local files
    mapfile -t files < <(sources . | grep -vE "$may_end" | grep -v '^cli/')
    code "${files[@]}" | grep -E '(^|[^A-Za-z0-9_.>])(_exit|_Exit|exit|quick_exit|abort|terminate)[ ]*\(' |
      grep -vE '(void|int) +(abort|exit|terminate) *\(|child[a-z_]*(\.|->)' | sed 's/$/   <- only cli ends the process/' || true
    mapfile -t files < <(sources . | grep -v '^lib/term/')
    code "${files[@]}" | grep -E '\bisatty *\(|\bttyname *\(' | sed 's/$/   <- only lib\/term asks whether there is a terminal/' || true
    code "${files[@]}" | grep -E '"[^"]*(\\x1[bB]|\\033|\\e)' | sed 's/$/   <- only lib\/term writes escape codes/' || true
    mapfile -t files < <(sources . | grep -E '^lib/(readiness|validation|provision)/')
    code "${files[@]}" | grep -E '#include *(<(iostream|fstream|filesystem|cstdio|ctime|thread|mutex|future|random|time\.h|stdio\.h|unistd\.h|fcntl\.h|dirent\.h|poll\.h|sys/.*|netdb\.h)>|"base/(file|ids)\.hpp")|_clock::now|make_system_clock|\bgetenv *\(' |
      sed 's/$/   <- planning and judging read no clock and no file/' || true
  )
}

check() {
  report_lines arrows < <(bad_includes "$1")
  report_lines cmake < <(cmake_differences "$1")
  report_lines effects < <(bad_effects "$1")
}

check "$root"

make_copy "$root"
part=bad_includes
prove "an upward arrow" 'base may not include "json/value.hpp"' lib/base/text.cpp '#include "json/value.hpp"'
prove "the agent sees a sibling" 'agent may not include "nodeset/nodeset.hpp"' lib/agent/task.cpp '#include "nodeset/nodeset.hpp"'
prove "lib includes commands" 'fleet may not include "commands/env.hpp"' lib/fleet/window.cpp '#include "commands/env.hpp"'
prove "cli touches the agent" 'cli may not include "agent/task.hpp"' cli/main.cpp '#include "agent/task.hpp"'
prove "third-party header elsewhere" '<yaml-cpp/yaml.h> may only be used in' lib/readiness/assess.cpp '#include <yaml-cpp/yaml.h>'
prove "third-party header in a header" '<sqlite3.h> is third-party' lib/store/store.hpp '#include <sqlite3.h>'
prove "a library that nobody knows" '<boost/any.hpp> is of a library' lib/base/text.cpp '#include <boost/any.hpp>'
prove "a folder that nobody knows" 'the folder extra' lib/extra/new.cpp 'int x;'
part=cmake_differences
prove "CMakeLists.txt says more" 'CMakeLists.txt alone says: base json' CMakeLists.txt 'kfab_library(base USES json)'
part=bad_effects
prove "exit in a library" 'only cli ends the process' lib/store/store.cpp 'void leave() { std::exit(1); }'
prove "_exit in a command" 'only cli ends the process' commands/exec.cpp 'void leave() { ::_exit(1); }'
prove "abort in a library" 'only cli ends the process' lib/base/text.cpp 'void leave() { if (true) abort(); }'
prove "isatty in a command" 'only lib/term asks' commands/exec.cpp 'bool x = isatty(1);'
prove "an escape code in a report" 'only lib/term writes' lib/report/text.cpp 'const char* red = "\x1b[31m";'
prove "a clock in readiness" 'planning and judging' lib/readiness/assess.cpp 'auto t = std::chrono::system_clock::now();'
prove "a file in provision" 'planning and judging' lib/provision/plan.cpp '#include <fstream>'
finish arrows
