#!/bin/sh
# Run `python3 -m poz.bench.gpu ARGUMENTS` from a checkout on a machine where neither poz nor a package index is:
#     sh bench/bare.sh WHEELS ARGUMENTS
# WHEELS is a folder of wheels to put on the path for this run; it may be empty or absent.
wheels=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
site=$(mktemp -d)
python=${PYTHON:-python3}
if ls "$wheels"/*.whl >"$site/list" 2>&1; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl ||
        echo "The wheels could not be installed; what needs them will be named as missing."
fi
mkdir -p "$site/poz"
for part in "$root"/poz/* "$root/kernels" "$root/reference" "$root/bench"; do
    ln -s "$part" "$site/poz/"
done
# Without PYTHONSAFEPATH the checkout itself is on the path, and its folders hide packages.
export PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m poz.bench.gpu "$@"
