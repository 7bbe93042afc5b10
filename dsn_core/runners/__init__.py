"""What makes deliveries run: the loop in :mod:`dsn_core.runners.driver`, in this thread or a worker's."""
