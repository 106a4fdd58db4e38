"""Results: the declared Parquet schema, one file per cell run, and the merge of many into one table."""
