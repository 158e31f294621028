#pragma once

#include "unit/agent/support.hpp"

namespace kfab::agent::test {

// dpkg and apt over $FAKE/packages: lines of "name<TAB>status<TAB>version". $FAKE/apt-says makes apt fail with that
// text; $FAKE/after-install is read by its shell after it did its work, as a package's own scripts would be.
inline void install_fake_apt(Provisioner& node) {
  node.program("dpkg-query", R"(
for last in "$@"; do :; done
status=0; seen=""
for name in "$@"; do case $name in -*) continue;; esac
  grep "^$name	" "$FAKE/packages" 2>/dev/null || { echo "dpkg-query: no packages found matching $name" >&2; status=1; }
done
exit $status)");
  node.program("apt-get", R"(
echo "$@" >> "$FAKE/apt-log"
if [ -f "$FAKE/apt-says" ]; then cat "$FAKE/apt-says" >&2; exit 100; fi
verb=""; names=""
while [ $# -gt 0 ]; do case $1 in -o) shift;; -*) ;; install|remove|update) verb=$1;; *) names="$names $1";; esac; shift; done
for name in $names; do
  version=1.0; case $name in *=*) version=${name#*=}; name=${name%%=*};; esac
  grep -v "^$name	" "$FAKE/packages" > "$FAKE/packages.new" 2>/dev/null
  [ $verb = install ] && printf '%s\tii \t%s\n' "$name" "$version" >> "$FAKE/packages.new"
  mv "$FAKE/packages.new" "$FAKE/packages"
done
[ ! -f "$FAKE/after-install" ] || . "$FAKE/after-install"
exit 0)");
  node.program("apt-mark", R"(
verb=$1; shift; [ $verb = hold ] && mark=hi || mark=ii
for name in "$@"; do sed -i "s/^$name	../$name	$mark/" "$FAKE/packages"; done)");
}

}  // namespace kfab::agent::test
