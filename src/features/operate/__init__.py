"""Health, metrics, history, tenants, sweeps: what operators use."""
