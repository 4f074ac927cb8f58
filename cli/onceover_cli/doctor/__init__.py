"""What `onceover doctor` checks: a deployment, a folder with its configuration, an account at Cloudflare."""
