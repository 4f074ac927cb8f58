#!/bin/sh
# MINIFLARE_WORKERD_PATH names this program. It runs npm's workerd with the Python flags for which Miniflare has no
# option. runtime.mjs sets the variables: LOCAL_WORKERD (the binary), LOCAL_BUNDLE (the folder of the Pyodide bundle),
# and for a snapshot of the interpreter's memory LOCAL_SNAPSHOT (its folder) and LOCAL_SNAPSHOT_FLAG (save it there, or
# load it). ONCEOVER_INSPECTOR, an address, opens the inspectors of all isolates, by which bench/memory.py measures.
if [ "$1" = serve ]; then
    shift
    exec "$LOCAL_WORKERD" serve --pyodide-bundle-disk-cache-dir="$LOCAL_BUNDLE" \
        ${LOCAL_SNAPSHOT:+"$LOCAL_SNAPSHOT_FLAG" --python-snapshot-dir="$LOCAL_SNAPSHOT"} \
        ${ONCEOVER_INSPECTOR:+--inspector-addr="$ONCEOVER_INSPECTOR"} "$@"
fi
exec "$LOCAL_WORKERD" "$@"
