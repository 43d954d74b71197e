"""The real servers and clients of the end-to-end tests: one file a part, each started on loopback in a
directory of its own and ended with its test."""
