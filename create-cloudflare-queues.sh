#!/bin/sh
# Creates the two queues of onceover in your Cloudflare account. A queue that is there is left as it is, so this may be
# repeated. `make deploy` creates the queues by itself; this is for whoever deploys without make, or has somebody else
# create the queues. create-cloudflare-queues.ps1 does the same in PowerShell.
#
#   sh create-cloudflare-queues.sh
#   sh create-cloudflare-queues.sh --dry-run    looks, says what would be created, and creates nothing
set -u
queues='ai-processing-queue ai-processing-dlq'

case "${1-}" in
'') dry_run= ;;
--dry-run | -n | -WhatIf) dry_run=yes ;;
*)
  echo "usage: sh create-cloudflare-queues.sh [--dry-run]" >&2
  exit 2
  ;;
esac

# Without it npx would ask whether to download wrangler, on an output that nobody sees.
if [ ! -e node_modules/.bin/wrangler ]; then
  echo "error: wrangler is not installed in this folder" >&2
  echo "fix: Run: make install (or npm ci), in the clone. Then run this script there again." >&2
  exit 1
fi

stop_with_fix() { # queue, what wrangler said
  printf '%s\n' "$2" >&2
  case "$2" in
  *'Queues are unavailable on the free plan'* | *'Queues are not available on the free plan'* | *'must enable your account'*)
    fix='This account has no Queues. Deploy without them (make deploy ENV=free), or take the Workers Paid plan.'
    ;;
  *CLOUDFLARE_API_TOKEN* | *'Not logged in'*)
    fix='Run: npx wrangler login'
    ;;
  *'Authentication error'* | *'not authorized'* | *'code: 10000'*)
    fix='The login may not create queues. Run: npx wrangler login. A token needs the permission Queues: Edit.'
    ;;
  *'More than one account'*)
    fix='Set CLOUDFLARE_ACCOUNT_ID to the id of the account that is meant.'
    ;;
  *)
    fix='docs/runbook.md lists errors. Then run this script again: it goes on where it stopped.'
    ;;
  esac
  echo "error: the queue $1 could not be created" >&2
  echo "fix: $fix" >&2
  exit 1
}

for queue in $queues; do
  if said=$(npx wrangler queues info "$queue" 2>&1); then
    echo "$queue is there"
    continue
  fi
  case "$said" in
  *'does not exist'*) ;;
  *) stop_with_fix "$queue" "$said" ;;
  esac
  if [ -n "$dry_run" ]; then
    echo "What if: npx wrangler queues create $queue"
    continue
  fi
  if ! said=$(npx wrangler queues create "$queue" 2>&1); then
    case "$said" in
    *'already taken'*) ;;
    *) stop_with_fix "$queue" "$said" ;;
    esac
  fi
  echo "$queue is created"
done

npx wrangler queues list
