"""Tables and figures of the documents, made from the measured values in docs/results/measured."""
