"""Messages generated from proto/ by `make proto`; only extproc.wire imports them."""
