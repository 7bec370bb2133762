#!/bin/sh
# Fits animations with mmspipe, gifsicle and sharp into the same bytes, in turns,
# on one core, and prints a table. Needs Debian's apt-get, dpkg-deb and gifsicle,
# node, npm, taskset and go.
#
#   testdata/bench/gifs.sh [ROUNDS [WORK]]
#
# The animations are drawn, some of them from the photographs that bench.sh takes.
set -eu
cd "$(dirname "$0")"
rounds=${1:-3}
work=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/mmspipe/bench}
mkdir -p "$work/gifs"
command -v gifsicle >/dev/null || apt-get install -y -qq gifsicle >/dev/null
if [ ! -d "$work/usr/share/backgrounds" ]; then
	(cd "$work" && apt-get download lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 &&
		for package in lomiri-wallpapers-*.deb; do dpkg-deb -x "$package" .; done)
fi
npm ci --silent --no-audit --no-fund
go build -o "$work/runner" .
exec taskset -c "${CORE:-1}" node gifs.mjs "$work" "$work/runner" "$rounds"
