"""The tables as a queue: what is due, who holds it, what waits, and what is old."""
