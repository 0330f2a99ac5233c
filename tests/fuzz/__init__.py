"""Documents and answers that nobody meant to write, by the hundred thousand.

    python -m tests.fuzz --documents 100000 --seed 1

`mutation` makes them from good ones, by number; `targets` are the readers that get them, each with
the errors it declares; `campaign` gives many of them to the readers, within bounds of time and
memory; `guided` lets atheris look for them by the branches they reach.
"""
