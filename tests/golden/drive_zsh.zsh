# Drives an interactive zsh through a pseudo-terminal. See completion_zsh.
zmodload zsh/zpty || exit 125
export KFAB_COMPLETE_WAIT=20s   # a sanitizer build on a busy machine is slow, not wrong
root=${0:A:h:h:h}
work=$(mktemp -d)
trap 'rm -rf $work' EXIT
mkdir $work/bin
ln -s $KFAB $work/bin/kfab
cp $root/tests/golden/site.yaml $work/site.yaml
mkdir $work/functions
cp $root/completions/_kfab $work/functions/_kfab
cat > $work/.zshrc <<RC
PS1='READY> '
PROMPT_SP=
unsetopt promptsp zle_bracketed_paste 2>/dev/null
path=($work/bin \$path)
fpath=($work/functions \$fpath)
cd $work
autoload -Uz compinit && compinit -u -d $work/dump
LISTMAX=1000
bindkey -e
shown() { printf '<%s>' "\$@"; echo; }
RC
zpty -b shell "TERM=dumb ZDOTDIR=$work zsh -d -i"

# Reads until the pattern is there; at most a minute.
await() {
  local chunk seen= deadline=$((SECONDS + 60))
  while (( SECONDS < deadline )); do
    if zpty -rt shell chunk; then seen+=$chunk; [[ $seen == *$~1* ]] && { reply=$seen; return 0; }
    else sleep 0.02; fi
  done
  print -r -- "no answer; seen so far: ${(qqq)seen}"; exit 1
}

failed=0
# completes TYPED WANTED: after TYPED and a tab, running the line gives kfab the words of WANTED.
completes() {
  zpty -wn shell "$1"$'\t'
  zpty -wn shell $'\C-a'"shown "$'\n'
  await '<*>*READY> '
  local got=${${reply#*<}%%$'\r'*}
  got="<${got%%$'\n'*}"
  if [[ $got != "$2" ]]; then print -r -- "typed ${(qqq)1}: wanted $2, got $got"; failed=1; fi
}

await 'READY> '
completes 'kfab vers' '<kfab><version>'
completes 'kfab exec --nod' '<kfab><exec><--nodes>'
completes 'kfab version --color=al' '<kfab><version><--color=always>'
completes 'kfab version -o nd' '<kfab><version><-o><ndjson>'
completes 'kfab plan si' '<kfab><plan><site.yaml>'
completes 'kfab plan site.yaml -t sec' '<kfab><plan><site.yaml><-t><second>'
completes 'kfab exec site.yaml -w @hall-' '<kfab><exec><site.yaml><-w><@hall-a>'
completes 'kfab exec site.yaml -w @tranche:sec' '<kfab><exec><site.yaml><-w><@tranche:second>'
completes 'kfab exec site.yaml --nodes=login,gp' '<kfab><exec><site.yaml><--nodes=login,gpu0>'
completes 'kfab explain KF1201' '<kfab><explain><KF1201>'
zpty -wn shell $'exit\n'
(( failed )) || print "completion_zsh: 10 lines completed"
exit $failed
