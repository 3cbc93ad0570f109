"""What can be told of a text without asking a model: how many tokens it is, what it asks for."""
