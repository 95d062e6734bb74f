"""Kinds of claims: a class per file, with what the experiment file may say of it and how cells judge it.

They are found by their ``kind`` (:data:`clce_bench.components.registry.CLAIMS`) and read with the experiment, so that
their modules import the analysis only where they judge.
"""
