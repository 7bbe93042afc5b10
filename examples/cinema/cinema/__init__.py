"""A cinema that tells people which of its movies are out."""
