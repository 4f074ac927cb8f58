"""The checks of `onceover doctor`: a deployment, a folder with its configuration, an account at Cloudflare."""
