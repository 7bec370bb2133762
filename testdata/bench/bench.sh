#!/bin/sh
# Runs mmspipe and sharp on the same photographs, in turns, on one core, and
# prints a table. Needs Debian's apt-get and dpkg-deb, node, npm, taskset and go.
#
#   testdata/bench/bench.sh [ROUNDS [WORK]]
#
# Photographs come from Debian's packages of wallpapers. Most of them are CC-BY or
# CC-BY-SA; they stay in WORK, by default in the user's cache.
set -eu
cd "$(dirname "$0")"
rounds=${1:-5}
work=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/mmspipe/bench}
mkdir -p "$work"
if [ ! -d "$work/usr/share/backgrounds" ]; then
	(cd "$work" && apt-get download lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 &&
		for package in lomiri-wallpapers-*.deb; do dpkg-deb -x "$package" .; done)
fi
npm ci --silent --no-audit --no-fund
go build -o "$work/runner" .
exec taskset -c "${CORE:-1}" node bench.mjs "$work" "$work/runner" "$rounds"
