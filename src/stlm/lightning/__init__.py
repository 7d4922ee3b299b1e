"""Training of the language model on Lightning."""
