#!/bin/sh
# Prints the first Python that is new enough and can make virtual environments. With an argument, only the Python that
# it names is tried. Each candidate is run, because the shim of a version manager may exist without working.
set -u

test='
import sys, venv, ensurepip
if sys.version_info < (3, 12): sys.exit(1)
print(sys.executable)'
describe='
import sys
try: import venv, ensurepip; lacks = ""
except ImportError: lacks = " without venv"
print("%d.%d.%d%s" % (sys.version_info[:3] + (lacks,)))'
found=''

try() {
    [ -x "$1" ] || return 1
    "$1" -c "$test" 2>/dev/null && exit 0
    seen=$("$1" -c "$describe" 2>/dev/null) || seen='not working'
    found="${found:+$found, }$1 ($seen)"
}

if [ $# -gt 0 ]; then
    given=$(command -v "$1") && try "$given"
    echo "error: Python 3.12 or newer with venv is needed; PYTHON=$1 is ${found:-not there}" >&2
    exit 1
fi

try .venv/bin/python
for name in python3.14 python3.13 python3.12 python3 python; do
    saved=$IFS
    IFS=:
    for directory in $PATH; do
        IFS=$saved
        try "${directory:-.}/$name"
    done
    IFS=$saved
done

echo "error: Python 3.12 or newer with venv is needed; found ${found:-none}" >&2
exit 1
