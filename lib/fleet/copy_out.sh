# After session.sh: MOST_BYTES PATH_LINES
#
# Gives a file. On standard input come the lines of its path. Says "file" with its size and checksum, takes a line with
# the position to go on from and the checksum of what kfab has before it ("-" for nothing; "skip" to be done), and
# writes "ready" with the position to standard output, then the bytes from there on.
#
# kfab may send empty lines while it waits. When it is gone, which shows by its server, everything here is ended.
for kf_name in head cat wc tail sha256sum sleep tr; do tool "$kf_name"; done;
LC_ALL=C; export LC_ALL;
say begun "";
take "$2"; kf_path=$kf_got;
case "$kf_path" in /*) ;; *) kf_path="./$kf_path";; esac;
[ -e "$kf_path" ] || fail copy_missing "there is no such file";
[ -f "$kf_path" ] || fail copy_not_a_file "it is a directory or a special file";
[ -r "$kf_path" ] || fail copy_missing "it cannot be read";
( exec </dev/null >/dev/null 2>&1; guard & );
kf_size=$(wc -c <"$kf_path"); kf_size=$(( kf_size + 0 ));
if [ "$kf_size" -gt "$1" ]; then fail copy_too_large "$kf_size bytes"; fi;
kf_sum=$(sha256sum <"$kf_path" | head -c 64);
say file "$kf_size $kf_sum";
kf_from=;
while [ -z "$kf_from" ]; do read -r kf_from kf_known || exit 1; done;
if [ "$kf_from" = skip ]; then exit 0; fi;
if [ "$kf_from" -gt 0 ]; then
  if [ "$(head -c "$kf_from" <"$kf_path" | sha256sum | head -c 64)" = "$kf_known" ]; then :; else kf_from=0; fi;
fi;
printf "%s:ready:%s;" "$kf_nonce" "$kf_from";
exec tail -c "+$(( kf_from + 1 ))" <"$kf_path";
