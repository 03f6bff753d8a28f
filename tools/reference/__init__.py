"""Write the reference pages of docs/ from the code that they describe.

`python -m tools.reference` after a change of a command, of params.yaml, of a route or of the fields of results. The pages are
kept in git, so that a clone and GitHub show them without a build; a test compares them.
"""
