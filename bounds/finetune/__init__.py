"""Fine-tuning studies: quantization and pruning with training, against both without it.

Data flows as everywhere: networks are trained in ``layers.finetuning``, their layers dumped, the
dumps compressed and judged here, and all that is drawn is read from the tables of results.
"""
