#!/bin/sh
# Creates the user and its folders, and restarts a running gateway after an upgrade.
set -e

if command -v systemd-sysusers > /dev/null; then
	systemd-sysusers gaff.conf
elif ! getent passwd gaff > /dev/null; then
	useradd --system --user-group --home-dir /var/lib/gaff --no-create-home --shell /usr/sbin/nologin gaff
fi
mkdir -p /var/lib/gaff
chown gaff:gaff /var/lib/gaff
chmod 0700 /var/lib/gaff
chown root:gaff /etc/gaff /etc/gaff/gaff.yaml /etc/gaff/gaff.env
chmod 0750 /etc/gaff
chmod 0640 /etc/gaff/gaff.yaml /etc/gaff/gaff.env

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart gaff.service
	if ! systemctl is-enabled --quiet gaff.service; then
		echo "gaff is installed. Edit /etc/gaff/gaff.yaml and gaff.env, then run: systemctl enable --now gaff"
	fi
fi
