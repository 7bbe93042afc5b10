"""How plugins are found, loaded and looked up."""
