"""The tables as a queue: what is due, which worker holds it, what waits, and what is old."""
