"""The life of a model, played on the embedded faces with the real servers on loopback; `make demo-lifecycle` runs it.

Each act says what it does, what it measured, and which claim that bears out; a claim that does not hold ends the play with exit
code 1. Everything lies in a scratch workspace, and no process outlives it.
"""
