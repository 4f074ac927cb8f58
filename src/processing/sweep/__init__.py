"""The backstop: it continues the tasks that no message, alarm or worker brings back.

`sweep.Sweep` conducts the other modules.
"""
