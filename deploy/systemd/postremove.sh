#!/bin/sh
# Data (/var/lib/gaff) and user stay. "apt purge" removes the configuration, and nothing else.
set -e

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
