#!/bin/sh
# One point of the sweep, 0 to 8: three sizes, three runs of each, a file for every run.
#   examples/sweep/one.sh POINT DIRECTORY [OPTION]...     options of cmemrun's
# Run from the checkout, on every machine alike: runs of the same command are merged.
set -eu
point=$1 directory=$2
shift 2
case $((point / 3)) in
  0) size=10MiB ;;
  1) size=20MiB ;;
  2) size=40MiB ;;
  *) echo "there is no point $point" >&2 && exit 2 ;;
esac
exec cmemrun --quiet --json="$directory/$size-$((point % 3)).json" "$@" -- \
  python3 examples/allocate.py "$size"
