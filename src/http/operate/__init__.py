"""The calls for operators: health, metrics, history, tenants, sweeps."""
