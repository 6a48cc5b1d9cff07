#!/bin/sh
# The sweep with GNU parallel, two at a time:  examples/sweep/run.sh DIRECTORY
# With --sshlogin it runs on other machines, in a directory that all of them share.
#
# What comes out is merged, and the next sweep compared with this one, by
#   cmemrun report DIRECTORY/*.json
#   cmemrun report --format json DIRECTORY/*.json > base.json
#   cmemrun compare base.json NEXT/*.json --fail-on 5%
set -eu
export directory="$1"
mkdir -p -- "$directory"
# The command is read by a shell, so the name goes around it.
# shellcheck disable=SC2016
parallel --jobs 2 --env directory 'examples/sweep/one.sh {} "$directory"' ::: 0 1 2 3 4 5 6 7 8
