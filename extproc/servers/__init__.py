"""What listens: the ext_proc service and the admin HTTP server, their start and their drain."""
