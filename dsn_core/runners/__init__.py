"""What makes deliveries run. All runners call :func:`dsn_core.runners.driver.drain`."""
