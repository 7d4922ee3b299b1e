"""The whole road in one command; see `stlm.demo.pipeline`."""
