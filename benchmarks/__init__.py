"""How fast, beside whom: `python -m benchmarks [NAME ...]`, from the folder of the checkout."""
