#!/bin/sh
# Stops the gateway before it is removed, but not during an upgrade.
set -e

case "${1:-}" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now gaff.service
	fi
	;;
esac
