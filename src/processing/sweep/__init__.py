"""The backstop: it takes up what no message, alarm or worker brings back. `sweep.Sweep` conducts the other modules."""
