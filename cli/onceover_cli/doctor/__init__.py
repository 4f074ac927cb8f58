"""What `onceover doctor` looks at: a deployment, a folder with its configuration, an account at Cloudflare."""
