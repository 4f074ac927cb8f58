"""The sweep: it continues the tasks that no message, alarm or worker continues.

`sweep.Sweep` is one sweep, and the other modules are its duties.
"""
