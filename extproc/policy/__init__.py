"""The routing policy: one module per step of a decision, one function each."""
