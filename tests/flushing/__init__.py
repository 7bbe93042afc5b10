"""An app for the tests only: a quick ``flush``, which empties the tables after each test that commits."""
