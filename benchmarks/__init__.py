"""What is measured beside train.evaluate. Each file is a command, `python -m benchmarks.NAME`, that ends with one JSON
object: speed beside a named rival (`kmeans`, `inference`, `data`, `metrics`, `training`, `big_pictures`), use as people
use it (`first_try`, `synonyms`, `trials`, `gallery`), bad luck (`fuzz`, `soak`), and `ablations`."""
