"""Discovery, loading and lookup of plugins."""
