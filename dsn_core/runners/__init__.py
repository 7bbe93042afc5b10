"""What makes deliveries run. All runners run :class:`dsn_core.runners.driver.Loop`."""
