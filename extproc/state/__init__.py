"""What has been seen of the targets; a decision gets a view of it as a value."""
