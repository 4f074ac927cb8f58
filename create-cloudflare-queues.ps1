<#
.SYNOPSIS
Creates the two queues of onceover in your Cloudflare account.

.DESCRIPTION
A queue that is there is left as it is, so the script may be repeated. `make deploy` creates the queues by itself;
this is for whoever deploys without make, or has somebody else create the queues.
create-cloudflare-queues.sh does the same in a POSIX shell.

.EXAMPLE
.\create-cloudflare-queues.ps1

.EXAMPLE
.\create-cloudflare-queues.ps1 -WhatIf
Looks, says what would be created, and creates nothing.
#>
[CmdletBinding(SupportsShouldProcess)]
param()

# wrangler writes to its standard error when it fails; its exit status is what counts.
$ErrorActionPreference = 'Continue'
$PSNativeCommandUseErrorActionPreference = $false
$queues = 'ai-processing-queue', 'ai-processing-dlq'

# Without it npx would ask whether to download wrangler, on an output that nobody sees.
if (-not (Test-Path 'node_modules/.bin/wrangler')) {
    Write-Host 'error: wrangler is not installed in this folder'
    Write-Host 'fix: Run: make install (or npm ci), in the clone. Then run this script there again.'
    exit 1
}

function Stop-WithFix([string]$queue, [string]$said) {
    Write-Host $said
    if ($said -match 'Queues are (unavailable|not available) on the free plan|must enable your account') {
        $fix = 'This account has no Queues. Deploy without them (make deploy ENV=free), or take the Workers Paid plan.'
    }
    elseif ($said -match 'CLOUDFLARE_API_TOKEN|Not logged in') {
        $fix = 'Run: npx wrangler login'
    }
    elseif ($said -match 'Authentication error|not authorized|code: 10000') {
        $fix = 'The login may not create queues. Run: npx wrangler login. A token needs the permission Queues: Edit.'
    }
    elseif ($said -match 'More than one account') {
        $fix = 'Set CLOUDFLARE_ACCOUNT_ID to the id of the account that is meant.'
    }
    else {
        $fix = 'docs/runbook.md lists errors. Then run this script again: it goes on where it stopped.'
    }
    Write-Host "error: the queue $queue could not be created"
    Write-Host "fix: $fix"
    exit 1
}

foreach ($queue in $queues) {
    $said = npx wrangler queues info $queue 2>&1 | Out-String
    if ($LASTEXITCODE -eq 0) {
        Write-Host "$queue is there"
        continue
    }
    if ($said -notmatch 'does not exist') {
        Stop-WithFix $queue $said
    }
    if (-not $PSCmdlet.ShouldProcess($queue, 'npx wrangler queues create')) {
        continue
    }
    $said = npx wrangler queues create $queue 2>&1 | Out-String
    if ($LASTEXITCODE -ne 0 -and $said -notmatch 'already taken') {
        Stop-WithFix $queue $said
    }
    Write-Host "$queue is created"
}

npx wrangler queues list
exit $LASTEXITCODE
