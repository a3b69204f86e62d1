#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: PostgreSQL, PgBouncer, Redis, FUSE, Chromium and Node.js as
# packages of Debian (or a relative), and the npm packages of tools/js.
set -euo pipefail
cd "$(dirname "$0")"

# Tests of several packages may call this at once; npm and apt-get do not share.
if command -v flock > /dev/null; then
	exec 9< test-setup.sh
	flock 9
fi

missing=()
compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || command -v initdb > /dev/null || missing+=(postgresql)
command -v chromium > /dev/null || command -v google-chrome > /dev/null || missing+=(chromium)
command -v node > /dev/null || missing+=(nodejs)
command -v npm > /dev/null || missing+=(npm)
command -v redis-server > /dev/null || missing+=(redis-server)
command -v fusermount3 > /dev/null || missing+=(fuse3)
command -v pgbouncer > /dev/null || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)

if [ "${1:-}" = acceptance ]; then
	/usr/bin/python3 -c 'import fastapi, uvicorn' 2> /dev/null || python3 -c 'import fastapi, uvicorn' 2> /dev/null || missing+=(python3-fastapi python3-uvicorn)
	# How gaff is installed: packages, image, unit, reverse proxies.
	command -v podman > /dev/null || missing+=(podman)
	command -v runc > /dev/null || missing+=(runc)
	command -v catatonit > /dev/null || missing+=(catatonit)
	command -v nginx > /dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
	command -v caddy > /dev/null || missing+=(caddy)
	command -v rpm > /dev/null || missing+=(rpm)
	command -v systemd-analyze > /dev/null || missing+=(systemd)
fi

if [ ${#missing[@]} -gt 0 ]; then
	if ! command -v apt-get > /dev/null; then
		echo "the tests need ${missing[*]}, and there is no apt-get to install them with: install them by hand" >&2
		exit 1
	fi
	as_root=()
	if [ "$(id -u)" != 0 ]; then
		as_root=(sudo -n)
		if ! sudo -n true 2> /dev/null; then
			echo "the tests need ${missing[*]}: sudo apt-get install ${missing[*]}" >&2
			exit 1
		fi
	fi
	echo "installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	"${as_root[@]}" apt-get update -q > /dev/null
	"${as_root[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}" > /dev/null
fi

# npm keeps a lock file of what it installed: the same as ours, nothing to do.
stamp=js/node_modules/.gaff-lock
if ! cmp -s js/package-lock.json "$stamp"; then
	echo "installing the npm packages of tools/js"
	(cd js && npm ci --ignore-scripts --loglevel=error > /dev/null)
	cp js/package-lock.json "$stamp"
fi
