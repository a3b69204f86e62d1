#!/usr/bin/env bash
# usage: module.sh NEW     Renames the Go module: go.mod files, imports, and what the documents say of them.
set -euo pipefail
cd "$(dirname "$0")/.."
new=${1:-}
if ! [[ $new =~ ^[a-z0-9-]+(\.[a-z0-9-]+)+(/[A-Za-z0-9._-]+)*$ ]]; then
	echo "module path \"$new\": want one that begins with a host, as in make module MODULE=example.org/you/gaff" >&2
	exit 2
fi
old=$(go list -m)
if [ "$old" = "$new" ]; then
	echo "the module is $new already"
	exit 0
fi
from=${old//./\\.}

files() { find . \( -name node_modules -o -name '.?*' -o -name bin \) -prune -o -type f \( "$@" \) -print0; }

files -name go.mod | xargs -0 sed -E -i "s#^module $from(/|\$)#module $new\1#"
# An import is a line of its own, in Go, in markup and in the documents' examples.
files -name '*.go' -o -name '*.templ' -o -name '*.md' |
	xargs -0 sed -E -i "s#^(\s*(import )?([A-Za-z_.][A-Za-z0-9_]* )?)\"$from(/[^\"]*)?\"\$#\1\"$new\4\"#"
# Paths of packages in prose, such as \`gaff/verify\`, and the command that adds the module.
files -name '*.md' | xargs -0 sed -E -i \
	-e "s#^go (get|mod edit -require) $from(@.*|\$)#go get $new#" \
	-e "s#\bgo doc $from\b#go doc $new#g" \
	-e "s#(^|[\` (])$from/(cmd|client|destination|gafftest|internal|jobs|provider|store|verify|workflow)\b#\1$new/\2#g"
# Imports are sorted by path. Markup is sorted by its own tool, which is built only if it is needed.
files -name '*_templ.go' | xargs -0 gofmt -l | grep -q . && make generate
files -name '*.go' | xargs -0 gofmt -l | xargs -r gofmt -w
echo "the module is $new now, and was $old; look at git diff, then run make test"
