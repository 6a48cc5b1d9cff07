"""Defects made on purpose, and the tests that must see them: ``scripts/mutants`` runs this.

mutmut and cosmic-ray generate mutants from operators and run one test command for all of
them; neither keeps a hand-picked list in which each defect names its own tests.
"""
