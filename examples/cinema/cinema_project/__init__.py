"""The project around the app: its settings and its URLs."""
