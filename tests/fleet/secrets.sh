#!/bin/bash
# Secrets reach the file on the node and nothing else: every output in every format, the plan file, the store and the folder
# of state are searched for their values, plain and in base64. Usage: secrets.sh KFAB
set -u
# shellcheck source=tests/fleet/expect.sh
. "$(dirname "$0")/expect.sh"
kfab=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KFAB_RECORDS_DIR=$work/records KFAB_STATE_DIR=$work/state HOME=$work/home XDG_CACHE_HOME=$work/cache
mkdir -p "$HOME" "$work/nodes/a" "$work/nodes/b"
export DB_PASSWORD='hunter22-"quoted"+more'
printf -- '-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nBAQEFAASCBKcwggSjAgEAAo\n-----END KEY-----\n' > "$work/key.pem"
chmod 600 "$work/key.pem"
cat > "$work/vault" <<SH
#!/bin/sh
echo run >> "$work/runs"
echo "token-of-\$1-0815"
SH
chmod 700 "$work/vault"

cat > "$work/site.yaml" <<YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: here, title: This machine as two nodes, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  ssh: {transport: local}
  tranches:
    - {name: first, due: 2027-03-31, targets: [{profile: p, nodes: 2, accelerators: 2}], ready_when: {level: quick}}
  nodes:
    - {group: g, tranche: first, profile: p, list: [{name: a, address: localhost}, {name: b, address: localhost}], identity: name,
       vars: {db_password: {secret: {env: DB_PASSWORD}}}}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW, roles: [r], vars: {token: {secret: {command: ["$work/vault", app]}}}}
---
apiVersion: kfab/v1
kind: Role
metadata: {name: r, version: "1"}
spec:
  vars: {db_password: unset, key: {secret: {file: key.pem}}, unused: {secret: {env: NOT_SET_ANYWHERE}}}
  resources:
    - {type: file, id: conf, path: "$work/nodes/{{ node.name }}/conf", content: "password={{ db_password }}\ntoken={{ token }}\n", mode: "0600"}
    - {type: file, id: key, path: "$work/nodes/{{ node.name }}/key", content: "{{ key }}\n", mode: "0600"}
    - {type: command, id: echoes, run: [sh, -c, "cat $work/nodes/{{ node.name }}/conf $work/nodes/{{ node.name }}/key >&2; base64 -w0 $work/nodes/{{ node.name }}/conf >&2; exit 3"], unless: "test ! -e $work/fail", after: [conf, key]}
YAML

run() {
  "$kfab" "$@" > "$work/out" 2> "$work/err" < /dev/null; status=$?
  cat "$work/out" "$work/err" >> "$work/seen/all"
}
mkdir "$work/seen"

# What must be nowhere: the values, their lines, their quoted forms and what base64 makes of them.
needles() {
  printf '%s\n' 'hunter22' 'token-of-app-0815' 'MIIEvQIBADANBgkqhkiG9w0' 'BAQEFAASCBKcwggSjAgEAAo'
  for value in "$DB_PASSWORD" token-of-app-0815 MIIEvQIBADANBgkqhkiG9w0; do
    for before in '' x xy; do printf '%s%s' "$before" "$value" | base64 -w0 | cut -c5-20; done
  done
}
leaks() { needles | grep -rlaF -f - "$work/seen" "$work/state" "$work/cache" 2>/dev/null | head -3; }
echo "$DB_PASSWORD" > "$work/seen/planted"
check "the search finds what is planted" "$(leaks)" "$work/seen/planted"
rm "$work/seen/planted"

run plan "$work/site.yaml" -v
expect "a plan" 0 'content is sensitive'
run plan "$work/site.yaml" -o json --out "$work/seen/p.plan"
expect "a plan in JSON, saved" 0
run plan "$work/seen/p.plan"
expect "the saved plan is shown" 0
run provision "$work/seen/p.plan" --yes -o ndjson
expect "the plan is applied" 0 '"outcome":"yes"'
check "the secrets arrived" "$(cat "$work/nodes/a/conf")" "$(printf 'password=%s\ntoken=token-of-app-0815' "$DB_PASSWORD")"
check "one of several lines too" "$(cat "$work/nodes/b/key")" "$(cat "$work/key.pem")"
check "a command is run once per run" "$(wc -l < "$work/runs" | tr -d ' ')" 3
touch "$work/fail"
for form in table json ndjson; do
  run provision "$work/site.yaml" --yes -v -o $form
  expect "a node that echoes them, $form" 1 'secret db_password|exit'
done
check "what the node echoed was taken out" "$(grep -c '(secret ' "$work/seen/all" | awk '{print ($1 > 0)}')" 1
rm "$work/fail"
run plan "$work/site.yaml" --exit-code
expect "nothing differs then" 0 'Plan: 0 changes'
# A manifest that is named without its folder; roles with secrets and with facts, of which readiness asks the same.
cd "$work" || exit 1
sed -i 's|^    - {type: command, id: echoes|    - {type: file, id: told, path: "'"$work"'/nodes/{{ node.name }}/told", content: "{{ facts.cpu.threads }}\\n"}\n&|' site.yaml
run inventory site.yaml
expect "the nodes tell their facts, and nothing was expected of them" 3 KF1265 "profile p expects nothing"
run provision site.yaml --yes
expect "a bare name of a manifest with secrets" 0 'Done: [12] changes? on 2 nodes|Done: 2 changes'
check "a fact arrived" "$(cat nodes/a/told)" "$(nproc --all)"
(unset DB_PASSWORD; "$kfab" readiness site.yaml > out 2> err < /dev/null; echo $? > status)
status=$(cat status)
expect "what is provisioned with secrets and facts counts, and nobody needs the secrets to say so" 1 '!KF5005' '!another desired state'
sed -i 's/^  vars: {db_password: unset,/  vars: {db_password: unset, more: 1,/; s|content: "{{ facts.cpu.threads }}|content: "changed {{ facts.cpu.threads }}|' site.yaml
run readiness site.yaml
expect "a manifest that asks for something else is told" 1 'another desired state'
run provision site.yaml --yes
expect "and provisioned" 0
run plan site.yaml --out "$work/seen/q.plan"
DB_PASSWORD=another-password run provision "$work/seen/q.plan" --yes
expect "a changed secret makes the plan stale" 2 'KF3166' 'db_password'
DB_PASSWORD=abc run plan "$work/site.yaml"
expect "one that is too short is refused" 2 'KF3165'
check "and not told" "$(grep -c abc "$work/out" "$work/err" | grep -cv ':0')" 0
kept=$DB_PASSWORD
unset DB_PASSWORD
run plan "$work/site.yaml"
expect "one that is not set" 2 'KF3164' 'it is not set'
export DB_PASSWORD=$kept
chmod 644 "$work/key.pem"
run plan "$work/site.yaml"
expect "a file that others may read" 2 'KF3164' 'others have rights'
chmod 600 "$work/key.pem"
check "no value is anywhere" "$(leaks)" ""

verdict secrets
