"""What operators see and do: health, metrics, history, tenants, sweeps."""
