# After session.sh: SHA256 BYTES MODE PART PATH_LINES NAME_LINES OWNER_LINES
#
# Takes a file. On standard input come the lines of its path here, of the name that it gets where the path is a folder,
# and of its owner (empty: as it is made). Says "same" when it is there already; else "part", with how much of it was
# left by an earlier try and the checksum of that. Then takes a line with the position to go on from, and the rest of
# the bytes. What was taken is kept under the name .kfab-PART in the same folder until its checksum was found right; only
# then does it take the place of what was there, at once. Says "stored". While .kfab-PART is at work, .kfab-PART.lock
# holds the number of its process.
#
# kfab may send empty lines while it waits. When it is gone, which shows by its server, everything here is ended.
for kf_name in head cat wc tail sha256sum df mv rm chmod dd readlink sleep; do tool "$kf_name"; done;
LC_ALL=C; export LC_ALL; umask 077;
clean() { printf "%s" "$1" | tr "\n\t" "  " | tr -cd "a-zA-Z0-9 ._/,()=@%+-" | head -c 300; };
refuse() { fail "$1" "$(clean "$2")"; };
size_of() { kf_size=$(wc -c <"$1"); kf_size=$(( kf_size + 0 )); };
sum_of() { kf_sum=$(sha256sum | head -c 64); };

say begun "";
take "$5"; kf_path=$kf_got; take "$6"; kf_base=$kf_got; take "$7"; kf_owner=$kf_got;
case "$kf_path" in /*) ;; *) kf_path="./$kf_path";; esac;
case "$kf_path" in */) kf_path="$kf_path$kf_base";; *) if [ -d "$kf_path" ]; then kf_path="$kf_path/$kf_base"; fi;; esac;
# A link is followed: it is the file behind it that is replaced.
if [ -L "$kf_path" ]; then
  kf_path=$(readlink -f -- "$kf_path" && printf .) || refuse copy_not_stored "the link leads nowhere";
  kf_path=${kf_path%??};
fi;
if [ -d "$kf_path" ]; then refuse copy_not_a_file "a directory is in the way"; fi;
if [ -e "$kf_path" ] && [ -f "$kf_path" ]; then :; elif [ -e "$kf_path" ]; then refuse copy_not_a_file "a special file is in the way"; fi;
kf_dir=${kf_path%/*}/;
[ -d "$kf_dir" ] || refuse copy_not_stored "no such folder: $kf_dir";
kf_part="$kf_dir.kfab-$4";

( exec </dev/null >/dev/null 2>&1; guard & );

# The rights as asked for; says whether that changed anything.
rights() {
  kf_before=$(stat -c "%a %u %g" -- "$1" 2>/dev/null);
  if [ -n "$kf_owner" ]; then kf_said=$(chown -- "$kf_owner" "$1" 2>&1) || refuse copy_not_stored "$kf_said"; fi;
  if [ "$kf_bits" -gt 0 ]; then kf_said=$(chmod "$kf_bits" "$1" 2>&1) || refuse copy_not_stored "$kf_said"; fi;
  [ "$kf_before" = "$(stat -c "%a %u %g" -- "$1" 2>/dev/null)" ];
};
kf_bits=$3; kf_want=$2; kf_whole=$1;
if [ -f "$kf_path" ] && [ -r "$kf_path" ]; then
  size_of "$kf_path";
  if [ "$kf_size" -eq "$kf_want" ]; then
    sum_of <"$kf_path";
    if [ "$kf_sum" = "$kf_whole" ]; then
      if rights "$kf_path"; then say same ""; else say stored "rights"; fi;
      exit 0;
    fi;
  fi;
fi;

# One copy at a time goes on with what an earlier try left. Another one that comes meanwhile, for the same machine under
# another name, works beside it and leaves nothing for a next try. A process that is gone holds nothing, nor does one
# that nobody has buried yet.
alive() {
  case "$1" in ""|*[a-zA-Z/.]*) return 1;; esac;
  { read -r kf_stat </proc/$1/stat; } 2>/dev/null || return 1;
  set -- ${kf_stat##*) };
  case "$1" in Z|X) return 1;; esac;
};
claim() { (set -C; printf "%s\n" $$ >"$kf_lock") 2>/dev/null; };
claimed() {
  claim && return 0;
  kf_other=; { read -r kf_other <"$kf_lock"; } 2>/dev/null;
  alive "$kf_other" && return 1;
  rm -f "$kf_lock"; claim;
};
kf_lock=$kf_part.lock; kf_drop=;
for kf_old in "$kf_part".[0-9]*; do
  alive "${kf_old##*.}" || rm -f "$kf_old";
done;
if claimed; then kf_drop=$kf_lock; else kf_part=$kf_part.$$; kf_drop=$kf_part; fi;
trap "rm -f \"\$kf_drop\"" EXIT;

# What an earlier try left, if it is ours; whole MiB of it, because of those kfab knows the checksums.
kf_have=0; kf_sum=-;
if [ -f "$kf_part" ] && [ -O "$kf_part" ]; then size_of "$kf_part"; kf_have=$(( kf_size / 1048576 )); fi;
if [ -L "$kf_part" ] || [ $(( kf_have * 1048576 )) -gt "$kf_want" ]; then kf_have=0; fi;
if [ "$kf_have" -gt 0 ]; then
  dd if=/dev/null of="$kf_part" bs=1048576 seek="$kf_have" count=0 2>/dev/null || refuse copy_not_stored "cannot go on with what an earlier try left";
  sum_of <"$kf_part"; kf_have=$(( kf_have * 1048576 ));
fi;
set -- $(df -Pk "$kf_dir" 2>/dev/null | tail -n 1);
if [ "${4:-0}" -lt $(( ( kf_want - kf_have ) / 1024 + 64 )) ]; then refuse copy_no_space "$kf_dir: ${4:-0} KiB are free"; fi;
say part "$kf_have $kf_sum";
kf_from=;
while [ -z "$kf_from" ]; do read -r kf_from || exit 1; done;
if [ "$kf_from" -eq 0 ]; then
  rm -f "$kf_part";
  (set -C; : >"$kf_part") 2>/dev/null || refuse copy_not_stored "$kf_dir: not writable";
fi;
kf_said=$( { head -c $(( kf_want - kf_from )) >>"$kf_part"; } 2>&1 ) || case "$kf_said" in
  *"o space left"*|*uota*) rm -f "$kf_part"; refuse copy_no_space "$kf_said";;
  *) refuse copy_not_stored "$kf_said";;
esac;
size_of "$kf_part";
# Cut short: what came is kept for the next try.
if [ "$kf_size" -ne "$kf_want" ]; then exit 1; fi;
sum_of <"$kf_part";
if [ "$kf_sum" = "$kf_whole" ]; then :; else rm -f "$kf_part"; refuse copy_damaged "checksum $kf_sum"; fi;
rights "$kf_part";
sync "$kf_part" 2>/dev/null;
kf_said=$(mv -f -- "$kf_part" "$kf_path" 2>&1) || refuse copy_not_stored "$kf_said";
say stored "";
