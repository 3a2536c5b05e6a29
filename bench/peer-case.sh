#!/usr/bin/env bash
# One case of the peer kit, for its `--extra`: peer-case.sh KIND SOURCE OUT, where KIND is pg, csv, jsonl or http (--http-mode cursor), SOURCE the
# kit's {dsn}, {csv}, {jsonl} or {url}, and OUT an empty folder. Makes a project that reads it all into OUT and runs it with
# the binary in HAKIRI_BIN.
set -euo pipefail
kind=$1 source=$2 out=$3
project=$(mktemp -d)
trap 'rm -rf "$project"' EXIT
case $kind in
pg) config="connector = \"postgres\", config = { url = \"\${HAKIRI_BENCH_DSN}\", schema = \"public\" }" ;;
csv | jsonl) config="connector = \"file\", config = { path = \"$source\" }" ;;
http) config="connector = \"http\", config = { base_url = \"${source%/*}\", allow_private = true, resources = { orders = { path = \"/${source##*/}\", records = \"data\", primary_key = [\"id\"], children = [\"items\"], paginate = { cursor = { param = \"cursor\", next = \"next\" } } } } }" ;;
esac
cat >"$project/hakiri.toml" <<TOML
[project]
name = "bench"
[context]
path = "$out"
[[pipeline]]
id = "b"
prefix = ""
tables = ["orders"]
source = { $config }
TOML
# A key only where the source has one: a file's rows are stored as they come.
[ "$kind" != pg ] || export HAKIRI_BENCH_DSN=$source
"$HAKIRI_BIN" -C "$project" --quiet run
