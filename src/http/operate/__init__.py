"""The calls of the API for operators: health, metrics, history, tenants, sweeps."""
