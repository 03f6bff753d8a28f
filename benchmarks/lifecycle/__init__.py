"""Run a model's whole life with real servers: `make demo-lifecycle`.

On the embedded faces, on loopback.

Each act says what it does, what it measured, and which claim that bears out; a claim that does not hold ends the play with exit
code 1. Everything lies in a scratch workspace, and no process outlives it.
"""
