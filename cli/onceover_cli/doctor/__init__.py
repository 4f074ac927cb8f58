"""The checks of `onceover doctor`: of a deployment, of a folder with its configuration, of a Cloudflare account."""
