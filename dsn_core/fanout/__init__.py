"""Fan-out: an event becomes deliveries."""
